package plan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

// Task is what a phase has at hand while it runs. It is safe for concurrent use.
type Task struct {
	// Phase is the phase's name, Dir its directory in the run's.
	Phase, Dir string
	// Log is the phase's log. Every Write counts as progress.
	Log io.Writer
	// Facts are those of the plan.
	Facts *Facts

	run *phaseRun
}

// Note records a decision and its reason for the report.
func (t *Task) Note(format string, args ...any) { t.run.note(fmt.Sprintf(format, args...)) }

// Progress tells that the phase is alive, for work that says nothing.
func (t *Task) Progress() { t.run.touch() }

// Command returns a runner of programs that logs into the phase's log.
func (t *Task) Command() command.Runner { return command.Runner{Log: t.run.log} }

// Logger returns a structured logger into the phase's log.
func (t *Task) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(t.Log, nil)) }

// All runs units in parallel, at most limit of them at once (not positive: all), and returns the errors of all that failed,
// joined in the order of the units. One that fails does not end the others.
func (t *Task) All(ctx context.Context, limit int, units ...NamedUnit) error {
	return errors.Join(t.run.all(ctx, limit, units)...)
}

// Unit runs one unit, and runs it again as long as the class of its failure and the run's budget allow: after every failed
// attempt evidence is saved, then the cleanup runs, then it is tried again. The error that it returns knows its finding.
func (t *Task) Unit(ctx context.Context, name string, u Unit) error {
	return t.run.unit(ctx, name, u, nil)
}
