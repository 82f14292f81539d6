//go:build e2e

package aianalysis

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/e2e"
	"kubernaut.ai/kubernaut/test/e2e/faultproxy"
	"kubernaut.ai/kubernaut/test/infrastructure"
)

// nodes restarts nodes.
type nodes interface {
	// RestartNode ends a node at once, starts it again, and waits until it is ready.
	RestartNode(ctx context.Context, node string) error
}

func restarter() nodes {
	return &infrastructure.Cluster{Suite: "aianalysis", Name: sys.Cluster, Kubeconfig: sys.Kubeconfig, Runtime: sys.Runtime}
}

func withTwoReplicas(proxy *tuned) {
	var namespace string
	BeforeAll(func(ctx SpecContext) {
		Expect(sys.Scale(ctx, e2e.Namespace, e2e.Controller, 2)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) {
			Expect(sys.Scale(ctx, e2e.Namespace, e2e.Controller, 1)).To(Succeed())
		}, NodeTimeout(specTime))
	}, NodeTimeout(specTime))
	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		overQuota(ctx, namespace)
	}, NodeTimeout(specTime))

	// held creates an analysis whose investigation is made and whose answer does not arrive.
	held := func(ctx context.Context) (a *v1alpha1.AIAnalysis, leader corev1.Pod) {
		GinkgoHelper()
		leader, err := sys.AwaitLeader(ctx, anyPod)
		Expect(err).NotTo(HaveOccurred())
		a = incident(namespace, "QuotaExceeded", "Deployment", "shop", within("90s"))
		proxy.rule(ctx, a, faultproxy.Rule{ID: "held", Kind: faultproxy.Hold, After: true})
		create(ctx, a)
		Expect(proxy.Hits(ctx, "held", 1)).To(Equal(1))
		return a, leader
	}
	// takenOver waits until another pod leads and has asked for the answer, and lets it have it.
	takenOver := func(ctx context.Context, a *v1alpha1.AIAnalysis) {
		GinkgoHelper()
		Expect(proxy.Hits(ctx, "held", 2)).To(Equal(2), "the next leader asks again")
		Expect(proxy.Delete(ctx, "held")).To(Succeed())
		finished(ctx, a)
		expectOutcome(a, autoApproved)
		calls := proxy.calls(ctx, a)
		Expect(calls).To(HaveLen(2))
		Expect(calls[1].Key).To(Equal(calls[0].Key))
		investigations(ctx, a, 1)
		Expect(e2e.Until(ctx, "the whole trail", func(ctx context.Context) string {
			if len(trailOf(ctx, a).Of("aianalysis.analysis.completed")) == 0 {
				return "it has no end yet"
			}
			return ""
		})).To(Succeed())
		expectOnce(ctx, a)
	}

	It("one works and the other takes over when it is told to end", func(ctx SpecContext) {
		a, leader := held(ctx)
		Expect(sys.Delete(ctx, leader.DeepCopy())).To(Succeed())
		next, err := sys.AwaitLeader(ctx, func(p corev1.Pod) bool { return p.UID != leader.UID })
		Expect(err).NotTo(HaveOccurred())
		Expect(next.UID).NotTo(Equal(leader.UID))
		takenOver(ctx, a)
		Expect(sys.AwaitRollout(ctx, e2e.Namespace, e2e.Controller)).To(Succeed())
	}, SpecTimeout(specTime))

	It("the work goes on when the one that leads is killed", func(ctx SpecContext) {
		a, leader := held(ctx)
		Expect(sys.Kill(ctx, standInNamespace, leader, "aianalysis", "aianalysis")).To(Succeed())
		takenOver(ctx, a)
		Expect(sys.AwaitRollout(ctx, e2e.Namespace, e2e.Controller)).To(Succeed())
	}, SpecTimeout(specTime))
}

var _ = Describe("When a node loses its power", Serial, func() {
	It("everything comes back by itself, and nothing is lost or doubled", func(ctx SpecContext) {
		needDeployed()
		if sys.Cluster == "" {
			Skip("the nodes are not ours to restart")
		}
		restored(ctx)
		configure(ctx, func(config map[string]any) { // the lease of who goes down has to run out
			config["controller"].(map[string]any)["leader_election_lease"] = "5s"
		})
		namespace := newNamespace(ctx)
		overQuota(ctx, namespace)
		before := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))
		node := onlyControllerPod(ctx).Spec.NodeName
		var during []*v1alpha1.AIAnalysis
		for range 10 {
			a := incident(namespace, "QuotaExceeded", "Deployment", "shop")
			create(ctx, a)
			during = append(during, a)
		}
		By("restarting " + node)
		Expect(restarter().RestartNode(ctx, node)).To(Succeed())
		By("awaiting the services")
		for _, name := range []string{e2e.DataStorage, e2e.HAPI, e2e.Controller} {
			Expect(sys.AwaitRollout(ctx, e2e.Namespace, name)).To(Succeed())
		}
		By("awaiting the analyses")
		for _, a := range during {
			finished(ctx, a)
			expectOutcome(a, autoApproved)
			Expect(e2e.Until(ctx, "the whole trail of "+a.Name, func(ctx context.Context) string {
				trail, err := sys.Trail(ctx, a.Spec.RemediationID)
				if err != nil {
					return err.Error()
				}
				if len(trail.Of("aianalysis.analysis.completed")) == 0 || len(trail.Of("investigation.completed")) == 0 {
					return "it is not whole yet"
				}
				return ""
			})).To(Succeed())
			expectOneInvestigation(ctx, a)
		}
		expectOnce(ctx, before)
	}, SpecTimeout(2*specTime))
})
