//go:build e2e

package aianalysis

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/e2e"
)

// recovery makes an analysis the n-th recovery after executions that failed.
func recovery(n int, executions ...v1alpha1.PreviousExecution) func(*v1alpha1.AIAnalysis) {
	return func(a *v1alpha1.AIAnalysis) {
		a.Spec.IsRecoveryAttempt, a.Spec.RecoveryAttemptNumber, a.Spec.PreviousExecutions = true, n, executions
	}
}

// failedExecution is an execution of a workflow that failed for a Kubernetes reason.
func failedExecution(name, workflowID, reason string) v1alpha1.PreviousExecution {
	return v1alpha1.PreviousExecution{
		WorkflowExecutionRef: name,
		OriginalRCA:          v1alpha1.OriginalRCA{Summary: "as found then", SignalType: "FailedScheduling", Severity: "high"},
		SelectedWorkflow:     v1alpha1.PreviousWorkflow{WorkflowID: workflowID, Version: "1.0.0", ContainerImage: "kubernaut/w:1", Rationale: "it fitted"},
		Failure: v1alpha1.ExecutionFailure{
			FailedStepIndex: 1, FailedStepName: "wait", Reason: reason, Message: "it did not help",
			FailedAt: metav1.NewTime(time.Now().Add(-time.Minute)), ExecutionTime: "2m0s",
		},
	}
}

// executed is the failed execution of the workflow that an analysis chose, as it chose it.
func executed(a *v1alpha1.AIAnalysis, reason string) v1alpha1.PreviousExecution {
	e := failedExecution("execution-of-"+a.Name, a.Status.SelectedWorkflow.WorkflowID, reason)
	e.OriginalRCA.Summary, e.OriginalRCA.SignalType = a.Status.RootCause, a.Status.RootCauseAnalysis.SignalType
	w := a.Status.SelectedWorkflow
	e.SelectedWorkflow = v1alpha1.PreviousWorkflow{
		WorkflowID: w.WorkflowID, Version: w.Version, ContainerImage: w.ContainerImage, Rationale: w.Rationale, Parameters: w.Parameters,
	}
	return e
}

var _ = Describe("A recovery", func() {
	var namespace string
	BeforeEach(func(ctx SpecContext) { namespace = newNamespace(ctx) }, NodeTimeout(specTime))

	It("never proposes again what has failed, and comes to an end when nothing is left", func(ctx SpecContext) {
		needNodes()
		stageNodeSelector(ctx, namespace)
		first := analysed(ctx, incident(namespace, "FailedScheduling", "Deployment", "shop"))
		expectOutcome(first, autoApproved)
		tried := []v1alpha1.PreviousExecution{executed(first, "Unschedulable")}
		names := []string{workflowOf(ctx, first)}

		second := analysed(ctx, incident(namespace, "FailedScheduling", "Deployment", "shop", recovery(1, tried...)))
		Expect(second.Status.SelectedWorkflow).NotTo(BeNil(), brief(second))
		names = append(names, workflowOf(ctx, second))
		Expect(names).To(Equal([]string{"label-node", "remove-node-selector"}))
		Expect(second.Status.CauseClass).To(Equal("node-selector-mismatch"))
		r := second.Status.RecoveryStatus
		Expect(r).NotTo(BeNil())
		Expect(r.StateChanged).To(BeFalse(), "the cause is still the same")
		Expect(r.PreviousAttemptAssessment.FailureUnderstood).To(BeTrue())
		Expect(r.PreviousAttemptAssessment.FailureReasonAnalysis).To(ContainSubstring("scheduled"))
		call := trailOf(ctx, second).Of("aianalysis.holmesgpt.call")[0]
		Expect(call.Field("endpoint")).To(Equal(recoveryPath))

		tried = append(tried, executed(second, "Unschedulable"))
		third := analysed(ctx, incident(namespace, "FailedScheduling", "Deployment", "shop", recovery(2, tried...)))
		Expect(third.Status.Phase).To(Equal(v1alpha1.PhaseFailed), brief(third))
		Expect(third.Status.SelectedWorkflow).To(BeNil(), "nothing is left that has not failed: %s", brief(third))
	}, SpecTimeout(specTime))

	It("is left to a person from the third attempt on, whatever the environment", func(ctx SpecContext) {
		overQuota(ctx, namespace)
		before := []v1alpha1.PreviousExecution{
			failedExecution("one", "w-1", "Error"), failedExecution("two", "w-2", "Error"), failedExecution("three", "w-3", "Error"),
		}
		second := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop", recovery(2, before[:2]...)))
		expectOutcome(second, autoApproved)
		third := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop", recovery(3, before...)))
		expectOutcome(third, needsApproval)
		Expect(third.Status.Policy.Rule).To(Equal("repeated_recovery"))
		Expect(third.Status.ApprovalReason).To(ContainSubstring("Recovery attempt 3"))
		Expect(third.Status.RecoveryStatus.PreviousAttemptAssessment.FailureReasonAnalysis).To(ContainSubstring("3 executions failed"))
	}, SpecTimeout(specTime))

	It("sees that the state has changed since the execution that failed", func(ctx SpecContext) {
		overQuota(ctx, namespace)
		a := analysed(ctx, incident(namespace, "FailedScheduling", "Deployment", "shop", recovery(1, failedExecution("one", "w-1", "Unschedulable"))))
		Expect(a.Status.RecoveryStatus).NotTo(BeNil(), brief(a))
		Expect(a.Status.RecoveryStatus.StateChanged).To(BeTrue())
		Expect(a.Status.RecoveryStatus.CurrentSignalType).To(Equal("QuotaExceeded"))
	}, SpecTimeout(specTime))

	It("of a workload that has come right needs nothing more", func(ctx SpecContext) {
		needNodes()
		stageHealthy(ctx, namespace)
		a := analysed(ctx, incident(namespace, "FailedScheduling", "Deployment", "shop", recovery(1, failedExecution("one", "w-1", "Unschedulable"))))
		Expect(a.Status.SelectedWorkflow).To(BeNil(), brief(a))
		Expect(a.Status.RecoveryStatus).NotTo(BeNil())
		Expect(a.Status.RecoveryStatus.StateChanged).To(BeTrue())
	}, SpecTimeout(specTime))

	It("counts what it found out about the execution before", func(ctx SpecContext) {
		overQuota(ctx, namespace)
		sum := func() (n float64) {
			m := scrape(ctx, sys.Metrics)
			for _, understood := range []string{"true", "false"} {
				for _, changed := range []string{"true", "false"} {
					v, _ := m.Value("aianalysis_recovery_status_populated_total", "failure_understood", understood, "state_changed", changed)
					n += v
				}
			}
			return n
		}
		before := sum()
		analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop", recovery(1, failedExecution("one", "w-1", "Error"))))
		Expect(e2e.Until(ctx, "growth of the count", func(context.Context) string {
			if now := sum(); now <= before {
				return fmt.Sprint("it is still ", now)
			}
			return ""
		})).To(Succeed())
	}, SpecTimeout(specTime))
})
