package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Investigator has incidents investigated. Calls with one key share one investigation. Errors are
// *incident.Error.
type Investigator interface {
	Investigate(ctx context.Context, key string, in incident.Incident) (incident.Investigation, error)
}

// calls runs investigations beside the reconcile workers: at most limit at once, and none while the
// breaker is open. Each belongs to one resource; its answer is kept until the resource drops it.
//
// A resource that finds no slot stands in a queue, and is woken when its turn comes. The slot is
// kept for it, so that newcomers cannot overtake the queue.
//
// All methods may be called by many goroutines at once.
type calls struct {
	investigator Investigator
	breaker      *gobreaker.TwoStepCircuitBreaker[struct{}]
	openFor      time.Duration
	limit        int
	clock        func() time.Time
	log          *slog.Logger
	metrics      *metrics
	wake         func(types.NamespacedName)

	// base is the life of all calls: they outlive the reconciles that start them.
	base   context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	running int
	kept    int // answers that nobody has dropped yet
	flights map[types.NamespacedName]*flight
	queue   []types.NamespacedName
	queued  map[types.NamespacedName]bool
	invited map[types.NamespacedName]bool // woken, and a slot is kept for them
}

// flight is a call, while it runs and until its answer is dropped.
type flight struct {
	key    string
	cancel context.CancelFunc
	answer *answer // nil while it runs
}

// permit is the right to start one call for one resource. It must be used by start or given back by
// release. It is for one goroutine.
type permit struct {
	calls  *calls
	name   types.NamespacedName
	report func(error) // to the breaker; nil once the permit is used
}

// errNotCalled is reported to the breaker for a call that was not made, or that we cut off.
var errNotCalled = errors.New("not called")

func newCalls(inv Investigator, s Settings, clock func() time.Time, log *slog.Logger, m *metrics, wake func(types.NamespacedName)) *calls {
	c := &calls{
		investigator: inv, openFor: s.BreakerOpenFor, limit: s.MaxInFlight, clock: clock, log: log, metrics: m, wake: wake,
		flights: make(map[types.NamespacedName]*flight),
		queued:  make(map[types.NamespacedName]bool),
		invited: make(map[types.NamespacedName]bool),
	}
	c.base, c.cancel = context.WithCancel(context.Background())
	failures := uint32(s.BreakerFailures)
	c.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         "holmesgpt-api",
		Timeout:      s.BreakerOpenFor,
		ReadyToTrip:  func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= failures },
		IsSuccessful: func(err error) bool { return !down(err) },
		IsExcluded:   func(err error) bool { return errors.Is(err, errNotCalled) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			log.Warn("circuit breaker of HolmesGPT-API changed", "from", from.String(), "to", to.String())
			m.breaker(to)
		},
	})
	m.breaker(gobreaker.StateClosed)
	return c
}

// down reports whether an error means that the investigating side cannot be used at all, rather than
// that it refused one request.
func down(err error) bool {
	switch incident.KindOf(err) {
	case incident.KindTimeout, incident.KindNetwork, incident.KindUnavailable:
		return true
	}
	return false
}

// lookup returns the call of a resource for a key: its answer, or that it runs, or neither. A call
// for another key belongs to the past and is dropped.
func (c *calls) lookup(name types.NamespacedName, key string) (a *answer, running bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.flights[name]
	switch {
	case f == nil:
		return nil, false
	case f.key != key:
		c.forget(name, f)
		return nil, false
	}
	return f.answer, f.answer == nil
}

// reserve returns a permit, or a slot that is not free. Without a permit the resource is woken when
// its turn comes, or has to ask again when the breaker is the reason.
func (c *calls) reserve(name types.NamespacedName, jitter float64) (*permit, slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.invited[name]:
		delete(c.invited, name)
	case len(c.queue) > 0 || !c.room():
		if !c.queued[name] {
			c.queued[name] = true
			c.queue = append(c.queue, name)
			c.metrics.queue.Set(float64(len(c.queue)))
		}
		return nil, slot{}
	}
	report, err := c.breaker.Allow()
	if err != nil {
		c.invite() // the slot is not used; others learn the same
		return nil, slot{broken: true, retryIn: c.openFor + time.Duration(jitter*float64(c.openFor)/4)}
	}
	c.running++
	return &permit{calls: c, name: name, report: report}, slot{free: true}
}

// room reports whether one more call fits. Answers that wait to be used are bounded too.
func (c *calls) room() bool {
	used := c.running + len(c.invited)
	return used < c.limit && used+c.kept < 4*c.limit
}

// invite wakes those whose turn has come. It is called with c.mu held.
func (c *calls) invite() {
	for len(c.queue) > 0 && c.room() {
		name := c.queue[0]
		c.queue = c.queue[1:]
		delete(c.queued, name)
		c.invited[name] = true
		c.wake(name)
	}
	c.metrics.queue.Set(float64(len(c.queue)))
}

// release gives a permit back that was not used, and does nothing to one that was, or to nil.
func (p *permit) release() {
	if p == nil || p.report == nil {
		return
	}
	p.report(errNotCalled)
	p.report = nil
	c := p.calls
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.invite()
}

// start uses the permit to call for an incident, for at most timeout, and wakes the resource at the
// end.
func (p *permit) start(key string, in incident.Incident, timeout time.Duration) {
	c, report := p.calls, p.report
	ctx, cancel := context.WithTimeout(c.base, timeout)
	f := &flight{key: key, cancel: cancel}
	c.mu.Lock()
	if c.base.Err() != nil {
		c.mu.Unlock()
		cancel()
		p.release()
		return
	}
	p.report = nil
	if old := c.flights[p.name]; old != nil {
		c.forget(p.name, old)
	}
	c.flights[p.name] = f
	c.metrics.inFlight.Set(float64(c.running))
	c.done.Add(1)
	c.mu.Unlock()

	go func() {
		defer c.done.Done()
		defer cancel()
		begin := c.clock()
		inv, err := c.investigate(ctx, key, in)
		a := &answer{investigation: inv, err: err, took: c.clock().Sub(begin)}

		c.mu.Lock()
		defer c.mu.Unlock()
		c.running--
		c.metrics.inFlight.Set(float64(c.running))
		if c.flights[p.name] == f && c.base.Err() == nil {
			report(err)
			c.metrics.called(in, a)
			f.answer = a
			c.kept++
			c.wake(p.name)
		} else {
			report(errNotCalled) // cut off by us: it says nothing about the other side
		}
		c.invite()
	}()
}

// investigate calls, and turns a panic into an error.
func (c *calls) investigate(ctx context.Context, key string, in incident.Incident) (inv incident.Investigation, err error) {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("panic in an investigation call", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = incident.Errorf(incident.KindInternal, "investigate", "panic: %v", r)
		}
	}()
	return c.investigator.Investigate(ctx, key, in)
}

// drop forgets all about a resource: its answer was used, or it is gone. A call that runs is cut off.
func (c *calls) drop(name types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[name]; f != nil {
		c.forget(name, f)
	}
	if c.queued[name] {
		delete(c.queued, name)
		c.queue = slices.DeleteFunc(c.queue, func(n types.NamespacedName) bool { return n == name })
	}
	delete(c.invited, name)
	c.invite()
}

// forget is called with c.mu held.
func (c *calls) forget(name types.NamespacedName, f *flight) {
	delete(c.flights, name)
	if f.answer != nil {
		c.kept--
	}
	f.cancel()
}

// close cuts off all calls, whose answers nobody will use, and waits for them.
func (c *calls) close() {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	c.done.Wait()
}
