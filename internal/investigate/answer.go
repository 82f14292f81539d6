package investigate

import (
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Bounds of an answer.
const (
	maxAlternatives = 3
	maxStrategies   = 5
	maxWarnings     = 20
	maxAnalysis     = 16 << 10 // bytes
)

// resolvedConfidence is how sure "nothing is wrong" must be to be said: callers take an answer
// without workflow and without review as resolved from there on.
const resolvedConfidence = 0.7

// answer words a diagnosis and a selection. It decides nothing but whether a person must look.
func answer(in incident.Incident, r diagnose.Result, sel catalog.Selection, threshold float64) incident.Investigation {
	inv := incident.Investigation{
		Confidence: r.Confidence,
		RootCause:  incident.RootCause{Summary: r.Summary, Severity: incident.SeverityUnknown, SignalType: in.SignalType},
		Evidence:   r.Evidence, Gaps: r.Gaps, Chain: r.Symptoms, Candidates: sel.Candidates, Attempts: sel.Attempts,
		TargetInOwnerChain: true,
	}
	switch {
	case r.Verdict == diagnose.VerdictCause && r.Cause != nil:
		answerCause(&inv, in, r, sel, threshold)
	case r.Verdict == diagnose.VerdictHealthy && r.Confidence >= max(threshold, resolvedConfidence):
		inv.RootCause.Severity = incident.SeverityLow
		inv.Warnings = append(inv.Warnings, "The problem resolved itself: nothing is wrong with "+r.Subject.String()+" now, and no workflow is needed.")
	default:
		inv.NeedsHumanReview, inv.HumanReviewReason = true, incident.ReviewInconclusive
		inv.Warnings = append(inv.Warnings, "What could be read does not decide the cause; a person must look.")
	}
	for _, gap := range r.Gaps {
		if gap.TouchesCause {
			inv.Warnings = append(inv.Warnings, fmt.Sprintf("Not read, and it could change the finding: %s (%s).", gap.What, gap.Reason))
		}
	}
	for _, other := range r.Others {
		inv.Warnings = append(inv.Warnings, fmt.Sprintf("Another problem, which this cause does not explain: %s (%s).", other.Summary, other.Class))
	}
	if in.Recovery != nil {
		inv.Recovery = assess(in, r, sel)
	}
	if len(inv.Warnings) > maxWarnings {
		left := len(inv.Warnings) - maxWarnings + 1
		inv.Warnings = append(inv.Warnings[:maxWarnings-1], fmt.Sprintf("And %d more.", left))
	}
	inv.Analysis = analysis(inv, r)
	return inv
}

// answerCause fills in what a found cause means.
func answerCause(inv *incident.Investigation, in incident.Incident, r diagnose.Result, sel catalog.Selection, threshold float64) {
	cause := *r.Cause
	target := cause.Target
	inv.CauseClass, inv.Chain, inv.Confidence = cause.Class, cause.Chain, cause.Confidence
	inv.RootCause = incident.RootCause{
		Summary: cause.Summary, Severity: cause.Severity, SignalType: in.SignalType, Factors: cause.Factors, Target: &target,
	}
	if len(cause.SignalTypes) > 0 {
		inv.RootCause.SignalType = cause.SignalTypes[0]
	}
	inv.TargetInOwnerChain = r.TargetInOwnerChain || slices.ContainsFunc(in.OwnerChain, target.Same)
	if !inv.TargetInOwnerChain {
		inv.Warnings = append(inv.Warnings, fmt.Sprintf("The target %s is not related to %s by what was read.", target, in.Resource))
	}
	for _, alternative := range sel.Options[min(1, len(sel.Options)):min(1+maxAlternatives, len(sel.Options))] {
		s := alternative.Selected
		inv.Alternatives = append(inv.Alternatives, incident.Alternative{
			WorkflowID: s.ID, ContainerImage: s.ContainerImage, Confidence: s.Confidence, Rationale: s.Rationale,
		})
	}
	if len(sel.Options) == 0 {
		inv.NeedsHumanReview, inv.HumanReviewReason = true, sel.Review
		inv.Warnings = append(inv.Warnings, noWorkflow(sel))
		return
	}
	chosen := sel.Options[0].Selected
	inv.Workflow, inv.Confidence = &chosen, chosen.Confidence
	if sel.Options[0].Risk == "high" {
		inv.Warnings = append(inv.Warnings, fmt.Sprintf("The risk of the workflow %q is high.", chosen.Title))
	}
	if chosen.Confidence < threshold {
		inv.NeedsHumanReview, inv.HumanReviewReason = true, incident.ReviewLowConfidence
		inv.Warnings = append(inv.Warnings, fmt.Sprintf("The confidence %.2f is below %.2f.", chosen.Confidence, threshold))
	}
}

// noWorkflow says why nothing was chosen.
func noWorkflow(sel catalog.Selection) string {
	switch sel.Review {
	case incident.ReviewWorkflowNotFound:
		return "The workflow that fits was not found in the catalog any more."
	case incident.ReviewImageMismatch:
		return "The workflow that fits has an image mismatch."
	case incident.ReviewParameterValidation:
		return "Parameter validation failed for every workflow that fits."
	}
	if len(sel.Candidates) == 0 {
		return "No workflows matched: the catalog has none for this signal."
	}
	return fmt.Sprintf("No workflows matched: %d were considered and each has a reason against it.", len(sel.Candidates))
}

// analysis is the whole finding in sentences.
func analysis(inv incident.Investigation, r diagnose.Result) string {
	var b strings.Builder
	line := func(format string, args ...any) {
		if b.Len() < maxAnalysis {
			fmt.Fprintf(&b, format+"\n", args...)
		}
	}
	line("%s", r.Summary)
	for i, link := range inv.Chain {
		backing := "hypothesis"
		if !link.Hypothesis() {
			backing = strings.Join(link.Evidence, ", ")
		}
		line("%d. %s: %s [%s]", i+1, link.Subject, link.Statement, backing)
	}
	if w := inv.Workflow; w != nil {
		line("Workflow: %s (confidence %.2f). %s", w.Title, w.Confidence, w.Rationale)
	}
	if rec := inv.Recovery; rec != nil && rec.FailureReason != "" {
		line("Earlier attempt: %s", rec.FailureReason)
	}
	if r.Verdict != diagnose.VerdictCause {
		for _, check := range r.Checks {
			line("%s", strings.TrimSpace(fmt.Sprintf("Checked: %s: %s. %s", check.Name, check.Outcome, check.Detail)))
		}
	}
	for _, note := range r.Noise {
		line("Set aside: %s: %s (%s)", note.Subject, note.Statement, note.Reason)
	}
	for _, next := range r.ReadNext {
		line("Read next: %s", next)
	}
	text := strings.TrimSpace(b.String())
	if len(text) > maxAnalysis {
		text = strings.ToValidUTF8(text[:maxAnalysis], "") + "…"
	}
	return text
}
