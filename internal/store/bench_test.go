package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/pgtest"
	"kubernaut.ai/kubernaut/internal/store/storetest"
)

// durablePostgres syncs every commit to the disk, as SQLite does here: what is measured is what an
// answered write costs.
var durablePostgres = pgtest.Server{Durable: true}

func eachDurableDatabase(b *testing.B, run func(b *testing.B, s *Store)) {
	b.Run("sqlite", func(b *testing.B) { run(b, openTest(b, sqliteOptions(b))) })
	b.Run("postgres", func(b *testing.B) {
		run(b, openTest(b, Options{Driver: Postgres, DSN: durablePostgres.Database(b)}))
	})
}

// benchEvents are n events of the size and kind that the controller writes, 7 to an analysis.
func benchEvents(n int) []incident.AuditEvent {
	events := make([]incident.AuditEvent, n)
	correlation := ""
	for i := range events {
		if i%7 == 0 {
			correlation = "rr-" + uuid.NewString()
		}
		duration := int64(i)
		events[i] = incident.AuditEvent{
			ID: uuid.Must(uuid.NewV7()).String(), Version: "1.0", Type: "aianalysis.analysis.completed", Timestamp: time.Now(),
			Category: "analysis", Action: "analysis_completed", Outcome: incident.OutcomeSuccess, CorrelationID: correlation,
			ActorType: "service", ActorID: "aianalysis-controller", ResourceType: "AIAnalysis",
			ResourceID: "kubernaut-system/" + correlation, Namespace: "kubernaut-system", Severity: "info", DurationMS: &duration,
			Data: json.RawMessage(`{"phase":"Completed","approval_required":true,"approval_reason":"Production environment requires approval",` +
				`"degraded_mode":false,"warnings_count":2,"confidence":0.92,"workflow_id":"9b1f4c1e-2f0f-4a57-8f5e-1f7a3c1f0b11","target_in_owner_chain":true}`),
		}
	}
	return events
}

// BenchmarkBatches writes batches of 1000 events, each in a transaction that is durable when it
// ends. "insert" is the bare multi-row insert of rows made before; "unchained" makes the rows from
// events, without chain, idempotence and heads; "chained" is AppendEvents.
func BenchmarkBatches(b *testing.B) {
	const size = 1000
	insert := func(b *testing.B, s *Store, rows eventColumns) {
		err := s.write(b.Context(), "bench", func(tx *sql.Tx) error {
			return s.insertEvents(b.Context(), tx, len(rows.id), rows.columns()...)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	unchained := func(b *testing.B, s *Store, events []incident.AuditEvent) eventColumns {
		pending, err := prepareEvents(events, s.clock())
		if err != nil {
			b.Fatal(err)
		}
		rows := newEventColumns(len(pending))
		for i, p := range pending {
			canonical, _ := p.link(int64(i), "", s.clock())
			rows.add(incident.StoredEvent{AuditEvent: p.AuditEvent, Sequence: int64(i)}, canonical)
		}
		return rows
	}
	measure := func(b *testing.B, write func(events []incident.AuditEvent) func()) {
		n := 0
		var cpu time.Duration
		for b.Loop() {
			b.StopTimer()
			run := write(benchEvents(size))
			start := cpuTime(b)
			b.StartTimer()
			run()
			cpu += cpuTime(b) - start
			n += size
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		b.ReportMetric(float64(cpu.Microseconds())/float64(n), "cpu-µs/event")
	}
	eachDurableDatabase(b, func(b *testing.B, s *Store) {
		b.Run("insert", func(b *testing.B) {
			measure(b, func(events []incident.AuditEvent) func() {
				rows := unchained(b, s, events)
				return func() { insert(b, s, rows) }
			})
		})
		b.Run("unchained", func(b *testing.B) {
			measure(b, func(events []incident.AuditEvent) func() {
				return func() { insert(b, s, unchained(b, s, events)) }
			})
		})
		b.Run("chained", func(b *testing.B) {
			measure(b, func(events []incident.AuditEvent) func() {
				return func() {
					if _, err := s.AppendEvents(b.Context(), events); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	})
}

// cpuTime is what this process has used; the PostgreSQL server is another.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSingles writes chained events one by one from 32 goroutines.
func BenchmarkSingles(b *testing.B) {
	eachDurableDatabase(b, func(b *testing.B, s *Store) {
		events := make(chan incident.AuditEvent, 1)
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		go func() {
			for {
				for _, e := range benchEvents(700) {
					select {
					case events <- e:
					case <-ctx.Done():
						return
					}
				}
			}
		}()
		b.SetParallelism(16)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.AppendEvents(ctx, []incident.AuditEvent{<-events}); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

// BenchmarkReads queries one chain among 100 000 events, and searches among 5000 workflows of 20
// signal types. A search includes the write of its audit event.
func BenchmarkReads(b *testing.B) {
	eachDurableDatabase(b, func(b *testing.B, s *Store) {
		var correlation string
		for range 20 {
			events := benchEvents(5000)
			correlation = events[3500].CorrelationID
			if _, err := s.AppendEvents(b.Context(), events); err != nil {
				b.Fatal(err)
			}
		}
		fillCatalog(b, s, 5000)
		b.Run("query", func(b *testing.B) {
			for b.Loop() {
				page, err := s.Events(b.Context(), incident.EventQuery{CorrelationID: correlation})
				if err != nil || len(page.Events) != 7 {
					b.Fatal(len(page.Events), err)
				}
			}
		})
		b.Run("verify", func(b *testing.B) {
			for b.Loop() {
				if r, err := s.VerifyChain(b.Context(), correlation); err != nil || !r.Valid {
					b.Fatal(r, err)
				}
			}
		})
		q := storetest.Query()
		q.Labels.SignalType, q.TopK = "Signal7", 3
		q.DetectedLabels = incident.WorkflowTraits{GitOpsManaged: true, Stateful: true}
		q.CustomLabels = map[string][]string{incident.LabelCauses: {"cause-1"}}
		b.Run("search", func(b *testing.B) {
			for b.Loop() {
				if r, err := s.SearchWorkflows(b.Context(), q); err != nil || len(r.Matches) != 3 {
					b.Fatal(r, err)
				}
			}
		})
		b.Run("search-without-audit", func(b *testing.B) {
			for b.Loop() {
				err := s.read(b.Context(), "bench", func(tx *sql.Tx) error {
					found, err := findCandidates(b.Context(), tx, q)
					if err != nil {
						return err
					}
					_, err = s.loadMatches(b.Context(), tx, found[:3])
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

func fillCatalog(b *testing.B, s *Store, n int) {
	b.Helper()
	err := s.write(b.Context(), "bench", func(tx *sql.Tx) error {
		for i := range n {
			w := storetest.Workflow(fmt.Sprintf("workflow-%d", i), "1.0.0")
			w.ID = WorkflowID(w.Name, w.Version)
			w.Labels.SignalType = fmt.Sprintf("Signal%d", i%20)
			w.Labels.Severity = []string{"critical", "high", incident.Wildcard}[i%3]
			w.DetectedLabels = incident.WorkflowTraits{GitOpsManaged: i%2 == 0, Stateful: i%5 == 0}
			w.CustomLabels = map[string][]string{incident.LabelCauses: {fmt.Sprintf("cause-%d", i%10)}}
			if err := insertWorkflow(b.Context(), tx, w); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(b.Context(), `UPDATE workflows SET is_latest = 1`)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}
