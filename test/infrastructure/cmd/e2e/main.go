// Command e2e runs the end-to-end suites and what belongs to them: see e2e help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"kubernaut.ai/kubernaut/test/infrastructure/e2ecli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	abort := make(chan struct{})
	context.AfterFunc(ctx, func() { // the second signal ends also what runs finally, the third is the system's
		again := make(chan os.Signal, 1)
		signal.Notify(again, os.Interrupt, syscall.SIGTERM)
		stop()
		<-again
		signal.Stop(again)
		close(abort)
	})
	code := e2ecli.Run(ctx, os.Args[1:], e2ecli.Streams{Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Abort: abort})
	stop()
	os.Exit(code)
}
