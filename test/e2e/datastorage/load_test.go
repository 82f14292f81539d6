//go:build e2e

package datastorage

import (
	"context"
	"net/http"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/test/e2e"
)

var _ = Describe("What is written", Serial, func() {
	DescribeTable("is neither lost nor doubled nor torn when",
		func(ctx SpecContext, what func(context.Context)) {
			_, met := disturbed(ctx, what)
			Expect(met.Failures).NotTo(BeEmpty(), "failed attempts: without one nothing was disturbed")
		},
		Entry("the database is killed", killDatabase, SpecTimeout(specTime)),
		Entry("the database is killed twice, the second time as soon as it has recovered", killDatabaseTwice, SpecTimeout(specTime)),
		Entry("the pod of the database is replaced", replaceDatabase, SpecTimeout(specTime)),
		Entry("the database is away for longer than a client waits for an answer", databaseAway, SpecTimeout(specTime)),
		Entry("one replica is killed, then the other", killReplicas, SpecTimeout(specTime)),
		Entry("all replicas are deleted at once, without time to end", deleteReplicas, SpecTimeout(specTime)),
		Entry("the database is killed while Data Storage is rolled", killDatabaseInRoll, SpecTimeout(specTime)),
		Entry("the node of the database and of the replicas restarts", restartNode, SpecTimeout(specTime)),
	)

	DescribeTable("is acknowledged without a pause when",
		func(ctx SpecContext, what func(context.Context)) {
			_, met := disturbed(ctx, what)
			Expect(met.Gap).To(BeNumerically("<", load.Patience), "the longest time without an acknowledgement")
		},
		Entry("Data Storage is rolled", roll, SpecTimeout(specTime)),
		Entry("Data Storage is scaled to three, to one and back to two", scaleReplicas, SpecTimeout(specTime)),
	)

	It("is kept when a replica gets SIGTERM, which ends it in order and within its grace period", func(ctx SpecContext) {
		pod := pods(ctx)[0]
		r := sys.Replica(pod.Name)
		everywhere, here := sys.StartWriting(ctx, load), r.StartWriting(ctx, load)
		Expect(everywhere.Progress(ctx, some)).To(Succeed())
		Expect(here.Progress(ctx, some)).To(Succeed())

		told := make(chan error, 1)
		go func() {
			told <- e2e.Until(ctx, "the replica says that it shuts down", func(ctx context.Context) string {
				return readiness(ctx, r, http.StatusServiceUnavailable, `{"status":"not_ready","reason":"shutting_down"}`)
			})
		}()
		Expect(sys.Signal(ctx, hands, *pod, e2e.DataStorage, "datastorage", syscall.SIGTERM)).To(Succeed())
		Expect(<-told).To(Succeed())
		Expect(e2e.Await(ctx, sys, pod, "ended and ready again", func(p *corev1.Pod) string {
			if p.Status.ContainerStatuses[0].LastTerminationState.Terminated == nil || !e2e.Ready(p) {
				return "it has not"
			}
			return ""
		})).To(Succeed())
		Expect(pod.Status.ContainerStatuses[0].LastTerminationState.Terminated.ExitCode).To(BeZero())

		log, err := sys.Logs(ctx, e2e.Namespace, pod.Name, e2e.DataStorage, true)
		Expect(err).NotTo(HaveOccurred())
		Expect(log).To(ContainSubstring("Data Storage shuts down"))
		Expect(log).NotTo(ContainSubstring("Requests were cut off"))
		from, ok := timeOf(log, "Data Storage shuts down")
		Expect(ok).To(BeTrue(), "a time in the log's line about the end:\n%s", log)
		took := pod.Status.ContainerStatuses[0].LastTerminationState.Terminated.FinishedAt.Sub(from)
		Expect(took).To(BeNumerically("<", time.Duration(*pod.Spec.TerminationGracePeriodSeconds)*time.Second), "the time that it took to end")

		Expect(here.Progress(ctx, some)).To(Succeed(), "the same replica, started again")
		written(ctx, here)
		written(ctx, everywhere)
	}, SpecTimeout(specTime))
})

func killDatabaseTwice(ctx context.Context) {
	killDatabase(ctx)
	killDatabase(ctx)
}

func replaceDatabase(ctx context.Context) {
	p := databasePod(ctx)
	deletePod(ctx, &p)
	Expect(sys.AwaitStatefulSet(ctx, e2e.Namespace, e2e.Database)).To(Succeed())
}

// databaseAway takes the database away until writers have run out of patience for it.
func databaseAway(ctx context.Context) {
	Expect(sys.ScaleStatefulSet(ctx, e2e.Namespace, e2e.Database, 0)).To(Succeed())
	gone := time.Now()
	Expect(e2e.Until(ctx, "the outage is long enough", func(context.Context) string {
		if away := time.Since(gone); away < 2*load.Patience {
			return away.String()
		}
		return ""
	})).To(Succeed())
	Expect(sys.ScaleStatefulSet(ctx, e2e.Namespace, e2e.Database, 1)).To(Succeed())
}

func killReplicas(ctx context.Context) {
	for _, p := range pods(ctx) {
		Expect(sys.Kill(ctx, hands, *p, e2e.DataStorage, "datastorage")).To(Succeed())
	}
	pods(ctx)
}

func deleteReplicas(ctx context.Context) {
	old := pods(ctx)
	for _, p := range old {
		Expect(sys.Delete(ctx, p.DeepCopy(), client.GracePeriodSeconds(0))).To(Succeed())
	}
	for _, p := range old {
		Expect(e2e.AwaitGone(ctx, sys, p)).To(Succeed())
	}
	pods(ctx)
}

func scaleReplicas(ctx context.Context) {
	for _, n := range []int32{3, 1, 2} {
		Expect(sys.Scale(ctx, e2e.Namespace, e2e.DataStorage, n)).To(Succeed())
	}
}

func killDatabaseInRoll(ctx context.Context) {
	rolled := make(chan error, 1)
	go func() { rolled <- sys.Change(ctx, e2e.Namespace, e2e.DataStorage, mark) }()
	killDatabase(ctx)
	Expect(<-rolled).To(Succeed())
}

// restartNode restarts the node that everything runs on. Its pods come back by themselves.
func restartNode(ctx context.Context) {
	database := databasePod(ctx)
	before := e2e.Restarts(&database)
	Expect(cluster.RestartNode(ctx, database.Spec.NodeName)).To(Succeed())
	Expect(e2e.Await(ctx, sys, &database, "started again with its node", func(p *corev1.Pod) string {
		if e2e.Restarts(p) == before || !e2e.Ready(p) {
			return "it was not"
		}
		return ""
	})).To(Succeed())
	pods(ctx)
}
