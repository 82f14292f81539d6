package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

func sleep(ctx context.Context, _ []string, stdout, _ io.Writer) (int, error) {
	fmt.Fprintln(stdout, "sleeping")
	<-ctx.Done()
	return 0, nil
}

// crash writes what a program would that cannot go on, and ends as it would.
func crash(ctx context.Context, args []string, _, stderr io.Writer) (int, error) {
	set := flag.NewFlagSet("crash", flag.ContinueOnError)
	set.SetOutput(stderr)
	code := set.Int("code", 1, "exit code")
	message := set.String("message", "fatal: cannot go on", "last words")
	after := set.Duration("after", 0, "time to live")
	if err := set.Parse(args); err != nil {
		return 2, nil //nolint:nilerr // the flag set has said what is wrong
	}
	if *after > 0 {
		timer := time.NewTimer(*after)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return 0, nil
		}
	}
	fmt.Fprintln(stderr, *message)
	return *code, nil
}

// eatMemory takes memory, and uses it so that it is really taken, until it has what it shall have or
// the kernel ends it.
func eatMemory(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	set := flag.NewFlagSet("eat-memory", flag.ContinueOnError)
	set.SetOutput(stderr)
	mib := set.Int("mib", 1024, "mebibytes to take")
	if err := set.Parse(args); err != nil {
		return 2, nil //nolint:nilerr // the flag set has said what is wrong
	}
	if *mib < 1 {
		return 2, errors.New("-mib must be positive")
	}
	fmt.Fprintf(stdout, "loading %d MiB into the cache\n", *mib)
	const page = 4096
	var taken [][]byte
	for len(taken) < *mib && ctx.Err() == nil {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += page {
			block[i] = byte(len(taken) + 1)
		}
		taken = append(taken, block)
	}
	fmt.Fprintf(stdout, "%d MiB taken\n", len(taken))
	<-ctx.Done()
	return int(taken[0][0] - 1), nil // read, so that it cannot have been optimised away
}
