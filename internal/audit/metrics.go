package audit

import (
	"github.com/prometheus/client_golang/prometheus"

	"kubernaut.ai/kubernaut/internal/incident"
)

// metrics are registered together and can be unregistered together.
type metrics struct {
	collectors []prometheus.Collector
	registerer prometheus.Registerer

	buffered      prometheus.Counter
	adopted       prometheus.Counter
	dropped       prometheus.Counter
	rejected      *prometheus.CounterVec
	written       prometheus.Counter
	batchesFailed prometheus.Counter
	damagedBytes  prometheus.Counter
	writeDuration prometheus.Histogram
}

// newMetrics registers the metrics under the service's name. read is called at each scrape.
func newMetrics(reg prometheus.Registerer, service string, read func() usage) (*metrics, error) {
	m := &metrics{}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		m.collectors = append(m.collectors, c)
		return c
	}
	gauge := func(name, help string, value func(usage) float64) {
		m.collectors = append(m.collectors, prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(read()) }))
	}
	m.buffered = counter("audit_events_buffered_total", "Events recorded durably in the spool.")
	m.adopted = counter("audit_events_adopted_total",
		"Undelivered events that were taken over from processes that are gone.")
	m.dropped = counter("audit_events_dropped_total",
		"Events lost although they were recorded: the disk did not give back what it had confirmed.")
	m.written = counter("audit_events_written_total", "Events that the store accepted.")
	m.batchesFailed = counter("audit_batches_failed_total", "Attempts to write to the store that failed, whatever the reason.")
	m.damagedBytes = counter("audit_spool_damaged_bytes_total", "Bytes of the spool that were found unreadable.")
	m.rejected = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "audit_events_rejected_total",
		Help: "Events that the store refused for their content, now in rejected.jsonl, by kind of refusal.",
	}, []string{"kind"})
	for _, kind := range []incident.ErrorKind{
		incident.KindInvalid, incident.KindTooLarge, incident.KindConflict, incident.KindMalformed,
	} {
		m.rejected.WithLabelValues(string(kind))
	}
	m.writeDuration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "audit_write_duration_seconds",
		Help:    "Time that one attempt to write a batch to the store took.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12),
	})
	m.collectors = append(m.collectors, m.rejected, m.writeDuration)
	gauge("audit_buffer_size", "Events recorded and not yet delivered.",
		func(u usage) float64 { return float64(u.events) })
	gauge("audit_buffer_capacity", "The most events that may wait for delivery.",
		func(u usage) float64 { return float64(u.maxEvents) })
	gauge("audit_buffer_utilization_ratio", "How full the spool is, by events of this process or bytes of all, whichever is more; 1 is full.",
		func(u usage) float64 {
			return max(float64(u.events)/float64(u.maxEvents), float64(u.bytes)/float64(u.maxBytes))
		})
	gauge("audit_spool_bytes", "Size of the spool's segments on disk.",
		func(u usage) float64 { return float64(u.diskBytes) })
	gauge("audit_oldest_pending_seconds", "Age of the oldest event that waits for delivery; 0 when none does.",
		func(u usage) float64 { return u.oldest.Seconds() })

	if reg == nil {
		return m, nil
	}
	m.registerer = prometheus.WrapRegistererWith(prometheus.Labels{"service": service}, reg)
	for i, c := range m.collectors {
		if err := m.registerer.Register(c); err != nil {
			m.collectors = m.collectors[:i]
			m.unregister()
			return nil, incident.Errorf(incident.KindConflict, "audit.Open", "register the metrics of %s: %w", service, err)
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
}
