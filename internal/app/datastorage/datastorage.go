// Package datastorage puts the Data Storage service together: configuration in, a listening server
// over an open store out.
package datastorage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/config"
	"kubernaut.ai/kubernaut/internal/dsapi"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/store"
)

// Options are what a process hands to Run beside the configuration.
type Options struct {
	Logger *slog.Logger // discards
	// Ready is called once, when requests are served, with the address that they are served at.
	Ready func(net.Addr)
	// DrainDelay is how long the service goes on taking requests after it has said that it is not
	// ready: a cluster needs a moment to send them elsewhere.
	DrainDelay time.Duration
	// StartTimeout is how long to wait for the database to answer; 1 minute.
	StartTimeout time.Duration
	Clock        func() time.Time // time.Now
}

// Run serves until ctx ends, and then shuts down within cfg.ShutdownTimeout: it says that it is not
// ready, finishes the requests that it has, and closes the store. It returns nil after that. The
// configuration must be valid.
func Run(ctx context.Context, cfg config.DataStorage, o Options) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = time.Minute
	}
	for _, warning := range cfg.Warnings {
		o.Logger.Warn("Configuration", "warning", warning)
	}

	st, err := openStore(ctx, cfg.Database, o)
	if err != nil {
		return err
	}
	defer func() {
		if err := st.Close(); err != nil {
			o.Logger.Error("Store did not close", "error", err)
		}
	}()
	if cfg.Catalog.Dir != "" {
		if err := seed(ctx, st, os.DirFS(cfg.Catalog.Dir), o.Logger); err != nil {
			return fmt.Errorf("register the workflows of %s: %w", cfg.Catalog.Dir, err)
		}
	}

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	api, err := dsapi.NewServer(dsapi.Options{
		Store:          st,
		MaxBodyBytes:   cfg.Limits.MaxBodyBytes,
		MaxBatchEvents: cfg.Limits.MaxBatchEvents,
		MaxBundleBytes: cfg.Limits.MaxBundleBytes,
		RequestTimeout: cfg.Server.WriteTimeout,
		Metrics:        promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		Registerer:     registry,
		Logger:         o.Logger,
		Clock:          o.Clock,
	})
	if err != nil {
		return err
	}
	return serve(ctx, api, cfg, o)
}

func serve(ctx context.Context, api *dsapi.Server, cfg config.DataStorage, o Options) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort(cfg.Server.Host, strconv.Itoa(cfg.Server.Port)))
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           api,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       cfg.Server.ReadTimeout,
		WriteTimeout:      cfg.Server.WriteTimeout + time.Second, // the request's own deadline comes first
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	o.Logger.Info("Data Storage serves", "address", listener.Addr().String(), "driver", cfg.Database.Driver)
	if o.Ready != nil {
		o.Ready(listener.Addr())
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}

	o.Logger.Info("Data Storage shuts down")
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.ShutdownTimeout)
	defer cancel()
	api.Drain()
	wait(deadline, o.DrainDelay)
	if err := server.Shutdown(deadline); err != nil {
		o.Logger.Warn("Requests were cut off", "error", err)
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

// openStore opens the store, waiting for a database that does not answer yet.
func openStore(ctx context.Context, d config.Database, o Options) (*store.Store, error) {
	options := store.Options{
		Driver: store.Driver(d.Driver), Path: d.Path, MaxOpenConns: d.MaxOpenConns, MaxIdleConns: d.MaxIdleConns,
		ConnMaxLifetime: d.ConnMaxLifetime, ConnMaxIdleTime: d.ConnMaxIdleTime, Clock: o.Clock, Logger: o.Logger,
	}
	if options.Driver == store.Postgres {
		options.DSN = dsn(d)
	}
	ctx, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		st, err := store.Open(ctx, options)
		if err == nil || !incident.KindOf(err).Retryable() || ctx.Err() != nil {
			return st, err
		}
		o.Logger.Warn("Database does not answer yet", "error", err, "retry", pause)
		wait(ctx, pause)
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

// dsn is the connection string in keyword form, whose values may hold anything.
func dsn(d config.Database) string {
	quote := func(value string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
	}
	parts := []string{
		"host=" + quote(d.Host), "port=" + strconv.Itoa(d.Port), "dbname=" + quote(d.Name), "user=" + quote(d.User),
		"sslmode=" + quote(d.SSLMode),
	}
	if password := d.Password.Reveal(); password != "" {
		parts = append(parts, "password="+quote(password))
	}
	return strings.Join(parts, " ")
}

// seed registers the workflow documents of a directory that the catalog does not have. A version
// that it has stays as it is: when the document differs, the log says so.
func seed(ctx context.Context, st *store.Store, dir fs.FS, log *slog.Logger) error {
	if _, err := fs.Stat(dir, "."); err != nil { // Load takes a directory that is not there for an empty one
		return err
	}
	workflows, err := catalog.Load(dir)
	if err != nil {
		return err
	}
	added := 0
	for _, w := range workflows {
		known, err := registered(ctx, st, w)
		if err != nil {
			return err
		}
		if known != nil {
			if known.ContentHash != w.ContentHash {
				log.Warn("Workflow document differs from the registered version: give it a new version",
					"workflow", w.Name, "version", w.Version)
			}
			continue
		}
		_, err = st.CreateWorkflow(ctx, w)
		switch {
		case incident.KindOf(err) == incident.KindConflict: // another replica was faster
		case err != nil:
			return fmt.Errorf("workflow %s %s: %w", w.Name, w.Version, err)
		default:
			added++
		}
	}
	log.Info("Workflow documents are registered", "documents", len(workflows), "new", added)
	return nil
}

// registered returns the stored version of w, nil when there is none.
func registered(ctx context.Context, st *store.Store, w incident.Workflow) (*incident.Workflow, error) {
	versions, err := st.WorkflowVersions(ctx, w.Name)
	if err != nil {
		return nil, err
	}
	for _, v := range versions {
		if v.Version == w.Version {
			return &v, nil
		}
	}
	return nil, nil
}
