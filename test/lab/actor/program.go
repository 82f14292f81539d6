package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ended is an end that the program chose.
type ended struct{ code int }

func (e ended) Error() string { return fmt.Sprintf("exit %d", e.code) }

// end writes the last words, and returns the exit code.
func (a *actor) end(err error) int {
	if chosen, ok := errors.AsType[ended](err); ok {
		return chosen.code
	}
	a.log.Error("fatal", "error", err)
	return 1
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func say(_ context.Context, a *actor, text string) error {
	a.log.Info(text)
	return nil
}

func needEnv(_ context.Context, a *actor, name string) error {
	if a.getenv(name) == "" {
		return fmt.Errorf("required environment variable %s is not set", name)
	}
	return nil
}

// readConfig reads a file of JSON, in which "workers" must be a number above 0.
func readConfig(_ context.Context, a *actor, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("load configuration: %w", err)
	}
	var c struct{ Workers int }
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("load configuration %s: %w", file, err)
	}
	if c.Workers < 1 {
		return fmt.Errorf("load configuration %s: workers must be positive, got %d", file, c.Workers)
	}
	a.log.Info("configuration loaded", "file", file, "workers", c.Workers)
	return nil
}

func wait(ctx context.Context, _ *actor, text string) error {
	d, err := time.ParseDuration(text)
	pause(ctx, d)
	return err
}

func exit(_ context.Context, _ *actor, text string) error {
	code, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	return ended{code}
}

func crash(_ context.Context, a *actor, _ string) error {
	a.log.Info("restoring sessions")
	panic("assignment to entry in nil map")
}

// waitForFile waits until there is a file.
func waitForFile(ctx context.Context, a *actor, file string) error {
	for ctx.Err() == nil {
		if _, err := os.Stat(file); err == nil {
			return nil
		}
		a.log.Info("waiting for file", "file", file)
		pause(ctx, 10*time.Second)
	}
	return nil
}

// done, as the last act, ends the program with success.
func done(context.Context, *actor, string) error { return nil }
