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

var _ = Describe("The deletion of an analysis", func() {
	It("is on the audit trail before the analysis is gone", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		overQuota(ctx, namespace)
		a := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		Expect(a.Finalizers).To(ContainElement(v1alpha1.Finalizer))
		Expect(sys.Delete(ctx, a)).To(Succeed())
		Expect(e2e.AwaitGone(ctx, sys, a)).To(Succeed())
		Expect(e2e.Until(ctx, "the event of the deletion", func(ctx context.Context) string {
			if n := len(trailOf(ctx, a).Of("aianalysis.analysis.deleted")); n != 1 {
				return "there is none"
			}
			return ""
		})).To(Succeed())
		Expect(trailOf(ctx, a).Of("aianalysis.analysis.deleted")[0].Field("phase")).To(Equal("Completed"))
	}, SpecTimeout(specTime))

	It("goes with its namespace", waits, func(ctx SpecContext) {
		namespace, err := sys.NewNamespace(ctx, "e2e-gone", nil)
		Expect(err).NotTo(HaveOccurred())
		a := analysed(ctx, incident(namespace, "CrashLoopBackOff", "Deployment", "never-was"))
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		Expect(sys.Delete(ctx, ns)).To(Succeed())
		Expect(e2e.AwaitGone(ctx, sys, ns)).To(Succeed())
		Expect(trailOf(ctx, a)).NotTo(BeEmpty(), "the trail outlives the analysis")
	}, SpecTimeout(specTime))
})
