// Command holmesgpt-api investigates incidents: the root cause, with evidence, and the workflow for it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"kubernaut.ai/kubernaut/internal/app/holmesgptapi"
	"kubernaut.ai/kubernaut/internal/config"
)

var version string // set by the linker; without it the build's own information is shown

const drainDelay = 3 * time.Second // how long endpoints take to leave the Service of a pod that is not ready

func main() {
	// The second signal ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	set := flag.NewFlagSet("holmesgpt-api", flag.ContinueOnError)
	set.SetOutput(stderr)
	flags := config.BindHolmesGPTAPI(set)
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	cfg, err := flags.Load(env)
	if err == nil && flags.PrintConfig {
		err = config.Print(stdout, cfg)
	} else if err == nil {
		again := func() (config.HolmesGPTAPI, error) { return flags.Load(env) }
		err = holmesgptapi.Run(ctx, cfg, holmesgptapi.Options{Stderr: stderr, Version: builtVersion(), DrainDelay: drainDelay, Reload: again})
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "holmesgpt-api:", err)
		return 1
	}
	return 0
}

func builtVersion() string {
	info, ok := debug.ReadBuildInfo()
	if version != "" || !ok {
		return version
	}
	return info.Main.Version
}
