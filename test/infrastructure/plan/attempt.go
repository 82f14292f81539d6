package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// crowd are the units that run side by side.
type crowd struct {
	limit int64
	turns *semaphore.Weighted
}

// all runs units side by side and returns their errors, in their order.
func (p *phaseRun) all(ctx context.Context, limit int, units []NamedUnit) []error {
	if limit <= 0 || limit > len(units) {
		limit = max(len(units), 1)
	}
	c := &crowd{limit: int64(limit), turns: semaphore.NewWeighted(int64(limit))}
	errs := make([]error, len(units))
	var group sync.WaitGroup
	for i, u := range units {
		group.Go(func() {
			if err := c.turns.Acquire(ctx, 1); err != nil {
				errs[i] = fmt.Errorf("%s: %w", u.Name, command.Cause(ctx))
				return
			}
			errs[i] = p.unit(ctx, u.Name, u.Unit, c)
		})
	}
	group.Wait()
	return errs
}

// trial is a unit that is being tried.
type trial struct {
	p      *phaseRun
	name   string
	unit   Unit
	crowd  *crowd // nil: it is not one of several
	weight int64  // what it holds of the crowd's turns
	tried  []string
}

// unit runs a unit that holds one turn of its crowd, if it has one, and gives it back.
func (p *phaseRun) unit(ctx context.Context, name string, u Unit, c *crowd) error {
	t := &trial{p: p, name: name, unit: u, crowd: c, weight: 1}
	defer func() {
		if c != nil {
			c.turns.Release(t.weight)
		}
	}()
	for attempt := 1; ; attempt++ {
		err := t.attempt(ctx, attempt)
		if err == nil {
			t.healed()
			return nil
		}
		if ctx.Err() != nil && !expired(ctx) {
			return fmt.Errorf("%s: %w", name, err) // interrupted: the run's end gathers what there is
		}
		f := failure.Classify(context.WithoutCancel(ctx), p.phase.Name, err, p.run.o.Probes).In(name)
		dir := filepath.Join(p.dir, fmt.Sprintf("attempt-%d", attempt), slug(name))
		t.evidence(ctx, dir, err, f)
		if why := t.prepare(ctx, f, attempt); why != "" {
			f.Tried = slices.Concat(t.tried, []string{why})
			fmt.Fprintf(p.log, "%s: %s\n", name, why)
			return failure.With(fmt.Errorf("%s: %w", name, err), f)
		}
		p.retrying(Retry{Unit: name, Attempt: attempt, Finding: f, Evidence: dir})
		pause := failure.Pause(f.Class, attempt-1)
		t.tried = append(t.tried, fmt.Sprintf("tried again after %s", pause.Round(100*time.Millisecond)))
		p.run.tell(Event{Kind: Retrying, Phase: p.phase.Name, Unit: name, Finding: f, Pause: pause})
		fmt.Fprintf(&touchingWriter{p}, "%s: attempt %d failed (%s %s): %s; again in %s\n", name, attempt, f.Row, f.Class, f.Summary, pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%s: %w", name, command.Cause(ctx))
		}
	}
}

// expired reports whether a deadline or a stall timer ended ctx.
func expired(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, command.ErrDeadline) || errors.Is(cause, command.ErrStalled)
}

// attempt runs the unit once.
func (t *trial) attempt(ctx context.Context, n int) error {
	ctx, touch, release := command.Guard(ctx, t.unit.Deadline, t.unit.Stall)
	defer release()
	defer t.p.touching(touch)()
	return because(ctx, safely(func() error { return t.unit.Do(ctx, n) }))
}

// evidence saves what shows why an attempt failed: the error with its output, the finding, and what the unit adds.
func (t *trial) evidence(ctx context.Context, dir string, err error, f failure.Finding) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saving)
	defer cancel()
	fault := os.MkdirAll(dir, 0o755) //nolint:gosec // evidence is for everybody
	if fault == nil {
		fault = os.WriteFile(filepath.Join(dir, "error.txt"), []byte(failure.Text(err)+"\n"), 0o644) //nolint:gosec // evidence is for everybody
	}
	if fault == nil {
		fault = writeJSON(filepath.Join(dir, "finding.json"), f)
	}
	if fault == nil && t.unit.Evidence != nil {
		fault = safely(func() error { t.unit.Evidence(ctx, dir); return nil })
	}
	if fault != nil {
		fmt.Fprintf(t.p.log, "%s: evidence: %v\n", t.name, fault)
	}
}

// prepare makes ready for another attempt, and says why there is none; "" if there is.
func (t *trial) prepare(ctx context.Context, f failure.Finding, attempt int) string {
	if ctx.Err() != nil {
		return "not retried: the phase is over"
	}
	ok, why := t.p.run.ledger.Admit(f, attempt-1)
	if !ok {
		return why
	}
	changed, err := t.cleanup(ctx, f)
	if err == nil && f.Alone {
		var alone bool
		alone, err = t.alone(ctx)
		changed = changed || alone
	}
	switch {
	case err != nil:
		why = "not retried: the cleanup failed: " + err.Error()
	case !changed && f.Class != failure.Transient:
		why = "not retried: the cleanup changed nothing that can be measured"
	}
	if why != "" {
		t.p.run.ledger.Refund()
	}
	return why
}

// cleanup runs the unit's cleanup, if it has one.
func (t *trial) cleanup(ctx context.Context, f failure.Finding) (changed bool, err error) {
	if t.unit.Cleanup == nil {
		return false, nil
	}
	err = safely(func() error {
		changed, err = t.unit.Cleanup(ctx, f)
		return err
	})
	what := "cleaned up (" + cmp.Or(f.Remedy, "no named remedy") + ")"
	switch {
	case err != nil:
		what += ": " + err.Error()
	case !changed:
		what += ": nothing changed"
	}
	t.tried = append(t.tried, what)
	return changed, err
}

// alone waits until no other unit of the crowd runs, and keeps it so. It changes something if others could run at all.
func (t *trial) alone(ctx context.Context) (changed bool, err error) {
	if t.crowd == nil || t.weight == t.crowd.limit {
		return false, nil
	}
	t.crowd.turns.Release(t.weight) // or two that want to be alone wait for each other
	t.weight = 0
	if err := t.crowd.turns.Acquire(ctx, t.crowd.limit); err != nil {
		return false, command.Cause(ctx)
	}
	t.weight = t.crowd.limit
	t.tried = append(t.tried, "waited until it ran alone")
	return true, nil
}

// retrying records a retry.
func (p *phaseRun) retrying(r Retry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retries = append(p.retries, r)
}

// healed marks the retries of a unit that passed.
func (t *trial) healed() {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	for i := range t.p.retries {
		if t.p.retries[i].Unit == t.name {
			t.p.retries[i].Healed = true
		}
	}
}

// slug makes a name a file name.
func slug(name string) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		default:
			return '-'
		}
	}, name)
	return cmp.Or(strings.Trim(s, "-"), "unit")
}
