package report

import (
	"fmt"
	"strings"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Diagnosis is what the product's own engine says of the cluster of a run that failed. It is advice: neither the class of the
// failure nor the exit code follows from it.
type Diagnosis struct {
	// Seconds is how long reading and deciding took.
	Seconds float64 `json:"seconds"`
	// Result is the answer; nil if there is none, and then Why says why not.
	Result *diagnose.Result `json:"result,omitempty"`
	Why    string           `json:"why,omitempty"`
}

// line is a diagnosis in one line.
func (g *Diagnosis) line() string {
	switch {
	case g.Result == nil:
		return "no answer: " + sentence(g.Why)
	case g.Result.Cause == nil:
		return fmt.Sprintf("%s: %s", g.Result.Verdict, sentence(g.Result.Summary))
	}
	c := g.Result.Cause
	return fmt.Sprintf("%s of %s, confidence %.2f: %s", c.Class, c.Target, c.Confidence, sentence(c.Summary))
}

// diagnosis is the section of the page about the engine's answer.
func (d document) diagnosis(b *strings.Builder) {
	g := d.Diagnosis
	if g == nil {
		return
	}
	fmt.Fprintf(b, "\n## What the diagnosis engine says of the cluster\n\n**%s.** It took %s, and changes neither class nor exit code.\n", g.line(), took(g.Seconds))
	if g.Result == nil {
		return
	}
	r := g.Result
	chain := r.Symptoms // what was seen, where that has no cause
	if r.Cause != nil {
		chain = r.Cause.Chain
	}
	cited := map[string]bool{}
	for i, l := range chain {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "%d. %s: %s%s\n", i+1, l.Subject, sentence(l.Statement), citation(l))
		for _, id := range l.Evidence {
			cited[id] = true
		}
	}
	list(b, "There is more that it does not account for", r.Others, func(c incident.Cause) string {
		return fmt.Sprintf("%s of %s: %s", c.Class, c.Target, sentence(c.Summary))
	})
	var proof []string
	for _, e := range r.Evidence {
		if cited[e.ID] {
			proof = append(proof, proved(e))
		}
	}
	if len(proof) > 0 {
		fmt.Fprintf(b, "\n%s", block(proof))
	}
	list(b, "What could not be read", r.Gaps, func(g incident.Gap) string { return fmt.Sprintf("%s: %s", g.What, g.Kind) })
	list(b, "What to read next", r.ReadNext, sentence)
}

// citation are the ids of a link's evidence.
func citation(l incident.Link) string {
	if l.Hypothesis() {
		return " (a hypothesis)"
	}
	return " [" + strings.Join(l.Evidence, ", ") + "]"
}

// proved is a piece of evidence in one line.
func proved(e incident.Evidence) string {
	const most = 300
	value := strings.Join(strings.Fields(e.Value), " ")
	if runes := []rune(value); len(runes) > most {
		value = string(runes[:most]) + "…"
	}
	if e.Absent {
		value = "is not there"
	}
	return fmt.Sprintf("%s %s %s: %s", e.ID, e.Kind, strings.TrimSpace(e.Ref.String()+" "+e.Path), value)
}

// list writes entries under a heading, if there are any.
func list[T any](b *strings.Builder, heading string, entries []T, text func(T) string) {
	for i, e := range entries {
		if i == 0 {
			fmt.Fprintf(b, "\n%s:\n\n", heading)
		}
		if i == listed {
			fmt.Fprintf(b, "- and %d more\n", len(entries)-listed)
			return
		}
		fmt.Fprintf(b, "- %s\n", text(e))
	}
}
