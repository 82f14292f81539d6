// Command bench-diagnose measures the engine on a large cluster: it makes one on a real API server, reads it as a whole and for
// one workload, diagnoses what it read, and prints what that took beside what is aimed at.
//
//	go run ./test/bench-diagnose
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

	"kubernaut.ai/kubernaut/internal/controlplane"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	fs := flag.NewFlagSet("bench-diagnose", flag.ContinueOnError)
	t := &town{}
	fs.IntVar(&t.pods, "pods", 5000, "`Pods` of the cluster")
	fs.IntVar(&t.nodes, "nodes", 500, "`nodes` of the cluster")
	fs.IntVar(&t.events, "events", 20_000, "`events` of the cluster")
	fs.StringVar(&t.dir, "dir", "", "`directory` that keeps the cluster for a further run; it is made there when it is empty")
	profile := fs.String("profile", "", "`directory` for CPU and memory profiles")
	strict := fs.Bool("strict", false, "fail when an aim is missed")
	if err := fs.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	missed, err := run(ctx, t, *profile, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-diagnose:", err)
		os.Exit(1)
	}
	if *strict && missed > 0 {
		os.Exit(1)
	}
}

// run makes the cluster, measures, and returns how many aims were missed.
func run(ctx context.Context, t *town, profile string, out, progress io.Writer) (missed int, err error) {
	show, end := controlplane.ShowProgress(progress, false, time.Now)
	server, err := controlplane.Start(ctx, controlplane.Options{Dir: t.dir, Controllers: []string{}, Progress: show})
	end()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	began := time.Now()
	made, err := t.build(ctx, server.Config())
	if err != nil {
		return 0, fmt.Errorf("make the cluster: %w", err)
	}
	fmt.Fprintf(progress, "made %d objects in %s\n", made, time.Since(began).Round(time.Second))
	r, err := measure(ctx, t, server.Config(), profile)
	if err != nil {
		return 0, err
	}
	return r.print(out)
}
