package audit

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"kubernaut.ai/kubernaut/internal/incident"
)

func counter(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// gather returns the value of every metric of the service, with the kind of a rejection behind a
// slash. Of a histogram it is the count.
func gather(t *testing.T, reg *prometheus.Registry, service string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name, of := f.GetName(), ""
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "service":
					of = l.GetValue()
				case "kind":
					name += "/" + l.GetValue()
				}
			}
			if of == service {
				out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return out
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		sink := &memorySink{fail: failing(errDown), refuse: func(e incident.AuditEvent) error {
			if e.CorrelationID == "bad" {
				return incident.Errorf(incident.KindInvalid, "write", "bad")
			}
			return nil
		}}
		d := newMemoryDisk()
		c := openMemory(t, d, Options{Sink: sink, Registerer: reg, MaxEvents: 10, Clock: func() time.Time {
			return testTime.Add(90 * time.Second)
		}})
		mustRecord(t, c, testEvents("good", 0, 4)...)
		mustRecord(t, c, testEvent("bad", 0))
		time.Sleep(10 * time.Millisecond) // past the linger: one attempt was made
		synctest.Wait()
		want := map[string]float64{
			"audit_events_buffered_total":           5,
			"audit_events_adopted_total":            0,
			"audit_events_dropped_total":            0,
			"audit_events_written_total":            0,
			"audit_events_rejected_total/Invalid":   0,
			"audit_events_rejected_total/TooLarge":  0,
			"audit_events_rejected_total/Conflict":  0,
			"audit_events_rejected_total/Malformed": 0,
			"audit_batches_failed_total":            1,
			"audit_buffer_size":                     5,
			"audit_buffer_capacity":                 10,
			"audit_buffer_utilization_ratio":        0.5,
			"audit_write_duration_seconds":          1,
			"audit_spool_bytes":                     float64(c.spool.bytes()),
			"audit_spool_damaged_bytes_total":       0,
			"audit_oldest_pending_seconds":          90,
		}
		if diff := cmp.Diff(want, gather(t, reg, "test")); diff != "" {
			t.Errorf("while the store is away (-want +got):\n%s", diff)
		}
		sink.set(func(s *memorySink) { s.fail = nil })
		mustFlush(t, c)
		maps.Copy(want, map[string]float64{
			"audit_events_written_total":          4,
			"audit_events_rejected_total/Invalid": 1,
			"audit_buffer_size":                   0,
			"audit_buffer_utilization_ratio":      0,
			"audit_oldest_pending_seconds":        0,
		})
		got := gather(t, reg, "test")
		for _, name := range []string{"audit_batches_failed_total", "audit_write_duration_seconds"} {
			if got[name] <= want[name] {
				t.Errorf("%s is %v, want more than %v", name, got[name], want[name])
			}
			delete(got, name)
			delete(want, name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("afterwards (-want +got):\n%s", diff)
		}
	})
}

func TestTwoServicesShareARegistry(t *testing.T) {
	reg := prometheus.NewRegistry()
	open := func(service, dir string) (*Client, error) {
		return Open(Options{Dir: dir, Sink: &memorySink{}, Service: service, Registerer: reg})
	}
	a, err := open("a", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, a)
	b, err := open("b", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, err = open("b", dir)
	wantKind(t, err, incident.KindConflict, nil)

	closeNow(t, b)
	if b, err = open("b", dir); err != nil {
		t.Fatalf("after the first of the name was closed: %v", err)
	}
	defer closeNow(t, b)
	if len(gather(t, reg, "a")) == 0 || len(gather(t, reg, "b")) == 0 {
		t.Error("metrics of a or b are missing")
	}
}

// The log tells of changes, not of events.
func TestLogTellsOfChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		sink := &memorySink{fail: failing(errDown)}
		d := newMemoryDisk()
		opts := Options{Sink: sink, MaxEvents: 100, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		c := openMemory(t, d, opts)
		expect := func(want ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for line := range strings.Lines(log.String()) {
				_, message, _ := strings.Cut(line, "msg=\"")
				message, _, _ = strings.Cut(message, `"`)
				got = append(got, message)
			}
			log.Reset()
			if !slices.Equal(got, want) {
				t.Errorf("got log %q, want %q", got, want)
			}
		}
		expect()
		for i := range 100 {
			mustRecord(t, c, testEvent("rem", i))
		}
		time.Sleep(time.Hour)
		expect("audit delivery fails; events wait in the spool")
		for range 3 {
			ctx, cancel := context.WithTimeout(background, time.Second)
			wantKind(t, c.Record(ctx, testEvent("more", 0)), incident.KindUnavailable, ErrFull)
			cancel()
		}
		expect("audit spool is full: recording waits for delivery")
		sink.set(func(s *memorySink) { s.fail = nil })
		mustFlush(t, c)
		expect("audit delivery works again", "audit spool has room again")

		sink.set(func(s *memorySink) { s.fail = failing(errDown) })
		mustRecord(t, c, testEvent("last", 0))
		time.Sleep(time.Minute)
		expect("audit delivery fails; events wait in the spool")
		closeNow(t, c)
		expect("audit events stay in the spool for the next start")
		sink.set(func(s *memorySink) { s.fail = nil })
		mustFlush(t, openMemory(t, d, opts))
		expect("audit spool resumed")
	})
}
