package audit

import (
	"context"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"kubernaut.ai/kubernaut/internal/dsapi"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/store"
)

// nullSink accepts everything.
type nullSink struct{ events atomic.Int64 }

func (s *nullSink) WriteEvents(_ context.Context, events []incident.AuditEvent) error {
	s.events.Add(int64(len(events)))
	return nil
}

func benchEvent(i int) incident.AuditEvent {
	return New(Subject{
		Actor: ActorController, ResourceType: "AIAnalysis", ResourceID: "ai-checkout", Namespace: "shop",
		CorrelationID: "rem-" + fmt.Sprint(i%1000), Key: fmt.Sprint(i),
	}, testTime, AnalysisCompleted{
		Phase: "Completed", ApprovalRequired: true, ApprovalReason: "Production environments need a person's approval", WarningsCount: 1,
		Confidence: new(0.93), WorkflowID: "7d2c7c2e-6a0b-4c3e-9a54-1a0f3f4f2b11", Attempts: 1,
		PolicyHash:   "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		BundleDigest: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
	})
}

func benchEvents(n int) []incident.AuditEvent {
	events := make([]incident.AuditEvent, n)
	for i := range events {
		events[i] = benchEvent(i)
	}
	return events
}

// BenchmarkRecord measures recording with a real sync, by so many goroutines at once. Delivery to a
// sink that takes no time goes on beside it.
func BenchmarkRecord(b *testing.B) {
	events := benchEvents(1000)
	for _, goroutines := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			c := openTest(b, Options{Sink: &nullSink{}})
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			var wg sync.WaitGroup
			for range goroutines {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						if err := c.Record(background, events[i%1000]); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			mustFlush(b, c)
		})
	}
}

// BenchmarkDeliver measures delivery alone: taking from the spool, decoding, keeping the position.
func BenchmarkDeliver(b *testing.B) {
	events := benchEvents(1000)
	sink := &nullSink{}
	gate := make(chan struct{})
	c := openTest(b, Options{Sink: gatedSink{sink, gate}, MaxEvents: b.N + 1, MaxBytes: 1 << 40})
	for left := b.N; left > 0; left -= 1000 {
		mustRecord(b, c, events[:min(left, 1000)]...)
	}
	b.ReportAllocs()
	b.ResetTimer()
	close(gate)
	if err := c.Flush(background); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkDeliverToStore measures delivery through the protocol of Data Storage into SQLite, with its
// hash chain.
func BenchmarkDeliverToStore(b *testing.B) {
	s, err := store.Open(background, store.Options{Driver: store.SQLite, Path: filepath.Join(b.TempDir(), "store.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	api, err := dsapi.NewServer(dsapi.Options{Store: s})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(api)
	defer server.Close()
	client, err := dsapi.NewClient(server.URL, server.Client())
	if err != nil {
		b.Fatal(err)
	}
	gate := make(chan struct{})
	c := openTest(b, Options{Sink: gatedSink{client, gate}, MaxEvents: b.N + 1, MaxBytes: 1 << 40})
	events := benchEvents(b.N)
	for rest := range slices.Chunk(events, 1000) {
		mustRecord(b, c, rest...)
	}
	b.ReportAllocs()
	b.ResetTimer()
	close(gate)
	if err := c.Flush(background); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// gatedSink waits for the gate before its first write.
type gatedSink struct {
	Sink
	gate <-chan struct{}
}

func (s gatedSink) WriteEvents(ctx context.Context, events []incident.AuditEvent) error {
	select {
	case <-s.gate:
	case <-ctx.Done():
		return incident.Errorf(incident.KindTimeout, "write", "%w", ctx.Err())
	}
	return s.Sink.WriteEvents(ctx, events)
}

// BenchmarkRecordDelivered measures the way of a final status: record its events, and wait until the
// store has them.
func BenchmarkRecordDelivered(b *testing.B) {
	for _, goroutines := range []int{1, 256} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			c := openTest(b, Options{Sink: &nullSink{}})
			events := benchEvents(1000)
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			var wg sync.WaitGroup
			for range goroutines {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						e := events[i%1000]
						if c.Record(background, e) != nil || c.Delivered(background, e.CorrelationID) != nil {
							b.Error("failed")
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for i := range b.N {
		benchEvent(i)
	}
}
