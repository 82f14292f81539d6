package infrastructure_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/faults"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// Each fault is met where it belongs, and healed or diagnosed. The cases go on from each other, as one cluster is enough for
// most of them.
func TestRealFaults(t *testing.T) {
	r := newRig(t)
	for _, s := range []struct {
		fault, command string
		verdict        faults.Verdict
	}{
		{"a port is taken", "up", faults.Stopped},
		{"a node is removed during creation", "load", faults.Healed},
		{"a second run begins", "deploy", faults.Survived},
		{"a node is killed", "up", faults.Healed},
		{"a node reports a full disk", "load", faults.Stopped},
		{"the stream of an image is cut", "up", faults.Healed},
		{faults.ConfigMapsDeleted, "up", faults.Stopped},
	} {
		t.Run(s.fault, func(t *testing.T) {
			f, err := faults.Named(s.fault)
			if err != nil {
				t.Fatal(err)
			}
			if f.Phase == "load" {
				r.change(t) // what is loaded is not loaded again
			}
			code, said := r.run(t, s.fault, nil, s.command, faulty)
			result := r.result(t, said)
			verdict, why := f.Judge(result)
			if verdict != s.verdict || code != result.ExitCode() {
				t.Errorf("exit code %d, %s (%s), want %s\n%s", code, verdict, why, s.verdict, said)
			}
			if s.fault == faults.ConfigMapsDeleted {
				explained(t, result)
			}
			for _, ph := range result.Phases {
				for _, again := range ph.Retries {
					t.Logf("%s: %s, row %s, healed %v: %s", ph.Name, again.Unit, again.Finding.Row, again.Healed, again.Finding.Summary)
				}
			}
		})
	}
	r.nothingLeft(t)
}

// explained checks what the engine says of a run whose ConfigMap is gone.
func explained(t *testing.T, r plan.Result) {
	t.Helper()
	var twin struct {
		Diagnosis struct{ Result diagnose.Result }
	}
	text, err := os.ReadFile(filepath.Join(r.Dir, "report.json"))
	if err == nil {
		err = json.Unmarshal(text, &twin)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := twin.Diagnosis.Result.Cause
	if c == nil || c.Class != "configmap-missing" || c.Target.Kind != "Deployment" || c.Target.Name != "web" || len(c.Chain) == 0 || len(twin.Diagnosis.Result.Evidence) == 0 {
		t.Errorf("the engine says %+v", twin.Diagnosis.Result)
	}
	page, err := os.ReadFile(filepath.Join(r.Dir, "report.md"))
	if err != nil || !strings.Contains(string(page), "**configmap-missing of Deployment kubernaut-system/web") {
		t.Errorf("the page does not say so: %v\n%s", err, page)
	}
	t.Log(c.Summary)
}

// Ctrl-C in each phase ends the run with its own exit code and with evidence; a resumed run goes on from there, and
// nothing is left once the cluster is deleted.
func TestRealInterrupts(t *testing.T) {
	r := newRig(t)
	says := func(lines ...string) (must []*regexp.Regexp) {
		for _, l := range lines {
			must = append(must, regexp.MustCompile(`(?m)^[\d:]+ `+l))
		}
		return must
	}
	command := "run"
	for _, s := range []struct {
		phase string
		must  []*regexp.Regexp
	}{
		{"build", says(`build +…`)},
		{"cluster", says(`build +passed`, `cluster +…`)},
		{"load", says(`load +…`)},
		{"deploy", says(`deploy +…`)},
		{"wait", says(`wait +…`)},
	} {
		t.Run(s.phase, func(t *testing.T) {
			code, said := r.run(t, "", s.must, command, faulty)
			result := r.result(t, said)
			verdict, why := faults.Fault{Phase: s.phase, Exit: failure.ExitInterrupted}.Judge(result)
			if code != failure.ExitInterrupted || verdict != faults.Stopped {
				t.Errorf("exit code %d, %s (%s)\n%s", code, verdict, why, said)
			}
			evidence := ""
			for _, ph := range result.Phases {
				if ph.Name == "gather" {
					evidence = filepath.Join(ph.Dir, "host", "containers.txt")
				}
				if before := ph.Name == "build" && s.phase != "build" && s.phase != "cluster"; before && ph.Status != plan.Held {
					t.Errorf("the resumed run did not take over %s: %s", ph.Name, ph.Status)
				}
			}
			if text, err := os.ReadFile(evidence); err != nil || len(text) == 0 {
				t.Errorf("no evidence: %q, %v", text, err)
			}
			command = "resume"
		})
	}
	code, said := r.run(t, "", nil, "resume", faulty)
	if code != failure.ExitOK {
		t.Errorf("exit code %d of the last resume\n%s", code, said)
	}
	r.nothingLeft(t)
}

// A run on three nodes has the images on each of them.
func TestRealThreeNodes(t *testing.T) {
	r := newRig(t)
	r.workers = 2
	code, said := r.run(t, "", nil, "run", faulty)
	if code != failure.ExitOK || !strings.Contains(said, "cluster "+faultyCluster+" of 3 nodes created") || !strings.Contains(said, "3 of 3 loads onto 3 nodes done and verified") {
		t.Errorf("exit code %d\n%s", code, said)
	}
	r.nothingLeft(t)
}

// A soak puts faults into run after run and says what became of each.
func TestRealSoak(t *testing.T) {
	r := newRig(t)
	code, said := r.run(t, "", nil, "soak", "-n", "4", "-seed", "7", faulty)
	if code != failure.ExitOK || !strings.Contains(said, "4 of 4 runs, seed 7\n") {
		t.Errorf("exit code %d\n%s", code, said)
	}
	t.Log(said[max(0, strings.LastIndex(said, "\n4 of 4")):])
	r.nothingLeft(t)
}

// nothingLeft deletes the cluster and looks for what carries its labels by the engine's own commands.
func (r *rig) nothingLeft(t *testing.T) {
	t.Helper()
	if code, said := r.run(t, "", nil, "down", faulty); code != failure.ExitOK || !strings.Contains(said, "nothing of cluster "+faultyCluster+" is left") {
		t.Errorf("exit code %d of down\n%s", code, said)
	}
	e := r.engine(t)
	if stale, err := e.DropForwards(t.Context()); err != nil || stale > 0 {
		t.Errorf("%d ports still led to containers that are gone, %v", stale, err)
	}
	program := string(e.Kind())
	for _, args := range [][]string{
		{"ps", "--all", "--quiet", "--filter", "label=" + engine.KindLabel + "=" + faultyCluster},
		{"ps", "--all", "--quiet", "--filter", "label=" + engine.Label + "=" + faultyCluster},
		{"volume", "ls", "--quiet", "--filter", "label=" + engine.Label + "=" + faultyCluster},
	} {
		out, err := exec.CommandContext(t.Context(), program, args...).Output()
		if err != nil || len(out) > 0 {
			t.Errorf("%s %v: %q, %v", program, args, out, err)
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(home, ".kube", faultyCluster+"-config")); !os.IsNotExist(err) {
		t.Errorf("the kubeconfig is still there: %v", err)
	}
}

// change changes the program, and thereby its image.
func (r *rig) change(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(r.root, "cmd", "faults", "main.go"), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("\n// Another content.\n")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
