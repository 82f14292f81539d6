package infrastructure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"text/tabwriter"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/faults"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// Soak is how to repeat runs with faults.
type Soak struct {
	// Runs is how many; Seed chooses their faults, the same seed the same ones.
	Runs int
	Seed uint64
	// Faults are those to choose from, each at most once before all have had their turn; nil: all of package faults.
	Faults []faults.Fault
	// Again is the command of a second run of the suite, in a process of its own.
	Again command.Cmd
}

// soakRun bounds one run with its clean-up: a cluster that is made twice on a busy machine.
const soakRun = 40 * time.Minute

// Soaked is one run of a soak.
type Soaked struct {
	Fault   faults.Fault
	Verdict faults.Verdict
	// Why says what is wrong.
	Why string
	// Result is the run's, as far as there was one.
	Result   plan.Result
	Duration time.Duration
}

// Soak runs the suite again and again up to its services' health, each time from nothing and with another fault, and deletes
// the cluster after each run. When ctx ends, it returns those that are complete, with an error. o.Faults is not used.
func (s Soak) Soak(ctx context.Context, suite Suite, o Options) ([]Soaked, error) {
	var done []Soaked
	for i, f := range s.choose() {
		if ctx.Err() != nil {
			break
		}
		fmt.Fprintf(o.Out, "\nrun %d of %d: %s\n", i+1, s.Runs, f.Name)
		one, err := s.one(ctx, suite, o, f)
		if err != nil {
			return done, err
		}
		if ctx.Err() == nil {
			done = append(done, one)
		}
	}
	if ctx.Err() != nil {
		return done, fmt.Errorf("soak: %w", command.Cause(ctx))
	}
	return done, nil
}

// choose returns a fault for each run.
func (s Soak) choose() []faults.Fault {
	all := slices.Clone(s.Faults)
	if len(all) == 0 {
		all = faults.All()
	}
	dice := rand.New(rand.NewPCG(s.Seed, 0))
	var chosen []faults.Fault
	for len(chosen) < s.Runs {
		dice.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		chosen = append(chosen, all[:min(len(all), s.Runs-len(chosen))]...)
	}
	return chosen
}

// one is one run with a fault, and the deletion of what it left. An error says that there is no going on.
func (s Soak) one(ctx context.Context, suite Suite, o Options, f faults.Fault) (Soaked, error) {
	begin := time.Now()
	bounded, cancel := context.WithTimeout(ctx, soakRun)
	defer cancel()
	run, interrupt := context.WithCancel(bounded)
	defer interrupt()
	target := faults.Target{Cluster: suite.Cluster, Interrupt: interrupt, Again: s.Again}
	for port := range suite.Ports {
		target.Port = max(target.Port, port)
	}
	var inject func(ctx context.Context, phase string) // known once the engine is
	o.Faults = func(ctx context.Context, phase string) { inject(ctx, phase) }
	h, err := Open(suite, o)
	if err != nil {
		return Soaked{}, err
	}
	if target.Engine, err = h.detect(run); err != nil {
		return Soaked{}, err
	}
	// What an earlier run left would be used again, and the fault never met.
	if err := h.clear(run); err != nil {
		return Soaked{}, err
	}
	var end func(context.Context) error
	inject, end = f.At(target)
	out, err := h.Run(run, Range{Until: phaseHealth})
	err = errors.Join(err, end(bounded))
	verdict, why := f.Judge(out.Result)
	if err != nil {
		verdict, why = faults.Wrong, err.Error()
	}
	clearing, stop := context.WithTimeout(context.WithoutCancel(ctx), downPatience)
	defer stop()
	if err := h.clear(clearing); err != nil {
		verdict, why = faults.Wrong, err.Error()
	}
	return Soaked{Fault: f, Verdict: verdict, Why: why, Result: out.Result, Duration: time.Since(begin)}, nil
}

// downPatience is how long the deletion of a cluster may take when the run has been interrupted.
const downPatience = 5 * time.Minute

// clear deletes the cluster, of which nothing may be left then.
func (h *Harness) clear(ctx context.Context) error {
	left, err := h.Down(ctx, false)
	if err == nil && len(left) > 0 {
		err = &LeftError{Cluster: h.Suite.Cluster, Left: left}
	}
	return err
}

// LeftError says that a cluster was deleted and something of it is still there.
type LeftError struct {
	Cluster string
	Left    []engine.Resource
}

func (e *LeftError) Error() string {
	return fmt.Sprintf("of cluster %s there is still %v", e.Cluster, e.Left)
}

// Table writes what became of the runs of a soak, and returns the exit code for it: that of the harness's own faults if one
// of them ended as it should not have.
func Table(w io.Writer, runs []Soaked) (int, error) {
	code := failure.ExitOK
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "fault\tphase\twhat became of it\tretries\ttime\t")
	for _, r := range runs {
		verdict := string(r.Verdict)
		if r.Verdict == faults.Stopped {
			verdict = "stopped with the right diagnosis"
		}
		if r.Verdict == faults.Wrong {
			code = failure.ExitHarness
			verdict += ": " + r.Why
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t\n", r.Fault.Name, r.Fault.Phase, verdict, r.Result.Retries(), r.Duration.Round(time.Second))
	}
	return code, t.Flush()
}
