// Command controlplane builds the control plane that kubernaut up, the demo and the tests start, unless it is built
// already, and prints the path of the binary.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"kubernaut.ai/kubernaut/internal/controlplane"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	info, err := os.Stderr.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	show, end := controlplane.ShowProgress(os.Stderr, terminal, time.Now)
	binary, err := controlplane.Build(ctx, controlplane.BuildOptions{Progress: show})
	end()
	if err != nil {
		return err
	}
	fmt.Println(binary)
	return nil
}
