package holmesgptapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubernaut.ai/kubernaut/internal/config"
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/investigate"
	"kubernaut.ai/kubernaut/internal/observe"
	"kubernaut.ai/kubernaut/internal/reason"
	"kubernaut.ai/kubernaut/internal/reason/anthropic"
	"kubernaut.ai/kubernaut/internal/reason/guard"
	"kubernaut.ai/kubernaut/internal/reason/openai"
	"kubernaut.ai/kubernaut/internal/reason/post"
	"kubernaut.ai/kubernaut/internal/reason/tools"
)

// reloadInterval is how long a change of the configuration goes unnoticed.
const reloadInterval = 5 * time.Second

// models asks the model that is configured now, and the one that stands in for it. It is safe for concurrent use.
type models struct {
	surroundings
	metrics *guard.Metrics
	reloads *prometheus.CounterVec
	current atomic.Pointer[modelSet]
}

// modelSet is what one configuration comes to. Both reasoners are nil without a model.
type modelSet struct {
	config            config.LLM
	primary, fallback *reason.Reasoner
}

// surroundings are what models are told and asked through. Only log and registry are required.
type surroundings struct {
	catalog  reason.Catalog
	live     reason.Live
	watch    reason.Watch
	log      *slog.Logger
	registry prometheus.Registerer
}

func newModels(cfg config.LLM, around surroundings) (*models, error) {
	registry := around.registry
	metrics, err := guard.NewMetrics(registry)
	if err != nil {
		return nil, err
	}
	m := &models{surroundings: around, metrics: metrics, reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "holmesgpt_api", Name: "config_reload_total", Help: "Changes of the model's configuration, by whether they came into force.",
	}, []string{"status"})}
	if err := registry.Register(m.reloads); err != nil {
		return nil, err
	}
	m.reloads.WithLabelValues("success")
	m.reloads.WithLabelValues("error")
	set, err := m.build(cfg)
	if err != nil {
		return nil, err
	}
	m.current.Store(set)
	return m, nil
}

// NewReasoner returns what asks the model of a configuration, as the service would, without following changes of it. The
// catalog is what the model's tools read.
func NewReasoner(cfg config.LLM, catalog reason.Catalog) (investigate.Reasoner, error) {
	return newModels(cfg, surroundings{catalog: catalog, log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()})
}

// Refine implements investigate.Reasoner. Without a model the outcome is the zero one. The fallback is asked
// when the first model could not be: it answered nothing, so that nothing was paid for.
func (m *models) Refine(ctx context.Context, c reason.Case) reason.Outcome {
	set := m.current.Load()
	if set.primary == nil {
		return reason.Outcome{}
	}
	out := set.primary.Refine(ctx, c)
	if set.fallback == nil || out.Err == nil || out.Usage.OutputTokens > 0 || ctx.Err() != nil {
		return out
	}
	second := set.fallback.Refine(ctx, c)
	second.Usage.InputTokens += out.Usage.InputTokens
	second.Usage.Cost += out.Usage.Cost
	second.Usage.DurationMS += out.Usage.DurationMS
	if second.Err == nil {
		second.Warnings = append([]string{fmt.Sprintf("The model %s could not be asked; %s was asked instead.", set.config.Name, set.config.Fallback.Name)}, second.Warnings...)
	}
	return second
}

// follow takes up changes of the configuration until ctx ends. One that is wrong is told, and the one before stays.
func (m *models) follow(ctx context.Context, load func() (config.HolmesGPTAPI, error)) {
	ticker := time.NewTicker(reloadInterval)
	defer ticker.Stop()
	refused := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		cfg, err := load()
		var set *modelSet
		if err == nil {
			if reflect.DeepEqual(cfg.LLM, m.current.Load().config) {
				refused = ""
				continue
			}
			set, err = m.build(cfg.LLM)
		}
		if err != nil {
			if refused != err.Error() { // once for each fault, not every few seconds
				refused = err.Error()
				m.reloads.WithLabelValues("error").Inc()
				m.log.Error("a change of the configuration is not taken; the model stays as it was", "error", err)
			}
			continue
		}
		refused = ""
		m.current.Store(set)
		m.reloads.WithLabelValues("success").Inc()
		m.log.Info("the model's configuration has changed", "provider", cfg.LLM.Provider, "model", cfg.LLM.Name, "fallback", cfg.LLM.Fallback.Name)
	}
}

func (m *models) build(cfg config.LLM) (*modelSet, error) {
	set := &modelSet{config: cfg}
	var err error
	if cfg.Used() {
		if set.primary, err = m.reasoner(cfg, cfg.Model); err != nil {
			return nil, fmt.Errorf("llm: %w", err)
		}
	}
	if cfg.Used() && cfg.Fallback.Used() {
		if set.fallback, err = m.reasoner(cfg, cfg.Fallback); err != nil {
			return nil, fmt.Errorf("llm.fallback: %w", err)
		}
	}
	return set, nil
}

func (m *models) reasoner(cfg config.LLM, which config.Model) (*reason.Reasoner, error) {
	client, err := modelClient(which)
	if err != nil {
		return nil, err
	}
	registry, err := tools.All()
	if err != nil {
		return nil, err
	}
	b := cfg.Budget
	return reason.New(reason.Options{
		Model: guard.New(guard.Options{
			Model: vendor(cfg, which, client), Provider: which.Provider, Name: which.Name,
			Retries: cfg.MaxRetries, MaxOutput: cfg.MaxTokensPerRequest, Metrics: m.metrics,
		}),
		Provider: which.Provider, Name: which.Name, Tools: registry, Catalog: m.catalog, Live: m.live, Watch: m.watch,
		Prices: reason.Prices{Input: which.Prices.Input, Cached: which.Prices.Cached, Output: which.Prices.Output},
		Budget: reason.Budget{
			Turns: b.Turns, ToolCalls: b.ToolCalls, InputTokens: b.InputTokens, OutputTokens: b.OutputTokens, Cost: b.CostUSD,
			WallClock: b.WallClock, ResultBytes: b.ResultBytes, TurnTimeout: min(time.Duration(cfg.TimeoutSeconds)*time.Second, b.WallClock),
		},
		Redact: func(text string) string { return new(observe.Redactor).Text(text) },
	})
}

// vendor returns the client of a provider's protocol.
func vendor(cfg config.LLM, which config.Model, client *http.Client) reason.Model {
	header := map[string]string{}
	for _, h := range which.Headers {
		name, value, _ := strings.Cut(h, ":")
		header[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	for name, value := range which.SecretHeaders {
		header[name] = value.Reveal()
	}
	if which.Provider == "anthropic" {
		return anthropic.New(anthropic.Options{
			HTTP: client, Endpoint: which.Endpoint, Name: which.Name, Key: which.Key.Reveal(), Header: header, Temperature: &cfg.Temperature,
		})
	}
	return openai.New(openai.Options{
		HTTP: client, Endpoint: which.Endpoint, Name: which.Name, Key: which.Key.Reveal(), AzureVersion: which.APIVersion, Header: header, Temperature: &cfg.Temperature,
	})
}

// modelClient returns an HTTP client that trusts the system's authorities and those of ca_file. It goes through the proxy that
// the environment names. Deadlines come with each request.
func modelClient(which config.Model) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if which.CAFile != "" {
		pem, err := os.ReadFile(which.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM", which.CAFile)
		}
		transport.TLSClientConfig = cmp.Or(transport.TLSClientConfig, &tls.Config{MinVersion: tls.VersionTLS12})
		transport.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{Transport: transport, CheckRedirect: post.NoRedirect}, nil
}

// reader lets a model's tools read what the snapshot does not hold, within the limits of an observation.
type reader struct{ live *observe.Live }

// Read implements reason.Live.
func (r reader) Read(ctx context.Context, q reason.Question) (diagnose.Contents, error) {
	return r.live.Read(ctx, observe.Query{Ref: q.Ref, Events: q.Events, Log: q.Log})
}
