package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/incident"
)

func failing(err error) func(context.Context, []incident.AuditEvent) error {
	return func(context.Context, []incident.AuditEvent) error { return err }
}

func (s *memorySink) gaps() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []time.Duration
	for i := 1; i < len(s.at); i++ {
		out = append(out, s.at[i].Sub(s.at[i-1]))
	}
	return out
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memorySink{fail: failing(errDown)}
		c := openMemory(t, newMemoryDisk(), Options{Sink: sink})
		mustRecord(t, c, testEvent("rem", 0))
		time.Sleep(10 * time.Minute)
		gaps := sink.gaps()
		if len(gaps) < 20 {
			t.Fatalf("%d attempts in 10 minutes, want at least 21", len(gaps)+1)
		}
		for i, gap := range gaps {
			full := min(100*time.Millisecond<<min(i, 20), 30*time.Second)
			if gap < full/2 || gap > full {
				t.Errorf("pause %d: %v, want from %v to %v", i, gap, full/2, full)
			}
		}
		if slices.Max(gaps) == slices.Min(gaps[9:]) {
			t.Error("no jitter")
		}
	})
}

func TestBackoffHonoursTheStore(t *testing.T) {
	for _, tt := range []struct {
		name     string
		asked    time.Duration
		least    time.Duration
		most     time.Duration
		somebody bool // waits for delivery
	}{
		{name: "longer than the backoff", asked: 20 * time.Second, least: 20 * time.Second, most: 20 * time.Second},
		{name: "although somebody waits", asked: 20 * time.Second, least: 20 * time.Second, most: 20 * time.Second, somebody: true},
		{name: "beyond reason", asked: 24 * time.Hour, least: maxRetryAfter, most: maxRetryAfter},
		{name: "negative", asked: -time.Hour, least: 50 * time.Millisecond, most: 100 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := incident.Errorf(incident.KindRateLimited, "write", "slow down")
				err.RetryAfter = tt.asked
				sink := &memorySink{fail: failing(err)}
				c := openMemory(t, newMemoryDisk(), Options{Sink: sink})
				mustRecord(t, c, testEvent("rem", 0))
				if tt.somebody {
					ctx, cancel := context.WithCancel(background)
					defer cancel()
					go func() { _ = c.Delivered(ctx, "rem") }()
				}
				for len(sink.sizes()) < 2 {
					time.Sleep(time.Millisecond)
					synctest.Wait()
				}
				if gap := sink.gaps()[0]; gap < tt.least || gap > tt.most {
					t.Errorf("pause of %v, want from %v to %v", gap, tt.least, tt.most)
				}
			})
		})
	}
}

// While somebody waits for delivery, an outage is noticed to be over within about a second.
func TestBackoffIsShortWhileSomebodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memorySink{fail: failing(errDown)}
		c := openMemory(t, newMemoryDisk(), Options{Sink: sink})
		mustRecord(t, c, testEvent("rem", 0))
		time.Sleep(5*time.Minute + 10*time.Millisecond)
		sink.set(func(s *memorySink) { s.fail = nil })
		start := time.Now()
		if err := c.Delivered(background, "rem"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > urgentBackoff {
			t.Errorf("delivered %v after the end of the outage, want at most %v", took, urgentBackoff)
		}
	})
}

func TestCloseTriesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memorySink{fail: failing(errDown)}
		c := openMemory(t, newMemoryDisk(), Options{Sink: sink})
		mustRecord(t, c, testEvent("rem", 0))
		time.Sleep(5*time.Minute + 10*time.Millisecond)
		sink.set(func(s *memorySink) { s.fail = nil })
		start := time.Now()
		if err := c.Close(background); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 0 || len(sink.ids()) != 1 {
			t.Errorf("closed after %v with %d events stored, want at once with 1", took, len(sink.ids()))
		}
	})
}

func TestLinger(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events int
		wait   bool
		want   time.Duration
	}{
		{name: "nobody waits", events: 1, want: 5 * time.Millisecond},
		{name: "somebody waits", events: 1, wait: true, want: 0},
		{name: "a batch is full", events: 10, want: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := &memorySink{}
				c := openMemory(t, newMemoryDisk(), Options{Sink: sink, BatchEvents: 10})
				start := time.Now()
				mustRecord(t, c, testEvents("rem", 0, tt.events)...)
				if tt.wait {
					if err := c.Delivered(background, "rem"); err != nil {
						t.Fatal(err)
					}
				}
				for len(sink.sizes()) == 0 {
					time.Sleep(time.Millisecond)
					synctest.Wait()
				}
				if got := sink.at[0].Sub(start); got != tt.want {
					t.Errorf("written after %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestBatchesAreBounded(t *testing.T) {
	text := strings.Repeat("x", 1000)
	var events []incident.AuditEvent
	for i := range 100 {
		e := testEvent("rem", i)
		e.Data = json.RawMessage(fmt.Sprintf(`{"text":%q}`, text))
		events = append(events, e)
	}
	payload, err := encodeEvent(events[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		opts Options
		want []int
	}{
		{"by events", Options{BatchEvents: 40}, []int{40, 40, 20}},
		{"by bytes", Options{BatchBytes: 30*frameSize(len(payload)) + 200}, []int{30, 30, 30, 10}},
		{"never below one", Options{BatchBytes: 1, BatchEvents: 3}, slices.Repeat([]int{1}, 100)},
		{"never over segments", Options{SegmentBytes: frameSize(len(payload))}, []int{100}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.opts.Sink = &memorySink{}
			c := openTest(t, tt.opts)
			mustRecord(t, c, events...)
			mustFlush(t, c)
			if diff := cmp.Diff(tt.want, tt.opts.Sink.(*memorySink).sizes()); diff != "" {
				t.Errorf("batches (-want +got):\n%s", diff)
			}
		})
	}
}

func rejectedEvents(t *testing.T, d *memoryDisk) (ids []string, lines []map[string]any) {
	t.Helper()
	text, err := d.read(rejectedName)
	if err != nil {
		return nil, nil
	}
	for line := range bytes.Lines(text) {
		var l map[string]any
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		lines = append(lines, l)
		e, _ := l["event"].(map[string]any)
		if id, ok := e["event_id"].(string); ok {
			ids = append(ids, id)
		}
	}
	return ids, lines
}

// However many bad events are where in a batch: they are set aside, all others are stored, in order.
func TestBadEventsDoNotBlockOthers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		bad    []int
		kind   incident.ErrorKind
		writes int // the most
	}{
		{"none", nil, incident.KindInvalid, 1},
		{"first", []int{0}, incident.KindInvalid, 20},
		{"last", []int{99}, incident.KindTooLarge, 20},
		{"three", []int{17, 18, 80}, incident.KindInvalid, 50},
		{"conflict", []int{50}, incident.KindConflict, 20},
		{"all", indices(100), incident.KindInvalid, 199},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				events := testEvents("good", 0, 100)
				var bad, good []string
				for i := range events {
					if slices.Contains(tt.bad, i) {
						events[i].CorrelationID = "bad"
						bad = append(bad, events[i].ID)
					} else {
						good = append(good, events[i].ID)
					}
				}
				sink := &memorySink{refuse: func(e incident.AuditEvent) error {
					if e.CorrelationID == "bad" {
						return incident.Errorf(tt.kind, "write", "it is bad")
					}
					return nil
				}}
				d := newMemoryDisk()
				start := time.Now()
				c := openMemory(t, d, Options{Sink: sink})
				mustRecord(t, c, events...)
				if err := c.Delivered(background, "good"); err != nil {
					t.Errorf("good events: %v", err)
				}
				err := c.Delivered(background, "bad")
				if len(bad) > 0 && tt.kind != incident.KindConflict {
					wantKind(t, err, incident.KindInvalid, ErrRejected)
				} else if err != nil {
					t.Errorf("got %v, want none: the store has an event of that id", err)
				}
				mustFlush(t, c)
				if diff := cmp.Diff(good, sink.ids()); diff != "" {
					t.Errorf("stored (-want +got):\n%s", diff)
				}
				got, lines := rejectedEvents(t, d)
				if diff := cmp.Diff(bad, got); diff != "" {
					t.Errorf("set aside (-want +got):\n%s", diff)
				}
				for _, l := range lines {
					if l["kind"] != string(tt.kind) || !strings.Contains(l["reason"].(string), "it is bad") {
						t.Errorf("line %v does not say why", l)
					}
				}
				if n := len(sink.sizes()); n > tt.writes {
					t.Errorf("%d writes, want at most %d", n, tt.writes)
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("it took %v of waiting", took)
				}
				if c.Pending() != 0 || c.usedBytes != 0 || c.usedEvents != 0 {
					t.Errorf("pending %d, used %d events and %d bytes, want none", c.Pending(), c.usedEvents, c.usedBytes)
				}
			})
		})
	}
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// An outage in the middle of a bisection does not make it begin anew or lose its place.
func TestBisectionSurvivesOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := testEvent("rem", 37)
		n := 0
		sink := &memorySink{
			refuse: func(e incident.AuditEvent) error {
				if e.ID == bad.ID {
					return incident.Errorf(incident.KindInvalid, "write", "bad")
				}
				return nil
			},
			fail: func(context.Context, []incident.AuditEvent) error {
				if n++; n%3 != 0 {
					return errDown
				}
				return nil
			},
		}
		d := newMemoryDisk()
		c := openMemory(t, d, Options{Sink: sink})
		mustRecord(t, c, testEvents("rem", 0, 100)...)
		mustFlush(t, c)
		want := ids(slices.Delete(testEvents("rem", 0, 100), 37, 38))
		if diff := cmp.Diff(want, sink.ids()); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
		if got, _ := rejectedEvents(t, d); !slices.Equal(got, []string{bad.ID}) {
			t.Errorf("set aside %v, want the bad one", got)
		}
	})
}

// A store that takes long for large batches gets small ones, and large ones again when it can.
func TestBatchesShrinkWhenTheStoreIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := true
		sink := &memorySink{fail: func(ctx context.Context, events []incident.AuditEvent) error {
			if slow && len(events) > 10 {
				<-ctx.Done()
				return incident.Errorf(incident.KindTimeout, "write", "%w", ctx.Err())
			}
			slow = slow && len(events) > 10
			return nil
		}}
		c := openMemory(t, newMemoryDisk(), Options{Sink: sink, BatchEvents: 64})
		mustRecord(t, c, testEvents("rem", 0, 640)...)
		if err := c.Flush(background); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(ids(testEvents("rem", 0, 640)), sink.ids()); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
		sizes := sink.sizes()
		if !slices.Equal(sizes[:4], []int{64, 32, 16, 8}) || sizes[len(sizes)-2] != 64 {
			t.Errorf("batches %v, want them halved down to 8, and back at 64 in the end", sizes)
		}
	})
}

// When the file of rejected events is full, delivery waits until somebody moved it away: better late
// than lost.
func TestRejectedFileHasABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memorySink{refuse: func(e incident.AuditEvent) error {
			if e.CorrelationID == "bad" {
				return incident.Errorf(incident.KindInvalid, "write", "bad")
			}
			return nil
		}}
		d := newMemoryDisk()
		c := openMemory(t, d, Options{Sink: sink, MaxRejectedBytes: 1500})
		mustRecord(t, c, testEvents("bad", 0, 3)...)
		mustRecord(t, c, testEvent("good", 0))
		ctx, cancel := context.WithTimeout(background, time.Minute)
		defer cancel()
		err := c.Delivered(ctx, "good")
		wantKind(t, err, incident.KindTimeout, errOverBound)
		first, _ := rejectedEvents(t, d)
		if len(first) == 0 || len(first) == 3 {
			t.Fatalf("%d events set aside, want some and not all", len(first))
		}
		d.mu.Lock()
		delete(d.files, rejectedName)
		d.mu.Unlock()
		if err := c.Delivered(background, "good"); err != nil {
			t.Fatal(err)
		}
		rest, _ := rejectedEvents(t, d)
		if diff := cmp.Diff(ids(testEvents("bad", 0, 3)), slices.Concat(first, rest)); diff != "" {
			t.Errorf("set aside (-want +got):\n%s", diff)
		}
	})
}

// A record that is whole but no event, as another version may write, is set aside as it is.
func TestUndecodableRecordIsSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemoryDisk()
		sp := fillSpool(t, d)
		for _, payload := range []string{`{"event_id":7}`, "no json"} {
			good, err := encodeEvent(testEvent("rem", len(payload)))
			if err != nil {
				t.Fatal(err)
			}
			if err := sp.append(framesOf(string(good), payload), 2); err != nil {
				t.Fatal(err)
			}
		}
		sink := &memorySink{}
		c := openMemory(t, d, Options{Sink: sink})
		mustFlush(t, c)
		if n := len(sink.ids()); n != 2 {
			t.Errorf("%d events stored, want 2", n)
		}
		_, lines := rejectedEvents(t, d)
		if len(lines) != 2 || lines[0]["event"].(map[string]any)["event_id"] != 7.0 || lines[1]["record"] != "bm8ganNvbg==" {
			t.Errorf("set aside %v", lines)
		}
		if len(c.trails) != 0 {
			t.Errorf("%d trails are left", len(c.trails))
		}
	})
}

// What the disk forgets is counted, and nobody waits for it for ever.
func TestForgottenEventsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemoryDisk()
		sink := &memorySink{fail: failing(errDown)}
		c := openMemory(t, d, Options{Sink: sink, SegmentBytes: 1, MaxBackoff: time.Minute})
		mustRecord(t, c, testEvent("first", 0))
		synctest.Wait()
		for i := range 10 {
			mustRecord(t, c, testEvent("rem", i))
		}
		d.mu.Lock()
		delete(d.files, segmentName(3))
		d.files[segmentName(5)].data[50] ^= 1
		d.mu.Unlock()
		sink.set(func(s *memorySink) { s.fail = nil })
		if err := c.Delivered(background, "rem"); err != nil {
			t.Fatal(err)
		}
		if n := len(sink.ids()); n != 9 {
			t.Errorf("%d events stored, want 9 of 11", n)
		}
		if got := counter(t, c.metrics.dropped); got != 2 {
			t.Errorf("%v events counted as dropped, want 2", got)
		}
		if c.Pending() != 0 || c.usedBytes != 0 || c.usedEvents != 0 || len(c.trails) != 0 {
			t.Errorf("pending %d, used %d events and %d bytes, %d trails, want none", c.Pending(), c.usedEvents, c.usedBytes, len(c.trails))
		}
	})
}
