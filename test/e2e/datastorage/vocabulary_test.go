//go:build e2e

package datastorage

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/test/e2e"
)

// load is what is written while something happens: some 150 events a second.
var load = e2e.Load{Chains: 6, Writers: 4, Every: 150 * time.Millisecond, Most: 30_000, Patience: 8 * time.Second, GiveUp: 2}

// some are enough events to say that writing works.
const some = 150

// calm is settle for a database that nobody has killed yet: the kubelet lets one that was killed often wait for minutes.
func calm(ctx context.Context) {
	GinkgoHelper()
	settle(ctx)
	if p := databasePod(ctx); e2e.Restarts(&p) > 0 {
		replaceDatabase(ctx)
		settle(ctx)
	}
}

// settle has everything run as it ships: the database, and two replicas that answer.
func settle(ctx context.Context) {
	GinkgoHelper()
	Expect(sys.ScaleStatefulSet(ctx, e2e.Namespace, e2e.Database, 1)).To(Succeed())
	d := deployed(ctx)
	if *d.Spec.Replicas != 2 {
		Expect(sys.Scale(ctx, e2e.Namespace, e2e.DataStorage, 2)).To(Succeed())
	} else {
		Expect(sys.AwaitRollout(ctx, e2e.Namespace, e2e.DataStorage)).To(Succeed())
	}
	for _, r := range replicas(ctx) {
		Expect(e2e.Until(ctx, "a replica answers that it is ready", func(ctx context.Context) string {
			return readiness(ctx, r, http.StatusOK, `{"status":"ready"}`)
		})).To(Succeed())
	}
}

func deployed(ctx context.Context) *appsv1.Deployment {
	GinkgoHelper()
	d := &appsv1.Deployment{}
	Expect(sys.WithWatch.Get(ctx, client.ObjectKey{Namespace: e2e.Namespace, Name: e2e.DataStorage}, d)).To(Succeed())
	return d
}

// pods are the two replicas, ready.
func pods(ctx context.Context) []*corev1.Pod {
	GinkgoHelper()
	found, err := sys.Replicas(ctx, 2)
	Expect(err).NotTo(HaveOccurred())
	return found
}

// replicas are the two of them, each as a system of its own.
func replicas(ctx context.Context) []*e2e.System {
	GinkgoHelper()
	var all []*e2e.System
	for _, p := range pods(ctx) {
		all = append(all, sys.Replica(p.Name))
	}
	return all
}

// readiness returns "" when a replica's readiness is as wanted, else what it is.
func readiness(ctx context.Context, r *e2e.System, status int, body string) string {
	a, err := r.Get(ctx, r.DataStorage+"/health/ready")
	if err != nil {
		return err.Error()
	}
	if same, err := MatchJSON(body).Match(a.Body); a.Status != status || err != nil || !same {
		return a.String()
	}
	return ""
}

// databasePod is the pod of PostgreSQL, ready.
func databasePod(ctx context.Context) corev1.Pod {
	GinkgoHelper()
	Expect(sys.AwaitStatefulSet(ctx, e2e.Namespace, e2e.Database)).To(Succeed())
	p := &corev1.Pod{}
	Expect(sys.WithWatch.Get(ctx, client.ObjectKey{Namespace: e2e.Namespace, Name: e2e.Database + "-0"}, p)).To(Succeed())
	return *p
}

// query runs SQL as the owner of everything, in the pod of the database, and returns the rows as text.
func query(ctx context.Context, database, sql string) string {
	GinkgoHelper()
	p := databasePod(ctx)
	out, err := cluster.InContainer(ctx, p.Spec.NodeName, p.Status.ContainerStatuses[0].ContainerID,
		"psql", "--username=kubernaut", "--dbname="+database, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command="+sql)
	Expect(err).NotTo(HaveOccurred(), sql)
	return out
}

// disturbed writes under load while something happens to the system, and until it works again after that. Then it
// checks on each replica what became of each event.
func disturbed(ctx context.Context, what func(context.Context)) (*e2e.Ledger, e2e.Tally) {
	GinkgoHelper()
	w := sys.StartWriting(ctx, load)
	Expect(w.Progress(ctx, some)).To(Succeed(), "before anything happens")
	what(ctx)
	Expect(w.Progress(ctx, some)).To(Succeed(), "afterwards")
	return written(ctx, w), w.Tally()
}

// written ends a load and checks on each replica what became of each event. Everything is then sent again, and must
// still be as it was.
func written(ctx context.Context, w *e2e.Writing) *e2e.Ledger {
	GinkgoHelper()
	ledger, err := w.Stop(ctx)
	AddReportEntry("load", w.Tally().String())
	Expect(err).NotTo(HaveOccurred())
	settle(ctx)
	heads := agreed(ctx, ledger)
	Expect(ledger.Resend(ctx, sys, load.Patience)).To(Succeed(), "send everything again")
	Expect(agreed(ctx, ledger)).To(Equal(heads), "heads of the chains after everything was sent again")
	return ledger
}

// agreed checks a load on each replica, and returns the heads of the chains, on which they must agree.
func agreed(ctx context.Context, ledger *e2e.Ledger) map[string]string {
	GinkgoHelper()
	var heads map[string]string
	for i, r := range replicas(ctx) {
		got, err := ledger.Check(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "replica %d", i)
		if i > 0 {
			Expect(got).To(Equal(heads), "heads of the chains on the replicas")
		}
		heads = got
	}
	return heads
}

// killDatabase has the database end at once, and waits until it runs again.
func killDatabase(ctx context.Context) {
	GinkgoHelper()
	Expect(sys.Kill(ctx, hands, databasePod(ctx), e2e.Database, "postgres")).To(Succeed())
	Expect(sys.AwaitStatefulSet(ctx, e2e.Namespace, e2e.Database)).To(Succeed())
}

// deletePod deletes a pod and waits until it is gone. With none it gets no time to end.
func deletePod(ctx context.Context, p *corev1.Pod, grace ...int64) {
	GinkgoHelper()
	var opts []client.DeleteOption
	for _, seconds := range grace {
		opts = append(opts, client.GracePeriodSeconds(seconds))
	}
	Expect(sys.Delete(ctx, p, opts...)).To(Succeed())
	Expect(e2e.AwaitGone(ctx, sys, p)).To(Succeed())
}

// roll replaces every pod of Data Storage.
func roll(ctx context.Context) {
	GinkgoHelper()
	Expect(sys.Change(ctx, e2e.Namespace, e2e.DataStorage, mark)).To(Succeed())
}

// mark makes a Deployment's pods others than before.
func mark(d *appsv1.Deployment) {
	if d.Spec.Template.Annotations == nil {
		d.Spec.Template.Annotations = map[string]string{}
	}
	d.Spec.Template.Annotations["kubernaut.ai/e2e"] = uuid.NewString()
}

// event is an audit event of a trail.
func event(trail string, n int) map[string]any {
	return map[string]any{
		"event_id": uuid.NewString(), "version": "1.0", "event_type": "e2e.test", "event_timestamp": time.Now().UTC().Format(time.RFC3339Nano),
		"event_category": "analysis", "event_action": "test", "event_outcome": "success", "correlation_id": trail,
		"event_data": map[string]any{"n": n},
	}
}

// write sends events in one batch to a replica, and returns the answer.
func write(ctx context.Context, r *e2e.System, events ...map[string]any) e2e.Answer {
	GinkgoHelper()
	a, err := r.Send(ctx, http.MethodPost, r.DataStorage+"/api/v1/audit/events/batch", events, nil)
	Expect(err).NotTo(HaveOccurred())
	return a
}

func newTrail() string { return "e2e-" + uuid.NewString() }
