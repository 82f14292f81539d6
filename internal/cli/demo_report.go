package cli

import (
	"fmt"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// demoSummary is the result of a demo for machines.
type demoSummary struct {
	Cases   []demoResult `json:"cases"`
	Passed  int          `json:"passed"`
	Failed  int          `json:"failed"`
	Seconds float64      `json:"seconds"` // all of it, with the start of the system
}

// demoResult is the result of one scenario.
type demoResult struct {
	Scenario  string                     `json:"scenario"`
	Title     string                     `json:"title"`
	Namespace string                     `json:"namespace"`
	OK        bool                       `json:"ok"`
	Problems  []string                   `json:"problems,omitempty"`
	Got       demoVerdict                `json:"got"`
	Want      demoVerdict                `json:"want"`
	Seconds   float64                    `json:"seconds"` // of the analysis
	Audit     *verdict                   `json:"audit,omitempty"`
	Status    *v1alpha1.AIAnalysisStatus `json:"status,omitempty"`
}

func summarize(cases []*demoCase, took time.Duration) demoSummary {
	s := demoSummary{Seconds: rounded(took)}
	for _, d := range cases {
		r := demoResult{
			Scenario: d.scenario.Name, Title: d.scenario.Title, Namespace: d.scenario.Namespace,
			OK: len(d.problems) == 0, Problems: d.problems,
			Got: d.verdict(), Want: expectation(d.scenario), Seconds: rounded(d.took),
		}
		if d.analysis != nil {
			r.Status = &d.analysis.Status
		}
		if d.chain != nil {
			r.Audit = &verdict{
				CorrelationID: d.chain.CorrelationID, Valid: d.chain.Valid, Events: d.chain.Events,
				Head: d.chain.Head, BrokenAt: d.chain.BrokenAt, Problem: d.chain.Problem,
			}
		}
		if r.OK {
			s.Passed++
		} else {
			s.Failed++
		}
		s.Cases = append(s.Cases, r)
	}
	return s
}

// outcome is errReported when a verdict is not the expected one.
func (s demoSummary) outcome() error {
	if s.Failed > 0 {
		return errReported
	}
	return nil
}

func rounded(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// writeDemo writes a report of each case, then one line for each.
func (c *command) writeDemo(cases []*demoCase, summary demoSummary) error {
	for _, d := range cases {
		fmt.Fprintf(c.Out, "\n%s\n", c.out.dim(rule(c.out, d.scenario.Title)))
		if d.analysis == nil {
			fmt.Fprintf(c.Out, "%s  %s\n", c.out.bold(d.scenario.Namespace+"/"+d.scenario.Name), c.out.red("no analysis"))
			continue
		}
		if err := writeReport(c.Out, c.out, d.analysis, detail{evidence: true, verbose: true}, extras{chain: d.chain, took: d.took}); err != nil {
			return err
		}
	}
	fmt.Fprintf(c.Out, "\n%s\n", c.out.dim(rule(c.out, "Summary")))
	const verdictColumn, decisionColumn = 0, 5
	t := &table{paint: func(row, column int, cell string) string {
		switch {
		case row == 0:
			return c.out.dim(cell)
		case column == verdictColumn && cell == "ok":
			return c.out.green(cell)
		case column == verdictColumn:
			return c.out.red(cell)
		case column == decisionColumn && cell == decisionPerson:
			return c.out.yellow(cell)
		}
		return cell
	}}
	t.add("", "SCENARIO", "CAUSE", "ACT ON", "WORKFLOW", "DECISION", "AUDIT", "TIME")
	for _, r := range summary.Cases {
		mark, audit := "ok", "-"
		if !r.OK {
			mark = "no"
		}
		switch {
		case r.Audit != nil && r.Audit.Valid:
			audit = fmt.Sprintf("%d events verified", r.Audit.Events)
		case r.Audit != nil:
			audit = "BROKEN"
		}
		t.add(mark, r.Scenario, dash(r.Got.Cause), dash(r.Got.Target), dash(r.Got.Workflow), dash(r.Got.Decision), audit,
			seconds(time.Duration(r.Seconds*float64(time.Second))))
	}
	if err := t.write(c.Out); err != nil {
		return err
	}
	for _, r := range summary.Cases {
		for _, text := range r.Problems {
			fmt.Fprintf(c.Out, "%s %s: %s\n", c.out.red("not as expected:"), r.Scenario, clean(text))
		}
	}
	_, err := fmt.Fprintf(c.Out, "\n%d of %d verdicts as expected, in %s.\n", summary.Passed, len(summary.Cases),
		seconds(time.Duration(summary.Seconds*float64(time.Second))))
	return err
}

// rule is a heading across the stream.
func rule(l look, title string) string {
	width := l.width()
	if width <= 0 || width > 120 {
		width = 80
	}
	return "── " + title + " " + strings.Repeat("─", max(width-len([]rune(title))-4, 3))
}

func (c *command) announceDemo(s *system) error {
	_, err := fmt.Fprintf(c.Out, `
Everything keeps running until Ctrl-C.

  export KUBECONFIG=%s
  kubectl get aianalyses,pods -A
  kubernaut explain oom-kill -n shop
  kubernaut audit verify -A --datastorage-url %s
`, s.state.Kubeconfig, s.state.DataStorage)
	return err
}
