package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/store/storetest"
)

func contextThatEnds(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 20*time.Millisecond)
}

func TestEventsCannotBeChanged(t *testing.T) {
	eachDatabase(t, func(t *testing.T, options func(t testing.TB) Options) {
		s := openTest(t, options(t))
		if _, err := s.AppendEvents(t.Context(), []incident.AuditEvent{storetest.Event("rr-1", time.Now())}); err != nil {
			t.Fatal(err)
		}
		for _, statement := range []string{
			`UPDATE audit_events SET event_type = 'x'`, `UPDATE audit_events SET canonical = canonical`, `DELETE FROM audit_events`,
		} {
			if _, err := s.writes.ExecContext(t.Context(), statement); err == nil {
				t.Errorf("the database lets %q through", statement)
			}
		}
	})
}

// tampering is something that a person with access to the database could do to one chain.
type tampering struct {
	name string
	do   func(exec func(statement string, args ...any), at, other int)
}

var tamperings = []tampering{
	{"edit the text", func(exec func(string, ...any), at, _ int) {
		exec(`UPDATE audit_events SET canonical = replace(canonical, 'Pending', 'pending') WHERE correlation_id = 'rr' AND sequence = $1`, at)
	}},
	{"edit the text and its hash", func(exec func(string, ...any), at, _ int) {
		exec(`UPDATE audit_events SET canonical = '{}', hash = '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a' WHERE correlation_id = 'rr' AND sequence = $1`, at)
	}},
	{"edit the hash", func(exec func(string, ...any), at, _ int) {
		exec(`UPDATE audit_events SET hash = replace(hash, substr(hash, 1, 1), 'x') WHERE correlation_id = 'rr' AND sequence = $1`, at)
	}},
	{"edit a column", func(exec func(string, ...any), at, _ int) {
		exec(`UPDATE audit_events SET event_outcome = 'failure' WHERE correlation_id = 'rr' AND sequence = $1`, at)
	}},
	{"move the time", func(exec func(string, ...any), at, _ int) {
		exec(`UPDATE audit_events SET event_time = event_time + 1 WHERE correlation_id = 'rr' AND sequence = $1`, at)
	}},
	{"drop", func(exec func(string, ...any), at, _ int) {
		exec(`DELETE FROM audit_events WHERE correlation_id = 'rr' AND sequence = $1`, at)
	}},
	{"drop and close the hole", func(exec func(string, ...any), at, _ int) {
		exec(`DELETE FROM audit_events WHERE correlation_id = 'rr' AND sequence = $1`, at)
		exec(`UPDATE audit_events SET sequence = -sequence WHERE correlation_id = 'rr' AND sequence > $1`, at)
		exec(`UPDATE audit_events SET sequence = -sequence - 1 WHERE correlation_id = 'rr' AND sequence < 0`)
		exec(`UPDATE audit_chains SET sequence = sequence - 1 WHERE correlation_id = 'rr'`)
	}},
	{"move to another chain", func(exec func(string, ...any), at, _ int) {
		exec(`UPDATE audit_events SET correlation_id = 'elsewhere' WHERE correlation_id = 'rr' AND sequence = $1`, at)
	}},
	{"swap", func(exec func(string, ...any), at, other int) {
		exec(`UPDATE audit_events SET sequence = -1 WHERE correlation_id = 'rr' AND sequence = $1`, at)
		exec(`UPDATE audit_events SET sequence = $1 WHERE correlation_id = 'rr' AND sequence = $2`, at, other)
		exec(`UPDATE audit_events SET sequence = $1 WHERE correlation_id = 'rr' AND sequence = -1`, other)
	}},
	{"cut off the end", func(exec func(string, ...any), at, _ int) {
		exec(`DELETE FROM audit_events WHERE correlation_id = 'rr' AND sequence >= $1`, at)
	}},
	{"insert", func(exec func(string, ...any), at, _ int) {
		exec(`INSERT INTO audit_events SELECT 'forged', correlation_id, 1000, event_time, event_type, event_category, event_outcome, severity, hash, canonical FROM audit_events WHERE correlation_id = 'rr' AND sequence = $1`, at)
	}},
	{"forget the head", func(exec func(string, ...any), _, _ int) {
		exec(`DELETE FROM audit_chains WHERE correlation_id = 'rr'`)
	}},
	{"edit the head", func(exec func(string, ...any), _, _ int) {
		exec(`UPDATE audit_chains SET hash = 'x' WHERE correlation_id = 'rr'`)
	}},
}

// TestTamperingIsFound does each of these to random places of chains of random length.
func TestTamperingIsFound(t *testing.T) {
	eachDatabase(t, func(t *testing.T, options func(t testing.TB) Options) {
		s := openTest(t, options(t))
		for _, statement := range []string{
			`DROP TRIGGER audit_events_no_update`, `DROP TRIGGER audit_events_no_delete`,
			`DROP TRIGGER audit_events_no_change ON audit_events`,
		} {
			_, _ = s.writes.ExecContext(t.Context(), statement) // each database has some of them
		}
		rapid.Check(t, func(rt *rapid.T) {
			exec := func(statement string, args ...any) {
				if _, err := s.writes.ExecContext(t.Context(), statement, args...); err != nil {
					rt.Fatalf("%s: %v", statement, err)
				}
			}
			exec(`DELETE FROM audit_events`)
			exec(`DELETE FROM audit_chains`)
			n := rapid.IntRange(1, 12).Draw(rt, "length")
			events := make([]incident.AuditEvent, n)
			for i := range events {
				events[i] = storetest.Event("rr", time.Now())
			}
			if _, err := s.AppendEvents(t.Context(), events); err != nil {
				rt.Fatal(err)
			}
			if r, err := s.VerifyChain(t.Context(), "rr"); err != nil || !r.Valid {
				rt.Fatalf("before: %+v, %v", r, err)
			}
			how := rapid.SampledFrom(tamperings).Draw(rt, "tampering")
			at := rapid.IntRange(1, n).Draw(rt, "at")
			other := at%n + 1
			if how.name == "swap" && n == 1 {
				rt.Skip("nothing to swap")
			}
			how.do(exec, at, other)
			r, err := s.VerifyChain(t.Context(), "rr")
			if err != nil || r.Valid || r.Problem == "" || r.BrokenAt < 1 {
				rt.Fatalf("%s at %d of %d: %+v, %v, want a broken chain", how.name, at, n, r, err)
			}
		})
	})
}

// TestKilledWriter kills a process in the middle of its writes, again and again, and checks that
// what it was told is stored is stored, and that the chains hold.
func TestKilledWriter(t *testing.T) {
	if place := os.Getenv("STORE_TEST_WRITER"); place != "" {
		runWriter(t, place)
		return
	}
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	eachDatabase(t, func(t *testing.T, options func(t testing.TB) Options) {
		o := options(t)
		acknowledged := make(map[string]bool)
		for round := range 5 {
			for _, id := range killAfter(t, o, 20+30*round) {
				acknowledged[id] = true
			}
		}
		s := openTest(t, o)
		var stored int64
		for c := range 4 {
			r, err := s.VerifyChain(t.Context(), fmt.Sprintf("rr-%d", c))
			if err != nil || !r.Valid {
				t.Errorf("chain %d: %+v, %v", c, r, err)
			}
			stored += r.Events
		}
		for id := range acknowledged {
			if _, err := s.Event(t.Context(), id); err != nil {
				t.Errorf("event %s was acknowledged: %v", id, err)
			}
		}
		if int(stored) < len(acknowledged) {
			t.Errorf("%d events stored, %d acknowledged", stored, len(acknowledged))
		}
	})
}

// killAfter runs a writer in a process of its own, kills it when it has acknowledged n events, and
// returns those that it acknowledged.
func killAfter(t *testing.T, o Options, n int) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledWriter$", "-test.v")
	cmd.Env = append(os.Environ(), "STORE_TEST_WRITER="+string(o.Driver)+" "+o.Path+o.DSN)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "stored "); ok {
			ids = append(ids, id)
		}
		if len(ids) == n {
			_ = cmd.Process.Kill() // what it wrote until then is still read
		}
	}
	if err := cmd.Wait(); err == nil || len(ids) < n {
		t.Fatalf("the writer ended by itself after %d events: %v", len(ids), err)
	}
	return ids
}

func runWriter(t *testing.T, place string) {
	driver, where, _ := strings.Cut(place, " ")
	s, err := Open(t.Context(), Options{Driver: Driver(driver), Path: where, DSN: where})
	if err != nil {
		t.Fatal(err)
	}
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				batch := []incident.AuditEvent{
					storetest.Event(fmt.Sprintf("rr-%d", w), time.Now()), storetest.Event(fmt.Sprintf("rr-%d", i%4), time.Now()),
				}
				if _, err := s.AppendEvents(t.Context(), batch); err != nil {
					fmt.Println("failed", err)
					return
				}
				fmt.Printf("stored %s\nstored %s\n", batch[0].ID, batch[1].ID)
			}
		}()
	}
	<-t.Context().Done()
}
