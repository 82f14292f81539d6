package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// grace is how long a group that was told to end may take before it is killed.
	grace = 5 * time.Second
	// lingering is how long the pipes of a program that has ended may stay open. What it left running in the background may
	// hold them for ever, as a virtual machine's helpers do.
	lingering = 2 * time.Second
)

// Runner runs programs of the host. The zero value works and logs nothing. It is safe for concurrent use if Log is.
type Runner struct {
	// Env is added to the environment of this process; of two values of a variable the later wins.
	Env []string
	// Log gets the command line, and then, unless the command is quiet, all that it says, by whole lines, one Write for
	// some of them. Nil: nothing is logged.
	Log io.Writer
}

// With returns a runner that logs into log (nil: as r does) and adds env to r's.
func (r Runner) With(log io.Writer, env ...string) Runner {
	if log == nil {
		log = r.Log
	}
	return Runner{Env: append(append([]string(nil), r.Env...), env...), Log: log}
}

// Cmd is one run of a program.
type Cmd struct {
	Name string
	Args []string
	Dir  string
	// Env is added to the runner's.
	Env []string
	// Stdin is what the program reads; what it takes of it counts as progress, and an error of the reader ends it. A Read
	// that blocks does not keep Run from returning: it may still be going on then.
	Stdin io.Reader
	// Stdout gets what the program writes to its standard output; nil: Run returns it.
	Stdout io.Writer
	// Deadline is how long the program may take, Stall how long it may go without writing or reading anything. Zero: without limit.
	Deadline, Stall time.Duration
	// Quiet keeps the output out of the runner's log, not out of errors.
	Quiet bool
}

// String is the command line as a person could type it.
func (c Cmd) String() string {
	words := make([]string, 0, 1+len(c.Args))
	for _, w := range append([]string{c.Name}, c.Args...) {
		words = append(words, quote(w))
	}
	return strings.Join(words, " ")
}

// quote makes a word one word for a shell.
func quote(w string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+:,./@%^"
	if w != "" && strings.Trim(w, plain) == "" {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

// Run runs a program to its end and returns what it wrote to its standard output, unless c.Stdout took it. Any error is
// an *Error: a program that is missing or cannot be started, ends with a status other than zero, stalls, or passes its
// deadline. When ctx ends, the whole process group is told to end (SIGTERM) and killed (SIGKILL) after five seconds, and
// the error wraps ctx's error and cause.
//
// A program that ends well while something it left in the background holds its pipes has succeeded.
func (r Runner) Run(ctx context.Context, c Cmd) ([]byte, error) {
	return r.run(ctx, c, grace)
}

func (r Runner) run(ctx context.Context, c Cmd, grace time.Duration) ([]byte, error) {
	begin := time.Now()
	line := c.String()
	fail := func(code int, output string, err error) error {
		return &Error{Cmd: line, ExitCode: code, Output: output, Err: err, Duration: time.Since(begin)}
	}
	if ctx.Err() != nil {
		return nil, fail(-1, "", Cause(ctx))
	}

	ctx, touch, cancel := guard(ctx, c.Deadline, c.Stall)
	defer cancel(context.Canceled)
	log := r.Log
	if log == nil {
		log = io.Discard
	}
	fmt.Fprintf(log, "$ %s\n", line)
	if c.Quiet {
		log = io.Discard
	}

	var stdout bytes.Buffer
	into := c.Stdout
	if into == nil {
		into = &stdout
	}
	said := &transcript{log: log, touch: touch}
	cmd := exec.Command(c.Name, c.Args...) //nolint:noctx // the group is ended below; exec's context ends one process only
	cmd.Dir = c.Dir
	cmd.Env = append(append(os.Environ(), r.Env...), c.Env...)
	cmd.Stdout = io.MultiWriter(said.stream(), into)
	cmd.Stderr = said.stream()
	var stdin io.WriteCloser
	if c.Stdin != nil {
		var err error
		if stdin, err = cmd.StdinPipe(); err != nil {
			return nil, fail(-1, "", err)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = lingering
	if err := cmd.Start(); err != nil {
		return nil, fail(-1, "", err)
	}

	if stdin != nil {
		go feed(stdin, c.Stdin, touch, cancel)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err, reason error
	select {
	case err = <-ended:
	case <-ctx.Done():
		reason = Cause(ctx)
		err = end(cmd.Process.Pid, ended, grace)
	}
	said.flush()
	if reason != nil {
		fmt.Fprintf(log, "ended: %v\n", reason)
		return stdout.Bytes(), fail(exitCode(cmd), said.tail(), reason)
	}
	if errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success() {
		err = nil
	}
	if err != nil {
		fmt.Fprintf(log, "%v\n", err)
		return stdout.Bytes(), fail(exitCode(cmd), said.tail(), err)
	}
	return stdout.Bytes(), nil
}

// end ends the process group of a program, and waits for the program.
func end(group int, ended <-chan error, grace time.Duration) error {
	// The error of a signal says that nobody is left to get it.
	_ = syscall.Kill(-group, syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	var err error
	select {
	case err = <-ended:
		_ = syscall.Kill(-group, syscall.SIGKILL) // those of the group that did not listen
	case <-timer.C:
		_ = syscall.Kill(-group, syscall.SIGKILL)
		err = <-ended
	}
	return err
}

// exitCode is that of a shell: 128 and the number of the signal that ended the program, -1 for one without an end.
func exitCode(cmd *exec.Cmd) int {
	if cmd.ProcessState == nil {
		return -1
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return cmd.ProcessState.ExitCode()
}
