package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// Options are what a report needs beside the run.
type Options struct {
	// History is the file with earlier runs of the cluster; the run is added to it. Empty: nothing is compared.
	History string
	// SpecReports are JUnit files of the specs, whose suites are taken over.
	SpecReports []string
	// Next are commands that a person may want now.
	Next []string
	// Diagnosis is what the engine says of the cluster; nil if it was not asked.
	Diagnosis *Diagnosis
}

// Write writes report.md, report.json and junit.xml into the run's directory, adds the run to the history, and returns the path
// of the page. What it cannot read becomes a warning on the page; it errs if it cannot write.
func Write(r plan.Result, o Options) (string, error) {
	var warnings []string
	var earlier []past
	if o.History != "" {
		var err error
		if earlier, err = readHistory(o.History, r); err != nil {
			warnings = append(warnings, "earlier runs: "+err.Error())
		}
	}
	d := newDocument(r, earlier, o.Next)
	d.Warnings, d.Diagnosis = warnings, o.Diagnosis
	junit, err := d.junit(o.SpecReports)
	if err != nil {
		return "", fmt.Errorf("report of run %s: junit.xml: %w", r.RunID, err)
	}
	twin, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return "", fmt.Errorf("report of run %s: report.json: %w", r.RunID, err)
	}
	page := filepath.Join(r.Dir, "report.md")
	err = errors.Join(
		replace(page, []byte(d.page())),
		replace(filepath.Join(r.Dir, "report.json"), append(twin, '\n')),
		replace(filepath.Join(r.Dir, "junit.xml"), junit),
	)
	if o.History != "" {
		err = errors.Join(err, writeHistory(o.History, earlier, pastOf(r)))
	}
	if err != nil {
		return "", fmt.Errorf("report of run %s: %w", r.RunID, err)
	}
	return page, nil
}
