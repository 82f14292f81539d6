package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/incident"
)

// someScenarios is a directory with a few of the open scenarios.
func someScenarios(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"oom-limit", "oom-growth", "bad-rollout"} {
		body, err := os.ReadFile(filepath.Join("../../test/scenarios/open", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// modelConfig is a configuration that names a model.
func modelConfig(t *testing.T, endpoint, model string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	text := "llm: {provider: openai, model: " + model + ", endpoint: \"" + endpoint + "\", prices: {input: 3, output: 15}}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The engine and a played model are measured side by side, over real HTTP.
func TestEvalWithModel(t *testing.T) {
	s, end := startStub(t)
	defer end()
	dir := someScenarios(t)
	measured := func(model string) evalReport {
		t.Helper()
		code, stdout, stderr := run(t, nil, "eval", dir, "--config", modelConfig(t, s.OpenAI, model), "-n", "2", "-o", "json")
		var r evalReport
		if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitOK || r.Report.Model == nil {
			t.Fatalf("%s: code %d, %v, stderr:\n%s", model, code, err, stderr)
		}
		return r
	}
	good, garbage := measured("good"), measured("garbage")
	if m := good.Report.Model; good.Scenarios != 3 || m.Answers != 6 || m.Stances[incident.StanceAgrees] != 6 || m.Supported != m.Sentences || m.Supported == 0 || m.Usage.Cost <= 0 || m.Varying != 0 {
		t.Errorf("good: %d scenarios, %+v", good.Scenarios, m)
	}
	if m := garbage.Report.Model; m.Stances[incident.StanceAbsent] != 6 || m.Right != garbage.Engine.Right || m.Right != 6 || len(m.Failures) == 0 || m.Held.Answers != 0 {
		t.Errorf("garbage: %+v", m)
	}
}

func TestEval(t *testing.T) {
	dir, empty := someScenarios(t), t.TempDir()
	none := filepath.Join(empty, "config.txt")
	if err := os.WriteFile(none, []byte("logging: {level: warn}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"the engine alone", []string{dir}, exitOK, "class and target right            3/3 (100.0 %)", ""},
		{"markdown", []string{dir, "-o", "markdown"}, exitOK, "| class and target right | 3/3 (100.0 %) |", ""},
		{"a configuration without a model", []string{dir, "--config", none}, exitOK, "3 scenarios, each put 1 time, to the engine\n", "names no model to ask"},
		{"no directory", nil, exitFailed, "", "one DIR or more"},
		{"an empty directory", []string{empty}, exitFailed, "", "has no scenarios"},
		{"no times", []string{dir, "-n", "0"}, exitFailed, "", "must be at least 1"},
		{"a configuration that is not there", []string{dir, "--config", filepath.Join(empty, "x")}, exitFailed, "", "no such file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, stdout, stderr := run(t, nil, append([]string{"eval"}, row.args...)...)
			if code != row.code || !strings.Contains(stdout, row.stdout) || !strings.Contains(stderr, row.stderr) {
				t.Errorf("got code %d, stdout:\n%s\nstderr %q; want code %d, %q in stdout, %q in stderr", code, stdout, stderr, row.code, row.stdout, row.stderr)
			}
		})
	}
}
