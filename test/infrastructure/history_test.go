package infrastructure_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
	"kubernaut.ai/kubernaut/test/infrastructure/replay"
	"kubernaut.ai/kubernaut/test/infrastructure/replay/apiserver"
)

// edited is the product's manifests with one text replaced in one file.
func edited(file, old, by string) func(*testing.T, *stage) string {
	return func(t *testing.T, s *stage) string {
		t.Helper()
		root := t.TempDir()
		for _, dir := range []string{"deploy", "docker"} {
			if err := os.CopyFS(filepath.Join(root, dir), os.DirFS(filepath.Join(s.repo, dir))); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(root, file)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.ReplaceAll(string(content), old, by)
		if changed == string(content) {
			t.Fatalf("%s does not contain %q", file, old)
		}
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		for name := range map[string]bool{"cmd/aianalysis": true, "cmd/holmesgpt-api": true, "cmd/datastorage": true, "test/e2e/workload": true} {
			dir := filepath.Join(root, name)
			if err := os.MkdirAll(dir, 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		dockerfile, err := os.ReadFile(filepath.Join(s.repo, "test/e2e/workload/Dockerfile"))
		if err == nil {
			err = os.WriteFile(filepath.Join(root, "test/e2e/workload/Dockerfile"), dockerfile, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return root
	}
}

// The five runs that failed one after the other on one day end where they should have, and say why.
func TestReplayHistory(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the harness many times")
	}
	s := newStage(t)
	static := func(file, old, by string) scenario { return scenario{real: true, source: edited(file, old, by)} }
	all := []struct {
		name string
		scenario
		phase string
		class failure.Class
		exit  int
		says  string
	}{
		{
			"17:08, nobody waited for the services",
			scenario{unhealthy: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "starting", http.StatusServiceUnavailable) }},
			"health", failure.Permanent, product, "status 503",
		},
		{"17:27, the name had its registry twice", static("deploy/base/aianalysis/deployment.yaml", "image: localhost/kubernaut-aianalysis", "image: localhost/localhost/kubernaut-aianalysis"), "static", failure.Permanent, product, "localhost/localhost"},
		{"18:17, a ConfigMap was missing", static("deploy/base/aianalysis/deployment.yaml", "name: aianalysis-config", "name: aianalysis-conf"), "static", failure.Permanent, product, "aianalysis-conf"},
		{"18:46, the configuration was another", static("deploy/base/aianalysis/deployment.yaml", "/etc/aianalysis/config/config.yaml", "/etc/aianalysis/config.yaml"), "static", failure.Permanent, product, "/etc/aianalysis/config.yaml"},
		{
			"19:05, Kind lost a node",
			scenario{steps: []replay.Step{{Call: logsCall, Exit: 125, Effects: []string{"remove " + control}, Stderr: "Error: no container with ID 7f1f8d5b2c1e9a8d found in database: no such container\n"}}},
			"cluster", failure.Stale, 0, "removed while Kind waited for it",
		},
	}
	for _, r := range all {
		t.Run(r.name, func(t *testing.T) {
			m := s.machine(t, r.scenario)
			code := m.run(order{Command: "run"})
			result := m.result()
			f, failed := result.Cause()
			if !failed {
				for _, ph := range result.Phases {
					for _, again := range ph.Retries {
						f = again.Finding
					}
				}
			}
			if code != r.exit || f.Phase != r.phase || f.Class != r.class || !strings.Contains(m.report(result), r.says) {
				t.Errorf("exit code %d, %s in %s (%s); want %d, %s in %s, and %q in the report\n%s", code, f.Class, f.Phase, f.Summary, r.exit, r.class, r.phase, r.says, m.transcript())
			}
			if r.phase != "static" {
				return
			}
			for _, ph := range result.Phases {
				if ph.Name == "build" && ph.Status != plan.NotRun {
					t.Error("something was built before")
				}
				if ph.Name == "static" && ph.Duration > 10*time.Second { // 2 on a machine of its own
					t.Errorf("the checks took %s", ph.Duration)
				}
			}
		})
	}
}

// A run that is interrupted in any phase ends with its own exit code, has gathered what there is, can be continued, and
// leaves nothing behind once its cluster is deleted.
func TestReplayInterrupts(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the harness many times")
	}
	s := newStage(t)
	hang := func(call string) func(touch string) scenario {
		return func(touch string) scenario {
			return scenario{steps: []replay.Step{{Call: call, Hang: true, Touch: touch}}}
		}
	}
	for _, r := range []struct {
		phase    string
		scenario func(touch string) scenario
	}{
		{"preflight", hang(`^podman run --detach --name kubernaut-e2e-probe`)},
		{"node-image", hang(`^podman image inspect --format {{.Id}} localhost/replayed-node:1`)},
		{"build", hang(buildCall)},
		{"cluster", hang(initCall)},
		{"load", hang(importCall)},
		{"deploy", func(touch string) scenario {
			return scenario{faults: []fault{{call: "PATCH .*deployments", hang: true, effects: []string{"touch " + touch}}}}
		}},
		{"wait", func(touch string) scenario {
			return scenario{
				pods:   map[string]*apiserver.Pod{"web": {Reason: "ContainerCreating", Heals: true}},
				faults: []fault{{call: "GET .*/pods$", hang: true, effects: []string{"touch " + touch}}},
			}
		}},
		{"specs", hang(`^ginkgo`)},
	} {
		t.Run(r.phase, func(t *testing.T) {
			touch := filepath.Join(t.TempDir(), "there")
			m := s.machine(t, r.scenario(touch))
			cmd, err := m.command(t.Context(), order{Command: "run"})
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			await(t, touch)
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // its exit code says it
			result := m.result()
			if code := cmd.ProcessState.ExitCode(); code != failure.ExitInterrupted || !result.Interrupted {
				t.Fatalf("exit code %d, want %d\n%s", code, failure.ExitInterrupted, m.transcript())
			}
			for _, ph := range result.Phases {
				if ph.Name == r.phase && ph.Status != plan.Interrupted || ph.Name == "gather" && ph.Status != plan.Passed {
					t.Errorf("phase %s: %s", ph.Name, ph.Status)
				}
			}
			if code := m.run(order{Command: "resume"}); code != 0 {
				t.Errorf("exit code %d of resume\n%s", code, m.transcript())
			}
			if code := m.run(order{Command: "down"}); code != 0 {
				t.Errorf("exit code %d of down\n%s", code, m.transcript())
			}
			if left, err := m.Left(); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// await waits until a file is there.
func await(t *testing.T, file string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		if _, err := os.Stat(file); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s is not there after a minute", file)
		}
	}
}

// A service that leaves no counters fails the run in the phase that collects them.
func TestReplayCoverage(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the harness many times")
	}
	s := newStage(t)
	m := s.machine(t, scenario{real: true, env: []string{"E2E_COVERAGE=true"}})
	code := m.run(order{Command: "run"})
	result := m.result()
	f, _ := result.Cause()
	if code != product || f.Row != "F42" || f.Phase != "coverage" || !strings.Contains(m.report(result), "counters") {
		t.Errorf("exit code %d, row %q in %s (%s)\n%s", code, f.Row, f.Phase, f.Summary, m.transcript())
	}
}
