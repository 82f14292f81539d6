package audit

import (
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// rejectedName is the file of the events that the store refused, one JSON object a line.
const rejectedName = "rejected.jsonl"

// maxRetryAfter bounds how long the store can tell the client to wait.
const maxRetryAfter = 5 * time.Minute

// rejectionLogInterval is the least time between two log lines about rejected events.
const rejectionLogInterval = 10 * time.Second

// delivery is the state of the delivering goroutine.
type delivery struct {
	*Client
	items []item                // taken from the spool and not settled, in order
	lost  tally                 // records that should follow items and could not be read
	batch []incident.AuditEvent // the first of items, decoded
	// parts are the numbers of events, last first, into which batch is divided for sending.
	parts []int
	limit int // events in the next batch

	failures     int // since the last success
	attempt      int // what the backoff goes by: failures, but begun anew when the client closes
	failingSince time.Time
	hurry        <-chan struct{} // Client.closing, until it was noticed
	storeFailing bool            // said in the log

	rejections int // since the last log line about them
	rejectedAt time.Time
}

// deliver writes events to the sink until the client closes and none is left, or ctx ends.
func (c *Client) deliver(ctx context.Context) {
	d := &delivery{Client: c, limit: c.opts.BatchEvents, hurry: c.closing}
	for d.fill(ctx) {
		d.send(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for c.waiters.Len() > 0 {
		close(heap.Pop(&c.waiters).(*waiter).done)
	}
	close(c.delivered)
}

// fill waits until there is a batch. It returns false when there will be none.
func (d *delivery) fill(ctx context.Context) bool {
	for len(d.batch) == 0 && ctx.Err() == nil {
		if len(d.items) == 0 && !d.await(ctx) {
			return false
		}
		if len(d.items) == 0 {
			var err error
			if d.items, d.lost, err = d.spool.take(); err != nil {
				d.failed(ctx, diskError("audit.deliver", err))
				continue
			}
			if len(d.items) == 0 { // all that is left could not be read
				d.settle(0)
				continue
			}
		}
		d.decode(ctx)
	}
	return ctx.Err() == nil
}

// await waits for undelivered events, and then for company, unless somebody waits for them.
func (d *delivery) await(ctx context.Context) bool {
	for {
		pending, urgent := d.state()
		if pending > 0 {
			if pending < d.limit && !urgent {
				d.linger(ctx)
			}
			return ctx.Err() == nil
		}
		select {
		case <-d.deliverKick:
		case <-d.closing: // no more events are recorded after this
			if pending, _ := d.state(); pending == 0 {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

func (d *delivery) linger(ctx context.Context) {
	timer := time.NewTimer(d.opts.Linger)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-d.deliverKick:
			if pending, urgent := d.state(); urgent || pending >= d.limit {
				return
			}
		case <-d.closing:
			return
		case <-ctx.Done():
			return
		}
	}
}

// state returns how many events are undelivered, and whether somebody waits for one.
func (d *delivery) state() (pending int, urgent bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.durable - d.acked, d.waiters.Len() > 0
}

// decode makes a batch of the first items. An item that is no event is set aside.
func (d *delivery) decode(ctx context.Context) {
	var size int64
	for _, it := range d.items[:min(len(d.items), d.limit)] {
		size += it.tally().bytes
		if len(d.batch) > 0 && size > d.opts.BatchBytes {
			break
		}
		e, err := decodeEvent(it.payload)
		if err != nil {
			if len(d.batch) == 0 {
				d.reject(ctx, incident.Errorf(incident.KindMalformed, "audit.deliver", "the record is no event: %w", err))
				return
			}
			break
		}
		d.batch = append(d.batch, e)
	}
	d.parts = append(d.parts[:0], len(d.batch))
	d.mu.Lock()
	d.oldest = d.batch[0].Timestamp
	d.mu.Unlock()
}

// send writes the next part of the batch.
func (d *delivery) send(ctx context.Context) {
	n := d.parts[len(d.parts)-1]
	err := d.write(ctx, d.batch[:n])
	switch kind := incident.KindOf(err); {
	case err == nil:
		d.recovered()
		d.metrics.written.Add(float64(n))
		if n >= d.limit {
			d.limit = min(2*d.limit, d.opts.BatchEvents)
		}
		d.settle(n)
	case blamesEvents(kind) && n == 1:
		d.recovered() // the store answers
		d.reject(ctx, err)
	case blamesEvents(kind):
		d.recovered()
		d.split(n)
	case kind == incident.KindTimeout && n > 1:
		// It may have been too much at once.
		d.split(n)
		d.limit = max(n/2, 1)
		d.failed(ctx, err)
	default:
		d.failed(ctx, err)
	}
}

// blamesEvents reports whether an error of this kind is about the events, so that trying the same
// again is of no use.
func blamesEvents(kind incident.ErrorKind) bool {
	return kind == incident.KindInvalid || kind == incident.KindTooLarge || kind == incident.KindConflict
}

func (d *delivery) write(ctx context.Context, events []incident.AuditEvent) error {
	ctx, cancel := context.WithTimeout(ctx, d.opts.WriteTimeout)
	defer cancel()
	start := d.opts.Clock()
	err := d.opts.Sink.WriteEvents(ctx, events)
	d.metrics.writeDuration.Observe(d.opts.Clock().Sub(start).Seconds())
	if err != nil {
		d.metrics.batchesFailed.Inc()
	}
	return err
}

// split divides the next part, of n events, into two.
func (d *delivery) split(n int) {
	d.parts[len(d.parts)-1] = n - n/2
	d.parts = append(d.parts, n/2)
}

// settle takes the first n items as done: it tells those who wait, and stores the new position. With
// the last item it also counts the lost events that follow it.
func (d *delivery) settle(n int) {
	done, batch := d.items[:n], d.batch[:min(n, len(d.batch))]
	d.items, d.batch = d.items[n:], d.batch[len(batch):]
	if len(d.parts) > 0 {
		d.parts = d.parts[:len(d.parts)-1]
	}
	var freed tally
	for _, it := range done {
		freed.add(it.tally())
	}
	if len(d.items) == 0 {
		d.items, d.batch = nil, nil // and with them the segment's bytes
		if d.lost.records > 0 {
			d.metrics.dropped.Add(float64(d.lost.records))
			d.log.Error("audit spool is damaged: recorded events are lost", "lost_events", d.lost.records)
		}
		freed.add(d.lost)
		d.lost = tally{}
	}
	d.acknowledge(batch, freed)
	if n > 0 {
		d.store(done[n-1].end)
	}
}

// acknowledge makes known that so many events are done, of which batch are the first.
func (d *delivery) acknowledge(batch []incident.AuditEvent, freed tally) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, e := range batch {
		if d.trails[e.CorrelationID] == d.acked+i+1 {
			delete(d.trails, e.CorrelationID)
		}
	}
	d.acked += freed.records
	if d.acked == d.durable {
		clear(d.trails) // of what was lost
	}
	d.oldest = time.Time{}
	if len(d.batch) > 0 {
		d.oldest = d.batch[0].Timestamp
	}
	for d.waiters.Len() > 0 && d.waiters[0].seq <= d.acked {
		close(heap.Pop(&d.waiters).(*waiter).done)
	}
	d.release(freed.records, freed.bytes)
}

// store stores the delivered position. Without it events are delivered again after a restart, which is
// no reason to stop.
func (d *delivery) store(p position) {
	err := d.spool.deliveredTo(p)
	if err != nil && !d.storeFailing {
		d.log.Warn("audit spool: cannot store the delivered position", "error", err)
	}
	d.storeFailing = err != nil
}

// reject sets the first item aside, for the given reason.
func (d *delivery) reject(ctx context.Context, reason error) {
	kind := incident.KindOf(reason)
	if err := d.setAside(d.items[0].payload, kind, reason); err != nil {
		d.failed(ctx, diskError("audit.deliver", fmt.Errorf("set a rejected event aside in %s: %w", rejectedName, err)))
		return
	}
	d.metrics.rejected.WithLabelValues(string(kind)).Inc()
	d.tellRejection(kind, reason)
	if len(d.batch) > 0 && kind != incident.KindConflict { // with a conflict, the store holds the event
		d.mu.Lock()
		d.rejected.add(d.batch[0].CorrelationID)
		d.mu.Unlock()
	}
	d.settle(1)
}

// tellRejection logs that the first item was set aside, with those for which that was not said yet.
func (d *delivery) tellRejection(kind incident.ErrorKind, reason error) {
	d.rejections++
	now := d.opts.Clock()
	if !d.rejectedAt.IsZero() && now.Sub(d.rejectedAt) < rejectionLogInterval {
		return
	}
	attrs := []any{"events", d.rejections, "file", rejectedName, "kind", kind, "error", reason}
	if len(d.batch) > 0 {
		e := &d.batch[0]
		attrs = append(attrs, "event_id", e.ID, "event_type", e.Type, "correlation_id", e.CorrelationID)
	}
	d.rejections, d.rejectedAt = 0, now
	if kind == incident.KindConflict {
		d.log.Info("audit events were told twice; the first telling stands", attrs...)
		return
	}
	d.log.Error("audit events rejected by the store", attrs...)
}

// setAside appends a record to the file of rejected events.
func (d *delivery) setAside(payload []byte, kind incident.ErrorKind, reason error) error {
	line := struct {
		At     time.Time          `json:"rejected_at"`
		Kind   incident.ErrorKind `json:"kind"`
		Reason string             `json:"reason"`
		Event  json.RawMessage    `json:"event,omitempty"`
		Record []byte             `json:"record,omitempty"` // what is no JSON, in base64
	}{At: d.opts.Clock().UTC(), Kind: kind, Reason: errorText(reason)}
	if json.Valid(payload) {
		line.Event = payload
	} else {
		line.Record = payload
	}
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	err = d.spool.disk.extend(rejectedName, append(text, '\n'), d.opts.MaxRejectedBytes)
	if errors.Is(err, errOverBound) {
		return fmt.Errorf("%w of %d bytes; look at what is in it, then move it away", err, d.opts.MaxRejectedBytes)
	}
	return err
}

// recovered notes that the store answered.
func (d *delivery) recovered() {
	if d.failures == 0 {
		return
	}
	d.log.Info("audit delivery works again", "failed_attempts", d.failures,
		"outage", d.opts.Clock().Sub(d.failingSince), "pending_events", d.Pending())
	d.failures, d.attempt = 0, 0
	d.mu.Lock()
	d.failure = nil
	d.mu.Unlock()
}

// failed notes a failure that will be tried again, and waits before that.
func (d *delivery) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // it is Close that made the attempt fail
	}
	d.failures++
	d.attempt++
	d.mu.Lock()
	d.failure = err
	d.mu.Unlock()
	if d.failures == 1 {
		d.failingSince = d.opts.Clock()
		d.log.Warn("audit delivery fails; events wait in the spool", "error", err, "pending_events", d.Pending())
	}
	var retryAfter time.Duration
	if known, ok := errors.AsType[*incident.Error](err); ok {
		retryAfter = min(max(known.RetryAfter, 0), maxRetryAfter)
	}
	d.pause(ctx, max(retryAfter, d.backoff()), retryAfter)
}

// backoff returns how long to wait after so many failures: exponential, with jitter over the upper
// half.
func (d *delivery) backoff() time.Duration {
	full := d.opts.MaxBackoff
	if shift := d.attempt - 1; shift < 30 && d.opts.MinBackoff<<shift>>shift == d.opts.MinBackoff {
		full = min(full, d.opts.MinBackoff<<shift)
	}
	return full/2 + rand.N(full/2+1)
}

// pause waits for the given time, less when somebody waits for delivery, and least when the client
// closes. It never waits less than the store asked for, but for a first attempt at closing.
func (d *delivery) pause(ctx context.Context, wait, retryAfter time.Duration) {
	start := time.Now()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		if _, urgent := d.state(); urgent {
			timer.Reset(max(min(wait, max(urgentBackoff, retryAfter))-time.Since(start), 0))
		}
		select {
		case <-timer.C:
			return
		case <-d.deliverKick:
		case <-d.hurry:
			d.hurry, d.attempt = nil, 0
			return
		case <-ctx.Done():
			return
		}
	}
}
