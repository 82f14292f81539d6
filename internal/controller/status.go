package controller

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/incident"
)

// describe copies an investigation into the status. Everything that it writes is within the bounds
// of the schema: text is cut, lists are cut, numbers are clamped with a warning, and unknown values
// of enumerations become the one that claims least.
//
// A workflow whose identity or parameters are out of bounds is not copied, because a name or a value
// that was cut would name or do something else. The error then says what is wrong with it.
func describe(next *v1alpha1.AIAnalysisStatus, inv incident.Investigation) error {
	w := &writer{now: inv.CompletedAt}
	next.InvestigationID = text(inv.IncidentID, maxName)
	next.RootCause = text(inv.RootCause.Summary, maxMessage)
	next.RootCauseAnalysis = w.rootCause(inv.RootCause)
	next.CauseClass = text(string(inv.CauseClass), maxShort)
	next.CausalChain = chain(inv.Chain)
	next.Evidence = w.evidence(inv.Evidence)
	next.Gaps = gaps(inv.Gaps)
	next.AlternativeWorkflows = w.alternatives(inv.Alternatives)
	next.Candidates = w.candidates(inv.Candidates)
	next.TargetInOwnerChain = &inv.TargetInOwnerChain
	next.ValidationAttemptsHistory = w.attempts(next.ValidationAttemptsHistory, inv.Attempts)
	next.RecoveryStatus = recoveryStatus(inv.Recovery)
	next.Reasoning = w.reasoning(inv.Reasoning)
	next.Bundle = nil
	if inv.BundleDigest != "" && exact(inv.BundleDigest, maxShort) {
		next.Bundle = &v1alpha1.Bundle{Digest: inv.BundleDigest}
	}
	var unusable error
	next.SelectedWorkflow = nil
	if inv.Workflow != nil {
		if unusable = checkWorkflow(*inv.Workflow); unusable == nil {
			next.SelectedWorkflow = w.workflow(*inv.Workflow)
		}
	}
	warnings := append(append([]string(nil), next.Warnings...), inv.Warnings...)
	// Our own come first: they must not be what a long list loses.
	next.Warnings = texts(append(w.warnings, warnings...), maxLines, maxLine)
	return unusable
}

// writer gathers the warnings of one copy.
type writer struct {
	now      time.Time
	warnings []string
}

// share returns f from 0 to 1, with a warning when it was not.
func (w *writer) share(what string, f float64) float64 {
	v, ok := unit(f)
	if !ok {
		w.warnings = append(w.warnings, fmt.Sprintf("%s was %v, which is not from 0 to 1; %v is shown", what, f, v))
	}
	return v
}

// stamp returns t as the API carries it; a time that JSON cannot carry becomes the answer's, or the
// epoch.
func (w *writer) stamp(t time.Time) metav1.Time {
	for _, t := range []time.Time{t, w.now} {
		if u := t.UTC(); !t.IsZero() && u.Year() >= 1 && u.Year() <= 9999 {
			return *seconds(t)
		}
	}
	return metav1.Unix(0, 0)
}

func severity(s incident.Severity) v1alpha1.Severity {
	switch s {
	case incident.SeverityCritical, incident.SeverityHigh, incident.SeverityMedium, incident.SeverityLow:
		return v1alpha1.Severity(s)
	}
	return v1alpha1.Severity(incident.SeverityUnknown)
}

func (w *writer) rootCause(rc incident.RootCause) *v1alpha1.RootCauseAnalysis {
	out := &v1alpha1.RootCauseAnalysis{
		Summary:             text(rc.Summary, maxMessage),
		Severity:            severity(rc.Severity),
		SignalType:          text(rc.SignalType, maxName),
		ContributingFactors: texts(rc.Factors, maxLines, maxLine),
	}
	if rc.Target != nil {
		target := objectRef(*rc.Target)
		out.Target = &target
	}
	return out
}

func objectRef(r incident.Ref) v1alpha1.ObjectRef {
	return v1alpha1.ObjectRef{
		APIVersion: text(r.APIVersion, maxAPIRef),
		Kind:       text(r.Kind, maxName),
		Namespace:  text(r.Namespace, maxName),
		Name:       text(r.Name, maxName),
		UID:        text(r.UID, maxShort),
	}
}

// chain keeps both ends of a chain that is too long: the symptom and the cause.
func chain(links []incident.Link) []v1alpha1.CausalLink {
	if extra := len(links) - maxChain; extra > 0 {
		cut := append([]incident.Link(nil), links[:maxChain/2]...)
		cut = append(cut, incident.Link{Statement: fmt.Sprintf("%s %d more steps", cutMark, extra+1)})
		links = append(cut, links[len(links)-maxChain/2+1:]...)
	}
	out := make([]v1alpha1.CausalLink, 0, len(links))
	for _, l := range links {
		ids := l.Evidence[:min(len(l.Evidence), maxChain)]
		out = append(out, v1alpha1.CausalLink{
			Subject:   objectRef(l.Subject),
			Statement: text(l.Statement, maxLine),
			Evidence:  texts(ids, maxChain, maxHash),
		})
	}
	return out
}

func (w *writer) evidence(list []incident.Evidence) []v1alpha1.Evidence {
	out := make([]v1alpha1.Evidence, 0, min(len(list), maxEvidence))
	for _, e := range list[:min(len(list), maxEvidence)] {
		kind := v1alpha1.EvidenceKind(e.Kind)
		switch e.Kind {
		case incident.EvidenceObject, incident.EvidenceEvent, incident.EvidenceLog, incident.EvidenceMetric:
		default:
			kind = v1alpha1.EvidenceKind(incident.EvidenceObject)
		}
		out = append(out, v1alpha1.Evidence{
			ID:              text(e.ID, maxHash),
			Kind:            kind,
			Ref:             objectRef(e.Ref),
			ResourceVersion: text(e.ResourceVersion, maxShort),
			Path:            text(e.Path, maxPath),
			Value:           text(e.Value, maxValue),
			Absent:          e.Absent,
			ObservedAt:      w.stamp(e.ObservedAt),
			SHA256:          text(e.SHA256, maxHash),
		})
	}
	if len(list) > maxEvidence {
		w.warnings = append(w.warnings, fmt.Sprintf("%d pieces of evidence are not shown; the evidence bundle has them", len(list)-maxEvidence))
	}
	return out
}

// gaps lists those that touch the cause first, so that a long list does not lose them: the approval
// policy depends on them.
func gaps(list []incident.Gap) []v1alpha1.Gap {
	out := make([]v1alpha1.Gap, 0, min(len(list), maxLines))
	for _, touching := range []bool{true, false} {
		for _, g := range list {
			if g.TouchesCause != touching || len(out) == maxLines {
				continue
			}
			kind := v1alpha1.GapKind(g.Kind)
			switch g.Kind {
			case incident.GapForbidden, incident.GapExpired, incident.GapFailed, incident.GapNotAsked:
			default:
				kind = v1alpha1.GapKind(incident.GapFailed)
			}
			out = append(out, v1alpha1.Gap{
				Kind: kind, What: text(g.What, maxWhat), Reason: text(g.Reason, maxLine), TouchesCause: g.TouchesCause,
			})
		}
	}
	return out
}

// reasoning copies what a model added; nil when none was asked.
func (w *writer) reasoning(r *incident.Reasoning) *v1alpha1.Reasoning {
	if r == nil {
		return nil
	}
	out := &v1alpha1.Reasoning{
		Provider: text(r.Provider, maxShort), Model: text(r.Model, maxName), Stance: text(string(r.Stance), maxShort),
		Confidence: w.share("the confidence of the model's explanation", r.Confidence), PromptHash: text(r.PromptHash, maxShort), Stopped: text(r.Stopped, maxWhat),
		Turns: count(r.Usage.Turns), InputTokens: count(r.Usage.InputTokens), OutputTokens: count(r.Usage.OutputTokens),
	}
	if r.Usage.Cost > 0 && r.Usage.Cost <= math.MaxFloat64 { // no NaN, no infinity
		out.CostUSD = r.Usage.Cost
	}
	for _, c := range first(r.Explanation, maxLines) {
		out.Explanation = append(out.Explanation, v1alpha1.ReasonedClaim{
			Text: text(c.Text, maxLine), Evidence: texts(c.Evidence, maxChain, maxShort), Supported: c.Supported,
		})
	}
	for _, s := range first(r.Suspicions, maxLines) {
		out.Suspicions = append(out.Suspicions, text(s.Rule+": "+s.Place, maxWhat))
	}
	return out
}

// count returns n within its type.
func count(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) }

func (w *writer) alternatives(list []incident.Alternative) []v1alpha1.AlternativeWorkflow {
	out := make([]v1alpha1.AlternativeWorkflow, 0, min(len(list), maxOptions))
	for _, a := range list[:min(len(list), maxOptions)] {
		out = append(out, v1alpha1.AlternativeWorkflow{
			WorkflowID:     text(a.WorkflowID, maxName),
			ContainerImage: text(a.ContainerImage, maxImage),
			Confidence:     w.share("The confidence of an alternative workflow", a.Confidence),
			Rationale:      text(a.Rationale, maxLine),
		})
	}
	return out
}

func (w *writer) candidates(list []incident.Candidate) []v1alpha1.Candidate {
	out := make([]v1alpha1.Candidate, 0, min(len(list), maxLines))
	for _, c := range list[:min(len(list), maxLines)] {
		out = append(out, v1alpha1.Candidate{
			WorkflowID: text(c.WorkflowID, maxName),
			Title:      text(c.Title, maxName),
			Chosen:     c.Chosen,
			Score:      w.share("The score of a candidate workflow", c.Score),
			Reason:     text(c.Reason, maxLine),
		})
	}
	return out
}

// attempts appends to the history, and keeps its newest entries.
func (w *writer) attempts(history []v1alpha1.ValidationAttempt, list []incident.ValidationAttempt) []v1alpha1.ValidationAttempt {
	for _, a := range list {
		history = append(history, v1alpha1.ValidationAttempt{
			Attempt:    max(a.Attempt, 1),
			WorkflowID: text(a.WorkflowID, maxName),
			IsValid:    a.Valid,
			Errors:     texts(a.Errors, maxOptions, maxLine),
			Timestamp:  w.stamp(a.At),
		})
	}
	return history[max(len(history)-maxOptions, 0):]
}

func recoveryStatus(r *incident.RecoveryAssessment) *v1alpha1.RecoveryStatus {
	if r == nil || !r.Assessed {
		return nil
	}
	return &v1alpha1.RecoveryStatus{
		PreviousAttemptAssessment: &v1alpha1.PreviousAttemptAssessment{
			FailureUnderstood:     r.FailureUnderstood,
			FailureReasonAnalysis: text(r.FailureReason, maxMessage),
		},
		StateChanged:      r.StateChanged,
		CurrentSignalType: text(r.CurrentSignalType, maxName),
	}
}

// checkWorkflow returns what keeps a workflow from being run as it was proposed.
func checkWorkflow(wf incident.SelectedWorkflow) error {
	var errs []error
	within := func(what, value string, limit int) {
		if !exact(value, limit) {
			errs = append(errs, fmt.Errorf("its %s has more than %d characters, or control characters", what, limit))
		}
	}
	if wf.ID == "" {
		errs = append(errs, errors.New("it has no id"))
	}
	within("id", wf.ID, maxName)
	within("version", wf.Version, maxShort)
	within("container image", wf.ContainerImage, maxImage)
	within("container digest", wf.ContainerDigest, maxDigest)
	if len(wf.Parameters) > maxParameter {
		errs = append(errs, fmt.Errorf("it has %d parameters, more than %d", len(wf.Parameters), maxParameter))
	}
	if b, err := json.Marshal(wf.Parameters); err != nil || len(b) > maxParameterBytes {
		errs = append(errs, fmt.Errorf("its parameters have %d bytes, more than %d", len(b), maxParameterBytes))
	}
	return errors.Join(errs...)
}

// workflow copies a workflow that checkWorkflow accepts.
func (w *writer) workflow(wf incident.SelectedWorkflow) *v1alpha1.SelectedWorkflow {
	out := &v1alpha1.SelectedWorkflow{
		WorkflowID:      wf.ID,
		Version:         wf.Version,
		ContainerImage:  wf.ContainerImage,
		ContainerDigest: wf.ContainerDigest,
		Confidence:      w.share("The confidence of the chosen workflow", wf.Confidence),
		Rationale:       text(wf.Rationale, maxMessage),
	}
	if len(wf.Parameters) > 0 {
		out.Parameters = make(map[string]string, len(wf.Parameters))
		maps.Copy(out.Parameters, wf.Parameters)
	}
	return out
}

// approvalContext says what a person needs to decide.
func approvalContext(s *v1alpha1.AIAnalysisStatus, d incident.Decision) *v1alpha1.ApprovalContext {
	decision := v1alpha1.PolicyDecisionManualReview
	if d.Degraded {
		decision = v1alpha1.PolicyDecisionDegraded
	}
	out := &v1alpha1.ApprovalContext{
		Reason:              s.ApprovalReason,
		WhyApprovalRequired: s.ApprovalReason,
		ConfidenceScore:     s.SelectedWorkflow.Confidence,
		ConfidenceLevel:     confidenceLevel(s.SelectedWorkflow.Confidence),
		EvidenceCollected:   evidenceCollected(s),
		RecommendedActions: []v1alpha1.RecommendedAction{{
			Action: s.SelectedWorkflow.WorkflowID, Rationale: s.SelectedWorkflow.Rationale,
		}},
		PolicyEvaluation: &v1alpha1.PolicyEvaluation{
			PolicyName: s.Policy.Name, MatchedRules: s.Policy.Rules, Decision: decision,
		},
	}
	if s.RootCauseAnalysis != nil {
		out.InvestigationSummary = s.RootCauseAnalysis.Summary
	}
	for _, a := range s.AlternativeWorkflows {
		out.AlternativesConsidered = append(out.AlternativesConsidered, v1alpha1.AlternativeApproach{
			Approach: a.WorkflowID, ProsCons: a.Rationale,
		})
	}
	return out
}

// evidenceCollected is the contributing factors, then the steps of the causal chain that evidence
// backs.
func evidenceCollected(s *v1alpha1.AIAnalysisStatus) []string {
	var out []string
	if s.RootCauseAnalysis != nil {
		out = append(out, s.RootCauseAnalysis.ContributingFactors...)
	}
	for _, link := range s.CausalChain {
		if len(link.Evidence) > 0 {
			out = append(out, link.Statement)
		}
	}
	return texts(out, maxLines, maxLine)
}

func confidenceLevel(c float64) v1alpha1.ConfidenceLevel {
	switch {
	case c >= 0.8:
		return v1alpha1.ConfidenceHigh
	case c >= 0.6:
		return v1alpha1.ConfidenceMedium
	}
	return v1alpha1.ConfidenceLow
}
