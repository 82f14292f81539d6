//go:build e2e

package aianalysis

import (
	"context"
	"fmt"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/e2e"
)

// overQuota stages an incident that needs no node: a Deployment whose Pods the quota of its namespace
// does not admit.
func overQuota(ctx context.Context, namespace string) {
	GinkgoHelper()
	quota(ctx, namespace, "250m")
	c := container("main", "serve")
	if c.Image == "" {
		c.Image = "registry.example.com/shop:1"
	}
	c.Resources.Requests = cpu("500m")
	create(ctx, deployment(namespace, "shop", 1, c))
	awaitReplicaFailure(ctx, namespace)
}

func labelled(l v1alpha1.DetectedLabels) func(*v1alpha1.AIAnalysis) {
	return func(a *v1alpha1.AIAnalysis) {
		a.Spec.AnalysisRequest.SignalContext.EnrichmentResults.DetectedLabels = &l
	}
}

var _ = Describe("An analysis", func() {
	var namespace string
	BeforeEach(func(ctx SpecContext) { namespace = newNamespace(ctx) })

	It("goes through its phases in order and ends once", func(ctx SpecContext) {
		overQuota(ctx, namespace)
		a := incident(namespace, "QuotaExceeded", "Deployment", "shop")
		create(ctx, a)
		var phases []v1alpha1.Phase
		Expect(e2e.Await(ctx, sys, a, "finished", func(a *v1alpha1.AIAnalysis) string {
			if n := len(phases); n == 0 || phases[n-1] != a.Status.Phase {
				phases = append(phases, a.Status.Phase)
			}
			if a.Status.Phase.Terminal() {
				return ""
			}
			return brief(a)
		})).To(Succeed())
		order := []v1alpha1.Phase{"", v1alpha1.PhasePending, v1alpha1.PhaseInvestigating, v1alpha1.PhaseAnalyzing, v1alpha1.PhaseCompleted}
		at := -1
		for _, p := range phases { // a watch may merge states, but it never turns them round
			next := slices.Index(order, p)
			Expect(next).To(BeNumerically(">", at), "phases %v, wanted them in the order %v", phases, order)
			at = next
		}
		Expect(phases[len(phases)-1]).To(Equal(v1alpha1.PhaseCompleted))
		Expect(len(phases)).To(BeNumerically(">=", 2), "phases %v: the end alone shows no order", phases)
		expectOutcome(a, autoApproved)
	}, SpecTimeout(specTime))

	It("in staging finds the cause, chooses the workflow, fills its parameters and lets it run", func(ctx SpecContext) {
		overQuota(ctx, namespace)
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		expectOutcome(a, autoApproved)
		s := &a.Status
		Expect(s.CauseClass).To(Equal("quota-exceeded"))
		Expect(s.RootCauseAnalysis.Target).NotTo(BeNil())
		Expect([]string{s.RootCauseAnalysis.Target.Kind, s.RootCauseAnalysis.Target.Namespace, s.RootCauseAnalysis.Target.Name}).
			To(Equal([]string{"ResourceQuota", namespace, "team"}))
		Expect(s.RootCause).To(Equal(s.RootCauseAnalysis.Summary))
		Expect(s.RootCause).To(ContainSubstring("team"))
		Expect(workflowOf(ctx, a)).To(Equal("raise-quota"))
		w := s.SelectedWorkflow
		Expect(w.Version).NotTo(BeEmpty())
		Expect(w.ContainerImage).To(HavePrefix("kubernaut/workflow-raise-quota:"))
		Expect(w.Confidence).To(BeNumerically("~", 0.9, 0.1))
		Expect(w.Rationale).NotTo(BeEmpty())
		Expect(w.Parameters).To(And(HaveKeyWithValue("NAMESPACE", namespace), HaveKeyWithValue("QUOTA_NAME", "team")))
		Expect(s.ApprovalRequired).To(BeFalse())
		Expect(s.ApprovalReason).To(ContainSubstring("staging"))
		Expect(s.ApprovalContext).To(BeNil())
		Expect(s.TargetInOwnerChain).To(HaveValue(BeTrue()))
		Expect(s.InvestigationID).To(Equal(namespace+"/"+a.Name), "names may be the same in two namespaces")
		Expect(s.InvestigationTime).To(BeNumerically("<", 60), "seconds, not milliseconds")
		Expect(s.TotalAnalysisTime).To(BeNumerically(">=", s.CompletedAt.Sub(s.StartedAt.Time).Seconds()))
		Expect(s.DegradedMode).To(BeFalse())
		Expect(s.ConsecutiveFailures).To(BeZero())
		Expect(s.Attempt).To(BeEquivalentTo(1))
	}, SpecTimeout(specTime))

	It("in production asks for approval and gives a person what it takes to decide", func(ctx SpecContext) {
		overQuota(ctx, namespace)
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop", in("production")))
		expectOutcome(a, needsApproval)
		s := &a.Status
		Expect(s.ApprovalRequired).To(BeTrue())
		Expect(s.ApprovalReason).To(Equal("Production environment requires a person's approval"))
		c := s.ApprovalContext
		Expect(c).NotTo(BeNil())
		Expect(c.Reason).To(Equal(s.ApprovalReason))
		Expect(c.WhyApprovalRequired).To(Equal(s.ApprovalReason))
		Expect(c.ConfidenceScore).To(Equal(s.SelectedWorkflow.Confidence))
		Expect(c.ConfidenceLevel).To(Equal(v1alpha1.ConfidenceHigh))
		Expect(c.InvestigationSummary).To(Equal(s.RootCause))
		Expect(c.RecommendedActions).To(HaveLen(1))
		Expect(c.RecommendedActions[0].Action).To(Equal(s.SelectedWorkflow.WorkflowID))
		Expect(c.PolicyEvaluation).NotTo(BeNil())
		Expect(c.PolicyEvaluation.PolicyName).To(Equal("aianalysis.approval"))
		Expect(c.PolicyEvaluation.Decision).To(Equal(v1alpha1.PolicyDecisionManualReview))
		Expect(c.PolicyEvaluation.MatchedRules).To(ContainElement("production"))
		Expect(s.SelectedWorkflow.Parameters).NotTo(BeEmpty(), "the workflow that waits must be ready to run")
	}, SpecTimeout(specTime))

	DescribeTable("is approved by itself only where that is known to be harmless", func(ctx SpecContext, environment string, rule string) {
		overQuota(ctx, namespace)
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop", in(environment)))
		if rule == "automatic" {
			expectOutcome(a, autoApproved)
		} else {
			expectOutcome(a, needsApproval)
		}
		Expect(a.Status.Policy.Rule).To(Equal(rule), a.Status.ApprovalReason)
	},
		Entry("development", "development", "automatic", SpecTimeout(specTime)),
		Entry("Staging, in another case", "Staging", "automatic", SpecTimeout(specTime)),
		Entry("prod", "prod", "production", SpecTimeout(specTime)),
		Entry("PRODUCTION", "PRODUCTION", "production", SpecTimeout(specTime)),
		Entry("a name that nobody knows", "blue", "environment_not_automatic", SpecTimeout(specTime)),
	)

	It("asks for approval of a stateful workload in production, and says that this is why", func(ctx SpecContext) {
		overQuota(ctx, namespace)
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop", in("production"), labelled(v1alpha1.DetectedLabels{Stateful: true})))
		expectOutcome(a, needsApproval)
		Expect(a.Status.ApprovalReason).To(Equal("Production environment with a stateful workload requires a person's approval"))
	}, SpecTimeout(specTime))

	It("asks for approval when traits of the target could not be detected", func(ctx SpecContext) {
		overQuota(ctx, namespace)
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop", labelled(v1alpha1.DetectedLabels{FailedDetections: []string{"pdbProtected"}})))
		expectOutcome(a, needsApproval)
		Expect(a.Status.Policy.Rule).To(Equal("failed_detections"), a.Status.ApprovalReason)
	}, SpecTimeout(specTime))

	It("of an object that does not exist ends with a person, not with a guess", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "CrashLoopBackOff", "Deployment", "never-was"))
		expectOutcome(a, review(v1alpha1.SubReasonInvestigationInconclusive))
		Expect(a.Status.SelectedWorkflow).To(BeNil())
		Expect(a.Status.ApprovalRequired).To(BeFalse())
		Expect(a.Status.RootCauseAnalysis.Severity).To(Equal(v1alpha1.Severity("unknown")))
		Expect(a.Status.Bundle).NotTo(BeNil(), "what was read is kept, also when it decides nothing")
	}, SpecTimeout(specTime))

	It("is not mixed up with another of the same name in another namespace", func(ctx SpecContext) {
		other := newNamespace(ctx)
		overQuota(ctx, namespace)
		here := incident(namespace, "QuotaExceeded", "Deployment", "shop")
		there := incident(other, "CrashLoopBackOff", "Deployment", "never-was")
		here.GenerateName, here.Name, there.GenerateName, there.Name = "", "same", "", "same"
		create(ctx, here, there)
		finished(ctx, here)
		finished(ctx, there)
		expectOutcome(here, autoApproved)
		expectOutcome(there, review(v1alpha1.SubReasonInvestigationInconclusive))
		for _, a := range []*v1alpha1.AIAnalysis{here, there} {
			for _, e := range trailOf(ctx, a).By(e2e.Controller) {
				Expect(e.Namespace).To(Equal(a.Namespace), "namespace of event %s", e.Type)
			}
		}
	}, SpecTimeout(specTime))

	It("is one of many at once, each with its own investigation and its own end", func(ctx SpecContext) {
		const many = 20
		overQuota(ctx, namespace)
		var all []*v1alpha1.AIAnalysis
		for range many {
			a := incident(namespace, "QuotaExceeded", "Deployment", "shop")
			create(ctx, a)
			all = append(all, a)
		}
		for _, a := range all {
			finished(ctx, a)
			expectOutcome(a, autoApproved)
			trail := trailOf(ctx, a)
			Expect(trail.Of("investigation.completed")).To(HaveLen(1), "investigations of %s: %v", a.Name, trail.Types())
			Expect(trail.Of("aianalysis.analysis.completed")).To(HaveLen(1), "ends of %s", a.Name)
		}
	}, SpecTimeout(specTime))

	It("cannot be changed once it is there", func(ctx SpecContext) {
		overQuota(ctx, namespace)
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		a.Spec.AnalysisRequest.SignalContext.Environment = "development"
		err := sys.Update(ctx, a)
		Expect(apierrors.IsInvalid(err)).To(BeTrue(), "got %v", err)
		Expect(err).To(MatchError(ContainSubstring("immutable")))
	}, SpecTimeout(specTime))

	DescribeTable("is refused when the spec is wrong", func(ctx SpecContext, field string, change func(*v1alpha1.AIAnalysis)) {
		err := sys.Create(ctx, incident(namespace, "OOMKilled", "Deployment", "shop", change))
		Expect(apierrors.IsInvalid(err)).To(BeTrue(), "got %v", err)
		Expect(err).To(MatchError(ContainSubstring(field)))
	},
		Entry("a severity that is none", "severity", func(a *v1alpha1.AIAnalysis) { a.Spec.AnalysisRequest.SignalContext.Severity = "high" }, SpecTimeout(specTime)),
		Entry("no remediation id", "remediationId", func(a *v1alpha1.AIAnalysis) { a.Spec.RemediationID = "" }, SpecTimeout(specTime)),
		Entry("no environment", "environment", func(a *v1alpha1.AIAnalysis) { a.Spec.AnalysisRequest.SignalContext.Environment = "" }, SpecTimeout(specTime)),
		Entry("no analysis types", "analysisTypes", func(a *v1alpha1.AIAnalysis) { a.Spec.AnalysisRequest.AnalysisTypes = nil }, SpecTimeout(specTime)),
		Entry("a negative recovery attempt", "recoveryAttemptNumber", func(a *v1alpha1.AIAnalysis) { a.Spec.RecoveryAttemptNumber = -1 }, SpecTimeout(specTime)),
	)

	It("says so when it brings a timeout that is none, and goes on with the usual one", func(ctx SpecContext) {
		overQuota(ctx, namespace)
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop", within("soon")))
		expectOutcome(a, autoApproved)
		Expect(a.Status.Warnings).To(ContainElement(ContainSubstring("investigatingTimeout")), fmt.Sprint(a.Status.Warnings))
	}, SpecTimeout(specTime))
})
