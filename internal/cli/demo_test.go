package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spf13/cobra"
	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/cli/stage"
	"kubernaut.ai/kubernaut/internal/controlplane"

	"kubernaut.ai/kubernaut/internal/incident"
)

func oomScenario() stage.Scenario {
	return stage.Scenario{
		Name: "oom-kill", Namespace: "shop", Title: "A cart service is killed",
		Expect: stage.Expect{Cause: "oom-limit", Target: stage.Target{Kind: "Deployment", Name: "cart"}, Workflow: "raise-memory-limit"},
	}
}

// TestVerdictIsCompared changes one thing at a time.
func TestVerdictIsCompared(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(d *demoCase)
		want   []string
	}{
		{"as expected", func(*demoCase) {}, nil},
		{"other cause", func(d *demoCase) { d.analysis.Status.CauseClass = "bad-rollout" }, []string{`cause: got "bad-rollout", want "oom-limit"`}},
		{"other target", func(d *demoCase) {
			d.analysis.Status.RootCauseAnalysis.Target = &v1alpha1.ObjectRef{Kind: "Pod", Namespace: "shop", Name: "cart-1"}
		}, []string{`target: got "Pod shop/cart-1", want "Deployment shop/cart"`}},
		{"other workflow", func(d *demoCase) { d.workflow = "restart" }, []string{`workflow: got "restart", want "raise-memory-limit"`}},
		{"asks a person", func(d *demoCase) { d.analysis.Status.ApprovalRequired = true }, []string{`decision: got "a person must approve", want "approved by policy"`}},
		{"failed", func(d *demoCase) { d.analysis.Status.Phase = v1alpha1.PhaseFailed }, []string{`phase: got "Failed", want "Completed"`, `decision: got "a person must look", want "approved by policy"`}},
		{"broken chain", func(d *demoCase) { d.chain.Valid = false }, []string{"the audit trail does not verify"}},
		{"empty chain", func(d *demoCase) { d.chain.Events = 0 }, []string{"the audit trail does not verify"}},
		{"a cause where none is", func(d *demoCase) { d.scenario.Expect = stage.Expect{} }, []string{
			`cause: got "oom-limit", want "healthy"`, `target: got "Deployment shop/cart", want ""`,
			`workflow: got "raise-memory-limit", want ""`, `decision: got "approved by policy", want "nothing to approve"`,
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := &demoCase{
				scenario: oomScenario(), analysis: analysis("oom-kill", completed()), workflow: "raise-memory-limit",
				chain: &incident.ChainReport{Valid: true, Events: 7},
			}
			row.change(d)
			if diff := cmp.Diff(row.want, d.check()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDemoReport(t *testing.T) {
	good := &demoCase{
		scenario: oomScenario(), analysis: analysis("oom-kill", completed()), workflow: "raise-memory-limit", took: 312 * time.Millisecond,
		chain: &incident.ChainReport{CorrelationID: "rem-oom-kill", Valid: true, Events: 7, Head: strings.Repeat("ab", 32)},
	}
	bad := &demoCase{scenario: oomScenario(), problems: []string{"stage oom-kill: step 1: waiting for 2 Pods"}}
	var b bytes.Buffer
	c := &command{Streams: Streams{Out: &b}, out: look{size: func() (int, int) { return 100, 0 }}}
	if err := c.writeDemo([]*demoCase{good, bad}, summarize([]*demoCase{good, bad}, 9*time.Second)); err != nil {
		t.Fatal(err)
	}
	golden(t, "demo.golden", b.String())
	for want, cases := range map[int][]*demoCase{exitOK: {good}, exitFailed: {good, bad}} {
		if code := c.exit(t.Context(), &cobra.Command{}, summarize(cases, time.Second).outcome()); code != want {
			t.Errorf("%d cases: got code %d, want %d", len(cases), code, want)
		}
	}
}

func TestDemoDirectory(t *testing.T) {
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "something"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := run(t, nil, "demo", "--data-dir", used)
	if code != exitFailed || !strings.Contains(stderr, used+" is not empty") {
		t.Errorf("a used directory: got code %d, stderr %q", code, stderr)
	}
	for _, given := range []string{filepath.Join(used, "new"), t.TempDir()} {
		if dir, _, err := demoDir(given); err != nil || dir != given {
			t.Errorf("demoDir(%q) = %q, %v", given, dir, err)
		}
	}
	t.Setenv("HOME", "") // a temporary directory needs none
	dir, remove, err := demoDir("")
	if err != nil {
		t.Fatal(err)
	}
	remove()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
}

// TestDemo is the whole product: an API server, three services, every scenario.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an API server; run without -short")
	}
	env := map[string]string{controlplane.EnvBinary: os.Getenv(controlplane.EnvBinary)}
	dir := filepath.Join(t.TempDir(), "data")
	code, stdout, stderr := run(t, env, "demo", "-o", "json", "--data-dir", dir)
	var summary demoSummary
	if err := json.Unmarshal([]byte(stdout), &summary); err != nil {
		t.Fatalf("code %d, result: %v\n%s\nstderr:\n%s", code, err, stdout, stderr)
	}
	for _, r := range summary.Cases {
		if !r.OK {
			t.Errorf("%s: %s", r.Scenario, strings.Join(r.Problems, "; "))
		}
	}
	all, err := stage.Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	if code != exitOK || summary.Passed != len(all) {
		t.Errorf("got code %d and %d verdicts as expected, want 0 and %d", code, summary.Passed, len(all))
	}
	if _, err := os.Stat(filepath.Join(dir, stateFile)); !os.IsNotExist(err) {
		t.Errorf("after the end, %s still says that it runs: %v", stateFile, err)
	}
}
