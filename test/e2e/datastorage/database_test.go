//go:build e2e

package datastorage

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/test/e2e"
)

const (
	secretName = "datastorage-secret"
	notReady   = `{"status":"not_ready","reason":"database_unreachable"}`
)

var _ = Describe("The database", Serial, func() {
	It("that is away makes the replicas say so, and nothing else of them; they recover by themselves", func(ctx SpecContext) {
		before := pods(ctx)
		each := []*e2e.System{sys.Replica(before[0].Name), sys.Replica(before[1].Name)}
		trail := newTrail()
		e := event(trail, 1)
		Expect(write(ctx, each[0], e).Status).To(Equal(http.StatusCreated))

		Expect(sys.ScaleStatefulSet(ctx, e2e.Namespace, e2e.Database, 0)).To(Succeed())
		for _, r := range each {
			Expect(e2e.Until(ctx, "the replica is not ready", func(ctx context.Context) string {
				return readiness(ctx, r, http.StatusServiceUnavailable, notReady)
			})).To(Succeed())
			for path, want := range map[string]struct {
				status int
				body   string
			}{
				"/readyz":      {http.StatusServiceUnavailable, notReady},
				"/health":      {http.StatusServiceUnavailable, `{"status":"unhealthy","database":"unreachable"}`},
				"/health/live": {http.StatusOK, `{"status":"alive"}`},
				"/healthz":     {http.StatusOK, `{"status":"alive"}`},
			} {
				a, err := r.Get(ctx, r.DataStorage+path)
				Expect(err).NotTo(HaveOccurred())
				Expect(a.Status).To(Equal(want.status), "%s: %s", path, a)
				Expect(a.Body).To(MatchJSON(want.body), path)
			}
			a := write(ctx, r, event(trail, 2))
			Expect(a.Status).To(BeElementOf(http.StatusServiceUnavailable, http.StatusGatewayTimeout), a.String())
			Expect(a.Header.Get("Content-Type")).To(HavePrefix("application/problem+json"))
			Expect(a.String()).NotTo(ContainSubstring("kubernaut@"))
			Expect(a.String()).NotTo(ContainSubstring("5432"), "an answer tells nobody where the database is")
		}
		By("leaving the Service")
		_, err := sys.AwaitPods(ctx, e2e.Namespace, map[string]string{"app": e2e.DataStorage}, func(pods []*corev1.Pod) string {
			for _, p := range pods {
				if e2e.Ready(p) {
					return p.Name + " is ready"
				}
			}
			return ""
		})
		Expect(err).NotTo(HaveOccurred())
		for _, p := range before {
			log, err := sys.Logs(ctx, e2e.Namespace, p.Name, e2e.DataStorage, false)
			Expect(err).NotTo(HaveOccurred())
			Expect(log).To(ContainSubstring("Database does not answer"))
		}

		By("coming back")
		Expect(sys.ScaleStatefulSet(ctx, e2e.Namespace, e2e.Database, 1)).To(Succeed())
		after := pods(ctx)
		for i, p := range after {
			Expect(p.UID).To(Equal(before[i].UID), "the same pod")
			Expect(e2e.Restarts(p)).To(Equal(e2e.Restarts(before[i])), "restarts of %s", p.Name)
			Expect(write(ctx, each[i], e).Status).To(Equal(http.StatusCreated), "the same event again")
			Expect(each[i].VerifyTrail(ctx, trail)).To(Succeed())
		}
		stored, err := sys.Trail(ctx, trail)
		Expect(err).NotTo(HaveOccurred())
		Expect(stored).To(HaveLen(1), "what was not acknowledged while the database was away")
	}, SpecTimeout(specTime))

	It("is migrated once, and gets each workflow once, by two replicas that begin at the same time", func(ctx SpecContext) {
		name, labels := freshDatabase(ctx)
		started, err := sys.AwaitPods(ctx, e2e.Namespace, labels, func(pods []*corev1.Pod) string {
			ready := 0
			for _, p := range pods {
				if e2e.Ready(p) {
					ready++
				}
			}
			if ready != 2 {
				return fmt.Sprintf("%d of %d are ready", ready, len(pods))
			}
			return ""
		})
		Expect(err).NotTo(HaveOccurred())
		var migrated []string
		for _, p := range started {
			Expect(e2e.Restarts(p)).To(BeZero(), "restarts of %s", p.Name)
			log, err := sys.Logs(ctx, e2e.Namespace, p.Name, e2e.DataStorage, false)
			Expect(err).NotTo(HaveOccurred())
			Expect(log).To(ContainSubstring("Data Storage serves"))
			if strings.Contains(log, "Database migrated") {
				migrated = append(migrated, p.Name)
			}
		}
		Expect(migrated).To(HaveLen(1), "replicas that say that they migrated the database")

		const versions = "SELECT version_id FROM goose_db_version WHERE is_applied ORDER BY id"
		Expect(query(ctx, name, versions)).To(Equal(query(ctx, "kubernaut", versions)), "migrations, in the order in which they were applied")
		const workflows = "SELECT workflow_name, version, content_hash, is_latest, status FROM workflows WHERE created_by <> 'e2e' ORDER BY 1, 2"
		catalog := query(ctx, name, workflows)
		Expect(catalog).NotTo(BeEmpty())
		Expect(catalog).To(Equal(query(ctx, "kubernaut", workflows)), "the catalog")

		trail := newTrail()
		for i, p := range started {
			Expect(write(ctx, sys.Replica(p.Name), event(trail, i)).Status).To(Equal(http.StatusCreated))
		}
		for _, p := range started {
			Expect(sys.Replica(p.Name).VerifyTrail(ctx, trail)).To(Succeed())
			stored, err := sys.Replica(p.Name).Trail(ctx, trail)
			Expect(err).NotTo(HaveOccurred())
			Expect(stored).To(HaveLen(2))
		}
		elsewhere, err := sys.Trail(ctx, trail)
		Expect(err).NotTo(HaveOccurred())
		Expect(elsewhere).To(BeEmpty(), "the trail in the other database")
	}, SpecTimeout(specTime))

	It("is entered with the password of the Secret, which shows nowhere", func(ctx SpecContext) {
		password := secretValue(ctx, "password")
		Expect(len(password)).To(BeNumerically(">=", 16))
		Expect(secretValue(ctx, "secrets.yaml")).To(ContainSubstring(password))
		// What scram-sha-256 lets in has shown that it knows the password.
		Expect(query(ctx, "kubernaut", "SELECT auth_method FROM pg_hba_file_rules WHERE type = 'host' AND address = 'all'")).To(Equal("scram-sha-256"))
		Expect(query(ctx, "kubernaut", "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'kubernaut' AND client_addr IS NOT NULL")).To(Equal("t"))

		for _, list := range []client.ObjectList{&corev1.ConfigMapList{}, &appsv1.DeploymentList{}, &appsv1.StatefulSetList{}, &corev1.PodList{}, &corev1.EventList{}} {
			Expect(sys.List(ctx, list, client.InNamespace(e2e.Namespace))).To(Succeed())
			text, err := yaml.Marshal(list)
			Expect(err).NotTo(HaveOccurred())
			Expect(strings.Contains(string(text), password)).To(BeFalse(), "the password shows in %T", list)
		}
		database := databasePod(ctx)
		for _, p := range append(pods(ctx), &database) {
			log, err := sys.Logs(ctx, e2e.Namespace, p.Name, p.Spec.Containers[0].Name, false)
			Expect(err).NotTo(HaveOccurred())
			Expect(strings.Contains(log, password)).To(BeFalse(), "the password shows in the log of %s", p.Name)
		}
		p := pods(ctx)[0]
		config, err := cluster.InContainer(ctx, p.Spec.NodeName, p.Status.ContainerStatuses[0].ContainerID,
			"/usr/local/bin/datastorage", "-config", "/etc/datastorage/config/config.yaml", "-print-config")
		Expect(err).NotTo(HaveOccurred())
		Expect(config).To(ContainSubstring("driver: postgres"))
		Expect(strings.Contains(config, password)).To(BeFalse(), "the password shows in -print-config")
	}, SpecTimeout(specTime))

	It("refuses a wrong password, which the log says and which takes nothing away from the replicas that run", func(ctx SpecContext) {
		const wrong = "not-the-password-of-this-database"
		right := secretValue(ctx, "secrets.yaml")
		before := pods(ctx)
		DeferCleanup(func(ctx context.Context) {
			setSecret(ctx, map[string]string{"secrets.yaml": right})
			roll(ctx)
		})
		_, met := disturbed(ctx, func(ctx context.Context) {
			setSecret(ctx, map[string]string{"secrets.yaml": "password: " + wrong + "\n"})
			change(ctx, mark)
			var refused *corev1.Pod
			_, err := sys.AwaitPods(ctx, e2e.Namespace, map[string]string{"app": e2e.DataStorage}, func(pods []*corev1.Pod) string {
				for _, p := range pods {
					if p.UID != before[0].UID && p.UID != before[1].UID && len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].State.Running != nil {
						refused = p
						return ""
					}
				}
				return "no new pod runs"
			})
			Expect(err).NotTo(HaveOccurred())
			var log string
			Expect(e2e.Until(ctx, "the log says that the password is wrong", func(ctx context.Context) string {
				var err error
				if log, err = sys.Logs(ctx, e2e.Namespace, refused.Name, e2e.DataStorage, false); err != nil {
					return err.Error()
				}
				if !strings.Contains(log, `password authentication failed for user`) {
					return log
				}
				return ""
			})).To(Succeed())
			Expect(log).NotTo(ContainSubstring(wrong))

			now := &corev1.Pod{}
			Expect(sys.WithWatch.Get(ctx, client.ObjectKeyFromObject(refused), now)).To(Succeed())
			Expect(e2e.Ready(now)).To(BeFalse(), "a pod without a database is ready")
			for _, p := range before {
				now := &corev1.Pod{}
				Expect(sys.WithWatch.Get(ctx, client.ObjectKeyFromObject(p), now)).To(Succeed(), "the pods that ran are left running")
				Expect(e2e.Ready(now)).To(BeTrue(), "pod %s, which has the right password, is ready", p.Name)
			}
			setSecret(ctx, map[string]string{"secrets.yaml": right})
			roll(ctx)
		})
		Expect(met.Gap).To(BeNumerically("<", load.Patience), "the longest time without an acknowledgement")
	}, SpecTimeout(specTime))

	It("gets a new password while events are written", func(ctx SpecContext) {
		old := secretValue(ctx, "password")
		change := func(ctx context.Context, password string) {
			query(ctx, "kubernaut", fmt.Sprintf("ALTER ROLE kubernaut PASSWORD '%s'", password))
			setSecret(ctx, map[string]string{"password": password, "secrets.yaml": "password: " + password + "\n"})
			roll(ctx)
		}
		DeferCleanup(func(ctx context.Context) { change(ctx, old) })
		disturbed(ctx, func(ctx context.Context) { change(ctx, "another-"+newTrail()) })
	}, SpecTimeout(specTime))
})

// change changes the Deployment and waits for nothing.
func change(ctx context.Context, how func(*appsv1.Deployment)) {
	GinkgoHelper()
	Expect(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		d := &appsv1.Deployment{}
		if err := sys.WithWatch.Get(ctx, client.ObjectKey{Namespace: e2e.Namespace, Name: e2e.DataStorage}, d); err != nil {
			return err
		}
		how(d)
		return sys.Update(ctx, d)
	})).To(Succeed())
}

func secretValue(ctx context.Context, key string) string {
	GinkgoHelper()
	s := &corev1.Secret{}
	Expect(sys.WithWatch.Get(ctx, client.ObjectKey{Namespace: e2e.Namespace, Name: secretName}, s)).To(Succeed())
	Expect(s.Data).To(HaveKey(key))
	return string(s.Data[key])
}

func setSecret(ctx context.Context, values map[string]string) {
	GinkgoHelper()
	s := &corev1.Secret{}
	Expect(sys.WithWatch.Get(ctx, client.ObjectKey{Namespace: e2e.Namespace, Name: secretName}, s)).To(Succeed())
	before := s.DeepCopy()
	for key, value := range values {
		s.Data[key] = []byte(value)
	}
	Expect(sys.Patch(ctx, s, client.MergeFrom(before))).To(Succeed())
}

// freshDatabase makes an empty database and starts two replicas of Data Storage on it, beside the others, with their
// configuration but for its name. It returns the name and the labels of the pods.
func freshDatabase(ctx context.Context) (string, map[string]string) {
	GinkgoHelper()
	const name = "fresh"
	labels := map[string]string{"app": e2e.DataStorage + "-fresh"}
	drop := func(ctx context.Context) {
		query(ctx, "postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	}
	drop(ctx)
	query(ctx, "postgres", "CREATE DATABASE "+name)

	config := &corev1.ConfigMap{}
	Expect(sys.WithWatch.Get(ctx, client.ObjectKey{Namespace: e2e.Namespace, Name: "datastorage-config"}, config)).To(Succeed())
	text := strings.Replace(config.Data["config.yaml"], "name: kubernaut", "name: "+name, 1)
	Expect(text).NotTo(Equal(config.Data["config.yaml"]))

	meta := metav1.ObjectMeta{Namespace: e2e.Namespace, Name: e2e.DataStorage + "-fresh", Labels: labels}
	d := &appsv1.Deployment{ObjectMeta: meta, Spec: *deployed(ctx).Spec.DeepCopy()}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Labels = labels
	for i, v := range d.Spec.Template.Spec.Volumes {
		if v.ConfigMap != nil && v.ConfigMap.Name == config.Name {
			d.Spec.Template.Spec.Volumes[i].ConfigMap.Name = meta.Name
		}
	}
	to := func(labels map[string]string) networkingv1.NetworkPolicyPeer {
		return networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: labels}}
	}
	objects := []client.Object{
		&corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"config.yaml": text}},
		// The shipped policies let the pods of Data Storage speak with the database, and nobody else.
		&networkingv1.NetworkPolicy{ObjectMeta: meta, Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: labels},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{}},
			Egress:      []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{to(map[string]string{"app": e2e.Database})}}},
		}},
		&networkingv1.NetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: e2e.Namespace, Name: meta.Name + "-to-postgres"},
			Spec: networkingv1.NetworkPolicySpec{
				PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": e2e.Database}},
				PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
				Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{to(labels)}}},
			},
		},
		d,
	}
	DeferCleanup(func(ctx context.Context) {
		for _, o := range objects {
			Expect(client.IgnoreNotFound(sys.Delete(ctx, o))).To(Succeed())
		}
		_, err := sys.AwaitPods(ctx, e2e.Namespace, labels, func(pods []*corev1.Pod) string {
			if len(pods) > 0 {
				return fmt.Sprintf("%d are left", len(pods))
			}
			return ""
		})
		Expect(err).NotTo(HaveOccurred())
		drop(ctx)
	})
	for _, o := range objects {
		Expect(sys.Create(ctx, o)).To(Succeed(), "create %T %s", o, o.GetName())
	}
	return name, labels
}

// timeOf is when a log says that something happened.
func timeOf(log, message string) (time.Time, bool) {
	lines := bufio.NewScanner(strings.NewReader(log))
	for lines.Scan() {
		var line struct {
			Time    time.Time `json:"time"`
			Message string    `json:"msg"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == message {
			return line.Time, true
		}
	}
	return time.Time{}, false
}
