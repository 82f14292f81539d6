package deploy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// set is what one kustomization renders to.
type set struct {
	t       *testing.T
	objects []client.Object
}

// renderings are the kustomizations that people apply.
var renderings = []string{"base", "overlays/e2e", "overlays/postgres"}

// eachRendering runs a check on every kustomization.
func eachRendering(t *testing.T, check func(s *set)) {
	t.Helper()
	for _, dir := range renderings {
		t.Run(dir, func(t *testing.T) { check(render(t, dir)) })
	}
}

// rendered remembers what a directory rendered to: every check looks at the same.
var rendered sync.Map

// render builds a kustomization and decodes every document strictly.
func render(t *testing.T, dir string) *set {
	t.Helper()
	once, _ := rendered.LoadOrStore(dir, sync.OnceValues(func() ([]byte, error) { return build(dir) }))
	out, err := once.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	s := &set{t: t}
	decoder := strictDecoder(t)
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(out)))
	for {
		document := make([]byte, 1<<20)
		n, err := documents.Read(document)
		if errors.Is(err, io.EOF) {
			return s
		}
		if err != nil {
			t.Fatal(err)
		}
		obj, _, err := decoder.Decode(document[:n], nil, nil)
		if err != nil {
			t.Fatalf("decode: %v\n%s", err, document[:n])
		}
		s.objects = append(s.objects, obj.(client.Object))
	}
}

// kustomize is what renders where neither kubectl nor kustomize is installed.
const kustomize = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.2"

func build(dir string) ([]byte, error) {
	command := []string{"go", "run", kustomize, "build"}
	for _, installed := range [][]string{{"kustomize", "build"}, {"kubectl", "kustomize"}} {
		if _, err := exec.LookPath(installed[0]); err == nil {
			command = installed
			break
		}
	}
	cmd := exec.Command(command[0], append(command[1:], dir)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, stderr.String())
	}
	return out, nil
}

func strictDecoder(t *testing.T) runtime.Decoder {
	t.Helper()
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(known); err != nil {
			t.Fatal(err)
		}
	}
	return serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
}

// of returns the objects of one type.
func of[T client.Object](s *set) []T {
	var list []T
	for _, o := range s.objects {
		if typed, ok := o.(T); ok {
			list = append(list, typed)
		}
	}
	return list
}

// named returns the object of one type with a name, in the given namespace, or fails the test.
func named[T client.Object](s *set, namespace, name string) (T, bool) {
	for _, o := range of[T](s) {
		if o.GetNamespace() == namespace && o.GetName() == name {
			return o, true
		}
	}
	var none T
	return none, false
}

// workload is a Deployment or a StatefulSet.
type workload struct {
	kind, namespace, name string
	selector              labels.Selector
	template              corev1.PodTemplateSpec
	claims                []string // of a StatefulSet
}

func (w workload) String() string { return w.kind + " " + w.name }

func (s *set) workloads() []workload {
	s.t.Helper()
	var list []workload
	add := func(o client.Object, kind string, selector map[string]string, template corev1.PodTemplateSpec, claims ...string) {
		sel := labels.SelectorFromSet(selector)
		if !sel.Matches(labels.Set(template.Labels)) {
			s.t.Errorf("%s %s: its selector %s does not match its template's labels %v", kind, o.GetName(), sel, template.Labels)
		}
		list = append(list, workload{kind, o.GetNamespace(), o.GetName(), sel, template, claims})
	}
	for _, d := range of[*appsv1.Deployment](s) {
		add(d, "Deployment", d.Spec.Selector.MatchLabels, d.Spec.Template)
	}
	for _, st := range of[*appsv1.StatefulSet](s) {
		var claims []string
		for _, c := range st.Spec.VolumeClaimTemplates {
			claims = append(claims, c.Name)
		}
		add(st, "StatefulSet", st.Spec.Selector.MatchLabels, st.Spec.Template, claims...)
	}
	if len(list) < 3 {
		s.t.Fatalf("got %d workloads, want the three services at least", len(list))
	}
	return list
}

// ours are the workloads that run images of this repository.
func (s *set) ours() []workload {
	return slices.DeleteFunc(s.workloads(), func(w workload) bool {
		return !strings.HasPrefix(w.template.Spec.Containers[0].Image, "localhost/kubernaut-")
	})
}

// mountAt returns the volume that a container has mounted over a path, and the path inside it.
func (w workload) mountAt(c corev1.Container, file string) (volume corev1.Volume, inside string, readOnly, ok bool) {
	best := -1
	for _, m := range c.VolumeMounts {
		dir := strings.TrimSuffix(m.MountPath, "/")
		if (file == dir || strings.HasPrefix(file, dir+"/")) && len(dir) > best {
			for _, v := range w.template.Spec.Volumes {
				if v.Name == m.Name {
					best, volume, readOnly, ok = len(dir), v, m.ReadOnly, true
					inside = strings.TrimPrefix(strings.TrimPrefix(file, dir), "/")
				}
			}
			for _, claim := range w.claims {
				if claim == m.Name {
					best, readOnly, ok = len(dir), m.ReadOnly, true
					volume = corev1.Volume{Name: claim}
				}
			}
			if m.SubPath != "" {
				inside = path.Join(m.SubPath, inside)
			}
		}
	}
	return volume, inside, readOnly, ok
}

// TestSamplesAreValid decodes the samples strictly.
func TestSamplesAreValid(t *testing.T) {
	files, err := filepath.Glob("samples/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("samples: got %v, %v, want three at least", files, err)
	}
	decoder := strictDecoder(t)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := decoder.Decode(text, nil, nil); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}
