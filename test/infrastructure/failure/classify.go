package failure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

const (
	// probing is how long a probe may take.
	probing = 20 * time.Second
	// maxLines and maxLineLength bound what of a text is quoted.
	maxLines      = 6
	maxLineLength = 400
)

// Classify says what err, which ended a phase or a unit of it, is. A Typed error knows; context.Canceled is Interrupted; for
// all else the text of the error and the output of every *command.Error in it are looked up in the rows of the phase. If
// several match, the one of highest priority is taken; two of equal priority make the failure Unknown, as no row does. Where
// a row has a probe, its outcome decides; probes may be nil, and then the row's own class holds.
func Classify(ctx context.Context, phase string, err error, probes Probes) Finding {
	if err == nil {
		return Finding{}
	}
	if known, ok := errors.AsType[Typed](err); ok {
		return complete(known.Finding(), phase)
	}
	if errors.Is(err, context.Canceled) {
		return complete(Finding{Class: Interrupted, Summary: "interrupted", Lines: quote(err.Error())}, phase)
	}
	text := Text(err)
	row, match, rivals := loaded().find(phase, text)
	switch {
	case len(rivals) > 0:
		return complete(Finding{
			Class:   Unknown,
			Summary: "several known causes fit, " + strings.Join(rivals, " and ") + "; none is taken",
			Lines:   quote(err.Error()),
		}, phase)
	case row == nil:
		return complete(Finding{Class: Unknown, Summary: "not a known cause", Lines: quote(text)}, phase)
	}
	f := Finding{
		Row: row.ID, Class: row.Class, Summary: row.Summary, Lines: matching(text, match), Remedy: row.Remedy, Fix: row.Fix,
		Retries: row.Retries, Waits: row.Waits, Alone: row.Alone, Product: row.Product, Harness: row.Harness,
	}
	if row.Probe != "" && probes != nil {
		f = row.decide(ctx, f, probes)
	}
	return complete(f, phase)
}

// ClassifyAll is Classify for each of the errors that err joins, at any depth, other than those inside a Typed error.
func ClassifyAll(ctx context.Context, phase string, err error, probes Probes) []Finding {
	var all []Finding
	for _, e := range split(err) {
		all = append(all, Classify(ctx, phase, e, probes))
	}
	return all
}

// split returns the errors that err joins; itself if it joins none.
func split(err error) []error {
	if err == nil {
		return nil
	}
	switch e := err.(type) { //nolint:errorlint // the tree is walked
	case Typed, *command.Error:
	case interface{ Unwrap() []error }:
		var texts []string
		var all []error
		for _, inner := range e.Unwrap() {
			texts = append(texts, inner.Error())
			all = append(all, split(inner)...)
		}
		if err.Error() == strings.Join(texts, "\n") { // else it is one error with several reasons
			return all
		}
	case interface{ Unwrap() error }:
		if all := split(e.Unwrap()); len(all) > 1 {
			return all
		}
	}
	return []error{err}
}

// decide asks the row's probe.
func (r *Row) decide(ctx context.Context, f Finding, probes Probes) Finding {
	ctx, cancel := context.WithTimeout(ctx, probing)
	defer cancel()
	outcome, evidence := probes.Probe(ctx, r.Probe)
	f.Probe, f.Outcome = r.Probe, outcome
	for _, line := range evidence {
		f.Lines = append(f.Lines, quote(line)...)
	}
	o, ok := r.Outcomes[outcome]
	if !ok {
		return f
	}
	f.Class, f.Retries, f.Product, f.Harness = o.Class, o.Retries, o.Product, o.Harness
	f.Summary, f.Remedy, f.Fix = cmp.Or(o.Summary, f.Summary), cmp.Or(o.Remedy, f.Remedy), cmp.Or(o.Fix, f.Fix)
	return f
}

// complete fills in what follows from the rest.
func complete(f Finding, phase string) Finding {
	f.Phase = cmp.Or(f.Phase, phase)
	f.Class = cmp.Or(f.Class, Unknown)
	if i := slices.IndexFunc(loaded().rows, func(r Row) bool { return r.ID == f.Row }); i >= 0 && f.Row != "" {
		r := loaded().rows[i]
		f.Summary, f.Fix = cmp.Or(f.Summary, r.Summary), cmp.Or(f.Fix, r.Fix)
		if f.Class == r.Class && f.Outcome == "" {
			f.Remedy, f.Retries = cmp.Or(f.Remedy, r.Remedy), r.Retries
			f.Product, f.Harness = f.Product || r.Product, f.Harness || r.Harness
			f.Waits, f.Alone = r.Waits, r.Alone
		} else if f.Outcome == "" && f.Retries == 0 {
			f.Retries = f.Class.Retries()
		}
	} else if f.Retries == 0 {
		f.Retries = f.Class.Retries()
	}
	f.Fingerprint = fingerprint(f)
	return f
}

// Text is what there is to read about err: its own text, and the output of every *command.Error in it.
func Text(err error) string {
	var b strings.Builder
	b.WriteString(err.Error())
	walk(err, func(e error) {
		if c, ok := e.(*command.Error); ok && c.Output != "" { //nolint:errorlint // the tree is walked
			b.WriteString("\n" + c.Output)
		}
	})
	return b.String()
}

// walk visits err and all that it wraps.
func walk(err error, visit func(error)) {
	if err == nil {
		return
	}
	visit(err)
	switch e := err.(type) { //nolint:errorlint // the tree is walked
	case interface{ Unwrap() error }:
		walk(e.Unwrap(), visit)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			walk(inner, visit)
		}
	}
}

// matching returns the lines of text that a match covers: the first and the last ones if they are many.
func matching(text string, match []int) []string {
	from := strings.LastIndexByte(text[:match[0]], '\n') + 1
	to := len(text)
	if end := strings.IndexByte(text[match[1]:], '\n'); end >= 0 {
		to = match[1] + end
	}
	return quote(text[from:to])
}

// quote returns the lines of a text, within bounds: the first and the last ones if they are many.
func quote(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" || slices.Contains(lines, line) {
			continue
		}
		if len(line) > maxLineLength {
			line = strings.ToValidUTF8(line[:maxLineLength], "") + " …"
		}
		lines = append(lines, line)
	}
	if len(lines) > maxLines {
		head := lines[:maxLines/2]
		tail := lines[len(lines)-maxLines/2:]
		lines = slices.Concat(head, []string{fmt.Sprintf("… %d lines …", len(lines)-len(head)-len(tail))}, tail)
	}
	return lines
}

// find returns the row of a phase that text matches and where, or, if several of the highest priority do, their ids.
func (t *table) find(phase, text string) (row *Row, match []int, rivals []string) {
	for i := range t.rows {
		r := &t.rows[i]
		if len(r.Phases) > 0 && !slices.Contains(r.Phases, phase) {
			continue
		}
		at := t.match(i, text)
		if at == nil {
			continue
		}
		switch {
		case row == nil || r.Priority > row.Priority:
			row, match, rivals = r, at, nil
		case r.Priority == row.Priority:
			if rivals == nil {
				rivals = []string{row.ID}
			}
			rivals = append(rivals, r.ID)
		}
	}
	return row, match, rivals
}

func (t *table) match(i int, text string) []int {
	for _, expr := range t.exprs[i] {
		if at := expr.FindStringIndex(text); at != nil {
			return at
		}
	}
	return nil
}

// compile compiles a row's expressions.
func compile(text string) ([]*regexp.Regexp, error) {
	var all []*regexp.Regexp
	for line := range strings.Lines(text) {
		expr, err := regexp.Compile(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		all = append(all, expr)
	}
	return all, nil
}
