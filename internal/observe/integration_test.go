package observe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/controlplane"
	"kubernaut.ai/kubernaut/internal/controlplane/controlplanetest"
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe"
)

// stage puts workloads on a real API server without kubelet and scheduler, and writes what those would.
type stage struct {
	t      *testing.T
	ctx    context.Context
	cfg    *rest.Config
	client *kubernetes.Clientset
	ns     string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	for _, name := range []string{controlplane.EnvAssets, controlplane.EnvKubeconfig} {
		if os.Getenv(name) != "" {
			t.Skipf("needs a control plane with controllers and without kubelet and scheduler, and %s names another one", name)
		}
	}
	cfg := controlplanetest.Config(t)
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return &stage{t: t, ctx: ctx, cfg: cfg, client: client, ns: controlplanetest.Namespace(t, cfg)}
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) until(what string, done func() (bool, error)) {
	s.t.Helper()
	err := wait.PollUntilContextTimeout(s.ctx, 20*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) { return done() })
	if err != nil {
		s.t.Fatalf("waiting for %s: %v", what, err)
	}
}

// deploy creates a Deployment and waits until its controllers have made n Pods.
func (s *stage) deploy(name string, replicas int32, n int, change func(*corev1.PodSpec)) []corev1.Pod {
	s.t.Helper()
	labels := map[string]string{"app": name, "tier": "front"}
	spec := corev1.PodSpec{Containers: []corev1.Container{{
		Name: "server", Image: "registry.example.com/" + name + ":1", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
	}}}
	if change != nil {
		change(&spec)
	}
	_, err := s.client.AppsV1().Deployments(s.ns).Create(s.ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
		},
	}, metav1.CreateOptions{})
	s.must(err)
	var pods []corev1.Pod
	s.until(fmt.Sprintf("%d Pods of %s", n, name), func() (bool, error) {
		list, err := s.client.CoreV1().Pods(s.ns).List(s.ctx, metav1.ListOptions{LabelSelector: "app=" + name})
		pods = list.Items
		return len(pods) == n, err
	})
	return pods
}

// bind does the scheduler's part and setStatus the kubelet's.
func (s *stage) bind(pod corev1.Pod, node string) {
	s.t.Helper()
	s.must(s.client.CoreV1().Pods(s.ns).Bind(s.ctx, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}, metav1.CreateOptions{}))
}

func (s *stage) setStatus(pod corev1.Pod, phase corev1.PodPhase, ready bool, status corev1.ContainerStatus) {
	s.t.Helper()
	now, is := metav1.Now(), corev1.ConditionFalse
	if ready {
		is = corev1.ConditionTrue
	}
	status.Name, status.Image = "server", pod.Spec.Containers[0].Image
	live, err := s.client.CoreV1().Pods(s.ns).Get(s.ctx, pod.Name, metav1.GetOptions{})
	s.must(err)
	live.Status = corev1.PodStatus{
		Phase: phase, StartTime: &now, PodIP: "10.0.0.7", PodIPs: []corev1.PodIP{{IP: "10.0.0.7"}}, ContainerStatuses: []corev1.ContainerStatus{status},
		Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now}, {Type: corev1.PodReady, Status: is, LastTransitionTime: now}},
	}
	_, err = s.client.CoreV1().Pods(s.ns).UpdateStatus(s.ctx, live, metav1.UpdateOptions{})
	s.must(err)
}

func (s *stage) event(about corev1.ObjectReference, reason, message string) {
	s.t.Helper()
	about.Namespace = s.ns
	_, err := s.client.CoreV1().Events(s.ns).Create(s.ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e"}, InvolvedObject: about, Type: "Warning", Reason: reason, Message: message,
		FirstTimestamp: metav1.Now(), LastTimestamp: metav1.Now(), Count: 3,
	}, metav1.CreateOptions{})
	s.must(err)
}

func (s *stage) node(labels map[string]string) string {
	s.t.Helper()
	node, err := s.client.CoreV1().Nodes().Create(s.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{GenerateName: "node-", Labels: labels}}, metav1.CreateOptions{})
	s.must(err)
	s.t.Cleanup(func() {
		if err := s.client.CoreV1().Nodes().Delete(context.Background(), node.Name, metav1.DeleteOptions{}); err != nil {
			s.t.Error(err)
		}
	})
	node.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse("4"), "memory": resource.MustParse("8Gi"), "pods": resource.MustParse("110")}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now(), LastHeartbeatTime: metav1.Now()}}
	s.until("status of "+node.Name, func() (bool, error) { // the node controllers write the same object
		live, err := s.client.CoreV1().Nodes().Get(s.ctx, node.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		live.Status = node.Status
		_, err = s.client.CoreV1().Nodes().UpdateStatus(s.ctx, live, metav1.UpdateOptions{})
		return err == nil, nil
	})
	return node.Name
}

func (s *stage) diagnose(cfg *rest.Config, resource incident.Ref) (diagnose.Result, *diagnose.Snapshot) {
	s.t.Helper()
	live, err := observe.New(observe.Options{Config: cfg, Cluster: "test"})
	s.must(err)
	in := incident.Incident{ID: "i", RemediationID: "r", Resource: resource, Environment: "staging"}
	snap, err := live.Observe(s.ctx, in)
	s.must(err)
	r := diagnose.Run(snap, in)
	if err := diagnose.Verify(snap, r.Evidence); err != nil {
		s.t.Errorf("evidence does not verify: %v", err)
	}
	replay(s.t, snap, in, r)
	return r, snap
}

// replay checks that the bundle of a snapshot gives the same verdict byte for byte.
func replay(t *testing.T, snap *diagnose.Snapshot, in incident.Incident, want diagnose.Result) {
	t.Helper()
	body, digest, err := observe.Encode(snap)
	if err != nil {
		t.Fatal(err)
	}
	again, digestAgain, err := observe.Encode(snap)
	if err != nil || digest != digestAgain || string(body) != string(again) {
		t.Errorf("encoding twice differs: %s, %s, %v", digest, digestAgain, err)
	}
	decoded, err := observe.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	if _, d, _ := observe.Encode(decoded); d != digest {
		t.Errorf("encoding the decoded snapshot gives %s, want %s", d, digest)
	}
	w, _ := json.Marshal(want)
	g, _ := json.Marshal(diagnose.Run(decoded, in))
	if diff := cmp.Diff(string(w), string(g)); diff != "" {
		t.Errorf("verdict of the bundle differs:\n%s", diff)
	}
	if err := diagnose.Verify(decoded, want.Evidence); err != nil {
		t.Errorf("evidence does not verify against the bundle: %v", err)
	}
}

func (s *stage) deployment(name string) incident.Ref {
	return incident.Ref{Kind: "Deployment", Namespace: s.ns, Name: name}
}

// want checks class, target and a floor for the confidence.
func (s *stage) want(r diagnose.Result, class incident.CauseClass, target incident.Ref, confidence float64) {
	s.t.Helper()
	if r.Cause == nil || r.Cause.Class != class || !r.Cause.Target.Same(target) || r.Confidence < confidence || !r.TargetInOwnerChain {
		b, _ := json.MarshalIndent(r, "", " ")
		s.t.Errorf("got %s, want %s at %s with at least %v\n%s", r.Summary, class, target, confidence, b)
	}
}

func TestLiveOOM(t *testing.T) {
	s := newStage(t)
	node := s.node(nil)
	pods := s.deploy("checkout", 2, 2, func(p *corev1.PodSpec) {
		p.Containers[0].Resources.Limits = corev1.ResourceList{"memory": resource.MustParse("128Mi")}
		p.Containers[0].Env = []corev1.EnvVar{{Name: "DB_PASSWORD", Value: "hunter2hunter2"}, {Name: "MODE", Value: "fast"}}
	})
	for _, p := range pods {
		s.bind(p, node)
		s.setStatus(p, corev1.PodRunning, false, corev1.ContainerStatus{
			RestartCount:         5,
			State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 2m40s restarting failed container"}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled", StartedAt: metav1.Now(), FinishedAt: metav1.Now()}},
		})
		s.event(corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID}, "BackOff", "Back-off restarting failed container server; password=hunter2hunter2")
	}
	s.awaitReplicas("checkout", 2)
	r, snap := s.diagnose(s.cfg, s.deployment("checkout"))
	s.want(r, diagnose.ClassOOMLimit, s.deployment("checkout"), 0.9)
	if got := r.Cause.Parameters["MEMORY_LIMIT"]; got != "256Mi" {
		t.Errorf("MEMORY_LIMIT = %q, want 256Mi", got)
	}
	// There is no kubelet: the logs are a gap, which must not touch a cause that no log could change.
	logs := 0
	for _, g := range r.Gaps {
		if g.TouchesCause {
			t.Errorf("gap %q touches the cause", g.What)
		}
		logs++
	}
	if logs == 0 {
		t.Error("unreadable logs left no gap")
	}
	body, _ := json.Marshal(treesOf(snap))
	if n := countOf(string(body), "hunter2hunter2"); n > 0 {
		t.Errorf("a password from the environment is kept %d times", n)
	}
	if snap.Contents().Redactions == 0 {
		t.Error("no redaction was counted")
	}
}

func (s *stage) awaitReplicas(name string, n int32) {
	s.t.Helper()
	s.until("status of Deployment "+name, func() (bool, error) {
		d, err := s.client.AppsV1().Deployments(s.ns).Get(s.ctx, name, metav1.GetOptions{})
		return err == nil && d.Status.Replicas == n, err
	})
}

func TestLiveReferencesAndScheduling(t *testing.T) {
	s := newStage(t)
	node := s.node(map[string]string{"disk": "hdd"})
	_, err := s.client.CoreV1().ConfigMaps(s.ns).Create(s.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"modes": "fast", "db-password": "a secret thing"}}, metav1.CreateOptions{})
	s.must(err)
	refer := func(name, key string) func(*corev1.PodSpec) {
		return func(p *corev1.PodSpec) {
			p.Containers[0].Env = []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key}}}}
		}
	}
	broken := func(name, message string, change func(*corev1.PodSpec)) {
		for _, p := range s.deploy(name, 1, 1, change) {
			s.bind(p, node)
			s.setStatus(p, corev1.PodPending, false, corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CreateContainerConfigError", Message: message}}})
			s.event(corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID}, "Failed", "Error: "+message)
		}
		s.awaitReplicas(name, 1)
	}
	broken("absent", `configmap "nowhere" not found`, refer("nowhere", "a"))
	r, _ := s.diagnose(s.cfg, s.deployment("absent"))
	s.want(r, diagnose.ClassConfigMapMissing, s.deployment("absent"), 0.9)

	broken("keyless", "couldn't find key mode in ConfigMap "+s.ns+"/settings", refer("settings", "mode"))
	r, snap := s.diagnose(s.cfg, s.deployment("keyless"))
	s.want(r, diagnose.ClassConfigMapKeyMissing, s.deployment("keyless"), 0.9)
	if got := r.Cause.Parameters["SUGGESTED_KEY"]; got != "modes" {
		t.Errorf("SUGGESTED_KEY = %q, want modes", got)
	}
	body, _ := json.Marshal(treesOf(snap))
	if countOf(string(body), "a secret thing") > 0 {
		t.Error("a password in a ConfigMap is kept")
	}

	for _, p := range s.deploy("picky", 1, 1, func(p *corev1.PodSpec) { p.NodeSelector = map[string]string{"disk": "ssd"} }) {
		live, err := s.client.CoreV1().Pods(s.ns).Get(s.ctx, p.Name, metav1.GetOptions{})
		s.must(err)
		live.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", LastTransitionTime: metav1.Now(),
			Message: "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
		}}
		_, err = s.client.CoreV1().Pods(s.ns).UpdateStatus(s.ctx, live, metav1.UpdateOptions{})
		s.must(err)
	}
	s.awaitReplicas("picky", 1)
	r, _ = s.diagnose(s.cfg, s.deployment("picky"))
	s.want(r, diagnose.ClassNodeSelectorMismatch, s.deployment("picky"), 0.8)
}

// Quota, ServiceAccount and endpoints are judged on what the real controllers wrote.
func TestLiveControllersWords(t *testing.T) {
	s := newStage(t)
	node := s.node(nil)
	_, err := s.client.CoreV1().ResourceQuotas(s.ns).Create(s.ctx, &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "team"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"requests.cpu": resource.MustParse("1")}},
	}, metav1.CreateOptions{})
	s.must(err)
	s.until("the quota's status", func() (bool, error) {
		q, err := s.client.CoreV1().ResourceQuotas(s.ns).Get(s.ctx, "team", metav1.GetOptions{})
		return err == nil && len(q.Status.Used) > 0, err
	})
	cpu := func(n string) func(*corev1.PodSpec) {
		return func(p *corev1.PodSpec) {
			p.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse(n)}
		}
	}
	s.deploy("greedy", 3, 1, cpu("600m"))
	s.untilEvent("FailedCreate", "exceeded quota")
	r, _ := s.diagnose(s.cfg, s.deployment("greedy"))
	s.want(r, diagnose.ClassQuotaExceeded, incident.Ref{Kind: "ResourceQuota", Namespace: s.ns, Name: "team"}, 0.9)

	s.deploy("nobody", 1, 0, func(p *corev1.PodSpec) { p.ServiceAccountName = "ghost"; cpu("10m")(p) })
	s.untilEvent("FailedCreate", "ghost")
	r, _ = s.diagnose(s.cfg, s.deployment("nobody"))
	s.want(r, diagnose.ClassServiceAccountMissing, s.deployment("nobody"), 0.9)

	for _, p := range s.deploy("front", 1, 1, cpu("10m")) {
		s.bind(p, node)
		s.setStatus(p, corev1.PodRunning, true, corev1.ContainerStatus{Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}})
	}
	svc, err := s.client.CoreV1().Services(s.ns).Create(s.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "front"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "front", "tier": "edge"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}},
	}, metav1.CreateOptions{})
	s.must(err)
	s.until("endpoints", func() (bool, error) {
		l, err := s.client.DiscoveryV1().EndpointSlices(s.ns).List(s.ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=front"})
		return err == nil && len(l.Items) > 0, err
	})
	s.until("front to be ready", func() (bool, error) {
		d, err := s.client.AppsV1().Deployments(s.ns).Get(s.ctx, "front", metav1.GetOptions{})
		return err == nil && d.Status.ReadyReplicas == 1, err
	})
	service := incident.Ref{Kind: "Service", Namespace: s.ns, Name: svc.Name}
	r, _ = s.diagnose(s.cfg, service)
	s.want(r, diagnose.ClassServiceSelector, service, 0.9)

	svc.Spec.Selector["tier"] = "front"
	_, err = s.client.CoreV1().Services(s.ns).Update(s.ctx, svc, metav1.UpdateOptions{})
	s.must(err)
	s.until("an endpoint", func() (bool, error) {
		l, err := s.client.DiscoveryV1().EndpointSlices(s.ns).List(s.ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=front"})
		return err == nil && len(l.Items) > 0 && len(l.Items[0].Endpoints) > 0, err
	})
	for _, ref := range []incident.Ref{service, s.deployment("front")} {
		r, _ = s.diagnose(s.cfg, ref)
		if r.Verdict != diagnose.VerdictHealthy || r.Confidence < 0.9 {
			t.Errorf("%s: verdict %s, confidence %v, want healthy: %s %+v", ref, r.Verdict, r.Confidence, r.Summary, r.Checks)
		}
	}

	r, _ = s.diagnose(s.cfg, s.deployment("phantom"))
	if r.Verdict != diagnose.VerdictUndecidable || len(r.Evidence) != 1 || !r.Evidence[0].Absent {
		t.Errorf("a resource that does not exist: %s, evidence %+v", r.Summary, r.Evidence)
	}
}

func (s *stage) untilEvent(reason, part string) {
	s.t.Helper()
	s.until("an event "+reason, func() (bool, error) {
		l, err := s.client.CoreV1().Events(s.ns).List(s.ctx, metav1.ListOptions{FieldSelector: "reason=" + reason})
		for _, e := range l.Items {
			if countOf(e.Message, part) > 0 {
				return true, nil
			}
		}
		return false, err
	})
}

// What a ServiceAccount may not read is a gap, and lowers the confidence where it could have changed the cause.
func TestLiveLeastPrivilege(t *testing.T) {
	s := newStage(t)
	node := s.node(nil)
	for _, p := range s.deploy("web", 1, 1, func(p *corev1.PodSpec) {
		p.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "login"}}}}
	}) {
		s.bind(p, node)
		s.setStatus(p, corev1.PodPending, false, corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CreateContainerConfigError", Message: `secret "login" not found`}}})
	}
	s.awaitReplicas("web", 1)
	_, err := s.client.RbacV1().Roles(s.ns).Create(s.ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "reader"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"", "apps"}, Resources: []string{"pods", "services", "deployments", "replicasets", "configmaps", "events"}, Verbs: []string{"get", "list"}},
	}}, metav1.CreateOptions{})
	s.must(err)
	_, err = s.client.RbacV1().RoleBindings(s.ns).Create(s.ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"}, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "reader"},
		Subjects: []rbacv1.Subject{{Kind: "User", Name: "reader"}},
	}, metav1.CreateOptions{})
	s.must(err)
	limited := rest.CopyConfig(s.cfg)
	limited.Impersonate = rest.ImpersonationConfig{UserName: "reader"}
	var r diagnose.Result
	s.until("the role", func() (bool, error) {
		r, _ = s.diagnose(limited, s.deployment("web"))
		return r.Cause != nil, nil
	})
	s.want(r, diagnose.ClassSecretMissing, s.deployment("web"), 0.7)
	gaps := map[string]incident.Gap{}
	for _, g := range r.Gaps {
		gaps[g.What] = g
	}
	if g := gaps["secrets in namespace "+s.ns]; g.Kind != incident.GapForbidden || !g.TouchesCause {
		t.Errorf("gap of Secrets = %+v, want forbidden and touching the cause", g)
	}
	if g := gaps["cronjobs in namespace "+s.ns]; g.Kind != incident.GapForbidden || g.TouchesCause {
		t.Errorf("gap of CronJobs = %+v, want forbidden and not touching the cause", g)
	}

	limited.Impersonate.UserName = "stranger"
	live, err := observe.New(observe.Options{Config: limited})
	s.must(err)
	_, err = live.Observe(s.ctx, incident.Incident{Resource: s.deployment("web")})
	if got := incident.KindOf(err); got != incident.KindForbidden {
		t.Errorf("who may read nothing gets %q (%v), want %q", got, err, incident.KindForbidden)
	}
}
