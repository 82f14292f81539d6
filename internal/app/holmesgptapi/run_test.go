package holmesgptapi

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/config"
	"kubernaut.ai/kubernaut/internal/dsapi"
	"kubernaut.ai/kubernaut/internal/hapi"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testConfig is a configuration on a free port, with directories of its own.
func testConfig(t *testing.T, dataStorage string) config.HolmesGPTAPI {
	t.Helper()
	dir := t.TempDir()
	cfg := config.DefaultHolmesGPTAPI()
	cfg.Server.Host, cfg.Server.Port = "127.0.0.1", 0
	cfg.DataStorage.URL = dataStorage
	cfg.State.Dir, cfg.Audit.Dir = filepath.Join(dir, "state"), filepath.Join(dir, "audit")
	cfg.ShutdownTimeout = 8 * time.Second
	cfg.Mock = true
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// dataStorage serves a Data Storage of its own.
func dataStorage(t *testing.T) (url string) {
	t.Helper()
	st, err := store.Open(t.Context(), store.Options{Driver: store.SQLite, Path: filepath.Join(t.TempDir(), "data.db")})
	if err != nil {
		t.Fatal(err)
	}
	api, err := dsapi.NewServer(dsapi.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	t.Cleanup(func() {
		server.Close()
		_ = st.Close()
	})
	return server.URL
}

// start runs the service until stop is called, which returns what Run returned.
func start(t *testing.T, cfg config.HolmesGPTAPI, o Options) (url string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	addresses, done := make(chan Addresses, 1), make(chan error, 1)
	o.Logger = slog.New(slog.DiscardHandler)
	o.Ready = func(a Addresses) { addresses <- a }
	go func() { done <- Run(ctx, cfg, o) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		_ = stop()
		http.DefaultClient.CloseIdleConnections()
	})
	select {
	case a := <-addresses:
		return "http://" + a.API, stop
	case err := <-done:
		done <- err
		t.Fatalf("Run: %v", err)
	}
	return "", nil
}

const incidentBody = `{"incident_id":"ai-1","remediation_id":"rr-1","signal_type":"OOMKilled","severity":"critical","signal_source":"kubernaut",
	"resource_namespace":"shop","resource_kind":"Deployment","resource_name":"cart","error_message":"","environment":"staging","priority":"P1",
	"risk_tolerance":"medium","business_category":"standard","cluster_name":"default"}`

// analyze asks for the incident to be investigated under a key.
func analyze(t *testing.T, url, key string) (resp *http.Response, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+hapi.PathIncident, strings.NewReader(incidentBody))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	return do(t, req)
}

func get(t *testing.T, url string) (resp *http.Response, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req)
}

func do(t *testing.T, req *http.Request) (resp *http.Response, body string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// trail returns the chain of the incident's remediation.
func trail(t *testing.T, dataStorage string) incident.ChainReport {
	t.Helper()
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	client, err := dsapi.NewClient(dataStorage, hc)
	if err != nil {
		t.Fatal(err)
	}
	report, err := client.VerifyChain(t.Context(), "rr-1")
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestAnswersAndTrailSurviveARestart(t *testing.T) {
	storage := dataStorage(t)
	cfg := testConfig(t, storage)
	var first string
	for round := range 3 {
		url, stop := start(t, cfg, Options{})
		resp, body := analyze(t, url, "uid-1/1/1")
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("round %d: status %d: %s", round, resp.StatusCode, body)
		}
		if replayed := resp.Header.Get("Idempotency-Replayed") == "true"; replayed != (round > 0) {
			t.Errorf("round %d: replayed %v", round, replayed)
		}
		if round == 0 {
			first = body
		}
		if body != first {
			t.Errorf("round %d: the answer differs from the first:\n%s\n%s", round, body, first)
		}
		if err := stop(); err != nil {
			t.Fatalf("Run = %v", err)
		}
		// Stopped means flushed, and one investigation was recorded, not three.
		if report := trail(t, storage); !report.Valid || report.Events != 3 {
			t.Errorf("round %d: audit trail %+v, want 3 events in a valid chain", round, report)
		}
	}
}

func TestTrailWaitsForDataStorage(t *testing.T) {
	away, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = away.Close() // nobody listens there now
	cfg := testConfig(t, "http://"+away.Addr().String())
	cfg.ShutdownTimeout = 2 * time.Second
	url, stop := start(t, cfg, Options{})
	if resp, body := analyze(t, url, "uid-1/1/1"); resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", resp.StatusCode, body)
	}
	began := time.Now()
	if err := stop(); err != nil {
		t.Errorf("Run = %v: what cannot be delivered yet is no error", err)
	}
	if took := time.Since(began); took > cfg.ShutdownTimeout+time.Second {
		t.Errorf("the stop took %s, more than the %s that it may", took, cfg.ShutdownTimeout)
	}

	storage := dataStorage(t)
	cfg.DataStorage.URL = storage
	_, stop = start(t, cfg, Options{})
	if err := stop(); err != nil {
		t.Fatalf("Run = %v", err)
	}
	if report := trail(t, storage); !report.Valid || report.Events != 3 {
		t.Errorf("audit trail %+v, want the 3 events of the process before", report)
	}
}

func TestStopSaysSoFirst(t *testing.T) {
	url, stop := start(t, testConfig(t, dataStorage(t)), Options{DrainDelay: 300 * time.Millisecond})
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	sawShuttingDown := false
	for {
		resp, err := http.Get(url + hapi.PathReady)
		if err != nil {
			break
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(body), "shutting_down") {
			sawShuttingDown = true
		}
	}
	if !sawShuttingDown {
		t.Error("the service closed before it said that it shuts down")
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v", err)
	}
}

// A cluster that refuses everything: the service runs, says what is missing, and answers requests with
// what a caller retries.
func TestRealModeWithoutItsCluster(t *testing.T) {
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusInternalServerError)
	}))
	defer cluster.Close()
	cfg := testConfig(t, dataStorage(t))
	cfg.Mock = false
	url, _ := start(t, cfg, Options{Rest: &rest.Config{Host: cluster.URL}})

	resp, body := get(t, url+hapi.PathReady)
	var ready struct {
		Status       string `json:"status"`
		Dependencies map[string]struct {
			Status string `json:"status"`
		} `json:"dependencies"`
	}
	if err := json.Unmarshal([]byte(body), &ready); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusServiceUnavailable || ready.Status != "not_ready" {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
	for name, want := range map[string]string{"kubernetes": "down", "data_storage": "up", "catalog": "up"} {
		if got := ready.Dependencies[name].Status; got != want {
			t.Errorf("dependency %s is %q, want %q", name, got, want)
		}
	}
	if resp, body := analyze(t, url, "uid-1/1/1"); resp.StatusCode < 500 || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("status %d, content type %s: %s", resp.StatusCode, resp.Header.Get("Content-Type"), body)
	}
	if resp, _ := get(t, url+hapi.PathHealth); resp.StatusCode != http.StatusOK {
		t.Errorf("health %d; a missing dependency is no reason to be restarted", resp.StatusCode)
	}
}

func TestConfigIsShownWithoutSecrets(t *testing.T) {
	cfg := testConfig(t, dataStorage(t))
	url, _ := start(t, cfg, Options{Version: "v1.2.3"})
	resp, body := get(t, url+hapi.PathConfig)
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, cfg.State.Dir) || !strings.Contains(body, `"mock_mode":true`) {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
	if _, body := get(t, url+hapi.PathMetrics); !strings.Contains(body, "holmesgpt_api_investigations_total") || !strings.Contains(body, `audit_events_written_total{service="holmesgpt-api"}`) {
		t.Errorf("metrics of the API or of the audit trail are missing:\n%s", body)
	}
}

func TestRunFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(c *config.HolmesGPTAPI)
		want   string
	}{
		{"port taken", func(c *config.HolmesGPTAPI) { c.Server.Port = taken.Addr().(*net.TCPAddr).Port }, "address already in use"},
		{"audit spool is a file", func(c *config.HolmesGPTAPI) { c.Audit.Dir = file }, "audit spool"},
		{"state directory is a file", func(c *config.HolmesGPTAPI) { c.State.Dir = file }, "state directory"},
		{"no such kubeconfig", func(c *config.HolmesGPTAPI) { c.Mock, c.Kubernetes.Kubeconfig = false, "/no/such" }, "/no/such"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(t, "http://127.0.0.1:1")
			tt.change(&cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // Run returns nil then
			defer cancel()
			err := Run(ctx, cfg, Options{Logger: slog.New(slog.DiscardHandler)})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run = %v, want it to say %q", err, tt.want)
			}
		})
	}
}
