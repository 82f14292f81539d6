package dsapi

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubernaut.ai/kubernaut/internal/incident"
)

// metrics are those of the contract that have a meaning here, and the latency of every operation.
type metrics struct {
	traces   *prometheus.CounterVec
	lag      *prometheus.HistogramVec
	writes   *prometheus.HistogramVec
	failures *prometheus.CounterVec
	requests *prometheus.HistogramVec
	matches  prometheus.Histogram

	categories []string
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		categories: incident.EventCategories(),
		traces: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "datastorage_audit_traces_total",
			Help: "Audit events that were to be written, by category and outcome (success, failure).",
		}, []string{"service", "status"}),
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "datastorage_audit_lag_seconds",
			Help:    "Time from an audit event's timestamp to its being stored, by category.",
			Buckets: []float64{.01, .05, .1, .5, 1, 2, 5, 10, 30, 60, 300, 3600},
		}, []string{"service"}),
		writes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "datastorage_write_duration_seconds",
			Help:    "Time that a write to the database took, by table.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30},
		}, []string{"table"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "datastorage_validation_failures_total",
			Help: "Faults found in requests, by field and reason (missing, invalid).",
		}, []string{"field", "reason"}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "datastorage_http_request_duration_seconds",
			Help:    "Time that requests took, by route and status.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30},
		}, []string{"route", "code"}),
		matches: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "datastorage_workflow_search_matches",
			Help:    "Workflows that a search found, before its limit.",
			Buckets: []float64{0, 1, 2, 5, 10, 50, 100, 1000},
		}),
	}
	for _, c := range []prometheus.Collector{m.traces, m.lag, m.writes, m.failures, m.requests, m.matches} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	for _, category := range m.categories {
		m.traces.WithLabelValues(category, "success")
		m.traces.WithLabelValues(category, "failure")
	}
	return m, nil
}

// wrote records one write that began at start.
func (m *metrics) wrote(table string, start time.Time) {
	m.writes.WithLabelValues(table).Observe(time.Since(start).Seconds())
}

// events records the fate of events that were to be written.
func (m *metrics) events(events []incident.AuditEvent, now time.Time, err error) {
	status := "success"
	if err != nil {
		status = "failure"
	}
	for _, e := range events {
		category := e.Category
		if !slices.Contains(m.categories, category) {
			category = "unknown"
		}
		m.traces.WithLabelValues(category, status).Inc()
		if err == nil {
			m.lag.WithLabelValues(category).Observe(max(now.Sub(e.Timestamp).Seconds(), 0))
		}
	}
}

// invalid counts the faults that err holds. The label is the name of the top field, which comes
// from the specification or from our own rules and never from the client.
func (m *metrics) invalid(err error) {
	var faults incident.FieldErrors
	if !errors.As(err, &faults) {
		return
	}
	for _, f := range faults {
		reason := "invalid"
		if strings.Contains(f.Rule, "missing") || strings.Contains(f.Rule, "empty") || strings.Contains(f.Rule, "required") {
			reason = "missing"
		}
		m.failures.WithLabelValues(topField(f.Field), reason).Inc()
	}
}

// topField returns the first name in a path such as [3].event_type, 3.event_type or labels.severity.
func topField(path string) string {
	for part := range strings.SplitSeq(path, ".") {
		name, _, _ := strings.Cut(part, "[")
		if _, err := strconv.Atoi(name); name != "" && err != nil {
			return name
		}
	}
	return "body"
}

// served records one request.
func (m *metrics) served(r *http.Request, status int, took time.Duration) {
	route := r.Pattern
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
}
