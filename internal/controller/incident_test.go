package controller

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/approval"
	"kubernaut.ai/kubernaut/internal/incident"
)

func TestIncidentOf(t *testing.T) {
	exit, failedAt := int32(137), metav1.NewTime(testTime)
	a := fresh(true)
	signal := &a.Spec.AnalysisRequest.SignalContext
	signal.Fingerprint = "f"
	signal.EnrichmentResults = v1alpha1.EnrichmentResults{
		DetectedLabels: &v1alpha1.DetectedLabels{FailedDetections: []string{"serviceMesh"}, PDBProtected: true, GitOpsTool: "flux"},
		OwnerChain:     []v1alpha1.OwnerChainEntry{{Namespace: "shop", Kind: "ReplicaSet", Name: "web-1"}, {Kind: "Deployment", Name: "web"}},
		CustomLabels:   map[string][]string{"risk_tolerance": {"low", "high"}, "cluster_name": {"east"}, "team": {"shop"}},
		KubernetesContext: &v1alpha1.KubernetesContext{Namespace: "shop", PodDetails: &v1alpha1.PodDetails{
			Name: "web-1", Phase: "Running",
			Containers: []v1alpha1.ContainerStatus{{Name: "app", State: "CrashLoopBackOff", RestartCount: 7}, {Name: "proxy", Ready: true}},
		}},
	}
	a.Spec.PreviousExecutions = []v1alpha1.PreviousExecution{{
		WorkflowExecutionRef: "we-1",
		OriginalRCA:          v1alpha1.OriginalRCA{Summary: "s", SignalType: "OOMKilled", Severity: "high", ContributingFactors: []string{"c"}},
		SelectedWorkflow:     v1alpha1.PreviousWorkflow{WorkflowID: "w", Version: "1", ContainerImage: "i", Rationale: "r", Parameters: map[string]string{"A": "b"}},
		Failure: v1alpha1.ExecutionFailure{
			FailedStepIndex: 2, FailedStepName: "apply", Reason: "OOMKilled", Message: "m", ExitCode: &exit,
			FailedAt: failedAt, ExecutionTime: "2m",
		},
	}, {WorkflowExecutionRef: "we-2"}}

	got := incidentOf(a)
	context, ok := got.KubernetesContext["podDetails"].(map[string]any)
	if !ok || context["name"] != "web-1" {
		t.Errorf("kubernetesContext %v", got.KubernetesContext)
	}
	got.KubernetesContext = nil
	want := incident.Incident{
		ID: "shop/web", RemediationID: "rr-1", SignalType: "OOMKilled", Severity: "critical", SignalSource: "kubernaut",
		Resource:     incident.Ref{Kind: "Pod", Namespace: "shop", Name: "web-1"},
		ErrorMessage: "container app is not ready: CrashLoopBackOff, restarted 7 times", Fingerprint: "f",
		Environment: "staging", Priority: "P1", RiskTolerance: "low", BusinessCategory: "standard", ClusterName: "east",
		DetectedLabels: incident.DetectedLabels{FailedDetections: []string{"serviceMesh"}, PDBProtected: true, GitOpsTool: "flux"},
		CustomLabels:   signal.EnrichmentResults.CustomLabels,
		OwnerChain:     []incident.Ref{{Namespace: "shop", Kind: "ReplicaSet", Name: "web-1"}, {Kind: "Deployment", Name: "web"}},
		Recovery: &incident.Recovery{Attempt: 2, Previous: []incident.Execution{{
			Ref:       "we-1",
			RootCause: incident.RootCause{Summary: "s", SignalType: "OOMKilled", Severity: "high", Factors: []string{"c"}},
			Workflow:  incident.SelectedWorkflow{ID: "w", Version: "1", ContainerImage: "i", Rationale: "r", Parameters: map[string]string{"A": "b"}},
			Failure: incident.ExecutionFailure{
				StepIndex: 2, StepName: "apply", Reason: "OOMKilled", Message: "m", ExitCode: &exit,
				FailedAt: testTime, ExecutionTime: "2m",
			},
		}, {Ref: "we-2", Failure: incident.ExecutionFailure{FailedAt: time.Time{}}}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("incident differs (-want +got):\n%s", diff)
	}

	plain := incidentOf(fresh(false))
	if plain.RiskTolerance != "medium" || plain.ClusterName != "default" || plain.Recovery != nil || plain.KubernetesContext != nil {
		t.Errorf("defaults: %+v", plain)
	}
}

func TestIncidentID(t *testing.T) {
	a := fresh(false)
	a.Name = strings.Repeat("n", maxName)
	if got := incidentID(a); got != string(a.UID) {
		t.Errorf("a long name gives %q, want the UID", got)
	}
	b := fresh(false)
	b.Namespace = "other"
	if incidentID(fresh(false)) == incidentID(b) {
		t.Error("two namespaces have one id")
	}
}

func TestPolicyInput(t *testing.T) {
	a := running(true)
	a.Spec.AnalysisRequest.SignalContext.EnrichmentResults.DetectedLabels = &v1alpha1.DetectedLabels{Stateful: true}
	if err := describe(&a.Status, incident.Investigation{
		Workflow: found().Workflow, RootCause: incident.RootCause{Severity: "odd"}, Warnings: []string{"w"}, TargetInOwnerChain: true,
		Gaps: []incident.Gap{{What: "a"}, {What: "b", TouchesCause: true}},
	}); err != nil {
		t.Fatal(err)
	}
	yes, confidence := true, 0.92
	want := approval.Input{
		SignalType: "OOMKilled", Severity: "critical", Environment: "staging", BusinessPriority: "P1",
		TargetResource: incident.Ref{Kind: "Pod", Namespace: "shop", Name: "web-1"}, DetectedLabels: &incident.DetectedLabels{Stateful: true},
		Confidence: &confidence, TargetInOwnerChain: &yes, Warnings: []string{"w"}, IsRecoveryAttempt: true, RecoveryAttemptNumber: 2,
		GapsTouchingCause: 1, WorkflowID: "raise-memory", RootCauseSeverity: "unknown",
	}
	if diff := cmp.Diff(want, policyInput(a)); diff != "" {
		t.Errorf("input differs (-want +got):\n%s", diff)
	}
}

// policyThat answers as its function says.
type policyThat func(ctx context.Context) (incident.Decision, error)

func (p policyThat) Evaluate(ctx context.Context, _ approval.Input) (incident.Decision, error) {
	return p(ctx)
}
func (policyThat) Status() approval.Status { return approval.Status{Hash: "ab"} }

func TestEvaluate(t *testing.T) {
	broken := errors.New("broken")
	hangs := func(ctx context.Context) (incident.Decision, error) {
		<-ctx.Done()
		return incident.Decision{}, ctx.Err()
	}
	synctest.Test(t, func(t *testing.T) {
		r := &Reconciler{settings: DefaultSettings(), clock: time.Now}
		a := running(false)

		r.evaluator = policyThat(hangs)
		v, err := r.evaluate(t.Context(), a)
		if err != nil || v.err != nil || !v.decision.ApprovalRequired || !v.decision.Degraded || v.decision.PolicyHash != "ab" || v.took != r.settings.AnalyzingTimeout {
			t.Errorf("a policy that hangs: %+v, %v; want a person to approve", v, err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if v, err := r.evaluate(ctx, a); err == nil {
			t.Errorf("a process that stops: %+v; want no verdict", v)
		}

		r.evaluator = policyThat(func(context.Context) (incident.Decision, error) { return incident.Decision{}, broken })
		if v, err := r.evaluate(t.Context(), a); err != nil || !errors.Is(v.err, broken) {
			t.Errorf("a broken policy: %+v, %v", v, err)
		}
	})
}
