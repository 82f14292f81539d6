package controller

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/incident"
)

// gathered returns every counter, and the count of every histogram, that is not 0, as
// "name{label=value,…}".
func gathered(t *testing.T, reg *prometheus.Registry, zero bool) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			if value != 0 || zero {
				out[fmt.Sprintf("%s{%s}", f.GetName(), strings.Join(labels, ","))] = value
			}
		}
	}
	return out
}

func TestMetricsAreThereFromTheStart(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := newMetrics(reg); err != nil {
		t.Fatal(err)
	}
	got := gathered(t, reg, true)
	for _, name := range []string{
		"aianalysis_failures_total{reason=NoWorkflowSelected,sub_reason=InvestigationFailed}",
		"aianalysis_failures_total{reason=APIError,sub_reason=HolmesGPTAPICallFailed}",
		"aianalysis_failures_total{reason=RegoEvaluationError,sub_reason=PolicyEvaluationFailed}",
		"aianalysis_failures_total{reason=WorkflowResolutionFailed,sub_reason=NoWorkflowResolved}",
		"aianalysis_failures_total{reason=RecoveryWorkflowResolutionFailed,sub_reason=NoRecoveryWorkflowResolved}",
		"aianalysis_failures_total{reason=RecoveryNotPossible,sub_reason=NoRecoveryStrategy}",
		"aianalysis_recovery_status_populated_total{failure_understood=false,state_changed=false}",
		"aianalysis_recovery_status_populated_total{failure_understood=false,state_changed=true}",
		"aianalysis_recovery_status_populated_total{failure_understood=true,state_changed=false}",
		"aianalysis_recovery_status_populated_total{failure_understood=true,state_changed=true}",
		"aianalysis_recovery_status_skipped_total{}",
		"aianalysis_reconciler_reconciliations_total{phase=Pending,result=success}",
		"aianalysis_rego_evaluations_total{degraded=false,outcome=approved}",
		"aianalysis_quality_detected_labels_failures_total{field_name=serviceMesh}",
		"aianalysis_reconciler_duration_seconds{phase=overall}",
		"aianalysis_reconciler_duration_seconds{phase=Pending}",
		"aianalysis_reconciler_duration_seconds{phase=Investigating}",
		"aianalysis_reconciler_duration_seconds{phase=Analyzing}",
		"aianalysis_approval_decisions_total{decision=requires_approval,environment=production}",
		"aianalysis_approval_decisions_total{decision=auto_approved,environment=staging}",
		"aianalysis_confidence_score_distribution{signal_type=OOMKilled}",
		"aianalysis_audit_validation_attempts_total{is_valid=false,workflow_id=other}",
		"aianalysis_holmesgpt_call_duration_seconds{endpoint=recovery,outcome=success}",
		"aianalysis_api_writes_total{kind=status,result=conflict}",
		"kubernaut_aianalysis_human_review_required_total{reason=LowConfidence}",
	} {
		if value, ok := got[name]; !ok || value != 0 {
			t.Errorf("%s: got %v, %v; want 0", name, value, ok)
		}
	}
}

// Every outcome is counted once.
func TestOutcomesAreCountedOnce(t *testing.T) {
	review := found()
	review.NeedsHumanReview, review.HumanReviewReason = true, incident.ReviewLowConfidence
	review.Attempts = []incident.ValidationAttempt{{Attempt: 1, WorkflowID: "w"}, {Attempt: 2, WorkflowID: "w", Valid: true}}
	assessed := found()
	assessed.Recovery = &incident.RecoveryAssessment{Assessed: true, FailureUnderstood: true}
	silent := found()
	silent.Workflow, silent.Recovery = nil, &incident.RecoveryAssessment{CanRecover: true}

	for name, tt := range map[string]struct {
		analysis *v1alpha1.AIAnalysis
		facts    facts
		want     map[string]float64
	}{
		"human review": {running(false), facts{answer: &answer{investigation: review}}, map[string]float64{
			"aianalysis_failures_total{reason=WorkflowResolutionFailed,sub_reason=LowConfidence}": 1,
			"kubernaut_aianalysis_human_review_required_total{reason=LowConfidence}":              1,
			"aianalysis_audit_validation_attempts_total{is_valid=false,workflow_id=w}":            1,
			"aianalysis_audit_validation_attempts_total{is_valid=true,workflow_id=w}":             1,
			"aianalysis_analyses_finished_total{phase=Failed}":                                    1,
			"aianalysis_analysis_duration_seconds{phase=Failed}":                                  1,
		}},
		"refused": {running(false), facts{answer: &answer{err: httpError(incident.KindUnauthorized, 401)}}, map[string]float64{
			"aianalysis_failures_total{reason=APIError,sub_reason=Authentication}": 1,
			"aianalysis_analyses_finished_total{phase=Failed}":                     1,
			"aianalysis_analysis_duration_seconds{phase=Failed}":                   1,
		}},
		"to be repeated": {running(false), facts{answer: &answer{err: httpError(incident.KindUnavailable, 503)}}, map[string]float64{
			"aianalysis_failures_total{reason=TransientError,sub_reason=Retrying}": 1,
		}},
		"recovery, assessed": {running(true), facts{answer: &answer{investigation: assessed}}, map[string]float64{
			"aianalysis_recovery_status_populated_total{failure_understood=true,state_changed=false}": 1,
			"aianalysis_failures_total{reason=RecoveryNotPossible,sub_reason=NoRecoveryStrategy}":     1,
			"aianalysis_analyses_finished_total{phase=Failed}":                                        1,
			"aianalysis_analysis_duration_seconds{phase=Failed}":                                      1,
		}},
		"recovery, nothing said": {running(true), facts{answer: &answer{investigation: silent}}, map[string]float64{
			"aianalysis_recovery_status_skipped_total{}":                                          1,
			"aianalysis_failures_total{reason=RecoveryNotPossible,sub_reason=NoRecoveryStrategy}": 1,
			"aianalysis_analyses_finished_total{phase=Failed}":                                    1,
			"aianalysis_analysis_duration_seconds{phase=Failed}":                                  1,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			m, err := newMetrics(reg)
			if err != nil {
				t.Fatal(err)
			}
			f := tt.facts
			f.now, f.analysis = testTime.Add(time.Second), tt.analysis
			m.changed(f, DefaultSettings().decide(f).status)
			if diff := cmp.Diff(tt.want, gathered(t, reg, false)); diff != "" {
				t.Errorf("metrics differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecisionsAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := newMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []*verdict{
		{decision: incident.Decision{}},
		{decision: incident.Decision{ApprovalRequired: true}},
		{decision: incident.Decision{ApprovalRequired: true, Degraded: true}},
		{err: errors.New("broken")},
	} {
		m.decided(v, "staging")
	}
	want := map[string]float64{
		"aianalysis_rego_evaluations_total{degraded=false,outcome=approved}":                  1,
		"aianalysis_rego_evaluations_total{degraded=false,outcome=requires_approval}":         1,
		"aianalysis_rego_evaluations_total{degraded=true,outcome=requires_approval}":          1,
		"aianalysis_rego_evaluations_total{degraded=false,outcome=error}":                     1,
		"aianalysis_approval_decisions_total{decision=auto_approved,environment=staging}":     1,
		"aianalysis_approval_decisions_total{decision=requires_approval,environment=staging}": 2,
	}
	if diff := cmp.Diff(want, gathered(t, reg, false)); diff != "" {
		t.Errorf("metrics differ (-want +got):\n%s", diff)
	}
}

func TestLabelValuesAreBounded(t *testing.T) {
	s := newLabelSet("production")
	seen := make(map[string]bool)
	for i := range 1000 {
		seen[s.value(fmt.Sprint("environment-", i))] = true
	}
	if len(seen) != maxLabelValues { // those that were taken, less the known one, and "other"
		t.Errorf("%d values, want %d", len(seen), maxLabelValues)
	}
	for in, want := range map[string]string{"production": "production", "": "none", "new": "other", strings.Repeat("x", 200): "other"} {
		if got := s.value(in); got != want {
			t.Errorf("value(%.20q) = %q, want %q", in, got, want)
		}
	}
}
