// Command workload is the program of the containers that the end-to-end specifications run: it
// serves, crashes, eats memory or sleeps as a Pod's arguments say, and it is the fault proxy, the
// registry that has no image, and the hand that kills a process.
//
// It is static and needs nothing of its image: the image is the program.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

const usage = `workload COMMAND [FLAGS]

  serve       answer HTTP until SIGTERM
  sleep       do nothing until SIGTERM
  crash       write a message and exit
  eat-memory  take memory until killed
  registry    be an image registry that has nothing to give
  signal      send a signal to the processes of a Pod; needs the host's processes
  proxy       be the fault proxy
`

// run runs one command and returns the exit code: that of the command, or 2 for wrong arguments.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	commands := map[string]func(context.Context, []string, io.Writer, io.Writer) (int, error){
		"serve": serve, "sleep": sleep, "crash": crash, "eat-memory": eatMemory,
		"registry": registry, "signal": sendSignal, "proxy": proxy,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprint(stderr, usage)
		return 2
	}
	code, err := commands[args[0]](ctx, args[1:], stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "workload %s: %v\n", args[0], err)
	}
	return code
}

// grace is how long a server gets to end.
const grace = 5 * time.Second
