package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/incident"
)

var background = context.Background()

func TestRecordDeliversTheEventAsItWas(t *testing.T) {
	sink := &memorySink{}
	c := openTest(t, Options{Sink: sink})
	full := incident.AuditEvent{
		ID: EventID("full"), Version: "1.0", Type: "t", Timestamp: testTime, Category: "analysis", Action: "a",
		Outcome: incident.OutcomePending, CorrelationID: "rem-1", ActorType: "user", ActorID: "u", ResourceType: "R",
		ResourceID: "r", ParentID: EventID("parent"), Namespace: "ns", ClusterName: "c", Severity: "warning",
		DurationMS: new(int64(0)), Data: json.RawMessage(`{"html":"<a&b>","n":12345678901234567890,"t":"ä€😀"}`),
	}
	mustRecord(t, c, full)
	if err := c.Delivered(background, "rem-1"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full, sink.events[full.ID]); diff != "" {
		t.Errorf("stored event (-recorded +stored):\n%s", diff)
	}
	if n := c.Pending(); n != 0 {
		t.Errorf("%d events pending, want 0", n)
	}
}

func TestRecordFillsDefaultsAndBounds(t *testing.T) {
	sink := &memorySink{}
	c := openTest(t, Options{Sink: sink})
	long := strings.Repeat("é", 400)
	e := testEvent(long, 1)
	e.ID, e.ActorID, e.Severity, e.ResourceID = "", "", "", "nul\x00 and \xff"
	mustRecord(t, c, e)
	if err := c.Delivered(background, long); err != nil {
		t.Fatal(err)
	}
	got := sink.events[sink.ids()[0]]
	if !incident.ValidUUID(got.ID) || got.ActorID != "analysis-service" || got.Severity != "info" {
		t.Errorf("id %q, actor %q, severity %q", got.ID, got.ActorID, got.Severity)
	}
	if got.ResourceID != "nul\uFFFD and \uFFFD" {
		t.Errorf("resource id %q", got.ResourceID)
	}
	if n := len([]rune(got.CorrelationID)); n != incident.MaxCorrelationID || !strings.HasPrefix(got.CorrelationID, "éé") {
		t.Errorf("correlation id of %d characters: %q", n, got.CorrelationID)
	}
	if boundID(long, 255) == boundID(long+"x", 255) {
		t.Error("two long ids became one")
	}
}

func TestRecordRefusesWhatTheStoreWould(t *testing.T) {
	c := openTest(t, Options{Sink: &memorySink{}})
	for _, tt := range []struct {
		name string
		mod  func(*incident.AuditEvent)
		want string
	}{
		{"no correlation id", func(e *incident.AuditEvent) { e.CorrelationID = "" }, "correlation_id"},
		{"long type", func(e *incident.AuditEvent) { e.Type = strings.Repeat("x", 101) }, "event_type"},
		{"long action", func(e *incident.AuditEvent) { e.Action = strings.Repeat("x", 51) }, "event_action"},
		{"id is no UUID", func(e *incident.AuditEvent) { e.ID = "7" }, "event_id"},
		{"no time", func(e *incident.AuditEvent) { e.Timestamp = time.Time{} }, "event_timestamp"},
		{"other category", func(e *incident.AuditEvent) { e.Category = "gossip" }, "event_category"},
		{"other outcome", func(e *incident.AuditEvent) { e.Outcome = "maybe" }, "event_outcome"},
		{"data is a list", func(e *incident.AuditEvent) { e.Data = json.RawMessage(`[]`) }, "event_data"},
		{"data is broken", func(e *incident.AuditEvent) { e.Data = json.RawMessage(`{"a":`) }, "event_data"},
		{"broken data is long", func(e *incident.AuditEvent) {
			e.Data = json.RawMessage(`{"a":"` + strings.Repeat("x", maxData))
		}, "event_data"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			good, bad := testEvent("rem", 1), testEvent("rem", 2)
			tt.mod(&bad)
			err := c.RecordAll(background, good, bad)
			wantKind(t, err, incident.KindInvalid, nil)
			if err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not name %q", err, tt.want)
			}
			if n := c.Pending(); n != 0 {
				t.Errorf("%d events recorded, want none", n)
			}
		})
	}
}

// A sync is paid once for all the events that wait for it.
func TestRecordSharesSyncs(t *testing.T) {
	d := newMemoryDisk()
	var syncs atomic.Int32
	proceed := make(chan struct{})
	d.failWith(func(op, _ string) error {
		if op == "sync" {
			syncs.Add(1)
			<-proceed
		}
		return nil
	})
	synctest.Test(t, func(t *testing.T) {
		proceed = make(chan struct{})
		c := openMemory(t, d, Options{Sink: &memorySink{}})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { mustRecord(t, c, testEvents("rem", 10*i, 10*i+10)...) })
		}
		synctest.Wait() // one is in sync, all others wait
		if n := syncs.Load(); n != 1 {
			t.Errorf("%d syncs have begun, want 1", n)
		}
		close(proceed)
		wg.Wait()
		if n := syncs.Load(); n != 2 {
			t.Errorf("%d syncs for 100 calls at once, want 2", n)
		}
	})
}

func TestRecordWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memorySink{fail: func(context.Context, []incident.AuditEvent) error { return errDown }}
		c := openMemory(t, newMemoryDisk(), Options{Sink: sink, MaxEvents: 3})
		mustRecord(t, c, testEvents("rem", 0, 3)...)

		ctx, cancel := context.WithTimeout(background, time.Minute)
		defer cancel()
		err := c.Record(ctx, testEvent("rem", 3))
		wantKind(t, err, incident.KindUnavailable, ErrFull)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("error %q does not say why the spool is full", err)
		}

		done := make(chan error, 2)
		go func() { done <- c.RecordAll(background, testEvents("rem", 4, 6)...) }()
		synctest.Wait()
		go func() { done <- c.Record(background, testEvent("rem", 6)) }()
		synctest.Wait()
		if len(done) != 0 {
			t.Fatal("recorded more than the spool may hold")
		}
		sink.set(func(s *memorySink) { s.fail = nil })
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		mustFlush(t, c)
		want := ids(slices.Concat(testEvents("rem", 0, 3), testEvents("rem", 4, 7)))
		got := sink.ids()
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
	})
}

// A large request is not starved by small ones that came later, and does not hold them up when it
// gives up.
func TestRoomIsGivenInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memorySink{fail: func(context.Context, []incident.AuditEvent) error { return errDown }}
		c := openMemory(t, newMemoryDisk(), Options{Sink: sink, MaxEvents: 4})
		mustRecord(t, c, testEvents("rem", 0, 2)...)
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		large, small := make(chan error, 1), make(chan error, 1)
		go func() { large <- c.RecordAll(ctx, testEvents("rem", 2, 5)...) }()
		synctest.Wait()
		go func() { small <- c.Record(background, testEvent("rem", 9)) }()
		synctest.Wait()
		if len(small) != 0 {
			t.Error("the later request overtook")
		}
		wantKind(t, <-large, incident.KindUnavailable, ErrFull)
		if err := <-small; err != nil {
			t.Error(err)
		}
	})
}

func TestRecordAllLargerThanTheSpool(t *testing.T) {
	c := openTest(t, Options{Sink: &memorySink{}, MaxEvents: 3})
	wantKind(t, c.RecordAll(background, testEvents("rem", 0, 4)...), incident.KindTooLarge, nil)
	if err := c.RecordAll(background); err != nil {
		t.Errorf("no events: %v", err)
	}
}

func TestRecordWithAnEndedContext(t *testing.T) {
	c := openTest(t, Options{Sink: &memorySink{}})
	ctx, cancel := context.WithCancel(background)
	cancel()
	wantKind(t, c.Record(ctx, testEvent("rem", 1)), incident.KindTimeout, context.Canceled)
	if n := c.Pending(); n != 0 {
		t.Errorf("%d events recorded, want none", n)
	}
}

func TestDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		sink := &memorySink{fail: func(context.Context, []incident.AuditEvent) error { <-release; return nil }}
		c := openMemory(t, newMemoryDisk(), Options{Sink: sink, BatchEvents: 1})
		mustRecord(t, c, testEvent("a", 0), testEvent("b", 0), testEvent("a", 1))

		if err := c.Delivered(background, "unknown"); err != nil {
			t.Errorf("no events: %v", err)
		}
		done := map[string]chan error{"a": make(chan error, 1), "b": make(chan error, 1)}
		for trail, ch := range done {
			go func() { ch <- c.Delivered(background, trail) }()
		}
		synctest.Wait()
		mustRecord(t, c, testEvent("b", 1)) // after the call: not waited for
		release <- struct{}{}
		synctest.Wait()
		if len(done["a"])+len(done["b"]) != 0 {
			t.Error("delivered before the events were")
		}
		release <- struct{}{}
		if err := <-done["b"]; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if len(done["a"]) != 0 {
			t.Error("a is delivered before its last event is")
		}
		release <- struct{}{}
		if err := <-done["a"]; err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		if _, ok := c.trails["a"]; ok || len(c.trails) != 1 {
			t.Errorf("trails %v are remembered, want only b, which has an undelivered event", c.trails)
		}
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		err := c.Delivered(ctx, "b")
		wantKind(t, err, incident.KindTimeout, context.DeadlineExceeded)
		close(release)
		mustFlush(t, c)
		if len(c.trails) != 0 || c.waiters.Len() != 0 {
			t.Errorf("%d trails and %d waiters are left", len(c.trails), c.waiters.Len())
		}
	})
}

func TestDeliveredToThousandsOfWaiters(t *testing.T) {
	const n = 5000
	sink := &memorySink{}
	c := openTest(t, Options{Sink: sink})
	var failed atomic.Int32
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			trail := fmt.Sprint("rem-", i)
			if c.Record(background, testEvent(trail, 0)) != nil || c.Delivered(background, trail) != nil {
				failed.Add(1)
			}
			sink.mu.Lock()
			defer sink.mu.Unlock()
			if _, ok := sink.events[testEvent(trail, 0).ID]; !ok {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	if failed.Load() != 0 {
		t.Errorf("%d of %d were told that their event is stored when it was not", failed.Load(), n)
	}
	if len(c.trails) != 0 || c.waiters.Len() != 0 {
		t.Errorf("%d trails and %d waiters are left", len(c.trails), c.waiters.Len())
	}
}

func TestRejectionsAreBounded(t *testing.T) {
	var r rejections
	for i := range 3 * maxRejections {
		r.add(fmt.Sprint(i))
		r.add(fmt.Sprint(i))
	}
	if len(r.count) != maxRejections || len(r.order) != maxRejections {
		t.Errorf("%d counts and %d in order, want %d", len(r.count), len(r.order), maxRejections)
	}
	if last := fmt.Sprint(3*maxRejections - 1); r.count[last] != 2 {
		t.Errorf("the last has count %d, want 2", r.count[last])
	}
}

func TestCloseFlushes(t *testing.T) {
	sink := &memorySink{}
	c := openTest(t, Options{Sink: sink, Linger: time.Hour})
	mustRecord(t, c, testEvents("rem", 0, 10)...)
	if err := c.Close(background); err != nil {
		t.Fatal(err)
	}
	if n := len(sink.ids()); n != 10 {
		t.Errorf("%d events stored, want 10", n)
	}
	wantKind(t, c.Record(background, testEvent("rem", 11)), incident.KindUnavailable, ErrClosed)
	if err := errors.Join(c.Flush(background), c.Delivered(background, "rem"), c.Close(background)); err != nil {
		t.Errorf("after closing: %v", err)
	}
}

// With the store away, Close ends with its context, is no error, and the next process delivers.
func TestCloseKeepsWhatItCannotDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemoryDisk()
		sink := &memorySink{fail: func(context.Context, []incident.AuditEvent) error { return errDown }}
		c := openMemory(t, d, Options{Sink: sink, MaxEvents: 10})
		mustRecord(t, c, testEvents("rem", 0, 10)...)
		blocked, waiting := make(chan error, 1), make(chan error, 1)
		go func() { blocked <- c.Record(background, testEvent("rem", 99)) }()
		go func() { waiting <- c.Delivered(background, "rem") }()
		synctest.Wait()

		ctx, cancel := context.WithTimeout(background, 5*time.Second)
		defer cancel()
		start := time.Now()
		if err := c.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("close took %v, want its 5 s", took)
		}
		wantKind(t, <-blocked, incident.KindUnavailable, ErrClosed)
		wantKind(t, <-waiting, incident.KindUnavailable, ErrClosed)
		wantKind(t, c.Flush(background), incident.KindUnavailable, ErrClosed)
		if !d.released {
			t.Error("the directory is still taken")
		}

		sink.set(func(s *memorySink) { s.fail = nil })
		c = openMemory(t, d, Options{Sink: sink})
		if n := c.Pending(); n != 10 {
			t.Errorf("%d events pending after the restart, want 10", n)
		}
		if err := c.Delivered(background, "rem"); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(ids(testEvents("rem", 0, 10)), sink.ids()); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
	})
}

// Whoever was told nil has the event in the store or in the spool, whenever Close came.
func TestRecordDuringClose(t *testing.T) {
	d := newMemoryDisk()
	sink := &memorySink{}
	for round := range 20 {
		c := openMemory(t, d, Options{Sink: sink, MaxEvents: 8})
		var mu sync.Mutex
		var recorded []string
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					e := testEvent(fmt.Sprint(round, "/", g), i)
					err := c.Record(background, e)
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil {
						t.Errorf("record: %v", err)
						return
					}
					mu.Lock()
					recorded = append(recorded, e.ID)
					mu.Unlock()
				}
			})
		}
		for len(sink.ids()) < 100*(round+1) {
			mustFlush(t, c)
		}
		closeNow(t, c)
		wg.Wait()
		c = openMemory(t, d, Options{Sink: sink})
		mustFlush(t, c)
		for _, id := range recorded {
			if _, ok := sink.events[id]; !ok {
				t.Fatalf("round %d: event %s was recorded and is lost", round, id)
			}
		}
		closeNow(t, c)
	}
}

func TestRestartDoesNotDeliverAgain(t *testing.T) {
	dir, sink := t.TempDir(), &memorySink{}
	c := openTest(t, Options{Dir: dir, Sink: sink})
	mustRecord(t, c, testEvents("rem", 0, 10)...)
	if err := c.Close(background); err != nil {
		t.Fatal(err)
	}
	before := len(sink.sizes())
	c = openTest(t, Options{Dir: dir, Sink: sink})
	mustRecord(t, c, testEvent("rem", 10))
	mustFlush(t, c)
	if got := sink.sizes()[before:]; !slices.Equal(got, []int{1}) {
		t.Errorf("batches after the restart: %v, want one of 1", got)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := Open(Options{MaxEvents: -1, MaxBackoff: time.Millisecond})
	wantKind(t, err, incident.KindInvalid, nil)
	for _, want := range []string{"Dir", "Sink", "Service", "MaxEvents", "MaxBackoff"} {
		if err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %s", err, want)
		}
	}
}
