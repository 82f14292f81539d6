// Command actor is the program of every container that the lab stages: it plays a service by doing, in order, what its
// arguments say, and it ends as a real program would when one of them fails.
//
// It is static and needs nothing of its image: the image is the program.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	stop()
	os.Exit(code)
}

// actor is one run of the program.
type actor struct {
	getenv func(string) string
	out    io.Writer
	log    *slog.Logger
	failed chan error // of what goes on in the background
	health *health
	kept   [][]byte // memory
}

// acts are what the program can do, by their names. An argument is NAME or NAME=VALUE.
func acts() map[string]func(context.Context, *actor, string) error {
	return map[string]func(context.Context, *actor, string) error{
		"say": say, "env": needEnv, "config": readConfig, "wait": wait, "exit": exit, "panic": crash, "file": waitForFile,
		"serve": serve, "tcp": serveTCP, "db": serveDB, "healthy-for": healthyFor, "ready-after": readyAfter, "registry": registry, "admit": admit, "metrics": serveMetrics,
		"dial": dial, "watch": watch, "login": login, "watch-login": watchLogin, "hold": hold, "get": get, "watch-get": watchGet, "tls": handshake, "api": callAPI,
		"done": done, "mem": eatMemory, "grow": growMemory, "mem-child": eatInChild, "write": write, "fill": fill, "cert": makeCert, "burn": burn, "cr": reportBroken,
	}
}

// run does one act after the other, then waits for a signal or for the end of what runs in the background.
func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) int {
	a := &actor{
		getenv: getenv, out: out, failed: make(chan error, 1), health: &health{},
		log: slog.New(slog.NewTextHandler(out, nil)),
	}
	known := acts()
	for _, arg := range args {
		act, value, _ := strings.Cut(arg, "=")
		do := known[act]
		if do == nil {
			fmt.Fprintf(out, "unknown act %q\n", act)
			return 2
		}
		if err := do(ctx, a, value); err != nil {
			return a.end(err)
		}
		if ctx.Err() != nil {
			return 0
		}
	}
	if len(args) > 0 && args[len(args)-1] == "done" {
		return 0
	}
	select {
	case <-ctx.Done():
		a.log.Info("shutting down")
		return 0
	case err := <-a.failed:
		return a.end(err)
	}
}
