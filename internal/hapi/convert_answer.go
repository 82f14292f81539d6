package hapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"kubernaut.ai/kubernaut/internal/hapi/wire"
	"kubernaut.ai/kubernaut/internal/incident"
)

// timestampLayout is RFC 3339 in UTC with microseconds, the form that the contract shows.
const timestampLayout = "2006-01-02T15:04:05.000000Z"

// checkRanges returns every number of inv that the contract does not allow.
func checkRanges(inv incident.Investigation) error {
	var errs []error
	unit := func(what string, f float64) {
		if !(f >= 0 && f <= 1) { // also for NaN
			errs = append(errs, fmt.Errorf("%s is %v, not from 0 to 1", what, f))
		}
	}
	unit("confidence", inv.Confidence)
	if inv.Workflow != nil {
		unit("confidence of the workflow", inv.Workflow.Confidence)
	}
	for i, a := range inv.Alternatives {
		unit(fmt.Sprintf("confidence of alternative %d", i), a.Confidence)
	}
	for i, c := range inv.Candidates {
		unit(fmt.Sprintf("score of candidate %d", i), c.Score)
	}
	if inv.Reasoning != nil {
		unit("confidence of the reasoning", inv.Reasoning.Confidence)
	}
	for i, a := range inv.Attempts {
		if a.Attempt < 1 {
			errs = append(errs, fmt.Errorf("number of validation attempt %d is %d, not 1 or more", i, a.Attempt))
		}
	}
	if inv.Recovery != nil {
		for i, s := range inv.Recovery.Strategies {
			unit(fmt.Sprintf("confidence of strategy %d", i), s.Confidence)
			if s.Risk != "low" && s.Risk != "medium" && s.Risk != "high" {
				errs = append(errs, fmt.Errorf("risk of strategy %d is not low, medium or high", i))
			}
		}
	}
	return errors.Join(errs...)
}

// incidentResponse is the answer to an incident request.
func incidentResponse(inv incident.Investigation) wire.IncidentResponse {
	return wire.IncidentResponse{
		IncidentID: inv.IncidentID, Analysis: inv.Analysis, RootCauseAnalysis: rootCauseAnalysis(inv.RootCause),
		SelectedWorkflow: selectedWorkflow(inv.Workflow), Confidence: inv.Confidence, Timestamp: timestamp(inv.CompletedAt),
		NeedsHumanReview: &inv.NeedsHumanReview, HumanReviewReason: reviewReason(inv), TargetInOwnerChain: &inv.TargetInOwnerChain,
		Warnings: orEmpty(inv.Warnings), AlternativeWorkflows: alternatives(inv), ValidationAttemptsHistory: attempts(inv),
		CauseClass: optional(string(inv.CauseClass)), CausalChain: orEmpty(inv.Chain), Evidence: orEmpty(inv.Evidence),
		Gaps: orEmpty(inv.Gaps), Candidates: orEmpty(inv.Candidates), BundleDigest: optional(inv.BundleDigest),
		Reasoning: inv.Reasoning,
	}
}

// recoveryResponse is the answer to a recovery request.
func recoveryResponse(inv incident.Investigation, metadata map[string]any) wire.RecoveryResponse {
	rec := inv.Recovery
	if rec == nil {
		rec = &incident.RecoveryAssessment{CanRecover: inv.Workflow != nil}
	}
	at, rca := timestamp(inv.CompletedAt), rootCauseAnalysis(inv.RootCause)
	r := wire.RecoveryResponse{
		IncidentID: inv.IncidentID, CanRecover: rec.CanRecover, AnalysisConfidence: inv.Confidence,
		Strategies: []wire.RecoveryStrategy{}, Warnings: orEmpty(inv.Warnings), Metadata: metadata,
		SelectedWorkflow: selectedWorkflow(inv.Workflow), RecoveryAnalysis: recoveryAnalysis(inv, rec),
		NeedsHumanReview: &inv.NeedsHumanReview, HumanReviewReason: reviewReason(inv),
		Analysis: &inv.Analysis, Timestamp: &at, RootCauseAnalysis: &rca, TargetInOwnerChain: &inv.TargetInOwnerChain,
		AlternativeWorkflows: alternatives(inv), ValidationAttemptsHistory: attempts(inv),
		CauseClass: optional(string(inv.CauseClass)), CausalChain: orEmpty(inv.Chain), Evidence: orEmpty(inv.Evidence),
		Gaps: orEmpty(inv.Gaps), Candidates: orEmpty(inv.Candidates), BundleDigest: optional(inv.BundleDigest),
		Reasoning: inv.Reasoning,
	}
	for _, s := range rec.Strategies {
		r.Strategies = append(r.Strategies, wire.RecoveryStrategy{
			ActionType: s.ActionType, Confidence: s.Confidence, Rationale: s.Rationale,
			EstimatedRisk: wire.RecoveryStrategyEstimatedRisk(s.Risk), Prerequisites: orEmpty(s.Prerequisites),
		})
	}
	if len(r.Strategies) > 0 {
		r.PrimaryRecommendation = &r.Strategies[0].ActionType
	}
	return r
}

func recoveryAnalysis(inv incident.Investigation, rec *incident.RecoveryAssessment) *wire.RecoveryAnalysis {
	severity := string(inv.RootCause.Severity)
	a := &wire.RecoveryAnalysis{
		CurrentRCA: &wire.CurrentRCA{
			Summary: &inv.RootCause.Summary, Severity: &severity, SignalType: &inv.RootCause.SignalType,
			ContributingFactors: orEmpty(inv.RootCause.Factors),
		},
		RootCauseRefinement: &inv.RootCause.Summary,
	}
	if rec.Assessed {
		// Clients look for the last two in either place.
		a.StateChanged, a.CurrentSignalType = &rec.StateChanged, optional(rec.CurrentSignalType)
		a.PreviousAttemptAssessment = &wire.PreviousAttemptAssessment{
			FailureUnderstood: &rec.FailureUnderstood, FailureReasonAnalysis: &rec.FailureReason,
			StateChanged: &rec.StateChanged, CurrentSignalType: optional(rec.CurrentSignalType),
		}
	}
	return a
}

func rootCauseAnalysis(c incident.RootCause) wire.RootCauseAnalysis {
	severity := string(c.Severity)
	if severity == "" {
		severity = string(incident.SeverityUnknown)
	}
	return wire.RootCauseAnalysis{
		Summary: &c.Summary, Severity: &severity, SignalType: &c.SignalType, ContributingFactors: orEmpty(c.Factors),
		AffectedResource: affectedResource(c.Target), AffectedResourceCamel: affectedResource(c.Target),
	}
}

func selectedWorkflow(w *incident.SelectedWorkflow) *wire.SelectedWorkflow {
	if w == nil {
		return nil
	}
	parameters := make(map[string]any, len(w.Parameters))
	for name, v := range w.Parameters {
		parameters[name] = v
	}
	return &wire.SelectedWorkflow{
		WorkflowID: w.ID, Title: &w.Title, Version: w.Version, ContainerImage: w.ContainerImage, ContainerImageCamel: &w.ContainerImage,
		ContainerDigest: &w.ContainerDigest, Confidence: w.Confidence, Rationale: w.Rationale, Parameters: parameters,
	}
}

func alternatives(inv incident.Investigation) []wire.AlternativeWorkflow {
	out := make([]wire.AlternativeWorkflow, len(inv.Alternatives))
	for i, a := range inv.Alternatives {
		out[i] = wire.AlternativeWorkflow{
			WorkflowID: a.WorkflowID, ContainerImage: optional(a.ContainerImage), Confidence: a.Confidence, Rationale: a.Rationale,
		}
	}
	return out
}

func attempts(inv incident.Investigation) []wire.ValidationAttempt {
	out := make([]wire.ValidationAttempt, len(inv.Attempts))
	for i, a := range inv.Attempts {
		out[i] = wire.ValidationAttempt{
			Attempt: a.Attempt, WorkflowID: optional(a.WorkflowID), IsValid: a.Valid, Errors: orEmpty(a.Errors), Timestamp: timestamp(a.At),
		}
	}
	return out
}

func reviewReason(inv incident.Investigation) *wire.HumanReviewReason {
	if inv.HumanReviewReason == "" {
		return nil
	}
	reason := wire.HumanReviewReason(inv.HumanReviewReason)
	return &reason
}

func timestamp(t time.Time) string { return t.UTC().Format(timestampLayout) }

// orEmpty makes a list that is [] in JSON, never null.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// investigationOf is the client's side of incidentResponse. It takes what older servers leave out,
// and nothing that breaks the contract.
func investigationOf(r *wire.IncidentResponse) (incident.Investigation, error) {
	inv := incident.Investigation{
		IncidentID: r.IncidentID, Analysis: r.Analysis, RootCause: rootCauseOf(&r.RootCauseAnalysis),
		Confidence: r.Confidence, CompletedAt: timeOf(r.Timestamp),
		NeedsHumanReview: value(r.NeedsHumanReview), HumanReviewReason: incident.ReviewReason(value(r.HumanReviewReason)),
		TargetInOwnerChain: valueOr(r.TargetInOwnerChain, true), Warnings: r.Warnings,
		CauseClass: incident.CauseClass(value(r.CauseClass)), Chain: r.CausalChain, Evidence: r.Evidence,
		Gaps: r.Gaps, Candidates: r.Candidates, BundleDigest: value(r.BundleDigest),
		Reasoning: r.Reasoning,
	}
	return finishInvestigation(inv, r.SelectedWorkflow, r.AlternativeWorkflows, r.ValidationAttemptsHistory)
}

// recoveredOf is the client's side of recoveryResponse. A server that says nothing about the owner
// chain has not checked it.
func recoveredOf(r *wire.RecoveryResponse) (incident.Investigation, error) {
	inv := incident.Investigation{
		IncidentID: r.IncidentID, Analysis: value(r.Analysis), RootCause: rootCauseOf(r.RootCauseAnalysis),
		Confidence: r.AnalysisConfidence, CompletedAt: timeOf(value(r.Timestamp)),
		NeedsHumanReview: value(r.NeedsHumanReview), HumanReviewReason: incident.ReviewReason(value(r.HumanReviewReason)),
		TargetInOwnerChain: value(r.TargetInOwnerChain), Warnings: r.Warnings,
		CauseClass: incident.CauseClass(value(r.CauseClass)), Chain: r.CausalChain, Evidence: r.Evidence,
		Gaps: r.Gaps, Candidates: r.Candidates, BundleDigest: value(r.BundleDigest),
		Reasoning: r.Reasoning,
	}
	rec := &incident.RecoveryAssessment{CanRecover: r.CanRecover}
	for _, s := range r.Strategies {
		rec.Strategies = append(rec.Strategies, incident.RecoveryStrategy{
			ActionType: s.ActionType, Confidence: s.Confidence, Rationale: s.Rationale, Risk: string(s.EstimatedRisk),
			Prerequisites: s.Prerequisites,
		})
	}
	if a := r.RecoveryAnalysis; a != nil {
		if p := a.PreviousAttemptAssessment; p != nil {
			rec.Assessed = true
			rec.FailureUnderstood, rec.FailureReason = value(p.FailureUnderstood), value(p.FailureReasonAnalysis)
			rec.StateChanged, rec.CurrentSignalType = value(p.StateChanged), value(p.CurrentSignalType)
		}
		if a.StateChanged != nil {
			rec.Assessed, rec.StateChanged = true, rec.StateChanged || *a.StateChanged
		}
		if a.CurrentSignalType != nil && rec.CurrentSignalType == "" {
			rec.Assessed, rec.CurrentSignalType = true, *a.CurrentSignalType
		}
		if c := a.CurrentRCA; c != nil && r.RootCauseAnalysis == nil {
			inv.RootCause = incident.RootCause{
				Summary: value(c.Summary), Severity: incident.Severity(value(c.Severity)), SignalType: value(c.SignalType),
				Factors: c.ContributingFactors,
			}
		}
	}
	inv.Recovery = rec
	return finishInvestigation(inv, r.SelectedWorkflow, r.AlternativeWorkflows, r.ValidationAttemptsHistory)
}

func finishInvestigation(inv incident.Investigation, w *wire.SelectedWorkflow, alts []wire.AlternativeWorkflow, tries []wire.ValidationAttempt) (incident.Investigation, error) {
	if w != nil {
		chosen, err := workflowOf(w)
		if err != nil {
			return incident.Investigation{}, err
		}
		inv.Workflow = chosen
	}
	for _, a := range alts {
		inv.Alternatives = append(inv.Alternatives, incident.Alternative{
			WorkflowID: a.WorkflowID, ContainerImage: value(a.ContainerImage), Confidence: a.Confidence, Rationale: a.Rationale,
		})
	}
	for _, t := range tries {
		inv.Attempts = append(inv.Attempts, incident.ValidationAttempt{
			Attempt: t.Attempt, WorkflowID: value(t.WorkflowID), Valid: t.IsValid, Errors: t.Errors, At: timeOf(t.Timestamp),
		})
	}
	return inv, checkRanges(inv)
}

func workflowOf(w *wire.SelectedWorkflow) (*incident.SelectedWorkflow, error) {
	if w.WorkflowID == "" {
		return nil, errors.New("selected_workflow has no workflow_id")
	}
	out := &incident.SelectedWorkflow{
		ID: w.WorkflowID, Title: value(w.Title), Version: w.Version, ContainerImage: w.ContainerImage,
		ContainerDigest: value(w.ContainerDigest), Confidence: w.Confidence, Rationale: w.Rationale,
	}
	if out.ContainerImage == "" {
		out.ContainerImage = value(w.ContainerImageCamel)
	}
	if len(w.Parameters) > 0 {
		out.Parameters = make(map[string]string, len(w.Parameters))
	}
	for name, v := range w.Parameters {
		s, ok := v.(string)
		if !ok {
			b, err := json.Marshal(v)
			if err != nil {
				return nil, fmt.Errorf("parameter %s: %w", name, err)
			}
			s = string(b)
		}
		out.Parameters[name] = s
	}
	return out, nil
}

func rootCauseOf(r *wire.RootCauseAnalysis) incident.RootCause {
	if r == nil {
		return incident.RootCause{}
	}
	target := r.AffectedResource
	if target == nil {
		target = r.AffectedResourceCamel
	}
	return incident.RootCause{
		Summary: value(r.Summary), Severity: incident.Severity(value(r.Severity)), SignalType: value(r.SignalType),
		Factors: r.ContributingFactors, Target: refOf(target),
	}
}

// timeOf reads a time that is for information only: one that cannot be read is zero.
func timeOf(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
