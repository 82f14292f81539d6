package e2e

import (
	"database/sql"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kubernaut.ai/kubernaut/internal/config"
	"kubernaut.ai/kubernaut/internal/pgtest"
)

// durable keeps what it has committed through a crash, as a server in production does.
var durable = pgtest.Server{Durable: true}

func TestLoadSurvivesADatabaseThatCrashes(t *testing.T) {
	dsn := durable.Database(t)
	shared := onDatabase(t, dsn)
	replicas := []string{dataStorage(t, shared), dataStorage(t, shared)}
	admin, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	load := Load{Chains: 4, Writers: 8, Every: 2 * time.Millisecond, Most: 30_000, Patience: 10 * time.Second}
	w := at(between(t, straight, replicas...)).StartWriting(t.Context(), load)
	for range 2 {
		if err := w.Progress(t.Context(), 200); err != nil {
			t.Fatal(err)
		}
		// When one of its processes is killed, the server ends all the others and recovers from its log.
		const anyOf = `SELECT pid FROM pg_stat_activity WHERE application_name = 'kubernaut-datastorage' LIMIT 1`
		var pid int
		if err := admin.QueryRowContext(t.Context(), anyOf).Scan(&pid); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := w.Progress(t.Context(), 200); err != nil {
			t.Fatal(err)
		}
	}
	ledger, err := w.Stop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tally := w.Tally()
	t.Log(tally)
	if len(tally.Failures) == 0 || strings.Contains(fmt.Sprint(tally), "status 500") {
		t.Errorf("of a crash the load must see that Data Storage is unavailable, and nothing worse; it saw %s", tally)
	}
	for _, replica := range replicas {
		if _, err := ledger.Check(t.Context(), at(replica)); err != nil {
			t.Errorf("at %s: %v", replica, err)
		}
	}
}

// onDatabase configures a database that all processes share.
func onDatabase(t *testing.T, dsn string) func(*config.DataStorage) {
	t.Helper()
	parsed, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return func(cfg *config.DataStorage) {
		cfg.Database.Driver, cfg.Database.Host, cfg.Database.Port = config.DriverPostgres, parsed.Host, int(parsed.Port)
		cfg.Database.Name, cfg.Database.User, cfg.Database.SSLMode = parsed.Database, parsed.User, "disable"
	}
}
