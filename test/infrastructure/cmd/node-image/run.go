package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/nodeimage"
)

// run does what the flags say and returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("node-image", flag.ContinueOnError)
	flags.SetOutput(stderr)
	postgres := flags.Bool("postgres", false, "the image of PostgreSQL as well")
	noPull := flags.Bool("no-pull", false, "build, even where a registry would give the image")
	mirror := flags.String("mirror", "", "where Debian's packages come from (default: from where this machine's apt gets them)")
	official := flags.String("official-postgres", "", "the image of PostgreSQL to pull where a registry gives it")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return failure.ExitOK
		}
		return failure.ExitUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "node-image: %q: it takes flags only; see -help\n", flags.Arg(0))
		return failure.ExitUsage
	}
	display := nodeimage.NewDisplay(stderr, isTerminal(stderr) && getenv("CI") == "", time.Now)
	err := ensure(ctx, getenv, stdout, nodeimage.Options{NoPull: *noPull, Mirror: *mirror, Progress: display.Show}, *postgres, *official)
	display.Close()
	if err == nil {
		return failure.ExitOK
	}
	f := failure.Classify(context.WithoutCancel(ctx), "build", err, nil)
	fmt.Fprintln(stderr, "node-image:", err)
	for _, line := range f.Lines {
		fmt.Fprintln(stderr, "  "+line)
	}
	if f.Fix != "" {
		fmt.Fprintln(stderr, "to do:", f.Fix)
	}
	return f.ExitCode()
}

func ensure(ctx context.Context, getenv func(string) string, stdout io.Writer, o nodeimage.Options, postgres bool, official string) error {
	state, err := engine.StateDir(getenv)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(state, 0o750); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(state, "node-image.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	runner := command.Runner{Log: log}
	e, err := engine.Detect(ctx, runner, engine.Host{Getenv: getenv, StateDir: state, OS: runtime.GOOS})
	if err != nil {
		return err
	}
	o.Runtime, o.Command, o.Env = string(e.Kind()), runner.With(nil, e.Env()...), getenv
	node, err := nodeimage.Ensure(ctx, o)
	if err != nil {
		return fmt.Errorf("%w (all that was said: %s)", err, log.Name())
	}
	fmt.Fprintf(stdout, "%s\t%s: %s\n", node.Ref, node.Origin, node.Why)
	if !postgres {
		return nil
	}
	db, err := nodeimage.EnsurePostgres(ctx, official, o)
	if err != nil {
		return fmt.Errorf("%w (all that was said: %s)", err, log.Name())
	}
	fmt.Fprintf(stdout, "%s\t%s: %s\n", db.Ref, db.Origin, db.Why)
	return nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
