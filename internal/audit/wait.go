package audit

import (
	"container/heap"
	"context"
	"fmt"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// waiter waits until the sink is done with the event of the given sequence number.
type waiter struct {
	seq   int
	index int
	done  chan struct{}
}

// waiters is a heap: the one that waits for the earliest event is first.
type waiters []*waiter

func (w waiters) Len() int           { return len(w) }
func (w waiters) Less(i, j int) bool { return w[i].seq < w[j].seq }
func (w waiters) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

func (w *waiters) Push(x any) {
	e := x.(*waiter)
	e.index = len(*w)
	*w = append(*w, e)
}

func (w *waiters) Pop() any {
	old := *w
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	e.index = -1
	return e
}

// rejections remembers which correlation ids have an event that the store refused: the latest of
// them, so that it stays small.
type rejections struct {
	count map[string]int
	order []string
}

const maxRejections = 1024

func (r *rejections) add(trail string) {
	if r.count == nil {
		r.count = make(map[string]int)
	}
	if r.count[trail]++; r.count[trail] > 1 {
		return
	}
	r.order = append(r.order, trail)
	if len(r.order) > maxRejections {
		delete(r.count, r.order[0])
		r.order = r.order[1:]
	}
}

// Delivered waits until every event of the correlation id that was recorded or adopted before the call
// is in the store. It returns nil then, and at once when there are none. Otherwise the error is of
// KindTimeout when ctx ended first (the events are in the spool and will be delivered), ErrRejected
// when the store refused any event of the correlation id since Open, or ErrClosed when Close gave up.
func (c *Client) Delivered(ctx context.Context, correlationID string) error {
	const op = "audit.Delivered"
	correlationID = boundID(correlationID, incident.MaxCorrelationID)
	c.mu.Lock()
	if seq, ok := c.trails[correlationID]; ok {
		if err := c.wait(ctx, op, seq); err != nil {
			c.mu.Unlock()
			return err
		}
	}
	n := c.rejected.count[correlationID]
	c.mu.Unlock()
	if n > 0 {
		return incident.Errorf(incident.KindInvalid, op, "%w: %d events of %q are in %s", ErrRejected, n, correlationID, rejectedName)
	}
	return nil
}

// Flush waits until every event that was recorded or adopted before the call is delivered or rejected, and has
// them delivered without delay. Its errors are those of Delivered, without ErrRejected.
func (c *Client) Flush(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wait(ctx, "audit.Flush", c.durable)
}

// wait waits for the event of the given sequence number. It is called with c.mu held, and releases it
// while it waits.
func (c *Client) wait(ctx context.Context, op string, seq int) error {
	if seq <= c.acked {
		return nil
	}
	if c.stopped {
		return c.undelivered(op, seq, incident.KindUnavailable, ErrClosed)
	}
	w := &waiter{seq: seq, done: make(chan struct{})}
	heap.Push(&c.waiters, w)
	c.mu.Unlock()
	kick(c.deliverKick)
	select {
	case <-w.done:
	case <-ctx.Done():
	}
	c.mu.Lock()
	if w.index >= 0 {
		heap.Remove(&c.waiters, w.index)
	}
	switch {
	case seq <= c.acked:
		return nil
	case c.stopped:
		return c.undelivered(op, seq, incident.KindUnavailable, ErrClosed)
	}
	return c.undelivered(op, seq, incident.KindTimeout, context.Cause(ctx))
}

func (c *Client) undelivered(op string, seq int, kind incident.ErrorKind, why error) error {
	err := incident.Errorf(kind, op, "%d events are in the spool and not yet in the store: %w", seq-c.acked, why)
	if c.failure != nil {
		err.Err = fmt.Errorf("%w; the store: %w", err.Err, c.failure)
	}
	return err
}

// Pending returns how many recorded events are not yet delivered.
func (c *Client) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.durable - c.acked
}

// usage is what the gauges show.
type usage struct {
	events, maxEvents          int
	bytes, maxBytes, diskBytes int64
	oldest                     time.Duration
}

func (c *Client) usage() usage {
	diskBytes := c.spool.bytes()
	c.mu.Lock()
	defer c.mu.Unlock()
	u := usage{
		events: c.durable - c.acked, maxEvents: c.opts.MaxEvents,
		bytes: c.bytesInUse(), maxBytes: c.opts.MaxBytes, diskBytes: diskBytes,
	}
	if u.events > 0 && !c.oldest.IsZero() {
		u.oldest = max(c.opts.Clock().Sub(c.oldest), 0)
	}
	return u
}
