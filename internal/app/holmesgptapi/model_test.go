package holmesgptapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kubernaut.ai/kubernaut/internal/config"
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/modelstub"
	"kubernaut.ai/kubernaut/internal/reason"
)

func configured(provider, model, endpoint string) config.LLM {
	c := config.DefaultHolmesGPTAPI().LLM
	c.Provider, c.Name, c.Endpoint, c.MaxRetries = provider, model, endpoint, 0
	return c
}

func modelCase(t *testing.T) reason.Case {
	t.Helper()
	all, err := scenario.Load(os.DirFS("../../../test/scenarios"), "open")
	if err != nil {
		t.Fatal(err)
	}
	s := all[slices.IndexFunc(all, func(s *scenario.Scenario) bool { return s.Name == "oom-limit" })]
	snap, err := s.Snapshot(scenario.Variant{})
	if err != nil {
		t.Fatal(err)
	}
	return reason.Case{Incident: s.Input(), Snapshot: snap, Result: diagnose.Run(snap, s.Input())}
}

func TestModels(t *testing.T) {
	stub := httptest.NewServer(modelstub.New(modelstub.Plays()).Handler())
	defer stub.Close()
	c := modelCase(t)
	refined := func(cfg config.LLM) reason.Outcome {
		t.Helper()
		m, err := newModels(cfg, surroundings{log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		return m.Refine(context.Background(), c)
	}
	if out := refined(config.DefaultHolmesGPTAPI().LLM); out.Stance != "" {
		t.Errorf("without a model: %+v", out)
	}
	for provider, endpoint := range map[string]string{"openai": stub.URL + "/v1", "anthropic": stub.URL, "ollama": stub.URL + "/v1"} {
		if out := refined(configured(provider, "good", endpoint)); out.Stance != incident.StanceAgrees || out.Provider != provider {
			t.Errorf("%s: %s by %s, %v", provider, out.Stance, out.Provider, out.Err)
		}
	}
	azure := configured("azure", "good", stub.URL)
	azure.APIVersion = "2026-01-01"
	if out := refined(azure); out.Stance != incident.StanceAgrees {
		t.Errorf("azure: %s, %v", out.Stance, out.Err)
	}
	second := configured("openai", "failing", stub.URL+"/v1")
	second.Fallback = config.Model{Provider: "anthropic", Name: "good", Endpoint: stub.URL}
	out := refined(second)
	if out.Stance != incident.StanceAgrees || out.Provider != "anthropic" || len(out.Warnings) != 1 {
		t.Errorf("fallback: %s by %s, warnings %q, %v", out.Stance, out.Provider, out.Warnings, out.Err)
	}
}

// A changed configuration comes into force; a wrong one is told once, and changes nothing.
func TestModelsReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		m, err := newModels(configured("openai", "one", "http://a/v1"), surroundings{log: slog.New(slog.DiscardHandler), registry: registry})
		if err != nil {
			t.Fatal(err)
		}
		type answer struct {
			cfg config.LLM
			err error
		}
		var next atomic.Pointer[answer]
		next.Store(&answer{cfg: m.current.Load().config})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.follow(ctx, func() (config.HolmesGPTAPI, error) {
				a := next.Load()
				return config.HolmesGPTAPI{LLM: a.cfg}, a.err
			})
		}()
		check := func(name string, success, failure float64) {
			t.Helper()
			<-time.After(3 * reloadInterval)
			synctest.Wait()
			ok, bad := testutil.ToFloat64(m.reloads.WithLabelValues("success")), testutil.ToFloat64(m.reloads.WithLabelValues("error"))
			if got := m.current.Load().config.Name; got != name || ok != success || bad != failure {
				t.Errorf("model %q after %v reloads and %v refusals, want %q, %v, %v", got, ok, bad, name, success, failure)
			}
		}
		check("one", 0, 0)
		next.Store(&answer{cfg: configured("anthropic", "two", "http://a")})
		check("two", 1, 0)
		next.Store(&answer{err: errors.New("line 3: unknown key")})
		check("two", 1, 1)
		wrong := configured("openai", "three", "http://a/v1")
		wrong.CAFile = "nowhere.pem"
		next.Store(&answer{cfg: wrong})
		check("two", 1, 2)
		next.Store(&answer{cfg: configured("openai", "four", "http://a/v1")})
		check("four", 2, 2)
		cancel()
		<-done
	})
}
