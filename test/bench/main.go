// Command bench loads the controller on a real API server and prints what it does: analyses a second,
// latency from creation to Completed, writes, CPU and memory. It starts everything itself; the
// controller is the shipped program in a process of its own, so that its figures are its alone.
//
//	go run ./test/bench
//
// The table is for people; the lines after it are in the format of Go's benchmarks.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the sizes of the load.
type options struct {
	count    int           // analyses in a burst
	slowFor  time.Duration // how long every tenth investigation takes in the mixed burst
	steady   time.Duration // how long the half-rate load lasts
	finished int           // finished resources for the memory figure
	policy   string        // approval policy file
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	o := options{}
	fs.IntVar(&o.count, "n", 1000, "`analyses` in a burst")
	fs.DurationVar(&o.slowFor, "slow", 5*time.Second, "`duration` of every tenth investigation in the mixed burst")
	fs.DurationVar(&o.steady, "steady", 20*time.Second, "`duration` of the load at half of the maximum rate")
	fs.IntVar(&o.finished, "finished", 10_000, "finished `resources` for the memory figure; 0 skips it")
	fs.StringVar(&o.policy, "policy", "deploy/policies/approval.rego", "approval policy `file`")
	if err := fs.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out, progress io.Writer) (err error) {
	say := func(format string, args ...any) { fmt.Fprintf(progress, format+"\n", args...) }
	evaluations, err := measurePolicy(ctx, o.policy)
	if err != nil {
		return err
	}
	w, err := newWorld(ctx, o, say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()

	r := report{policy: evaluations}
	say("warming up")
	if _, err := w.burst(ctx, "warm", min(100, o.count)); err != nil {
		return err
	}
	say("burst of %d, investigations answered at once", o.count)
	if r.burst, err = w.burst(ctx, "burst", o.count); err != nil {
		return err
	}
	say("burst of %d, every tenth investigation takes %s", o.count, o.slowFor)
	if r.mixed, err = w.mixed(ctx, "mixed", o.count, o.slowFor); err != nil {
		return err
	}
	rate := r.burst.rate() / 2
	say("%.0f a second for %s, which is half of the maximum", rate, o.steady)
	if r.steady, err = w.paced(ctx, "steady", rate, o.steady); err != nil {
		return err
	}
	if o.finished > 0 {
		say("filling up to %d finished resources", o.finished)
		if r.memory, err = w.finished(ctx, o.finished); err != nil {
			return err
		}
	}
	return r.write(out)
}
