// Command probe is what the engine's trivial container runs, and what reads values on the machine that nodes run on.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"kubernaut.ai/kubernaut/test/infrastructure/engine/reading"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

// run does what the first argument says: hold waits to be ended, say prints the second argument, read answers a
// reading.Question.
func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "hold":
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM, os.Interrupt)
		<-end
		return nil
	case len(args) == 2 && args[0] == "say":
		_, err := fmt.Println(args[1])
		return err
	case len(args) == 2 && args[0] == "read":
		var q reading.Question
		if err := json.Unmarshal([]byte(args[1]), &q); err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(reading.Read("/", q))
	}
	return fmt.Errorf("arguments are hold, say WORD or read QUESTION; not %q", args)
}
