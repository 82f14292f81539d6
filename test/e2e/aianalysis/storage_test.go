//go:build e2e

package aianalysis

import (
	"context"
	"fmt"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/test/e2e"
	"kubernaut.ai/kubernaut/test/e2e/faultproxy"
)

const batchPath = "/api/v1/audit/events/batch"

// expectOnce checks that a trail tells a whole analysis, however often its calls failed, and nothing
// of it twice.
func expectOnce(ctx context.Context, a *v1alpha1.AIAnalysis) {
	GinkgoHelper()
	calls := expectOneInvestigation(ctx, a)
	for n := 1; n <= len(calls); n++ {
		Expect(calls[float64(n)]).To(Equal(1), "call %d of %s, of %v", n, a.Name, calls)
	}
}

// expectOneInvestigation is expectOnce for a controller that was killed: what it asked just before, its successor may have
// asked again under the same key. It returns how often each call was made.
func expectOneInvestigation(ctx context.Context, a *v1alpha1.AIAnalysis) map[any]int {
	GinkgoHelper()
	trail := trailOf(ctx, a)
	ids, moves, calls := map[string]bool{}, map[string]int{}, map[any]int{}
	for _, e := range trail {
		Expect(ids).NotTo(HaveKey(e.ID), "event %s of %s twice", e.Type, a.Name)
		ids[e.ID] = true
		switch e.Type {
		case "aianalysis.phase.transition":
			moves[fmt.Sprint(e.Field("old_phase"), "→", e.Field("new_phase"))]++
		case "aianalysis.holmesgpt.call":
			calls[e.Field("attempt")]++
		}
	}
	for _, once := range []string{"aianalysis.analysis.started", "aianalysis.rego.evaluation", "aianalysis.approval.decision", "aianalysis.analysis.completed"} {
		Expect(trail.Of(once)).To(HaveLen(1), "%s on the trail of %s: %v", once, a.Name, trail.Types())
	}
	Expect(moves).To(Equal(map[string]int{"Pending→Investigating": 1, "Investigating→Analyzing": 1, "Analyzing→Completed": 1}), "transitions of %s", a.Name)
	successes := 0
	for _, e := range trail.Of("investigation.completed") {
		if e.Outcome == "success" {
			successes++
		}
	}
	Expect(successes).To(Equal(1), "investigations of %s", a.Name)
	return calls
}

var _ = Describe("When Data Storage is away", Serial, func() {
	It("analyses wait, and nothing is lost or doubled when it is back", func(ctx SpecContext) {
		needDeployed()
		namespace := newNamespace(ctx)
		overQuota(ctx, namespace)
		before := analysed(ctx, incident(namespace, "QuotaExceeded", "Deployment", "shop"))

		Expect(sys.Scale(ctx, e2e.Namespace, e2e.DataStorage, 0)).To(Succeed())
		back := func(ctx context.Context) {
			GinkgoHelper()
			Expect(sys.Scale(ctx, e2e.Namespace, e2e.DataStorage, 1)).To(Succeed())
			Expect(sys.AwaitRollout(ctx, e2e.Namespace, e2e.Controller)).To(Succeed())
			Expect(sys.AwaitRollout(ctx, e2e.Namespace, e2e.HAPI)).To(Succeed())
		}
		DeferCleanup(func(ctx SpecContext) { back(ctx) }, NodeTimeout(specTime))

		var during []*v1alpha1.AIAnalysis
		for range 3 { // fewer than trip the controller's breaker
			a := incident(namespace, "QuotaExceeded", "Deployment", "shop")
			create(ctx, a)
			during = append(during, a)
		}
		for _, a := range during {
			until(ctx, a, "waiting", func(a *v1alpha1.AIAnalysis) bool { return a.Status.ConsecutiveFailures > 0 })
			Expect(a.Status.Phase).To(Equal(v1alpha1.PhaseInvestigating), brief(a))
			Expect(a.Status.Reason).To(Equal(v1alpha1.ReasonTransientError))
			Expect(conditions(a)).To(HaveKeyWithValue(v1alpha1.ConditionInvestigationComplete, "False/InvestigationRetrying"))
		}
		pod := onlyControllerPod(ctx)
		Expect(e2e.Until(ctx, "the controller says what it misses", func(ctx context.Context) string {
			answer, err := sys.GetWithin(ctx, e2e.Namespace, "pods", pod.Name, 8081, "/readyz?verbose")
			switch {
			case err != nil:
				return err.Error()
			case answer.Status != http.StatusServiceUnavailable:
				return answer.String()
			}
			Expect(string(answer.Body)).To(And(ContainSubstring("[-]datastorage failed"), ContainSubstring("[+]cache ok")))
			return ""
		})).To(Succeed())

		back(ctx)
		for _, a := range during {
			finished(ctx, a)
			expectOutcome(a, autoApproved)
			expectOnce(ctx, a)
		}
		expectOnce(ctx, before)
	}, SpecTimeout(2*specTime))

	It("the investigation service keeps its answers over a restart", func(ctx SpecContext) {
		needDeployed()
		namespace := newNamespace(ctx)
		overQuota(ctx, namespace)
		body := request(namespace, "QuotaExceeded", "Deployment", "shop")
		key := http.Header{"Idempotency-Key": {"e2e-" + namespace + "/1/1"}}
		first := post(ctx, incidentPath, body, key)
		Expect(first.Status).To(Equal(http.StatusOK), first.String())
		restart(ctx, e2e.HAPI)
		var again e2e.Answer
		Expect(e2e.Until(ctx, "an answer after the restart", func(ctx context.Context) string {
			var err error
			if again, err = sys.Send(ctx, http.MethodPost, sys.HAPI+incidentPath, body, key); err != nil {
				return err.Error()
			}
			return ""
		})).To(Succeed())
		Expect(again.Status).To(Equal(http.StatusOK), again.String())
		Expect(again.Header.Get("Idempotency-Replayed")).To(Equal("true"))
		Expect(again.Body).To(Equal(first.Body))
	}, SpecTimeout(specTime))
})

// onlyControllerPod returns the pod of the controller.
func onlyControllerPod(ctx context.Context) corev1.Pod {
	GinkgoHelper()
	pods, err := sys.ControllerPods(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(pods).To(HaveLen(1), "pods of the controller")
	return pods[0]
}

func whenTrailCannotBeWritten(proxy *tuned) {
	// What is spooled in the end waits for Data Storage first, and asks it the less often the longer that has lasted.
	BeforeAll(func(ctx SpecContext) {
		configure(ctx, func(config map[string]any) { config["audit"].(map[string]any)["delivery_wait"] = "1s" })
	}, NodeTimeout(specTime))
	var namespace string
	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		overQuota(ctx, namespace)
	}, NodeTimeout(specTime))
	analysis := func() *v1alpha1.AIAnalysis { return incident(namespace, "QuotaExceeded", "Deployment", "shop") }
	refused := func(status int) faultproxy.Rule {
		return faultproxy.Rule{ID: "storage", Route: "datastorage", Path: batchPath, Kind: faultproxy.Respond, Status: status, Body: problem(status)}
	}
	delivered := func(ctx context.Context, a *v1alpha1.AIAnalysis) {
		GinkgoHelper()
		Expect(e2e.Until(ctx, "the whole trail", func(ctx context.Context) string {
			trail, err := sys.Trail(ctx, a.Spec.RemediationID)
			if err != nil {
				return err.Error()
			}
			if len(trail.Of("aianalysis.analysis.completed")) == 0 {
				return fmt.Sprint("there are ", trail.Types())
			}
			return ""
		})).To(Succeed())
		expectOnce(ctx, a)
	}

	It("it says so, and delivers what it kept when it can", func(ctx SpecContext) {
		proxy.put(ctx, refused(503))
		a := analysed(ctx, analysis())
		expectOutcome(a, autoApproved)
		Expect(a.Status.AuditState).To(Equal(v1alpha1.AuditSpooled))
		Expect(a.Status.Warnings).To(ContainElement(ContainSubstring("audit events")))
		kubernetesEvents(ctx, a, v1alpha1.EventAnalysisCompleted, v1alpha1.EventAuditSpooled)
		m := scrape(ctx, sys.Metrics)
		waiting, _ := m.Value("audit_buffer_size", "service", "aianalysis")
		Expect(waiting).To(BeNumerically(">=", 8))
		Expect(proxy.Delete(ctx, "storage")).To(Succeed())
		delivered(ctx, a)
	}, SpecTimeout(specTime))

	DescribeTable("because answers get lost, each event is stored once", func(ctx SpecContext, r faultproxy.Rule) {
		r.ID, r.Route, r.Path, r.Times = "storage", "datastorage", batchPath, 2
		proxy.put(ctx, r)
		a := analysed(ctx, analysis())
		expectOutcome(a, autoApproved)
		hits, err := proxy.Hits(ctx, "storage", 1)
		Expect(err).NotTo(HaveOccurred())
		Expect(hits).To(BeNumerically(">=", 1), "the fault was there")
		delivered(ctx, a)
	},
		Entry("reset after it has stored", SpecTimeout(specTime), faultproxy.Rule{Kind: faultproxy.Reset, After: true}),
		Entry("cut off in its answer", SpecTimeout(specTime), faultproxy.Rule{Kind: faultproxy.Truncate}),
		Entry("reset before it has stored", SpecTimeout(specTime), faultproxy.Rule{Kind: faultproxy.Reset}),
		Entry("an error of its own", SpecTimeout(specTime), faultproxy.Rule{Kind: faultproxy.Respond, Status: 500, Body: problem(500)}),
	)

	It("and its pod is deleted without grace, the next one delivers what it kept", func(ctx SpecContext) {
		proxy.put(ctx, refused(503))
		a := analysed(ctx, analysis())
		Expect(a.Status.AuditState).To(Equal(v1alpha1.AuditSpooled))
		pod := onlyControllerPod(ctx)
		Expect(sys.Delete(ctx, pod.DeepCopy(), client.GracePeriodSeconds(0))).To(Succeed())
		Expect(sys.AwaitRollout(ctx, e2e.Namespace, e2e.Controller)).To(Succeed())
		trail, err := sys.Trail(ctx, a.Spec.RemediationID)
		Expect(err).NotTo(HaveOccurred())
		Expect(trail.By(e2e.Controller)).To(BeEmpty(), "the fault was there until now")
		Expect(proxy.Delete(ctx, "storage")).To(Succeed())
		delivered(ctx, a)
	}, SpecTimeout(specTime))

	// After the deletion above: a container that crashes for the first time is started again at once, another one later.
	It("and is killed, what it kept outlives it", func(ctx SpecContext) {
		proxy.put(ctx, refused(503))
		a := analysed(ctx, analysis())
		Expect(a.Status.AuditState).To(Equal(v1alpha1.AuditSpooled))
		Expect(sys.Kill(ctx, standInNamespace, onlyControllerPod(ctx), "aianalysis", "aianalysis")).To(Succeed())
		Expect(proxy.Delete(ctx, "storage")).To(Succeed())
		delivered(ctx, a)
		Expect(sys.AwaitRollout(ctx, e2e.Namespace, e2e.Controller)).To(Succeed())
	}, SpecTimeout(specTime))

	It("and is told to end, it delivers what it kept and ends well within its grace period", func(ctx SpecContext) {
		proxy.put(ctx, refused(503))
		a := analysed(ctx, analysis())
		Expect(a.Status.AuditState).To(Equal(v1alpha1.AuditSpooled))
		pod := onlyControllerPod(ctx)
		Expect(sys.Delete(ctx, pod.DeepCopy())).To(Succeed()) // with the grace period of its spec
		Expect(proxy.Delete(ctx, "storage")).To(Succeed())
		end := endOf(ctx, pod)
		Expect(end.ExitCode).To(BeZero(), "exit code; it ended with %+v", end)
		Expect(end.FinishedAt.Sub(end.StartedAt.Time)).To(BeNumerically(">", 0))
		trail, err := sys.Trail(ctx, a.Spec.RemediationID) // at once: it did not leave that to the next one
		Expect(err).NotTo(HaveOccurred())
		Expect(trail.Of("aianalysis.analysis.completed")).To(HaveLen(1), "the trail is %v", trail.Types())
		expectOnce(ctx, a)
		Expect(sys.AwaitRollout(ctx, e2e.Namespace, e2e.Controller)).To(Succeed())
	}, SpecTimeout(specTime))
}

// endOf waits until a pod that is being deleted is gone, and returns how its container ended.
func endOf(ctx context.Context, pod corev1.Pod) corev1.ContainerStateTerminated {
	GinkgoHelper()
	var end *corev1.ContainerStateTerminated
	var deadline *int64
	_, err := sys.AwaitPods(ctx, pod.Namespace, pod.Labels, func(pods []*corev1.Pod) string {
		for _, p := range pods {
			if p.UID != pod.UID {
				continue
			}
			deadline = p.DeletionGracePeriodSeconds
			for _, c := range p.Status.ContainerStatuses {
				if c.State.Terminated != nil {
					end = c.State.Terminated
				}
			}
			return fmt.Sprintf("%s is still there, with deletionTimestamp %v", p.Name, p.DeletionTimestamp)
		}
		return ""
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(end).NotTo(BeNil(), "the end of the container was not seen (grace period %v)", deadline)
	return *end
}
