package controller

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// conclusion is the reason of each of the four conditions of a finished analysis. The reason decides
// whether the condition is True.
type conclusion struct {
	investigation string
	analysis      string
	workflow      string
	approval      string
}

// unresolved is the conclusion of an investigation that answered without a workflow that may run.
var unresolved = conclusion{
	investigation: v1alpha1.ReasonInvestigationSucceeded,
	analysis:      v1alpha1.ReasonAnalysisFailed,
	workflow:      v1alpha1.ReasonWorkflowResolutionFailed,
	approval:      v1alpha1.ReasonNothingToApprove,
}

// positive are the reasons for which their condition is True.
var positive = map[string]bool{
	v1alpha1.ReasonInvestigationSucceeded: true,
	v1alpha1.ReasonAnalysisSucceeded:      true,
	v1alpha1.ReasonWorkflowSelected:       true,
	v1alpha1.ReasonPolicyRequiresApproval: true,
	v1alpha1.ReasonPolicyDegraded:         true,
	v1alpha1.ReasonLowConfidence:          true,
}

// conditionText is the message of a condition by its reason. Where there is none, the message is
// that of the status.
var conditionText = map[string]string{
	v1alpha1.ReasonInvestigationSucceeded: "The investigation answered.",
	v1alpha1.ReasonAnalysisSucceeded:      "The analysis came to a decision.",
	v1alpha1.ReasonWorkflowSelected:       "A workflow was chosen.",
	v1alpha1.ReasonNoWorkflowNeeded:       "There is nothing left to remedy.",
	v1alpha1.ReasonNothingToApprove:       "There is no workflow to approve.",
}

// conclude sets all four conditions of a finished analysis. Message and approval reason are set
// before.
func conclude(next *v1alpha1.AIAnalysisStatus, f facts, c conclusion) {
	for _, e := range []struct{ condition, reason string }{
		{v1alpha1.ConditionInvestigationComplete, c.investigation},
		{v1alpha1.ConditionAnalysisComplete, c.analysis},
		{v1alpha1.ConditionWorkflowResolved, c.workflow},
		{v1alpha1.ConditionApprovalRequired, c.approval},
	} {
		message, ok := conditionText[e.reason]
		switch {
		case ok:
		case e.condition == v1alpha1.ConditionApprovalRequired:
			message = next.ApprovalReason
		default:
			message = next.Message
		}
		setCondition(next, f, e.condition, positive[e.reason], e.reason, message)
	}
}

func setCondition(next *v1alpha1.AIAnalysisStatus, f facts, condition string, status bool, reason, message string) {
	value := metav1.ConditionFalse
	if status {
		value = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&next.Conditions, metav1.Condition{
		Type: condition, Status: value, Reason: reason, Message: text(message, maxLine),
		ObservedGeneration: f.analysis.Generation, LastTransitionTime: *seconds(f.now),
	})
}
