package rollout

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// services answers for all three services, and lets a row say otherwise for a path.
func services(t *testing.T, otherwise map[string]http.HandlerFunc) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	for path, body := range map[string]string{
		"/healthz": "ok\n", "/readyz": "[+]cache ok\n[+]policy ok\nok\n", "/metrics": "# HELP up Up.\n# TYPE up gauge\nup 1\n",
		"/health": `{"status":"healthy","service":"x"}`, "/ready": `{"status":"ready"}`,
		"/health/live": `{"status":"alive"}`, "/health/ready": `{"status":"ready"}`,
	} {
		handler := otherwise[path]
		if handler == nil {
			handler = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
		}
		mux.HandleFunc(path, handler)
	}
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

func all(base string) []Endpoint {
	return append(append(Controller(base, base), HAPI(base)...), DataStorage(base)...)
}

func TestHealth(t *testing.T) {
	var asked atomic.Int32
	var log lines
	srv := services(t, map[string]http.HandlerFunc{"/health/ready": func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(`{"status":"ready"}`))
	}})
	if err := Health(t.Context(), all(srv.URL), HealthOptions{Pause: time.Millisecond, Log: &log}); err != nil {
		t.Errorf("got %v, want all healthy in the end", err)
	}
	if got := asked.Load(); got != 3 {
		t.Errorf("an endpoint that becomes ready was asked %d times, want 3", got)
	}
	if got := strings.Count(log.String(), ": ok\n"); got != 9 {
		t.Errorf("log: got %d endpoints ok, want 9: %s", got, log.String())
	}
}

func TestHealthSaysWhatWasAnswered(t *testing.T) {
	text := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = w.Write([]byte(body)) }
	}
	for _, row := range []struct {
		name, path string
		handler    http.HandlerFunc
		summary    string
		line       string
	}{
		{"status", "/healthz", text(500, "broken\nin two lines\n"), "controller liveness answers with status 500: want status 200", "  in two lines"},
		{"check that fails", "/readyz", text(200, "[+]cache ok\n[-]policy failed: no such file\n"), "controller readiness answers with status 200: want every check to pass", "  [-]policy failed: no such file"},
		{"no check", "/readyz", text(200, "ok\n"), "want every check to pass, one at least", "  ok"},
		{"no metrics", "/health", text(200, "<html>"), `HolmesGPT API health answers with status 200: want a JSON object with the status "healthy"`, "  <html>"},
		{"other status", "/health/live", text(200, `{"status":"dying"}`), `want a JSON object with the status "alive"`, `  {"status":"dying"}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			srv := services(t, map[string]http.HandlerFunc{row.path: row.handler})
			err := Health(t.Context(), all(srv.URL), HealthOptions{Pause: time.Millisecond, Patience: 50 * time.Millisecond})
			got := failure.ClassifyAll(t.Context(), "health", err, nil)
			if len(got) != 1 || got[0].Class != failure.Permanent || !got[0].Product || !strings.Contains(got[0].Summary, row.summary) {
				t.Fatalf("got %+v, want one finding, the product's: %s", got, row.summary)
			}
			if lines := strings.Join(got[0].Lines, "\n"); !strings.Contains(lines, row.line+"\n") || !strings.Contains(lines, "GET "+srv.URL+row.path) {
				t.Errorf("lines: got %q, want %q among them", lines, row.line)
			}
		})
	}
}

func TestHealthWithoutAnswer(t *testing.T) {
	srv := services(t, nil)
	base := srv.URL
	srv.Close()
	err := Health(t.Context(), HAPI(base), HealthOptions{Pause: time.Millisecond, Patience: 20 * time.Millisecond})
	got := failure.ClassifyAll(t.Context(), "health", err, nil)
	if len(got) != 3 || got[0].Class != failure.Unknown || got[0].Product || !strings.Contains(got[0].Summary, "does not answer") || !strings.Contains(got[0].Summary, "connection refused") {
		t.Errorf("got %+v, want three findings that blame nobody", got)
	}
}

func TestHealthBoundsARequest(t *testing.T) {
	srv := services(t, map[string]http.HandlerFunc{"/ready": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }})
	began := time.Now()
	err := Health(t.Context(), HAPI(srv.URL), HealthOptions{Timeout: 10 * time.Millisecond, Pause: time.Millisecond, Patience: 100 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "HolmesGPT API readiness does not answer") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestHealthEndsWithItsContext(t *testing.T) {
	srv := services(t, map[string]http.HandlerFunc{"/ready": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) }})
	cause := errors.New("interrupted")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
	defer cancel()
	if err := Health(ctx, HAPI(srv.URL), HealthOptions{Pause: time.Millisecond}); !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause", err)
	}
}
