package controller

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/incident"
)

// A decision by an earlier policy, because the file was refused, says so; any other has no such
// condition.
func TestStalePolicyIsACondition(t *testing.T) {
	for _, stale := range []error{nil, errors.New("policy approval.rego:3: bad")} {
		a := running(false)
		a.Status.Phase = v1alpha1.PhaseAnalyzing
		a.Status.SelectedWorkflow = &v1alpha1.SelectedWorkflow{WorkflowID: "raise-memory", Confidence: 0.9}
		f := facts{now: testTime, analysis: a, verdict: &verdict{decision: incident.Decision{Reason: "staging", Rule: "automatic"}, stale: stale}}
		got := DefaultSettings().decide(f).status
		c := meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionPolicyStale)
		switch {
		case stale == nil && c != nil:
			t.Errorf("got condition %+v for a policy that is current", c)
		case stale != nil && (c == nil || c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.ReasonPolicyRefused || !strings.Contains(c.Message, stale.Error())):
			t.Errorf("got condition %+v, want one with %q", c, stale)
		}
		if got.Policy.Rule != "automatic" {
			t.Errorf("got policy %+v", got.Policy)
		}
		checkFinal(t, f, got)
		checkStored(t, got)
	}
}
