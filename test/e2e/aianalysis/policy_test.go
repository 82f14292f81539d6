//go:build e2e

package aianalysis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/e2e"
)

const (
	policyMap, policyKey = "aianalysis-policies", "approval.rego"
	policyLoaded         = "ApprovalPolicyLoaded"
	policyRefused        = "ApprovalPolicyRefused"
)

var _ = Describe("The approval policy", Serial, Ordered, ContinueOnFailure, func() {
	var (
		namespace string
		shipped   string
	)
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	// replace puts a policy into the ConfigMap and waits until the controller has said what it makes of it.
	replace := func(ctx context.Context, text, reason string) {
		GinkgoHelper()
		pod := onlyControllerPod(ctx)
		var old corev1.EventList
		Expect(sys.List(ctx, &old, client.InNamespace(e2e.Namespace), client.MatchingFields{"involvedObject.name": pod.Name})).To(Succeed())
		seen := map[string]bool{}
		for _, e := range old.Items {
			seen[string(e.UID)] = true
		}
		_, err := sys.ConfigMapKey(ctx, e2e.Namespace, policyMap, policyKey, text)
		Expect(err).NotTo(HaveOccurred())
		Expect(sys.Touch(ctx, &pod)).To(Succeed())
		_, err = e2e.AwaitAll(ctx, sys, "event "+reason, func(events []*corev1.Event) string {
			for _, e := range events {
				if !seen[string(e.UID)] && e.Reason == reason {
					return ""
				}
			}
			return fmt.Sprintf("none that is new among %d", len(events))
		}, client.InNamespace(e2e.Namespace), client.MatchingFields{"involvedObject.name": pod.Name})
		Expect(err).NotTo(HaveOccurred())
	}
	BeforeAll(func(ctx SpecContext) {
		needDeployed()
		cm := &corev1.ConfigMap{}
		Expect(sys.WithWatch.Get(ctx, client.ObjectKey{Namespace: e2e.Namespace, Name: policyMap}, cm)).To(Succeed())
		shipped = cm.Data[policyKey]
		DeferCleanup(func(ctx SpecContext) {
			if before, err := sys.ConfigMapKey(ctx, e2e.Namespace, policyMap, policyKey, shipped); err != nil || before != shipped {
				Fail(fmt.Sprintf("a specification has left another policy in force (%v)", err))
			}
		}, NodeTimeout(specTime))
	}, NodeTimeout(specTime))
	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		overQuota(ctx, namespace)
	}, NodeTimeout(specTime))
	analysis := func(change ...func(*v1alpha1.AIAnalysis)) *v1alpha1.AIAnalysis {
		return incident(namespace, "QuotaExceeded", "Deployment", "shop", change...)
	}

	It("is in force soon after it has changed, without a restart", func(ctx SpecContext) {
		DeferCleanup(func(ctx SpecContext) { replace(ctx, shipped, policyLoaded) }, NodeTimeout(specTime))
		before := onlyControllerPod(ctx)
		strict := strings.Replace(shipped, `"stage", "staging",`, `"stage",`, 1)
		Expect(strict).NotTo(Equal(shipped), "the change of the policy")
		replace(ctx, strict, policyLoaded)
		a := analysed(ctx, analysis())
		expectOutcome(a, needsApproval)
		Expect(a.Status.Policy.Hash).To(Equal(hash(strict)))
		Expect(a.Status.Policy.Rule).To(Equal("environment_not_automatic"))
		now := onlyControllerPod(ctx)
		Expect(now.UID).To(Equal(before.UID))
		Expect(now.Status.ContainerStatuses[0].RestartCount).To(Equal(before.Status.ContainerStatuses[0].RestartCount))
	}, SpecTimeout(specTime))

	DescribeTable("stays when the new one is no good, and the analyses say so", func(ctx SpecContext, text string) {
		DeferCleanup(func(ctx SpecContext) { replace(ctx, shipped, policyLoaded) }, NodeTimeout(specTime))
		replace(ctx, text, policyRefused)
		a := analysed(ctx, analysis())
		expectOutcome(a, autoApproved)
		Expect(a.Status.Policy.Hash).To(Equal(hash(shipped)), "the policy before decides, which was itself put back by a reload")
		Expect(conditions(a)).To(HaveKeyWithValue(v1alpha1.ConditionPolicyStale, "True/"+v1alpha1.ReasonPolicyRefused))
		b := analysed(ctx, analysis(in("production")))
		expectOutcome(b, needsApproval)
		answer, err := sys.GetWithin(ctx, e2e.Namespace, "pods", onlyControllerPod(ctx).Name, 8081, "/readyz")
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.Status).To(Equal(200), "a controller with a good policy in force works: %s", answer)
	},
		Entry("it does not parse", SpecTimeout(specTime), "package aianalysis.approval\n\nimport rego.v1\n\nrequire_approval := {\n"),
		Entry("it lets everything run", SpecTimeout(specTime), "package aianalysis.approval\n\nimport rego.v1\n\nrequire_approval := false\n\nreason := \"never mind\"\n"),
		Entry("it is another package", SpecTimeout(specTime), "package somewhere.else\n\nimport rego.v1\n\ndefault require_approval := true\n"),
	)
})
