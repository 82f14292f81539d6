package investigate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
)

// Reasoner asks a model about a finding. It cannot fail: whatever the model does, the outcome leaves the finding
// standing, and comes before ctx ends or soon after. An outcome without a stance says that there is no model.
type Reasoner interface {
	Refine(ctx context.Context, c reason.Case) reason.Outcome
}

// Of the time of an investigation, a model gets what is left after afterModel, in which the answer is stored
// and recorded; where that is less than leastForModel, it is not asked.
const (
	afterModel    = 4 * time.Second
	leastForModel = 2 * time.Second
)

// refine lets a model look at a finding. It adds to the answer what the model explains, and makes it stricter where
// evidence supports the model's doubt. It returns what goes on the audit trail about it.
func (p *Pipeline) refine(ctx context.Context, inv *incident.Investigation, in incident.Incident, snapshot *diagnose.Snapshot, result diagnose.Result, sel catalog.Selection) []audit.Payload {
	asked := ctx
	if deadline, ok := ctx.Deadline(); ok {
		end := deadline.Add(-afterModel)
		if time.Until(end) < leastForModel {
			inv.Warnings = append(inv.Warnings, "The model was not asked, because no time was left: this is the finding without it.")
			return nil
		}
		var cancel context.CancelFunc
		asked, cancel = context.WithDeadline(ctx, end)
		defer cancel()
	}
	c := reason.Case{Incident: in, Snapshot: snapshot, Result: result, Candidates: sel.Candidates}
	for _, o := range sel.Options {
		c.Options = append(c.Options, reason.Option{Workflow: o.Selected, Risk: o.Risk, MadeFor: o.MadeFor})
	}
	out := p.o.Reasoner.Refine(asked, c)
	if out.Stance == "" {
		return nil
	}
	if out.Err != nil {
		p.o.Logger.Warn("the model gave no diagnosis", "incident_id", in.ID, "provider", out.Provider, "model", out.Model, "error", out.Err)
	}
	if out.Extended != nil && len(out.Evidence) > 0 {
		digest, warning, err := p.store(ctx, out.Extended)
		switch {
		case err != nil:
			// The engine's evidence is stored; what only the model cites cannot be checked, so it is not cited.
			p.o.Logger.Warn("the bundle with what the model read was not stored", "incident_id", in.ID, "error", err)
			out.Evidence, out.Explanation = nil, nil
			inv.Warnings = append(inv.Warnings, "What the model read beyond the evidence bundle was not stored; its explanation is left out.")
		case warning != "":
			inv.Warnings = append(inv.Warnings, warning)
		}
		out.BundleDigest = digest
	}
	apply(inv, out, sel, *p.o.Threshold)
	return modelEvents(in.ID, out)
}

// apply puts a model's part into an answer. The answer is never less strict for it: the workflow stays one of the
// selection's options, the confidence does not rise, and a person who was asked stays asked.
func apply(inv *incident.Investigation, out reason.Outcome, sel catalog.Selection, threshold float64) {
	inv.Reasoning = &out.Reasoning
	inv.Evidence = append(inv.Evidence, out.Evidence...)
	for _, a := range out.Attempts {
		a.Attempt = len(inv.Attempts) + 1
		inv.Attempts = append(inv.Attempts, a)
	}
	take(inv, out.Choice, sel)
	if factor := min(max(out.Factor, 0), 1); factor < 1 {
		inv.Confidence *= factor
		if inv.Workflow != nil {
			workflow := *inv.Workflow
			workflow.Confidence *= factor
			inv.Workflow = &workflow
		}
	}
	inv.Warnings = append(inv.Warnings, out.Warnings...)
	lowest := threshold
	if inv.Workflow == nil {
		lowest = max(threshold, resolvedConfidence)
	}
	if !inv.NeedsHumanReview && inv.Confidence < lowest {
		inv.NeedsHumanReview, inv.HumanReviewReason = true, incident.ReviewLowConfidence
		inv.Warnings = append(inv.Warnings, fmt.Sprintf("With the model's doubt the confidence %.2f is below %.2f.", inv.Confidence, lowest))
	}
	if !inv.NeedsHumanReview && out.Review {
		inv.NeedsHumanReview, inv.HumanReviewReason = true, incident.ReviewInconclusive
	}
	inv.Analysis = strings.TrimSpace(inv.Analysis + "\n" + explained(out.Reasoning))
}

// take makes another option the choice. Its confidence is no higher than that of the first.
func take(inv *incident.Investigation, id string, sel catalog.Selection) {
	i := slices.IndexFunc(sel.Options, func(o catalog.Option) bool { return o.Selected.ID == id })
	if id == "" || i <= 0 || inv.Workflow == nil {
		return
	}
	first, chosen := *inv.Workflow, sel.Options[i].Selected
	chosen.Confidence = min(chosen.Confidence, first.Confidence)
	inv.Workflow, inv.Confidence = &chosen, min(inv.Confidence, chosen.Confidence)
	inv.Alternatives = slices.DeleteFunc(slices.Clone(inv.Alternatives), func(a incident.Alternative) bool { return a.WorkflowID == chosen.ID })
	inv.Alternatives = append([]incident.Alternative{{
		WorkflowID: first.ID, ContainerImage: first.ContainerImage, Confidence: first.Confidence, Rationale: first.Rationale,
	}}, inv.Alternatives...)
	inv.Candidates = slices.Clone(inv.Candidates)
	for k := range inv.Candidates {
		c := &inv.Candidates[k]
		switch c.WorkflowID {
		case chosen.ID:
			c.Chosen, c.Reason = true, c.Reason+" The model prefers it among those that may be chosen."
		case first.ID:
			c.Chosen, c.Reason = false, c.Reason+" The model prefers another that may be chosen."
		}
	}
	inv.Warnings = append(inv.Warnings, fmt.Sprintf("The model prefers the workflow %q to %q; both may be chosen, and its risk is no greater.", chosen.Title, first.Title))
}

// explained is a model's explanation in the analysis, marked as its own.
func explained(r incident.Reasoning) string {
	if len(r.Explanation) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "In the words of the model %s, which %s:\n", r.Model, r.Stance)
	for i, c := range r.Explanation {
		backing := strings.Join(c.Evidence, ", ")
		if !c.Supported {
			backing = "hypothesis: " + c.Why
		}
		fmt.Fprintf(&b, "%d. %s [%s]\n", i+1, strings.Join(strings.Fields(c.Text), " "), backing)
	}
	return b.String()
}

// modelEvents tells the audit trail what a model was asked and what it answered.
func modelEvents(incidentID string, out reason.Outcome) []audit.Payload {
	var events []audit.Payload
	t := out.Transcript
	call := -1
	for _, e := range t.Entries {
		switch {
		case e.Request != nil:
			call++
			output := e.Request.MaxOutput
			events = append(events, audit.LLMRequest{
				IncidentID: incidentID, Call: call, Provider: t.Provider, Model: t.Model, Prompt: said(e.Request.Messages), PromptHash: t.PromptHash,
				MaxTokens: &output, Toolsets: []string{"kubernaut"}, InputTokens: e.Request.Estimated,
			})
		case e.Response != nil:
			events = append(events, audit.LLMResponse{
				IncidentID: incidentID, Call: call, Analysis: answered(*e.Response), ToolCalls: len(e.Response.Calls),
				TokensUsed: new(e.Response.Usage.Input + e.Response.Usage.Output), InputTokens: e.Response.Usage.Input, OutputTokens: e.Response.Usage.Output,
				Cost: e.Cost, Stop: string(e.Response.Stop),
			})
		case e.Error != "":
			events = append(events, audit.LLMResponse{IncidentID: incidentID, Call: call, Error: e.Error, Cost: e.Cost})
		case e.Result != nil:
			event := audit.LLMToolCall{IncidentID: incidentID, Index: e.Result.Index, Tool: e.Result.Tool, Arguments: e.Result.Arguments, Result: e.Result.Content}
			if e.Result.Failed {
				event.Err = incident.Errorf(incident.KindInvalid, e.Result.Tool, "the tool told the model what is wrong")
			}
			events = append(events, event)
		case e.Verdict != nil:
			event := audit.WorkflowValidation{
				IncidentID: incidentID, Attempt: e.Verdict.Attempt, MaxAttempts: reason.MaxAttempts, Valid: e.Verdict.Accepted, Errors: e.Verdict.Faults,
				WorkflowID: e.Verdict.WorkflowID, Source: "model",
			}
			if !event.Valid && event.Attempt == event.MaxAttempts {
				event.ReviewReason = incident.ReviewParsingError
			}
			events = append(events, event)
		}
	}
	return events
}

// said is the new part of a conversation as text.
func said(messages []reason.Message) string {
	var b strings.Builder
	for _, m := range messages {
		b.WriteString(m.Text)
		for _, r := range m.Results {
			b.WriteString(r.Content)
		}
		b.WriteString("\n")
	}
	return strings.TrimSpace(b.String())
}

// answered is what a model said, which may be nothing but calls.
func answered(r reason.Response) string {
	if r.Text != "" || len(r.Calls) == 0 {
		return r.Text
	}
	text, err := json.Marshal(r.Calls)
	if err != nil {
		return "calls"
	}
	return string(text)
}
