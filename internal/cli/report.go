package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// report writes findings for people. What comes from the cluster is cleaned and quoted, never
// interpreted.
type report struct {
	b      strings.Builder
	look   look
	detail detail
}

// label is the width of the column on the left.
const label = 12

// Bounds of what is shown; -o json has all.
const (
	longestValue   = 200 // characters of a piece of evidence
	bestPieces     = 2   // of evidence, when not all is asked for
	mostCandidates = 4
	mostGaps       = 3
	mostLeftover   = 40
)

// writeFinding writes what the engine found.
func writeFinding(w io.Writer, l look, f *finding, d detail) error {
	r := &report{look: l, detail: d}
	r.body(f)
	r.footer(f)
	_, err := io.WriteString(w, r.b.String())
	return err
}

// body writes a finding, the cause first.
func (r *report) body(f *finding) {
	r.cause(f)
	r.chain(f)
	r.evidence(f)
	for i, text := range f.factors {
		r.field(when(i == 0, "Factors"), clean(text))
	}
	r.others(f)
	r.noise(f)
	r.checks(f)
	r.gaps(f)
	for i, text := range f.readNext {
		r.item(when(i == 0, "Read next"), clean(text))
	}
	r.workflow(f)
	r.candidates(f)
}

func (r *report) cause(f *finding) {
	name, paint := "Cause", r.look.bold
	switch f.verdict {
	case diagnose.VerdictHealthy:
		name, paint = "Healthy", r.look.green
	case diagnose.VerdictUndecidable:
		name, paint = "Undecided", r.look.yellow
	case "":
		return
	}
	for text := range strings.Lines(f.summary) {
		for _, line := range wrap(clean(text), r.room(0)) {
			r.line(name, paint(line))
			name = ""
		}
	}
	if f.target != nil {
		target := clean(f.target.String())
		if len(f.managedBy) > 0 {
			target += ", which is managed by " + clean(strings.Join(f.managedBy, " and "))
		}
		r.field("Act on", target)
	}
	if f.class != "" {
		r.field("Class", joinNonEmpty(", ", clean(f.class), when(f.severity != "", "severity "+clean(f.severity))))
	}
	r.field("Confidence", f.confidenceText())
	r.field("Since", f.sinceText())
	if f.signal != "" {
		r.field("Signal", fmt.Sprintf("%s is what the alert says; the evidence shows something else", clean(f.signal)))
	}
}

// chain draws the causal chain as a tree, from the symptom down to the cause; without a cause the symptoms
// stand side by side.
func (r *report) chain(f *finding) {
	name := "Chain"
	if f.verdict != diagnose.VerdictCause {
		name = "Seen"
	}
	for i, link := range f.chain {
		prefix, rest := "", ""
		if i > 0 && name == "Chain" {
			indent := strings.Repeat("   ", i-1)
			prefix, rest = indent+"└─ ", indent+"   "
		}
		var ids string
		switch {
		case link.Hypothesis():
			ids = r.look.yellow("[hypothesis]")
		case r.detail.evidence:
			ids = r.look.dim("[" + strings.Join(link.Evidence, " ") + "]")
		}
		text := linkText(link)
		lines := wrap(text, r.room(utf8.RuneCountInString(rest)+len("[hypothesis]")))
		for j, line := range lines {
			if j == len(lines)-1 && ids != "" {
				line += " " + ids
			}
			lead := rest
			if j == 0 {
				lead = prefix
			}
			r.line(when(i == 0 && j == 0, name), r.look.dim(lead)+line)
		}
	}
}

func (r *report) evidence(f *finding) {
	show := f.evidence
	if !r.detail.evidence {
		show = f.bestEvidence(bestPieces)
	}
	for i, e := range show {
		id, ids := "", 0
		if r.detail.evidence {
			id, ids = clean(e.ID), 5
		}
		for j, line := range wrap(f.evidenceText(e), r.room(ids)) {
			r.line(when(i == 0 && j == 0, "Evidence"), fmt.Sprintf("%-*s%s", ids, when(j == 0, id), line))
		}
	}
	if more := len(f.evidence) - len(show); more > 0 {
		r.line(when(len(show) == 0, "Evidence"), r.look.dim(counted(more, when(len(show) > 0, "more ")+"piece")+"; -e shows all"))
	}
}

func (r *report) others(f *finding) {
	for i, o := range f.others {
		r.item(when(i == 0, "Also wrong"), clean(fmt.Sprintf("%s Act on %s (%s, %s, %.2f)", sentence(o.Summary), o.Target, o.Class, o.Severity, o.Confidence)))
	}
}

func (r *report) noise(f *finding) {
	if len(f.noise) == 0 {
		return
	}
	if !r.detail.verbose {
		r.line("Set aside", r.look.dim(counted(len(f.noise), "finding")+" that explain nothing here; -v shows them"))
		return
	}
	for i, n := range f.noise {
		r.item(when(i == 0, "Set aside"), clean(fmt.Sprintf("%s: %s (%s)", n.Subject, n.Statement, n.Reason)))
	}
}

func (r *report) checks(f *finding) {
	if len(f.checks) == 0 {
		return
	}
	passed := 0
	for _, c := range f.checks {
		if c.Outcome == diagnose.CheckPassed {
			passed++
		}
	}
	name := "Checked"
	if !r.detail.verbose {
		if f.verdict == diagnose.VerdictCause {
			return
		}
		r.line(name, r.look.dim(fmt.Sprintf("%d of %s passed; -v shows them", passed, counted(len(f.checks), "check"))))
		name = ""
	}
	for _, c := range f.checks {
		if c.Outcome == diagnose.CheckPassed && !r.detail.verbose {
			continue
		}
		text := string(c.Outcome)
		switch c.Outcome {
		case diagnose.CheckFailed:
			text = r.look.red(text)
		case diagnose.CheckUnknown:
			text = r.look.yellow(text)
		}
		for j, line := range wrap(clean(joinNonEmpty(": ", c.Name, c.Detail)), r.room(9)) {
			r.line(name, when(j == 0, text+strings.Repeat(" ", 9-len(c.Outcome)))+when(j > 0, strings.Repeat(" ", 9))+line)
			name = ""
		}
	}
}

// gaps says what was not read, and what that means for the verdict.
func (r *report) gaps(f *finding) {
	touching, other := f.limits()
	name := "Not read"
	for _, g := range touching {
		r.item(name, clean(fmt.Sprintf("%s (%s): %s; it could have changed the verdict", g.What, g.Kind, strings.TrimSuffix(g.Reason, "."))))
		name = ""
	}
	for i, g := range other {
		if i == mostGaps && !r.detail.verbose {
			r.line(name, r.look.dim(fmt.Sprintf("and %d more; -v shows them", len(other)-i)))
			break
		}
		text := fmt.Sprintf("%s (%s)", g.What, g.Kind)
		if r.detail.verbose {
			text += ": " + g.Reason
		}
		r.item(name, r.look.dim(clean(text)))
		name = ""
	}
	if len(other) > 0 && len(touching) == 0 && f.verdict != "" {
		r.field("", r.look.dim("none of which could have changed the verdict"))
	}
}

func (r *report) workflow(f *finding) {
	wf := f.workflow
	if wf == nil {
		if f.done {
			r.field("Workflow", noWorkflowText(f))
		}
		return
	}
	what := joinNonEmpty(" ", clean(wf.Name), clean(wf.Version))
	head := fmt.Sprintf("%s, %s (%.2f)", r.look.bold(clean(wf.Title)), sure(wf.Confidence), wf.Confidence)
	r.line("Workflow", head)
	if wf.Title != wf.ID || wf.Name != "" {
		r.line("", r.look.dim(joinNonEmpty(" ", what, clean(when(wf.Name == "", wf.ID)), when(wf.Risk != "", "risk "+wf.Risk))))
	}
	for _, step := range wf.Steps {
		r.line("", stepText(step)) // whole, to be copied
	}
	if len(wf.Steps) == 0 || r.detail.verbose {
		for _, name := range slices.Sorted(maps.Keys(wf.Parameters)) {
			r.line("", clean(name)+"="+clean(wf.Parameters[name]))
		}
	}
	r.field("", clean(wf.Reason))
	for i, p := range wf.Preconditions {
		r.item(when(i == 0, "Check first"), clean(p))
	}
}

// stepText is one step of a workflow. What only the workflow's image has is written as a comment, so that
// pasting it does nothing.
func stepText(step string) string {
	if strings.HasPrefix(step, "kubectl ") {
		return "$ " + clean(step)
	}
	return "# " + clean(step)
}

// noWorkflowText says that there is none, and why.
func noWorkflowText(f *finding) string {
	switch {
	case f.verdict != diagnose.VerdictCause:
		return "none"
	case len(f.candidates) == 0:
		return "none: the catalog has none for this cause"
	}
	nearest := f.candidates[0]
	return fmt.Sprintf("none: %s considered, each with a reason against it; of the nearest, %q: %s",
		counted(len(f.candidates), "workflow"), clean(nearest.Title), clean(strings.TrimPrefix(nearest.Reason, "Against: ")))
}

func (r *report) candidates(f *finding) {
	if !r.detail.verbose {
		return
	}
	others := slices.DeleteFunc(slices.Clone(f.candidates), func(c incident.Candidate) bool { return c.Chosen })
	for i, c := range others {
		if i == mostCandidates {
			r.line("", r.look.dim(fmt.Sprintf("and %d more", len(others)-i)))
			return
		}
		title := c.Title
		if title == "" {
			title = c.WorkflowID
		}
		r.item(when(i == 0, "Not chosen"), clean(fmt.Sprintf("%s (%.2f): %s", title, c.Score, c.Reason)))
	}
}

// footer writes what a finding rests on.
func (r *report) footer(f *finding) {
	if f.redactions > 0 {
		r.field("Redacted", counted(f.redactions, "secret value")+" replaced before anything was kept or shown")
	}
	r.field("Read", r.look.dim(clean(f.read)))
	if n := len(f.leftover); n > 0 {
		if !r.detail.verbose {
			r.line("Left over", r.look.dim(counted(n, "passage")+" not understood; -v lists them"))
		} else {
			for i, l := range f.leftover[:min(n, mostLeftover)] {
				r.item(when(i == 0, "Left over"), clean(l))
			}
			if n > mostLeftover {
				r.line("", r.look.dim(fmt.Sprintf("and %d more", n-mostLeftover)))
			}
		}
	}
	if f.unanchored {
		r.field("Times", r.look.dim("nothing tells when this was recorded, so ages are all that is known; --collected-at says it"))
	}
	if r.detail.verbose {
		r.line("Bundle", r.look.dim(clean(f.digest)))
	}
}

// linkText is one step of a chain.
func linkText(l incident.Link) string {
	subject, statement := clean(l.Subject.String()), clean(l.Statement)
	if rest, ok := strings.CutPrefix(statement, subject+" "); ok {
		statement = rest
	}
	return subject + ": " + statement
}

// sentence ends a text with a full stop.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" || strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}

// field writes text of any length under a label, wrapped; nothing when there is no text.
func (r *report) field(name, text string) {
	for i, line := range wrap(text, r.room(0)) {
		r.line(when(i == 0, name), line)
	}
}

// item writes one of several texts under a label, wrapped so that each is seen to be one.
func (r *report) item(name, text string) {
	for i, line := range wrap(text, r.room(2)) {
		r.line(when(i == 0, name), when(i == 0, "- ")+when(i > 0, "  ")+line)
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
