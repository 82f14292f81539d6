// Package deploy_test checks the manifests that ship, as they are rendered. What would fail in a cluster is found by
// the checks of the end-to-end harness; what is here beside them is what makes the manifests good ones, and what others
// rely on.
package deploy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/manifest"
)

// set is what one kustomization renders to.
type set struct {
	t *testing.T
	*manifest.Set
}

// renderings are the kustomizations that people and the end-to-end suites apply.
var renderings = []string{"base", "overlays/e2e", "overlays/e2e-postgres", "overlays/postgres"}

// nodePorts are those by which a suite reaches each Service, by "<Service>/<port>".
var nodePorts = map[string]map[string]int32{
	"overlays/e2e": {
		"aianalysis-controller/metrics": 30184, "aianalysis-controller/health": 30284,
		"holmesgpt-api/http": 30088, "datastorage/http": 30081,
	},
	"overlays/e2e-postgres": {"datastorage/http": 30081},
}

// eachRendering runs a check on every kustomization.
func eachRendering(t *testing.T, check func(s *set)) {
	t.Helper()
	for _, dir := range renderings {
		t.Run(dir, func(t *testing.T) { check(render(t, dir)) })
	}
}

// render builds a kustomization and decodes every document strictly.
func render(t *testing.T, dir string) *set {
	t.Helper()
	s, err := manifest.Render(os.DirFS("."), dir, nil)
	if err != nil {
		for _, f := range failure.ClassifyAll(t.Context(), "static", err, nil) {
			t.Errorf("%s: %q", f.Summary, f.Lines)
		}
		t.FailNow()
	}
	if got := len(s.Workloads()); got < 3 {
		t.Fatalf("got %d workloads, want the three services at least", got)
	}
	return &set{t, s}
}

// TestNothingWouldFail hands every kustomization to the static checks that the end-to-end harness begins with.
func TestNothingWouldFail(t *testing.T) {
	for _, dir := range renderings {
		t.Run(dir, func(t *testing.T) {
			s := render(t, dir)
			expect := manifest.Expect{
				Images:      []string{"localhost/kubernaut-aianalysis:dev", "localhost/kubernaut-datastorage:dev", "localhost/kubernaut-holmesgpt-api:dev"},
				HostPorts:   map[int32]int32{},
				Dockerfiles: os.DirFS("../docker"),
			}
			if strings.HasSuffix(dir, "postgres") {
				expect.Images = append(expect.Images, "docker.io/library/postgres:17.6")
				expect.Provided = []client.Object{&corev1.Secret{ // as the overlay says to make it
					ObjectMeta: metav1.ObjectMeta{Namespace: "kubernaut-system", Name: "datastorage-secret"},
					StringData: map[string]string{"password": "example", "secrets.yaml": "password: example\n"},
				}}
			}
			for _, node := range nodePorts[dir] {
				expect.HostPorts[node] = node
			}
			for _, f := range failure.ClassifyAll(t.Context(), "static", manifest.Check(s.Set, expect), nil) {
				t.Errorf("%s; %s %q", f.Summary, f.Fix, f.Lines)
			}
		})
	}
}

// ours are the workloads that run images of this repository.
func (s *set) ours() []manifest.Workload {
	return slices.DeleteFunc(s.Workloads(), func(w manifest.Workload) bool {
		return !strings.HasPrefix(w.Template.Spec.Containers[0].Image, "localhost/kubernaut-")
	})
}

// TestSamplesAreValid decodes the samples strictly.
func TestSamplesAreValid(t *testing.T) {
	files, err := filepath.Glob("samples/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("samples: got %v, %v, want three at least", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := manifest.Decode(text); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}
