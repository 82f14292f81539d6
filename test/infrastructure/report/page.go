package report

import (
	"fmt"
	"path/filepath"
	"strings"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// listed is how many failing specs a page names.
const listed = 12

// page is the report for a person. What to know first comes first.
func (d document) page() string {
	var b strings.Builder
	r := d.Run
	fmt.Fprintf(&b, "# %s: %s\n\n", r.Suite, d.Verdict)
	fmt.Fprintf(&b, "Run %s of cluster %s", r.RunID, r.Cluster)
	if s := total(r).Seconds(); s > 0 {
		fmt.Fprintf(&b, ", %s", took(s))
	}
	fmt.Fprintf(&b, ", exit code %d.", d.ExitCode)
	if r.Resumed != "" {
		fmt.Fprintf(&b, " It continued run %s.", r.Resumed)
	}
	b.WriteString("\n")
	if r.Finished.IsZero() {
		b.WriteString("\nThe process of the run ended without a word, as one that was killed does. What it did last is in the log of the phase that was running.\n")
	}
	if f := d.Cause; f != nil {
		d.cause(&b, *f)
	}
	d.diagnosis(&b)
	d.specs(&b)
	if len(d.Next) > 0 {
		fmt.Fprintf(&b, "\n## Next\n\n%s", block(d.Next))
	}
	d.others(&b)
	d.retries(&b)
	d.phases(&b)
	d.decisions(&b)
	for i, w := range d.Warnings {
		if i == 0 {
			b.WriteString("\n## What this report lacks\n\n")
		}
		fmt.Fprintf(&b, "- %s\n", w)
	}
	return b.String()
}

func (d document) cause(b *strings.Builder, f failure.Finding) {
	what := sentence(f.Summary)
	if d.Specs != nil && d.Specs.Failed > 0 && f.Phase == phaseOfSpecs {
		what = fmt.Sprintf("%s: %d of %d", what, d.Specs.Failed, d.Specs.Total-d.Specs.Skipped)
	}
	fmt.Fprintf(b, "\n- **What failed:** %s: %s.\n", where(f), what)
	fmt.Fprintf(b, "- **Whose fault:** %s (%s).\n", explained(d.Fault), kind(f))
	if f.Fix != "" {
		fmt.Fprintf(b, "- **What to do:** %s.\n", sentence(f.Fix))
	} else if f.Class == failure.Unknown {
		b.WriteString("- **What to do:** read the lines below, then the phase's log and evidence.\n")
	}
	if d.Seen != "" {
		fmt.Fprintf(b, "- **Before:** %s.\n", d.Seen)
	}
	if len(f.Lines) > 0 {
		fmt.Fprintf(b, "\n## The lines that prove it\n\n%s", block(f.Lines))
	}
	if dir := d.phaseDir(f.Phase); dir != "" {
		fmt.Fprintf(b, "\nAll of it: [log](%s/log.txt), [evidence](%s).\n", dir, dir)
	}
	if len(f.Tried) > 0 {
		b.WriteString("\n## What was tried\n\n")
		for i, t := range f.Tried {
			fmt.Fprintf(b, "%d. %s\n", i+1, t)
		}
	}
}

// specs names the specs that failed, which a failed specs phase alone does not.
func (d document) specs(b *strings.Builder) {
	if d.Specs == nil {
		return
	}
	fmt.Fprintf(b, "\n## Specs\n\n%d ran, %d failed, %d skipped.\n", d.Specs.Total-d.Specs.Skipped, d.Specs.Failed, d.Specs.Skipped)
	for i, name := range d.Specs.Names {
		if i == 0 {
			b.WriteString("\n")
		}
		if i == listed {
			fmt.Fprintf(b, "- and %d more\n", len(d.Specs.Names)-listed)
			break
		}
		fmt.Fprintf(b, "- %s\n", name)
	}
}

// others are the failures that did not decide the run.
func (d document) others(b *strings.Builder) {
	first := true
	for _, ph := range d.Run.Phases {
		for i, f := range ph.Findings {
			if d.Cause != nil && f.Fingerprint == d.Cause.Fingerprint && f.Phase == d.Cause.Phase && i == 0 || f.Class == failure.Interrupted {
				continue
			}
			if first {
				b.WriteString("\n## Also failed\n\n")
				first = false
			}
			fmt.Fprintf(b, "- %s: %s (%s).", where(f), sentence(f.Summary), kind(f))
			if f.Fix != "" {
				fmt.Fprintf(b, " What to do: %s.", sentence(f.Fix))
			}
			b.WriteString("\n")
			if len(f.Lines) > 0 {
				fmt.Fprintf(b, "\n  ```text\n  %s\n  ```\n", strings.ReplaceAll(strings.Join(f.Lines, "\n  "), "```", "'''"))
			}
		}
	}
}

func (d document) retries(b *strings.Builder) {
	if d.Run.Retries() == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Retries: %d of %d\n\n", d.Run.Retries(), d.Run.Budget)
	for _, ph := range d.Run.Phases {
		for _, r := range ph.Retries {
			healed := "it failed in the end"
			if r.Healed {
				healed = "it passed in the end"
			}
			fmt.Fprintf(b, "- %s, attempt %d: %s (%s); %s. [Evidence](%s)\n", where(r.Finding), r.Attempt, sentence(r.Finding.Summary), kind(r.Finding), healed, d.relative(r.Evidence))
		}
	}
}

func (d document) phases(b *strings.Builder) {
	b.WriteString("\n## Phases\n\n| phase | result | time | usually | |\n|---|---|---:|---:|---|\n")
	times := make(map[string]timing)
	for _, t := range d.Timings {
		times[t.What] = t
	}
	for _, ph := range d.Run.Phases {
		name := ph.Name
		if dir := d.phaseDir(name); dir != "" {
			name = fmt.Sprintf("[%s](%s/log.txt)", name, dir)
		}
		t, measured := times[ph.Name]
		remarks := cell(ph.Why)
		if ph.Status == plan.Passed && t.slow() {
			remarks = strings.TrimPrefix(remarks+"; slower than usual", "; ")
		}
		row(b, name, string(ph.Status), t, measured, remarks)
	}
	for _, t := range d.Timings {
		if strings.Contains(t.What, " ") {
			row(b, "**"+t.What+"**", "", t, true, map[bool]string{true: "slower than usual"}[t.slow()])
		}
	}
}

func row(b *strings.Builder, name, result string, t timing, measured bool, remarks string) {
	var seconds, usually string
	if measured {
		seconds = took(t.Seconds)
		if t.Runs > 0 {
			usually = fmt.Sprintf("%s (%s)", took(t.Median), runs(t.Runs))
		}
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", name, result, seconds, usually, remarks)
}

func (d document) decisions(b *strings.Builder) {
	first := true
	for _, ph := range d.Run.Phases {
		for _, note := range ph.Notes {
			if first {
				b.WriteString("\n## Decisions\n\n")
				first = false
			}
			fmt.Fprintf(b, "- %s: %s\n", ph.Name, strings.Join(strings.Fields(note), " "))
		}
	}
}

// phaseDir is a phase's directory, as seen from the page; "" if it did not run.
func (d document) phaseDir(name string) string {
	for _, ph := range d.Run.Phases {
		if ph.Name == name && ph.Dir != "" {
			return d.relative(ph.Dir)
		}
	}
	return ""
}

func (d document) relative(path string) string {
	if rel, err := filepath.Rel(d.Run.Dir, path); err == nil {
		return filepath.ToSlash(rel)
	}
	return path
}

// block is text as it was said.
func block(lines []string) string {
	return "```text\n" + strings.ReplaceAll(strings.Join(lines, "\n"), "```", "'''") + "\n```\n"
}

// sentence makes a text one line without a full stop at its end.
func sentence(text string) string {
	return strings.TrimSuffix(strings.Join(strings.Fields(text), " "), ".")
}

// cell makes a text fit into a table.
func cell(text string) string { return strings.ReplaceAll(sentence(text), "|", `\|`) }
