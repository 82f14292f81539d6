package hapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kubernaut.ai/kubernaut/internal/hapi/wire"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Paths of the API.
const (
	PathIncident = "/api/v1/incident/analyze"
	PathRecovery = "/api/v1/recovery/analyze"
	PathHealth   = "/health"
	PathReady    = "/ready"
	PathEvents   = "/api/v1/investigations/{key}/events"
	PathConfig   = "/config"
	PathMetrics  = "/metrics"
)

// Investigator answers incidents. It is called from many goroutines at once. The context ends when
// the investigation's time is over, and carries the incident.Request. Errors are *incident.Error;
// their kind becomes the status of the answer, so that KindInvalid and KindTooLarge are for what is
// wrong with the incident itself and for nothing else.
type Investigator interface {
	Investigate(ctx context.Context, in incident.Incident) (incident.Investigation, error)
}

// Options configure a Server. Investigator and StateDir are required; the zero value of any other
// field means its default.
type Options struct {
	Investigator Investigator
	// StateDir is where finished answers are kept, a directory of this server's own. It is made when
	// it does not exist.
	StateDir string

	Service string // name in health answers; default "holmesgpt-api"
	Version string // of the build
	// Checks are what readiness depends on.
	Checks []Check
	// LLM, Mock and Settings are what GET /config shows. They must hold no secrets.
	LLM      LLM
	Mock     bool
	Settings map[string]any

	MaxBodyBytes         int64         // of a request; default 1 MiB
	MaxConcurrent        int           // investigations at once; default 10
	MaxQueued            int           // investigations that wait for their turn; default 100
	InvestigationTimeout time.Duration // waiting for a turn included; default 50s
	AnswerRetention      time.Duration // default 24h
	MaxAnswers           int           // default 10000

	// Board shows how far investigations are; whoever investigates posts to it. Nil: a new one.
	Board *Board

	Logger   *slog.Logger
	Registry *prometheus.Registry // where metrics are registered and served from; default a new one
	Clock    func() time.Time
}

// LLM names the language model in use; all empty when there is none.
type LLM struct{ Provider, Model, Endpoint string }

// Server serves the investigation API. Its methods may be called at any time from any goroutine.
type Server struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	flights *flights
	probes  *probes
	handler http.Handler
}

// New makes a server and loads the answers that an earlier one left in StateDir.
func New(o Options) (*Server, error) {
	const op = "new investigation server"
	if o.Investigator == nil || o.StateDir == "" {
		return nil, incident.Errorf(incident.KindInvalid, op, "Options.Investigator and Options.StateDir are required")
	}
	if o.MaxBodyBytes < 0 || o.MaxConcurrent < 0 || o.MaxQueued < 0 || o.InvestigationTimeout < 0 || o.AnswerRetention < 0 || o.MaxAnswers < 0 {
		return nil, incident.Errorf(incident.KindInvalid, op, "Options holds a negative bound")
	}
	o.Service = cmp.Or(o.Service, "holmesgpt-api")
	o.Version = cmp.Or(o.Version, "dev")
	o.MaxBodyBytes = cmp.Or(o.MaxBodyBytes, 1<<20)
	o.MaxConcurrent = cmp.Or(o.MaxConcurrent, 10)
	o.MaxQueued = cmp.Or(o.MaxQueued, 100)
	o.InvestigationTimeout = cmp.Or(o.InvestigationTimeout, 50*time.Second)
	o.AnswerRetention = cmp.Or(o.AnswerRetention, 24*time.Hour)
	o.MaxAnswers = cmp.Or(o.MaxAnswers, 10_000)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Board == nil {
		o.Board = NewBoard()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	m, err := newMetrics(o.Registry)
	if err != nil {
		return nil, incident.Errorf(incident.KindInvalid, op, "register metrics: %w", err)
	}
	answers, err := openAnswers(o.StateDir, o.AnswerRetention, o.MaxAnswers, o.Clock, o.Logger)
	if err != nil {
		return nil, incident.Errorf(incident.KindInternal, op, "open the state directory: %w", err)
	}
	s := &Server{o: o, log: o.Logger, metrics: m, probes: newProbes(o.Checks, o.Clock)}
	s.flights = newFlights(answers, o.MaxConcurrent, o.MaxQueued, o.InvestigationTimeout, o.Board, m, o.Logger)
	if s.handler, err = s.routes(); err != nil {
		s.flights.close()
		return nil, incident.Errorf(incident.KindInternal, op, "%w", err)
	}
	return s, nil
}

// Handler returns the handler of all paths of the service.
func (s *Server) Handler() http.Handler { return s.handler }

// BeginShutdown makes readiness answer "shutting_down" and refuses investigations that do not run
// yet. Those that run go on, and finished ones can still be fetched.
func (s *Server) BeginShutdown() {
	s.probes.shutDown.Store(true)
	s.flights.refuse()
}

// Drain waits until no investigation runs. When ctx ends first, those that still run are cancelled,
// and Drain returns ctx's error once they have stopped.
func (s *Server) Drain(ctx context.Context) error {
	s.BeginShutdown()
	return s.flights.drain(ctx)
}

func (s *Server) routes() (http.Handler, error) {
	spec, err := wire.GetSpec()
	if err != nil {
		return nil, err
	}
	strict := wire.NewStrictHandlerWithOptions(s, nil, wire.StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  s.badRequest,
		ResponseErrorHandlerFunc: s.failed,
	})
	api := wire.HandlerWithOptions(strict, wire.StdHTTPServerOptions{ErrorHandlerFunc: s.badRequest})
	checked := s.readBody(validator(spec)(api))

	root := http.NewServeMux()
	root.Handle("GET "+PathMetrics, promhttp.HandlerFor(s.o.Registry, promhttp.HandlerOpts{}))
	root.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { s.alias(w, r, PathHealth, checked) })
	root.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { s.alias(w, r, PathReady, checked) })
	root.Handle("/", checked)
	return s.identify(s.measure(s.recoverPanic(root))), nil
}

func (s *Server) alias(w http.ResponseWriter, r *http.Request, path string, next http.Handler) {
	r2 := r.Clone(r.Context())
	r2.URL.Path, r2.RequestURI = path, path
	next.ServeHTTP(w, r2)
}

// recoverPanic turns a panic of a handler into a 500 with a problem.
func (s *Server) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler { //nolint:errorlint // the sentinel that net/http compares by identity too
				panic(v)
			}
			s.log.Error("handler panicked", "panic", v, "path", r.URL.Path,
				"request_id", incident.RequestOf(r.Context()).ID, "stack", string(debug.Stack()))
			problemFor(incident.Errorf(incident.KindInternal, "handle request", "panic")).write(w, r)
		}()
		next.ServeHTTP(w, r)
	})
}

// AnalyzeIncident is POST /api/v1/incident/analyze.
func (s *Server) AnalyzeIncident(ctx context.Context, req wire.AnalyzeIncidentRequestObject) (wire.AnalyzeIncidentResponseObject, error) {
	in := incidentOf(req.Body)
	return s.analyze(ctx, PathIncident, req.Params.IdempotencyKey, in, func(inv incident.Investigation, _ time.Duration) any {
		return incidentResponse(inv)
	})
}

// AnalyzeRecovery is POST /api/v1/recovery/analyze.
func (s *Server) AnalyzeRecovery(ctx context.Context, req wire.AnalyzeRecoveryRequestObject) (wire.AnalyzeRecoveryResponseObject, error) {
	in := recoveryOf(req.Body)
	return s.analyze(ctx, PathRecovery, req.Params.IdempotencyKey, in, func(inv incident.Investigation, took time.Duration) any {
		metadata := map[string]any{"analysis_time_ms": took.Milliseconds()}
		if s.o.Mock {
			metadata = map[string]any{"analysis_time_ms": 150, "mock_mode": true}
		}
		return recoveryResponse(inv, metadata)
	})
}

// analyze runs, joins or repeats an investigation and returns its answer.
func (s *Server) analyze(ctx context.Context, endpoint string, key *string, in incident.Incident,
	encode func(incident.Investigation, time.Duration) any,
) (answer, error) {
	request := incident.RequestOf(ctx)
	if key != nil {
		request.Key = *key
	}
	log := s.log.With("endpoint", endpoint, "request_id", request.ID, "incident_id", in.ID, "remediation_id", in.RemediationID)
	run := func(ctx context.Context) ([]byte, error) {
		start := s.o.Clock()
		inv, err := s.o.Investigator.Investigate(incident.WithRequest(ctx, request), in)
		took := s.o.Clock().Sub(start)
		var body []byte
		if err == nil {
			body, err = s.encode(in, inv, encode(inv, took))
		}
		s.metrics.investigated(endpoint, err, took)
		if err != nil {
			log.Warn("investigation failed", "duration", took, "kind", string(incident.KindOf(err)), "error", err)
			return nil, err
		}
		log.Info("investigation ended", "duration", took, "cause_class", string(inv.CauseClass), "confidence", inv.Confidence,
			"needs_human_review", inv.NeedsHumanReview, "human_review_reason", string(inv.HumanReviewReason))
		return body, nil
	}
	body, replayed, err := s.flights.do(ctx, request.Key, endpoint+" "+request.Hash, run)
	if err != nil {
		return answer{}, err
	}
	if replayed {
		s.metrics.replayed.WithLabelValues(endpoint).Inc()
	}
	return answer{body: body, replayed: replayed}, nil
}

// encode writes the answer, after making sure that it says what the contract allows.
func (s *Server) encode(in incident.Incident, inv incident.Investigation, response any) ([]byte, error) {
	const op = "encode answer"
	if inv.IncidentID != in.ID {
		return nil, incident.Errorf(incident.KindInternal, op, "the investigator answered for incident %q, asked was %q", inv.IncidentID, in.ID)
	}
	if err := checkRanges(inv); err != nil {
		return nil, incident.Errorf(incident.KindInternal, op, "the investigator broke the contract: %w", err)
	}
	body, err := json.Marshal(response)
	if err != nil {
		return nil, incident.Errorf(incident.KindInternal, op, "%w", err)
	}
	return append(body, '\n'), nil
}

// answer is a finished body, whichever investigation it is from.
type answer struct {
	body     []byte
	replayed bool
}

// VisitAnalyzeIncidentResponse writes the answer of the incident endpoint.
func (a answer) VisitAnalyzeIncidentResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitAnalyzeRecoveryResponse writes the answer of the recovery endpoint.
func (a answer) VisitAnalyzeRecoveryResponse(w http.ResponseWriter) error { return a.write(w) }

func (a answer) write(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if a.replayed {
		h.Set("Idempotency-Replayed", "true")
	}
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(a.body)
	if err != nil {
		return errCallerGone
	}
	return nil
}

// errCallerGone is returned when there is nobody left to answer.
var errCallerGone = errors.New("the caller went away")

// failed answers a request whose handler returned an error.
func (s *Server) failed(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errCallerGone) || r.Context().Err() != nil {
		s.log.Debug("caller went away", "path", r.URL.Path, "request_id", incident.RequestOf(r.Context()).ID)
		if rec, ok := w.(*recorder); ok && !rec.wrote {
			rec.status = statusClientClosed
		}
		return
	}
	if errors.Is(err, errNoInvestigation) {
		problem{problemKind: notFound, detail: "No investigation runs under this key, and none ended lately."}.write(w, r)
		return
	}
	problemFor(err).write(w, r)
}
