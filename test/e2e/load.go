package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Load is how audit events are written while a system is disturbed. All of its numbers must be positive.
type Load struct {
	// Chains is how many audit trails are written, each of a remediation of its own.
	Chains int
	// Writers write at the same time, each one request after the other: every third a single event, the
	// others batches that touch several trails.
	Writers int
	// Every is the pace of one writer.
	Every time.Duration
	// Most bounds the events of all writers. A load that has written them writes no more.
	Most int
	// Patience is how long a writer waits for an answer before it sends the same request again.
	Patience time.Duration
	// GiveUp makes writers behave like clients that die: of the requests that failed once, one in so many
	// is not sent again. With 0 every request is sent until it is acknowledged.
	GiveUp int
}

// Writing is a load under way.
type Writing struct {
	system *System
	load   Load
	chains []string

	abort   context.CancelFunc
	stop    chan struct{}
	stopped sync.Once
	writers sync.WaitGroup

	mu           sync.Mutex
	requests     []*writeRequest
	events       int // that were made
	acknowledged int // events
	failed       int // requests that failed once and were not counted by GiveUp yet
	last         time.Time
	tally        Tally
	fault        error
}

// Tally is what a load met.
type Tally struct {
	Requests, Events int
	// Failures counts the answers that were no acknowledgement, by what they were.
	Failures map[string]int
	// GivenUp is how many requests ended without an acknowledgement.
	GivenUp int
	// Gap is the longest time in which nothing was acknowledged.
	Gap time.Duration
}

// String is the tally in a line.
func (t Tally) String() string {
	kinds := make([]string, 0, len(t.Failures))
	for kind, n := range t.Failures {
		kinds = append(kinds, fmt.Sprintf("%d× %s", n, kind))
	}
	slices.Sort(kinds)
	return fmt.Sprintf("%d events in %d requests; %d requests given up; longest time without an acknowledgement %v; failed attempts: [%s]",
		t.Events, t.Requests, t.GivenUp, t.Gap.Round(time.Millisecond), strings.Join(kinds, ", "))
}

// wireEvent is an event as it is sent.
type wireEvent struct {
	ID            string         `json:"event_id"`
	Version       string         `json:"version"`
	Type          string         `json:"event_type"`
	Timestamp     time.Time      `json:"event_timestamp"`
	Category      string         `json:"event_category"`
	Action        string         `json:"event_action"`
	Outcome       string         `json:"event_outcome"`
	CorrelationID string         `json:"correlation_id"`
	ParentID      string         `json:"parent_event_id,omitempty"`
	Severity      string         `json:"severity,omitempty"`
	DurationMS    *int64         `json:"duration_ms,omitempty"`
	Data          map[string]any `json:"event_data"`
}

// writeRequest is one request, which is the unit of all or nothing.
type writeRequest struct {
	writer       int
	single       bool
	events       []wireEvent
	acknowledged bool
}

// answerOf is what an acknowledgement says, of either form.
type answerOf struct {
	ID  string   `json:"event_id"`
	IDs []string `json:"event_ids"`
}

// StartWriting begins to write. Nothing is written after ctx has ended; Stop ends it in order.
func (s *System) StartWriting(ctx context.Context, l Load) *Writing {
	ctx, abort := context.WithCancel(ctx)
	w := &Writing{
		system: s, load: l, abort: abort, stop: make(chan struct{}), last: time.Now(),
		tally: Tally{Failures: make(map[string]int)},
	}
	for range l.Chains {
		w.chains = append(w.chains, "e2e-load-"+uuid.NewString())
	}
	for n := range l.Writers {
		w.writers.Go(func() { w.write(ctx, n) })
	}
	return w
}

// Progress waits until so many more events have been acknowledged. It fails when the load has met what no
// load should, or has come to its bound.
func (w *Writing) Progress(ctx context.Context, events int) error {
	from, _ := w.state()
	var fault error
	err := Until(ctx, fmt.Sprintf("%d more events acknowledged", events), func(context.Context) string {
		var now int
		if now, fault = w.state(); now >= from+events || fault != nil {
			return ""
		}
		return fmt.Sprintf("%d were; %s", now-from, w.Tally())
	})
	return errors.Join(fault, err)
}

// state is how many events are acknowledged, and what should not have been.
func (w *Writing) state() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault == nil && w.events >= w.load.Most {
		return w.acknowledged, fmt.Errorf("the load has come to its bound of %d events", w.load.Most)
	}
	return w.acknowledged, w.fault
}

// Tally is what the load has met so far.
func (w *Writing) Tally() Tally {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.tally
	t.Failures = maps.Clone(w.tally.Failures)
	return t
}

// Stop begins no more requests, waits until those begun are acknowledged or given up, and returns what was
// written. It fails when ctx ends first, or when the load has met what no load should.
func (w *Writing) Stop(ctx context.Context) (*Ledger, error) {
	w.stopped.Do(func() { close(w.stop) })
	done := make(chan struct{})
	go func() { w.writers.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		w.abort()
		<-done
		return nil, fmt.Errorf("the last requests were not acknowledged: %w; %s", context.Cause(ctx), w.Tally())
	}
	w.abort()
	w.mu.Lock()
	defer w.mu.Unlock()
	return &Ledger{chains: w.chains, requests: w.requests}, w.fault
}

// write is one writer.
func (w *Writing) write(ctx context.Context, writer int) {
	pace := time.NewTicker(w.load.Every)
	defer pace.Stop()
	parent := "" // the last event that is known to be stored
	for n := 0; ; n++ {
		select {
		case <-pace.C:
		case <-w.stop:
			return
		case <-ctx.Done():
			return
		}
		r := w.compose(writer, n, parent)
		if r == nil || !w.deliver(ctx, r) {
			return
		}
		if r.acknowledged {
			parent = r.events[len(r.events)-1].ID
		}
	}
}

// compose makes a writer's n-th request; nil when the bound is reached.
func (w *Writing) compose(writer, n int, parent string) *writeRequest {
	const batches, largest = 3, 12
	r := &writeRequest{writer: writer, single: n%batches == 0}
	size := 1
	if !r.single {
		size = 2 + (writer+n)%largest
	}
	for k := range size {
		chain := w.chains[(writer+n+k/2)%len(w.chains)]
		e := wireEvent{
			ID: uuid.NewString(), Version: "1.0", Type: "e2e.load", Timestamp: time.Now().UTC(), Category: "analysis",
			Action: "write", Outcome: []string{"success", "failure", "pending"}[k%3], CorrelationID: chain,
			Data: map[string]any{"writer": writer, "request": n, "event": k, "text": "größer als \"nichts\" \u2028 & <mehr>", "share": 0.1 * float64(k)},
		}
		if k%2 == 1 {
			e.Severity, e.DurationMS = "critical", new(int64(n))
		}
		if r.single {
			e.ParentID = parent
		}
		r.events = append(r.events, e)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.events+size > w.load.Most {
		w.events = w.load.Most
		return nil
	}
	w.events += size
	w.requests = append(w.requests, r)
	return r
}

// deliver sends a request until it is acknowledged or given up. It returns false when the writer must end.
func (w *Writing) deliver(ctx context.Context, r *writeRequest) bool {
	for attempt := 1; ; attempt++ {
		failure, fault := w.system.writeOnce(ctx, r, w.load.Patience)
		switch {
		case fault != nil:
			w.broken(fault)
			return false
		case failure == "":
			w.acknowledge(r)
			return true
		case ctx.Err() != nil:
			return false
		case w.giveUp(failure, attempt == 1):
			return true
		}
		if pause(ctx) != nil {
			return false
		}
	}
}

func (w *Writing) broken(fault error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = errors.Join(w.fault, fault)
}

func (w *Writing) acknowledge(r *writeRequest) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	r.acknowledged = true
	w.acknowledged += len(r.events)
	w.tally.Requests++
	w.tally.Events += len(r.events)
	w.tally.Gap = max(w.tally.Gap, now.Sub(w.last))
	w.last = now
}

// giveUp notes a failed attempt and decides whether it was the last.
func (w *Writing) giveUp(failure string, first bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tally.Failures[failure]++
	if !first || w.load.GiveUp == 0 {
		return false
	}
	w.failed++
	if w.failed%w.load.GiveUp != 0 {
		return false
	}
	w.tally.GivenUp++
	return true
}

// writeOnce sends a request once. failure says why it is not acknowledged and worth another try; fault is what
// no load should meet: a refusal, or an acknowledgement of something else.
func (s *System) writeOnce(ctx context.Context, r *writeRequest, patience time.Duration) (failure string, fault error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	path, body := "/api/v1/audit/events/batch", any(r.events)
	if r.single {
		path, body = "/api/v1/audit/events", r.events[0]
	}
	a, err := s.Send(ctx, http.MethodPost, s.DataStorage+path, body, nil)
	switch {
	case err != nil:
		return kindOfFailure(err), nil
	case a.Status == http.StatusTooManyRequests || a.Status >= http.StatusInternalServerError:
		return fmt.Sprintf("status %d", a.Status), nil
	case a.Status != http.StatusCreated:
		return "", fmt.Errorf("a write was refused: %s", a)
	}
	var got answerOf
	if err := a.JSON(&got); err != nil {
		return "", fmt.Errorf("an acknowledgement cannot be read: %w", err)
	}
	if r.single {
		got.IDs = []string{got.ID}
	}
	want := make([]string, len(r.events))
	for i, e := range r.events {
		want[i] = e.ID
	}
	if !slices.Equal(got.IDs, want) {
		return "", fmt.Errorf("events %v were sent and %v acknowledged", want, got.IDs)
	}
	return "", nil
}

// kindOfFailure is a failed call in a few words, without addresses, so that equal ones count together.
func kindOfFailure(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	text := err.Error()
	return strings.TrimSpace(text[strings.LastIndex(text, ": ")+1:])
}
