package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/diagnose"
)

// writeMarkdown writes a finding for a ticket. What came from the cluster is escaped: it can neither format
// nor link nor mention anybody.
func writeMarkdown(w io.Writer, f *finding, d detail) error {
	m := &markdown{}
	title := map[diagnose.Verdict]string{
		diagnose.VerdictCause: "Root cause", diagnose.VerdictHealthy: "Nothing is wrong", diagnose.VerdictUndecidable: "Not decidable from what could be read",
	}[f.verdict]
	m.f("## %s\n\n%s\n\n", title, escape(f.summary))
	m.facts(f)
	m.chain(f)
	m.evidence(f, d)
	m.list("Contributing factors", f.factors)
	var others []string
	for _, o := range f.others {
		others = append(others, fmt.Sprintf("%s Act on %s (%s, %s, %.2f)", sentence(o.Summary), o.Target, o.Class, o.Severity, o.Confidence))
	}
	m.list("Other problems, independent of this one", others)
	m.workflow(f, d)
	m.list("Read next", f.readNext)
	m.gaps(f)
	if d.verbose {
		var noise []string
		for _, n := range f.noise {
			noise = append(noise, fmt.Sprintf("%s: %s (%s)", n.Subject, n.Statement, n.Reason))
		}
		m.list("Set aside", noise)
		m.list("Not understood", f.leftover)
	}
	m.f("---\n\nRead %s", escape(f.read))
	if f.redactions > 0 {
		m.f("; %s replaced", counted(f.redactions, "secret value"))
	}
	m.f(". Bundle %s.\n", code(f.digest))
	_, err := io.WriteString(w, m.b.String())
	return err
}

type markdown struct{ b strings.Builder }

func (m *markdown) f(format string, args ...any) { fmt.Fprintf(&m.b, format, args...) }

// facts is a table of what is known in a word.
func (m *markdown) facts(f *finding) {
	rows := [][2]string{}
	if f.target != nil {
		target := code(f.target.String())
		if len(f.managedBy) > 0 {
			target += ", managed by " + escape(strings.Join(f.managedBy, " and "))
		}
		rows = append(rows, [2]string{"Act on", target})
	}
	if f.class != "" {
		rows = append(rows, [2]string{"Class", code(f.class) + ", severity " + escape(f.severity)})
	}
	rows = append(rows, [2]string{"Confidence", f.confidenceText()}, [2]string{"Since", f.sinceText()})
	if f.signal != "" {
		rows = append(rows, [2]string{"Signal", code(f.signal) + " is what the alert says; the evidence shows something else"})
	}
	rows = slices.DeleteFunc(rows, func(r [2]string) bool { return r[1] == "" })
	if len(rows) == 0 {
		return
	}
	m.f("| | |\n|---|---|\n")
	for _, r := range rows {
		m.f("| %s | %s |\n", r[0], strings.ReplaceAll(r[1], "|", `\|`))
	}
	m.f("\n")
}

func (m *markdown) chain(f *finding) {
	if len(f.chain) == 0 {
		return
	}
	title, step := "Chain, from the symptom to the cause", "   "
	if f.verdict != diagnose.VerdictCause {
		title, step = "Seen", ""
	}
	m.f("### %s\n\n", title)
	for i, l := range f.chain {
		note := ""
		if l.Hypothesis() {
			note = " *(hypothesis)*"
		} else {
			note = " [" + escape(strings.Join(l.Evidence, " ")) + "]"
		}
		subject, statement, _ := strings.Cut(linkText(l), ": ")
		m.f("%s- %s: %s%s\n", strings.Repeat(step, i), code(subject), escape(statement), note)
	}
	m.f("\n")
}

func (m *markdown) evidence(f *finding, d detail) {
	show := f.evidence
	if !d.evidence {
		show = f.bestEvidence(bestPieces)
	}
	if len(show) == 0 {
		return
	}
	m.f("### Evidence\n\n")
	for _, e := range show {
		m.f("- %s %s\n", escape(e.ID), code(f.evidenceText(e)))
	}
	if more := len(f.evidence) - len(show); more > 0 {
		m.f("- and %s in the bundle\n", counted(more, "more piece"))
	}
	m.f("\n")
}

func (m *markdown) workflow(f *finding, d detail) {
	wf := f.workflow
	if wf == nil {
		if f.done {
			m.f("### Proposed workflow\n\n%s\n\n", escape(noWorkflowText(f)))
		}
		return
	}
	m.f("### Proposed workflow\n\n**%s** (%s %s, risk %s), %s (%.2f). %s\n\n", escape(wf.Title), code(wf.Name), escape(wf.Version), escape(wf.Risk), sure(wf.Confidence), wf.Confidence, escape(wf.Reason))
	if len(wf.Steps) > 0 {
		m.f("```\n")
		for _, s := range wf.Steps {
			m.f("%s\n", strings.TrimPrefix(stepText(s), "$ "))
		}
		m.f("```\n\n")
	} else {
		for _, name := range slices.Sorted(maps.Keys(wf.Parameters)) {
			m.f("- %s\n", code(name+"="+wf.Parameters[name]))
		}
		m.f("\n")
	}
	m.list("Check first", wf.Preconditions)
	if d.verbose {
		var against []string
		for _, c := range f.candidates {
			if !c.Chosen {
				against = append(against, fmt.Sprintf("%s (%.2f): %s", c.Title, c.Score, c.Reason))
			}
		}
		m.list("Not chosen", against)
	}
}

func (m *markdown) gaps(f *finding) {
	touching, other := f.limits()
	var lines []string
	for _, g := range touching {
		lines = append(lines, fmt.Sprintf("%s (%s): %s; it could have changed the verdict", g.What, g.Kind, strings.TrimSuffix(g.Reason, ".")))
	}
	for _, g := range other {
		lines = append(lines, fmt.Sprintf("%s (%s): %s", g.What, g.Kind, g.Reason))
	}
	m.list("Could not be read", lines)
}

// list writes texts under a heading; nothing when there are none.
func (m *markdown) list(title string, texts []string) {
	if len(texts) == 0 {
		return
	}
	m.f("### %s\n\n", title)
	for _, t := range texts {
		m.f("- %s\n", escape(t))
	}
	m.f("\n")
}

// escape makes text plain in Markdown: what would format, link, embed HTML or mention somebody does not.
func escape(text string) string {
	var b strings.Builder
	for _, r := range clean(text) {
		switch r {
		case '\\', '`', '*', '_', '[', ']', '<', '>', '|', '~', '#', '!', '&':
			b.WriteByte('\\')
			b.WriteRune(r)
		case '@':
			b.WriteString("@\u2060") // a word joiner, which is not seen: so nobody is called
		default:
			b.WriteRune(r)
		}
	}
	return strings.ReplaceAll(b.String(), "://", ":\u2060//")
}

// code quotes text as code.
func code(text string) string {
	text = clean(text)
	if text == "" {
		return ""
	}
	fence := "`"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") {
		text = " " + text + " "
	}
	return fence + text + fence
}
