//go:build e2e

package aianalysis

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/e2e"
)

var _ = Describe("The audit trail", func() {
	var namespace string
	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		overQuota(ctx, namespace)
	})

	It("is complete and in order the moment the status is final", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		trail, err := sys.Trail(ctx, a.Spec.RemediationID) // at once, without any wait
		Expect(err).NotTo(HaveOccurred())
		Expect(controllerEvents(trail)).To(Equal([]string{
			"analysis.started",
			"phase.transition",
			"holmesgpt.call", "phase.transition",
			"rego.evaluation", "approval.decision", "phase.transition", "analysis.completed",
		}))
		Expect(a.Status.AuditState).To(Equal(v1alpha1.AuditRecorded))
		Expect(e2e.CheckChain(trail)).To(Succeed())
	}, SpecTimeout(specTime))

	It("has the same envelope on every event", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		ids := map[string]bool{}
		for _, e := range trailOf(ctx, a).By(e2e.Controller) {
			Expect(uuid.Parse(e.ID)).Error().NotTo(HaveOccurred(), "event_id of %s", e.Type)
			Expect(ids).NotTo(HaveKey(e.ID))
			ids[e.ID] = true
			Expect(e.Version).To(Equal("1.0"))
			Expect(e.Category).To(Equal("analysis"))
			Expect(e.CorrelationID).To(Equal(a.Spec.RemediationID))
			Expect([]string{e.ActorType, e.ActorID}).To(Equal([]string{"service", e2e.Controller}))
			Expect([]string{e.ResourceType, e.ResourceID, e.Namespace}).To(Equal([]string{"AIAnalysis", a.Name, namespace}))
			at, err := time.Parse(time.RFC3339Nano, e.Timestamp)
			Expect(err).NotTo(HaveOccurred())
			Expect(at).To(BeTemporally("~", a.CreationTimestamp.Time, time.Minute), "time of %s", e.Type)
		}
	}, SpecTimeout(specTime))

	It("tells each step as it was", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop", in("production")))
		trail := trailOf(ctx, a)
		w := a.Status.SelectedWorkflow

		var moves [][2]any
		for _, e := range trail.Of("aianalysis.phase.transition") {
			Expect([]string{e.Action, e.Outcome}).To(Equal([]string{"phase_transition", "success"}))
			moves = append(moves, [2]any{e.Field("old_phase"), e.Field("new_phase")})
		}
		Expect(moves).To(Equal([][2]any{{"Pending", "Investigating"}, {"Investigating", "Analyzing"}, {"Analyzing", "Completed"}}))

		only := func(eventType, action, outcome string) e2e.Event {
			GinkgoHelper()
			found := trail.Of(eventType)
			Expect(found).To(HaveLen(1), eventType)
			Expect([]string{found[0].Action, found[0].Outcome}).To(Equal([]string{action, outcome}), eventType)
			return found[0]
		}
		started := only("aianalysis.analysis.started", "analysis_started", "pending")
		Expect(started.Field("environment")).To(Equal("production"))
		Expect(started.Field("signal_type")).To(Equal("QuotaExceeded"))

		call := only("aianalysis.holmesgpt.call", "holmesgpt_call", "success")
		Expect(call.Field("endpoint")).To(Equal("/api/v1/incident/analyze"))
		Expect(call.Field("http_status_code")).To(Equal(200.0))
		Expect(call.Field("attempt")).To(Equal(1.0))
		Expect(call.Field("request_hash")).To(MatchRegexp("^[0-9a-f]{64}$"))
		Expect(call.Field("bundle_digest")).To(Equal(a.Status.Bundle.Digest))
		Expect(call.DurationMS).NotTo(BeNil())

		rego := only("aianalysis.rego.evaluation", "policy_evaluation", "success")
		Expect(rego.Field("outcome")).To(Equal("requires_approval"))
		Expect(rego.Field("degraded")).To(BeFalse())
		Expect(rego.Field("policy_hash")).To(Equal(a.Status.Policy.Hash))

		decision := only("aianalysis.approval.decision", "approval_decision", "success")
		Expect(decision.Field("decision")).To(Equal("requires_approval"))
		Expect(decision.Field("approval_required")).To(BeTrue())
		Expect(decision.Field("auto_approved")).To(BeFalse())
		Expect(decision.Field("workflow_id")).To(Equal(w.WorkflowID))
		Expect(decision.Field("confidence")).To(Equal(w.Confidence))

		end := only("aianalysis.analysis.completed", "analysis_complete", "success")
		Expect(end.Field("phase")).To(Equal("Completed"))
		Expect(end.Field("reason")).To(Equal(a.Status.Reason))
		Expect(end.Field("workflow_id")).To(Equal(w.WorkflowID))
		Expect(end.Field("approval_required")).To(BeTrue())
		Expect(end.Field("target_in_owner_chain")).To(BeTrue())
	}, SpecTimeout(specTime))

	It("holds what the investigation service did, under the same remediation", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		var trail e2e.Trail
		Expect(e2e.Until(ctx, "the events of the investigation service", func(ctx context.Context) string {
			trail = trailOf(ctx, a).By(e2e.HAPI)
			if len(trail.Of("investigation.completed")) == 0 {
				return "none yet"
			}
			return ""
		})).To(Succeed())
		found := trail.Of("investigation.completed")
		Expect(found).To(HaveLen(1))
		e := found[0]
		Expect(e.Field("cause_class")).To(Equal("quota-exceeded"))
		Expect(e.Field("workflow_id")).To(Equal(a.Status.SelectedWorkflow.WorkflowID))
		Expect(e.Field("bundle_digest")).To(Equal(a.Status.Bundle.Digest))
		Expect(e.Field("request_hash")).To(MatchRegexp("^[0-9a-f]{64}$"))
		Expect(trail.Of("workflow_validation_attempt")).NotTo(BeEmpty())
	}, SpecTimeout(specTime))

	It("says why a person must look", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "CrashLoopBackOff", "Deployment", "never-was"))
		trail := trailOf(ctx, a)
		Expect(controllerEvents(trail)).To(Equal([]string{
			"analysis.started", "phase.transition", "holmesgpt.call", "phase.transition", "human_review.required", "analysis.completed",
		}))
		e := trail.Of("aianalysis.human_review.required")[0]
		Expect(e.Field("sub_reason")).To(Equal("InvestigationInconclusive"))
		Expect(e.Field("human_review_reason")).To(Equal("investigation_inconclusive"))
		end := trail.Of("aianalysis.analysis.completed")[0]
		Expect(end.Outcome).To(Equal("failure"))
		Expect(end.Field("reason")).To(Equal("WorkflowResolutionFailed"))
	}, SpecTimeout(specTime))

	It("is found by type and by outcome, newest first", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		query := func(v url.Values) []any {
			v.Set("correlation_id", a.Spec.RemediationID)
			return decoded(ask(ctx, sys.DataStorage+"/api/v1/audit/events?"+v.Encode(), http.StatusOK))["data"].([]any)
		}
		Expect(query(url.Values{"event_type": {"aianalysis.phase.transition"}})).To(HaveLen(3))
		Expect(query(url.Values{"event_outcome": {"failure"}})).To(BeEmpty())
		Expect(query(url.Values{"since": {"1h"}, "limit": {"2"}})).To(HaveLen(2))
		Expect(query(url.Values{"until": {"1h"}})).To(BeEmpty())
		var times []string
		for _, e := range query(url.Values{}) {
			times = append(times, e.(map[string]any)["event_timestamp"].(string))
		}
		at := func(text string) time.Time { t, _ := time.Parse(time.RFC3339Nano, text); return t }
		Expect(slices.IsSortedFunc(times, func(a, b string) int { return at(b).Compare(at(a)) })).To(BeTrue(), "times %v", times)
	}, SpecTimeout(specTime))

	It("takes an event once, however often it is sent, and never another under its id", func(ctx SpecContext) {
		correlation := "e2e-" + uuid.NewString()
		event := map[string]any{
			"event_id": uuid.NewString(), "version": "1.0", "event_type": "e2e.test", "event_timestamp": time.Now().UTC().Format(time.RFC3339Nano),
			"event_category": "analysis", "event_action": "test", "event_outcome": "success", "correlation_id": correlation,
			"event_data": map[string]any{"n": 1},
		}
		for range 3 {
			a, err := sys.Send(ctx, http.MethodPost, sys.DataStorage+"/api/v1/audit/events/batch", []any{event}, nil)
			Expect(err).NotTo(HaveOccurred())
			Expect(a.Status).To(Equal(http.StatusCreated), a.String())
		}
		event["event_data"] = map[string]any{"n": 2}
		a, err := sys.Send(ctx, http.MethodPost, sys.DataStorage+"/api/v1/audit/events", event, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(a.Status).To(Equal(http.StatusConflict), a.String())
		Expect(sys.VerifyTrail(ctx, correlation)).To(Succeed())
		trail, err := sys.Trail(ctx, correlation)
		Expect(err).NotTo(HaveOccurred())
		Expect(trail).To(HaveLen(1))
		Expect(trail[0].Field("n")).To(Equal(1.0))
	}, SpecTimeout(specTime))

	It("of a remediation that never was is not there", func(ctx SpecContext) {
		ask(ctx, sys.DataStorage+"/api/v1/audit/verify?correlation_id=never-"+uuid.NewString(), http.StatusNotFound)
	}, SpecTimeout(specTime))
})
