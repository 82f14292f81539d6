package plan

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

const defaultBudget = 5

// NewRunID returns the name of a run that starts now; later runs sort after earlier ones.
func NewRunID(now time.Time) string {
	var chance [2]byte
	_, _ = rand.Read(chance[:]) // it never fails
	return now.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(chance[:])
}

// Run runs a plan and returns what came of it, also when phases failed: that is no error here but in the result's exit code.
// It errs if the plan or the options are wrong, or if the run's files cannot be written.
//
// A phase runs once all those in its After have succeeded; if one of them did not, it does not run. When ctx ends, running
// phases are told by their own contexts, no other is started, and then those that run finally do. With o.Resume a phase with
// Inputs is not run where an earlier run succeeded with equal inputs, Verify finds nothing wrong, and no phase with
// Inputs before it had to run again.
func Run(ctx context.Context, p Plan, o Options) (Result, error) {
	if err := p.validate(); err != nil {
		return Result{}, err
	}
	r, err := newRun(p, o)
	if err != nil {
		return Result{}, err
	}
	stop := context.AfterFunc(ctx, func() {
		if o.OnInterrupt != nil {
			o.OnInterrupt()
		}
	})
	defer stop()

	used := r.o.CPU()
	r.schedule(ctx, false)
	r.rescue(ctx)
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-o.Abort:
			cancel()
		case <-over:
		}
	}()
	r.schedule(last, true)

	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Interrupted = ctx.Err() != nil
	r.result.Finished, r.result.CPU = r.now(), r.o.CPU()-used
	return r.result, errors.Join(r.fault, r.save())
}

// run is a plan that is being run.
type run struct {
	plan   Plan
	o      Options
	roles  map[string]role
	now    func() time.Time
	facts  *Facts
	ledger *failure.Ledger
	dir    string

	mu     sync.Mutex
	result Result
	index  map[string]int // of a phase in result.Phases
	state  *checkpoint
	begun  bool            // the checkpoint is this run's
	stale  map[string]bool // phases that ran although they have a checkpoint, and all after them
	fault  error           // the first file that could not be written

	telling sync.Mutex
}

func newRun(p Plan, o Options) (*run, error) {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.CPU == nil {
		o.CPU = func() time.Duration { return 0 }
	}
	if o.Dir == "" {
		return nil, fmt.Errorf("plan of %s: no directory is given", p.Suite)
	}
	roles, err := p.roles(o)
	if err != nil {
		return nil, err
	}
	budget := max(cmp.Or(o.Budget, defaultBudget), 0)
	id := cmp.Or(o.RunID, NewRunID(o.Clock()))
	r := &run{
		plan: p, o: o, roles: roles, now: o.Clock, facts: &Facts{}, ledger: failure.NewLedger(budget),
		dir: filepath.Join(o.Dir, "runs", id), index: make(map[string]int), stale: make(map[string]bool),
		state:  &checkpoint{Version: stateVersion, Suite: p.Suite, Cluster: p.Cluster, Phases: make(map[string]claim)},
		result: Result{Suite: p.Suite, Cluster: p.Cluster, RunID: id, Dir: filepath.Join(o.Dir, "runs", id), Started: o.Clock(), Budget: budget},
	}
	if err := forgetRuns(o.Dir, keptRuns-1); err != nil {
		o.Logger.Warn("directories of old runs cannot be removed", "error", err)
	}
	if o.Resume || o.Only != "" {
		earlier, err := readCheckpoint(o.Dir, p)
		if err != nil {
			o.Logger.Warn("checkpoint cannot be read; nothing is taken over", "error", err)
		}
		if earlier != nil {
			r.state, r.result.Resumed = earlier, earlier.RunID
			r.facts.values = earlier.Facts
			if r.state.Phases == nil {
				r.state.Phases = make(map[string]claim)
			}
		}
	}
	r.state.RunID = id
	for _, ph := range p.Phases {
		if roles[ph.Name] == checked || roles[ph.Name] == wanted {
			r.include(ph)
		}
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "phases"), 0o755); err != nil { //nolint:gosec // logs are for everybody
		return nil, fmt.Errorf("directory of run %s: %w", id, err)
	}
	if err := r.save(); err != nil {
		return nil, err
	}
	return r, nil
}

// include makes a phase one of the result's; the caller holds the lock, or is alone.
func (r *run) include(ph Phase) {
	r.index[ph.Name] = len(r.result.Phases)
	r.result.Phases = append(r.result.Phases, PhaseResult{Name: ph.Name, After: ph.After, Status: NotRun, Finally: ph.Finally})
}

// rescue has the phases that run finally run although they were not asked for, if something did not succeed: evidence is
// wanted then.
func (r *run) rescue(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	bad := slices.ContainsFunc(r.result.Phases, func(p PhaseResult) bool { return !p.Finally && p.Status != Passed && p.Status != Held })
	if !bad && ctx.Err() == nil {
		return
	}
	for _, ph := range r.plan.Phases {
		if r.roles[ph.Name] == rescuing {
			r.roles[ph.Name] = wanted
			r.include(ph)
		}
	}
}

// schedule runs the phases that run finally, or those that do not, in their order, side by side where that leaves it open.
func (r *run) schedule(ctx context.Context, finally bool) {
	var waiting []Phase
	for _, ph := range r.plan.Phases {
		if _, ok := r.index[ph.Name]; ok && ph.Finally == finally {
			waiting = append(waiting, ph)
		}
	}
	running := make(map[string]bool)
	ended := make(chan string)
	for len(waiting)+len(running) > 0 {
		for _, ph := range slices.Clone(waiting) {
			if slices.ContainsFunc(ph.After, func(name string) bool { return running[name] || named(waiting, name) >= 0 }) {
				continue
			}
			i := named(waiting, ph.Name)
			waiting = slices.Delete(waiting, i, i+1)
			if why := r.blocked(ctx, ph); why != "" {
				r.notRun(ph, why)
				continue
			}
			running[ph.Name] = true
			go func() {
				r.phase(ctx, ph)
				ended <- ph.Name
			}()
		}
		if len(running) > 0 {
			delete(running, <-ended)
		}
	}
}

func named(phases []Phase, name string) int {
	return slices.IndexFunc(phases, func(ph Phase) bool { return ph.Name == name })
}

// blocked says why a phase whose turn has come is not run; "" if it is.
func (r *run) blocked(ctx context.Context, ph Phase) string {
	if ph.Finally {
		return ""
	}
	if ctx.Err() != nil {
		return "the run was interrupted"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, before := range ph.After {
		i, ok := r.index[before]
		if !ok {
			continue // not asked for
		}
		switch status := r.result.Phases[i].Status; status {
		case Passed, Held:
		case NotRun:
			return fmt.Sprintf("it needs %s, which was not run", before)
		default:
			return fmt.Sprintf("it needs %s, which %s", before, status.verb())
		}
	}
	return ""
}

func (r *run) notRun(ph Phase, why string) {
	r.update(ph.Name, func(res *PhaseResult) { res.Why = why })
	r.tell(Event{Kind: PhaseEnded, Phase: ph.Name, Status: NotRun, Why: why})
}

// update changes what is known about a phase, and keeps it on disk.
func (r *run) update(name string, change func(*PhaseResult)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.result.Phases[r.index[name]])
	r.fault = cmp.Or(r.fault, r.save())
}

// save writes the result so far, and the checkpoint once something has been done that it tells about: a run that is refused
// at its beginning leaves that of the run before. The caller holds the lock, or is alone.
func (r *run) save() error {
	err := writeJSON(filepath.Join(r.dir, resultFile), r.result)
	if r.begun {
		r.state.Updated, r.state.Facts = r.now(), r.facts.all()
		err = errors.Join(err, writeJSON(filepath.Join(r.o.Dir, stateFile), r.state))
	}
	if err != nil {
		return fmt.Errorf("record of run %s: %w", r.result.RunID, err)
	}
	return nil
}

// tell tells an event, one at a time.
func (r *run) tell(e Event) {
	r.telling.Lock()
	defer r.telling.Unlock()
	e.Time = r.now()
	if r.o.Out != nil {
		fmt.Fprintln(r.o.Out, e)
	}
	if r.o.Observe != nil {
		r.o.Observe(e)
	}
}
