// Package controlplanetest gives tests a real API server: one for each test binary, started by the first test that asks
// and stopped when the binary ends, however it ends.
//
// Tests that use it are skipped by go test -short and by nothing else. Without KUBERNAUT_KUBECONFIG and
// KUBEBUILDER_ASSETS the first run on a machine builds the control plane, which takes minutes; make test does that
// beforehand.
package controlplanetest

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/controlplane"
)

const timeout = time.Minute // of one step against a running server

// server is shared by all tests of the process. It is never stopped: the server stops when the process ends.
var server = sync.OnceValues(func() (*controlplane.Server, error) {
	show, end := controlplane.ShowProgress(os.Stderr, false, time.Now)
	defer end()
	return controlplane.Start(context.Background(), controlplane.Options{Progress: show})
})

// Config returns a client configuration, with an administrator's rights, for the API server that the tests of this
// process share. Tests must therefore keep to namespaces of their own; see Namespace.
func Config(t testing.TB) *rest.Config {
	t.Helper()
	return shared(t).Config()
}

// Kubeconfig returns the path of a kubeconfig for the same server.
func Kubeconfig(t testing.TB) string {
	t.Helper()
	return shared(t).Kubeconfig()
}

func shared(t testing.TB) *controlplane.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("needs an API server; run without -short")
	}
	s, err := server()
	if err != nil {
		t.Fatalf("API server for the tests: %v", err)
	}
	return s
}

// Namespace creates a namespace with a name of its own and asks for its deletion at the end of the test. It does not
// wait for that: it takes seconds, and with KUBEBUILDER_ASSETS nothing finishes it.
func Namespace(t testing.TB, cfg *rest.Config) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	meta := metav1.ObjectMeta{GenerateName: dnsLabel(t.Name()) + "-"}
	ns, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: meta}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create a namespace: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := client.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("delete namespace %s: %v", ns.Name, err)
		}
	})
	return ns.Name
}

// dnsLabel makes the name of a test the beginning of a namespace's name.
func dnsLabel(name string) string {
	label := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	return strings.Trim(label[:min(len(label), 50)], "-")
}

// InstallCRDs installs the CustomResourceDefinitions in files and returns when they are served.
func InstallCRDs(t testing.TB, cfg *rest.Config, files ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for _, f := range files {
		manifest, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := controlplane.InstallCRDs(ctx, cfg, manifest); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
	}
}
