package controller

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/incident"
)

// transitions are all that may follow a phase, beside itself.
var transitions = map[v1alpha1.Phase][]v1alpha1.Phase{
	"":                          {v1alpha1.PhasePending, v1alpha1.PhaseInvestigating},
	v1alpha1.PhasePending:       {v1alpha1.PhaseInvestigating, v1alpha1.PhaseFailed},
	v1alpha1.PhaseInvestigating: {v1alpha1.PhaseAnalyzing, v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed},
	v1alpha1.PhaseAnalyzing:     {v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed},
}

// machine drives one analysis through decide with a world that does what it likes.
type machine struct {
	settings Settings
	now      time.Time
	analysis *v1alpha1.AIAnalysis
	calling  bool
	calls    int             // started in all
	keys     map[string]bool // investigations that the other side was paid for
	failed   int
}

// TestPhaseMachine: whatever happens, in whatever order, phases follow each other as they should, an
// analysis ends, and neither calls nor attempts exceed their bounds.
func TestPhaseMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{settings: DefaultSettings(), now: testTime, analysis: fresh(rapid.Bool().Draw(t, "recovery")), keys: map[string]bool{}}
		m.settings.MaxAttempts = rapid.IntRange(1, 4).Draw(t, "max attempts")
		for !m.analysis.Status.Phase.Terminal() {
			m.now = m.now.Add(time.Duration(rapid.IntRange(1, 40_000).Draw(t, "passes")) * time.Millisecond)
			m.step(t, m.world(t))
			if m.now.Sub(testTime) > 2*m.settings.OverallTimeout {
				t.Fatalf("still %s after %v", m.analysis.Status.Phase, m.now.Sub(testTime))
			}
		}
		if m.calls > m.settings.MaxAttempts {
			t.Errorf("%d calls, more than %d", m.calls, m.settings.MaxAttempts)
		}
		if len(m.keys) > int(m.analysis.Status.Attempt) {
			t.Errorf("%d keys, but %d attempts in the status", len(m.keys), m.analysis.Status.Attempt)
		}
		if st := m.settings.decide(facts{now: m.now, analysis: m.analysis, slot: slot{free: true}}); st != (step{}) {
			t.Errorf("a finished analysis is to take step %+v", st)
		}
	})
}

// world draws what the controller finds.
func (m *machine) world(t *rapid.T) facts {
	f := facts{now: m.now, jitter: rapid.Float64Range(0, 1).Draw(t, "jitter"), analysis: m.analysis}
	switch m.analysis.Status.Phase {
	case "", v1alpha1.PhasePending, v1alpha1.PhaseInvestigating:
		if m.calling {
			switch rapid.IntRange(0, 3).Draw(t, "call") {
			case 0:
				f.calling = true
			case 1: // the process was killed: nobody calls any more
				m.calling = false
				m.calls-- // the same call is made again
			default:
				m.calling = false
				f.answer = m.answer(t)
			}
			return f
		}
		if at := m.analysis.Status.NextAttemptAt; at == nil || !at.After(m.now) {
			f.slot = rapid.SampledFrom([]slot{{free: true}, {free: true}, {}, {broken: true, retryIn: time.Second}}).Draw(t, "slot")
		}
	case v1alpha1.PhaseAnalyzing:
		f.verdict = &verdict{decision: incident.Decision{
			ApprovalRequired: rapid.Bool().Draw(t, "approval"), Reason: "because", Degraded: rapid.Bool().Draw(t, "degraded"),
		}}
		if rapid.IntRange(0, 9).Draw(t, "policy") == 0 {
			f.verdict.err = errors.New("broken")
		}
	}
	return f
}

func (m *machine) answer(t *rapid.T) *answer {
	if rapid.Bool().Draw(t, "answers") {
		return &answer{investigation: anyInvestigation().Draw(t, "investigation"), took: time.Second}
	}
	kind := rapid.SampledFrom([]incident.ErrorKind{
		incident.KindTimeout, incident.KindNetwork, incident.KindUnavailable, incident.KindRateLimited, incident.KindConflict,
		incident.KindInvalid, incident.KindMalformed,
	}).Draw(t, "error")
	return &answer{err: &incident.Error{
		Kind: kind, Op: "investigate", Status: rapid.SampledFrom([]int{0, 500, 502}).Draw(t, "status"),
		RetryAfter: time.Duration(rapid.IntRange(0, 600).Draw(t, "retry after")) * time.Second, Err: errors.New("no"),
	}}
}

// step takes the step that is decided and checks it.
func (m *machine) step(t *rapid.T, f facts) {
	before := m.analysis.DeepCopy()
	s := m.settings.decide(f)
	if again := m.settings.decide(f); (again.status == nil) != (s.status == nil) || again.launch != s.launch || again.again != s.again {
		t.Fatalf("two decisions on the same facts differ: %+v, %+v", s, again)
	}
	next := &m.analysis.Status
	if s.status != nil {
		next = s.status
		checkStored(t, next)
		checkFinal(t, f, next)
	}
	if stampOf(before) != stampOf(m.analysis) {
		t.Fatalf("the decision changed its facts")
	}
	m.checkMove(t, f, next)
	if s.status == nil && !s.launch && !f.calling && s.again <= 0 {
		t.Fatalf("nothing would wake the analysis in phase %s", next.Phase)
	}
	m.analysis = m.analysis.DeepCopy()
	m.analysis.Status = *next
	if s.launch {
		m.launch(t, f)
	}
}

func (m *machine) checkMove(t *rapid.T, f facts, next *v1alpha1.AIAnalysisStatus) {
	from := &m.analysis.Status
	if next.Phase != from.Phase {
		ok := false
		for _, p := range transitions[from.Phase] {
			ok = ok || p == next.Phase
		}
		if !ok {
			t.Fatalf("from %q to %q", from.Phase, next.Phase)
		}
	}
	if next.Attempt < from.Attempt {
		t.Fatalf("attempt %d after %d", next.Attempt, from.Attempt)
	}
	failure := f.answer != nil && f.answer.err != nil
	if failure {
		m.failed++
	}
	if failure && next.ConsecutiveFailures != from.ConsecutiveFailures+1 {
		t.Fatalf("a failure was not counted: %d after %d", next.ConsecutiveFailures, from.ConsecutiveFailures)
	}
	if next.StartedAt == nil || from.StartedAt != nil && !next.StartedAt.Equal(from.StartedAt) {
		t.Fatalf("startedAt went from %v to %v", from.StartedAt, next.StartedAt)
	}
	if next.Phase == v1alpha1.PhaseCompleted && next.Reason != v1alpha1.ReasonWorkflowNotNeeded {
		if next.SelectedWorkflow == nil || next.SelectedWorkflow.Confidence < m.settings.ReviewThreshold {
			t.Fatalf("completed with workflow %+v", next.SelectedWorkflow)
		}
	}
	if next.Phase == v1alpha1.PhaseFailed && next.ApprovalRequired {
		t.Fatalf("failed and waits for approval")
	}
	if next.ApprovalRequired != (next.ApprovalContext != nil) {
		t.Fatalf("approvalRequired is %v and approvalContext %v", next.ApprovalRequired, next.ApprovalContext)
	}
}

func (m *machine) launch(t *rapid.T, f facts) {
	if !f.slot.free {
		t.Fatalf("a call without a slot")
	}
	if m.analysis.Status.Phase != v1alpha1.PhaseInvestigating || m.analysis.Status.Attempt < 1 {
		t.Fatalf("a call in phase %s, attempt %d", m.analysis.Status.Phase, m.analysis.Status.Attempt)
	}
	m.calling = true
	m.calls++
	m.keys[callKey(m.analysis)] = true
}
