package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// document is a report: the JSON form of it, and what the page is made from.
type document struct {
	Verdict  string `json:"verdict"`
	ExitCode int    `json:"exitCode"`
	// Fault is whose: product, inputs, infrastructure, host, harness, unknown; empty if nothing failed.
	Fault string `json:"fault,omitempty"`
	// Cause is the failure that decided the run, and Seen what earlier runs know of it.
	Cause *failure.Finding `json:"cause,omitempty"`
	Seen  string           `json:"seen,omitempty"`
	Next  []string         `json:"next,omitempty"`
	// Diagnosis is the engine's answer about the cluster.
	Diagnosis *Diagnosis `json:"diagnosis,omitempty"`
	Timings   []timing   `json:"timings"`
	Specs     *specs     `json:"specs,omitempty"`
	Cases     []testCase `json:"cases"`
	// Warnings are what this report lacks.
	Warnings []string    `json:"warnings,omitempty"`
	Run      plan.Result `json:"run"`
}

// timing is a measured time beside those of earlier runs.
type timing struct {
	What    string  `json:"what"`
	Seconds float64 `json:"seconds"`
	// Median is that of the latest Runs runs in which it passed.
	Median float64 `json:"median,omitempty"`
	Runs   int     `json:"runs"`
}

// slow reports whether it took clearly longer than usual.
func (t timing) slow() bool {
	return t.Runs >= 3 && t.Seconds > 1.5*t.Median && t.Seconds-t.Median > 2
}

// specs sums up what ran in the specs phase.
type specs struct {
	Total   int      `json:"total"`
	Failed  int      `json:"failed"`
	Skipped int      `json:"skipped"`
	Names   []string `json:"failedNames,omitempty"`
}

func newDocument(r plan.Result, earlier []past, next []string) document {
	d := document{Verdict: verdict(r), ExitCode: r.ExitCode(), Next: next, Run: r}
	if f, ok := r.Cause(); ok {
		d.Cause, d.Fault, d.Seen = &f, fault(f), seen(f.Fingerprint, earlier)
	}
	for _, ph := range r.Phases {
		if ph.Status == plan.NotRun || ph.Status == plan.Running {
			continue
		}
		var usual []float64
		for _, p := range earlier {
			if seconds, ok := p.Phases[ph.Name]; ok {
				usual = append(usual, seconds)
			}
		}
		t := timing{What: ph.Name, Seconds: ph.Duration.Seconds()}
		t.Median, t.Runs = median(usual)
		d.Timings = append(d.Timings, t)
	}
	for _, whole := range []struct {
		what    string
		seconds float64
		of      func(past) (float64, bool) // of an earlier run, and whether it counts
	}{
		{"up to the first spec", toSpecs(r).Seconds(), func(p past) (float64, bool) { return p.ToSpecs, p.ToSpecs > 0 }},
		{"the whole run", total(r).Seconds(), func(p past) (float64, bool) { return p.Seconds, p.ExitCode == failure.ExitOK }},
		{"the harness's own CPU", r.CPU.Seconds(), func(p past) (float64, bool) { return p.CPU, p.CPU > 0 && p.ExitCode == failure.ExitOK }},
	} {
		if whole.seconds <= 0 {
			continue
		}
		var usual []float64
		for _, p := range earlier {
			if seconds, ok := whole.of(p); ok {
				usual = append(usual, seconds)
			}
		}
		t := timing{What: whole.what, Seconds: whole.seconds}
		t.Median, t.Runs = median(usual)
		d.Timings = append(d.Timings, t)
	}
	return d
}

// verdict is the run in a few words.
func verdict(r plan.Result) string {
	running := slices.IndexFunc(r.Phases, func(p plan.PhaseResult) bool { return p.Status == plan.Running })
	interrupted := slices.IndexFunc(r.Phases, func(p plan.PhaseResult) bool { return p.Status == plan.Interrupted })
	switch f, failed := r.Cause(); {
	case r.Finished.IsZero() && running >= 0:
		return "KILLED during " + r.Phases[running].Name
	case r.Finished.IsZero():
		return "KILLED"
	case r.Interrupted && interrupted >= 0:
		return "INTERRUPTED during " + r.Phases[interrupted].Name
	case r.Interrupted:
		return "INTERRUPTED"
	case failed:
		return "FAILED in " + f.Phase
	case r.ExitCode() != failure.ExitOK:
		return "FAILED"
	case r.Retries() == 1:
		return "PASSED with 1 infrastructure retry"
	case r.Retries() > 1:
		return fmt.Sprintf("PASSED with %d infrastructure retries", r.Retries())
	}
	return "PASSED"
}

// fault is whose fault a failure is.
func fault(f failure.Finding) string {
	switch {
	case f.Harness:
		return "harness"
	case f.Product:
		return "product"
	case f.Class == failure.Permanent:
		return "inputs"
	case f.Class == failure.Host:
		return "host"
	case f.Class == failure.Unknown:
		return "unknown"
	}
	return "infrastructure"
}

// explained says a fault to a person.
func explained(fault string) string {
	switch fault {
	case "product":
		return "the product's, not the infrastructure's"
	case "inputs":
		return "the inputs': a rerun will fail in the same way"
	case "host":
		return "this host's: it is not set up for the run, and a rerun will fail in the same way"
	case "harness":
		return "the harness's"
	case "infrastructure":
		return "the infrastructure's: the product was not at fault"
	}
	return "not known: no known cause fits, so nothing was tried again"
}

// seen says how often a failure was met before.
func seen(fingerprint string, earlier []past) string {
	n, last := 0, ""
	for _, p := range earlier {
		if slices.Contains(p.Fingerprints, fingerprint) {
			n++
			last = p.RunID
		}
	}
	switch {
	case len(earlier) == 0:
		return ""
	case n == 0:
		return fmt.Sprintf("not met in the %s before", runs(len(earlier)))
	}
	return fmt.Sprintf("met in %d of the %s before, last in %s", n, runs(len(earlier)), last)
}

func runs(n int) string {
	if n == 1 {
		return "1 run"
	}
	return fmt.Sprintf("%d runs", n)
}

// took writes a time for a person.
func took(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
}

// where is a phase and its unit.
func where(f failure.Finding) string {
	if f.Unit == "" {
		return f.Phase
	}
	return f.Phase + ", " + f.Unit
}

// kind is a finding's class with what decided it.
func kind(f failure.Finding) string {
	parts := []string{string(f.Class)}
	if f.Row != "" {
		parts = append(parts, "row "+f.Row)
	}
	if f.Probe != "" {
		parts = append(parts, fmt.Sprintf("probe %s: %s", f.Probe, f.Outcome))
	}
	return strings.Join(parts, ", ")
}
