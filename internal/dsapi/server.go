// Package dsapi is the HTTP protocol of Data Storage: the server's handlers over a Store, and the
// client. The specification is api/openapi/datastorage.yaml.
package dsapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubernaut.ai/kubernaut/internal/dsapi/internal/gen"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Store is what the server keeps things in. Its errors are of the domain.
type Store interface {
	AppendEvents(ctx context.Context, events []incident.AuditEvent) ([]incident.StoredEvent, error)
	Event(ctx context.Context, id string) (incident.StoredEvent, error)
	Events(ctx context.Context, q incident.EventQuery) (incident.EventPage, error)
	VerifyChain(ctx context.Context, correlationID string) (incident.ChainReport, error)
	AddNotification(ctx context.Context, n incident.Notification) (incident.StoredNotification, error)

	CreateWorkflow(ctx context.Context, w incident.Workflow) (incident.Workflow, error)
	Workflow(ctx context.Context, id string) (incident.Workflow, error)
	WorkflowVersions(ctx context.Context, name string) ([]incident.Workflow, error)
	Workflows(ctx context.Context, f incident.WorkflowFilter) (incident.WorkflowPage, error)
	ChangeWorkflow(ctx context.Context, id string, c incident.WorkflowChange) (incident.Workflow, error)
	SearchWorkflows(ctx context.Context, q incident.WorkflowQuery) (incident.WorkflowSearch, error)

	PutBundle(ctx context.Context, digest string, body []byte) (created bool, err error)
	Bundle(ctx context.Context, digest string) ([]byte, error)

	Ping(ctx context.Context) error
}

// Options of a Server. Only Store is required.
type Options struct {
	Store Store

	MaxBodyBytes   int64         // of a request that is not a bundle; 5 MiB
	MaxBatchEvents int           // 5000
	MaxBundleBytes int64         // 16 MiB
	RequestTimeout time.Duration // of one request; 30 seconds

	Metrics    http.Handler          // answers /metrics; nil answers 404
	Registerer prometheus.Registerer // a registry that nobody reads
	Logger     *slog.Logger          // discards
	Clock      func() time.Time      // time.Now
}

func (o *Options) complete() error {
	if o.Store == nil {
		return errors.New("dsapi: Options.Store must be set")
	}
	if o.MaxBodyBytes < 0 || o.MaxBatchEvents < 0 || o.MaxBundleBytes < 0 || o.RequestTimeout < 0 {
		return errors.New("dsapi: bounds must not be negative")
	}
	if o.MaxBodyBytes == 0 {
		o.MaxBodyBytes = 5 << 20
	}
	if o.MaxBatchEvents == 0 {
		o.MaxBatchEvents = 5000
	}
	if o.MaxBundleBytes == 0 {
		o.MaxBundleBytes = 16 << 20
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = 30 * time.Second
	}
	if o.Metrics == nil {
		o.Metrics = http.NotFoundHandler()
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return nil
}

// Server answers the requests of the specification. It is safe for concurrent use.
type Server struct {
	o        Options
	store    Store
	log      *slog.Logger
	metrics  *metrics
	handler  http.Handler
	draining atomic.Bool
}

// NewServer returns a server over o.Store.
func NewServer(o Options) (*Server, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	s := &Server{o: o, store: o.Store, log: o.Logger, metrics: m}
	validate, err := s.validator()
	if err != nil {
		return nil, fmt.Errorf("read the embedded specification: %w", err)
	}
	badRequest := func(w http.ResponseWriter, r *http.Request, err error) { s.fail(w, r, describeDecode(r, err)) }
	strict := gen.NewStrictHandlerWithOptions(&operations{s}, nil, gen.StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  badRequest,
		ResponseErrorHandlerFunc: s.fail,
	})
	routes := gen.HandlerWithOptions(strict, gen.StdHTTPServerOptions{ErrorHandlerFunc: badRequest})
	s.handler = s.observe(s.bound(validate(routes)))
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Drain makes the server say from now on that it is not ready. It goes on answering.
func (s *Server) Drain() { s.draining.Store(true) }

// observe measures requests and turns a panic into a problem.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(r.Context(), s.o.RequestTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				s.log.Error("Handler panicked", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				if !recorder.wrote {
					writeProblem(recorder, r, newProblem(incident.Errorf(incident.KindInternal, "serve", "panic")))
				}
			}
			s.metrics.served(r, recorder.status, time.Since(start))
			s.log.Debug("Request served", "method", r.Method, "path", r.URL.Path, "status", recorder.status, "duration", time.Since(start))
		}()
		next.ServeHTTP(recorder, r)
	})
}

// statusRecorder remembers the status of an answer.
type statusRecorder struct {
	http.ResponseWriter
	status int
	wrote  bool
}

func (w *statusRecorder) WriteHeader(status int) {
	if !w.wrote {
		w.status, w.wrote = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusRecorder) Write(b []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController the writer behind.
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// bound limits the body and refuses text that no stored value can have.
func (s *Server) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != strings.ToValidUTF8(r.URL.Path, "") || strings.Contains(r.URL.Path, "\x00") ||
			strings.Contains(strings.ToLower(r.URL.RawQuery), "%00") {
			s.fail(w, r, incident.Errorf(incident.KindInvalid, "route", "the URL must be valid UTF-8 without NUL characters"))
			return
		}
		limit := s.o.MaxBodyBytes
		if strings.HasPrefix(r.URL.Path, "/api/v1/bundles/") {
			limit = s.o.MaxBundleBytes
		}
		if r.ContentLength > limit {
			s.fail(w, r, describe(&http.MaxBytesError{Limit: limit}))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		if r.URL.Path == batchPath && r.Method == http.MethodPost {
			data, err := io.ReadAll(r.Body)
			if err != nil {
				s.fail(w, r, describe(err))
				return
			}
			r.Body = newBatchBody(data)
		}
		next.ServeHTTP(w, r)
	})
}
