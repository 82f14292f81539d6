// Command datastorage keeps the audit trail, the workflow catalog and the evidence bundles.
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

	"kubernaut.ai/kubernaut/internal/app/datastorage"
	"kubernaut.ai/kubernaut/internal/config"
)

// drainDelay is how long endpoints take to leave the Service of a pod that is not ready.
const drainDelay = 3 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	set := flag.NewFlagSet("datastorage", flag.ContinueOnError)
	set.SetOutput(stderr)
	flags := config.BindDataStorage(set)
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	cfg, err := flags.Load(env)
	if err == nil && flags.PrintConfig {
		err = config.Print(stdout, cfg)
	} else if err == nil {
		err = datastorage.Run(ctx, cfg, datastorage.Options{Logger: cfg.Logging.Logger(stderr), DrainDelay: drainDelay})
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "datastorage:", err)
		return 1
	}
	return 0
}
