package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
)

// scenarioNamed is one of the open scenarios.
func scenarioNamed(t *testing.T, name string) *scenario.Scenario {
	t.Helper()
	for _, s := range openScenarios(t) {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no scenario %s", name)
	return nil
}

// bundleOf is the path of a scenario's collection.
func bundleOf(t *testing.T, name string, v scenario.Variant) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".tgz")
	collected(t, scenarioReading(t, scenarioNamed(t, name), v), path)
	return path
}

func TestAnalyzeBundle(t *testing.T) {
	for _, row := range []struct {
		scenario string
		healthy  bool
		args     string
		columns  string
		code     int
	}{
		{scenario: "oom-limit", code: exitCause},
		{scenario: "oom-limit", args: "-e -v", columns: "80", code: exitCause},
		{scenario: "oom-limit", args: "-o markdown", code: exitCause},
		{scenario: "oom-limit", args: "-o json", code: exitCause},
		{scenario: "oom-limit", args: "-o yaml", code: exitCause},
		{scenario: "oom-limit", healthy: true, columns: "80", code: exitOK},
	} {
		name := fmt.Sprintf("analyze-%s%s%s", row.scenario, when(row.healthy, "-healthy"), strings.ReplaceAll(row.args, " ", ""))
		t.Run(name, func(t *testing.T) {
			path := bundleOf(t, row.scenario, scenario.Variant{Healthy: row.healthy})
			args := append([]string{"analyze", "--bundle", path}, strings.Fields(row.args)...)
			code, stdout, stderr := run(t, map[string]string{"COLUMNS": row.columns}, args...)
			if code != row.code || stderr != "" {
				t.Fatalf("got code %d, stderr %q; want %d and nothing", code, stderr, row.code)
			}
			if strings.Contains(stdout, "\x1b") {
				t.Errorf("an escape sequence went to what is no terminal:\n%q", stdout)
			}
			golden(t, name+".golden", stdout)
		})
	}
}
