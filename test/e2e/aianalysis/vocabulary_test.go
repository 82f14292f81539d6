//go:build e2e

package aianalysis

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/e2e"
)

// incident returns an analysis of one object of a namespace, in staging.
func incident(namespace, signal, kind, name string, change ...func(*v1alpha1.AIAnalysis)) *v1alpha1.AIAnalysis {
	a := &v1alpha1.AIAnalysis{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "analysis-"},
		Spec: v1alpha1.AIAnalysisSpec{
			RemediationID: "e2e-" + uuid.NewString(),
			AnalysisRequest: v1alpha1.AnalysisRequest{
				AnalysisTypes: []string{"investigation", "root-cause", "workflow-selection"},
				SignalContext: v1alpha1.SignalContext{
					Fingerprint: "f-" + name, Severity: "critical", SignalType: signal, Environment: "staging", BusinessPriority: "P1",
					TargetResource: v1alpha1.TargetResource{Kind: kind, Name: name, Namespace: namespace},
				},
			},
		},
	}
	for _, c := range change {
		c(a)
	}
	return a
}

func in(environment string) func(*v1alpha1.AIAnalysis) {
	return func(a *v1alpha1.AIAnalysis) { a.Spec.AnalysisRequest.SignalContext.Environment = environment }
}

func within(timeout string) func(*v1alpha1.AIAnalysis) {
	return func(a *v1alpha1.AIAnalysis) {
		a.Spec.TimeoutConfig = &v1alpha1.TimeoutConfig{InvestigatingTimeout: timeout}
	}
}

// create creates objects.
func create(ctx context.Context, objects ...client.Object) {
	GinkgoHelper()
	for _, o := range objects {
		Expect(sys.Create(ctx, o)).To(Succeed(), "create %T %s/%s%s", o, o.GetNamespace(), o.GetName(), o.GetGenerateName())
	}
}

// finished waits until an analysis has ended.
func finished(ctx context.Context, a *v1alpha1.AIAnalysis) {
	GinkgoHelper()
	until(ctx, a, "finished", func(a *v1alpha1.AIAnalysis) bool { return a.Status.Phase.Terminal() })
}

// until waits until an analysis is as ok says, and brings it up to date.
func until(ctx context.Context, a *v1alpha1.AIAnalysis, what string, ok func(*v1alpha1.AIAnalysis) bool) {
	GinkgoHelper()
	Expect(e2e.Await(ctx, sys, a, what, func(a *v1alpha1.AIAnalysis) string {
		if ok(a) {
			return ""
		}
		return "the status is " + brief(a)
	})).To(Succeed())
}

// analysed creates an analysis and waits until it has ended.
func analysed(ctx context.Context, a *v1alpha1.AIAnalysis) *v1alpha1.AIAnalysis {
	GinkgoHelper()
	create(ctx, a)
	finished(ctx, a)
	return a
}

// brief is the state of an analysis in a line.
func brief(a *v1alpha1.AIAnalysis) string {
	s := &a.Status
	return fmt.Sprintf("phase %q, reason %q, subReason %q, cause %q, attempt %d, failures %d, message %q",
		s.Phase, s.Reason, s.SubReason, s.CauseClass, s.Attempt, s.ConsecutiveFailures, s.Message)
}

// outcome is how an analysis ended.
type outcome struct {
	Phase     v1alpha1.Phase
	Reason    string
	SubReason v1alpha1.SubReason
}

var (
	autoApproved  = outcome{v1alpha1.PhaseCompleted, v1alpha1.ReasonAnalysisCompleted, v1alpha1.SubReasonAutoApproved}
	needsApproval = outcome{v1alpha1.PhaseCompleted, v1alpha1.ReasonAnalysisCompleted, v1alpha1.SubReasonApprovalRequired}
	notNeeded     = outcome{v1alpha1.PhaseCompleted, v1alpha1.ReasonWorkflowNotNeeded, v1alpha1.SubReasonProblemResolved}
)

func review(sub v1alpha1.SubReason) outcome {
	return outcome{v1alpha1.PhaseFailed, v1alpha1.ReasonWorkflowResolutionFailed, sub}
}

func failedCall(sub v1alpha1.SubReason) outcome {
	return outcome{v1alpha1.PhaseFailed, v1alpha1.ReasonAPIError, sub}
}

// expectOutcome checks how an analysis ended, and what holds of every analysis that has.
func expectOutcome(a *v1alpha1.AIAnalysis, want outcome) {
	GinkgoHelper()
	s := &a.Status
	Expect(outcome{s.Phase, s.Reason, s.SubReason}).To(Equal(want), "%s", brief(a))
	Expect(s.ObservedGeneration).To(Equal(a.Generation), "observedGeneration")
	Expect(s.StartedAt).NotTo(BeNil(), "startedAt")
	Expect(s.CompletedAt).NotTo(BeNil(), "completedAt")
	Expect(s.CompletedAt.Before(s.StartedAt)).To(BeFalse(), "completedAt %v is before startedAt %v", s.CompletedAt, s.StartedAt)
	Expect(s.Message).NotTo(BeEmpty(), "message")
	Expect(s.NextAttemptAt).To(BeNil(), "nextAttemptAt of a finished analysis")
	for _, c := range []string{
		v1alpha1.ConditionInvestigationComplete, v1alpha1.ConditionAnalysisComplete,
		v1alpha1.ConditionWorkflowResolved, v1alpha1.ConditionApprovalRequired,
	} {
		Expect(conditions(a)).To(HaveKey(c), "condition of a finished analysis")
	}
}

// conditions are those of an analysis, as "True/Reason".
func conditions(a *v1alpha1.AIAnalysis) map[string]string {
	set := map[string]string{}
	for _, c := range a.Status.Conditions {
		set[c.Type] = string(c.Status) + "/" + c.Reason
	}
	return set
}

// workflowOf returns the name of the workflow that was chosen, "" when none was.
func workflowOf(ctx context.Context, a *v1alpha1.AIAnalysis) string {
	GinkgoHelper()
	if a.Status.SelectedWorkflow == nil {
		return ""
	}
	name, err := sys.WorkflowName(ctx, a.Status.SelectedWorkflow.WorkflowID)
	Expect(err).NotTo(HaveOccurred())
	return name
}

// trailOf reads the audit trail of an analysis and checks its chain.
func trailOf(ctx context.Context, a *v1alpha1.AIAnalysis) e2e.Trail {
	GinkgoHelper()
	Expect(sys.VerifyTrail(ctx, a.Spec.RemediationID)).To(Succeed())
	trail, err := sys.Trail(ctx, a.Spec.RemediationID)
	Expect(err).NotTo(HaveOccurred())
	return trail
}

// controllerEvents are the types of the controller's events on a trail, without their prefix.
func controllerEvents(trail e2e.Trail) []string {
	types := trail.By(e2e.Controller).Types()
	for i := range types {
		types[i] = strings.TrimPrefix(types[i], "aianalysis.")
	}
	return types
}

// kubernetesEvents waits until there are Kubernetes events about an analysis with all of the reasons, and
// returns all about it.
func kubernetesEvents(ctx context.Context, a *v1alpha1.AIAnalysis, wanted ...string) []corev1.Event {
	GinkgoHelper()
	events, err := e2e.AwaitAll(ctx, sys, fmt.Sprintf("events %v about %s", wanted, a.Name), func(events []*corev1.Event) string {
		there := map[string]bool{}
		for _, e := range events {
			there[e.Reason] = true
		}
		for _, reason := range wanted {
			if !there[reason] {
				return fmt.Sprintf("there is no %s among %v", reason, slices.Sorted(maps.Keys(there)))
			}
		}
		return ""
	}, client.InNamespace(a.Namespace), client.MatchingFields{"involvedObject.uid": string(a.UID)})
	Expect(err).NotTo(HaveOccurred())
	out := make([]corev1.Event, len(events))
	for i, e := range events {
		out[i] = *e
	}
	return out
}

// reasons are those of events.
func reasons(events []corev1.Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.Reason
	}
	return out
}

// ask asks an endpoint and expects an answer of a status.
func ask(ctx context.Context, url string, status int) e2e.Answer {
	GinkgoHelper()
	a, err := sys.Get(ctx, url)
	Expect(err).NotTo(HaveOccurred())
	Expect(a.Status).To(Equal(status), "%s: %s", url, a)
	return a
}

// decoded is the JSON object of an answer.
func decoded(a e2e.Answer) map[string]any {
	GinkgoHelper()
	var m map[string]any
	Expect(a.JSON(&m)).To(Succeed())
	return m
}

func anyPod(corev1.Pod) bool { return true }
