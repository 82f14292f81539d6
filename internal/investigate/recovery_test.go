package investigate

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kubernaut.ai/kubernaut/internal/incident"
)

func TestRecovery(t *testing.T) {
	first, in := told(t, scenarioOOM)
	inv, err := pipeline(t, first, newStorage(t)).Investigate(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	failed := incident.Execution{
		Ref: "we-1", RootCause: inv.RootCause, Workflow: *inv.Workflow,
		Failure: incident.ExecutionFailure{StepIndex: 1, StepName: "apply", Reason: "OOMKilled", Message: "secret text of a step"},
	}
	again := func(t *testing.T, name string, previous ...incident.Execution) incident.Investigation {
		t.Helper()
		c, in := told(t, name)
		in.Recovery = &incident.Recovery{Attempt: len(previous), Previous: previous}
		inv, err := pipeline(t, c, newStorage(t)).Investigate(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if inv.Recovery == nil {
			t.Fatal("no assessment")
		}
		return inv
	}
	t.Run("never the same again", func(t *testing.T) {
		other := failed
		other.Ref, other.Workflow = "we-2", incident.SelectedWorkflow{ID: "other"}
		inv := again(t, scenarioOOM, failed, other)
		if inv.Workflow != nil || inv.Recovery.CanRecover || inv.HumanReviewReason != incident.ReviewNoMatchingWorkflows {
			t.Errorf("workflow %+v, can recover %v, review %q", inv.Workflow, inv.Recovery.CanRecover, inv.HumanReviewReason)
		}
		if !slices.ContainsFunc(inv.Candidates, func(c incident.Candidate) bool {
			return strings.Contains(c.Reason, "was executed before with the same parameters (we-1)")
		}) {
			t.Errorf("candidates %+v", inv.Candidates)
		}
	})
	t.Run("with other parameters", func(t *testing.T) {
		smaller := failed
		smaller.Workflow.Parameters = map[string]string{}
		maps.Copy(smaller.Workflow.Parameters, failed.Workflow.Parameters)
		smaller.Workflow.Parameters["MEMORY_LIMIT"] = "1Mi"
		inv := again(t, scenarioOOM, smaller, smaller)
		want := &incident.RecoveryAssessment{
			CanRecover: true, Assessed: true, FailureUnderstood: true, CurrentSignalType: "OOMKilled",
			FailureReason: "Execution we-1 failed at step 1: a container was killed at its memory limit. The state now explains it: " + inv.RootCause.Summary,
			Strategies: []incident.RecoveryStrategy{{
				ActionType: "raise_memory_limit", Confidence: inv.Confidence, Rationale: inv.Workflow.Rationale, Risk: "low",
			}},
		}
		if diff := cmp.Diff(want, inv.Recovery, cmpopts.IgnoreFields(incident.RecoveryStrategy{}, "Prerequisites")); diff != "" {
			t.Errorf("assessment (-want +got):\n%s", diff)
		}
		if len(inv.Recovery.Strategies[0].Prerequisites) == 0 {
			t.Error("the preconditions of the workflow are missing")
		}
		if strings.Contains(inv.Analysis, "secret text") {
			t.Error("the analysis repeats the message of a step")
		}
	})
	t.Run("another problem now", func(t *testing.T) {
		inv := again(t, "image-not-found", failed)
		a := inv.Recovery
		if !a.StateChanged || a.CurrentSignalType != "ImagePullBackOff" || a.FailureUnderstood || !a.CanRecover {
			t.Errorf("assessment %+v", a)
		}
	})
	t.Run("resolved", func(t *testing.T) {
		inv := again(t, scenarioHealthy, failed)
		a := inv.Recovery
		if !a.StateChanged || a.CurrentSignalType != "" || a.CanRecover || inv.NeedsHumanReview || inv.Confidence < 0.7 {
			t.Errorf("assessment %+v, review %v, confidence %v", a, inv.NeedsHumanReview, inv.Confidence)
		}
	})
	t.Run("without any record", func(t *testing.T) {
		inv := again(t, scenarioOOM)
		if a := inv.Recovery; a.Assessed || !a.CanRecover || a.CurrentSignalType != "OOMKilled" {
			t.Errorf("assessment %+v", a)
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		denied := failed
		denied.Failure.Reason = "Forbidden"
		if a := again(t, scenarioOOM, denied).Recovery; !a.FailureUnderstood || !strings.Contains(a.FailureReason, "not allowed") {
			t.Errorf("assessment %+v", a)
		}
	})
}

func BenchmarkInvestigate(b *testing.B) {
	c, in := told(b, scenarioOOM)
	st := newStorage(b)
	p := pipeline(b, c, st)
	b.ReportAllocs()
	for b.Loop() {
		st.events, st.queries = nil, nil
		if _, err := p.Investigate(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}
