package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/incident"
)

// report writes one analysis for people. What comes from the cluster is cleaned and quoted, never
// interpreted.
type report struct {
	b    strings.Builder
	look look
}

// label is the width of the column on the left.
const label = 12

// extras is what is known of an analysis beside the object.
type extras struct {
	chain *incident.ChainReport // of its audit trail; nil when that was not checked
	took  time.Duration         // from its creation to its end; 0 when that was not measured
}

// writeReport writes what the status of a says.
func writeReport(w io.Writer, l look, a *v1alpha1.AIAnalysis, x extras) error {
	r := &report{look: l}
	r.head(a, x.took)
	s := &a.Status
	r.cause(s)
	r.chain(s)
	r.evidence(s)
	r.workflow(s)
	r.candidates(s)
	r.decision(s)
	r.gaps(s)
	for i, text := range s.Warnings {
		r.field(when(i == 0, "Warnings"), clean(text))
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

func (r *report) cause(s *v1alpha1.AIAnalysisStatus) {
	rca := s.RootCauseAnalysis
	switch {
	case s.CauseClass != "" && rca != nil:
		r.field("Cause", r.look.bold(clean(s.CauseClass))+" "+r.look.dim("("+string(rca.Severity)+")"))
		r.field("", clean(rca.Summary))
		if rca.Target != nil {
			r.field("Act on", refText(*rca.Target))
		}
		for i, f := range rca.ContributingFactors {
			r.field(when(i == 0, "Factors"), clean(f))
		}
	case s.Reason == v1alpha1.ReasonWorkflowNotNeeded:
		r.field("Cause", r.look.bold("nothing is wrong"))
		r.lines("", s.Message)
	default:
		if rca != nil && rca.Summary != "" {
			r.field("Cause", clean(rca.Summary))
		}
		if s.Message != "" {
			r.lines("Message", s.Message)
		}
	}
}

// chain draws the causal chain as a tree, from the symptom down to the cause.
func (r *report) chain(s *v1alpha1.AIAnalysisStatus) {
	for i, link := range s.CausalChain {
		prefix, rest := "", ""
		if i > 0 {
			indent := strings.Repeat("   ", i-1)
			prefix, rest = indent+"└─ ", indent+"   "
		}
		ids := r.look.dim("[" + strings.Join(link.Evidence, " ") + "]")
		if len(link.Evidence) == 0 {
			ids = r.look.yellow("[hypothesis]")
		}
		text := refText(link.Subject) + ": " + clean(link.Statement)
		lines := wrap(text, r.room(utf8.RuneCountInString(rest)+len("[hypothesis]")))
		for j, line := range lines {
			if j == len(lines)-1 {
				line += " " + ids
			}
			lead := rest
			if j == 0 {
				lead = prefix
			}
			r.line(when(i == 0 && j == 0, "Chain"), r.look.dim(lead)+line)
		}
	}
}

// longestValue is how many characters of a piece of evidence are shown; -o json has all.
const longestValue = 200

func (r *report) evidence(s *v1alpha1.AIAnalysisStatus) {
	for i, e := range s.Evidence {
		text := joinNonEmpty(" ", refText(e.Ref), clean(e.Path))
		if e.Absent {
			text += " is absent"
		} else {
			text += " = " + cut(clean(e.Value), longestValue)
		}
		const ids = 5
		for j, line := range wrap(text, r.room(ids)) {
			r.line(when(i == 0 && j == 0, "Evidence"), fmt.Sprintf("%-*s%s", ids, when(j == 0, clean(e.ID)), line))
		}
	}
}

func (r *report) workflow(s *v1alpha1.AIAnalysisStatus) {
	wf := s.SelectedWorkflow
	if wf == nil {
		if s.Phase.Terminal() {
			r.field("Workflow", "none")
		}
		return
	}
	title := wf.WorkflowID
	for _, c := range s.Candidates {
		if c.Chosen && c.Title != "" {
			title = c.Title
		}
	}
	line := fmt.Sprintf("%s %s, confidence %.2f", r.look.bold(clean(title)), clean(wf.Version), wf.Confidence)
	if s.Phase == v1alpha1.PhaseFailed {
		line += " " + r.look.red("(proposed, must not be run)")
	}
	r.line("Workflow", line)
	if title != wf.WorkflowID {
		r.line("", r.look.dim(clean(wf.WorkflowID)))
	}
	for _, name := range slices.Sorted(maps.Keys(wf.Parameters)) {
		r.line("", clean(name)+"="+clean(wf.Parameters[name]))
	}
	r.field("", clean(wf.Rationale))
}

// mostCandidates is how many of the workflows that were not chosen are shown; -o json has all.
const mostCandidates = 4

func (r *report) candidates(s *v1alpha1.AIAnalysisStatus) {
	others := slices.DeleteFunc(slices.Clone(s.Candidates), func(c v1alpha1.Candidate) bool { return c.Chosen })
	for i, c := range others {
		if i == mostCandidates {
			r.line("", r.look.dim(fmt.Sprintf("and %d more", len(others)-i)))
			return
		}
		r.field(when(i == 0, "Not chosen"), clean(fmt.Sprintf("%s (%.2f): %s", cmp.Or(c.Title, c.WorkflowID), c.Score, c.Reason)))
	}
}

func (r *report) decision(s *v1alpha1.AIAnalysisStatus) {
	if !s.Phase.Terminal() {
		return
	}
	switch {
	case s.Phase == v1alpha1.PhaseFailed:
		r.field("Decision", r.look.red("a person must look"))
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

func (r *report) gaps(s *v1alpha1.AIAnalysisStatus) {
	for i, g := range s.Gaps {
		text := fmt.Sprintf("%s (%s): %s", g.What, g.Kind, g.Reason)
		if g.TouchesCause {
			text = strings.TrimSuffix(text, ".") + "; it could have changed the cause"
		}
		r.field(when(i == 0, "Not read"), clean(text))
	}
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

// field writes text of any length under a label, wrapped.
func (r *report) field(name, text string) {
	for i, line := range wrap(text, r.room(0)) {
		r.line(when(i == 0, name), line)
	}
}

// lines writes a text of several lines under a label, each wrapped by itself.
func (r *report) lines(name, text string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			r.field(name, clean(line))
			name = ""
		}
	}
}

// line writes one line under a label; "" is the column left empty.
func (r *report) line(name, text string) {
	fmt.Fprintf(&r.b, "  %s%s\n", r.look.dim(fmt.Sprintf("%-*s", label, name)), text)
}

// room is how many characters a line has for text after taken ones; 0 means no limit.
func (r *report) room(taken int) int {
	width := r.look.width()
	if width <= 0 {
		return 0
	}
	return max(width-label-2-taken, 24)
}

func refText(ref v1alpha1.ObjectRef) string {
	return clean(incident.Ref{Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name}.String())
}

func joinNonEmpty(separator string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), separator)
}

func when(yes bool, text string) string {
	if yes {
		return text
	}
	return ""
}

// short is the start of a hash, enough to compare by eye.
func short(hash string) string {
	if len(hash) > 12 {
		return hash[:12]
	}
	return hash
}
