package controller

import (
	"net/http"
	"time"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/incident"
)

// trail returns the audit events of a step that leads from f.analysis.Status to next, in their
// order. Their ids depend on what happened and not on when, so that a step that is repeated after a
// crash or a conflict is recorded once.
func trail(f facts, next *v1alpha1.AIAnalysisStatus, requestHash string) []incident.AuditEvent {
	a, before := f.analysis, &f.analysis.Status
	var events []incident.AuditEvent
	add := func(p audit.Payload) { events = append(events, audit.New(subjectOf(a), f.now, p)) }

	if untouched(before) {
		add(started(a))
	}
	if f.answer != nil {
		add(audit.InvestigationCall{
			Recovery:     a.Spec.IsRecoveryAttempt,
			Status:       statusOf(f.answer.err),
			Duration:     f.answer.took,
			Attempt:      int(before.ConsecutiveFailures) + 1,
			RequestHash:  requestHash,
			BundleDigest: f.answer.investigation.BundleDigest,
			Err:          f.answer.err,
		})
	}
	if f.verdict != nil {
		add(audit.PolicyEvaluation{Decision: f.verdict.decision, Duration: f.verdict.took, Err: f.verdict.err})
		if f.verdict.err == nil {
			add(approvalDecision(a, f.verdict.decision))
		}
	}
	if err := failure(f, next); err != nil {
		add(audit.ErrorOccurred{
			Phase: string(phaseOf(before)), Attempt: tries(f), Err: err, Final: next.Phase.Terminal(),
		})
	}
	if old := phaseOf(before); next.Phase != old {
		add(audit.PhaseTransition{Old: string(old), New: string(next.Phase)})
	}
	if next.Phase == v1alpha1.PhaseFailed && next.Reason == v1alpha1.ReasonWorkflowResolutionFailed {
		p := audit.HumanReviewRequired{Reason: next.Reason, SubReason: string(next.SubReason), Message: next.Message}
		if f.answer != nil {
			p.ReviewReason = f.answer.investigation.HumanReviewReason
			p.BundleDigest = f.answer.investigation.BundleDigest
		}
		if next.SelectedWorkflow != nil {
			p.WorkflowID, p.Confidence = next.SelectedWorkflow.WorkflowID, &next.SelectedWorkflow.Confidence
		}
		add(p)
	}
	if next.Phase.Terminal() {
		add(completed(f, next))
	}
	return events
}

func subjectOf(a *v1alpha1.AIAnalysis) audit.Subject {
	return audit.Analysis(string(a.UID), a.Generation, a.Namespace, a.Name, a.Spec.RemediationID)
}

func started(a *v1alpha1.AIAnalysis) audit.AnalysisStarted {
	signal := &a.Spec.AnalysisRequest.SignalContext
	p := audit.AnalysisStarted{
		SignalType:  signal.SignalType,
		Severity:    signal.Severity,
		Environment: signal.Environment,
		Priority:    signal.BusinessPriority,
		Fingerprint: signal.Fingerprint,
		Target: incident.Ref{
			Kind: signal.TargetResource.Kind, Namespace: signal.TargetResource.Namespace, Name: signal.TargetResource.Name,
		},
		AnalysisTypes: a.Spec.AnalysisRequest.AnalysisTypes,
	}
	if a.Spec.IsRecoveryAttempt {
		p.RecoveryAttempt = max(a.Spec.RecoveryAttemptNumber, 1)
	}
	return p
}

func approvalDecision(a *v1alpha1.AIAnalysis, d incident.Decision) audit.ApprovalDecision {
	p := audit.ApprovalDecision{Decision: d, Environment: a.Spec.AnalysisRequest.SignalContext.Environment}
	if wf := a.Status.SelectedWorkflow; wf != nil {
		p.WorkflowID, p.Confidence = wf.WorkflowID, &wf.Confidence
	}
	return p
}

func completed(f facts, next *v1alpha1.AIAnalysisStatus) audit.AnalysisCompleted {
	p := audit.AnalysisCompleted{
		Phase:              string(next.Phase),
		ApprovalRequired:   next.ApprovalRequired,
		ApprovalReason:     next.ApprovalReason,
		DegradedMode:       next.DegradedMode,
		WarningsCount:      len(next.Warnings),
		TargetInOwnerChain: next.TargetInOwnerChain,
		Reason:             next.Reason,
		SubReason:          string(next.SubReason),
		Attempts:           int(next.Attempt),
	}
	if next.SelectedWorkflow != nil {
		p.WorkflowID, p.Confidence = next.SelectedWorkflow.WorkflowID, &next.SelectedWorkflow.Confidence
	}
	if next.Policy != nil {
		p.PolicyHash = next.Policy.Hash
	}
	if next.Bundle != nil {
		p.BundleDigest = next.Bundle.Digest
	}
	if next.StartedAt != nil {
		p.Duration = max(f.now.Sub(next.StartedAt.Time), time.Millisecond)
	}
	return p
}

// failure returns the error of a step, nil when it had none. A failed call that is going to be
// repeated is told by its own event alone.
func failure(f facts, next *v1alpha1.AIAnalysisStatus) error {
	switch {
	case next.Phase != v1alpha1.PhaseFailed:
		return nil
	case f.answer != nil && f.answer.err != nil:
		return f.answer.err
	case f.verdict != nil && f.verdict.err != nil:
		return f.verdict.err
	case next.Reason == v1alpha1.ReasonAPIError:
		return incident.Errorf(incident.KindTimeout, "analyse", "%s", next.Message)
	}
	return nil
}

// tries counts the calls for an investigation, with the one that just ended.
func tries(f facts) int {
	n := int(f.analysis.Status.ConsecutiveFailures)
	if f.answer != nil {
		n++
	}
	return n
}

// statusOf returns the HTTP status of an answer: 200 for an investigation, 0 when there was none.
func statusOf(err error) int {
	if err == nil {
		return http.StatusOK
	}
	return httpStatus(err)
}
