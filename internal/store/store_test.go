package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/pgtest"
	"kubernaut.ai/kubernaut/internal/store/storetest"
)

var postgres pgtest.Server

// openTest opens a store, which is closed when the test ends.
func openTest(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func sqliteOptions(t testing.TB) Options {
	return Options{Driver: SQLite, Path: filepath.Join(t.TempDir(), "data", "test ?&%41.db")}
}

func postgresOptions(t testing.TB) Options {
	return Options{Driver: Postgres, DSN: postgres.Database(t)}
}

// eachDatabase runs a test on every database.
func eachDatabase(t *testing.T, run func(t *testing.T, options func(t testing.TB) Options)) {
	t.Run("sqlite", func(t *testing.T) { run(t, sqliteOptions) })
	t.Run("postgres", func(t *testing.T) { run(t, postgresOptions) })
}

func TestConformance(t *testing.T) {
	eachDatabase(t, func(t *testing.T, options func(t testing.TB) Options) {
		storetest.Run(t, func(t *testing.T, clock func() time.Time) storetest.Store {
			o := options(t)
			o.Clock = clock
			return openTest(t, o)
		})
	})
}

func TestOpenRefusesBadOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no driver":          {},
		"no path":            {Driver: SQLite},
		"no dsn":             {Driver: Postgres},
		"negative":           {Driver: SQLite, Path: "x", MaxOpenConns: -1},
		"unreadable dsn":     {Driver: Postgres, DSN: "port=x password=hunter2"},
		"path is no file":    {Driver: SQLite, Path: t.TempDir()},
		"server not running": {Driver: Postgres, DSN: "host=" + t.TempDir() + " user=u password=hunter2 dbname=d"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), o)
			if err == nil {
				_ = s.Close()
				t.Fatal("Open succeeds")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func TestOpenAgainKeepsData(t *testing.T) {
	eachDatabase(t, func(t *testing.T, options func(t testing.TB) Options) {
		o := options(t)
		for round := range int64(3) {
			s, err := Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.AppendEvents(t.Context(), []incident.AuditEvent{storetest.Event("rr-1", time.Now())}); err != nil {
				t.Fatal(err)
			}
			report, err := s.VerifyChain(t.Context(), "rr-1")
			if err != nil || !report.Valid || report.Events != round+1 {
				t.Errorf("after opening %d times: %+v, %v", round+1, report, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestOpenRefusesNewerSchema(t *testing.T) {
	eachDatabase(t, func(t *testing.T, options func(t testing.TB) Options) {
		o := options(t)
		s, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.writes.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, $1)`, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(t.Context(), o); err == nil {
			_ = s.Close()
			t.Fatal("Open takes a database of a newer program")
		}
		if !strings.Contains(err.Error(), "9999") {
			t.Errorf("error = %v, want it to name the version", err)
		}
	})
}

func TestClosedStoreRefuses(t *testing.T) {
	eachDatabase(t, func(t *testing.T, options func(t testing.TB) Options) {
		s, err := Open(t.Context(), options(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = s.AppendEvents(t.Context(), []incident.AuditEvent{storetest.Event("rr-1", time.Now())})
		if got := incident.KindOf(err); got != incident.KindUnavailable {
			t.Errorf("AppendEvents on a closed store = %v, want kind %q", err, incident.KindUnavailable)
		}
		if err := s.Ping(t.Context()); err == nil {
			t.Error("Ping of a closed store succeeds")
		}
	})
}

func TestCloseLeavesNothingRunning(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s, err := Open(t.Context(), sqliteOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSQLiteFileIsPrivate(t *testing.T) {
	o := sqliteOptions(t)
	openTest(t, o)
	info, err := os.Stat(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode of the database file = %o, want 600", got)
	}
}

func TestAppendHonoursContext(t *testing.T) {
	s := openTest(t, sqliteOptions(t))
	tx, err := s.writes.BeginTx(t.Context(), nil) // keeps the writer waiting
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	ctx, cancel := contextThatEnds(t)
	defer cancel()
	_, err = s.AppendEvents(ctx, []incident.AuditEvent{storetest.Event("rr-1", time.Now())})
	if got := incident.KindOf(err); got != incident.KindTimeout {
		t.Errorf("AppendEvents = %v, want kind %q", err, incident.KindTimeout)
	}
}
