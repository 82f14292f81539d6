package aianalysis

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/config"
	"kubernaut.ai/kubernaut/internal/controlplane/controlplanetest"
)

var cleanTrail = []string{
	"analysis.started", "phase.transition", "holmesgpt.call", "phase.transition",
	"rego.evaluation", "approval.decision", "phase.transition", "analysis.completed",
}

// childConfig, in the environment, makes this test binary a controller that can be killed.
const childConfig = "KUBERNAUT_TEST_CONTROLLER"

func TestMain(m *testing.M) {
	if body := os.Getenv(childConfig); body != "" {
		var cfg config.AIAnalysis
		err := json.Unmarshal([]byte(body), &cfg)
		if err == nil {
			err = Run(context.Background(), cfg, Options{})
		}
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestFullCycle(t *testing.T) {
	s := newSystem(t)
	staging := s.create("staging", "OOMKilled", nil)
	production := s.create("production", "OOMKilled", func(a *v1alpha1.AIAnalysis) {
		a.Spec.AnalysisRequest.SignalContext.Environment = "production"
	})
	s.run(s.cfg)

	a := s.finished(staging)
	if st := a.Status; st.Phase != v1alpha1.PhaseCompleted || st.ApprovalRequired || st.AuditState != v1alpha1.AuditRecorded || st.Policy == nil ||
		st.Policy.Hash == "" || st.CompletedAt == nil || st.InvestigationTime < 1 || st.TotalAnalysisTime < 1 || len(st.Conditions) != 4 {
		t.Errorf("staging: status %+v", st)
	}
	want := &v1alpha1.SelectedWorkflow{
		WorkflowID: "raise-memory", Version: "1.0.0", ContainerImage: "kubernaut/raise-memory:v1", Confidence: 0.92, Rationale: "fits",
		Parameters: map[string]string{"MEMORY_LIMIT": "1Gi", "REPLICAS": "2"},
	}
	if diff := cmp.Diff(want, a.Status.SelectedWorkflow); diff != "" {
		t.Errorf("workflow differs (-want +got):\n%s", diff)
	}

	b := s.finished(production)
	if st := b.Status; st.Phase != v1alpha1.PhaseCompleted || !st.ApprovalRequired || st.ApprovalContext == nil ||
		st.ApprovalContext.PolicyEvaluation == nil || len(st.ApprovalContext.PolicyEvaluation.MatchedRules) == 0 ||
		!meta.IsStatusConditionTrue(st.Conditions, v1alpha1.ConditionApprovalRequired) {
		t.Errorf("production: status %+v", st)
	}
	for _, a := range []*v1alpha1.AIAnalysis{a, b} {
		// The status said that all events are in Data Storage, so there is nothing to wait for.
		if diff := cmp.Diff(cleanTrail, s.storage.events(a)); diff != "" {
			t.Errorf("%s: audit events differ (-want +got):\n%s", a.Name, diff)
		}
		if keys, requests := s.hapi.count(a); keys != 1 || requests != 1 {
			t.Errorf("%s: %d investigations by %d requests, want 1 by 1", a.Name, keys, requests)
		}
	}
	s.kubernetesEvents(a, "AIAnalysisCreated", "InvestigationComplete", "AnalysisCompleted")
	s.kubernetesEvents(b, "AIAnalysisCreated", "InvestigationComplete", "ApprovalRequired")
}

// kubernetesEvents waits for the events about a resource.
func (s *system) kubernetesEvents(a *v1alpha1.AIAnalysis, want ...string) {
	s.t.Helper()
	got := map[string]int{}
	s.poll(func() bool {
		var list corev1.EventList
		if err := s.cluster.List(s.t.Context(), &list, client.InNamespace(a.Namespace)); err != nil {
			s.t.Fatal(err)
		}
		got = map[string]int{}
		for _, e := range list.Items {
			if e.InvolvedObject.UID == a.UID {
				got[e.Reason]++
			}
		}
		return len(got) == len(want)
	}, func() string { return fmt.Sprintf("Kubernetes events of %s: got %v, want %v", a.Name, got, want) })
	for _, reason := range want {
		if got[reason] != 1 {
			s.t.Errorf("Kubernetes events of %s: got %v, want one of each of %v", a.Name, got, want)
		}
	}
}

// Every way in which an investigation can end or fail ends in the right place, with a bounded number
// of requests.
func TestOutcomes(t *testing.T) {
	s := newSystem(t)
	s.run(s.cfg)
	const failed, completed = v1alpha1.PhaseFailed, v1alpha1.PhaseCompleted
	for i, tt := range []struct {
		signal   string
		recovery bool
		phase    v1alpha1.Phase
		reason   string
		sub      v1alpha1.SubReason
		requests int
		keys     int
	}{
		{"400", false, failed, "APIError", "PermanentError", 1, 1},
		{"401", false, failed, "APIError", "AuthenticationError", 1, 1},
		{"403", false, failed, "APIError", "AuthorizationError", 1, 1},
		{"404", false, failed, "APIError", "ConfigurationError", 1, 1},
		{"422", false, failed, "APIError", "PermanentError", 1, 1},
		{"500", false, failed, "APIError", "MaxRetriesExceeded", 3, 3},
		{"503", false, failed, "APIError", "MaxRetriesExceeded", 3, 3},
		{"429 once", false, completed, "AnalysisCompleted", "AutoApproved", 2, 2},
		{"cut once", false, completed, "AnalysisCompleted", "AutoApproved", 2, 1},
		{"slow once", false, completed, "AnalysisCompleted", "AutoApproved", 2, 1},
		{"garbage", false, failed, "APIError", "MalformedResponse", 1, 1},
		{"text", false, failed, "APIError", "MalformedResponse", 1, 1},
		{"review", false, failed, "WorkflowResolutionFailed", "NoMatchingWorkflows", 1, 1},
		{"resolved", false, completed, "WorkflowNotNeeded", "ProblemResolved", 1, 1},
		{"nothing", false, failed, "NoWorkflowSelected", "InvestigationInconclusive", 1, 1},
		{"unknown severity", false, completed, "AnalysisCompleted", "AutoApproved", 1, 1},
		{"recover", true, completed, "AnalysisCompleted", "ApprovalRequired", 1, 1},
		{"impossible", true, failed, "RecoveryNotPossible", "NoRecoveryStrategy", 1, 1},
		{"review", true, failed, "WorkflowResolutionFailed", "NoMatchingWorkflows", 1, 1},
	} {
		a := s.create(fmt.Sprint("o", i), tt.signal, func(a *v1alpha1.AIAnalysis) { a.Spec.IsRecoveryAttempt = tt.recovery })
		t.Run(fmt.Sprintf("%s, recovery %v", tt.signal, tt.recovery), func(t *testing.T) {
			a := s.finished(a)
			if a.Status.Phase != tt.phase || a.Status.Reason != tt.reason || a.Status.SubReason != tt.sub {
				t.Errorf("got %s, %s, %s (%s); want %s, %s, %s", a.Status.Phase, a.Status.Reason, a.Status.SubReason, a.Status.Message, tt.phase, tt.reason, tt.sub)
			}
			if keys, requests := s.hapi.count(a); keys != tt.keys || requests != tt.requests {
				t.Errorf("%d investigations by %d requests, want %d by %d", keys, requests, tt.keys, tt.requests)
			}
			if a.Status.AuditState != v1alpha1.AuditRecorded {
				t.Errorf("auditState is %s", a.Status.AuditState)
			}
			kinds := s.storage.events(a)
			if kinds[0] != "analysis.started" || kinds[len(kinds)-1] != "analysis.completed" {
				t.Errorf("audit events %v", kinds)
			}
			if tt.recovery && tt.phase == completed && (a.Status.RecoveryStatus == nil || !a.Status.RecoveryStatus.StateChanged) {
				t.Errorf("recoveryStatus %+v", a.Status.RecoveryStatus)
			}
		})
	}
}

// While Data Storage is away analyses finish and say so; when it is back, their record is complete, also
// when another controller has come in place of the one that told.
func TestDataStorageAway(t *testing.T) {
	s := newSystem(t)
	s.cfg.Audit.DeliveryWait, s.cfg.ShutdownTimeout = 200*time.Millisecond, time.Second
	first := s.run(s.cfg)
	s.storage.stop()
	var all []*v1alpha1.AIAnalysis
	for i := range 5 {
		all = append(all, s.create(fmt.Sprint("away", i), "OOMKilled", nil))
	}
	for i, a := range all {
		all[i] = s.finished(a)
		if st := all[i].Status; st.Phase != v1alpha1.PhaseCompleted || st.AuditState != v1alpha1.AuditSpooled || len(st.Warnings) == 0 {
			t.Errorf("%s: phase %s, auditState %s, warnings %q", a.Name, st.Phase, st.AuditState, st.Warnings)
		}
	}
	if err := first.stop(); err != nil {
		t.Errorf("the first controller ended with %v", err)
	}
	s.run(s.cfg)
	s.storage.start()
	for _, a := range all {
		s.poll(func() bool {
			report, err := s.storage.client.VerifyChain(t.Context(), a.Spec.RemediationID)
			return err == nil && report.Events == int64(len(cleanTrail))
		}, func() string { return "the events of " + a.Name + " did not arrive" })
		if diff := cmp.Diff(cleanTrail, s.storage.events(a)); diff != "" {
			t.Errorf("%s: audit events differ (-want +got):\n%s", a.Name, diff)
		}
	}
}

// A controller that is killed while investigations run is followed by one that gets their answers,
// without a second investigation.
func TestKilledWhileInvestigating(t *testing.T) {
	s := newSystem(t)
	s.cfg.HolmesGPT.Timeout = patience
	s.cfg.Controller.Kubeconfig = controlplanetest.Kubeconfig(t)
	body, err := json.Marshal(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	var all []*v1alpha1.AIAnalysis
	for i := range 10 {
		all = append(all, s.create(fmt.Sprint("k", i), "gated", nil))
	}
	var stderr bytes.Buffer
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env, child.Stderr = append(os.Environ(), childConfig+"="+string(body)), &stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		s.poll(func() bool { _, requests := s.hapi.count(a); return requests == 1 },
			func() string { return a.Name + " was not asked for: " + stderr.String() })
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed

	s.run(s.cfg)
	for _, a := range all {
		s.poll(func() bool { _, requests := s.hapi.count(a); return requests == 2 },
			func() string { return a.Name + " was not resumed" })
	}
	close(s.hapi.gate)
	for _, a := range all {
		a = s.finished(a)
		if keys, _ := s.hapi.count(a); keys != 1 || a.Status.Phase != v1alpha1.PhaseCompleted || a.Status.Attempt != 1 {
			t.Errorf("%s: %d investigations, status %+v", a.Name, keys, a.Status)
		}
		if diff := cmp.Diff(cleanTrail, s.storage.events(a)); diff != "" {
			t.Errorf("%s: audit events differ (-want +got):\n%s", a.Name, diff)
		}
	}
}

// On SIGTERM, which ends the context, investigations are left as they are, and the process is gone well
// before the pod is killed.
func TestStopsWhileInvestigating(t *testing.T) {
	s := newSystem(t)
	s.cfg.HolmesGPT.Timeout = patience
	first := s.run(s.cfg)
	a := s.create("left", "gated", nil)
	s.poll(func() bool { _, n := s.hapi.count(a); return n == 1 }, func() string { return "not asked" })
	if err := first.stop(); err != nil {
		t.Errorf("the controller ended with %v", err)
	}
	left := s.until(a, "there", func(*v1alpha1.AIAnalysis) bool { return true })
	if st := left.Status; st.Phase != v1alpha1.PhaseInvestigating || st.ConsecutiveFailures != 0 || st.Reason != "" {
		t.Errorf("the stop left status %+v", st)
	}
	s.run(s.cfg)
	close(s.hapi.gate)
	a = s.finished(a)
	if keys, _ := s.hapi.count(a); keys != 1 || a.Status.Phase != v1alpha1.PhaseCompleted {
		t.Errorf("%d investigations, phase %s", keys, a.Status.Phase)
	}
}

func TestDeletedWhileInvestigating(t *testing.T) {
	s := newSystem(t)
	s.cfg.HolmesGPT.Timeout = patience
	s.run(s.cfg)
	a := s.create("gone", "gated", nil)
	s.poll(func() bool { _, n := s.hapi.count(a); return n == 1 }, func() string { return "not asked" })
	if err := s.cluster.Delete(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	s.poll(func() bool {
		return apierrors.IsNotFound(s.cluster.Get(t.Context(), client.ObjectKeyFromObject(a), &v1alpha1.AIAnalysis{}))
	}, func() string { return "still there" })
	want := []string{"analysis.started", "phase.transition", "analysis.deleted"}
	s.poll(func() bool {
		report, err := s.storage.client.VerifyChain(t.Context(), a.Spec.RemediationID)
		return err == nil && report.Events == int64(len(want))
	}, func() string { return "the deletion was not recorded" })
	if diff := cmp.Diff(want, s.storage.events(a)); diff != "" {
		t.Errorf("audit events differ (-want +got):\n%s", diff)
	}
}

// A finished analysis, of which the controller keeps next to nothing, is let go and recorded too.
func TestDeletedWhenFinished(t *testing.T) {
	s := newSystem(t)
	s.run(s.cfg)
	a := s.finished(s.create("done", "OOMKilled", nil))
	if err := s.cluster.Delete(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	s.poll(func() bool {
		report, err := s.storage.client.VerifyChain(t.Context(), a.Spec.RemediationID)
		return err == nil && report.Events == int64(len(cleanTrail))+1
	}, func() string { return "the deletion was not recorded" })
	s.poll(func() bool {
		return apierrors.IsNotFound(s.cluster.Get(t.Context(), client.ObjectKeyFromObject(a), &v1alpha1.AIAnalysis{}))
	}, func() string { return "still there" })
}

// A resource with every field at its limit goes all the way.
func TestEveryFieldAtItsLimit(t *testing.T) {
	s := newSystem(t)
	s.run(s.cfg)
	a := s.create(strings.Repeat("n", 253), "OOMKilled", func(a *v1alpha1.AIAnalysis) { fill(&a.Spec) })
	a = s.finished(a)
	if a.Status.Phase != v1alpha1.PhaseCompleted || a.Status.AuditState != v1alpha1.AuditRecorded {
		t.Errorf("phase %s, %s, auditState %s: %s", a.Status.Phase, a.Status.Reason, a.Status.AuditState, a.Status.Message)
	}
	if keys, requests := s.hapi.count(a); keys != 1 || requests != 1 {
		t.Errorf("%d investigations by %d requests", keys, requests)
	}
}

// fill sets every field of a spec to the longest value that it takes.
func fill(spec *v1alpha1.AIAnalysisSpec) {
	text := func(n int) string { return strings.Repeat("ü", n) }
	texts := func(items, n int) []string {
		out := make([]string, items)
		for i := range out {
			out[i] = text(n)
		}
		return out
	}
	labels := func(items int) map[string]string {
		out := map[string]string{}
		for i := range items {
			out[fmt.Sprint("key-", i)] = text(63)
		}
		return out
	}
	spec.RemediationID = text(255)
	spec.AnalysisRequest.AnalysisTypes = texts(16, 128)
	signal := &spec.AnalysisRequest.SignalContext
	signal.Fingerprint, signal.SignalType, signal.Environment, signal.BusinessPriority = text(64), text(253), text(63), text(63)
	signal.TargetResource = v1alpha1.TargetResource{Kind: text(253), Name: text(253), Namespace: text(253)}
	signal.EnrichmentResults = v1alpha1.EnrichmentResults{
		CustomLabels:   map[string][]string{},
		DetectedLabels: &v1alpha1.DetectedLabels{FailedDetections: []string{"gitOpsManaged", "serviceMesh"}, GitOpsTool: "argocd", ServiceMesh: "istio"},
		KubernetesContext: &v1alpha1.KubernetesContext{
			Namespace: text(253), NamespaceLabels: labels(256), NamespaceAnnotations: labels(256),
			PodDetails: &v1alpha1.PodDetails{
				Name: text(253), Phase: "Running", Labels: labels(256), Annotations: labels(256),
				Containers: []v1alpha1.ContainerStatus{{Name: "c", Image: text(100), State: "waiting", RestartCount: 9}},
			},
		},
	}
	for i := range 16 {
		signal.EnrichmentResults.OwnerChain = append(signal.EnrichmentResults.OwnerChain,
			v1alpha1.OwnerChainEntry{Kind: text(253), Name: fmt.Sprint(i) + text(250), Namespace: text(253)})
	}
	for i := range 100 {
		signal.EnrichmentResults.CustomLabels[fmt.Sprint("label-", i)] = texts(3, 63)
	}
	spec.IsRecoveryAttempt, spec.RecoveryAttemptNumber = true, 1<<31-1
	exit := int32(-1 << 31)
	for range 20 {
		spec.PreviousExecutions = append(spec.PreviousExecutions, v1alpha1.PreviousExecution{
			WorkflowExecutionRef: text(253),
			OriginalRCA:          v1alpha1.OriginalRCA{Summary: text(4096), SignalType: text(253), Severity: text(64), ContributingFactors: texts(50, 64)},
			SelectedWorkflow:     v1alpha1.PreviousWorkflow{WorkflowID: text(253), Version: text(128), ContainerImage: text(1024), Rationale: text(4096), Parameters: labels(64)},
			Failure: v1alpha1.ExecutionFailure{
				FailedStepIndex: 1 << 30, FailedStepName: text(253), Reason: text(128), Message: text(4096),
				ExitCode: &exit, ExecutionTime: text(64), FailedAt: metav1.NewTime(time.Unix(1<<32, 0)),
			},
		})
	}
	spec.TimeoutConfig = &v1alpha1.TimeoutConfig{InvestigatingTimeout: strings.Repeat("0", 62) + "1m", AnalyzingTimeout: text(64)}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestProbesAndMetrics(t *testing.T) {
	s := newSystem(t)
	c := s.run(s.cfg)
	s.finished(s.create("m", "OOMKilled", nil))
	var body string
	s.poll(func() bool {
		var code int
		code, body = get(t, "http://"+c.Health+"/readyz?verbose")
		return code == http.StatusOK
	}, func() string { return "not ready: " + body })
	for _, name := range []string{"cache", "policy", "holmesgpt-api", "datastorage"} {
		if !strings.Contains(body, "[+]"+name+" ok") {
			t.Errorf("/readyz?verbose does not name %s:\n%s", name, body)
		}
	}
	if code, body := get(t, "http://"+c.Health+"/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d %s", code, body)
	}
	s.storage.stop()
	s.poll(func() bool {
		var code int
		code, body = get(t, "http://"+c.Health+"/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "[-]datastorage failed")
	}, func() string { return "ready without Data Storage: " + body })
	if code, _ := get(t, "http://"+c.Health+"/healthz"); code != http.StatusOK {
		t.Errorf("/healthz depends on Data Storage: %d", code)
	}
	_, metrics := get(t, "http://"+c.Metrics+"/metrics")
	for _, line := range []string{
		`aianalysis_reconciler_reconciliations_total{phase="Analyzing",result="success"}`,
		`aianalysis_reconciler_duration_seconds_count{phase="overall"}`,
		`aianalysis_rego_evaluations_total{degraded="false",outcome="approved"} 1`,
		`aianalysis_approval_decisions_total{decision="auto_approved",environment="staging"} 1`,
		`aianalysis_confidence_score_distribution_count{signal_type="OOMKilled"} 1`,
		`aianalysis_failures_total{reason="APIError",sub_reason="HolmesGPTAPICallFailed"} 0`,
		`aianalysis_recovery_status_skipped_total 0`,
		`aianalysis_investigations_in_flight 0`,
		`aianalysis_holmesgpt_call_duration_seconds_count{endpoint="incident",outcome="success"} 1`,
		`aianalysis_holmesgpt_breaker_state{state="closed"} 1`,
		`audit_events_written_total{service="aianalysis"}`,
		`controller_runtime_reconcile_total`,
		`go_goroutines`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
}

// Of two controllers with leader election and one spool directory one works, and the other takes over
// when it stops.
func TestLeaderElection(t *testing.T) {
	s := newSystem(t)
	s.cfg.Controller.LeaderElection, s.cfg.Controller.LeaderElectionNamespace = true, s.namespace
	first := s.run(s.cfg)
	s.finished(s.create("one", "OOMKilled", nil))
	s.run(s.cfg)
	if err := first.stop(); err != nil {
		t.Errorf("the first controller ended with %v", err)
	}
	s.finished(s.create("two", "OOMKilled", nil))
}

func TestBadSettingsEndTheProcess(t *testing.T) {
	s := newSystem(t)
	for name, tt := range map[string]struct {
		change func(*config.AIAnalysis)
		want   string
	}{
		"no policy":       {func(c *config.AIAnalysis) { c.Rego.PolicyPath = "nowhere.rego" }, "rego.policy_path"},
		"address in use":  {func(c *config.AIAnalysis) { c.Controller.HealthProbeAddr = strings.TrimPrefix(s.hapi.URL, "http://") }, "controller.health_probe_addr"},
		"no spool":        {func(c *config.AIAnalysis) { c.Audit.Dir = "/dev/null/spool" }, "audit spool"},
		"no such cluster": {func(c *config.AIAnalysis) { c.Controller.Kubeconfig = "nowhere" }, "cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := s.cfg
			cfg.Audit.Dir = filepath.Join(t.TempDir(), "spool")
			tt.change(&cfg)
			o := Options{Rest: s.rest, Logger: cfg.Logging.Logger(testWriter{t})}
			if cfg.Controller.Kubeconfig != "" {
				o.Rest = nil
			}
			err := Run(t.Context(), cfg, o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}
