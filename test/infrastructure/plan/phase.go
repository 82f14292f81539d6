package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

const (
	// patience is how long a phase may take to return once its context has ended: longer than commands take to be killed.
	patience = 30 * time.Second
	// verifying is how long a phase may take to verify what it claims, unless it has a shorter deadline.
	verifying = 2 * time.Minute
	// saving is how long the evidence of one attempt may take.
	saving = time.Minute
)

// phaseRun is a phase that is being run.
type phaseRun struct {
	run   *run
	phase Phase
	dir   string
	log   *logFile

	mu      sync.Mutex
	touches map[int]func() // of the phase and of the units that are being tried
	next    int
	notes   []string
	retries []Retry
}

// phase runs a phase whose turn has come, or finds that it need not run.
func (r *run) phase(ctx context.Context, ph Phase) {
	begin := r.now()
	r.update(ph.Name, func(res *PhaseResult) { res.Status, res.Started = Running, begin })
	digest, why, err := r.holds(ctx, ph)
	if err == nil && why == "" {
		r.end(ph, begin, Held, nil, nil)
		return
	}
	if err != nil && ctx.Err() != nil {
		r.end(ph, begin, Interrupted, nil, []failure.Finding{interrupted(ph.Name, err)})
		return
	}
	if err != nil {
		r.end(ph, begin, Failed, nil, failure.ClassifyAll(ctx, ph.Name, err, r.o.Probes))
		return
	}
	if r.roles[ph.Name] == checked {
		f := failure.Finding{Phase: ph.Name, Class: failure.Unknown, Summary: "the phase does not hold: " + why, Fix: "run the plan up to this phase first, or resume it"}
		r.end(ph, begin, Failed, nil, []failure.Finding{f.In("")})
		return
	}
	r.forget(ph)
	if ph.Inputs != nil && r.o.Resume {
		r.update(ph.Name, func(res *PhaseResult) { res.Why = why })
	}

	i, _ := r.plan.phase(ph.Name)
	p := &phaseRun{run: r, phase: ph, dir: filepath.Join(r.dir, "phases", fmt.Sprintf("%02d-%s", i+1, ph.Name)), touches: make(map[int]func())}
	p.log, err = openLog(filepath.Join(p.dir, "log.txt"))
	if err != nil {
		r.end(ph, begin, Failed, nil, []failure.Finding{harnessFault(ph.Name, err.Error())})
		return
	}
	defer p.log.Close()
	r.update(ph.Name, func(res *PhaseResult) { res.Dir = p.dir })
	r.tell(Event{Kind: PhaseStarted, Phase: ph.Name, Why: why})

	err = p.guarded(ctx)
	switch {
	case err == nil:
		if ph.Inputs != nil && !ph.Finally {
			r.claim(ph, digest, begin)
		}
		r.end(ph, begin, Passed, p, nil)
	case ctx.Err() != nil:
		r.end(ph, begin, Interrupted, p, []failure.Finding{interrupted(ph.Name, err)})
	default:
		fmt.Fprintf(p.log, "failed: %v\n", err)
		r.end(ph, begin, Failed, p, failure.ClassifyAll(ctx, ph.Name, err, r.o.Probes))
	}
}

// end records how a phase ended. p is nil if it did not run.
func (r *run) end(ph Phase, begin time.Time, status Status, p *phaseRun, findings []failure.Finding) {
	event := Event{Kind: PhaseEnded, Phase: ph.Name, Status: status, Duration: r.now().Sub(begin)}
	if len(findings) > 0 && status != Interrupted {
		event.Finding = findings[0]
	}
	r.update(ph.Name, func(res *PhaseResult) {
		r.begun = r.begun || status == Passed && !ph.Finally
		res.Status, res.Duration, res.Findings = status, event.Duration, findings
		if p != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			res.Notes, res.Retries = slices.Clone(p.notes), slices.Clone(p.retries) // one that was left behind may go on
		}
		event.Why = res.Why
	})
	r.tell(event)
}

// holds says why a phase must be run; "" if an earlier run did it and that still holds. digest is that of its inputs.
func (r *run) holds(ctx context.Context, ph Phase) (digest, why string, err error) {
	if ph.Inputs == nil || ph.Finally {
		return "", "it always runs", nil
	}
	ctx, _, release := command.Guard(ctx, cmp.Or(ph.Deadline, verifying), 0)
	defer release()
	if err := safely(func() error { digest, err = ph.Inputs(ctx); return err }); err != nil {
		return "", "", fmt.Errorf("inputs of %s: %w", ph.Name, err)
	}
	r.mu.Lock()
	claim, ok := r.state.Phases[ph.Name]
	stale := slices.IndexFunc(ph.After, func(name string) bool { return r.stale[name] })
	r.mu.Unlock()
	switch {
	case !r.o.Resume && r.roles[ph.Name] != checked:
		return digest, "the run starts afresh", nil
	case stale >= 0:
		return digest, fmt.Sprintf("%s ran again", ph.After[stale]), nil
	case !ok:
		return digest, "no earlier run finished it", nil
	case claim.Digest != digest:
		return digest, "its inputs have changed", nil
	case ph.Verify == nil:
		return digest, "", nil
	}
	if err := safely(func() error { return ph.Verify(ctx, r.facts) }); err != nil {
		if cause := command.Cause(ctx); cause != nil {
			err = &reasoned{reason: cause, err: err}
		}
		return digest, "what it did no longer holds: " + err.Error(), nil
	}
	return digest, "", nil
}

// forget drops what is claimed of a phase that is about to run, and of all that depends on it: should the run be killed now,
// the next one must not rely on it.
func (r *run) forget(ph Phase) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ph.Inputs == nil || ph.Finally {
		r.stale[ph.Name] = slices.ContainsFunc(ph.After, func(name string) bool { return r.stale[name] })
		return
	}
	r.begun = true
	r.stale[ph.Name] = true
	for _, name := range append(r.plan.dependents(ph.Name), ph.Name) {
		delete(r.state.Phases, name)
	}
	r.fault = cmp.Or(r.fault, r.save())
}

func (r *run) claim(ph Phase, digest string, begin time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	r.state.Phases[ph.Name] = claim{Digest: digest, RunID: r.result.RunID, Finished: now, Duration: now.Sub(begin)}
}

// guarded runs the phase's function under its deadline and its stall timer. A function that does not return when its
// context has ended is left behind.
func (p *phaseRun) guarded(ctx context.Context) error {
	ctx, touch, release := command.Guard(ctx, p.phase.Deadline, p.phase.Stall)
	defer release()
	defer p.touching(touch)()
	task := &Task{Phase: p.phase.Name, Dir: p.dir, Log: &touchingWriter{p}, Facts: p.run.facts, run: p}
	ended := make(chan error, 1)
	go func() { ended <- safely(func() error { return p.phase.Run(ctx, task) }) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case err = <-ended:
		case <-timer.C:
			return failure.With(fmt.Errorf("%w; and the phase did not return within %s", command.Cause(ctx), patience),
				harnessFault(p.phase.Name, "the phase did not return although its context had ended: "+command.Cause(ctx).Error()))
		}
	}
	return because(ctx, err)
}

// because gives err the reason of a guard that ended ctx, in place of the cancellation that it would be taken for.
func because(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if err == nil || !expired(ctx) || errors.Is(err, cause) {
		return err
	}
	if _, ok := errors.AsType[failure.Typed](err); ok {
		return err
	}
	return &reasoned{reason: cause, err: err}
}

// reasoned is an error that came from the end of a context, with the reason for that.
type reasoned struct{ reason, err error }

func (r *reasoned) Error() string { return r.reason.Error() + ": " + r.err.Error() }

func (r *reasoned) Unwrap() error { return r.reason }

// touching registers what is to be told of progress, and returns how to take it back.
func (p *phaseRun) touching(touch func()) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := p.next
	p.next++
	p.touches[id] = touch
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.touches, id)
	}
}

// touch tells that the phase is alive.
func (p *phaseRun) touch() {
	p.mu.Lock()
	all := slices.Collect(maps.Values(p.touches))
	p.mu.Unlock()
	for _, touch := range all {
		touch()
	}
}

func (p *phaseRun) note(text string) {
	p.mu.Lock()
	p.notes = append(p.notes, text)
	p.mu.Unlock()
	fmt.Fprintf(&touchingWriter{p}, "note: %s\n", text)
	p.run.tell(Event{Kind: Noted, Phase: p.phase.Name, Note: text})
}

// safely calls f and makes a panic a failure of the harness.
func safely(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			stack := strings.Split(strings.TrimSpace(string(debug.Stack())), "\n")
			summary := fmt.Sprintf("panic: %v", v)
			err = failure.With(errors.New(summary+"\n"+strings.Join(stack, "\n")), harnessFault("", summary, ours(stack)...))
		}
	}()
	return f()
}

// ours are the frames of a stack that are below the panic, the first few of them.
func ours(stack []string) []string {
	for i, line := range stack {
		if strings.HasPrefix(line, "panic(") {
			stack = stack[min(i+2, len(stack)):]
			break
		}
	}
	return stack[:min(6, len(stack))]
}

func interrupted(phase string, err error) failure.Finding {
	f := failure.Finding{Phase: phase, Class: failure.Interrupted, Summary: "interrupted", Lines: []string{err.Error()}}
	return f.In("")
}

func harnessFault(phase, summary string, lines ...string) failure.Finding {
	f := failure.Finding{Phase: phase, Class: failure.Permanent, Summary: summary, Harness: true, Lines: lines, Fix: "this is a fault of the harness: report it with the run's directory"}
	return f.In("")
}

// logFile is a phase's log. It can be written by several goroutines, and after its end, which then is to no effect.
type logFile struct {
	mu sync.Mutex
	f  *os.File
}

func openLog(path string) (*logFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // logs are for everybody
		return nil, err
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &logFile{f: f}, nil
}

// Write never fails: a disk that is full must not hide why.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		_, _ = l.f.Write(p)
	}
	return len(p), nil
}

func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.f.Close()
	l.f = nil
	return err
}

// touchingWriter is the log for what runs in this process.
type touchingWriter struct{ p *phaseRun }

func (w *touchingWriter) Write(b []byte) (int, error) {
	w.p.touch()
	return w.p.log.Write(b)
}

var _ io.Writer = (*touchingWriter)(nil)
