package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// diary records what happens, in order.
type diary struct {
	mu      sync.Mutex
	entries []string
}

func (d *diary) add(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, fmt.Sprintf(format, args...))
}

func (d *diary) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.entries)
}

// writes returns a phase's function that writes into the diary and returns err.
func (d *diary) writes(name string, err error) func(context.Context, *Task) error {
	return func(context.Context, *Task) error {
		d.add("%s", name)
		return err
	}
}

// chain makes a plan of phases, each after the one before.
func chain(phases ...Phase) Plan {
	for i := 1; i < len(phases); i++ {
		if phases[i].After == nil {
			phases[i].After = []string{phases[i-1].Name}
		}
	}
	return Plan{Suite: "suite", Cluster: "try", Phases: phases}
}

func mustRun(t *testing.T, ctx context.Context, p Plan, o Options) Result { //nolint:revive // the test comes first in tests
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	res, err := Run(ctx, p, o)
	if err != nil {
		t.Fatal(err)
	}
	onDisk, err := ReadResult(res.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := text(t, onDisk), text(t, res); got != want {
		t.Errorf("result.json: got %s, want %s", got, want)
	}
	return res
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func statuses(r Result) string {
	var all []string
	for _, p := range r.Phases {
		all = append(all, p.Name+" "+string(p.Status))
	}
	return strings.Join(all, ", ")
}

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes := func(d time.Duration) func(context.Context, *Task) error {
			return func(context.Context, *Task) error { time.Sleep(d); return nil }
		}
		begin := time.Now()
		res := mustRun(t, t.Context(), Plan{Suite: "s", Cluster: "c", Phases: []Phase{
			{Name: "preflight", Run: takes(1 * time.Second)},
			{Name: "build", After: []string{"preflight"}, Run: takes(20 * time.Second)},
			{Name: "cluster", After: []string{"preflight"}, Run: takes(30 * time.Second)},
			{Name: "load", After: []string{"build", "cluster"}, Run: takes(5 * time.Second)},
			{Name: "teardown", Finally: true, Run: takes(2 * time.Second)},
		}}, Options{})
		if took := time.Since(begin); took != 38*time.Second {
			t.Errorf("it took %s, want 38 s: build and cluster side by side", took)
		}
		if got := statuses(res); got != "preflight passed, build passed, cluster passed, load passed, teardown passed" || res.ExitCode() != failure.ExitOK {
			t.Errorf("got %s, exit code %d", got, res.ExitCode())
		}
		if got := res.Phases[2].Duration; got != 30*time.Second {
			t.Errorf("cluster took %s", got)
		}
	})
}

func TestFailure(t *testing.T) {
	for _, c := range []struct {
		name  string
		build error
		exit  int
	}{
		{"unknown", errors.New("odd"), failure.ExitInfrastructure},
		{"product", failure.New(failure.Permanent, "S29", "does not compile", ""), failure.ExitProduct},
		{"host", failure.New(failure.Host, "", "no memory", ""), failure.ExitHost},
		{"several", errors.Join(failure.New(failure.Host, "", "no memory", ""), errors.New("odd")), failure.ExitHost},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d diary
			p := Plan{Suite: "s", Cluster: "c", Phases: []Phase{
				{Name: "build", Run: d.writes("build", c.build)},
				{Name: "cluster", Run: d.writes("cluster", nil)},
				{Name: "load", After: []string{"build", "cluster"}, Run: d.writes("load", nil)},
				{Name: "specs", After: []string{"load"}, Run: d.writes("specs", nil)},
				{Name: "gather", After: []string{"specs"}, Finally: true, Run: d.writes("gather", nil)},
				{Name: "teardown", After: []string{"gather"}, Finally: true, Run: d.writes("teardown", errors.New("also odd"))},
			}}
			res := mustRun(t, t.Context(), p, Options{})
			if got := statuses(res); got != "build failed, cluster passed, load not run, specs not run, gather passed, teardown failed" {
				t.Errorf("got %s", got)
			}
			if got := d.all(); len(got) != 4 || !slices.Equal(got[2:], []string{"gather", "teardown"}) {
				t.Errorf("ran %q", got)
			}
			if res.ExitCode() != c.exit {
				t.Errorf("got exit code %d, want %d", res.ExitCode(), c.exit)
			}
			if f, ok := res.Cause(); !ok || f.Phase != "build" {
				t.Errorf("got cause %+v, want build's", f)
			}
			if why := res.Phases[2].Why; !strings.Contains(why, "build") {
				t.Errorf("load was not run: %q, want the reason", why)
			}
			log, err := os.ReadFile(filepath.Join(res.Phases[0].Dir, "log.txt"))
			if err != nil || !strings.Contains(string(log), "failed: ") || filepath.Base(res.Phases[0].Dir) != "01-build" {
				t.Errorf("log in %s: %q, %v", res.Phases[0].Dir, log, err)
			}
		})
	}
}

func TestFinallyFails(t *testing.T) {
	res := mustRun(t, t.Context(), chain(
		Phase{Name: "specs", Run: (&diary{}).writes("", nil)},
		Phase{Name: "teardown", Finally: true, Run: (&diary{}).writes("", errors.New("odd"))},
	), Options{})
	if res.ExitCode() != failure.ExitInfrastructure {
		t.Errorf("got exit code %d: what fails at the end is a failure, too", res.ExitCode())
	}
}

func TestPanic(t *testing.T) {
	for name, run := range map[string]func(context.Context, *Task) error{
		"phase": func(context.Context, *Task) error { panic("oh") },
		"unit": func(ctx context.Context, task *Task) error {
			return task.Unit(ctx, "one", Unit{Do: func(context.Context, int) error { panic("oh") }})
		},
	} {
		t.Run(name, func(t *testing.T) {
			res := mustRun(t, t.Context(), chain(Phase{Name: "build", Run: run}), Options{})
			f, _ := res.Cause()
			if res.ExitCode() != failure.ExitHarness || !strings.Contains(f.Summary, "panic: oh") || !strings.Contains(strings.Join(f.Lines, "\n"), "plan_test.go") {
				t.Errorf("got exit code %d, %+v, want the harness's fault and where", res.ExitCode(), f)
			}
		})
	}
}

func TestDeadlineAndStall(t *testing.T) {
	waits := func(ctx context.Context, _ *Task) error { <-ctx.Done(); return ctx.Err() }
	for _, c := range []struct {
		name   string
		phase  Phase
		row    string
		status Status
		after  time.Duration
	}{
		{"deadline", Phase{Name: "build", Deadline: time.Minute, Run: waits}, "X02", Failed, time.Minute},
		{"stall", Phase{Name: "build", Stall: time.Minute, Run: waits}, "F45", Failed, time.Minute},
		{"work keeps it back", Phase{Name: "build", Stall: time.Minute, Run: func(_ context.Context, task *Task) error {
			for i := range 3 {
				time.Sleep(50 * time.Second)
				if i == 1 {
					fmt.Fprintln(task.Log, "working")
				} else {
					task.Progress()
				}
			}
			return nil
		}}, "", Passed, 150 * time.Second},
		{"stall of a unit", Phase{Name: "wait", Run: func(ctx context.Context, task *Task) error {
			return task.Unit(ctx, "one", Unit{Stall: 10 * time.Second, Do: func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }})
		}}, "X05", Failed, 10 * time.Second},
		{"it does not listen", Phase{Name: "build", Deadline: time.Minute, Run: func(context.Context, *Task) error { time.Sleep(time.Hour); return nil }}, "", Failed, time.Minute + patience},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				res := mustRun(t, t.Context(), chain(c.phase), Options{})
				if took := time.Since(begin); took != c.after {
					t.Errorf("it took %s, want %s", took, c.after)
				}
				f, _ := res.Cause()
				if res.Phases[0].Status != c.status || f.Row != c.row {
					t.Errorf("got %s, row %q (%+v), want %s, %q", res.Phases[0].Status, f.Row, f, c.status, c.row)
				}
				time.Sleep(time.Hour) // let the deaf one end
			})
		})
	}
}

// An interrupt in any phase ends the run with 130, lets nothing else start, and leaves time for the end.
func TestInterrupt(t *testing.T) {
	names := []string{"preflight", "build", "cluster", "specs"}
	for _, at := range names {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var d diary
				var phases []Phase
				for _, name := range names {
					phases = append(phases, Phase{Name: name, Run: func(ctx context.Context, task *Task) error {
						d.add("%s", name)
						if name != at {
							return nil
						}
						cancel()
						return task.Unit(ctx, "one", Unit{
							Do:       func(ctx context.Context, _ int) error { <-ctx.Done(); return fmt.Errorf("do: %w", ctx.Err()) },
							Evidence: func(context.Context, string) { d.add("evidence") },
						})
					}})
				}
				phases = append(phases, Phase{Name: "gather", Finally: true, Run: func(ctx context.Context, _ *Task) error {
					if ctx.Err() != nil {
						t.Error("the end has no context of its own")
					}
					d.add("gather")
					return nil
				}})
				interrupted := make(chan bool, 1)
				res := mustRun(t, ctx, chain(phases...), Options{OnInterrupt: func() { interrupted <- true }})
				want := append(slices.Clone(names[:slices.Index(names, at)+1]), "gather")
				if got := d.all(); !slices.Equal(got, want) {
					t.Errorf("ran %q, want %q", got, want)
				}
				if res.ExitCode() != failure.ExitInterrupted || res.Phases[slices.Index(names, at)].Status != Interrupted {
					t.Errorf("got exit code %d, %s", res.ExitCode(), statuses(res))
				}
				<-interrupted
			})
		})
	}
}

// What was told to end and succeeded all the same starts nothing more.
func TestNothingStartsAfterAnInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var d diary
	res := mustRun(t, ctx, chain(
		Phase{Name: "build", Run: func(context.Context, *Task) error { cancel(); return nil }},
		Phase{Name: "load", Run: d.writes("load", nil)},
	), Options{})
	if got := statuses(res); got != "build passed, load not run" || len(d.all()) > 0 || res.ExitCode() != failure.ExitInterrupted {
		t.Errorf("got %s, exit code %d", got, res.ExitCode())
	}
}

func TestAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		abort := make(chan struct{})
		res := mustRun(t, t.Context(), chain(Phase{Name: "teardown", Finally: true, Run: func(ctx context.Context, _ *Task) error {
			close(abort)
			<-ctx.Done()
			return ctx.Err()
		}}), Options{Abort: abort})
		if res.Phases[0].Status != Interrupted || res.ExitCode() == failure.ExitOK {
			t.Errorf("got %s, exit code %d", statuses(res), res.ExitCode())
		}
	})
}

func TestBadPlans(t *testing.T) {
	run := func(context.Context, *Task) error { return nil }
	for _, c := range []struct {
		name string
		plan Plan
		o    Options
		want string
	}{
		{"no cluster", Plan{Phases: []Phase{{Name: "a", Run: run}}}, Options{Dir: "x"}, "no cluster"},
		{"no phases", Plan{Cluster: "c"}, Options{Dir: "x"}, "no phases"},
		{"name", Plan{Cluster: "c", Phases: []Phase{{Name: "A/b", Run: run}}}, Options{Dir: "x"}, `"A/b"`},
		{"twice", Plan{Cluster: "c", Phases: []Phase{{Name: "a", Run: run}, {Name: "a", Run: run}}}, Options{Dir: "x"}, "twice"},
		{"nothing to run", Plan{Cluster: "c", Phases: []Phase{{Name: "a"}}}, Options{Dir: "x"}, "does nothing"},
		{"after nothing", Plan{Cluster: "c", Phases: []Phase{{Name: "a", Run: run, After: []string{"b"}}}}, Options{Dir: "x"}, `"b"`},
		{"circle", Plan{Cluster: "c", Phases: []Phase{{Name: "a", Run: run, After: []string{"b"}}, {Name: "b", Run: run, After: []string{"a"}}}}, Options{Dir: "x"}, "circle"},
		{"after the end", Plan{Cluster: "c", Phases: []Phase{{Name: "a", Run: run, Finally: true}, {Name: "b", Run: run, After: []string{"a"}}}}, Options{Dir: "x"}, "runs at the end"},
		{"no directory", Plan{Cluster: "c", Phases: []Phase{{Name: "a", Run: run}}}, Options{}, "no directory"},
		{"no such phase", Plan{Cluster: "c", Phases: []Phase{{Name: "a", Run: run}}}, Options{Dir: "x", Only: "z"}, `"z"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Run(t.Context(), c.plan, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %s", err, c.want)
			}
		})
	}
}

func TestUnwritableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var d diary
	if _, err := Run(t.Context(), chain(Phase{Name: "a", Run: d.writes("a", nil)}), Options{Dir: file}); err == nil || len(d.all()) > 0 {
		t.Errorf("got %v and ran %q, want an error before anything runs", err, d.all())
	}
}

func TestEventsAndNotes(t *testing.T) {
	var out strings.Builder
	var kinds []EventKind
	res := mustRun(t, t.Context(), chain(
		Phase{Name: "build", Run: func(ctx context.Context, task *Task) error {
			task.Note("built %d at once: memory allows it", 3)
			_, err := task.Command().Run(ctx, command.Cmd{Name: "echo", Args: []string{"hello"}})
			return err
		}},
		Phase{Name: "wait", Run: func(context.Context, *Task) error { return errors.New("odd") }},
		Phase{Name: "specs", Run: func(context.Context, *Task) error { return nil }},
	), Options{Out: &out, Observe: func(e Event) { kinds = append(kinds, e.Kind) }, RunID: "run-1"})
	for _, want := range []string{"build     …\n", "build     built 3 at once: memory allows it\n", "build     passed in ", "wait      failed in ", "not a known cause", "specs     not run: it needs wait, which failed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", &out, want)
		}
	}
	if want := []EventKind{PhaseStarted, Noted, PhaseEnded, PhaseStarted, PhaseEnded, PhaseEnded}; !slices.Equal(kinds, want) {
		t.Errorf("got events %v, want %v", kinds, want)
	}
	if got := res.Phases[0].Notes; len(got) != 1 || got[0] != "built 3 at once: memory allows it" {
		t.Errorf("notes: got %q", got)
	}
	log, err := os.ReadFile(filepath.Join(res.Dir, "phases", "01-build", "log.txt"))
	if err != nil || !strings.Contains(string(log), "$ echo hello\nhello\n") || res.RunID != "run-1" {
		t.Errorf("log: %q, %v", log, err)
	}
}

func TestRunID(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	if got := NewRunID(at); !strings.HasPrefix(got, "20260102T020405Z-") || len(got) != 21 {
		t.Errorf("got %s", got)
	}
}

func TestProcessorTime(t *testing.T) {
	used := 40 * time.Second // by this process before the run
	p := chain(Phase{Name: "one", Run: func(context.Context, *Task) error {
		used += 3 * time.Second
		return nil
	}})
	r, err := Run(t.Context(), p, Options{Dir: t.TempDir(), CPU: func() time.Duration { return used }})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := ReadResult(r.Dir)
	if err != nil || r.CPU != 3*time.Second || kept.CPU != r.CPU {
		t.Errorf("got %s, and %s in the record, %v; want 3s", r.CPU, kept.CPU, err)
	}
}
