package datastorage

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	starter "kubernaut.ai/kubernaut/deploy/catalog"
	"kubernaut.ai/kubernaut/internal/config"
	"kubernaut.ai/kubernaut/internal/dsapi"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/pgtest"
	"kubernaut.ai/kubernaut/internal/store"
	"kubernaut.ai/kubernaut/internal/store/storetest"
)

var postgres pgtest.Server

// testConfig is a configuration on a free port and a database of its own.
func testConfig(t *testing.T) config.DataStorage {
	t.Helper()
	cfg := config.DefaultDataStorage()
	cfg.Server.Host, cfg.Server.Port = "127.0.0.1", 0
	cfg.Database.Path = filepath.Join(t.TempDir(), "data.db")
	cfg.ShutdownTimeout = 5 * time.Second
	return cfg
}

// start runs the service until stop is called, which returns what Run returned.
func start(t *testing.T, cfg config.DataStorage, o Options) (client *dsapi.Client, url string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	addresses, done := make(chan net.Addr, 1), make(chan error, 1)
	o.Ready = func(a net.Addr) { addresses <- a }
	go func() { done <- Run(ctx, cfg, o) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	select {
	case a := <-addresses:
		url = "http://" + a.String()
	case err := <-done:
		done <- err
		t.Fatalf("Run: %v", err)
	}
	client, err := dsapi.NewClient(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return client, url, stop
}

// catalogDir is a directory with the starter catalog, laid out as a ConfigMap volume.
func catalogDir(t *testing.T) string {
	t.Helper()
	documents, err := starter.Documents()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	target := filepath.Join(dir, "..2026_03_14")
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range documents {
		if err := os.WriteFile(filepath.Join(target, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..2026_03_14", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRunKeepsDataAndSeedsOnce(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cfg := testConfig(t)
	cfg.Catalog.Dir = catalogDir(t)
	var events []incident.AuditEvent
	var workflows int64
	for round := range 3 {
		client, _, stop := start(t, cfg, Options{})
		events = append(events, storetest.Event("rr-1", time.Now()))
		if err := client.WriteEvents(t.Context(), events); err != nil {
			t.Fatal(err)
		}
		report, err := client.VerifyChain(t.Context(), "rr-1")
		if err != nil || !report.Valid || report.Events != int64(round+1) {
			t.Errorf("round %d: %+v, %v", round, report, err)
		}
		page, err := client.ListWorkflows(t.Context(), incident.WorkflowFilter{Limit: 1})
		if err != nil || page.Total == 0 || round > 0 && page.Total != workflows {
			t.Errorf("round %d: %d workflows, %v, want as many as before (%d)", round, page.Total, err, workflows)
		}
		workflows = page.Total
		if err := stop(); err != nil {
			t.Fatalf("Run = %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	}
}

func TestRunOnPostgres(t *testing.T) {
	parsed, err := pgx.ParseConfig(postgres.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	cfg.Database.Driver, cfg.Database.Host, cfg.Database.Port = config.DriverPostgres, parsed.Host, int(parsed.Port)
	cfg.Database.Name, cfg.Database.User, cfg.Database.SSLMode = parsed.Database, parsed.User, "disable"
	cfg.Database.Password = config.NewSecret(`it's \ "odd"`)
	cfg.Catalog.Dir = catalogDir(t)

	// Three replicas start at once on an empty database, and write one chain.
	const replicas = 3
	clients := make([]*dsapi.Client, replicas)
	var wg sync.WaitGroup
	for i := range replicas {
		wg.Go(func() { clients[i], _, _ = start(t, cfg, Options{}) })
	}
	wg.Wait()
	for i := range 30 * replicas {
		wg.Go(func() {
			if err := clients[i%replicas].WriteEvents(t.Context(), []incident.AuditEvent{
				storetest.Event("rr-1", time.Now()), storetest.Event(fmt.Sprintf("rr-%d", i%5), time.Now()),
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var total int64
	for i := range 5 {
		report, err := clients[0].VerifyChain(t.Context(), fmt.Sprintf("rr-%d", i))
		if err != nil || !report.Valid {
			t.Errorf("VerifyChain = %+v, %v", report, err)
		}
		total += report.Events
	}
	if want := int64(2 * 30 * replicas); total != want {
		t.Errorf("%d events stored, want %d", total, want)
	}
}

func TestRunFinishesRequests(t *testing.T) {
	client, url, stop := start(t, testConfig(t), Options{DrainDelay: 200 * time.Millisecond})
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	sawNotReady := false
	for {
		err := client.Ready(t.Context())
		if incident.KindOf(err) == incident.KindNetwork {
			break
		}
		if err != nil {
			sawNotReady = true
			if err := client.WriteEvents(t.Context(), []incident.AuditEvent{storetest.Event("rr-1", time.Now())}); err != nil && incident.KindOf(err) != incident.KindNetwork {
				t.Errorf("a write while draining: %v", err)
			}
		}
	}
	if !sawNotReady {
		t.Errorf("%s closed before it said that it is not ready", url)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestRunFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	tests := []struct {
		name   string
		change func(c *config.DataStorage)
		start  time.Duration // 0: the default; only a database that does not answer is waited for
		want   string
	}{
		{"port taken", func(c *config.DataStorage) { c.Server.Port = taken.Addr().(*net.TCPAddr).Port }, 0, "address already in use"},
		{"database is a directory", func(c *config.DataStorage) { c.Database.Path = filepath.Dir(c.Database.Path) }, 0, "is a directory"},
		{"no such catalog", func(c *config.DataStorage) { c.Catalog.Dir = "/no/such" }, 0, "/no/such"},
		{"database does not answer", func(c *config.DataStorage) {
			c.Database.Driver, c.Database.Host, c.Database.Name, c.Database.User = config.DriverPostgres, "127.0.0.1", "d", "u"
			c.Database.Port = 1
		}, 300 * time.Millisecond, "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(t)
			tt.change(&cfg)
			var log strings.Builder
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // Run returns nil then
			defer cancel()
			err := Run(ctx, cfg, Options{StartTimeout: tt.start, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run = %v, want it to say %q\n%s", err, tt.want, &log)
			}
		})
	}
}

func TestSeedLeavesRegisteredVersions(t *testing.T) {
	st, err := store.Open(t.Context(), store.Options{Driver: store.SQLite, Path: filepath.Join(t.TempDir(), "data.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	documents, err := starter.Documents()
	if err != nil {
		t.Fatal(err)
	}
	const name = "raise-memory-limit.yaml"
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	for _, text := range []string{string(documents[name]), string(documents[name]) + "\n# edited\n"} {
		if err := seed(t.Context(), st, fstest.MapFS{name: {Data: []byte(text)}}, logger); err != nil {
			t.Fatal(err)
		}
	}
	page, err := st.Workflows(t.Context(), incident.WorkflowFilter{})
	if err != nil || page.Total != 1 || page.Workflows[0].Content != string(documents[name]) {
		t.Errorf("%d workflows, %v, want the one that was registered first", page.Total, err)
	}
	if !strings.Contains(log.String(), "give it a new version") {
		t.Errorf("the log does not tell of the edited document:\n%s", &log)
	}
	if err := seed(t.Context(), st, fstest.MapFS{"bad.yaml": {Data: []byte("x: [")}}, logger); incident.KindOf(err) != incident.KindInvalid {
		t.Errorf("seed of a broken document = %v, want kind %q", err, incident.KindInvalid)
	}
}
