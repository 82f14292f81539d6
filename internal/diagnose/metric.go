package diagnose

import "kubernaut.ai/kubernaut/internal/incident"

// metricKind and metricVersion say that an object of a snapshot is a Metric: the samples of one series about one container
// or Pod, which a collector got from a metrics server and stored among the objects. Its tree holds, beside the metadata with
// the Pod's namespace and the name of [MetricRef]: pod, container, measure, unit, query, latest, most, least, since and
// samples (at, value), the oldest first.
const (
	metricKind    = "Metric"
	metricVersion = "kubernaut.ai/v1alpha1"
)

// Measure is what a Metric measures.
type Measure string

// The measures that rules and readers know.
const (
	MeasureThrottled   Measure = "cpu-throttled"       // share of the scheduling periods in which a CPU limit held the container back
	MeasureCPU         Measure = "cpu"                 // cores
	MeasureMemory      Measure = "memory"              // bytes of the working set
	MeasureMemoryLimit Measure = "memory-limit"        // bytes
	MeasureRestarts    Measure = "restarts"            // of the container since its Pod began
	MeasureErrors      Measure = "request-errors"      // share of the Pod's requests that ended in a server error
	MeasureLatency     Measure = "request-latency-p99" // seconds
)

// throttledMuch is the share of periods from which on a CPU limit slows a program noticeably.
const throttledMuch = 0.25

// MetricRef names the Metric of a Pod's container, or with container "" of the Pod as a whole.
func MetricRef(namespace, pod, container string, m Measure) incident.Ref {
	name := pod + "." + string(m)
	if container != "" {
		name = pod + "." + container + "." + string(m)
	}
	return incident.Ref{APIVersion: metricVersion, Kind: metricKind, Namespace: namespace, Name: name}
}

func isMetric(ref incident.Ref) bool {
	return ref.Kind == metricKind && ref.APIVersion == metricVersion
}

// metric returns the latest value of a container's measure; false when it was not read. Metrics are no objects of the cluster:
// asking for them makes no want.
func (q *inquiry) metric(s symptom, m Measure) (Value, bool) {
	if s.container == nil {
		return Value{}, false
	}
	o := q.snap.object(MetricRef(s.subject.Namespace, s.subject.Name, s.container.name, m))
	if o == nil {
		return Value{}, false
	}
	v := o.At("latest")
	return v, v.Exists()
}

// throttled says whether a container is held back by its CPU limit, by measurement; known is false when that was not measured.
func (q *inquiry) throttled(s symptom) (place Value, much, known bool) {
	v, ok := q.metric(s, MeasureThrottled)
	if !ok {
		return Value{}, false, false
	}
	switch share := v.raw.(type) {
	case float64:
		return v, share >= throttledMuch, true
	case int64:
		return v, share >= 1, true
	}
	return Value{}, false, false
}
