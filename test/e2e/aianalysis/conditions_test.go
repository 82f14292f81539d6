//go:build e2e

package aianalysis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/e2e"
)

var _ = Describe("Conditions and events", func() {
	var namespace string
	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		overQuota(ctx, namespace)
	})

	expectConditions := func(a *v1alpha1.AIAnalysis, investigation, analysis, workflow, approval string) {
		GinkgoHelper()
		Expect(conditions(a)).To(Equal(map[string]string{
			v1alpha1.ConditionInvestigationComplete: investigation, v1alpha1.ConditionAnalysisComplete: analysis,
			v1alpha1.ConditionWorkflowResolved: workflow, v1alpha1.ConditionApprovalRequired: approval,
		}))
		for _, c := range a.Status.Conditions {
			Expect(c.ObservedGeneration).To(Equal(a.Generation), "observedGeneration of %s", c.Type)
			Expect(c.Message).NotTo(BeEmpty(), "message of %s", c.Type)
			Expect(c.LastTransitionTime.IsZero()).To(BeFalse(), "lastTransitionTime of %s", c.Type)
		}
	}

	It("say that a workflow may run", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		expectConditions(a, "True/InvestigationSucceeded", "True/AnalysisSucceeded", "True/WorkflowSelected", "False/AutoApproved")
	}, SpecTimeout(specTime))

	It("say that a person must approve", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop", in("production")))
		expectConditions(a, "True/InvestigationSucceeded", "True/AnalysisSucceeded", "True/WorkflowSelected", "True/PolicyRequiresApproval")
	}, SpecTimeout(specTime))

	It("say that a person must look", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "CrashLoopBackOff", "Deployment", "never-was"))
		expectConditions(a, "True/InvestigationSucceeded", "False/AnalysisFailed", "False/WorkflowResolutionFailed", "False/NothingToApprove")
	}, SpecTimeout(specTime))

	It("tell what happens to an analysis, each step once", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		events := kubernetesEvents(ctx, a, v1alpha1.EventAIAnalysisCreated, v1alpha1.EventInvestigationComplete, v1alpha1.EventAnalysisCompleted)
		Expect(reasons(events)).To(ConsistOf(v1alpha1.EventAIAnalysisCreated, v1alpha1.EventInvestigationComplete, v1alpha1.EventAnalysisCompleted))
		for _, e := range events {
			Expect(e.Type).To(Equal(corev1.EventTypeNormal), e.Reason)
			Expect(e.Source.Component+e.ReportingController).To(ContainSubstring(e2e.Controller), e.Reason)
			Expect(e.Message).NotTo(BeEmpty(), e.Reason)
			Expect(e.InvolvedObject.Kind).To(Equal("AIAnalysis"), e.Reason)
		}
	}, SpecTimeout(specTime))

	It("warn when a person must approve", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop", in("production")))
		for _, e := range kubernetesEvents(ctx, a, v1alpha1.EventApprovalRequired) {
			if e.Reason == v1alpha1.EventApprovalRequired {
				Expect(e.Type).To(Equal(corev1.EventTypeWarning))
				Expect(e.Message).To(ContainSubstring("Production environment"))
			}
		}
	}, SpecTimeout(specTime))

	It("warn when a person must look", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "CrashLoopBackOff", "Deployment", "never-was"))
		events := kubernetesEvents(ctx, a, v1alpha1.EventAIAnalysisCreated, v1alpha1.EventHumanReviewRequired)
		Expect(reasons(events)).To(ConsistOf(v1alpha1.EventAIAnalysisCreated, v1alpha1.EventHumanReviewRequired))
		for _, e := range events {
			if e.Reason == v1alpha1.EventHumanReviewRequired {
				Expect(e.Type).To(Equal(corev1.EventTypeWarning))
				Expect(e.Message).To(HavePrefix("InvestigationInconclusive"))
			}
		}
	}, SpecTimeout(specTime))

	It("name the policy that decided by the hash of its text", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		Expect(a.Status.Policy).NotTo(BeNil())
		Expect(a.Status.Policy.Name).To(Equal("aianalysis.approval"))
		Expect(a.Status.Policy.Rule).To(Equal("automatic"))
		if !sys.Deployed {
			Expect(a.Status.Policy.Hash).To(MatchRegexp("^[0-9a-f]{16,64}$"))
			return
		}
		cm := &corev1.ConfigMap{}
		Expect(sys.WithWatch.Get(ctx, client.ObjectKey{Namespace: e2e.Namespace, Name: "aianalysis-policies"}, cm)).To(Succeed())
		sum := sha256.Sum256([]byte(cm.Data["approval.rego"]))
		Expect(a.Status.Policy.Hash).To(Equal(hex.EncodeToString(sum[:])))
	}, SpecTimeout(specTime))

	It("show phase, confidence, approval and age in the list that kubectl prints", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		table := tableOf(ctx, namespace)
		var columns []string
		for _, c := range table.ColumnDefinitions {
			if c.Priority == 0 { // the others are for -o wide
				columns = append(columns, c.Name)
			}
		}
		Expect(columns).To(Equal([]string{"Name", "Phase", "Confidence", "ApprovalRequired", "Age"}))
		Expect(table.Rows).To(HaveLen(1))
		cells := table.Rows[0].Cells
		Expect(cells[0]).To(Equal(a.Name))
		Expect(cells[1]).To(Equal("Completed"))
		Expect(fmt.Sprint(cells[2])).To(Equal(fmt.Sprint(a.Status.SelectedWorkflow.Confidence)))
		Expect(cells[3]).To(BeFalse())
	}, SpecTimeout(specTime))
})

// tableOf lists the analyses of a namespace as kubectl does.
func tableOf(ctx context.Context, namespace string) metav1.Table {
	GinkgoHelper()
	text, err := sys.API(ctx, "/apis/kubernaut.ai/v1alpha1/namespaces/"+namespace+"/aianalyses", "application/json;as=Table;v=v1;g=meta.k8s.io")
	Expect(err).NotTo(HaveOccurred())
	var table metav1.Table
	Expect(json.Unmarshal(text, &table)).To(Succeed())
	return table
}
