//go:build e2e

package aianalysis

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/e2e"
)

// expectEvidence checks that what an analysis says is backed by evidence that can be read again: each
// link cites evidence, each piece is in the bundle as it is said to be, and what is named exists.
func expectEvidence(ctx context.Context, a *v1alpha1.AIAnalysis) *e2e.Bundle {
	GinkgoHelper()
	Expect(a.Status.Evidence).NotTo(BeEmpty(), "evidence of %s", brief(a))
	Expect(a.Status.CausalChain).NotTo(BeEmpty(), "causal chain of %s", brief(a))
	known := map[string]bool{}
	for _, e := range a.Status.Evidence {
		Expect(known).NotTo(HaveKey(e.ID))
		known[e.ID] = true
	}
	for i, link := range a.Status.CausalChain {
		Expect(link.Evidence).NotTo(BeEmpty(), "link %d, %q, is a hypothesis", i, link.Statement)
		for _, id := range link.Evidence {
			Expect(known).To(HaveKey(id), "link %d, %q", i, link.Statement)
		}
	}
	Expect(a.Status.Bundle).NotTo(BeNil(), "bundle")
	b, err := sys.Bundle(ctx, a.Status.Bundle.Digest)
	Expect(err).NotTo(HaveOccurred())
	Expect(b.Check(a.Status.Evidence)).To(Succeed(), "evidence against the bundle")
	Expect(sys.CheckLive(ctx, a.Status.Evidence)).To(Succeed(), "evidence against the cluster")
	return b
}

var _ = Describe("Evidence", func() {
	var namespace string
	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
	})

	It("backs every link of the chain, in the bundle and in the cluster", func(ctx SpecContext) {
		overQuota(ctx, namespace)
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		expectEvidence(ctx, a)
		first, last := a.Status.CausalChain[0], a.Status.CausalChain[len(a.Status.CausalChain)-1]
		Expect([]string{first.Subject.Kind, first.Subject.Name}).To(Equal([]string{"Deployment", "shop"}), "the chain begins with the symptom")
		Expect([]string{last.Subject.Kind, last.Subject.Name}).To(Equal([]string{"ResourceQuota", "team"}), "the chain ends with the cause")
	}, SpecTimeout(specTime))

	It("never holds what a Secret says, nor what looks like one", func(ctx SpecContext) {
		const hidden, token = "correct-horse-battery-staple", "ghp_0123456789abcdefghijABCDEFGHIJ456789"
		create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "credentials"},
			StringData: map[string]string{"password": hidden},
		}, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "settings"},
			Data:       map[string]string{"config": "token: " + token},
		})
		overQuota(ctx, namespace)
		a := incident(namespace, "QuotaExceeded", "Deployment", "shop")
		a.Annotations = map[string]string{"note": "password=" + hidden}
		analysed(ctx, a)
		b := expectEvidence(ctx, a)
		Expect(string(b.Text)).NotTo(ContainSubstring(hidden))
		Expect(string(b.Text)).NotTo(ContainSubstring(token))
		for _, e := range trailOf(ctx, a) {
			Expect(string(e.Data)).NotTo(ContainSubstring(hidden), e.Type)
		}
	}, SpecTimeout(specTime))

	It("says why other workflows were not chosen", func(ctx SpecContext) {
		overQuota(ctx, namespace)
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		Expect(a.Status.Candidates).NotTo(BeEmpty())
		chosen := 0
		for _, c := range a.Status.Candidates {
			Expect(c.Reason).NotTo(BeEmpty(), "reason about candidate %s", c.Title)
			if c.Chosen {
				chosen++
				Expect(c.WorkflowID).To(Equal(a.Status.SelectedWorkflow.WorkflowID))
			}
		}
		Expect(chosen).To(Equal(1), "chosen candidates")
	}, SpecTimeout(specTime))

	It("lists what could not be read", func(ctx SpecContext) {
		a := analysed(ctx, incident(namespace, "CrashLoopBackOff", "Deployment", "never-was"))
		Expect(a.Status.Bundle).NotTo(BeNil())
		_, err := sys.Bundle(ctx, a.Status.Bundle.Digest)
		Expect(err).NotTo(HaveOccurred())
		for _, g := range a.Status.Gaps {
			Expect(g.Kind).To(BeElementOf(v1alpha1.GapKind("forbidden"), v1alpha1.GapKind("expired"), v1alpha1.GapKind("failed"), v1alpha1.GapKind("notAsked")))
			Expect(g.Reason).NotTo(BeEmpty(), g.What)
		}
	}, SpecTimeout(specTime))
})
