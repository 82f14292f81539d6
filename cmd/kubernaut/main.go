// Command kubernaut turns Kubernetes incidents into audited decisions, on a laptop and against any
// cluster. See "kubernaut help".
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"kubernaut.ai/kubernaut/internal/cli"
)

func main() {
	// The first signal ends the context; after it the default is back, so that a second one ends
	// the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, os.Args, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Getenv))
}
