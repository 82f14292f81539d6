package controller

import (
	"encoding/json"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// fit makes the status fit as JSON beside the rest of a. What it takes away, in this order, is what
// the evidence bundle or the catalog has as well; what identifies, decides or runs something stays.
func fit(s *v1alpha1.AIAnalysisStatus, a *v1alpha1.AIAnalysis) {
	const shortened = "The status was too large: parts of it were shortened or left out. The evidence bundle has all of the evidence."
	limit := min(maxStatusBytes, maxObjectBytes-size(without(a)))
	for i, shed := range sheds {
		if size(s) <= limit {
			return
		}
		if i == 0 {
			s.Warnings = texts(append([]string{shortened}, s.Warnings...), maxLines, maxLine)
		}
		shed(s)
	}
}

// without returns a without its status, and without what the API server drops when it needs room.
func without(a *v1alpha1.AIAnalysis) *v1alpha1.AIAnalysis {
	bare := &v1alpha1.AIAnalysis{TypeMeta: a.TypeMeta, ObjectMeta: a.ObjectMeta, Spec: a.Spec}
	bare.ManagedFields = nil
	return bare
}

// oversized reports whether a with the given status is more than etcd usually takes. The API server
// answers that with an error that nothing but its text tells from a failure that passes.
func oversized(a *v1alpha1.AIAnalysis, s *v1alpha1.AIAnalysisStatus) bool {
	return size(without(a))+size(s) > maxObjectBytes
}

func size(v any) int {
	b, err := json.Marshal(v)
	if err != nil {
		// All numbers are finite and all times in range, so there is nothing left to fail.
		return 0
	}
	return len(b)
}

// sheds are what fit takes away, one after the other.
var sheds = []func(*v1alpha1.AIAnalysisStatus){
	func(s *v1alpha1.AIAnalysisStatus) {
		for i := range s.Evidence {
			s.Evidence[i].Value = text(s.Evidence[i].Value, maxValue/8)
		}
		for i := range s.Candidates {
			s.Candidates[i].Reason = text(s.Candidates[i].Reason, maxLine/8)
		}
	},
	func(s *v1alpha1.AIAnalysisStatus) { s.ValidationAttemptsHistory = last(s.ValidationAttemptsHistory, 3) },
	func(s *v1alpha1.AIAnalysisStatus) { s.Candidates = first(s.Candidates, 10) },
	func(s *v1alpha1.AIAnalysisStatus) {
		cited := make(map[string]bool)
		for _, link := range s.CausalChain {
			for _, id := range link.Evidence {
				cited[id] = true
			}
		}
		kept := s.Evidence[:0]
		for _, e := range s.Evidence {
			if cited[e.ID] {
				kept = append(kept, e)
			}
		}
		s.Evidence = first(kept, 20)
	},
	func(s *v1alpha1.AIAnalysisStatus) {
		s.Warnings = texts(first(s.Warnings, 10), 10, maxLine/4)
		s.AlternativeWorkflows = first(s.AlternativeWorkflows, 3)
		if s.RootCauseAnalysis != nil {
			s.RootCauseAnalysis.ContributingFactors = texts(first(s.RootCauseAnalysis.ContributingFactors, 10), 10, maxLine/4)
		}
		if s.ApprovalContext != nil {
			s.ApprovalContext.EvidenceCollected = texts(first(s.ApprovalContext.EvidenceCollected, 10), 10, maxLine/4)
			s.ApprovalContext.AlternativesConsidered = first(s.ApprovalContext.AlternativesConsidered, 3)
		}
	},
	func(s *v1alpha1.AIAnalysisStatus) {
		// The gaps that touch the cause come first, and one is enough for the policy.
		s.Gaps = first(s.Gaps, 5)
		s.CausalChain = last(s.CausalChain, 5)
		s.Evidence, s.ValidationAttemptsHistory = nil, nil
		if s.Reasoning != nil {
			s.Reasoning.Explanation, s.Reasoning.Suspicions = nil, first(s.Reasoning.Suspicions, 3)
		}
	},
	func(s *v1alpha1.AIAnalysisStatus) {
		s.Gaps = first(s.Gaps, 1)
		s.CausalChain, s.Candidates, s.AlternativeWorkflows = nil, nil, nil
	},
	func(s *v1alpha1.AIAnalysisStatus) {
		long := []*string{&s.Message, &s.RootCause, &s.ApprovalReason}
		if s.RootCauseAnalysis != nil {
			long = append(long, &s.RootCauseAnalysis.Summary)
		}
		if s.SelectedWorkflow != nil {
			long = append(long, &s.SelectedWorkflow.Rationale)
		}
		if c := s.ApprovalContext; c != nil {
			long = append(long, &c.Reason, &c.WhyApprovalRequired, &c.InvestigationSummary)
			for i := range c.RecommendedActions {
				long = append(long, &c.RecommendedActions[i].Rationale)
			}
		}
		if s.RecoveryStatus != nil && s.RecoveryStatus.PreviousAttemptAssessment != nil {
			long = append(long, &s.RecoveryStatus.PreviousAttemptAssessment.FailureReasonAnalysis)
		}
		for _, t := range long {
			*t = text(*t, maxWhat)
		}
		if s.Policy != nil {
			s.Policy.Rules = first(s.Policy.Rules, 5)
			if s.ApprovalContext != nil {
				s.ApprovalContext.PolicyEvaluation.MatchedRules = s.Policy.Rules
			}
		}
	},
}

func first[T any](list []T, n int) []T { return list[:min(len(list), n)] }

func last[T any](list []T, n int) []T { return list[max(len(list)-n, 0):] }
