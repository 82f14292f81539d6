package rollout

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/controlplane/controlplanetest"
)

// world is a namespace of a real API server, in which the test is the kubelet.
type world struct {
	*Cluster
	t         *testing.T
	namespace string
	node      string
	log       lines
}

// lines is what was logged; it stands concurrent writes.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldBy(t, controlplanetest.Config(t))
}

// newWorldBy is newWorld with a connection of the test's own.
func newWorldBy(t *testing.T, cfg *rest.Config) *world {
	t.Helper()
	c, err := Connect(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &world{Cluster: c, t: t, namespace: controlplanetest.Namespace(t, controlplanetest.Config(t))}
}

// ctx bounds a test: nothing here takes long.
func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), 40*time.Second)
	w.t.Cleanup(cancel)
	return ctx
}

// kubelet makes a node whose kubelet has logs, by "<container>" or "<container> previous", and images.
func (w *world) kubelet(logs map[string]string, images ...string) {
	w.t.Helper()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/") // /containerLogs/<namespace>/<pod>/<container>
		key := parts[len(parts)-1]
		if r.URL.Query().Get("previous") == "true" {
			key += " previous"
		}
		text, ok := logs[key]
		if !ok {
			http.Error(rw, "there is no such log", http.StatusNotFound)
			return
		}
		fmt.Fprint(rw, text)
	}))
	w.t.Cleanup(srv.Close)
	at, err := url.Parse(srv.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	port, _ := strconv.Atoi(at.Port())
	w.node = w.namespace
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: w.node}}
	if node, err = w.kube.CoreV1().Nodes().Create(w.ctx(), node, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.kube.CoreV1().Nodes().Delete(context.Background(), w.node, metav1.DeleteOptions{}) })
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: at.Hostname()}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
	node.Status.Images = []corev1.ContainerImage{{Names: images}}
	if _, err := w.kube.CoreV1().Nodes().UpdateStatus(w.ctx(), node, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
      - {name: first, image: "localhost/web:1"}
      containers:
      - {name: web, image: "localhost/web:1"}
`

// object decodes a manifest into the test's namespace.
func (w *world) object(text string) *unstructured.Unstructured {
	w.t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		w.t.Fatal(err)
	}
	u.SetNamespace(w.namespace)
	return u
}

// deploy applies a manifest and returns it.
func (w *world) deploy(text string) *unstructured.Unstructured {
	w.t.Helper()
	u := w.object(text)
	if err := w.applyOne(w.ctx(), u); err != nil {
		w.t.Fatal(err)
	}
	return u
}

// pod waits until the namespace has a pod that fits, and returns it, bound to the node if there is one.
func (w *world) pod(fits func(*corev1.Pod) bool) *corev1.Pod {
	w.t.Helper()
	ctx := w.ctx()
	watch, err := w.kube.CoreV1().Pods(w.namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer watch.Stop()
	for e := range watch.ResultChan() {
		p, ok := e.Object.(*corev1.Pod)
		if !ok || !fits(p) {
			continue
		}
		if w.node != "" && p.Spec.NodeName == "" {
			bind := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}, Target: corev1.ObjectReference{Kind: "Node", Name: w.node}}
			if err := w.kube.CoreV1().Pods(p.Namespace).Bind(ctx, bind, metav1.CreateOptions{}); err != nil {
				w.t.Fatal(err)
			}
		}
		return p
	}
	w.t.Fatal("no pod came to be")
	return nil
}

func anyPod(*corev1.Pod) bool { return true }

// report writes a pod's status as a kubelet does.
func (w *world) report(p *corev1.Pod, status corev1.PodStatus) {
	w.t.Helper()
	body, err := yaml.Marshal(map[string]any{"status": status})
	if err != nil {
		w.t.Fatal(err)
	}
	if body, err = yaml.YAMLToJSON(body); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.kube.CoreV1().Pods(p.Namespace).Patch(w.ctx(), p.Name, types.MergePatchType, body, metav1.PatchOptions{}, "status"); err != nil {
		w.t.Fatal(err)
	}
}

func ready() corev1.PodStatus {
	return corev1.PodStatus{
		Phase: corev1.PodRunning,
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()},
			{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()},
		},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "web", Ready: true, Image: "localhost/web:1", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}},
	}
}

// waits returns the status of a pod whose container waits.
func waits(container, reason, message string, restarts int32, last *corev1.ContainerStateTerminated) corev1.PodStatus {
	c := corev1.ContainerStatus{
		Name: container, Image: "localhost/web:1", RestartCount: restarts,
		State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		LastTerminationState: corev1.ContainerState{Terminated: last},
	}
	s := corev1.PodStatus{Phase: corev1.PodPending}
	if container == "first" {
		s.InitContainerStatuses = []corev1.ContainerStatus{c}
	} else {
		s.ContainerStatuses = []corev1.ContainerStatus{c}
	}
	return s
}

// happen writes an event about a pod.
func (w *world) happen(p *corev1.Pod, reason, message string) {
	w.t.Helper()
	e := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: p.Name + ".", Namespace: p.Namespace},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID},
		Type:           corev1.EventTypeWarning, Reason: reason, Message: message, Count: 3, LastTimestamp: metav1.Now(),
	}
	if _, err := w.kube.CoreV1().Events(p.Namespace).Create(w.ctx(), e, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// waiting starts a Wait and returns where its error comes.
func (w *world) waiting(o WaitOptions, objects ...*unstructured.Unstructured) <-chan error {
	o.Log = &w.log
	out := make(chan error, 1)
	ctx := w.ctx()
	go func() { out <- w.Wait(ctx, objects, o) }()
	return out
}

func newDeployment(t *testing.T, w *world) *appsv1.Deployment {
	t.Helper()
	d, err := w.kube.AppsV1().Deployments(w.namespace).Get(w.ctx(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func keyOf(o *unstructured.Unstructured) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// managers returns who owns fields of an object.
func managers(o *unstructured.Unstructured) string {
	var names []string
	for _, m := range o.GetManagedFields() {
		names = append(names, m.Manager)
	}
	return strings.Join(names, " ")
}
