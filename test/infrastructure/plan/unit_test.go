package plan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// fails returns an error of a class; text makes its fingerprint.
func fails(class failure.Class, text string) error {
	return failure.New(class, "", text, "do something")
}

func TestUnit(t *testing.T) {
	same := func(class failure.Class) func(int) error {
		return func(int) error { return fails(class, "same") }
	}
	heals := func(class failure.Class) func(int) error {
		return func(n int) error {
			if n > 1 {
				return nil
			}
			return fails(class, "first")
		}
	}
	varies := func(n int) error { return fails(failure.Transient, "text "+strings.Repeat("x", n)) }
	cleans := func(context.Context, failure.Finding) (bool, error) { return true, nil }
	cleansNothing := func(context.Context, failure.Finding) (bool, error) { return false, nil }
	cannot := func(context.Context, failure.Finding) (bool, error) { return false, errors.New("busy") }
	for _, c := range []struct {
		name    string
		do      func(int) error
		cleanup func(context.Context, failure.Finding) (bool, error)
		budget  int
		want    string // the diary
		passes  bool
		tried   string // in what was tried
	}{
		{"passes", func(int) error { return nil }, cleans, 5, "do1", true, ""},
		{"transient heals", heals(failure.Transient), nil, 5, "do1 evidence1 do2", true, ""},
		{"transient is cleaned if it can be", heals(failure.Transient), cleansNothing, 5, "do1 evidence1 cleanup do2", true, ""},
		{"transient varies", varies, nil, 5, "do1 evidence1 do2 evidence2 do3 evidence3 do4 evidence4", false, "3× at most"},
		{"transient repeats", same(failure.Transient), nil, 5, "do1 evidence1 do2 evidence2", false, "very same failure"},
		{"stale heals", heals(failure.Stale), cleans, 5, "do1 evidence1 cleanup do2", true, ""},
		{"stale, nothing to clean", heals(failure.Stale), cleansNothing, 5, "do1 evidence1 cleanup", false, "changed nothing"},
		{"stale, no cleanup", heals(failure.Stale), nil, 5, "do1 evidence1", false, "changed nothing"},
		{"stale, cleanup fails", heals(failure.Stale), cannot, 5, "do1 evidence1 cleanup", false, "cleanup failed: busy"},
		{"resource repeats", same(failure.Resource), cleans, 5, "do1 evidence1 cleanup do2 evidence2", false, "1× at most"},
		{"host", same(failure.Host), cleans, 5, "do1 evidence1", false, "(host)"},
		{"permanent", same(failure.Permanent), cleans, 5, "do1 evidence1", false, "(permanent)"},
		{"unknown", func(int) error { return errors.New("odd") }, cleans, 5, "do1 evidence1", false, "(unknown)"},
		{"no budget", heals(failure.Transient), nil, -1, "do1 evidence1", false, "budget of 0"},
		{"small budget", varies, nil, 1, "do1 evidence1 do2 evidence2", false, "budget of 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d diary
				u := Unit{
					Do: func(_ context.Context, n int) error { d.add("do%d", n); return c.do(n) },
					Evidence: func(_ context.Context, dir string) {
						n := strings.TrimPrefix(filepath.Base(filepath.Dir(dir)), "attempt-")
						d.add("evidence%s", n)
						if err := os.WriteFile(filepath.Join(dir, "node.log"), nil, 0o600); err != nil {
							t.Error(err)
						}
					},
				}
				if c.cleanup != nil {
					u.Cleanup = func(ctx context.Context, f failure.Finding) (bool, error) { d.add("cleanup"); return c.cleanup(ctx, f) }
				}
				res := mustRun(t, t.Context(), chain(Phase{Name: "load", Run: func(ctx context.Context, task *Task) error {
					return task.Unit(ctx, "api on worker", u)
				}}), Options{Budget: c.budget})
				if got := strings.Join(d.all(), " "); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
				if got := res.ExitCode() == failure.ExitOK; got != c.passes {
					t.Errorf("passed: %v, want %v", got, c.passes)
				}
				if got := strings.Count(c.want, "do") - 1; res.Retries() != got {
					t.Errorf("got %d retries recorded, want %d", res.Retries(), got)
				}
				for _, r := range res.Phases[0].Retries {
					if r.Healed != c.passes {
						t.Errorf("retry after attempt %d: healed %v", r.Attempt, r.Healed)
					}
					for _, name := range []string{"error.txt", "finding.json", "node.log"} {
						if _, err := os.Stat(filepath.Join(r.Evidence, name)); err != nil {
							t.Error(err)
						}
					}
				}
				if f, _ := res.Cause(); !strings.Contains(strings.Join(f.Tried, "; "), c.tried) || !c.passes && f.Unit != "api on worker" {
					t.Errorf("got %+v, want %q among what was tried", f, c.tried)
				}
			})
		})
	}
}

// A retry that did not come about costs nothing.
func TestRefund(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heals := func(class failure.Class) Unit {
			return Unit{Do: func(_ context.Context, n int) error {
				if n == 1 {
					return fails(class, "once")
				}
				return nil
			}}
		}
		res := mustRun(t, t.Context(), chain(Phase{Name: "load", Run: func(ctx context.Context, task *Task) error {
			if err := task.Unit(ctx, "stale", heals(failure.Stale)); err == nil {
				t.Error("what was not cleaned up was tried again")
			}
			return task.Unit(ctx, "transient", heals(failure.Transient))
		}}), Options{Budget: 1})
		if res.ExitCode() != failure.ExitOK || res.Retries() != 1 {
			t.Errorf("got %+v", res.Phases[0])
		}
	})
}

func TestWaitingRowsMayRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		attempts := 0
		res := mustRun(t, t.Context(), chain(Phase{Name: "deploy", Run: func(ctx context.Context, task *Task) error {
			return task.Unit(ctx, "issuer", Unit{Do: func(context.Context, int) error {
				attempts++
				return errors.New(`failed calling webhook "x": dial tcp 10.96.1.1:443: connect: connection refused`)
			}})
		}}), Options{Budget: 20})
		if attempts != 9 || res.ExitCode() == failure.ExitOK {
			t.Errorf("got %d attempts, exit code %d, want 9 and a failure", attempts, res.ExitCode())
		}
		if took := time.Since(begin); took < time.Minute {
			t.Errorf("it took %s: pauses must grow", took)
		}
	})
}

func TestUnitDeadlineIsPerAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res := mustRun(t, t.Context(), chain(Phase{Name: "build", Run: func(ctx context.Context, task *Task) error {
			return task.Unit(ctx, "api", Unit{Stall: time.Minute, Do: func(ctx context.Context, n int) error {
				if n == 1 {
					<-ctx.Done()
					return ctx.Err()
				}
				time.Sleep(50 * time.Second)
				return nil
			}})
		}}), Options{})
		if res.ExitCode() != failure.ExitOK || res.Retries() != 1 || res.Phases[0].Retries[0].Finding.Row != "F45" {
			t.Errorf("got %s with %+v, want a pass after a stall", statuses(res), res.Phases[0].Retries)
		}
	})
}

func TestInterruptDuringPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, nil)
		defer cancel()
		ctx, stop := context.WithCancel(ctx)
		var d diary
		res := mustRun(t, ctx, chain(Phase{Name: "load", Run: func(ctx context.Context, task *Task) error {
			time.AfterFunc(time.Second/2, stop)
			return task.Unit(ctx, "api", Unit{Do: func(_ context.Context, n int) error { d.add("do%d", n); return fails(failure.Transient, "x") }})
		}}), Options{})
		if got := d.all(); !slices.Equal(got, []string{"do1"}) || res.ExitCode() != failure.ExitInterrupted {
			t.Errorf("ran %q, exit code %d", got, res.ExitCode())
		}
	})
}

func TestAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		unit := func(name string, err error) NamedUnit {
			return NamedUnit{Name: name, Unit: Unit{Do: func(context.Context, int) error {
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				time.Sleep(time.Second)
				return err
			}}}
		}
		res := mustRun(t, t.Context(), chain(Phase{Name: "build", Run: func(ctx context.Context, task *Task) error {
			return fmt.Errorf("build: %w", task.All(ctx, 2,
				unit("a", fails(failure.Permanent, "no a")), unit("b", nil), unit("c", fails(failure.Host, "no c")), unit("d", nil)))
		}}), Options{})
		var got []string
		for _, f := range res.Phases[0].Findings {
			got = append(got, f.Unit+": "+f.Summary)
		}
		if want := []string{"a: no a", "c: no c"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q: all errors, in the order of the units", got, want)
		}
		if most.Load() != 2 {
			t.Errorf("%d ran at once, want 2", most.Load())
		}
	})
}

// What ran out of memory beside others is tried again alone, and that alone counts as a change.
func TestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int32
		var d diary
		unit := func(name string, takes time.Duration, first error) NamedUnit {
			return NamedUnit{Name: name, Unit: Unit{Do: func(_ context.Context, n int) error {
				beside := running.Add(1) - 1
				defer running.Add(-1)
				time.Sleep(takes)
				if n == 1 {
					return first
				}
				d.add("%s again beside %d", name, beside)
				return nil
			}}}
		}
		killed := errors.New("compile: signal: killed")
		res := mustRun(t, t.Context(), chain(Phase{Name: "build", Run: func(ctx context.Context, task *Task) error {
			return task.All(ctx, 3, unit("a", time.Second, killed), unit("b", time.Minute, nil), unit("c", 2*time.Second, killed), unit("d", time.Minute, nil))
		}}), Options{})
		if res.ExitCode() != failure.ExitOK {
			t.Fatalf("got %+v", res.Phases[0].Findings)
		}
		if got := slices.Sorted(slices.Values(d.all())); !slices.Equal(got, []string{"a again beside 0", "c again beside 0"}) {
			t.Errorf("got %q, want both alone", got)
		}
	})
}

// The rules that no plan, no failure and no cleanup may break.
func TestRunnerKeepsTheRules(t *testing.T) {
	classes := []failure.Class{failure.Transient, failure.Stale, failure.Resource, failure.Host, failure.Permanent, failure.Unknown}
	test := t
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		var cancel context.CancelFunc
		budget := rapid.IntRange(1, 4).Draw(t, "budget")
		interruptAt := rapid.IntRange(-5, 8).Draw(t, "interrupt")
		var starts atomic.Int32
		type outcome struct {
			class   failure.Class // "": it passes
			text    string
			changes bool
		}
		var d diary
		p := Plan{Suite: "s", Cluster: "c"}
		n := rapid.IntRange(1, 6).Draw(t, "phases")
		for i := range n {
			name := fmt.Sprintf("p%d", i)
			ph := Phase{Name: name, Finally: i == n-1 && rapid.Bool().Draw(t, "finally")}
			for j := range i {
				if rapid.Bool().Draw(t, "after") {
					ph.After = append(ph.After, fmt.Sprintf("p%d", j))
				}
			}
			var outcomes []outcome
			for range 5 {
				o := outcome{text: rapid.SampledFrom([]string{"alpha", "beta", "gamma"}).Draw(t, "text"), changes: rapid.Bool().Draw(t, "changes")}
				if rapid.IntRange(0, 2).Draw(t, "fails") > 0 {
					o.class = rapid.SampledFrom(classes).Draw(t, "class")
				}
				outcomes = append(outcomes, o)
			}
			ph.Run = func(ctx context.Context, task *Task) error {
				if starts.Add(1) == int32(interruptAt) {
					cancel()
				}
				d.add("start %s", name)
				return task.Unit(ctx, "u", Unit{
					Do: func(ctx context.Context, a int) error {
						time.Sleep(time.Second)
						o := outcomes[min(a, 5)-1]
						if o.class == "" {
							d.add("%s pass", name)
							return ctx.Err()
						}
						d.add("%s fail %s", name, o.class)
						return fails(o.class, o.text)
					},
					Evidence: func(context.Context, string) { d.add("%s evidence", name) },
					Cleanup: func(_ context.Context, _ failure.Finding) (bool, error) {
						d.add("%s cleanup %v", name, outcomes[0].changes)
						return outcomes[0].changes, nil
					},
				})
			}
			p.Phases = append(p.Phases, ph)
		}
		var res Result
		var err error
		synctest.Test(test, func(*testing.T) { // it draws nothing
			var ctx context.Context
			ctx, cancel = context.WithCancel(context.Background())
			defer cancel()
			res, err = Run(ctx, p, Options{Dir: dir, RunID: fmt.Sprint(run), Budget: budget})
		})
		if err != nil {
			t.Fatal(err)
		}
		check(t, p, res, d.all(), budget)
	})
}

func check(t *rapid.T, p Plan, res Result, happened []string, budget int) {
	if res.Retries() > budget {
		t.Fatalf("%d retries, budget %d", res.Retries(), budget)
	}
	good := make(map[string]bool)
	for i, ph := range p.Phases {
		r := res.Phases[i]
		good[ph.Name] = r.Status == Passed
		started := slices.Contains(happened, "start "+ph.Name)
		if ph.Finally && !started {
			t.Fatalf("%s did not run at the end", ph.Name)
		}
		for _, before := range ph.After {
			if started && !ph.Finally && !good[before] {
				t.Fatalf("%s ran although %s had not passed", ph.Name, before)
			}
		}
		var own []string // what happened to it, in order
		for _, e := range happened {
			if rest, ok := strings.CutPrefix(e, ph.Name+" "); ok {
				own = append(own, rest)
			}
		}
		perClass := make(map[failure.Class]int)
		for _, retry := range r.Retries {
			perClass[retry.Finding.Class]++
			if got := perClass[retry.Finding.Class]; got > retry.Finding.Class.Retries() {
				t.Fatalf("%s: %d retries of class %s", ph.Name, got, retry.Finding.Class)
			}
		}
		for j, e := range own {
			if !strings.HasPrefix(e, "fail") && e != "pass" || j == 0 {
				continue
			}
			if j < 3 || !strings.HasPrefix(own[j-1], "cleanup") || own[j-2] != "evidence" || !strings.HasPrefix(own[j-3], "fail") {
				t.Fatalf("%s: tried again without evidence and cleanup, in that order: %q", ph.Name, own)
			}
			if own[j-1] == "cleanup false" && own[j-3] != "fail transient" {
				t.Fatalf("%s: tried again although nothing had changed: %q", ph.Name, own)
			}
		}
		for j, e := range own {
			if strings.HasPrefix(e, "cleanup") && slices.Contains([]string{"fail host", "fail permanent", "fail unknown"}, own[j-2]) {
				t.Fatalf("%s: cleaned up what is not retried: %q", ph.Name, own)
			}
		}
	}
	all := true
	for _, r := range res.Phases {
		all = all && r.Status == Passed
	}
	if (res.ExitCode() == failure.ExitOK) != (all && !res.Interrupted) {
		t.Fatalf("exit code %d with %s", res.ExitCode(), statuses(res))
	}
}
