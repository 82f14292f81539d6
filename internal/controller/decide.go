package controller

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/incident"
)

// facts are all that a decision depends on.
type facts struct {
	now      time.Time
	jitter   float64              // from 0 to 1
	analysis *v1alpha1.AIAnalysis // not changed by a decision

	// In Pending and Investigating:
	answer  *answer // of the current attempt; nil while there is none
	calling bool    // a call for the current attempt is running
	slot    slot    // whether a call may start

	// In Analyzing, when there is a workflow:
	verdict *verdict
}

// answer is how a call for an investigation ended.
type answer struct {
	investigation incident.Investigation // when err is nil
	err           error
	took          time.Duration
}

// slot says whether a call may start now.
type slot struct {
	free bool
	// broken is set when there is no slot because the investigating side keeps failing.
	broken bool
	// retryIn is when to ask again at the latest; 0 when the reconciler is going to be woken.
	retryIn time.Duration
}

// verdict is how the evaluation of the policy ended.
type verdict struct {
	decision incident.Decision
	err      error
	stale    error // why the policy that decided is not that of the file; nil when it is
	took     time.Duration
}

// step is what to do about an analysis.
type step struct {
	status *v1alpha1.AIAnalysisStatus // to write; nil when it stays as it is
	launch bool                       // start the call for the status's attempt, in the slot that was free
	again  time.Duration              // when to look again at the latest; 0 when something else will wake us
}

// decide returns the next step of an analysis that is not being deleted. It is a function of its
// arguments.
func (s Settings) decide(f facts) step {
	switch f.analysis.Status.Phase {
	case "", v1alpha1.PhasePending:
		return s.pending(f)
	case v1alpha1.PhaseInvestigating:
		return s.investigating(f)
	case v1alpha1.PhaseAnalyzing:
		return s.analyzing(f)
	}
	return step{} // final
}

// untouched reports whether nobody has written a status yet. A new resource is Pending by the schema's
// default; under a schema without it, its phase is empty.
func untouched(s *v1alpha1.AIAnalysisStatus) bool { return s.StartedAt == nil }

// phaseOf returns the phase of a status, which for a new resource is Pending.
func phaseOf(s *v1alpha1.AIAnalysisStatus) v1alpha1.Phase {
	if s.Phase == "" {
		return v1alpha1.PhasePending
	}
	return s.Phase
}

// accept takes up a new analysis, and returns its first status.
func (s Settings) accept(f facts) *v1alpha1.AIAnalysisStatus {
	next := begin(f)
	next.Phase = v1alpha1.PhasePending
	next.StartedAt = seconds(f.now)
	next.Warnings = texts(s.timeoutsFor(&f.analysis.Spec).warnings, maxLines, maxLine)
	return next
}

// saidAfter is how old a resource must be before its status says that it waits for a slot. That it is
// Pending can be seen without; in a burst, nearly all wait a little, and each would cost a write.
const saidAfter = 20 * time.Second

// pending starts the investigation as soon as there is a slot. A new analysis that finds one soon is
// accepted and started in one step: that it was Pending is in its schema and in its audit trail.
func (s Settings) pending(f facts) step {
	if remaining := s.remaining(f); remaining <= 0 {
		return s.expire(f)
	}
	first := untouched(&f.analysis.Status)
	if !f.slot.free {
		if !first {
			return s.wait(f)
		}
		if age := f.now.Sub(f.analysis.CreationTimestamp.Time); age < saidAfter && !f.slot.broken {
			return step{again: saidAfter - max(age, 0)}
		}
		next := s.accept(f)
		next.Message = "Accepted; waiting for an investigation to start."
		return step{status: next}
	}
	next := begin(f)
	if first {
		next = s.accept(f)
	}
	next.Phase = v1alpha1.PhaseInvestigating
	next.Attempt = 1
	next.Message = "Investigating."
	next.Reason, next.SubReason = "", ""
	return step{status: next, launch: true}
}

// wait says what an analysis waits for that may not call now.
func (s Settings) wait(f facts) step {
	st := step{again: s.remaining(f)}
	if f.slot.retryIn > 0 {
		st.again = min(st.again, f.slot.retryIn)
	}
	if !f.slot.broken {
		return st
	}
	const message = "HolmesGPT-API keeps failing, so it is not called for a while. The analysis waits, and uses up no attempts."
	if f.analysis.Status.Message != message {
		st.status = begin(f)
		st.status.Message = message
		st.status.Reason = v1alpha1.ReasonTransientError
		st.status.SubReason = v1alpha1.SubReasonTransientError
	}
	return st
}

// remaining returns the time until the overall deadline; it is not positive when that has passed.
func (s Settings) remaining(f facts) time.Duration {
	started := f.analysis.Status.StartedAt
	if started == nil {
		return s.OverallTimeout
	}
	return started.Add(s.OverallTimeout).Sub(f.now)
}

// expire fails an analysis whose overall deadline has passed without an answer.
func (s Settings) expire(f facts) step {
	message := fmt.Sprintf("No investigation within %s.", s.OverallTimeout)
	if last := f.analysis.Status.Message; f.analysis.Status.Reason == v1alpha1.ReasonTransientError && last != "" {
		message += " Before that: " + last
	}
	next := begin(f)
	failCall(next, f, v1alpha1.SubReasonTimeout, message)
	return step{status: next}
}

// begin returns the next status as a copy of the present one.
func begin(f facts) *v1alpha1.AIAnalysisStatus {
	next := f.analysis.Status.DeepCopy()
	next.ObservedGeneration = f.analysis.Generation
	return next
}

// finish ends an analysis. The caller sets the conditions.
func finish(next *v1alpha1.AIAnalysisStatus, f facts, phase v1alpha1.Phase, reason string, sub v1alpha1.SubReason, message string) {
	next.Phase = phase
	next.Reason = reason
	next.SubReason = sub
	next.Message = text(message, maxMessage)
	next.CompletedAt = seconds(f.now)
	next.NextAttemptAt = nil
	if next.StartedAt != nil {
		next.TotalAnalysisTime = ceilSeconds(f.now.Sub(next.StartedAt.Time))
	}
}

// seconds returns t as the API carries it.
func seconds(t time.Time) *metav1.Time {
	v := metav1.NewTime(t.UTC().Truncate(time.Second))
	return &v
}

// ceilSeconds returns d in whole seconds, rounded up, and 0 for what is not positive.
func ceilSeconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d + time.Second - 1) / time.Second)
}
