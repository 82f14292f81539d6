// Package guard stands between the investigation loop and a vendor: the one place where a turn is tried
// again, the circuit breaker, and the metrics.
package guard

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"

	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
)

const (
	firstWait = 300 * time.Millisecond // before the second try; it doubles
	maxWait   = 8 * time.Second
	// leastForTry is the time that must be left for a further try to be worth it.
	leastForTry = 500 * time.Millisecond
	// The breaker opens after so many failures in a row, and lets one try through after its rest.
	failuresToOpen = 5
	rest           = 30 * time.Second
)

// Metrics count what models are asked. They are shared by all models of a process.
type Metrics struct {
	calls    *prometheus.CounterVec   // provider, model, status
	duration *prometheus.HistogramVec // provider, model
	tokens   *prometheus.CounterVec   // provider, model, type
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "holmesgpt_api", Name: "llm_calls_total", Help: "Requests to a model by what became of them: success, or the kind of error.",
		}, []string{"provider", "model", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "holmesgpt_api", Name: "llm_call_duration_seconds", Help: "Time to an answer of a model, or to an error.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60},
		}, []string{"provider", "model"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "holmesgpt_api", Name: "llm_token_usage_total", Help: "Tokens as the vendor counts them, by type: input, cached, output.",
		}, []string{"provider", "model", "type"}),
	}
	for _, c := range []prometheus.Collector{m.calls, m.duration, m.tokens} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Options configure a Model. Model, Provider, Name and Metrics are required.
type Options struct {
	Model    reason.Model
	Provider string // for metrics and errors; as configured, so that the set of values is bounded
	Name     string
	Retries  int // further tries of one turn
	// MaxOutput bounds each answer, in tokens; 0 leaves it to the request.
	MaxOutput int
	Metrics   *Metrics
}

// Model is a reason.Model that tries again what can be tried again, within the time of the turn. It is safe for
// concurrent use.
type Model struct {
	o       Options
	breaker *gobreaker.CircuitBreaker[reason.Response]
}

// New makes a Model with a circuit breaker of its own.
func New(o Options) *Model {
	return &Model{o, gobreaker.NewCircuitBreaker[reason.Response](gobreaker.Settings{
		Name: o.Provider, Timeout: rest,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failuresToOpen },
		// What the vendor answers to one conversation says nothing about the next.
		IsSuccessful: func(err error) bool {
			switch incident.KindOf(err) {
			case "", incident.KindTooLarge, incident.KindInvalid, incident.KindMalformed:
				return true
			}
			return errors.Is(err, context.Canceled)
		},
	})}
}

// Turn implements reason.Model.
func (m *Model) Turn(ctx context.Context, req reason.Request) (reason.Response, error) {
	if m.o.MaxOutput > 0 {
		req.MaxOutput = min(req.MaxOutput, m.o.MaxOutput)
	}
	for try := 0; ; try++ {
		resp, err := m.once(ctx, req)
		if err == nil || try >= m.o.Retries || !incident.KindOf(err).Retryable() || !pause(ctx, m.wait(try, err)) {
			return resp, err
		}
	}
}

// once is one try.
func (m *Model) once(ctx context.Context, req reason.Request) (reason.Response, error) {
	began := time.Now()
	resp, err := m.breaker.Execute(func() (reason.Response, error) { return m.o.Model.Turn(ctx, req) })
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		m.o.Metrics.calls.WithLabelValues(m.o.Provider, m.o.Name, "open").Inc()
		return resp, &incident.Error{
			Kind: incident.KindUnavailable, Op: "ask " + m.o.Name, RetryAfter: rest,
			Err: errors.New("it has failed several times in a row and is left alone for a moment"),
		}
	}
	status := "success"
	if err != nil {
		status = string(incident.KindOf(err))
	}
	m.o.Metrics.calls.WithLabelValues(m.o.Provider, m.o.Name, status).Inc()
	m.o.Metrics.duration.WithLabelValues(m.o.Provider, m.o.Name).Observe(time.Since(began).Seconds())
	for kind, n := range map[string]int{"input": resp.Usage.Input - resp.Usage.Cached, "cached": resp.Usage.Cached, "output": resp.Usage.Output} {
		if n > 0 {
			m.o.Metrics.tokens.WithLabelValues(m.o.Provider, m.o.Name, kind).Add(float64(n))
		}
	}
	return resp, err
}

// wait is how long to wait after a try: as long as the vendor asks for, else longer each time, with jitter.
func (m *Model) wait(try int, err error) time.Duration {
	if e, ok := errors.AsType[*incident.Error](err); ok && e.RetryAfter > 0 {
		return e.RetryAfter
	}
	d := min(firstWait<<min(try, 10), maxWait)
	return d/2 + rand.N(d/2)
}

// pause waits, and reports whether there is time for another try. It does not wait in vain.
func pause(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d+leastForTry {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
