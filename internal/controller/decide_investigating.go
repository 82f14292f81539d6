package controller

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/incident"
)

// investigating waits for the answer to the current attempt, calls for it where nobody does, and
// acts on it.
func (s Settings) investigating(f facts) step {
	remaining := s.remaining(f)
	switch {
	case f.answer != nil && f.answer.err != nil:
		return s.failed(f)
	case f.answer != nil:
		return s.answered(f)
	case f.calling:
		return step{} // the end of the call wakes us, and the call has a deadline
	case remaining <= 0:
		return s.expire(f)
	}
	if at := f.analysis.Status.NextAttemptAt; at != nil && at.After(f.now) {
		return step{again: min(at.Sub(f.now), remaining)}
	}
	if !f.slot.free {
		return s.wait(f)
	}
	return step{launch: true}
}

// failed acts on a call that gave no investigation: it is repeated later, or the analysis fails.
func (s Settings) failed(f facts) step {
	err := f.answer.err
	kind := incident.KindOf(err)
	next := begin(f)
	next.ConsecutiveFailures++
	tries := int(next.ConsecutiveFailures)
	message := fmt.Sprintf("Call %d of %d for an investigation failed: %v.", tries, s.MaxAttempts, err)

	// A conflict means that the key stands for another request, as after an upgrade of the controller
	// that words the same request differently: another key helps.
	if !kind.Retryable() && kind != incident.KindConflict {
		failCall(next, f, terminalSubReason(kind), message)
		return step{status: next}
	}
	if tries >= s.MaxAttempts {
		failCall(next, f, v1alpha1.SubReasonMaxRetriesExceeded, message)
		return step{status: next}
	}
	delay := max(s.backoff(tries, f.jitter), retryAfter(err))
	if delay >= s.remaining(f) {
		failCall(next, f, v1alpha1.SubReasonTimeout,
			message+fmt.Sprintf(" The next call would be after the deadline, %s from the start.", s.OverallTimeout))
		return step{status: next}
	}

	if !outcomeUnknown(err) {
		next.Attempt++
	}
	at := metav1.NewMicroTime(f.now.Add(delay).UTC().Truncate(time.Microsecond))
	next.NextAttemptAt = &at
	next.Reason = v1alpha1.ReasonTransientError
	next.SubReason = v1alpha1.SubReasonTransientError
	next.Message = text(fmt.Sprintf("%s The next one is at %s.", message, at.Format(time.RFC3339)), maxMessage)
	setCondition(next, f, v1alpha1.ConditionInvestigationComplete, false, v1alpha1.ReasonInvestigationRetrying, next.Message)
	return step{status: next, again: delay}
}

// terminalSubReason says why an analysis failed on an error that no repetition can mend.
func terminalSubReason(kind incident.ErrorKind) v1alpha1.SubReason {
	switch kind {
	case incident.KindUnauthorized:
		return v1alpha1.SubReasonAuthenticationError
	case incident.KindForbidden:
		return v1alpha1.SubReasonAuthorizationError
	case incident.KindNotFound:
		return v1alpha1.SubReasonConfigurationError
	case incident.KindMalformed:
		return v1alpha1.SubReasonMalformedResponse
	}
	return v1alpha1.SubReasonPermanentError
}

// outcomeUnknown reports whether the other side may have an investigation for a call that failed:
// the connection broke or timed out, or something between us and it gave up. The call is then
// repeated under the same key.
func outcomeUnknown(err error) bool {
	switch incident.KindOf(err) {
	case incident.KindTimeout, incident.KindNetwork:
		return true
	}
	status := httpStatus(err)
	return status == http.StatusBadGateway || status == http.StatusGatewayTimeout
}

// httpStatus returns the status that came with an error, 0 when there was none.
func httpStatus(err error) int {
	var e *incident.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Status
}

// retryAfter is what the other side asked for, within our bound.
func retryAfter(err error) time.Duration {
	var e *incident.Error
	if !errors.As(err, &e) {
		return 0
	}
	return min(e.RetryAfter, maxRetryAfter)
}

// failCall ends an analysis that could not be investigated.
func failCall(next *v1alpha1.AIAnalysisStatus, f facts, sub v1alpha1.SubReason, message string) {
	finish(next, f, v1alpha1.PhaseFailed, v1alpha1.ReasonAPIError, sub, message)
	conclude(next, f, conclusion{
		investigation: v1alpha1.ReasonInvestigationFailed,
		analysis:      v1alpha1.ReasonAnalysisFailed,
		workflow:      v1alpha1.ReasonWorkflowResolutionFailed,
		approval:      v1alpha1.ReasonNothingToApprove,
	})
}

// answered acts on an investigation.
func (s Settings) answered(f facts) step {
	inv := f.answer.investigation
	recovery := f.analysis.Spec.IsRecoveryAttempt
	next := begin(f)
	next.ConsecutiveFailures = 0
	next.NextAttemptAt = nil
	next.Reason, next.SubReason, next.Message = "", "", ""
	next.InvestigationTime = ceilSeconds(f.answer.took)
	usable := describe(next, inv)

	switch {
	case inv.NeedsHumanReview:
		s.review(next, f, reviewSubReason(inv), reviewMessage(inv))
	case recovery && inv.Recovery != nil && !inv.Recovery.CanRecover:
		noRecovery(next, f, "The previous execution cannot be recovered from: "+recoveryReason(inv))
	case recovery && inv.Workflow == nil:
		noRecovery(next, f, "No workflow is left for a recovery. "+inv.Analysis)
	case inv.Workflow == nil && confidence(inv.Confidence) >= resolvedConfidence:
		resolved(next, f, inv)
	case inv.Workflow != nil && usable != nil:
		s.review(next, f, v1alpha1.SubReasonValidationError, "The chosen workflow cannot be used: "+usable.Error())
	case inv.Workflow != nil && confidence(inv.Workflow.Confidence) < s.ReviewThreshold:
		s.review(next, f, v1alpha1.SubReasonLowConfidence, fmt.Sprintf(
			"Workflow %s was chosen with confidence %.2f; below %.2f a person must look.",
			inv.Workflow.ID, confidence(inv.Workflow.Confidence), s.ReviewThreshold))
	default:
		next.Phase = v1alpha1.PhaseAnalyzing
		next.Message = "The investigation is complete; asking the approval policy."
		setCondition(next, f, v1alpha1.ConditionInvestigationComplete, true, v1alpha1.ReasonInvestigationSucceeded, "The investigation answered.")
	}
	fit(next, f.analysis)
	return step{status: next}
}

// review ends an analysis that a person must look at. What was proposed is shown, without the
// parameters that it would need to run.
func (s Settings) review(next *v1alpha1.AIAnalysisStatus, f facts, sub v1alpha1.SubReason, message string) {
	if next.SelectedWorkflow != nil {
		next.SelectedWorkflow.Parameters = nil
	}
	finish(next, f, v1alpha1.PhaseFailed, v1alpha1.ReasonWorkflowResolutionFailed, sub, message)
	conclude(next, f, unresolved)
}

// noRecovery ends an analysis for which there is nothing left to try.
func noRecovery(next *v1alpha1.AIAnalysisStatus, f facts, message string) {
	next.SelectedWorkflow = nil
	finish(next, f, v1alpha1.PhaseFailed, v1alpha1.ReasonRecoveryNotPossible, v1alpha1.SubReasonNoRecoveryStrategy, message)
	conclude(next, f, unresolved)
}

// resolved ends an analysis that found nothing to do.
func resolved(next *v1alpha1.AIAnalysisStatus, f facts, inv incident.Investigation) {
	message := inv.Analysis
	if message == "" {
		message = joined(inv.Warnings)
	}
	if message == "" {
		message = "The problem is gone; no workflow is needed."
	}
	finish(next, f, v1alpha1.PhaseCompleted, v1alpha1.ReasonWorkflowNotNeeded, v1alpha1.SubReasonProblemResolved, message)
	conclude(next, f, conclusion{
		investigation: v1alpha1.ReasonInvestigationSucceeded,
		analysis:      v1alpha1.ReasonAnalysisSucceeded,
		workflow:      v1alpha1.ReasonNoWorkflowNeeded,
		approval:      v1alpha1.ReasonNothingToApprove,
	})
}

func confidence(f float64) float64 {
	f, _ = unit(f)
	return f
}
