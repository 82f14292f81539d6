//go:build e2e

package aianalysis

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/e2e"
	"kubernaut.ai/kubernaut/test/e2e/faultproxy"
)

// problem is the body of an error of the investigation service.
func problem(status int) string {
	return fmt.Sprintf(`{"type":"https://kubernaut.ai/problems/test","title":"told to fail","detail":"told to fail","status":%d,"instance":"/","request_id":"r"}`, status)
}

func respond(status int) faultproxy.Rule {
	return faultproxy.Rule{
		ID: "fault", Kind: faultproxy.Respond, Status: status, Body: problem(status),
		Headers: map[string]string{"Content-Type": "application/problem+json"},
	}
}

// The controller is given another configuration once for all of them.
var _ = Describe("Behind the fault proxy", Serial, Ordered, ContinueOnFailure, func() {
	proxy := &tuned{}
	BeforeAll(func(ctx SpecContext) {
		needDeployed()
		*proxy = tune(ctx)
	}, NodeTimeout(specTime))
	Context("with two replicas of the controller", func() { withTwoReplicas(proxy) })
	Context("with one", func() {
		BeforeAll(func(ctx SpecContext) { proxy.alone(ctx) }, NodeTimeout(specTime))
		Context("when the investigation service fails", func() { whenInvestigationFails(proxy) })
		Context("the outcome of an analysis", func() { outcomes(proxy) })
		Context("when the controller cannot write its audit trail", func() { whenTrailCannotBeWritten(proxy) })
	})
})

func whenInvestigationFails(proxy *tuned) {
	var namespace string
	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		overQuota(ctx, namespace)
	}, NodeTimeout(specTime))
	analysis := func(change ...func(*v1alpha1.AIAnalysis)) *v1alpha1.AIAnalysis {
		return incident(namespace, "QuotaExceeded", "Deployment", "shop", change...)
	}
	failing := func(ctx context.Context, r faultproxy.Rule, change ...func(*v1alpha1.AIAnalysis)) *v1alpha1.AIAnalysis {
		GinkgoHelper()
		a := analysis(change...)
		proxy.rule(ctx, a, r)
		return analysed(ctx, a)
	}

	DescribeTable("for a moment, it is asked again", func(ctx SpecContext, status int) {
		r := respond(status)
		r.Times = 1
		a := failing(ctx, r)
		expectOutcome(a, autoApproved)
		calls := proxy.calls(ctx, a)
		Expect(calls).To(HaveLen(2))
		Expect(calls[0].Key).To(HavePrefix(string(a.UID) + "/1/"))
		Expect(a.Status.ConsecutiveFailures).To(BeZero(), "failures since the last success")
		Expect(a.Status.Reason).NotTo(Equal(v1alpha1.ReasonTransientError), "a reason that has passed")
		trail := trailOf(ctx, a).Of("aianalysis.holmesgpt.call")
		Expect(trail).To(HaveLen(2))
		Expect([]any{trail[0].Outcome, trail[0].Field("http_status_code")}).To(Equal([]any{"failure", float64(status)}))
		Expect([]any{trail[1].Outcome, trail[1].Field("http_status_code")}).To(Equal([]any{"success", 200.0}))
		kubernetesEvents(ctx, a, v1alpha1.EventRetryScheduled, v1alpha1.EventAnalysisCompleted)
		investigations(ctx, a, 1)
	},
		Entry("500", SpecTimeout(specTime), 500),
		Entry("502", SpecTimeout(specTime), 502),
		Entry("503", SpecTimeout(specTime), 503),
		Entry("504", SpecTimeout(specTime), 504),
	)

	It("with 429, it is left alone for as long as it asks", func(ctx SpecContext) {
		r := respond(429)
		r.Times, r.Headers["Retry-After"] = 1, "3"
		a := failing(ctx, r)
		expectOutcome(a, autoApproved)
		calls := proxy.calls(ctx, a)
		Expect(calls).To(HaveLen(2))
		Expect(calls[1].At.Sub(calls[0].At)).To(BeNumerically(">=", 3*time.Second), "pause between the calls")
	}, SpecTimeout(specTime))

	It("for ever, the analysis fails after the allowed number of calls, and says so once", func(ctx SpecContext) {
		before := scrape(ctx, sys.Metrics)
		a := failing(ctx, respond(503))
		expectOutcome(a, failedCall(v1alpha1.SubReasonMaxRetriesExceeded))
		Expect(proxy.calls(ctx, a)).To(HaveLen(maxCalls))
		Expect(conditions(a)).To(HaveKeyWithValue(v1alpha1.ConditionInvestigationComplete, "False/InvestigationFailed"))
		trail := trailOf(ctx, a)
		Expect(trail.Of("aianalysis.holmesgpt.call")).To(HaveLen(maxCalls))
		Expect(trail.Of("aianalysis.error.occurred")).To(HaveLen(1))
		Expect(trail.Of("aianalysis.analysis.completed")).To(HaveLen(1))
		after := counted(ctx, sys.Metrics, before, "aianalysis_failures_total", "reason", "APIError", "sub_reason", "MaxRetriesExceeded")
		Expect(after.Delta(before, "aianalysis_failures_total", "reason", "APIError", "sub_reason", "MaxRetriesExceeded")).To(Equal(1.0))
		Expect(after.Delta(before, "aianalysis_failures_total", "reason", "TransientError", "sub_reason", "Retrying")).To(Equal(float64(maxCalls - 1)))
		Expect(after.Delta(before, "aianalysis_analyses_finished_total", "phase", "Failed")).To(Equal(1.0))
	}, SpecTimeout(specTime))

	DescribeTable("for good, it is not asked again", func(ctx SpecContext, status int, sub v1alpha1.SubReason) {
		a := failing(ctx, respond(status))
		expectOutcome(a, failedCall(sub))
		Expect(proxy.calls(ctx, a)).To(HaveLen(1))
		Expect(trailOf(ctx, a).Of("aianalysis.holmesgpt.call")[0].Field("http_status_code")).To(Equal(float64(status)))
		Expect(reasons(kubernetesEvents(ctx, a, v1alpha1.EventAnalysisFailed))).NotTo(ContainElement(v1alpha1.EventRetryScheduled))
	},
		Entry("400", SpecTimeout(specTime), 400, v1alpha1.SubReasonPermanentError),
		Entry("401", SpecTimeout(specTime), 401, v1alpha1.SubReasonAuthenticationError),
		Entry("403", SpecTimeout(specTime), 403, v1alpha1.SubReasonAuthorizationError),
		Entry("404", SpecTimeout(specTime), 404, v1alpha1.SubReasonConfigurationError),
		Entry("422", SpecTimeout(specTime), 422, v1alpha1.SubReasonPermanentError),
	)

	DescribeTable("with nonsense, it is not asked again", func(ctx SpecContext, contentType, body string) {
		a := failing(ctx, faultproxy.Rule{
			ID: "fault", Kind: faultproxy.Respond, Status: 200, Body: body, Headers: map[string]string{"Content-Type": contentType},
		})
		expectOutcome(a, failedCall(v1alpha1.SubReasonMalformedResponse))
		Expect(proxy.calls(ctx, a)).To(HaveLen(1))
	},
		Entry("a page", SpecTimeout(specTime), "text/html", "<html>It works!</html>"),
		Entry("JSON that breaks off", SpecTimeout(specTime), "application/json", `{"incident_id": "a`),
		Entry("JSON of another kind", SpecTimeout(specTime), "application/json", `[1, 2, 3]`),
		Entry("an answer without its required fields", SpecTimeout(specTime), "application/json", `{"incident_id": "a"}`),
	)

	DescribeTable("on the wire, one investigation is made, and its answer is had in the end", func(ctx SpecContext, r faultproxy.Rule, timeout string) {
		r.ID, r.Times = "fault", 1
		a := failing(ctx, r, within(timeout))
		expectOutcome(a, autoApproved)
		calls := proxy.calls(ctx, a)
		Expect(calls).To(HaveLen(2))
		Expect(calls[1].Key).To(Equal(calls[0].Key), "a call of which the outcome is unknown is repeated under its key")
		investigations(ctx, a, 1)
		Expect(trailOf(ctx, a).Of("aianalysis.analysis.completed")).To(HaveLen(1))
	},
		Entry("reset before it is asked", SpecTimeout(specTime), faultproxy.Rule{Kind: faultproxy.Reset}, "20s"),
		Entry("reset when it has answered", SpecTimeout(specTime), faultproxy.Rule{Kind: faultproxy.Reset, After: true}, "20s"),
		Entry("cut off in the middle of its answer", SpecTimeout(specTime), faultproxy.Rule{Kind: faultproxy.Truncate}, "20s"),
		Entry("too slow to be asked", SpecTimeout(specTime), faultproxy.Rule{Kind: faultproxy.Hold}, "1s"),
		Entry("too slow to answer", SpecTimeout(specTime), faultproxy.Rule{Kind: faultproxy.Hold, After: true}, "1s"),
	)

	It("to answer in time again and again, the analysis fails, and the call had its timeout each time", func(ctx SpecContext) {
		a := failing(ctx, faultproxy.Rule{ID: "fault", Kind: faultproxy.Hold}, within("1s"))
		expectOutcome(a, failedCall(v1alpha1.SubReasonMaxRetriesExceeded))
		calls := proxy.calls(ctx, a)
		Expect(calls).To(HaveLen(maxCalls))
		for i := 1; i < len(calls); i++ {
			Expect(calls[i].At.Sub(calls[i-1].At)).To(BeNumerically(">=", time.Second))
			Expect(calls[i].Key).To(Equal(calls[0].Key))
		}
	}, SpecTimeout(specTime))

	It("one slow answer holds up nobody else", func(ctx SpecContext) {
		slow, quick := analysis(), analysis()
		proxy.rule(ctx, slow, faultproxy.Rule{ID: "slow", Kind: faultproxy.Hold, After: true})
		create(ctx, slow)
		Expect(proxy.Hits(ctx, "slow", 1)).To(Equal(1))
		analysed(ctx, quick)
		expectOutcome(quick, autoApproved)
		until(ctx, slow, "investigating", func(a *v1alpha1.AIAnalysis) bool { return a.Status.Phase == v1alpha1.PhaseInvestigating })
		Expect(proxy.Delete(ctx, "slow")).To(Succeed())
		finished(ctx, slow)
		expectOutcome(slow, autoApproved)
		Expect(proxy.calls(ctx, slow)).To(HaveLen(1))
	}, SpecTimeout(specTime))

	It("an analysis that is deleted meanwhile goes at once, and its deletion is on the trail", func(ctx SpecContext) {
		a := analysis()
		proxy.rule(ctx, a, faultproxy.Rule{ID: "slow", Kind: faultproxy.Hold, After: true})
		create(ctx, a)
		Expect(proxy.Hits(ctx, "slow", 1)).To(Equal(1))
		Expect(sys.Delete(ctx, a)).To(Succeed())
		Expect(e2e.AwaitGone(ctx, sys, a)).To(Succeed())
		Expect(e2e.Until(ctx, "the deletion on the trail", func(ctx context.Context) string {
			trail := trailOf(ctx, a)
			if len(trail.Of("aianalysis.analysis.deleted")) == 0 {
				return fmt.Sprint("there are ", trail.Types())
			}
			return ""
		})).To(Succeed())
		Expect(trailOf(ctx, a).Of("aianalysis.analysis.deleted")[0].Field("phase")).To(Equal("Investigating"))
		Expect(trailOf(ctx, a).Of("aianalysis.analysis.completed")).To(BeEmpty())
	}, SpecTimeout(specTime))

	It("and the controller is killed in the middle of an investigation, there is exactly one", func(ctx SpecContext) {
		a := analysis()
		proxy.rule(ctx, a, faultproxy.Rule{ID: "slow", Kind: faultproxy.Hold, After: true})
		create(ctx, a)
		Expect(proxy.Hits(ctx, "slow", 1)).To(Equal(1))
		Expect(sys.Kill(ctx, standInNamespace, onlyControllerPod(ctx), "aianalysis", "aianalysis")).To(Succeed())
		Expect(proxy.Hits(ctx, "slow", 2)).To(Equal(2), "the new process asks again")
		Expect(proxy.Delete(ctx, "slow")).To(Succeed())
		finished(ctx, a)
		expectOutcome(a, autoApproved)
		calls := proxy.calls(ctx, a)
		Expect(calls).To(HaveLen(2))
		Expect(calls[1].Key).To(Equal(calls[0].Key))
		investigations(ctx, a, 1)
		Expect(controllerEvents(trailOf(ctx, a))).To(Equal([]string{
			"analysis.started", "phase.transition", "holmesgpt.call", "phase.transition",
			"rego.evaluation", "approval.decision", "phase.transition", "analysis.completed",
		}), "each event once")
		Expect(sys.AwaitRollout(ctx, e2e.Namespace, e2e.Controller)).To(Succeed())
	}, SpecTimeout(specTime))
}
