package replay

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// call is one call of a fake that goes on.
type call struct {
	world   *World
	script  Script
	program string
	args    []string
	in      io.Reader
	out     io.Writer
	errs    io.Writer
	getenv  func(string) string
}

// Main is the fake: it plays the program that args[0] names, and returns the exit code.
func Main(args []string, in io.Reader, out, errs io.Writer, getenv func(string) string) int {
	c := &call{world: &World{getenv(EnvDir)}, program: filepath.Base(args[0]), args: args[1:], in: in, out: out, errs: errs, getenv: getenv}
	if c.world.Dir == "" {
		fmt.Fprintf(errs, "%s: %s is not set\n", c.program, EnvDir)
		return faulty
	}
	code, err := c.run()
	if err != nil {
		fmt.Fprintf(errs, "%s: replay: %v\n", c.program, err)
		return faulty
	}
	return code
}

// faulty is the exit code of a fake that does not know what to do, which no program of its has.
const faulty = 99

func (c *call) run() (int, error) {
	line := strings.Join(append([]string{c.program}, c.args...), " ")
	if len(line) > 2000 {
		line = line[:2000]
	}
	made := Call{Line: line, Evidence: c.evidence()}
	var err error
	if c.script, err = c.world.script(); err != nil {
		return 0, err
	}
	step, err := c.world.decide(c.script.Steps, line)
	if err != nil {
		return 0, err
	}
	if step == nil {
		made.Exit, err = c.carryOut()
	} else {
		made.Scripted = true
		made.Exit, err = c.follow(step)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", line, err)
	}
	return made.Exit, c.world.record(made)
}

// follow does what a step says.
func (c *call) follow(step *Step) (int, error) {
	if step.Touch != "" {
		if err := os.WriteFile(step.Touch, nil, 0o600); err != nil {
			return 0, err
		}
	}
	if code, ended := c.linger(step); ended {
		return code, nil
	}
	if step.Carried {
		if code, err := c.carryOut(); err != nil || code != 0 {
			return code, err
		}
	}
	if err := c.world.Do(step.Effects...); err != nil {
		return 0, err
	}
	fmt.Fprint(c.out, step.Stdout)
	fmt.Fprint(c.errs, step.Stderr)
	return step.Exit, nil
}

// linger waits as a step says, and reports whether a signal ended the call.
func (c *call) linger(step *Step) (code int, ended bool) {
	if !step.Hang && step.Delay == 0 {
		return 0, false
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	var over <-chan time.Time
	if !step.Hang {
		over = time.After(step.Delay)
	}
	select {
	case <-signals:
		const terminated = 143
		return terminated, true
	case <-over:
		return 0, false
	}
}

// evidence counts what failed attempts have left in the harness's state.
func (c *call) evidence() int {
	found, _ := filepath.Glob(filepath.Join(c.getenv("E2E_STATE_DIR"), "*", "runs", "*", "phases", "*", "attempt-*", "*", "finding.json"))
	return len(found)
}

// refuse says something as a program does, and returns an exit code.
func (c *call) refuse(code int, format string, args ...any) int {
	fmt.Fprintf(c.errs, format+"\n", args...)
	return code
}

var errUnplayed = errors.New("this is not played: add it")

// carryOut does what the program should.
func (c *call) carryOut() (int, error) {
	switch c.program {
	case "podman", "docker":
		return c.engine()
	case "go":
		return c.toolchain()
	case "ginkgo":
		return c.ginkgo()
	case "iptables":
		return c.iptables()
	case "ctr", "journalctl":
		return c.inNode(c.getenv(envNode), append([]string{c.program}, c.args...))
	}
	return 0, errUnplayed
}

// flags splits arguments into options and the rest. valued are the options that take the next argument; an option may be
// repeated.
func flags(args []string, valued ...string) (options map[string][]string, rest []string) {
	options = make(map[string][]string)
	takes := make(map[string]bool)
	for _, v := range valued {
		takes[v] = true
	}
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "-" || !strings.HasPrefix(a, "-") {
			return options, args[i:]
		}
		name, value, inline := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch {
		case inline:
		case takes[name] && i+1 < len(args):
			i++
			value = args[i]
		}
		options[name] = append(options[name], value)
	}
	return options, nil
}

// interleaved is flags for commands that take options after operands, too.
func interleaved(args []string, valued ...string) (options map[string][]string, operands []string) {
	options = make(map[string][]string)
	for len(args) > 0 {
		var more map[string][]string
		more, args = flags(args, valued...)
		for name, values := range more {
			options[name] = append(options[name], values...)
		}
		if len(args) > 0 {
			operands = append(operands, args[0])
			args = args[1:]
		}
	}
	return options, operands
}
