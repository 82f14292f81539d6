// Command lab stages real incidents on a real Kind cluster of its own and records them in every form in which an engineer may
// meet them; see README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `lab COMMAND [FLAGS] [NAME...]

  up      make the cluster, and bring it the programs that the incidents run
  stage   stage incidents, all at once; those that touch the whole cluster one after the other, with their record
  record  record incidents that are staged
  check   diagnose what is recorded, in every form, and compare it with what was expected
  unstage remove what was staged
  down    delete the cluster
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs a command and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	commands := map[string]func(context.Context, *lab, []string) error{
		"up": up, "down": down, "stage": stage, "record": record, "check": check, "unstage": unstage,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprint(stderr, usage)
		return 2
	}
	l := &lab{out: stdout, err: stderr, getenv: os.Getenv}
	set := flag.NewFlagSet(args[0], flag.ContinueOnError)
	set.SetOutput(stderr)
	l.bind(set)
	if err := set.Parse(args[1:]); err != nil {
		return 2
	}
	if err := commands[args[0]](ctx, l, set.Args()); err != nil {
		fmt.Fprintf(stderr, "lab %s: %v\n", args[0], err)
		return 1
	}
	return 0
}
