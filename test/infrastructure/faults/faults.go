package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// Target is the run that a fault is aimed at.
type Target struct {
	Engine  *engine.Engine
	Cluster string
	// Port is one that the cluster publishes on the loopback interface; 0: it publishes none.
	Port int32
	// Interrupt does to the run what a first Ctrl-C does.
	Interrupt func()
	// Again is the command of a second run of the same cluster, which does not wait for its lock.
	Again command.Cmd
}

// Verdict is what became of a run with a fault.
type Verdict string

const (
	Survived Verdict = "survived" // it passed, and nothing had to be tried again
	Healed   Verdict = "healed"   // it passed after retries
	Stopped  Verdict = "stopped"  // it ended with the diagnosis that the fault calls for
	Wrong    Verdict = "wrong"    // anything else
)

// ConfigMapsDeleted is the fault of which the cluster itself shows the cause.
const ConfigMapsDeleted = "the ConfigMaps are deleted"

// Fault is one way to break a run.
type Fault struct {
	// Name says what happens, Phase is where.
	Name, Phase string
	// Passes says that the run must pass all the same, if need be after retries. Otherwise it must stop in the phase, with Exit
	// as its code and evidence gathered.
	Passes bool
	Exit   int
	// Rows are those of the failure table that are right as the diagnosis, of what stopped or of what was tried again. None:
	// any is.
	Rows []string

	// beside says that the fault waits for its moment while the phase goes on; others are there before the phase begins.
	beside bool
	inject func(ctx context.Context, t Target) (undo func(context.Context) error, err error)
}

// All lists the faults in the order of their phases.
func All() []Fault {
	all := []Fault{
		{Name: "a port is taken", Phase: "preflight", Rows: []string{"F17"}, Exit: failure.ExitHost, inject: takePort},
		{Name: "a node is removed during creation", Phase: "cluster", Passes: true, Rows: []string{"F01", "F14"}, beside: true, inject: removeNode},
		{Name: "the stream of an image is cut", Phase: "load", Passes: true, Rows: []string{"F04", "F05"}, beside: true, inject: cutLoad},
		{Name: "a node reports a full disk", Phase: "load", Rows: []string{"F08"}, Exit: failure.ExitInfrastructure, inject: fillDisk},
		{Name: "a second run begins", Phase: "deploy", Passes: true, inject: runAgain},
		{Name: "a node is killed", Phase: "deploy", Passes: true, Rows: []string{"F14", "F26", "X04"}, inject: killNode},
		{Name: ConfigMapsDeleted, Phase: "wait", Rows: []string{"F39"}, Exit: failure.ExitProduct, inject: deleteConfigMaps},
	}
	for _, phase := range []string{"build", "cluster", "load", "deploy", "wait"} {
		all = append(all, Fault{Name: "Ctrl-C during " + phase, Phase: phase, Exit: failure.ExitInterrupted, inject: interrupt})
	}
	return all
}

// Named returns a fault by its name.
func Named(name string) (Fault, error) {
	all := All()
	if i := slices.IndexFunc(all, func(f Fault) bool { return f.Name == name }); i >= 0 {
		return all[i], nil
	}
	return Fault{}, fmt.Errorf("there is no fault %q", name)
}

// undoing is how long a fault may take to be undone.
const undoing = time.Minute

// At returns what is to be called at the start of each phase of a run, which injects the fault once, in its phase, and what is
// to be called after the run: it undoes the fault, and errs if it was not injected as it should have been.
func (f Fault) At(t Target) (phase func(ctx context.Context, name string), end func(ctx context.Context) error) {
	var once sync.Once
	var going sync.WaitGroup
	var undo func(context.Context) error
	failed := fmt.Errorf("%s: the run never came to %s", f.Name, f.Phase)
	phase = func(ctx context.Context, name string) {
		if name != f.Phase {
			return
		}
		once.Do(func() {
			work := func() {
				if undo, failed = f.inject(ctx, t); failed != nil {
					failed = fmt.Errorf("%s: %w", f.Name, failed)
				}
			}
			if f.beside {
				going.Go(work)
			} else {
				work()
			}
		})
	}
	return phase, func(ctx context.Context) error {
		going.Wait()
		if undo == nil {
			return failed
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoing)
		defer cancel()
		return errors.Join(failed, undo(ctx))
	}
}

// Judge says what became of a run that the fault was put into, and, if that is wrong, why.
func (f Fault) Judge(r plan.Result) (v Verdict, why string) {
	wrong := func(format string, args ...any) (Verdict, string) { return Wrong, fmt.Sprintf(format, args...) }
	cause, _ := r.Cause()
	code := r.ExitCode()
	switch {
	case f.Passes && code != failure.ExitOK:
		return wrong("it failed in %s with exit code %d, row %q: %s", cause.Phase, code, cause.Row, cause.Summary)
	case f.Passes && r.Retries() == 0:
		return Survived, ""
	case f.Passes && !f.recognised(r):
		return wrong("it passed, and of what was tried again nothing was recognised as %v", f.Rows)
	case f.Passes:
		return Healed, ""
	case code != f.Exit:
		return wrong("exit code %d, want %d: row %q in %s: %s", code, f.Exit, cause.Row, cause.Phase, cause.Summary)
	case len(f.Rows) > 0 && (!slices.Contains(f.Rows, cause.Row) || cause.Phase != f.Phase):
		return wrong("row %q in %s, want %v in %s: %s", cause.Row, cause.Phase, f.Rows, f.Phase, cause.Summary)
	}
	for _, ph := range r.Phases {
		ended := ph.Status == plan.Failed || ph.Status == plan.Interrupted
		if ph.Name == f.Phase && !ended || ph.Name == "gather" && ph.Status != plan.Passed {
			return wrong("phase %s: %s", ph.Name, ph.Status)
		}
	}
	return Stopped, ""
}

// recognised reports whether something was tried again because of the fault.
func (f Fault) recognised(r plan.Result) bool {
	return len(f.Rows) == 0 || slices.ContainsFunc(r.Phases, func(ph plan.PhaseResult) bool {
		return slices.ContainsFunc(ph.Retries, func(again plan.Retry) bool { return slices.Contains(f.Rows, again.Finding.Row) })
	})
}
