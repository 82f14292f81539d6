package plan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// world is what phases act on, so that what they claim can cease to hold.
type world struct {
	diary
	inputs map[string]string
	broken map[string]bool // what does not hold
	fails  map[string]bool
}

func newWorld() *world {
	return &world{inputs: make(map[string]string), broken: make(map[string]bool), fails: make(map[string]bool)}
}

// plan is preflight → build, cluster → load → deploy → specs, of which preflight and specs always run.
func (w *world) plan() Plan {
	phase := func(name string, after ...string) Phase {
		ph := Phase{Name: name, After: after, Run: func(_ context.Context, task *Task) error {
			w.add("%s", name)
			if w.fails[name] {
				return errors.New("odd")
			}
			w.broken[name] = false
			return task.Facts.Set(name, "made with "+w.inputs[name])
		}}
		if name != "preflight" && name != "specs" {
			ph.Inputs = func(context.Context) (string, error) { return w.inputs[name], nil }
			ph.Verify = func(_ context.Context, f *Facts) error {
				var made string
				if ok, err := f.Get(name, &made); err != nil || !ok {
					return errors.New("no fact")
				}
				if w.broken[name] {
					return errors.New(name + " is gone")
				}
				return nil
			}
		}
		return ph
	}
	return Plan{Suite: "s", Cluster: "c", Phases: []Phase{
		phase("preflight"), phase("build", "preflight"), phase("cluster", "preflight", "build"),
		phase("load", "build", "cluster"), phase("deploy", "load"), phase("specs", "deploy"),
	}}
}

func TestResume(t *testing.T) {
	for _, c := range []struct {
		name   string
		first  string // the phase that fails in the first run
		change func(*world)
		again  []string
		why    string // of the first checkpointed phase that ran again
	}{
		{"from the failed phase", "deploy", func(*world) {}, []string{"preflight", "deploy", "specs"}, "no earlier run finished it"},
		{"after failing specs", "specs", func(*world) {}, []string{"preflight", "specs"}, ""},
		{"the cluster is gone", "deploy", func(w *world) { w.broken["cluster"] = true }, []string{"preflight", "cluster", "load", "deploy", "specs"}, "cluster is gone"},
		{"the code has changed", "specs", func(w *world) { w.inputs["build"] = "2" }, []string{"preflight", "build", "cluster", "load", "deploy", "specs"}, "inputs have changed"},
		{"the manifests have changed", "specs", func(w *world) { w.inputs["deploy"] = "2" }, []string{"preflight", "deploy", "specs"}, "inputs have changed"},
		{"an image is gone from a node", "specs", func(w *world) { w.broken["load"] = true }, []string{"preflight", "load", "deploy", "specs"}, "load is gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			dir := t.TempDir()
			w.fails[c.first] = true
			first := mustRun(t, t.Context(), w.plan(), Options{Dir: dir})
			if first.ExitCode() == failure.ExitOK {
				t.Fatal("the first run passed")
			}
			w.fails[c.first] = false
			c.change(w)
			w.entries = nil
			second := mustRun(t, t.Context(), w.plan(), Options{Dir: dir, Resume: true})
			if got := w.all(); !slices.Equal(got, c.again) || second.ExitCode() != failure.ExitOK {
				t.Errorf("ran %q, want %q (%s)", got, c.again, statuses(second))
			}
			if second.Resumed != first.RunID {
				t.Errorf("resumed %q, want %q", second.Resumed, first.RunID)
			}
			for _, p := range second.Phases {
				if p.Status == Held != !slices.Contains(c.again, p.Name) {
					t.Errorf("%s: got %s", p.Name, p.Status)
				}
			}
			if c.why != "" {
				i := slices.IndexFunc(second.Phases, func(p PhaseResult) bool { return p.Name == c.again[1] })
				if got := second.Phases[i].Why; !strings.Contains(got, c.why) {
					t.Errorf("%s ran again: %q, want %q", c.again[1], got, c.why)
				}
			}
			if load := second.Phases[3]; slices.Contains(c.again, "cluster") && !strings.Contains(load.Why, "ran again") {
				t.Errorf("load ran: %q, want that what it needs did", load.Why)
			}
			w.entries = nil
			mustRun(t, t.Context(), w.plan(), Options{Dir: dir, Resume: true})
			if got := w.all(); !slices.Equal(got, []string{"preflight", "specs"}) {
				t.Errorf("a third time: ran %q", got)
			}
		})
	}
}

func TestAFreshRunTakesNothingOver(t *testing.T) {
	w := newWorld()
	dir := t.TempDir()
	mustRun(t, t.Context(), w.plan(), Options{Dir: dir})
	w.entries = nil
	if mustRun(t, t.Context(), w.plan(), Options{Dir: dir}); len(w.all()) != 6 {
		t.Errorf("ran %q, want all", w.all())
	}
}

// A run that is killed after it has recreated the cluster must not leave claims about what was in the old one.
func TestKilledRunLeavesNoFalseClaims(t *testing.T) {
	w := newWorld()
	dir := t.TempDir()
	mustRun(t, t.Context(), w.plan(), Options{Dir: dir})
	w.broken["cluster"], w.fails["cluster"] = true, true
	mustRun(t, t.Context(), w.plan(), Options{Dir: dir, Resume: true})
	w.broken["cluster"], w.fails["cluster"] = false, false // somebody else made one
	w.entries = nil
	mustRun(t, t.Context(), w.plan(), Options{Dir: dir, Resume: true})
	if got, want := w.all(), []string{"preflight", "cluster", "load", "deploy", "specs"}; !slices.Equal(got, want) {
		t.Errorf("ran %q, want %q", got, want)
	}
}

func TestCheckpointOfSomethingElse(t *testing.T) {
	for name, content := range map[string]string{
		"another version": `{"version": 999, "suite": "s", "cluster": "c", "phases": {"build": {"digest": ""}}}`,
		"another suite":   `{"version": 1, "suite": "other", "cluster": "c", "phases": {"build": {"digest": ""}}}`,
		"cut off":         `{"version": 1, "sui`,
		"empty":           ``,
		"no phases":       `{"version": 1, "suite": "s", "cluster": "c"}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			res := mustRun(t, t.Context(), w.plan(), Options{Dir: dir, Resume: true})
			if len(w.all()) != 6 || res.ExitCode() != failure.ExitOK {
				t.Errorf("ran %q: %s, want all", w.all(), statuses(res))
			}
		})
	}
}

func TestUntil(t *testing.T) {
	w := newWorld()
	dir := t.TempDir()
	res := mustRun(t, t.Context(), w.plan(), Options{Dir: dir, Until: "cluster"})
	if got := statuses(res); got != "preflight passed, build passed, cluster passed" || res.ExitCode() != failure.ExitOK {
		t.Errorf("got %s", got)
	}
	w.entries = nil
	mustRun(t, t.Context(), w.plan(), Options{Dir: dir, Until: "load", Resume: true})
	if got := w.all(); !slices.Equal(got, []string{"preflight", "load"}) {
		t.Errorf("ran %q", got)
	}
}

// Whoever asks for a part of the plan wants evidence if it fails, and is left with what was made if it does not.
func TestUntilRescues(t *testing.T) {
	for _, fails := range []bool{false, true} {
		w := newWorld()
		p := w.plan()
		p.Phases = append(p.Phases, Phase{Name: "gather", Finally: true, Run: w.writes("gather", nil)})
		w.fails["cluster"] = fails
		res := mustRun(t, t.Context(), p, Options{Until: "cluster"})
		want := []string{"preflight", "build", "cluster"}
		if fails {
			want = append(want, "gather")
		}
		if got := w.all(); !slices.Equal(got, want) || len(res.Phases) != len(want) {
			t.Errorf("fails: %v: ran %q, want %q (%s)", fails, got, want, statuses(res))
		}
	}
}

// A run that is refused, because another one holds the lock say, must not touch that one's checkpoint.
func TestRefusedRunLeavesTheCheckpoint(t *testing.T) {
	w := newWorld()
	dir := t.TempDir()
	w.fails["specs"] = true
	mustRun(t, t.Context(), w.plan(), Options{Dir: dir})
	w.fails["preflight"] = true
	mustRun(t, t.Context(), w.plan(), Options{Dir: dir})
	w.fails["preflight"], w.fails["specs"] = false, false
	w.entries = nil
	mustRun(t, t.Context(), w.plan(), Options{Dir: dir, Resume: true})
	if got := w.all(); !slices.Equal(got, []string{"preflight", "specs"}) {
		t.Errorf("ran %q, want what the first run left", got)
	}
}

func TestOnly(t *testing.T) {
	w := newWorld()
	dir := t.TempDir()
	if res := mustRun(t, t.Context(), w.plan(), Options{Dir: dir, Only: "load"}); res.ExitCode() == failure.ExitOK || len(w.all()) > 0 {
		t.Errorf("got exit code %d and ran %q: load has nothing to stand on", res.ExitCode(), w.all())
	}
	mustRun(t, t.Context(), w.plan(), Options{Dir: dir})
	w.entries = nil
	res := mustRun(t, t.Context(), w.plan(), Options{Dir: dir, Only: "load"})
	if got := statuses(res); got != "build held, cluster held, load passed" || res.ExitCode() != failure.ExitOK {
		t.Errorf("got %s, want the load again", got)
	}
	w.broken["cluster"] = true
	w.entries = nil
	res = mustRun(t, t.Context(), w.plan(), Options{Dir: dir, Only: "deploy"})
	f, _ := res.Cause()
	if len(w.all()) > 0 || !strings.Contains(f.Summary, "cluster is gone") || f.Fix == "" || res.ExitCode() == failure.ExitOK {
		t.Errorf("ran %q with %+v, want nothing and the reason", w.all(), f)
	}
}

func TestInputsFail(t *testing.T) {
	var d diary
	for name, inputs := range map[string]func(context.Context) (string, error){
		"error": func(context.Context) (string, error) { return "", errors.New("no Dockerfile") },
		"panic": func(context.Context) (string, error) { panic("no Dockerfile") },
	} {
		t.Run(name, func(t *testing.T) {
			res := mustRun(t, t.Context(), chain(Phase{Name: "build", Inputs: inputs, Run: d.writes("build", nil)}), Options{})
			f, _ := res.Cause()
			if len(d.all()) > 0 || res.ExitCode() == failure.ExitOK || !strings.Contains(f.Summary+strings.Join(f.Lines, ""), "no Dockerfile") {
				t.Errorf("ran %q with %+v", d.all(), f)
			}
		})
	}
}

func TestFacts(t *testing.T) {
	var f Facts
	type images map[string]string
	if err := f.Set("images", images{"a": "1"}); err != nil {
		t.Fatal(err)
	}
	var got images
	if ok, err := f.Get("images", &got); !ok || err != nil || got["a"] != "1" {
		t.Errorf("got %v, %v, %v", got, ok, err)
	}
	if ok, err := f.Get("none", &got); ok || err != nil {
		t.Errorf("got %v, %v of a fact that is none", ok, err)
	}
	var n int
	if _, err := f.Get("images", &n); err == nil || !strings.Contains(err.Error(), "images") {
		t.Errorf("got %v of another shape", err)
	}
	if err := f.Set("bad", func() {}); err == nil {
		t.Error("a function became a fact")
	}
}

func TestOldRunsGo(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"notes", "20250101T000000Z-zzzz"} {
		if err := os.MkdirAll(filepath.Join(dir, "runs", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var d diary
	for i := range keptRuns + 3 {
		mustRun(t, t.Context(), chain(Phase{Name: "a", Run: d.writes("a", nil)}), Options{Dir: dir, RunID: fmt.Sprintf("20260101T0000%02dZ-0000", i)})
	}
	entries, err := os.ReadDir(filepath.Join(dir, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != keptRuns+2 || entries[1].Name() != "20260101T000003Z-0000" {
		t.Errorf("got %d directories, the second %s, want the last %d runs and what is none of ours", len(entries), entries[1], keptRuns)
	}
}

func TestLastRun(t *testing.T) {
	dir := t.TempDir()
	if got, err := LastRun(dir); got != "" || err != nil {
		t.Errorf("got %q, %v without a run", got, err)
	}
	var d diary
	if err := os.MkdirAll(filepath.Join(dir, "runs", "notes"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"20260101T000000Z-ffff", "20260102T000000Z-0000"} {
		mustRun(t, t.Context(), chain(Phase{Name: "a", Run: d.writes("a", nil)}), Options{Dir: dir, RunID: id})
	}
	if got, err := LastRun(dir); err != nil || filepath.Base(got) != "20260102T000000Z-0000" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A phase that is interrupted while it looks at its inputs has not failed.
func TestInterruptedInputs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := Plan{Suite: "s", Cluster: "c", Phases: []Phase{{
		Name: "build",
		Inputs: func(ctx context.Context) (string, error) {
			cancel()
			return "", ctx.Err()
		},
		Run: func(context.Context, *Task) error { return nil },
	}}}
	result, err := Run(ctx, p, Options{Dir: t.TempDir()})
	if err != nil || len(result.Phases) != 1 || result.Phases[0].Status != Interrupted {
		t.Errorf("%+v, %v", result.Phases, err)
	}
}
