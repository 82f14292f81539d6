//go:build e2e

package aianalysis

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/e2e"
)

func scrape(ctx context.Context, url string) e2e.Samples {
	GinkgoHelper()
	m, err := sys.Scrape(ctx, url)
	Expect(err).NotTo(HaveOccurred())
	return m
}

// counted reads metrics once a series has grown: a step is counted just after its status is there to see.
func counted(ctx context.Context, url string, before e2e.Samples, name string, labels ...string) e2e.Samples {
	GinkgoHelper()
	var after e2e.Samples
	Expect(e2e.Until(ctx, fmt.Sprint("growth of ", name, labels), func(ctx context.Context) string {
		after = scrape(ctx, url)
		if after.Delta(before, name, labels...) <= 0 {
			v, _ := after.Value(name, labels...)
			return fmt.Sprint("it is still ", v)
		}
		return ""
	})).To(Succeed())
	return after
}

var _ = Describe("Metrics", func() {
	It("are all there before anything has happened to them", func(ctx SpecContext) {
		m := scrape(ctx, sys.Metrics)
		for _, name := range []string{
			"aianalysis_reconciler_reconciliations_total", "aianalysis_rego_evaluations_total", "aianalysis_failures_total",
			"aianalysis_recovery_status_populated_total", "aianalysis_recovery_status_skipped_total",
			"aianalysis_quality_detected_labels_failures_total", "kubernaut_aianalysis_human_review_required_total",
			"aianalysis_analyses_finished_total", "aianalysis_investigations_in_flight", "aianalysis_holmesgpt_breaker_state",
			"audit_events_buffered_total", "audit_events_dropped_total", "audit_events_written_total", "audit_batches_failed_total",
			"audit_buffer_size", "audit_buffer_capacity", "audit_buffer_utilization_ratio",
		} {
			Expect(m.Names(name)).To(HaveKey(name))
		}
		for _, labels := range [][]string{
			{"reason", "NoWorkflowSelected", "sub_reason", "InvestigationFailed"},
			{"reason", "APIError", "sub_reason", "HolmesGPTAPICallFailed"},
			{"reason", "RegoEvaluationError", "sub_reason", "PolicyEvaluationFailed"},
			{"reason", "WorkflowResolutionFailed", "sub_reason", "NoWorkflowResolved"},
			{"reason", "RecoveryNotPossible", "sub_reason", "NoRecoveryStrategy"},
		} {
			_, ok := m.Value("aianalysis_failures_total", labels...)
			Expect(ok).To(BeTrue(), "series aianalysis_failures_total%v", labels)
		}
	}, SpecTimeout(specTime))

	// Only this specification uses the environment qa, so the counts by environment are exact.
	It("move by exactly one for one analysis that is approved by itself", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		overQuota(ctx, namespace)
		before := scrape(ctx, sys.Metrics)
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop", in("qa")))
		expectOutcome(a, autoApproved)
		after := counted(ctx, sys.Metrics, before, "aianalysis_approval_decisions_total", "decision", "auto_approved", "environment", "qa")

		Expect(after.Delta(before, "aianalysis_approval_decisions_total", "decision", "auto_approved", "environment", "qa")).To(Equal(1.0))
		Expect(after.Delta(before, "aianalysis_approval_decisions_total", "decision", "requires_approval", "environment", "qa")).To(BeZero())
		for _, s := range [][]string{
			{"aianalysis_analyses_finished_total", "phase", "Completed"},
			{"aianalysis_rego_evaluations_total", "outcome", "approved", "degraded", "false"},
			{"aianalysis_reconciler_reconciliations_total", "phase", "Pending", "result", "success"},
			{"aianalysis_reconciler_reconciliations_total", "phase", "Investigating", "result", "success"},
			{"aianalysis_reconciler_reconciliations_total", "phase", "Analyzing", "result", "success"},
			{"aianalysis_reconciler_duration_seconds_count", "phase", "overall"},
			{"aianalysis_confidence_score_distribution_count", "signal_type", "QuotaExceeded"},
			{"aianalysis_holmesgpt_call_duration_seconds_count", "endpoint", "incident", "outcome", "success"},
			{"aianalysis_analysis_duration_seconds_count", "phase", "Completed"},
			{"audit_events_buffered_total", "service", "aianalysis"},
			{"audit_events_written_total", "service", "aianalysis"},
		} {
			Expect(after.Delta(before, s[0], s[1:]...)).To(BeNumerically(">=", 1), "growth of %v", s)
		}
	}, SpecTimeout(specTime))

	It("count a decision that needs a person, by environment", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		overQuota(ctx, namespace)
		before := scrape(ctx, sys.Metrics)
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop", in("unknown")))
		expectOutcome(a, needsApproval)
		Expect(a.Status.DegradedMode).To(BeFalse(), "%s: %s", a.Status.ApprovalReason, brief(a))
		after := counted(ctx, sys.Metrics, before, "aianalysis_approval_decisions_total", "decision", "requires_approval", "environment", "unknown")
		Expect(after.Delta(before, "aianalysis_approval_decisions_total", "decision", "requires_approval", "environment", "unknown")).To(Equal(1.0))
		Expect(after.Delta(before, "aianalysis_rego_evaluations_total", "outcome", "requires_approval", "degraded", "false")).To(BeNumerically(">=", 1))
	}, SpecTimeout(specTime))

	It("count what a person must look at, and the failure", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		before := scrape(ctx, sys.Metrics)
		a := analysed(ctx, incident(namespace, "CrashLoopBackOff", "Deployment", "never-was"))
		counted(ctx, sys.Metrics, before, "kubernaut_aianalysis_human_review_required_total", "reason", "InvestigationInconclusive")
		expectOutcome(a, review(v1alpha1.SubReasonInvestigationInconclusive))
		after := counted(ctx, sys.Metrics, before, "aianalysis_failures_total", "reason", "WorkflowResolutionFailed", "sub_reason", "InvestigationInconclusive")
		Expect(after.Delta(before, "aianalysis_analyses_finished_total", "phase", "Failed")).To(BeNumerically(">=", 1))
	}, SpecTimeout(specTime))

	It("count traits that could not be detected", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		overQuota(ctx, namespace)
		before := scrape(ctx, sys.Metrics)
		analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop", labelled(v1alpha1.DetectedLabels{FailedDetections: []string{"networkIsolated"}})))
		after := counted(ctx, sys.Metrics, before, "aianalysis_quality_detected_labels_failures_total", "field_name", "networkIsolated")
		Expect(after.Delta(before, "aianalysis_quality_detected_labels_failures_total", "field_name", "networkIsolated")).To(Equal(1.0))
	}, SpecTimeout(specTime))

	It("lose no audit event", func(ctx SpecContext) {
		m := scrape(ctx, sys.Metrics)
		dropped, ok := m.Value("audit_events_dropped_total", "service", "aianalysis")
		Expect(ok).To(BeTrue(), "series audit_events_dropped_total")
		Expect(dropped).To(BeZero())
	}, SpecTimeout(specTime))

	It("of the investigation service count investigations", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		overQuota(ctx, namespace)
		before := scrape(ctx, sys.HAPI+"/metrics")
		analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		after := counted(ctx, sys.HAPI+"/metrics", before, "holmesgpt_api_investigations_total", "method", "POST", "endpoint", "/api/v1/incident/analyze", "status", "success")
		for _, s := range [][]string{
			{"holmesgpt_api_investigations_total", "method", "POST", "endpoint", "/api/v1/incident/analyze", "status", "success"},
			{"holmesgpt_api_http_requests_total", "method", "POST", "endpoint", "/api/v1/incident/analyze", "status", "200"},
			{"holmesgpt_api_investigations_duration_seconds_count", "method", "POST", "endpoint", "/api/v1/incident/analyze"},
		} {
			Expect(after.Delta(before, s[0], s[1:]...)).To(BeNumerically(">=", 1), "growth of %v", s)
		}
	}, SpecTimeout(specTime))

	It("of Data Storage count the events that it stored", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		overQuota(ctx, namespace)
		before := scrape(ctx, sys.DataStorage+"/metrics")
		analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		after := counted(ctx, sys.DataStorage+"/metrics", before, "datastorage_write_duration_seconds_count", "table", "audit_events")
		Expect(after.Delta(before, "datastorage_audit_traces_total", "service", "analysis", "status", "success")).To(BeNumerically(">=", 8))
		Expect(after.Delta(before, "datastorage_write_duration_seconds_count", "table", "audit_events")).To(BeNumerically(">=", 1))
	}, SpecTimeout(specTime))
})
