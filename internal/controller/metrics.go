package controller

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/incident"
)

// metrics are the controller's. The names and labels of the first group are a contract; those of the
// second are ours.
type metrics struct {
	reconciliations *prometheus.CounterVec   // phase, result
	duration        *prometheus.HistogramVec // phase
	evaluations     *prometheus.CounterVec   // outcome, degraded
	approvals       *prometheus.CounterVec   // decision, environment
	confidence      *prometheus.HistogramVec // signal_type
	failures        *prometheus.CounterVec   // reason, sub_reason
	validations     *prometheus.CounterVec   // workflow_id, is_valid
	labelFailures   *prometheus.CounterVec   // field_name
	recovered       *prometheus.CounterVec   // failure_understood, state_changed
	recoverySkipped prometheus.Counter

	reviews      *prometheus.CounterVec   // reason
	completed    *prometheus.CounterVec   // phase
	total        *prometheus.HistogramVec // phase
	inFlight     prometheus.Gauge
	queue        prometheus.Gauge
	callDuration *prometheus.HistogramVec // endpoint, outcome
	breakerState *prometheus.GaugeVec     // state
	writes       *prometheus.CounterVec   // kind, result
	kubeEvents   *prometheus.CounterVec   // result
	spooled      prometheus.Counter

	environments *labelSet
	signals      *labelSet
	workflows    *labelSet
}

const (
	resultSuccess = "success"
	resultError   = "error"
	overall       = "overall"
)

// newMetrics registers the metrics with reg, which may be nil.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histograms := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	seconds := []float64{0.1, 0.5, 1, 2, 5, 10, 30, 60}
	m := &metrics{
		reconciliations: counters("aianalysis_reconciler_reconciliations_total",
			"Steps taken, by the phase at entry and their result.", "phase", "result"),
		duration: histograms("aianalysis_reconciler_duration_seconds",
			"Time of a reconcile (phase overall) and of each step in it, by the phase at entry.", seconds, "phase"),
		evaluations: counters("aianalysis_rego_evaluations_total",
			"Evaluations of the approval policy that decided an analysis.", "outcome", "degraded"),
		approvals: counters("aianalysis_approval_decisions_total",
			"Decisions whether a person must approve. Environments beyond the first dozens are \"other\".", "decision", "environment"),
		confidence: histograms("aianalysis_confidence_score_distribution",
			"Confidence of the chosen workflow of completed analyses. Signal types beyond the first dozens are \"other\".",
			[]float64{0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1}, "signal_type"),
		failures: counters("aianalysis_failures_total",
			"Failed analyses, and failed calls that are going to be repeated (TransientError, Retrying).", "reason", "sub_reason"),
		validations: counters("aianalysis_audit_validation_attempts_total",
			"Checks of proposed workflows that investigations reported. Workflows beyond the first dozens are \"other\".", "workflow_id", "is_valid"),
		labelFailures: counters("aianalysis_quality_detected_labels_failures_total",
			"Traits of target resources that could not be detected.", "field_name"),
		recovered: counters("aianalysis_recovery_status_populated_total",
			"Recovery investigations that assessed the previous execution.", "failure_understood", "state_changed"),
		recoverySkipped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "aianalysis_recovery_status_skipped_total",
			Help: "Recovery investigations that said nothing about the previous execution.",
		}),

		reviews: counters("kubernaut_aianalysis_human_review_required_total",
			"Analyses that ended because a person must look, by sub-reason.", "reason"),
		completed: counters("aianalysis_analyses_finished_total", "Finished analyses.", "phase"),
		total: histograms("aianalysis_analysis_duration_seconds", "Time from the start of an analysis to its end.",
			[]float64{0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800}, "phase"),
		inFlight: gauge("aianalysis_investigations_in_flight", "Calls for an investigation that run now."),
		queue:    gauge("aianalysis_investigations_queued", "Analyses that wait for a slot to call for an investigation."),
		callDuration: histograms("aianalysis_holmesgpt_call_duration_seconds", "Time of a call for an investigation.",
			[]float64{0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300}, "endpoint", "outcome"),
		breakerState: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "aianalysis_holmesgpt_breaker_state",
			Help: "1 for the state that the circuit breaker in front of HolmesGPT-API is in.",
		}, []string{"state"}),
		writes: counters("aianalysis_api_writes_total",
			"Writes of AIAnalysis resources, by kind (status, finalizer) and result.", "kind", "result"),
		kubeEvents: counters("aianalysis_kubernetes_events_total",
			"Kubernetes events, by what became of them (written, failed, dropped).", "result"),
		spooled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "aianalysis_audit_spooled_analyses_total",
			Help: "Analyses that finished before Data Storage had all of their audit events.",
		}),

		environments: newLabelSet("production", "staging", "development", "test", "qa", "unknown"),
		signals: newLabelSet("OOMKilled", "CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "Evicted",
			"FailedScheduling", "NodeNotReady", "Unhealthy", "FailedMount", "BackOff"),
		workflows: newLabelSet(),
	}
	m.initialise()
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.reconciliations, m.duration, m.evaluations, m.approvals, m.confidence, m.failures, m.validations,
		m.labelFailures, m.recovered, m.recoverySkipped, m.reviews, m.completed, m.total, m.inFlight, m.queue, m.callDuration,
		m.breakerState, m.writes, m.kubeEvents, m.spooled,
	} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

// initialise makes the series visible before their first event, so that a rate can be had of it.
func (m *metrics) initialise() {
	for _, f := range [][2]string{
		{"NoWorkflowSelected", "InvestigationFailed"},
		{"APIError", "HolmesGPTAPICallFailed"},
		{"RegoEvaluationError", "PolicyEvaluationFailed"},
		{"WorkflowResolutionFailed", "NoWorkflowResolved"},
		{"RecoveryWorkflowResolutionFailed", "NoRecoveryWorkflowResolved"},
		{"RecoveryNotPossible", "NoRecoveryStrategy"},
		{"APIError", "MaxRetriesExceeded"},
		{"TransientError", "Retrying"},
	} {
		m.failures.WithLabelValues(f[0], f[1])
	}
	for _, understood := range []bool{true, false} {
		for _, changed := range []bool{true, false} {
			m.recovered.WithLabelValues(strconv.FormatBool(understood), strconv.FormatBool(changed))
		}
	}
	m.duration.WithLabelValues(overall)
	for _, phase := range []v1alpha1.Phase{v1alpha1.PhasePending, v1alpha1.PhaseInvestigating, v1alpha1.PhaseAnalyzing} {
		m.duration.WithLabelValues(string(phase))
		for _, result := range []string{resultSuccess, resultError} {
			m.reconciliations.WithLabelValues(string(phase), result)
		}
	}
	for _, phase := range []v1alpha1.Phase{v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed} {
		m.completed.WithLabelValues(string(phase))
		m.total.WithLabelValues(string(phase))
	}
	for environment := range m.environments.values {
		m.approvals.WithLabelValues("requires_approval", environment)
		m.approvals.WithLabelValues("auto_approved", environment)
	}
	for signal := range m.signals.values {
		m.confidence.WithLabelValues(signal)
	}
	for _, valid := range []bool{true, false} {
		m.validations.WithLabelValues(labelOther, strconv.FormatBool(valid))
	}
	for _, endpoint := range []string{"incident", "recovery"} {
		m.callDuration.WithLabelValues(endpoint, resultSuccess)
	}
	for _, kind := range []string{"status", "finalizer"} {
		for _, result := range []string{resultSuccess, resultError, "conflict"} {
			m.writes.WithLabelValues(kind, result)
		}
	}
	for _, outcome := range []string{"approved", "requires_approval", "error"} {
		m.evaluations.WithLabelValues(outcome, "false")
	}
	m.evaluations.WithLabelValues("requires_approval", "true")
	for _, field := range []string{"gitOpsManaged", "pdbProtected", "hpaEnabled", "stateful", "helmManaged", "networkIsolated", "serviceMesh"} {
		m.labelFailures.WithLabelValues(field)
	}
	for _, result := range []string{"written", "failed", "dropped"} {
		m.kubeEvents.WithLabelValues(result)
	}
	for _, sub := range reviewSubReasons {
		m.reviews.WithLabelValues(string(sub))
	}
	m.reviews.WithLabelValues(string(v1alpha1.SubReasonValidationError))
}

// stepped counts a step from the phase at entry.
func (m *metrics) stepped(phase v1alpha1.Phase, err error, took time.Duration) {
	if phase == "" || phase.Terminal() {
		return
	}
	result := resultSuccess
	if err != nil {
		result = resultError
	}
	m.reconciliations.WithLabelValues(string(phase), result).Inc()
	m.duration.WithLabelValues(string(phase)).Observe(took.Seconds())
}

// called counts a call for an investigation.
func (m *metrics) called(in incident.Incident, a *answer) {
	endpoint := "incident"
	if in.Recovery != nil {
		endpoint = "recovery"
	}
	outcome := resultSuccess
	if a.err != nil {
		outcome = string(incident.KindOf(a.err))
	}
	m.callDuration.WithLabelValues(endpoint, outcome).Observe(a.took.Seconds())
}

func (m *metrics) breaker(state gobreaker.State) {
	for _, s := range []gobreaker.State{gobreaker.StateClosed, gobreaker.StateHalfOpen, gobreaker.StateOpen} {
		value := 0.0
		if s == state {
			value = 1
		}
		m.breakerState.WithLabelValues(s.String()).Set(value)
	}
}

// wrote counts a write of a resource.
func (m *metrics) wrote(kind string, err error) {
	result := resultSuccess
	switch {
	case apierrors.IsConflict(err):
		result = "conflict"
	case err != nil:
		result = resultError
	}
	m.writes.WithLabelValues(kind, result).Inc()
}

// changed counts what a written step tells. It is called once for each status that was stored.
func (m *metrics) changed(f facts, next *v1alpha1.AIAnalysisStatus) {
	a, before := f.analysis, &f.analysis.Status
	signal := &a.Spec.AnalysisRequest.SignalContext
	if untouched(before) {
		if d := signal.EnrichmentResults.DetectedLabels; d != nil {
			for _, field := range d.FailedDetections {
				m.labelFailures.WithLabelValues(field).Inc()
			}
		}
	}
	if f.answer != nil && f.answer.err == nil {
		m.answered(a, f.answer.investigation)
	}
	if next.ConsecutiveFailures > before.ConsecutiveFailures && !next.Phase.Terminal() {
		m.failures.WithLabelValues(v1alpha1.ReasonTransientError, "Retrying").Inc()
	}
	if f.verdict != nil {
		m.decided(f.verdict, signal.Environment)
	}
	if !next.Phase.Terminal() {
		return
	}
	m.completed.WithLabelValues(string(next.Phase)).Inc()
	if next.StartedAt != nil {
		m.total.WithLabelValues(string(next.Phase)).Observe(f.now.Sub(next.StartedAt.Time).Seconds())
	}
	if next.AuditState == v1alpha1.AuditSpooled {
		m.spooled.Inc()
	}
	switch {
	case next.Phase == v1alpha1.PhaseFailed:
		m.failures.WithLabelValues(next.Reason, failureLabel(next)).Inc()
		if next.Reason == v1alpha1.ReasonWorkflowResolutionFailed {
			m.reviews.WithLabelValues(string(next.SubReason)).Inc()
		}
	case next.SelectedWorkflow != nil:
		m.confidence.WithLabelValues(m.signals.value(signal.SignalType)).Observe(next.SelectedWorkflow.Confidence)
	}
}

func (m *metrics) answered(a *v1alpha1.AIAnalysis, inv incident.Investigation) {
	for _, attempt := range inv.Attempts {
		m.validations.WithLabelValues(m.workflows.value(attempt.WorkflowID), strconv.FormatBool(attempt.Valid)).Inc()
	}
	switch {
	case !a.Spec.IsRecoveryAttempt:
	case inv.Recovery != nil && inv.Recovery.Assessed:
		m.recovered.WithLabelValues(strconv.FormatBool(inv.Recovery.FailureUnderstood), strconv.FormatBool(inv.Recovery.StateChanged)).Inc()
	default:
		m.recoverySkipped.Inc()
	}
}

func (m *metrics) decided(v *verdict, environment string) {
	if v.err != nil {
		m.evaluations.WithLabelValues("error", "false").Inc()
		return
	}
	outcome, decision := "approved", "auto_approved"
	if v.decision.ApprovalRequired {
		outcome, decision = "requires_approval", "requires_approval"
	}
	m.evaluations.WithLabelValues(outcome, strconv.FormatBool(v.decision.Degraded)).Inc()
	m.approvals.WithLabelValues(decision, m.environments.value(environment)).Inc()
}

// failureLabel is the label sub_reason of a failure. Where the contract's label differs from the
// sub-reason of the status, the label stays as it was.
func failureLabel(next *v1alpha1.AIAnalysisStatus) string {
	if next.Reason == v1alpha1.ReasonNoWorkflowSelected {
		return "InvestigationFailed"
	}
	switch next.SubReason {
	case v1alpha1.SubReasonPermanentError:
		return "Permanent"
	case v1alpha1.SubReasonAuthenticationError:
		return "Authentication"
	case v1alpha1.SubReasonAuthorizationError:
		return "Authorization"
	case v1alpha1.SubReasonConfigurationError:
		return "Configuration"
	case "":
		return "Unknown"
	}
	return string(next.SubReason)
}

const (
	// maxLabelValues bounds the values of one label that come from outside.
	maxLabelValues = 64

	// labelOther stands for all values beyond the bound.
	labelOther = "other"
)

// labelSet bounds the values of a label: those known from the start, then the first new ones up to
// maxLabelValues in all; any further one is "other", and an empty one "none".
type labelSet struct {
	mu     sync.Mutex
	values map[string]bool
}

func newLabelSet(known ...string) *labelSet {
	s := &labelSet{values: make(map[string]bool, maxLabelValues)}
	for _, v := range known {
		s.values[v] = true
	}
	return s
}

func (s *labelSet) value(v string) string {
	if v == "" {
		return "none"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.values[v] {
		if len(s.values) >= maxLabelValues || len(v) > 128 || printable(v) != v {
			return labelOther
		}
		s.values[v] = true
	}
	return v
}
