package controller

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// maxDeliveries bounds how many final statuses wait for their audit events at once. One more does not
// wait, as if Data Storage could not be reached.
const maxDeliveries = 4096

// deliveries hold back final statuses until Data Storage has their audit events, or for at most wait.
// All methods may be called by many goroutines at once.
type deliveries struct {
	delivered func(ctx context.Context, correlationID string) error
	wait      time.Duration
	wake      func(types.NamespacedName)

	base   context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu   sync.Mutex
	held map[types.NamespacedName]*held
}

// held is a final status that waits.
type held struct {
	follows stamp // the status that it follows
	facts   facts // what it was decided on
	next    *v1alpha1.AIAnalysisStatus
	ready   bool
	err     error // why its events are not in Data Storage; nil when they are
}

// stamp tells one status of an analysis from the next.
type stamp struct {
	uid      types.UID
	phase    v1alpha1.Phase
	attempt  int32
	failures int32
}

func stampOf(a *v1alpha1.AIAnalysis) stamp {
	return stamp{uid: a.UID, phase: a.Status.Phase, attempt: a.Status.Attempt, failures: a.Status.ConsecutiveFailures}
}

func newDeliveries(delivered func(context.Context, string) error, wait time.Duration, wake func(types.NamespacedName)) *deliveries {
	d := &deliveries{delivered: delivered, wait: wait, wake: wake, held: make(map[types.NamespacedName]*held)}
	d.base, d.cancel = context.WithCancel(context.Background())
	return d
}

// lookup returns the status that is held back for a resource in the given state; ok is false when
// there is none. What is held for another state belongs to the past and is dropped.
func (d *deliveries) lookup(name types.NamespacedName, s stamp) (h held, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.held[name]
	switch {
	case p == nil:
		return held{}, false
	case p.follows != s:
		delete(d.held, name)
		return held{}, false
	}
	return *p, true
}

// hold holds next back until the events of the resource's correlation id are delivered, and wakes the
// resource then. It returns false when too many wait already.
func (d *deliveries) hold(name types.NamespacedName, f facts, next *v1alpha1.AIAnalysisStatus) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.held) >= maxDeliveries || d.wait == 0 || d.base.Err() != nil {
		return false
	}
	h := &held{follows: stampOf(f.analysis), facts: f, next: next}
	d.held[name] = h
	d.done.Go(func() {
		ctx, cancel := context.WithTimeout(d.base, d.wait)
		defer cancel()
		err := d.delivered(ctx, f.analysis.Spec.RemediationID)
		d.mu.Lock()
		h.ready, h.err = true, err
		d.mu.Unlock()
		d.wake(name)
	})
	return true
}

// drop forgets what is held for a resource.
func (d *deliveries) drop(name types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.held, name)
}

// close ends all waits.
func (d *deliveries) close() {
	d.mu.Lock()
	d.cancel()
	d.mu.Unlock()
	d.done.Wait()
}
