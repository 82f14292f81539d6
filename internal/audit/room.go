package audit

import (
	"context"
	"fmt"

	"kubernaut.ai/kubernaut/internal/incident"
)

// roomRequest waits for room in the spool. When ready is closed it has got what it says.
type roomRequest struct {
	events int
	bytes  int64
	ready  chan struct{}
}

// reserve takes room in the spool, and waits for it if need be. It is called with c.mu held, and
// releases it while it waits.
func (c *Client) reserve(ctx context.Context, events int, bytes int64) error {
	const op = "audit.Record"
	if c.closed {
		return errClosed()
	}
	if c.queue.Len() == 0 && c.fits(events, bytes) {
		c.usedEvents += events
		c.usedBytes += bytes
		return nil
	}
	if !c.full {
		c.full = true
		c.log.Warn("audit spool is full: recording waits for delivery",
			"pending_events", c.usedEvents, "pending_bytes", c.usedBytes,
			"pending_bytes_of_others", c.others, "error", c.failure)
	}
	r := &roomRequest{events: events, bytes: bytes, ready: make(chan struct{})}
	place := c.queue.PushBack(r)
	c.mu.Unlock()
	select {
	case <-r.ready:
	case <-ctx.Done():
	}
	c.mu.Lock()
	select {
	case <-r.ready: // also when ctx ended at the same time: the room is ours
		if c.closed {
			c.release(r.events, r.bytes)
			return errClosed()
		}
		return nil
	default:
	}
	c.queue.Remove(place)
	c.grant() // those behind may be smaller
	err := incident.Errorf(incident.KindUnavailable, op, "%w: %d events of %d bytes wait for delivery, and %d bytes of other processes, the event was not recorded: %w",
		ErrFull, c.usedEvents, c.usedBytes, c.others, context.Cause(ctx))
	if c.failure != nil {
		err.Err = fmt.Errorf("%w; the store: %w", err.Err, c.failure)
	}
	return err
}

func (c *Client) fits(events int, bytes int64) bool {
	return c.usedEvents+events <= c.opts.MaxEvents && c.bytesInUse()+bytes <= c.opts.MaxBytes
}

// bytesInUse counts the undelivered bytes of all processes. It is called with c.mu held.
func (c *Client) bytesInUse() int64 { return c.usedBytes + c.others }

// grant gives room to those who wait for it, in their order. It is called with c.mu held.
func (c *Client) grant() {
	for c.queue.Len() > 0 {
		first := c.queue.Front()
		r := first.Value.(*roomRequest)
		if !c.fits(r.events, r.bytes) {
			return
		}
		c.usedEvents += r.events
		c.usedBytes += r.bytes
		c.queue.Remove(first)
		close(r.ready)
	}
	// Not at once, so that a spool at its bound does not log each event that goes.
	if c.full && c.usedEvents <= c.opts.MaxEvents/4*3 && c.bytesInUse() <= c.opts.MaxBytes/4*3 {
		c.full = false
		c.log.Info("audit spool has room again", "pending_events", c.usedEvents, "pending_bytes", c.usedBytes)
	}
}

// release gives room back. It is called with c.mu held.
func (c *Client) release(events int, bytes int64) {
	c.usedEvents -= events
	c.usedBytes -= bytes
	c.grant()
}

func errClosed() error {
	return incident.Errorf(incident.KindUnavailable, "audit.Record", "%w: the event was not recorded", ErrClosed)
}
