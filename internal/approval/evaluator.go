// Package approval decides by a Rego policy whether a remediation needs a person's approval.
//
// A policy is one Rego v1 file of package aianalysis.approval. Its rule require_approval is true or
// false; reason, a text, matched_rules, a set of texts, and rule, the one of them that gave the
// reason, explain it. The policy sees only the document that Input describes: it cannot reach the
// network or the process's environment.
//
// Every doubt asks for a person: a policy that is undefined, fails, contradicts itself or takes too
// long yields a degraded decision that requires approval, and a policy that would approve an empty
// input, or production with an unvalidated target, is refused when it is loaded.
package approval

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubernaut.ai/kubernaut/internal/incident"
)

// maxPolicyBytes bounds a policy file. A ConfigMap holds at most 1 MiB.
const maxPolicyBytes = 1 << 20

// Options say how policies are evaluated and reloaded. The zero value is ready to use.
type Options struct {
	// EvaluationTimeout bounds one evaluation; 0 means 2 s: it is wall time, and a busy machine must not
	// turn a decision of microseconds into a degraded one.
	EvaluationTimeout time.Duration
	// OnReload is called, if set, by Watch after each attempt to load a changed policy, good or
	// bad. It is called by one goroutine at a time and must not block for long.
	OnReload func(Status)

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers no metrics
	Clock      func() time.Time      // nil means time.Now
}

// Status is the state of the policy that is in force.
type Status struct {
	Path     string
	Hash     string    // lower-case hex SHA-256 of the text in force
	LoadedAt time.Time // when it came into force
	// Err is why the file as it is now is not in force; nil when it is. It is a *PolicyError.
	Err error
}

// Evaluator evaluates the policy of one file and follows its changes while Watch runs. All methods
// may be called by many goroutines at once; Watch by one at a time.
type Evaluator struct {
	path     string
	timeout  time.Duration
	onReload func(Status)
	log      *slog.Logger
	clock    func() time.Time
	figures  *figures

	current atomic.Pointer[policy]

	mu       sync.Mutex // guards what follows
	loadedAt time.Time
	err      error
	// tried is the hash of the text that was last tried, or the message of the last read error, so
	// that a bad file is tried and reported once.
	tried string
}

// Load reads, compiles and self-tests the policy at path. It fails, with a *PolicyError, when the
// policy is refused, and when a metric cannot be registered or an option is out of range.
func Load(path string, o Options) (*Evaluator, error) {
	if o.EvaluationTimeout < 0 {
		return nil, fmt.Errorf("approval: evaluation timeout %s is negative", o.EvaluationTimeout)
	}
	e := &Evaluator{path: path, timeout: o.EvaluationTimeout, onReload: o.OnReload, log: o.Logger, clock: o.Clock}
	if e.timeout == 0 {
		e.timeout = 2 * time.Second
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.clock == nil {
		e.clock = time.Now
	}
	if e.onReload == nil {
		e.onReload = func(Status) {}
	}
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	p, err := compile(context.Background(), path, text, e.timeout)
	if err != nil {
		return nil, err
	}
	if e.figures, err = newFigures(o.Registerer); err != nil {
		return nil, err
	}
	e.accept(p)
	return e, nil
}

// Check reads, compiles and self-tests the policy at path, as Load does, and reports what is wrong
// with it.
func Check(path string) error {
	text, err := read(path)
	if err != nil {
		return err
	}
	_, err = compile(context.Background(), path, text, 0)
	return err
}

// Evaluate decides on in. When the policy gives no clear answer the decision is degraded and
// requires approval, and the error is nil. The error is not nil only when ctx ended, and then there
// is no decision.
func (e *Evaluator) Evaluate(ctx context.Context, in Input) (incident.Decision, error) {
	p := e.current.Load()
	start := e.clock()
	out, err := p.run(ctx, in.document(), e.timeout)
	if ctx.Err() != nil {
		return incident.Decision{}, fmt.Errorf("evaluate the approval policy: %w", ctx.Err())
	}
	e.figures.evaluation.Observe(e.clock().Sub(start).Seconds())
	if err != nil {
		e.log.Warn("approval policy failed; a person must approve", "policy", p.file, "hash", p.hash, "error", err)
		return p.failed(err), nil
	}
	d := p.decide(out)
	if d.Degraded {
		e.log.Warn("approval policy gave no answer; a person must approve", "policy", p.file, "hash", p.hash, "reason", d.Reason)
	}
	return d, nil
}

// Hash returns the lower-case hex SHA-256 of the policy that is in force.
func (e *Evaluator) Hash() string { return e.current.Load().hash }

// Status returns the state of the policy.
func (e *Evaluator) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.statusLocked()
}

func (e *Evaluator) statusLocked() Status {
	return Status{Path: e.path, Hash: e.current.Load().hash, LoadedAt: e.loadedAt, Err: e.err}
}

// accept puts a policy in force.
func (e *Evaluator) accept(p *policy) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if before := e.current.Swap(p); before == nil || before.hash != p.hash {
		e.loadedAt = e.clock()
	}
	e.tried, e.err = p.hash, nil
	e.figures.inForce(p.hash)
}

// reload looks at the file and, when it changed since the last look, takes or refuses it.
func (e *Evaluator) reload(ctx context.Context) {
	text, err := read(e.path)
	key := ""
	if err != nil {
		key = "unreadable: " + err.Error()
	} else {
		key = hashOf(text)
	}
	e.mu.Lock()
	seen := key == e.tried
	e.mu.Unlock()
	if seen {
		return
	}
	var p *policy
	if err == nil {
		p, err = compile(ctx, e.path, text, e.timeout)
	}
	if ctx.Err() != nil {
		return // stopping: what happened is not the policy's fault
	}
	if err != nil {
		e.refuse(key, err)
	} else {
		e.accept(p)
		e.figures.reloads.WithLabelValues(resultSuccess).Inc()
		e.log.Info("approval policy loaded", "policy", e.path, "hash", p.hash)
	}
	e.onReload(e.Status())
}

// refuse notes a bad policy; the one in force stays.
func (e *Evaluator) refuse(key string, err error) {
	e.mu.Lock()
	e.tried, e.err = key, err
	hash := e.current.Load().hash
	e.mu.Unlock()
	e.figures.reloads.WithLabelValues(resultFailure).Inc()
	e.figures.reloadError.Set(1)
	e.log.Error("approval policy refused; the one before stays in force", "policy", e.path, "hash", hash, "error", err)
}

// read reads a policy file. Every error is a *PolicyError.
func read(path string) ([]byte, error) {
	unreadable := func(err error) error {
		return &PolicyError{Refusal: Unreadable, File: path, Err: err}
	}
	f, err := os.Open(path)
	if err != nil {
		if e, ok := errors.AsType[*os.PathError](err); ok {
			err = e.Err // the message names the file already
		}
		return nil, unreadable(fmt.Errorf("cannot be opened: %w", err))
	}
	defer func() { _ = f.Close() }() // opened for reading: closing cannot lose anything
	text, err := io.ReadAll(io.LimitReader(f, maxPolicyBytes+1))
	if err != nil {
		return nil, unreadable(fmt.Errorf("cannot be read: %w", err))
	}
	if len(text) > maxPolicyBytes {
		return nil, unreadable(fmt.Errorf("is larger than %d bytes", maxPolicyBytes))
	}
	return text, nil
}
