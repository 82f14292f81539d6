package faults

import (
	"context"
	"errors"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

func TestJudge(t *testing.T) {
	now := time.Now()
	run := func(phases ...plan.PhaseResult) plan.Result { return plan.Result{Finished: now, Phases: phases} }
	passed := func(name string, rows ...string) plan.PhaseResult {
		p := plan.PhaseResult{Name: name, Status: plan.Passed}
		for _, row := range rows {
			p.Retries = append(p.Retries, plan.Retry{Healed: true, Finding: failure.Finding{Row: row}})
		}
		return p
	}
	failed := func(name, row string, class failure.Class) plan.PhaseResult {
		return plan.PhaseResult{Name: name, Status: plan.Failed, Findings: []failure.Finding{{Row: row, Phase: name, Class: class}}}
	}
	interrupted := run(plan.PhaseResult{Name: "wait", Status: plan.Interrupted}, passed("gather"))
	interrupted.Interrupted = true
	heals := Fault{Phase: "load", Passes: true, Rows: []string{"F04", "F05"}}
	stops := Fault{Phase: "load", Rows: []string{"F08"}, Exit: failure.ExitInfrastructure}
	ends := Fault{Phase: "wait", Exit: failure.ExitInterrupted}
	for name, c := range map[string]struct {
		fault Fault
		run   plan.Result
		want  Verdict
	}{
		"passed":                   {heals, run(passed("load")), Survived},
		"passed after a retry":     {heals, run(passed("load", "F05")), Healed},
		"healed as something else": {heals, run(passed("load", "F10")), Wrong},
		"failed":                   {heals, run(failed("load", "F05", failure.Transient), passed("gather")), Wrong},
		"stopped":                  {stops, run(failed("load", "F08", failure.Resource), passed("gather")), Stopped},
		"passed and must not":      {stops, run(passed("load")), Wrong},
		"another diagnosis":        {stops, run(failed("load", "F09", failure.Resource), passed("gather")), Wrong},
		"in another phase":         {stops, run(failed("deploy", "F08", failure.Resource), passed("gather")), Wrong},
		"without evidence":         {stops, run(failed("load", "F08", failure.Resource), failed("gather", "", failure.Unknown)), Wrong},
		"interrupted":              {ends, interrupted, Stopped},
		"failed before the Ctrl-C": {ends, run(failed("wait", "F40", failure.Permanent), passed("gather")), Wrong},
		"interrupted somewhere else": {Fault{Phase: "load", Exit: failure.ExitInterrupted}, plan.Result{
			Interrupted: true, Finished: now, Phases: []plan.PhaseResult{passed("load"), passed("gather")},
		}, Wrong},
	} {
		got, why := c.fault.Judge(c.run)
		if got != c.want || (got == Wrong) != (why != "") {
			t.Errorf("%s: %s (%s), want %s", name, got, why, c.want)
		}
	}
}

func TestAt(t *testing.T) {
	broken := errors.New("broken")
	var log []string
	f := Fault{Phase: "load", inject: func(context.Context, Target) (func(context.Context) error, error) {
		log = append(log, "inject")
		return func(context.Context) error { log = append(log, "undo"); return broken }, nil
	}}
	phase, end := f.At(Target{})
	for _, name := range []string{"build", "load", "load", "deploy"} {
		phase(t.Context(), name)
	}
	if err := end(t.Context()); !errors.Is(err, broken) || len(log) != 2 || log[0] != "inject" || log[1] != "undo" {
		t.Errorf("%v, %v", log, err)
	}
	if _, end := f.At(Target{}); end(t.Context()) == nil {
		t.Error("a fault whose phase did not come is one that was injected")
	}
}

// Every fault has a name of its own and says how it must end.
func TestAll(t *testing.T) {
	names := make(map[string]bool)
	for _, f := range All() {
		if names[f.Name] {
			t.Errorf("two faults are called %q", f.Name)
		}
		names[f.Name] = true
		if f.Passes == (f.Exit != 0) {
			t.Errorf("%s: must it pass? exit code %d", f.Name, f.Exit)
		}
		if got, err := Named(f.Name); err != nil || got.Phase != f.Phase {
			t.Errorf("%s is not found by its name: %v", f.Name, err)
		}
	}
	if _, err := Named("no such"); err == nil {
		t.Error("there is a fault of any name")
	}
}
