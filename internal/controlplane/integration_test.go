package controlplane_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/controlplane"
	"kubernaut.ai/kubernaut/internal/controlplane/controlplanetest"
)

// The tests below run against what a user would get: the environment decides, and by default the binary is built.

func client(t *testing.T, cfg *rest.Config) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually repeats check until it is happy, and fails with its last complaint after a minute.
func eventually(t *testing.T, check func(ctx context.Context) (complaint string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		complaint := check(ctx)
		if complaint == "" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(complaint)
		}
	}
}

// withControllers ends the test where the environment names a server that has none.
func withControllers(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs an API server; run without -short")
	}
	if os.Getenv(controlplane.EnvAssets) != "" {
		t.Skipf("%s has no controllers", controlplane.EnvAssets)
	}
}

// ourBinary ends the test where the environment names another server than the one under test.
func ourBinary(t *testing.T) {
	t.Helper()
	withControllers(t)
	if os.Getenv(controlplane.EnvKubeconfig) != "" {
		t.Skipf("%s names a cluster that is not ours to stop", controlplane.EnvKubeconfig)
	}
}

func TestDeploymentMakesPods(t *testing.T) {
	t.Parallel()
	withControllers(t)
	cfg := controlplanetest.Config(t)
	c, ns := client(t, cfg), controlplanetest.Namespace(t, cfg)

	// A pod can be created at once in a fresh namespace, although its ServiceAccount is made by a controller.
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "alone"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	if _, err := c.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatalf("create a pod: %v", err)
	}

	labels, replicas := map[string]string{"app": "web"}, int32(2)
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod.Spec},
		},
	}
	if _, err := c.AppsV1().Deployments(ns).Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Fatalf("create a deployment: %v", err)
	}
	eventually(t, func(ctx context.Context) string {
		sets, err := c.AppsV1().ReplicaSets(ns).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil || len(sets.Items) != 1 {
			return "want one ReplicaSet"
		}
		pods, err := c.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil || len(pods.Items) != 2 {
			return "want two pods"
		}
		return ""
	})

	if err := c.CoreV1().Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatalf("delete the namespace: %v", err)
	}
	eventually(t, func(ctx context.Context) string {
		if _, err := c.CoreV1().Namespaces().Get(ctx, ns, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return "the namespace does not finish deleting"
		}
		return ""
	})
}

func TestRestartKeepsDataAndKubeconfig(t *testing.T) {
	t.Parallel()
	ourBinary(t)
	o := controlplane.Options{Dir: t.TempDir(), Controllers: []string{}}
	start := func() *controlplane.Server {
		t.Helper()
		s, err := controlplane.Start(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Stop() })
		return s
	}
	first := start()
	saved, err := os.ReadFile(first.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	data := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Data: map[string]string{"key": "value"}}
	if _, err := client(t, first.Config()).CoreV1().ConfigMaps("default").Create(t.Context(), data, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := controlplane.Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "in use by another control plane") {
		t.Errorf("second start on the same directory: got %v, want an error that says so", err)
	}
	if err := first.Stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}

	second := start()
	if again, err := os.ReadFile(second.Kubeconfig()); err != nil || string(again) != string(saved) {
		t.Errorf("the kubeconfig changed: %v", err)
	}
	// The configuration from before the restart still works.
	got, err := client(t, first.Config()).CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil || got.Data["key"] != "value" {
		t.Errorf("the data is gone: %v", err)
	}
	// Without controllers pods need no ServiceAccount.
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	if _, err := client(t, second.Config()).CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Errorf("create a pod without controllers: %v", err)
	}
}

func TestServerDiesWithItsParent(t *testing.T) {
	t.Parallel()
	ourBinary(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	parent := exec.CommandContext(t.Context(), self, dir)
	parent.Env = append(os.Environ(), "CONTROLPLANE_TEST_FAKE=parent")
	parent.Stderr = os.Stderr
	if _, err := parent.StdinPipe(); err != nil { // held open, so that only the kill ends the parent
		t.Fatal(err)
	}
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(line) != filepath.Join(dir, "kubeconfig") {
		t.Fatalf("parent: got %q, %v", line, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()

	// The orphan holds the directory's lock until it has stopped.
	eventually(t, func(ctx context.Context) string {
		s, err := controlplane.Start(ctx, controlplane.Options{Dir: dir, Controllers: []string{}})
		if err != nil {
			return err.Error()
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		return ""
	})
}

func TestInstallCRDs(t *testing.T) {
	t.Parallel()
	cfg := controlplanetest.Config(t)
	crd := filepath.Join(t.TempDir(), "crd.yaml")
	if err := os.WriteFile(crd, []byte(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.controlplane.kubernaut.ai
spec:
  group: controlplane.kubernaut.ai
  scope: Namespaced
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		controlplanetest.InstallCRDs(t, cfg, crd)
	}
	ns := controlplanetest.Namespace(t, cfg)
	body := []byte(`{"apiVersion":"controlplane.kubernaut.ai/v1","kind":"Widget","metadata":{"name":"w"}}`)
	path := "/apis/controlplane.kubernaut.ai/v1/namespaces/" + ns + "/widgets"
	if err := client(t, cfg).CoreV1().RESTClient().Post().AbsPath(path).Body(body).Do(t.Context()).Error(); err != nil {
		t.Errorf("create a widget right after the installation: %v", err)
	}
}
