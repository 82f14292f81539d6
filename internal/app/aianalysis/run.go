// Package aianalysis puts the controller together and runs it.
package aianalysis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/approval"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/config"
	"kubernaut.ai/kubernaut/internal/controller"
	"kubernaut.ai/kubernaut/internal/dsapi"
	"kubernaut.ai/kubernaut/internal/hapi"
)

// service names the controller in metrics.
const service = "aianalysis"

// Options are what a configuration does not say. The zero value is that of a process of its own.
type Options struct {
	Logger  *slog.Logger // nil: as the configuration says, to Stderr
	Stderr  io.Writer    // nil: os.Stderr
	Version string       // for the log
	// PodNamespace is the namespace of the controller's pod, for events about the pod; empty outside
	// a cluster.
	PodNamespace string
	// Rest is the cluster to serve. Nil: controller.kubeconfig, else the cluster that the process
	// runs in, else KUBECONFIG.
	Rest *rest.Config
	// Ready is called once, when the addresses are known and before the first analysis.
	Ready func(Addresses)
}

// Addresses are those that the controller listens on; empty where it does not.
type Addresses struct{ Metrics, Health string }

// Run serves until ctx ends, then stops within cfg.ShutdownTimeout: no new work is taken, running
// investigations are left for the next process to resume, and the audit trail is flushed as far as
// Data Storage takes it. The error is nil when the end was asked for.
//
// The libraries that talk to Kubernetes log through globals of their own, which Run sets.
func Run(ctx context.Context, cfg config.AIAnalysis, o Options) (err error) {
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
	klog.SetSlogLogger(log)
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))

	cluster, err := clusterConfig(cfg.Controller.Kubeconfig, o.Rest)
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	registry := prometheus.NewRegistry()

	calls := http.DefaultTransport.(*http.Transport).Clone()
	calls.MaxIdleConnsPerHost = cfg.HolmesGPT.MaxInFlight
	investigator, err := hapi.NewClient(cfg.HolmesGPT.URL, &http.Client{Transport: calls})
	if err != nil {
		return fmt.Errorf("holmesgpt.url: %w", err)
	}
	defer calls.CloseIdleConnections()
	deliveries := http.DefaultTransport.(*http.Transport).Clone()
	storage, err := dsapi.NewClient(cfg.DataStorage.URL, &http.Client{Transport: deliveries, Timeout: cfg.DataStorage.Timeout})
	if err != nil {
		return fmt.Errorf("datastorage.url: %w", err)
	}
	defer deliveries.CloseIdleConnections()

	trail, err := audit.Open(audit.Options{
		Dir: cfg.Audit.Dir, MaxBytes: cfg.Audit.MaxBytes, Sink: storage, Service: service, Logger: log, Registerer: registry,
	})
	if err != nil {
		return fmt.Errorf("open the audit spool: %w", err)
	}
	stop := newDeadline(ctx, cfg.ShutdownTimeout)
	// Whatever ends the process, a lost lease too, what is recorded is delivered first.
	defer func() { err = errors.Join(err, stop.within(trail.Close)) }()

	if err := awaitServer(ctx, cluster, reachPatience, log); err != nil {
		return fmt.Errorf("reach the API server at %s: %w", cluster.Host, err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	// Half of the time is for reconciles to end, the rest for the audit trail.
	grace := cfg.ShutdownTimeout / 2
	// In the proportions of the library's own 15, 10 and 2 seconds.
	lease := cfg.Controller.LeaderElectionLease
	renew, retry := lease*2/3, lease*2/15
	manager, err := ctrl.NewManager(cluster, ctrl.Options{
		Scheme:                        scheme,
		Logger:                        logr.FromSlogHandler(log.Handler()),
		Cache:                         controller.CacheOptions(cfg.Controller.Namespaces),
		Metrics:                       metricsserver.Options{BindAddress: "0"}, // served below, with our own
		HealthProbeBindAddress:        "0",
		LeaderElection:                cfg.Controller.LeaderElection,
		LeaderElectionID:              cfg.Controller.LeaderElectionID,
		LeaderElectionNamespace:       cfg.Controller.LeaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &lease,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &retry,
		GracefulShutdownTimeout:       &grace,
	})
	if err != nil {
		return fmt.Errorf("reach the API server at %s: %w", cluster.Host, err)
	}
	policy, err := approval.Load(cfg.Rego.PolicyPath, approval.Options{
		EvaluationTimeout: cfg.Rego.EvaluationTimeout, Logger: log, Registerer: registry,
		OnReload: policyEvents(ctx, manager.GetClient(), o.PodNamespace, log),
	})
	if err != nil {
		return fmt.Errorf("rego.policy_path: %w", err)
	}
	reconciler, err := controller.Register(manager, controller.Options{
		Investigator: investigator, Evaluator: policy, Recorder: trail, RequestHash: hapi.RequestHash,
		Settings: settings(cfg), Workers: cfg.Controller.MaxConcurrentReconciles, Logger: log, Registerer: registry,
	})
	if err != nil {
		return err
	}
	defer reconciler.Close()

	metrics, err := listen(cfg.Controller.MetricsAddr, metricsHandler(registry))
	if err != nil {
		return fmt.Errorf("controller.metrics_addr: %w", err)
	}
	defer metrics.close()
	health, err := listen(cfg.Controller.HealthProbeAddr, healthHandler(newReadiness(time.Now,
		check{"cache", cacheSynced(ctx, manager.GetCache())},
		check{"policy", func(context.Context) error { return nil }}, // loaded above; a bad one never replaces it
		check{"holmesgpt-api", investigator.Ready},
		check{"datastorage", storage.Ready},
	)))
	if err != nil {
		return fmt.Errorf("controller.health_probe_addr: %w", err)
	}
	defer health.close()

	log.Info("controller starts", "version", o.Version, "cluster", cluster.Host, "policy", policy.Hash(),
		"metrics", metrics.addr(), "health", health.addr(), "leader_election", cfg.Controller.LeaderElection)
	if o.Ready != nil {
		o.Ready(Addresses{Metrics: metrics.addr(), Health: health.addr()})
	}
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return metrics.serve() })
	group.Go(func() error { return health.serve() })
	group.Go(func() error { policy.Watch(running); return nil })
	group.Go(func() error {
		// The probes answer until the last reconcile has ended.
		defer health.close()
		defer metrics.close()
		if err := manager.Start(running); err != nil {
			return fmt.Errorf("run the controller: %w", err)
		}
		return nil
	})
	err = group.Wait()
	log.Info("controller stops", "undelivered_audit_events", trail.Pending())
	return err
}

// settings are the controller's part of a configuration.
func settings(cfg config.AIAnalysis) controller.Settings {
	return controller.Settings{
		CallTimeout:      min(cfg.HolmesGPT.Timeout, cfg.Timeouts.Investigating),
		AnalyzingTimeout: cfg.Timeouts.Analyzing,
		OverallTimeout:   cfg.Timeouts.Overall,
		MaxAttempts:      cfg.HolmesGPT.Retry.MaxAttempts,
		BackoffBase:      cfg.HolmesGPT.Retry.Base,
		BackoffMax:       cfg.HolmesGPT.Retry.Max,
		MaxInFlight:      cfg.HolmesGPT.MaxInFlight,
		BreakerFailures:  cfg.HolmesGPT.Breaker.Failures,
		BreakerOpenFor:   cfg.HolmesGPT.Breaker.OpenFor,
		ReviewThreshold:  cfg.Review.ConfidenceThreshold,
		DeliveryWait:     cfg.Audit.DeliveryWait,
	}
}

// metricsHandler serves our metrics and those of the libraries, which have a registry of their own.
func metricsHandler(own *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.Gatherers{own, ctrlmetrics.Registry}, promhttp.HandlerOpts{}))
	return mux
}
