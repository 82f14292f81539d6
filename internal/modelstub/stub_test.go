package modelstub_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/modelstub"
	"kubernaut.ai/kubernaut/internal/reason"
	"kubernaut.ai/kubernaut/internal/reason/anthropic"
	"kubernaut.ai/kubernaut/internal/reason/openai"
	"kubernaut.ai/kubernaut/internal/reason/tools"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told is the case of a scenario, with one workflow to choose.
func told(t *testing.T, name string) reason.Case {
	t.Helper()
	all, err := scenario.Load(os.DirFS("../../test/scenarios"), "open")
	if err != nil {
		t.Fatal(err)
	}
	s := all[slices.IndexFunc(all, func(s *scenario.Scenario) bool { return s.Name == name })]
	snap, err := s.Snapshot(scenario.Variant{})
	if err != nil {
		t.Fatal(err)
	}
	c := reason.Case{Incident: s.Input(), Snapshot: snap, Result: diagnose.Run(snap, s.Input())}
	c.Options = []reason.Option{{
		Workflow: incident.SelectedWorkflow{ID: "00000001-1111-4222-8333-444455556666", Title: "A remedy", Confidence: 0.9}, Risk: "low", MadeFor: true,
	}}
	return c
}

// asked lets a played model refine the case over HTTP, by the protocol.
func asked(t *testing.T, protocol, play string, c reason.Case, b reason.Budget) reason.Outcome {
	t.Helper()
	server := httptest.NewServer(modelstub.New(modelstub.Plays()).Handler())
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var m reason.Model = openai.New(openai.Options{HTTP: client, Endpoint: server.URL + "/v1", Name: play})
	if protocol == "anthropic" {
		m = anthropic.New(anthropic.Options{HTTP: client, Endpoint: server.URL, Name: play})
	}
	registry, err := tools.All()
	if err != nil {
		t.Fatal(err)
	}
	r, err := reason.New(reason.Options{Model: m, Provider: protocol, Name: play, Tools: registry, Budget: b, Prices: reason.Prices{Input: 3, Output: 15}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Refine(context.Background(), c)
}

// A good model is understood over both protocols, and agrees with evidence within the budget.
func TestGood(t *testing.T) {
	c := told(t, "oom-limit")
	for _, protocol := range []string{"openai", "anthropic"} {
		for _, play := range []string{"good", "brief", "uncounted"} {
			out := asked(t, protocol, play, c, reason.Budget{})
			if out.Err != nil || out.Stance != incident.StanceAgrees || out.Factor != 1 || len(out.Explanation) == 0 || out.Review {
				t.Errorf("%s %s: stance %q, factor %v, review %v, error %v, warnings %v", protocol, play, out.Stance, out.Factor, out.Review, out.Err, out.Warnings)
			}
			if out.Usage.InputTokens+out.Usage.OutputTokens > 30_000 || out.Usage.InputTokens == 0 || out.Usage.Estimated != (play == "uncounted") {
				t.Errorf("%s %s: usage %+v", protocol, play, out.Usage)
			}
		}
	}
}

// Whatever a bad model does, the finding stands, in time, within the budget, and nothing is left running.
func TestBad(t *testing.T) {
	c := told(t, "oom-limit")
	budget := reason.Budget{WallClock: 4 * time.Second, TurnTimeout: time.Second, Cost: 0.20}
	for _, play := range modelstub.Names(modelstub.Plays()) {
		switch play {
		case "good", "brief", "uncounted", "doubtful", "obedient":
			continue
		}
		for _, protocol := range []string{"openai", "anthropic"} {
			t.Run(protocol+"/"+play, func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				out := asked(t, protocol, play, c, budget)
				if out.Stance != incident.StanceAbsent || out.Factor != 1 || out.Choice != "" || len(out.Explanation) != 0 {
					t.Errorf("stance %q, factor %v, choice %q, explanation %v", out.Stance, out.Factor, out.Choice, out.Explanation)
				}
				if len(out.Warnings) != 1 {
					t.Errorf("warnings = %q, want one", out.Warnings)
				}
				if out.Usage.Cost > budget.Cost {
					t.Errorf("cost %v, more than %v", out.Usage.Cost, budget.Cost)
				}
				if took := time.Since(began); took > 2*budget.WallClock { // far above what it takes, far below the ten minutes of silence
					t.Errorf("it took %s", took)
				}
			})
		}
	}
}

// A model without evidence, and one that obeys, move nothing.
func TestUnsupported(t *testing.T) {
	c := told(t, "oom-limit")
	for _, play := range []string{"doubtful", "obedient"} {
		out := asked(t, "openai", play, c, reason.Budget{})
		if out.Factor != 1 || out.Choice != "" {
			t.Errorf("%s: factor %v, choice %q", play, out.Factor, out.Choice)
		}
	}
}

func TestUnknownModel(t *testing.T) {
	out := asked(t, "openai", "nobody", told(t, "oom-limit"), reason.Budget{})
	var e *incident.Error
	if !errors.As(out.Err, &e) || e.Status != http.StatusNotFound || !strings.Contains(e.Error(), "not played here") {
		t.Errorf("error = %v", out.Err)
	}
}
