package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/incident"
)

// extras is what is known of an analysis beside the object.
type extras struct {
	chain *incident.ChainReport // of its audit trail; nil when that was not checked
	took  time.Duration         // from its creation to its end; 0 when that was not measured
}

// writeReport writes what the status of a says.
func writeReport(w io.Writer, l look, a *v1alpha1.AIAnalysis, d detail, x extras) error {
	r := &report{look: l, detail: d}
	r.head(a, x.took)
	s := &a.Status
	f := findingOfStatus(s)
	r.body(f)
	if f.verdict == "" && s.Message != "" {
		r.lines("Message", s.Message)
	}
	r.decision(s)
	r.reasoning(s.Reasoning)
	for i, text := range s.Warnings {
		r.item(when(i == 0, "Warnings"), clean(text))
	}
	r.audit(s, x.chain)
	_, err := io.WriteString(w, r.b.String())
	return err
}

func (r *report) head(a *v1alpha1.AIAnalysis, took time.Duration) {
	s := &a.Status
	phase := string(cmp.Or(s.Phase, "Waiting"))
	switch s.Phase {
	case v1alpha1.PhaseCompleted:
		phase = r.look.green(phase)
	case v1alpha1.PhaseFailed:
		phase = r.look.red(phase)
	}
	fmt.Fprintf(&r.b, "%s  %s", r.look.bold(a.Namespace+"/"+a.Name), phase)
	if s.Reason != "" && s.Reason != v1alpha1.ReasonAnalysisCompleted {
		fmt.Fprintf(&r.b, " (%s)", joinNonEmpty(": ", clean(s.Reason), string(s.SubReason)))
	}
	switch {
	case took > 0:
		r.b.WriteString("  " + r.look.dim("in "+seconds(took)))
	case s.TotalAnalysisTime > 0:
		r.b.WriteString("  " + r.look.dim(fmt.Sprintf("in %ds", s.TotalAnalysisTime)))
	}
	r.b.WriteByte('\n')
	sc := &a.Spec.AnalysisRequest.SignalContext
	target := refText(v1alpha1.ObjectRef{Kind: sc.TargetResource.Kind, Namespace: sc.TargetResource.Namespace, Name: sc.TargetResource.Name})
	r.field("Signal", clean(fmt.Sprintf("%s on %s (%s, %s, %s)", sc.SignalType, target, sc.Severity, sc.Environment, sc.BusinessPriority)))
}

func (r *report) decision(s *v1alpha1.AIAnalysisStatus) {
	if !s.Phase.Terminal() {
		return
	}
	switch {
	case s.Phase == v1alpha1.PhaseFailed:
		r.field("Decision", r.look.red("a person must look; what is proposed must not be run"))
	case s.SelectedWorkflow == nil:
		r.field("Decision", r.look.green("nothing to approve"))
	case s.ApprovalRequired:
		r.field("Decision", r.look.yellow("a person must approve"))
	default:
		r.field("Decision", r.look.green("approved by policy"))
	}
	if s.ApprovalReason != "" {
		r.field("", clean(s.ApprovalReason))
	}
	if s.DegradedMode {
		r.field("", r.look.red("the policy could not be evaluated; the safe answer was given"))
	}
	if p := s.Policy; p != nil {
		text := joinNonEmpty(" ", clean(p.Name), "sha256:"+short(p.Hash))
		if len(p.Rules) > 0 {
			text += ", rules " + clean(strings.Join(p.Rules, ", "))
		}
		r.field("Policy", r.look.dim(text))
	}
}

// reasoning shows what a model said, each sentence with what carries it.
func (r *report) reasoning(m *v1alpha1.Reasoning) {
	if m == nil {
		return
	}
	r.field("Model", clean(fmt.Sprintf("%s by %s: %s", m.Model, m.Provider, m.Stance)))
	for _, c := range m.Explanation {
		backing := "hypothesis"
		if c.Supported {
			backing = strings.Join(c.Evidence, " ")
		}
		r.item("", clean(fmt.Sprintf("%s [%s]", c.Text, backing)))
	}
	for _, s := range m.Suspicions {
		r.item("", r.look.red(clean("gives orders: "+s)))
	}
	if m.Stopped != "" {
		r.field("", clean("stopped early: "+m.Stopped))
	}
	r.field("", r.look.dim(fmt.Sprintf("%d turns, %d tokens in, %d out, $%.4f", m.Turns, m.InputTokens, m.OutputTokens, m.CostUSD)))
}

func (r *report) audit(s *v1alpha1.AIAnalysisStatus, chain *incident.ChainReport) {
	switch {
	case chain != nil:
		r.line("Audit", chainText(r.look, *chain))
	case s.AuditState == v1alpha1.AuditSpooled:
		r.field("Audit", r.look.yellow("not yet in Data Storage; durable in the controller's spool"))
	case s.AuditState == v1alpha1.AuditRecorded:
		r.line("Audit", "recorded; check it with kubernaut audit verify")
	}
	if s.Bundle != nil {
		r.line("Bundle", r.look.dim(clean(s.Bundle.Digest)))
	}
}

// chainText words the result of checking a hash chain.
func chainText(l look, c incident.ChainReport) string {
	if !c.Valid {
		return l.red(fmt.Sprintf("BROKEN at event %d of %d: %s", c.BrokenAt, c.Events, clean(c.Problem)))
	}
	return fmt.Sprintf("%s, %d events, head %s", l.green("verified"), c.Events, short(c.Head))
}

func refText(ref v1alpha1.ObjectRef) string { return clean(refOf(ref).String()) }
