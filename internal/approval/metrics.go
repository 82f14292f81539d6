package approval

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	resultSuccess = "success"
	resultFailure = "failure"
)

// figures are the policy's figures.
type figures struct {
	reloads     *prometheus.CounterVec
	info        *prometheus.GaugeVec
	reloadError prometheus.Gauge
	evaluation  prometheus.Histogram
}

func newFigures(r prometheus.Registerer) (*figures, error) {
	m := &figures{
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aianalysis_policy_reloads_total",
			Help: "Attempts to load a changed approval policy, by result (success, failure).",
		}, []string{"result"}),
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "aianalysis_policy_info",
			Help: "1 for the approval policy in force, by the first 16 hex digits of its SHA-256.",
		}, []string{"hash"}),
		reloadError: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "aianalysis_policy_reload_error",
			Help: "1 when the policy file was refused and an earlier policy is in force, else 0.",
		}),
		evaluation: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "aianalysis_policy_evaluation_duration_seconds",
			Help:    "Time of one evaluation of the approval policy.",
			Buckets: []float64{0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1},
		}),
	}
	m.reloads.WithLabelValues(resultSuccess)
	m.reloads.WithLabelValues(resultFailure)
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.reloads, m.info, m.reloadError, m.evaluation} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of the approval policy: %w", err)
		}
	}
	return m, nil
}

// inForce shows the policy with the given hash, and only it.
func (m *figures) inForce(hash string) {
	m.info.Reset()
	m.info.WithLabelValues(hash[:16]).Set(1)
	m.reloadError.Set(0)
}
