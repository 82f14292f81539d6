package store

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

const (
	// maxGroup is how many events one transaction of the writer takes from several callers. A
	// single request can be larger.
	maxGroup = 5000
	// linger is how long the writer waits for as many requests as it had the last time. Callers
	// that write one event after the other come back together; without it every second
	// transaction would have only the first of them.
	linger = time.Millisecond
)

// appendRequest is one call of AppendEvents: all of its events are stored, or none.
type appendRequest struct {
	ctx    context.Context
	events []*pendingEvent
	done   chan appendResult
}

type appendResult struct {
	events []incident.StoredEvent
	err    error
}

// writer is the one goroutine that appends events. While it commits, requests gather; the next
// transaction takes all of them, so that many small writes cost about as much as one large one.
type writer struct {
	store    *Store
	requests chan *appendRequest
	mu       sync.RWMutex // held for reading while a request is handed over, and for writing to stop
	stopped  bool
	finished chan struct{}
}

func startWriter(s *Store) *writer {
	w := &writer{store: s, requests: make(chan *appendRequest), finished: make(chan struct{})}
	go w.run()
	return w
}

// stop refuses new requests, finishes those accepted and waits for the writer to end.
func (w *writer) stop() {
	w.mu.Lock()
	if !w.stopped {
		w.stopped = true
		close(w.requests)
	}
	w.mu.Unlock()
	<-w.finished
}

// append hands events to the writer and waits until they are committed.
func (w *writer) append(ctx context.Context, events []*pendingEvent) ([]incident.StoredEvent, error) {
	r := &appendRequest{ctx: ctx, events: events, done: make(chan appendResult, 1)}
	if err := w.enqueue(r); err != nil {
		return nil, err
	}
	select {
	case result := <-r.done:
		return result.events, result.err
	case <-ctx.Done():
		return nil, w.store.fail("append events", ctx.Err())
	}
}

func (w *writer) enqueue(r *appendRequest) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.stopped {
		return incident.Errorf(incident.KindUnavailable, "append events", "the store is closed")
	}
	select {
	case w.requests <- r:
		return nil
	case <-r.ctx.Done():
		return w.store.fail("append events", r.ctx.Err())
	}
}

func (w *writer) run() {
	defer close(w.finished)
	last := 1
	for first := range w.requests {
		group := w.gather(first, last)
		last = len(group)
		w.commit(group)
	}
}

// gather returns first and the requests that wait behind it. It lingers for up to expected ones.
func (w *writer) gather(first *appendRequest, expected int) []*appendRequest {
	group, n := []*appendRequest{first}, len(first.events)
	var timer <-chan time.Time
	if expected > 1 {
		t := time.NewTimer(linger)
		defer t.Stop()
		timer = t.C
	}
	for n < maxGroup {
		var r *appendRequest
		select {
		case r = <-w.requests:
		default:
			if len(group) >= expected {
				return group
			}
			select {
			case r = <-w.requests:
			case <-timer:
				return group
			}
		}
		if r == nil { // stopped
			return group
		}
		group = append(group, r)
		n += len(r.events)
	}
	return group
}

// commit appends the group in one transaction and answers each request. It is not bound to the
// context of any caller.
func (w *writer) commit(group []*appendRequest) {
	live := group[:0]
	for _, r := range group {
		if err := r.ctx.Err(); err != nil {
			r.done <- appendResult{err: w.store.fail("append events", err)}
			continue
		}
		live = append(live, r)
	}
	if len(live) == 0 {
		return
	}
	results, err := w.try(live)
	if incident.KindOf(err) == incident.KindConflict {
		// Another process stored one of the ids after this transaction looked for it. Now it is seen.
		results, err = w.try(live)
	}
	for i, r := range live {
		if err != nil {
			r.done <- appendResult{err: err}
		} else {
			r.done <- results[i]
		}
	}
}

func (w *writer) try(group []*appendRequest) ([]appendResult, error) {
	var results []appendResult
	ctx := context.WithoutCancel(group[0].ctx)
	err := w.store.write(ctx, "append events", func(tx *sql.Tx) error {
		var err error
		results, err = w.store.appendTx(ctx, tx, group)
		return err
	})
	return results, err
}
