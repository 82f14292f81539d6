package aianalysis

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

const (
	rolesFile = "../../../deploy/base/aianalysis/rbac.yaml"
	home      = "kubernaut-system" // the namespace of the controller
)

// record keeps what is written to it.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

// lines returns the lines that hold a word.
func (r *record) lines(word string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for line := range strings.SplitSeq(r.text.String(), "\n") {
		if strings.Contains(line, word) {
			out = append(out, line)
		}
	}
	return out
}

// asServiceAccount grants the roles that ship and returns a configuration with the controller's
// ServiceAccount's rights.
func (s *system) asServiceAccount() *rest.Config {
	s.t.Helper()
	err := s.cluster.Create(s.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		s.t.Fatal(err)
	}
	text, err := os.ReadFile(rolesFile)
	if err != nil {
		s.t.Fatal(err)
	}
	for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		u := &unstructured.Unstructured{}
		if err := d.Decode(u); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			s.t.Fatal(err)
		}
		if !strings.HasPrefix(u.GetKind(), "Cluster") {
			u.SetNamespace(home)
		}
		err := s.cluster.Apply(s.t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("test"), client.ForceOwnership)
		if err != nil {
			s.t.Fatalf("apply %s %s: %v", u.GetKind(), u.GetName(), err)
		}
	}
	c := rest.CopyConfig(s.rest)
	c.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + home + ":aianalysis-controller",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + home, "system:authenticated"},
	}
	return c
}

// The roles that ship are enough for all that the controller does: to lead, to analyse, to tell and to
// let go.
func TestRolesSuffice(t *testing.T) {
	s := newSystem(t)
	s.cfg.Controller.LeaderElection, s.cfg.Controller.LeaderElectionNamespace = true, home
	s.cfg.Logging.Level = "debug"
	log := &record{}
	c := s.runWith(s.cfg, Options{Rest: s.asServiceAccount(), Logger: s.cfg.Logging.Logger(log), PodNamespace: home})
	a := s.finished(s.create("allowed", "OOMKilled", nil))
	s.kubernetesEvents(a, "AIAnalysisCreated", "InvestigationComplete", "AnalysisCompleted")
	if err := s.cluster.Delete(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	s.poll(func() bool {
		return apierrors.IsNotFound(s.cluster.Get(t.Context(), client.ObjectKeyFromObject(a), &v1alpha1.AIAnalysis{}))
	}, func() string { return "still there" })
	if err := c.stop(); err != nil {
		t.Errorf("the controller ended with %v", err)
	}
	if refused := log.lines("forbidden"); len(refused) > 0 {
		t.Errorf("the API server refused:\n%s", strings.Join(refused, "\n"))
	}
}

// A bad policy does not come into force: metric, Kubernetes event and a condition on what is decided
// meanwhile say so, until the file is good again.
func TestBadPolicyIsNotTaken(t *testing.T) {
	s := newSystem(t)
	good, err := os.ReadFile(policyFile)
	if err != nil {
		t.Fatal(err)
	}
	s.cfg.Rego.PolicyPath = filepath.Join(t.TempDir(), "approval.rego")
	replace := func(text []byte) {
		t.Helper()
		next := s.cfg.Rego.PolicyPath + ".next"
		if err := errors.Join(os.WriteFile(next, text, 0o600), os.Rename(next, s.cfg.Rego.PolicyPath)); err != nil {
			t.Fatal(err)
		}
	}
	replace(good)
	c := s.runWith(s.cfg, Options{Rest: s.asServiceAccount(), Logger: s.cfg.Logging.Logger(io.Discard), PodNamespace: s.namespace})
	told := func(reason string) *corev1.Event {
		t.Helper()
		var found *corev1.Event
		s.poll(func() bool {
			var list corev1.EventList
			if err := s.cluster.List(t.Context(), &list, client.InNamespace(s.namespace)); err != nil {
				t.Fatal(err)
			}
			for i := range list.Items {
				if list.Items[i].Reason == reason {
					found = &list.Items[i]
				}
			}
			return found != nil
		}, func() string { return "no Kubernetes event " + reason })
		return found
	}
	wantMetric := func(line string) {
		t.Helper()
		if _, metrics := get(t, "http://"+c.Metrics+"/metrics"); !strings.Contains(metrics, line+"\n") {
			t.Errorf("/metrics lacks %q", line)
		}
	}
	before := s.finished(s.create("before", "OOMKilled", nil))

	replace([]byte("package elsewhere\n\ndefault require_approval := true\n"))
	e := told("ApprovalPolicyRefused")
	if e.Type != corev1.EventTypeWarning || e.InvolvedObject.Kind != "Pod" || !strings.Contains(e.Message, "aianalysis.approval") {
		t.Errorf("event %+v", e)
	}
	wantMetric("aianalysis_policy_reload_error 1")
	wantMetric(`aianalysis_policy_reloads_total{result="failure"} 1`)
	during := s.finished(s.create("during", "OOMKilled", nil))
	stale := meta.FindStatusCondition(during.Status.Conditions, v1alpha1.ConditionPolicyStale)
	if stale == nil || stale.Status != metav1.ConditionTrue || stale.Reason != v1alpha1.ReasonPolicyRefused || stale.ObservedGeneration != during.Generation {
		t.Errorf("condition %+v, want one that says that the policy is stale", stale)
	}
	if st := during.Status; st.Policy == nil || st.Policy.Hash != before.Status.Policy.Hash || st.ApprovalRequired || st.DegradedMode {
		t.Errorf("decided by %+v, approvalRequired %v, degraded %v; want by the policy before", st.Policy, st.ApprovalRequired, st.DegradedMode)
	}

	replace(append(good, "\n# changed\n"...))
	told("ApprovalPolicyLoaded")
	wantMetric("aianalysis_policy_reload_error 0")
	after := s.finished(s.create("after", "OOMKilled", nil))
	for _, a := range []*v1alpha1.AIAnalysis{before, after} {
		if c := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionPolicyStale); c != nil {
			t.Errorf("%s has condition %+v", a.Name, c)
		}
	}
	if after.Status.Policy.Hash == before.Status.Policy.Hash || after.Status.Policy.Rule != "automatic" {
		t.Errorf("decided by %+v, want the changed policy and its rule", after.Status.Policy)
	}
}
