package holmesgptapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/modelstub"
	"kubernaut.ai/kubernaut/internal/reason"
)

// What a model does is told under the key of its investigation.
func TestModelsAreWatched(t *testing.T) {
	stub := httptest.NewServer(modelstub.New(modelstub.Plays()).Handler())
	defer stub.Close()
	var kinds []reason.ProgressKind
	watch := func(ctx context.Context, p reason.Progress) {
		if key := incident.RequestOf(ctx).Key; key != "k" {
			t.Errorf("told under key %q", key)
		}
		kinds = append(kinds, p.Kind)
	}
	m, err := newModels(configured("openai", "good", stub.URL+"/v1"), surroundings{watch: watch, log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	m.Refine(incident.WithRequest(t.Context(), incident.Request{Key: "k"}), modelCase(t))
	if len(kinds) < 5 || kinds[0] != reason.ProgressStarted || kinds[len(kinds)-1] != reason.ProgressFinished || !slices.Contains(kinds, reason.ProgressTool) {
		t.Errorf("told %v", kinds)
	}
}

// The service serves the events of an investigation.
func TestEventsAreServed(t *testing.T) {
	url, _ := start(t, testConfig(t, dataStorage(t)), Options{})
	if resp, body := analyze(t, url, "a/1"); resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", resp.StatusCode, body)
	}
	resp, body := get(t, url+"/api/v1/investigations/a%2F1/events")
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, "event: started\n") || !strings.HasSuffix(body, "event: finished\ndata: {\"status\":\"succeeded\"}\n\n") {
		t.Errorf("status %d:\n%s", resp.StatusCode, body)
	}
}
