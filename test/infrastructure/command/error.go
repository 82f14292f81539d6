package command

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrStalled is the reason of a command that was ended because it neither wrote nor read anything for too long.
	ErrStalled = errors.New("stalled: no output and no input taken")
	// ErrDeadline is the reason of a command that was ended because it took too long.
	ErrDeadline = errors.New("deadline passed")
)

// Error is a command that failed.
type Error struct {
	// Cmd is the command line.
	Cmd string
	// ExitCode is the program's, 128 and the signal's number if a signal ended it, -1 if it never ran.
	ExitCode int
	// Output is the end of what it wrote to both streams, 64 KiB of it.
	Output string
	// Err is an *exec.ExitError, exec.ErrNotFound, ErrStalled, ErrDeadline or the error of the context, possibly wrapped.
	Err error
	// Duration is how long it ran.
	Duration time.Duration
}

// Error is one line: the command, the reason, and the last line of the output.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %v", e.Cmd, e.Err)
	lines := strings.Split(strings.TrimSpace(e.Output), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		text += ": " + last
	}
	return text
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }
