// Package e2ecli is the command line of the end-to-end harness.
package e2ecli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"kubernaut.ai/kubernaut/test/infrastructure"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// Streams are what a command takes from the process.
type Streams struct {
	Out, Err io.Writer
	Getenv   func(string) string
	// Abort, when closed, ends also what runs finally.
	Abort <-chan struct{}
	// Suites are those that there are, Source is the root of the repository, and Faults is called at the start of each phase
	// with its name: for tests of the command. Nil and empty: all suites, the clone that the process is in, nothing.
	Suites []infrastructure.Suite
	Source string
	Faults func(ctx context.Context, phase string)
}

// suites are the suites that there are.
func (s Streams) suites() []infrastructure.Suite {
	if s.Suites != nil {
		return s.Suites
	}
	return infrastructure.Suites()
}

// Main is the command: it runs a command line until it ends or a first SIGINT or SIGTERM interrupts it, and returns the exit
// code. The second signal ends also what runs finally, the third is the system's.
func Main(args []string, s Streams) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	abort := make(chan struct{})
	context.AfterFunc(ctx, func() {
		again := make(chan os.Signal, 1)
		signal.Notify(again, os.Interrupt, syscall.SIGTERM)
		stop()
		<-again
		signal.Stop(again)
		close(abort)
	})
	s.Abort = abort
	return Run(ctx, args, s)
}

// part is a command of e2e's.
type part struct {
	name, args, does string
	run              func(ctx context.Context, c *call) (int, error)
}

// call is a command with its arguments.
type call struct {
	Streams
	suite  infrastructure.Suite
	flags  *flag.FlagSet
	images *bool // of down
	runs   *int  // of soak
	seed   *uint64
}

func commands() []part {
	return []part{
		{"run", "SUITE", "all phases: check, build, create, deploy, test, gather, tear down", phases(infrastructure.Range{})},
		{"up", "SUITE", "a healthy cluster with everything deployed; what holds already is only verified", phases(infrastructure.Range{Until: "health", Resume: true})},
		{"build", "SUITE", "the images, and whatever must be before", phases(infrastructure.Range{Until: "build", Resume: true})},
		{"load", "SUITE", "the images on the nodes, and whatever must be before", phases(infrastructure.Range{Until: "load", Resume: true})},
		{"deploy", "SUITE", "the manifests in the cluster, and whatever must be before", phases(infrastructure.Range{Until: "deploy", Resume: true})},
		{"resume", "SUITE", "continue after a failure, once what was done has been verified", phases(infrastructure.Range{Resume: true})},
		{"status", "SUITE", "the cluster, the last run, and what is on the container engine", status},
		{"gather", "SUITE", "collect evidence from the cluster as it is", gather},
		{"soak", "[-n RUNS] [-seed N] SUITE", "runs with random faults, and a table of what became of them", soak},
		{"down", "[-images] SUITE", "delete the cluster and what is left of its runs", down},
	}
}

// Run runs a command line and returns the exit code: that of the class of the failure that decided, see failure.Class.
func Run(ctx context.Context, args []string, s Streams) int {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		usage(s.Out, s.suites())
		if len(args) == 0 {
			return failure.ExitUsage
		}
		return failure.ExitOK
	}
	all := commands()
	i := slices.IndexFunc(all, func(p part) bool { return p.name == args[0] })
	if i < 0 {
		fmt.Fprintf(s.Err, "e2e: there is no command %q; e2e help lists them\n", args[0])
		return failure.ExitUsage
	}
	c := &call{Streams: s, flags: flag.NewFlagSet(args[0], flag.ContinueOnError)}
	c.flags.SetOutput(io.Discard)
	switch args[0] {
	case "down":
		c.images = c.flags.Bool("images", false, "remove the images of the harness, too")
	case "soak":
		c.runs = c.flags.Int("n", soakRuns, "how many runs")
		c.seed = c.flags.Uint64("seed", 0, "chooses the faults; 0: another choice each time")
	}
	usageOf := fmt.Sprintf("usage: e2e %s %s", all[i].name, all[i].args)
	if err := c.flags.Parse(args[1:]); err != nil || c.flags.NArg() != 1 {
		if err != nil && !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(s.Err, "e2e: %v\n", err)
		}
		fmt.Fprintln(s.Err, usageOf)
		return failure.ExitUsage
	}
	var err error
	if c.suite, err = infrastructure.SuiteNamed(c.flags.Arg(0), s.suites()...); err != nil {
		fmt.Fprintf(s.Err, "e2e: %v\n%s\n", err, usageOf)
		return failure.ExitUsage
	}
	code, err := all[i].run(ctx, c)
	if err != nil {
		finding := failure.Classify(ctx, args[0], err, nil)
		fmt.Fprintf(s.Err, "e2e %s: %v\n", args[0], err)
		if finding.Fix != "" {
			fmt.Fprintf(s.Err, "  what to do: %s\n", finding.Fix)
		}
		return max(finding.ExitCode(), failure.ExitProduct)
	}
	return code
}

func usage(w io.Writer, suites []infrastructure.Suite) {
	fmt.Fprintln(w, "e2e runs the end-to-end suites on a Kind cluster of their own, on Podman or Docker.")
	fmt.Fprintln(w)
	for _, c := range commands() {
		fmt.Fprintf(w, "  e2e %-8s %-26s %s\n", c.name, c.args, c.does)
	}
	names := make([]string, 0, 2)
	for _, s := range suites {
		names = append(names, s.Name)
	}
	fmt.Fprintf(w, `
Suites: %s.

Environment: E2E_RUNTIME=podman|docker, E2E_COVERAGE=true, E2E_STATE_DIR, E2E_NODE_IMAGE, E2E_EGRESS=allow, E2E_FRESH=true,
E2E_LOCK_WAIT=10m, E2E_TUNE_HOST=1, E2E_SPECS="--focus=…", KEEP_CLUSTER=1, SKIP_CLEANUP=1, CI, NO_COLOR.

Exit codes: 0 success, 1 the product, 2 usage, 3 infrastructure, 4 this host, 5 the harness, 130 interrupted.
`, strings.Join(names, ", "))
}

// open returns the harness of a call.
func (c *call) open() (*infrastructure.Harness, error) {
	return infrastructure.Open(c.suite, c.options())
}

func (c *call) options() infrastructure.Options {
	terminal := false
	if f, ok := c.Out.(*os.File); ok {
		info, err := f.Stat()
		terminal = err == nil && info.Mode()&os.ModeCharDevice != 0 && c.Getenv("CI") == "" && c.Getenv("TERM") != "dumb"
	}
	return infrastructure.Options{
		Getenv: c.Getenv, Out: c.Out, Terminal: terminal, Color: terminal && c.Getenv("NO_COLOR") == "", Abort: c.Abort,
		Source: c.Source, Faults: c.Faults,
	}
}

func phases(which infrastructure.Range) func(context.Context, *call) (int, error) {
	return func(ctx context.Context, c *call) (int, error) {
		h, err := c.open()
		if err != nil {
			return 0, err
		}
		out, err := h.Run(ctx, which)
		if err != nil {
			return failure.ExitHarness, err
		}
		return out.ExitCode(), nil
	}
}

func status(ctx context.Context, c *call) (int, error) {
	h, err := c.open()
	if err != nil {
		return 0, err
	}
	text, err := h.Status(ctx)
	fmt.Fprint(c.Out, text)
	return failure.ExitOK, err
}

func gather(ctx context.Context, c *call) (int, error) {
	h, err := c.open()
	if err != nil {
		return 0, err
	}
	dir, err := h.Gather(ctx)
	fmt.Fprintln(c.Out, dir)
	return failure.ExitOK, err
}

func down(ctx context.Context, c *call) (int, error) {
	h, err := c.open()
	if err != nil {
		return 0, err
	}
	left, err := h.Down(ctx, *c.images)
	if err != nil {
		return 0, err
	}
	for _, r := range left {
		fmt.Fprintf(c.Out, "left: %s\n", r)
	}
	if len(left) > 0 {
		return failure.ExitInfrastructure, nil
	}
	fmt.Fprintf(c.Out, "nothing of cluster %s is left\n", c.suite.Cluster)
	return failure.ExitOK, nil
}
