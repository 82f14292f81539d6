package controller

import (
	"strings"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/incident"
)

// reviewSubReasons says which sub-reason a review reason becomes.
var reviewSubReasons = map[incident.ReviewReason]v1alpha1.SubReason{
	incident.ReviewWorkflowNotFound:    v1alpha1.SubReasonWorkflowNotFound,
	incident.ReviewImageMismatch:       v1alpha1.SubReasonImageMismatch,
	incident.ReviewParameterValidation: v1alpha1.SubReasonParameterValidationFailed,
	incident.ReviewNoMatchingWorkflows: v1alpha1.SubReasonNoMatchingWorkflows,
	incident.ReviewLowConfidence:       v1alpha1.SubReasonLowConfidence,
	incident.ReviewParsingError:        v1alpha1.SubReasonLLMParsingError,
	incident.ReviewInconclusive:        v1alpha1.SubReasonInvestigationInconclusive,
	incident.ReviewNotReproducible:     v1alpha1.SubReasonSignalNotReproducible,
}

// reviewHints find the sub-reason in the warnings of an answer that asks for review without a
// reason. The first whose words all occur wins; the order is part of the contract.
var reviewHints = []struct {
	words []string
	sub   v1alpha1.SubReason
}{
	{[]string{"not found"}, v1alpha1.SubReasonWorkflowNotFound},
	{[]string{"does not exist"}, v1alpha1.SubReasonWorkflowNotFound},
	{[]string{"no workflows matched"}, v1alpha1.SubReasonNoMatchingWorkflows},
	{[]string{"no matching"}, v1alpha1.SubReasonNoMatchingWorkflows},
	{[]string{"confidence", "below"}, v1alpha1.SubReasonLowConfidence},
	{[]string{"parameter validation"}, v1alpha1.SubReasonParameterValidationFailed},
	{[]string{"missing required"}, v1alpha1.SubReasonParameterValidationFailed},
	{[]string{"image mismatch"}, v1alpha1.SubReasonImageMismatch},
	{[]string{"container image"}, v1alpha1.SubReasonImageMismatch},
	{[]string{"parse"}, v1alpha1.SubReasonLLMParsingError},
	{[]string{"invalid json"}, v1alpha1.SubReasonLLMParsingError},
}

// reviewSubReason says why a person must look at an answer that asks for it. What cannot be told is
// WorkflowNotFound, as the contract has it.
func reviewSubReason(inv incident.Investigation) v1alpha1.SubReason {
	if sub, ok := reviewSubReasons[inv.HumanReviewReason]; ok {
		return sub
	}
	if inv.HumanReviewReason == "" {
		warnings := strings.ToLower(strings.Join(inv.Warnings, " "))
	hints:
		for _, hint := range reviewHints {
			for _, word := range hint.words {
				if !strings.Contains(warnings, word) {
					continue hints
				}
			}
			return hint.sub
		}
	}
	return v1alpha1.SubReasonWorkflowNotFound
}

// reviewMessage says what speaks against an answer: the errors of each validation attempt, then the
// warnings, else the finding itself.
func reviewMessage(inv incident.Investigation) string {
	var parts []string
	for _, attempt := range inv.Attempts {
		parts = append(parts, attempt.Errors...)
	}
	parts = append(parts, inv.Warnings...)
	if message := joined(parts); message != "" {
		return message
	}
	if inv.Analysis != "" {
		return "A person must look at this: " + inv.Analysis
	}
	return "The investigation asks for a person to look at its result, and does not say why."
}

// recoveryReason says why there is nothing left to try.
func recoveryReason(inv incident.Investigation) string {
	switch {
	case inv.Recovery != nil && inv.Recovery.FailureReason != "":
		return inv.Recovery.FailureReason
	case inv.Analysis != "":
		return inv.Analysis
	case joined(inv.Warnings) != "":
		return joined(inv.Warnings)
	}
	return "the investigation gave no reason."
}

// joined joins the texts that say something, each bounded by itself.
func joined(list []string) string {
	var say []string
	for _, s := range list {
		if strings.TrimSpace(s) != "" {
			say = append(say, s)
		}
	}
	return strings.Join(texts(say, maxLines, maxLine), "; ")
}
