package controller

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/incident"
)

// walk takes a fresh analysis through the given facts, which are filled in as far as the phase is
// concerned, and returns every audit event and Kubernetes event reason, and the final status.
func walk(t *testing.T, recovery bool, world ...facts) (events []incident.AuditEvent, reasons []string, final v1alpha1.AIAnalysisStatus) {
	t.Helper()
	a := fresh(recovery)
	for i, f := range world {
		f.now, f.analysis = testTime.Add(time.Duration(i)*time.Second), a
		s := DefaultSettings().decide(f)
		if s.status == nil {
			t.Fatalf("no step in phase %q", a.Status.Phase)
		}
		events = append(events, trail(f, s.status, "hash")...)
		for _, n := range notices(f, s.status) {
			reasons = append(reasons, n.kind+" "+n.reason)
		}
		a = a.DeepCopy()
		a.Status = *s.status
	}
	return events, reasons, a.Status
}

func kindsOf(events []incident.AuditEvent) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.Type + " " + string(e.Outcome)
	}
	return out
}

func TestTrail(t *testing.T) {
	start := []facts{{}, {slot: slot{free: true}}}
	plus := func(more ...facts) []facts { return append(append([]facts(nil), start...), more...) }
	answered := func(change func(*incident.Investigation)) facts {
		inv := found()
		if change != nil {
			change(&inv)
		}
		return facts{answer: &answer{investigation: inv, took: time.Second}}
	}
	called := func(err error) facts { return facts{answer: &answer{err: err, took: time.Second}} }
	verdictOf := func(approval bool, err error) facts {
		return facts{verdict: &verdict{decision: incident.Decision{ApprovalRequired: approval, Reason: "r", PolicyHash: "ab"}, err: err}}
	}
	const (
		begun      = "aianalysis.analysis.started pending"
		moved      = "aianalysis.phase.transition success"
		call       = "aianalysis.holmesgpt.call success"
		callFailed = "aianalysis.holmesgpt.call failure"
		rego       = "aianalysis.rego.evaluation success"
		regoFailed = "aianalysis.rego.evaluation failure"
		approval   = "aianalysis.approval.decision success"
		completed  = "aianalysis.analysis.completed success"
		failed     = "aianalysis.analysis.completed failure"
		erred      = "aianalysis.error.occurred failure"
		review     = "aianalysis.human_review.required pending"
	)
	for name, tt := range map[string]struct {
		recovery bool
		world    []facts
		events   []string
		notices  []string
	}{
		"clean": {
			world:   plus(answered(nil), verdictOf(false, nil)),
			events:  []string{begun, moved, call, moved, rego, approval, moved, completed},
			notices: []string{"Normal AIAnalysisCreated", "Normal InvestigationComplete", "Normal AnalysisCompleted"},
		},
		"taken up at once": {
			world:   append([]facts{{slot: slot{free: true}}}, answered(nil), verdictOf(false, nil)),
			events:  []string{begun, moved, call, moved, rego, approval, moved, completed},
			notices: []string{"Normal AIAnalysisCreated", "Normal InvestigationComplete", "Normal AnalysisCompleted"},
		},
		"to approve": {
			world:   plus(answered(nil), verdictOf(true, nil)),
			events:  []string{begun, moved, call, moved, rego, approval, moved, completed},
			notices: []string{"Normal AIAnalysisCreated", "Normal InvestigationComplete", "Warning ApprovalRequired"},
		},
		"a failure before": {
			world:   plus(called(httpError(incident.KindUnavailable, 503)), answered(nil), verdictOf(false, nil)),
			events:  []string{begun, moved, callFailed, call, moved, rego, approval, moved, completed},
			notices: []string{"Normal AIAnalysisCreated", "Warning RetryScheduled", "Normal InvestigationComplete", "Normal AnalysisCompleted"},
		},
		"refused": {
			world:   plus(called(httpError(incident.KindInvalid, 400))),
			events:  []string{begun, moved, callFailed, erred, moved, failed},
			notices: []string{"Normal AIAnalysisCreated", "Warning AnalysisFailed"},
		},
		"human review": {
			world:   plus(answered(func(i *incident.Investigation) { i.NeedsHumanReview = true })),
			events:  []string{begun, moved, call, moved, review, failed},
			notices: []string{"Normal AIAnalysisCreated", "Warning HumanReviewRequired"},
		},
		"problem resolved": {
			world:   plus(answered(func(i *incident.Investigation) { i.Workflow = nil })),
			events:  []string{begun, moved, call, moved, completed},
			notices: []string{"Normal AIAnalysisCreated", "Normal AnalysisCompleted"},
		},
		"no workflow": {
			world:   plus(answered(func(i *incident.Investigation) { i.Workflow, i.Confidence = nil, 0.1 }), facts{}),
			events:  []string{begun, moved, call, moved, moved, failed},
			notices: []string{"Normal AIAnalysisCreated", "Normal InvestigationComplete", "Warning AnalysisFailed"},
		},
		"recovery impossible": {
			recovery: true,
			world: plus(answered(func(i *incident.Investigation) {
				i.Recovery = &incident.RecoveryAssessment{}
			})),
			events:  []string{begun, moved, call, moved, failed},
			notices: []string{"Normal AIAnalysisCreated", "Warning AnalysisFailed"},
		},
		"no verdict": {
			world:   plus(answered(nil), verdictOf(false, errors.New("broken"))),
			events:  []string{begun, moved, call, moved, regoFailed, erred, moved, failed},
			notices: []string{"Normal AIAnalysisCreated", "Normal InvestigationComplete", "Warning AnalysisFailed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			events, reasons, _ := walk(t, tt.recovery, tt.world...)
			if diff := cmp.Diff(tt.events, kindsOf(events)); diff != "" {
				t.Errorf("audit events differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.notices, reasons); diff != "" {
				t.Errorf("Kubernetes events differ (-want +got):\n%s", diff)
			}
			ids := make(map[string]string)
			for _, e := range events {
				if other, ok := ids[e.ID]; ok {
					t.Errorf("%s and %s have one id", other, e.Type)
				}
				ids[e.ID] = e.Type
				if faults := e.Validate(testTime.Add(time.Hour)); faults != nil {
					t.Errorf("%s: the store would refuse it: %v", e.Type, faults)
				}
				if e.CorrelationID != "rr-1" || e.ResourceID != "web" || e.Namespace != "shop" || e.ActorID != audit.ActorController {
					t.Errorf("%s: envelope %+v", e.Type, e)
				}
			}
		})
	}
}

// A step that is taken again, later, gives events of the same ids: the store keeps them once.
func TestTrailOfARepeatedStepIsTheSame(t *testing.T) {
	world := []facts{
		{},
		{slot: slot{free: true}},
		{answer: &answer{investigation: found(), took: time.Second}},
		{verdict: &verdict{decision: incident.Decision{ApprovalRequired: true, PolicyHash: "ab"}, took: time.Millisecond}},
	}
	ids := func(shift time.Duration) []string {
		var out []string
		a := fresh(false)
		for _, f := range world {
			f.now, f.analysis = testTime.Add(shift), a
			if f.answer != nil {
				f.answer = &answer{investigation: f.answer.investigation, took: shift}
			}
			s := DefaultSettings().decide(f)
			for _, e := range trail(f, s.status, "hash") {
				out = append(out, e.ID)
			}
			a = a.DeepCopy()
			a.Status = *s.status
		}
		return out
	}
	if diff := cmp.Diff(ids(time.Second), ids(time.Minute)); diff != "" {
		t.Errorf("ids depend on time:\n%s", diff)
	}
}

// Two different ends of one analysis, as after a crash and a change of the policy, are two events.
func TestTrailOfAnotherDecisionIsAnother(t *testing.T) {
	last := func(approval bool, hash string) string {
		a := running(false)
		a.Status.Phase = v1alpha1.PhaseAnalyzing
		a.Status.SelectedWorkflow = &v1alpha1.SelectedWorkflow{WorkflowID: "w", Confidence: 0.9}
		f := facts{now: testTime, analysis: a, verdict: &verdict{decision: incident.Decision{ApprovalRequired: approval, PolicyHash: hash}}}
		events := trail(f, DefaultSettings().decide(f).status, "")
		return events[len(events)-1].ID
	}
	if last(true, "ab") == last(false, "ab") || last(true, "ab") == last(true, "cd") {
		t.Error("the ends of two decisions have one id: the store would keep the one that did not happen")
	}
}
