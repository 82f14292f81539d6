//go:build e2e

package aianalysis

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/e2e/faultproxy"
)

// answered is an answer of the incident endpoint with some of its fields changed; nil deletes one.
func answered(change map[string]any) faultproxy.Rule {
	m := map[string]any{
		"incident_id": "i", "analysis": "The container needs more memory.", "confidence": 0.92, "timestamp": "2026-03-02T09:00:00.000000Z",
		"root_cause_analysis": map[string]any{"summary": "the limit is too low", "severity": "high", "contributing_factors": []string{"traffic"}},
		"selected_workflow": map[string]any{
			"workflow_id": "raise-memory", "version": "1.0.0", "containerImage": "kubernaut/raise-memory:v1", "confidence": 0.92,
			"rationale": "it fits", "parameters": map[string]any{"MEMORY_LIMIT": "1Gi", "REPLICAS": 2},
		},
		"target_in_owner_chain": true,
	}
	maps.Copy(m, change)
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // it is made of constants
	}
	return faultproxy.Rule{ID: "answer", Kind: faultproxy.Respond, Status: 200, Body: string(text), Headers: map[string]string{"Content-Type": "application/json"}}
}

func workflow(confidence float64) map[string]any {
	return map[string]any{
		"workflow_id": "w", "version": "1", "container_image": "kubernaut/w:1", "confidence": confidence, "rationale": "it fits",
		"parameters": map[string]any{"NAMESPACE": "shop"},
	}
}

func outcomes(proxy *tuned) {
	var namespace string
	BeforeEach(func(ctx SpecContext) { namespace = newNamespace(ctx) }, NodeTimeout(specTime))
	outcomeOf := func(ctx context.Context, r faultproxy.Rule, signal string, change ...func(*v1alpha1.AIAnalysis)) *v1alpha1.AIAnalysis {
		GinkgoHelper()
		a := incident(namespace, signal, "Deployment", "shop", change...)
		proxy.rule(ctx, a, r)
		return analysed(ctx, a)
	}

	DescribeTable("is a person's review, with the reason that the investigation gave", func(ctx SpecContext, reason string, sub v1alpha1.SubReason) {
		a := outcomeOf(ctx, answered(map[string]any{"needs_human_review": true, "human_review_reason": reason, "warnings": []string{"look at this"}}), "OOMKilled")
		expectOutcome(a, review(sub))
		Expect(a.Status.Warnings).To(ContainElement("look at this"))
		Expect(a.Status.SelectedWorkflow.WorkflowID).To(Equal("raise-memory"), "what was proposed is shown")
		Expect(a.Status.SelectedWorkflow.Parameters).To(BeEmpty(), "and cannot run")
		e := trailOf(ctx, a).Of("aianalysis.human_review.required")
		Expect(e).To(HaveLen(1))
		Expect(e[0].Field("human_review_reason")).To(Equal(reason))
	},
		Entry(nil, SpecTimeout(specTime), "workflow_not_found", v1alpha1.SubReasonWorkflowNotFound),
		Entry(nil, SpecTimeout(specTime), "image_mismatch", v1alpha1.SubReasonImageMismatch),
		Entry(nil, SpecTimeout(specTime), "parameter_validation_failed", v1alpha1.SubReasonParameterValidationFailed),
		Entry(nil, SpecTimeout(specTime), "no_matching_workflows", v1alpha1.SubReasonNoMatchingWorkflows),
		Entry(nil, SpecTimeout(specTime), "low_confidence", v1alpha1.SubReasonLowConfidence),
		Entry(nil, SpecTimeout(specTime), "llm_parsing_error", v1alpha1.SubReasonLLMParsingError),
		Entry(nil, SpecTimeout(specTime), "investigation_inconclusive", v1alpha1.SubReasonInvestigationInconclusive),
	)

	DescribeTable("follows from the answer", func(ctx SpecContext, change map[string]any, want outcome) {
		expectOutcome(outcomeOf(ctx, answered(change), "OOMKilled"), want)
	},
		Entry("a workflow that fits", SpecTimeout(specTime), map[string]any{}, autoApproved),
		Entry("nothing is wrong, for sure", SpecTimeout(specTime), map[string]any{"selected_workflow": nil, "confidence": 0.7}, notNeeded),
		Entry("no workflow, and not sure", SpecTimeout(specTime), map[string]any{"selected_workflow": nil, "confidence": 0.69},
			outcome{v1alpha1.PhaseFailed, v1alpha1.ReasonNoWorkflowSelected, v1alpha1.SubReasonInvestigationInconclusive}),
		Entry("a confidence that a person must review", SpecTimeout(specTime), map[string]any{"selected_workflow": workflow(0.69)}, review(v1alpha1.SubReasonLowConfidence)),
		Entry("a confidence that a person must approve", SpecTimeout(specTime), map[string]any{"selected_workflow": workflow(0.79)}, needsApproval),
		Entry("a confidence that is enough", SpecTimeout(specTime), map[string]any{"selected_workflow": workflow(0.8)}, autoApproved),
		Entry("a target that nobody knows", SpecTimeout(specTime), map[string]any{"target_in_owner_chain": false}, needsApproval),
		Entry("a severity that is unknown", SpecTimeout(specTime), map[string]any{"root_cause_analysis": map[string]any{"summary": "?", "severity": "unknown"}}, autoApproved),
		Entry("a severity that is none", SpecTimeout(specTime), map[string]any{"root_cause_analysis": map[string]any{"summary": "?", "severity": "apocalyptic"}}, autoApproved),
		Entry("an id without end", SpecTimeout(specTime), map[string]any{"incident_id": strings.Repeat("i", 1000)}, autoApproved),
		Entry("text without end", SpecTimeout(specTime), map[string]any{"warnings": []string{strings.Repeat("w", 100_000)}}, autoApproved),
	)

	It("keeps the old spelling of the image, and turns numbers among parameters into text", func(ctx SpecContext) {
		a := outcomeOf(ctx, answered(nil), "OOMKilled")
		Expect(a.Status.SelectedWorkflow.ContainerImage).To(Equal("kubernaut/raise-memory:v1"))
		Expect(a.Status.SelectedWorkflow.Parameters).To(Equal(map[string]string{"MEMORY_LIMIT": "1Gi", "REPLICAS": "2"}))
	}, SpecTimeout(specTime))

	// The investigation service in mock mode, behind the shipped controller.
	DescribeTable("is that of the contract's mock", func(ctx SpecContext, signal string, recovering bool, want outcome, workflow string) {
		r := faultproxy.Rule{ID: "mock", Kind: faultproxy.Redirect, Upstream: mockURL}
		var change []func(*v1alpha1.AIAnalysis)
		if recovering {
			change = append(change, recovery(1, failedExecution("first", "mock-old", "OOMKilled")))
		}
		a := outcomeOf(ctx, r, signal, change...)
		expectOutcome(a, want)
		got := ""
		if a.Status.SelectedWorkflow != nil {
			got = a.Status.SelectedWorkflow.WorkflowID
		}
		Expect(got).To(Equal(workflow))
	},
		Entry("OOMKilled", SpecTimeout(specTime), "OOMKilled", false, autoApproved, "mock-oomkill-increase-memory-v1"),
		Entry("CrashLoopBackOff", SpecTimeout(specTime), "CrashLoopBackOff", false, autoApproved, "mock-crashloop-config-fix-v1"),
		Entry("NodeNotReady", SpecTimeout(specTime), "NodeNotReady", false, autoApproved, "mock-node-drain-reboot-v1"),
		Entry("ImagePullBackOff", SpecTimeout(specTime), "imagepullbackoff", false, autoApproved, "mock-image-fix-v1"),
		Entry("Evicted", SpecTimeout(specTime), "Evicted", false, autoApproved, "mock-eviction-recovery-v1"),
		Entry("FailedScheduling", SpecTimeout(specTime), "FailedScheduling", false, autoApproved, "mock-scheduling-fix-v1"),
		Entry("anything else", SpecTimeout(specTime), "SomethingElse", false, needsApproval, "mock-generic-restart-v1"),
		Entry("no workflow", SpecTimeout(specTime), "MOCK_NO_WORKFLOW_FOUND", false, review(v1alpha1.SubReasonNoMatchingWorkflows), ""),
		Entry("low confidence", SpecTimeout(specTime), "MOCK_LOW_CONFIDENCE", false, review(v1alpha1.SubReasonLowConfidence), "mock-low-confidence-workflow-v1"),
		Entry("exhausted", SpecTimeout(specTime), "MOCK_MAX_RETRIES_EXHAUSTED", false, review(v1alpha1.SubReasonLLMParsingError), ""),
		Entry("recovery", SpecTimeout(specTime), "OOMKilled", true, autoApproved, "mock-oomkill-increase-memory-v1-recovery"),
		Entry("recovery without a workflow", SpecTimeout(specTime), "MOCK_NO_WORKFLOW_FOUND", true, review(v1alpha1.SubReasonNoMatchingWorkflows), ""),
		Entry("recovery of low confidence", SpecTimeout(specTime), "MOCK_LOW_CONFIDENCE", true, review(v1alpha1.SubReasonLowConfidence), "mock-low-confidence-recovery-v1"),
		Entry("recovery of what is gone", SpecTimeout(specTime), "MOCK_NOT_REPRODUCIBLE", true,
			outcome{v1alpha1.PhaseFailed, v1alpha1.ReasonRecoveryNotPossible, v1alpha1.SubReasonNoRecoveryStrategy}, ""),
	)
}
