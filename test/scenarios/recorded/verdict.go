package recorded

import (
	"fmt"
	"slices"

	"kubernaut.ai/kubernaut/internal/diagnose"
)

// Outcome is what became of a case in a form.
type Outcome struct {
	Case   *Case
	Form   Form
	Result diagnose.Result
	// Wrong says how the verdict differs from the expected one; empty: it does not.
	Wrong string
	// Lacks says why the form does not carry the evidence.
	Lacks string
}

// Diagnose runs the engine on a case in a form, and compares. It errs when the form cannot be read, or evidence does not hold.
func (c *Case) Diagnose(f Form) (Outcome, error) {
	snap, err := c.Snapshot(f)
	if err != nil {
		return Outcome{}, fmt.Errorf("%s: %s: %w", c.Name, f, err)
	}
	r := diagnose.Run(snap, c.Input())
	if err := diagnose.Verify(snap, r.Evidence); err != nil {
		return Outcome{}, fmt.Errorf("%s: %s: evidence does not verify: %w", c.Name, f, err)
	}
	o := Outcome{Case: c, Form: f, Result: r, Lacks: c.Lacks[f]}
	o.Wrong = c.Expect.differs(r)
	if o.Wrong != "" && o.Lacks != "" && !c.Expect.blamesOther(r) {
		o.Wrong = ""
	}
	return o, nil
}

// Got is the verdict for people.
func (o Outcome) Got() string {
	if c := o.Result.Cause; c != nil {
		return fmt.Sprintf("%s of %s (%.2f)", c.Class, c.Target, o.Result.Confidence)
	}
	return string(o.Result.Verdict)
}

func (e Expect) differs(r diagnose.Result) string {
	if r.Verdict != e.Verdict {
		return fmt.Sprintf("verdict %s, want %s", r.Verdict, e.Verdict)
	}
	found := classes(r)
	for _, class := range e.MustNot {
		if slices.Contains(found, class) {
			return class + " is found, which must not be"
		}
	}
	if e.Verdict != diagnose.VerdictCause {
		return ""
	}
	for _, class := range append([]string{e.Class}, e.Others...) {
		if !slices.Contains(found, class) {
			return fmt.Sprintf("found %v, without %s", found, class)
		}
	}
	if got := string(r.Cause.Class); got != e.Class && !slices.Contains(e.Others, got) {
		return fmt.Sprintf("cause %s, want %s", got, e.Class)
	} else if got != e.Class {
		return ""
	}
	if got := r.Cause.Target.String(); got != e.Target {
		return fmt.Sprintf("target %s, want %s", got, e.Target)
	}
	return ""
}

// blamesOther reports whether something is blamed that is not to blame.
func (e Expect) blamesOther(r diagnose.Result) bool {
	if r.Cause == nil {
		return false
	}
	got := string(r.Cause.Class)
	return got != e.Class && !slices.Contains(e.Others, got) && !slices.Contains(e.Else, got) || slices.Contains(e.MustNot, got)
}

func classes(r diagnose.Result) []string {
	var out []string
	if r.Cause != nil {
		out = append(out, string(r.Cause.Class))
	}
	for _, o := range r.Others {
		out = append(out, string(o.Class))
	}
	return out
}
