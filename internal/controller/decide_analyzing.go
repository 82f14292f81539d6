package controller

import (
	"fmt"
	"slices"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// ruleLowConfidence is the policy rule that asks for a person because of the confidence alone. A
// policy without such a rule loses nothing but a more precise reason of the condition.
const ruleLowConfidence = "low_confidence"

// analyzing turns the policy's verdict into the end of the analysis.
func (s Settings) analyzing(f facts) step {
	next := begin(f)
	workflow := next.SelectedWorkflow
	switch {
	case workflow == nil:
		finish(next, f, v1alpha1.PhaseFailed, v1alpha1.ReasonNoWorkflowSelected, v1alpha1.SubReasonInvestigationInconclusive,
			"The investigation named no workflow, and is not sure enough that nothing is wrong.")
		conclude(next, f, unresolved)
		return step{status: next}
	case f.verdict.err != nil:
		finish(next, f, v1alpha1.PhaseFailed, v1alpha1.ReasonRegoEvaluationError, v1alpha1.SubReasonPolicyEvaluationFailed,
			fmt.Sprintf("The approval policy gave no answer: %v.", f.verdict.err))
		conclude(next, f, conclusion{
			investigation: v1alpha1.ReasonInvestigationSucceeded,
			analysis:      v1alpha1.ReasonAnalysisFailed,
			workflow:      v1alpha1.ReasonWorkflowSelected,
			approval:      v1alpha1.ReasonNothingToApprove,
		})
		return step{status: next}
	}

	d := f.verdict.decision
	next.ApprovalRequired = d.ApprovalRequired
	next.ApprovalReason = text(d.Reason, maxMessage)
	next.DegradedMode = d.Degraded
	next.Policy = &v1alpha1.Policy{
		Name:  text(d.PolicyName, maxName),
		Hash:  text(d.PolicyHash, maxHash),
		Rule:  text(d.Rule, maxName),
		Rules: texts(d.Rules, maxLines, maxName),
	}
	approval, sub := v1alpha1.ReasonAutoApproved, v1alpha1.SubReasonAutoApproved
	message := fmt.Sprintf("Workflow %s, confidence %.2f, may run without approval: %s", workflow.WorkflowID, workflow.Confidence, d.Reason)
	if d.ApprovalRequired {
		next.ApprovalContext = approvalContext(next, d)
		approval, sub = v1alpha1.ReasonPolicyRequiresApproval, v1alpha1.SubReasonApprovalRequired
		switch {
		case d.Degraded:
			approval = v1alpha1.ReasonPolicyDegraded
		case slices.Equal(d.Rules, []string{ruleLowConfidence}):
			approval = v1alpha1.ReasonLowConfidence
		}
		message = fmt.Sprintf("Workflow %s, confidence %.2f, waits for approval: %s", workflow.WorkflowID, workflow.Confidence, d.Reason)
	}
	finish(next, f, v1alpha1.PhaseCompleted, v1alpha1.ReasonAnalysisCompleted, sub, message)
	conclude(next, f, conclusion{
		investigation: v1alpha1.ReasonInvestigationSucceeded,
		analysis:      v1alpha1.ReasonAnalysisSucceeded,
		workflow:      v1alpha1.ReasonWorkflowSelected,
		approval:      approval,
	})
	if stale := f.verdict.stale; stale != nil {
		setCondition(next, f, v1alpha1.ConditionPolicyStale, true, v1alpha1.ReasonPolicyRefused,
			fmt.Sprintf("An earlier policy decided, because the policy file was refused: %v.", stale))
	}
	fit(next, f.analysis)
	return step{status: next}
}
