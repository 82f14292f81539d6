// Package holmesgptapi puts the investigation service together: configuration in, a listening server
// over the pipeline out.
package holmesgptapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/config"
	"kubernaut.ai/kubernaut/internal/dsapi"
	"kubernaut.ai/kubernaut/internal/hapi"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/investigate"
	"kubernaut.ai/kubernaut/internal/observe"
	"kubernaut.ai/kubernaut/internal/reason"
)

// Options are what a process hands to Run beside the configuration. The zero value is that of a
// process of its own.
type Options struct {
	Logger  *slog.Logger // nil: as the configuration says, to Stderr
	Stderr  io.Writer    // nil: os.Stderr
	Version string       // for health answers
	// Rest is the cluster to investigate. Nil: kubernetes.kubeconfig, else the cluster that the
	// process runs in, else KUBECONFIG.
	Rest *rest.Config
	// Reload reads the configuration again. Changes of its section llm come into force within a few seconds.
	// Nil: the model stays as it was at the start.
	Reload func() (config.HolmesGPTAPI, error)
	// Ready is called once, when requests are served.
	Ready func(Addresses)
	// DrainDelay is how long the service goes on taking requests after it has said that it is not
	// ready: a cluster needs a moment to send them elsewhere.
	DrainDelay time.Duration
}

// Addresses are those that the service listens on.
type Addresses struct{ API string }

// stepModel names what a model does, for those who watch an investigation.
const stepModel = "model"

// Run serves until ctx ends, then stops within cfg.ShutdownTimeout: readiness turns false, nothing
// new is investigated, what runs is finished, and the audit trail is flushed as far as Data Storage
// takes it; the rest waits in the spool for the next process. The error is nil when the end was asked
// for. The configuration must be valid.
func Run(ctx context.Context, cfg config.HolmesGPTAPI, o Options) (err error) {
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	log := o.Logger
	if log == nil {
		log = cfg.Logging.Logger(o.Stderr)
	}
	for _, w := range cfg.Warnings {
		log.Warn("configuration", "warning", w)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = cfg.Limits.MaxConcurrent
	defer transport.CloseIdleConnections()
	storage, err := dsapi.NewClient(cfg.DataStorage.URL, &http.Client{Transport: transport, Timeout: cfg.DataStorage.Timeout})
	if err != nil {
		return fmt.Errorf("data_storage.url: %w", err)
	}
	trail, err := audit.Open(audit.Options{
		Dir: cfg.Audit.Dir, MaxBytes: cfg.Audit.MaxBytes, Sink: storage, Service: "holmesgpt-api", Logger: log, Registerer: registry,
	})
	if err != nil {
		return fmt.Errorf("open the audit spool: %w", err)
	}
	// Whatever ends the process, what is recorded is delivered first.
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.ShutdownTimeout/4)
		defer cancel()
		err = errors.Join(err, trail.Close(end))
	}()

	board := hapi.NewBoard()
	live, err := cluster(cfg, o, log)
	if err != nil {
		return err
	}
	around := surroundings{
		catalog: storage, watch: func(ctx context.Context, p reason.Progress) { board.Post(ctx, stepModel, p) }, log: log, registry: registry,
	}
	if live != nil {
		around.live = reader{live}
	}
	models, err := newModels(cfg.LLM, around)
	if err != nil {
		return err
	}
	if o.Reload != nil && !cfg.Mock {
		following, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); models.follow(following, o.Reload) }()
		defer func() { stop(); <-done }()
	}
	investigator, checks, err := investigator(cfg, live, storage, trail, models, board, log)
	if err != nil {
		return err
	}
	settings, err := shown(cfg)
	if err != nil {
		return err
	}
	api, err := hapi.New(hapi.Options{
		Investigator: investigator, StateDir: cfg.State.Dir, Service: cfg.ServiceName, Version: o.Version, Checks: checks,
		LLM:  hapi.LLM{Provider: cfg.LLM.Provider, Model: cfg.LLM.Name, Endpoint: cfg.LLM.Endpoint},
		Mock: cfg.Mock, Settings: settings,
		MaxBodyBytes: cfg.Limits.MaxBodyBytes, MaxConcurrent: cfg.Limits.MaxConcurrent, InvestigationTimeout: cfg.Limits.InvestigationTimeout,
		AnswerRetention: cfg.State.Retention, MaxAnswers: cfg.State.MaxEntries, Board: board, Logger: log, Registry: registry,
	})
	if err != nil {
		return err
	}
	return serve(ctx, api, cfg, o, log)
}

// cluster returns what reads the cluster to investigate; nil in mock mode, which reads none.
func cluster(cfg config.HolmesGPTAPI, o Options, log *slog.Logger) (*observe.Live, error) {
	if cfg.Mock {
		return nil, nil
	}
	access, err := clusterConfig(cfg.Kubernetes.Kubeconfig, o.Rest)
	if err != nil {
		return nil, fmt.Errorf("find the cluster to investigate: %w", err)
	}
	var measured *observe.Prometheus
	if cfg.Observe.PrometheusURL != "" {
		measured = &observe.Prometheus{URL: cfg.Observe.PrometheusURL}
	}
	return observe.New(observe.Options{Config: access, Prometheus: measured, Logger: log, Limits: observe.Limits{
		Timeout: cfg.Observe.Timeout, MaxObjects: cfg.Observe.MaxObjects, MaxBytes: cfg.Observe.MaxBytes, LogLines: cfg.Observe.MaxLogLines,
	}})
}

// investigator returns the pipeline over the live cluster, or the mock, and what readiness asks.
func investigator(cfg config.HolmesGPTAPI, live *observe.Live, storage *dsapi.Client, trail *audit.Client, models *models, board *hapi.Board, log *slog.Logger) (hapi.Investigator, []hapi.Check, error) {
	if cfg.Mock {
		log.Warn("mock mode: answers come from fixed tables")
		return investigate.NewMock(trail, time.Now), nil, nil
	}
	pipeline, err := investigate.New(investigate.Options{
		Observer: live, Catalog: storage, Bundles: storage, Audit: trail, Encode: observe.Encode,
		Threshold: &cfg.Review.ConfidenceThreshold, Reasoner: models, Watch: board.Post, Logger: log,
	})
	if err != nil {
		return nil, nil, err
	}
	return pipeline, []hapi.Check{
		{Name: "kubernetes", Probe: live.Ready},
		{Name: "data_storage", Probe: storage.Ready},
		{Name: "catalog", Probe: func(ctx context.Context) error {
			_, err := storage.ListWorkflows(ctx, incident.WorkflowFilter{Limit: 1})
			return err
		}},
	}, nil
}

// clusterConfig returns the configuration of the cluster to investigate.
func clusterConfig(kubeconfig string, given *rest.Config) (*rest.Config, error) {
	var c *rest.Config
	var err error
	switch {
	case given != nil:
		c = rest.CopyConfig(given)
	case kubeconfig != "":
		c, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	default:
		c, err = rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			rules := clientcmd.NewDefaultClientConfigLoadingRules()
			c, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
		}
	}
	if err != nil {
		return nil, err
	}
	c.UserAgent = "kubernaut-holmesgpt-api"
	return c, nil
}

// shown returns the configuration as GET /config shows it, which is what -print-config prints.
func shown(cfg config.HolmesGPTAPI) (map[string]any, error) {
	var text bytes.Buffer
	if err := config.Print(&text, cfg); err != nil {
		return nil, err
	}
	var settings map[string]any
	if err := yaml.Unmarshal(text.Bytes(), &settings); err != nil {
		return nil, fmt.Errorf("read back the configuration: %w", err)
	}
	return settings, nil
}

// serve listens and serves until ctx ends, then shuts down in order.
func serve(ctx context.Context, api *hapi.Server, cfg config.HolmesGPTAPI, o Options, log *slog.Logger) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort(cfg.Server.Host, strconv.Itoa(cfg.Server.Port)))
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	server := &http.Server{
		Handler:           api.Handler(),
		ReadHeaderTimeout: min(5*time.Second, cfg.Server.ReadTimeout),
		ReadTimeout:       cfg.Server.ReadTimeout,
		// An answer may take as long as an investigation; its deadline comes before the connection's.
		WriteTimeout:   max(cfg.Server.WriteTimeout, cfg.Limits.InvestigationTimeout+cfg.Server.ReadTimeout+5*time.Second),
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext:    func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Info("investigation service serves", "address", listener.Addr().String(), "mock", cfg.Mock, "version", o.Version)
	if o.Ready != nil {
		o.Ready(Addresses{API: listener.Addr().String()})
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}

	log.Info("investigation service shuts down")
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.ShutdownTimeout*3/4) // the rest is for the audit trail
	defer cancel()
	api.BeginShutdown()
	wait(end, o.DrainDelay)
	if err := api.Drain(end); err != nil {
		log.Warn("investigations were cut off; whoever asked for them will ask again", "error", err)
	}
	if err := server.Shutdown(end); err != nil {
		log.Warn("connections were cut off", "error", err)
		_ = server.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// wait waits for d or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
