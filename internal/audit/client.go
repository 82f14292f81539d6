package audit

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubernaut.ai/kubernaut/internal/incident"
)

// What callers may test an error for with errors.Is, beside its incident.ErrorKind.
var (
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("the audit client is closed")
	// ErrFull: the spool holds as many undelivered events as it may.
	ErrFull = errors.New("the audit spool is full")
	// ErrDiskFull: the volume under the spool has no room.
	ErrDiskFull = errors.New("no room on the volume of the audit spool")
	// ErrRejected: the store refused an event for its content; it is in rejected.jsonl.
	ErrRejected = errors.New("the store refused an audit event")
)

// Sink is where events go. WriteEvents stores all of the events or none, is idempotent by event id,
// and returns soon after ctx ends. Its errors carry an incident.ErrorKind: KindInvalid, KindTooLarge
// and KindConflict blame the events, every other kind is worth another try.
type Sink interface {
	WriteEvents(ctx context.Context, events []incident.AuditEvent) error
}

// Options of a Client. Dir, Sink and Service are required; every other zero value means the default.
type Options struct {
	Dir     string // of the spools of all processes; created with mode 0700 when missing
	Sink    Sink
	Service string // value of the metrics' label "service"

	Logger     *slog.Logger          // default: none
	Registerer prometheus.Registerer // default: metrics are not registered
	Clock      func() time.Time      // default: time.Now; for ages and durations, not for waiting

	MaxEvents        int           // undelivered events of this process, adopted ones included; default 100,000
	MaxBytes         int64         // undelivered bytes of all processes; default 256 MiB. Segments on disk exceed it by at most two for each
	SegmentBytes     int64         // of one file; default 4 MiB
	MaxRejectedBytes int64         // of rejected.jsonl; default 64 MiB
	BatchEvents      int           // events in one write; default 500
	BatchBytes       int64         // bytes in one write; default 1 MiB
	Linger           time.Duration // how long a batch waits for company when nobody waits for it; default 5 ms
	WriteTimeout     time.Duration // of one write; default 30 s
	MinBackoff       time.Duration // after the first failure; default 100 ms
	MaxBackoff       time.Duration // after many; default 30 s
	LookInterval     time.Duration // between looks at the spools of other processes; default 5 s
}

// urgentBackoff is the longest pause between attempts while somebody waits for delivery.
const urgentBackoff = time.Second

func (o Options) withDefaults() (Options, error) {
	var faults []error
	need := func(ok bool, what string) {
		if !ok {
			faults = append(faults, errors.New(what))
		}
	}
	need(o.Dir != "", "Dir is empty")
	need(o.Sink != nil, "Sink is nil")
	need(o.Service != "", "Service is empty")
	fill(&o.MaxEvents, 100_000)
	fill(&o.MaxBytes, 256<<20)
	fill(&o.SegmentBytes, 4<<20)
	fill(&o.MaxRejectedBytes, 64<<20)
	fill(&o.BatchEvents, 500)
	fill(&o.BatchBytes, 1<<20)
	fill(&o.Linger, 5*time.Millisecond)
	fill(&o.WriteTimeout, 30*time.Second)
	fill(&o.MinBackoff, 100*time.Millisecond)
	fill(&o.MaxBackoff, 30*time.Second)
	// Less than a lease: who takes over from a leader that crashed has adopted its events before.
	fill(&o.LookInterval, 5*time.Second)
	need(o.MaxEvents > 0, "MaxEvents is negative")
	need(o.MaxBytes >= frameSize(maxFrame), fmt.Sprintf("MaxBytes is below %d", frameSize(maxFrame)))
	need(o.SegmentBytes > 0, "SegmentBytes is negative")
	need(o.MaxRejectedBytes > 0, "MaxRejectedBytes is negative")
	need(o.BatchEvents > 0, "BatchEvents is negative")
	need(o.BatchBytes > 0, "BatchBytes is negative")
	need(o.Linger > 0, "Linger is negative")
	need(o.WriteTimeout > 0, "WriteTimeout is negative")
	need(o.MinBackoff > 0, "MinBackoff is negative")
	need(o.MaxBackoff >= o.MinBackoff, "MaxBackoff is below MinBackoff")
	need(o.LookInterval > 0, "LookInterval is negative")
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if len(faults) > 0 {
		return o, incident.Errorf(incident.KindInvalid, "audit.Open", "options: %w", errors.Join(faults...))
	}
	return o, nil
}

func fill[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Client records events durably and delivers them. It is safe for concurrent use.
type Client struct {
	opts    Options
	log     *slog.Logger
	spool   *spool
	metrics *metrics

	commitKick  chan struct{} // there is a group to commit, or the client closes
	deliverKick chan struct{} // there are events to deliver, or somebody waits for delivery
	closing     chan struct{} // closed by Close
	committed   chan struct{} // closed when the committing goroutine has ended
	delivered   chan struct{} // closed when the delivering goroutine has ended
	abort       context.CancelFunc
	adoption    adoption

	closeOnce sync.Once
	closeErr  error

	// appending is held while records are added to the spool and published: in the same order.
	appending sync.Mutex

	mu       sync.Mutex
	group    *group         // events on their way to the disk; nil when there are none
	spare    []byte         // a buffer for the next group
	closed   bool           // no more events are taken
	stopped  bool           // no more events are delivered
	durable  int            // sequence number of the last event on disk
	acked    int            // sequence number of the last event that the sink is done with
	trails   map[string]int // sequence number of the last undelivered event of each correlation id
	rejected rejections
	waiters  waiters   // for delivery
	failure  error     // why the last write failed; nil after a success
	oldest   time.Time // of the first undelivered event; zero when not known

	// Room in the spool. What is used includes events on their way to the disk.
	usedEvents int
	usedBytes  int64
	others     int64     // undelivered bytes of other processes, when last looked at
	queue      list.List // of *roomRequest, first come, first served
	full       bool      // said in the log
}

// group is a set of events that one sync makes durable.
type group struct {
	frames []byte
	trails []string // correlation id of each event
	done   chan struct{}
	err    error // valid when done is closed
}

// Open begins to deliver what processes that are gone left in the directory, and goes on with that as
// long as the client is open. It fails when the directory cannot be written. What cannot be read of
// what others left is logged, kept, and tried again.
func Open(opts Options) (*Client, error) {
	const op = "audit.Open"
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	r, err := openRoot(opts.Dir)
	if err != nil {
		return nil, diskError(op, err)
	}
	gone, others, found := r.look("", true)
	own, left, err := r.own(opts, gone)
	if err != nil {
		for _, d := range gone {
			err = errors.Join(err, d.release())
		}
		return nil, diskError(op, err)
	}
	own.adoption.root = r
	own.spool.disk.(*directory).sign()
	own.looked(others, found)
	own.adopt(context.Background(), left)
	own.keepLooking()
	return own, nil
}

// open is Open on any disk. Opts are complete.
func open(opts Options, d disk) (*Client, error) {
	c := &Client{
		opts:        opts,
		log:         opts.Logger,
		commitKick:  make(chan struct{}, 1),
		deliverKick: make(chan struct{}, 1),
		closing:     make(chan struct{}),
		committed:   make(chan struct{}),
		delivered:   make(chan struct{}),
		trails:      make(map[string]int),
	}
	var undecodable int
	sp, found, err := openSpool(d, opts.SegmentBytes, func(payload []byte) {
		c.durable++
		e, err := decodeEvent(payload)
		if err != nil {
			undecodable++ // delivery will set it aside
			return
		}
		c.trails[e.CorrelationID] = c.durable
	})
	if err != nil {
		return nil, diskError("audit.Open", err)
	}
	c.spool = sp
	c.usedEvents, c.usedBytes = found.records, found.bytes
	if c.metrics, err = newMetrics(opts.Registerer, opts.Service, c.usage); err != nil {
		sp.retire()
		return nil, err
	}
	c.report("audit spool resumed", found, undecodable)

	ctx, cancel := context.WithCancel(context.Background())
	c.abort = cancel
	go c.commit()
	go c.deliver(ctx)
	return c, nil
}

// report tells what was found on a disk, and what for.
func (c *Client) report(what string, found recovery, undecodable int, attrs ...any) {
	if found.position != nil {
		c.log.Warn("audit spool: delivered position not usable", append(attrs, "error", found.position)...)
	}
	if found.damaged > 0 || undecodable > 0 {
		c.metrics.damagedBytes.Add(float64(found.damaged))
		c.log.Error("audit spool is damaged: records are lost",
			append(attrs, "damaged_bytes", found.damaged, "undecodable_events", undecodable)...)
	}
	if found.records > 0 || found.torn > 0 {
		c.metrics.adopted.Add(float64(found.records))
		c.log.Info(what, append(attrs, "pending_events", found.records, "pending_bytes", found.bytes,
			"torn_bytes", found.torn)...)
	}
}

// Record makes e durable: when it returns nil, e is on disk and will be delivered. It waits for room
// when the spool is full. A text of e that is longer than the store allows is cut, with a marker;
// an e that the store would refuse nevertheless fails with KindInvalid and is not recorded. An
// empty ID gets a fresh one.
func (c *Client) Record(ctx context.Context, e incident.AuditEvent) error {
	return c.RecordAll(ctx, e)
}

// RecordAll is Record for several events with one sync. When it returns nil all are durable; after an
// error that is not KindInvalid, ErrFull or ErrClosed, any first part of them may be.
func (c *Client) RecordAll(ctx context.Context, events ...incident.AuditEvent) error {
	const op = "audit.Record"
	if len(events) == 0 {
		return nil
	}
	var frames []byte
	trails := make([]string, len(events))
	now := c.opts.Clock()
	for i, e := range events {
		trail, payload, err := prepare(e, now)
		if err != nil {
			return err
		}
		trails[i] = trail
		frames = appendFrame(frames, payload)
	}
	if len(events) > c.opts.MaxEvents || int64(len(frames)) > c.opts.MaxBytes {
		return incident.Errorf(incident.KindTooLarge, op, "%d events of %d bytes at once are more than the spool holds",
			len(events), len(frames))
	}
	g, err := c.enqueue(ctx, frames, trails)
	if err != nil {
		return err
	}
	select {
	case <-g.done:
		return diskError(op, g.err)
	case <-ctx.Done():
		return incident.Errorf(incident.KindTimeout, op, "the disk did not confirm the event in time: %w", context.Cause(ctx))
	}
}

// enqueue waits for room and adds the frames to the group that is committed next.
func (c *Client) enqueue(ctx context.Context, frames []byte, trails []string) (*group, error) {
	const op = "audit.Record"
	if ctx.Err() != nil {
		return nil, incident.Errorf(incident.KindTimeout, op, "the event was not recorded: %w", context.Cause(ctx))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.reserve(ctx, len(trails), int64(len(frames))); err != nil {
		return nil, err
	}
	if c.group == nil {
		c.group = &group{frames: c.spare[:0], done: make(chan struct{})}
		c.spare = nil
		kick(c.commitKick)
	}
	c.group.frames = append(c.group.frames, frames...)
	c.group.trails = append(c.group.trails, trails...)
	return c.group, nil
}

// commit writes groups to the disk until the client is closed and none is left.
func (c *Client) commit() {
	defer close(c.committed)
	failing := false
	for {
		c.mu.Lock()
		g, closed := c.group, c.closed
		c.group = nil
		c.mu.Unlock()
		if g == nil {
			if closed {
				return
			}
			<-c.commitKick
			continue
		}
		c.appending.Lock()
		g.err = c.spool.append(g.frames, len(g.trails))
		switch {
		case g.err != nil && !failing:
			c.log.Error("audit spool cannot be written", "error", g.err)
		case g.err == nil && failing:
			c.log.Info("audit spool can be written again")
		}
		failing = g.err != nil
		c.publish(g)
		c.appending.Unlock()
	}
}

// publish makes the outcome of a commit known.
func (c *Client) publish(g *group) {
	c.mu.Lock()
	if g.err != nil {
		c.release(len(g.trails), int64(len(g.frames)))
	} else {
		for i, trail := range g.trails {
			c.trails[trail] = c.durable + i + 1
		}
		c.durable += len(g.trails)
		c.metrics.buffered.Add(float64(len(g.trails)))
	}
	if cap(g.frames) <= 1<<20 {
		c.spare = g.frames
	}
	g.frames = nil
	c.mu.Unlock()
	close(g.done)
	kick(c.deliverKick)
}

// kick wakes the goroutine that listens to ch, now or when it next listens.
func kick(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Close takes no more events, delivers what it can until ctx ends, and gives the directory up. What
// is not delivered by then stays in the spool for the next process: that is no error. Every later
// call of Record fails with ErrClosed, and so does every Record that waits for room. A call of Record
// whose event is on its way to the disk is finished first, whatever ctx says. Later calls of Close
// return what the first did.
func (c *Client) Close(ctx context.Context) error {
	c.closeOnce.Do(func() {
		c.mu.Lock()
		c.closed = true
		for c.queue.Len() > 0 {
			r := c.queue.Remove(c.queue.Front()).(*roomRequest)
			r.events, r.bytes = 0, 0
			close(r.ready)
		}
		c.mu.Unlock()
		kick(c.commitKick)
		<-c.committed
		c.adoption.end()
		close(c.closing)
		select {
		case <-c.delivered:
		case <-ctx.Done():
		}
		c.abort()
		<-c.delivered
		c.metrics.unregister()
		if n := c.Pending(); n > 0 {
			c.log.Warn("audit events stay in the spool for the next start", "pending_events", n, "error", c.failure)
		}
		c.spool.retire()
		if err := c.spool.disk.release(); err != nil {
			c.closeErr = diskError("audit.Close", err)
		}
	})
	return c.closeErr
}
