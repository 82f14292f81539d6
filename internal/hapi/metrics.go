package hapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubernaut.ai/kubernaut/internal/incident"
)

// statusClientClosed is how a request is counted whose caller went away before the answer.
const statusClientClosed = 499

// metrics are the service's. Every label has a bounded set of values.
type metrics struct {
	requests      *prometheus.CounterVec   // method, endpoint, status
	duration      *prometheus.HistogramVec // method, endpoint
	active        *prometheus.GaugeVec     // method, endpoint
	problems      *prometheus.CounterVec   // status_code, error_type
	investigation *prometheus.CounterVec   // method, endpoint, status
	took          *prometheus.HistogramVec // method, endpoint
	replayed      *prometheus.CounterVec   // endpoint
	queued        prometheus.Gauge
	running       prometheus.Gauge
	stored        prometheus.Gauge
	storeErrors   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	const ns = "holmesgpt_api"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: ns, Name: name, Help: help, Buckets: buckets}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Name: name, Help: help})
	}
	seconds := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}
	m := &metrics{
		requests: counter("http_requests_total", "HTTP requests by status.", "method", "endpoint", "status"),
		duration: histogram("http_request_duration_seconds", "Time to answer an HTTP request.", seconds, "method", "endpoint"),
		active: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: ns, Name: "active_requests", Help: "HTTP requests that are being answered.",
		}, []string{"method", "endpoint"}),
		problems:      counter("rfc7807_errors_total", "Problem documents sent.", "status_code", "error_type"),
		investigation: counter("investigations_total", "Investigations that were run, by outcome (success, error).", "method", "endpoint", "status"),
		took:          histogram("investigations_duration_seconds", "Time that an investigation ran.", seconds, "method", "endpoint"),
		replayed: counter("investigations_replayed_total",
			"Answers that came from an earlier or concurrent request with the same idempotency key.", "endpoint"),
		queued:      gauge("investigations_queued", "Investigations that wait for their turn."),
		running:     gauge("investigations_running", "Investigations that run."),
		stored:      gauge("answers_stored", "Finished answers that are kept."),
		storeErrors: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: "answer_store_errors_total", Help: "Answers that could not be kept or read back."}),
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.duration, m.active, m.problems, m.investigation, m.took, m.replayed, m.queued, m.running, m.stored, m.storeErrors,
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	for _, endpoint := range []string{PathIncident, PathRecovery} {
		for _, status := range []string{"success", "error"} {
			m.investigation.WithLabelValues(http.MethodPost, endpoint, status)
		}
		m.replayed.WithLabelValues(endpoint)
	}
	return m, nil
}

// investigated counts one investigation that was run.
func (m *metrics) investigated(endpoint string, err error, took time.Duration) {
	status := "success"
	if err != nil {
		status = "error"
	}
	m.investigation.WithLabelValues(http.MethodPost, endpoint, status).Inc()
	m.took.WithLabelValues(http.MethodPost, endpoint).Observe(took.Seconds())
}

// measure counts and times every request.
func (s *Server) measure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method, endpoint := methodLabel(r.Method), endpointLabel(r.URL.Path)
		start := s.o.Clock()
		active := s.metrics.active.WithLabelValues(method, endpoint)
		active.Inc()
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			active.Dec()
			took := s.o.Clock().Sub(start)
			s.metrics.requests.WithLabelValues(method, endpoint, strconv.Itoa(rec.status)).Inc()
			s.metrics.duration.WithLabelValues(method, endpoint).Observe(took.Seconds())
			if rec.problem != "" {
				s.metrics.problems.WithLabelValues(strconv.Itoa(rec.status), rec.problem).Inc()
			}
			s.log.Debug("request", "method", method, "endpoint", endpoint, "status", rec.status, "duration", took,
				"request_id", incident.RequestOf(r.Context()).ID)
		}()
		next.ServeHTTP(rec, r)
	})
}

// methodLabel and endpointLabel bound what a caller can make a label of.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

func endpointLabel(path string) string {
	switch path {
	case PathIncident, PathRecovery, PathHealth, PathReady, PathConfig, PathMetrics, "/healthz", "/readyz":
		return path
	}
	if strings.HasPrefix(path, eventsPrefix) && strings.HasSuffix(path, eventsSuffix) {
		return PathEvents
	}
	return "other"
}

// eventsPrefix and eventsSuffix stand around the key in PathEvents.
const (
	eventsPrefix = "/api/v1/investigations/"
	eventsSuffix = "/events"
)

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status  int
	wrote   bool
	problem string // slug of the problem that was sent
}

func (r *recorder) WriteHeader(status int) {
	if !r.wrote {
		r.status, r.wrote = status, true
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.wrote = true
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
