package coverage

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"kubernaut.ai/kubernaut/test/infrastructure/image"
	"kubernaut.ai/kubernaut/test/infrastructure/manifest"
)

// shipped renders what ships.
func shipped(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	refs := make(map[string]string)
	for _, s := range image.Services() {
		refs[s.Repository()] = s.Repository() + ":0123456789ab"
	}
	set, err := manifest.Render(os.DirFS(filepath.Join("..", "..", "..", "deploy")), "overlays/e2e", refs)
	if err != nil {
		t.Fatal(err)
	}
	return set.Raw()
}

func TestInstrument(t *testing.T) {
	objects := shipped(t)
	before := len(objects)
	out, err := Instrument(objects)
	if err != nil {
		t.Fatal(err)
	}
	services, err := Services(objects)
	if err != nil {
		t.Fatal(err)
	}
	if len(services) != len(image.Services()) || len(out) != before+len(services) {
		t.Fatalf("got %d services and %d objects of %d, want each of %d services with a claim", len(services), len(out), before, len(image.Services()))
	}
	for _, s := range services {
		at := func(kind, name string) int {
			return slices.IndexFunc(out, func(o *unstructured.Unstructured) bool {
				return o.GetKind() == kind && o.GetName() == name && o.GetNamespace() == "kubernaut-system"
			})
		}
		claim, deployment := at("PersistentVolumeClaim", s.Claim), at("Deployment", s.Deployment)
		if claim < 0 || deployment < claim {
			t.Fatalf("%s: got the claim at %d and the Deployment at %d", s.Name, claim, deployment)
		}
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(out[deployment].Object, &d, true); err != nil {
			t.Fatal(err)
		}
		var c corev1.PersistentVolumeClaim
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(out[claim].Object, &c, true); err != nil {
			t.Fatal(err)
		}
		pod := d.Spec.Template.Spec
		container := pod.Containers[0]
		if !slices.Contains(container.Env, corev1.EnvVar{Name: "GOCOVERDIR", Value: "/coverdata"}) ||
			!slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool {
				return m.Name == "coverage" && m.MountPath == "/coverdata" && !m.ReadOnly
			}) ||
			!slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool {
				return v.Name == "coverage" && v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == c.Name
			}) {
			t.Errorf("%s: got %+v", s.Name, container)
		}
		if pod.SecurityContext.FSGroup == nil {
			t.Errorf("%s: without fsGroup its user may not write to the volume", s.Name)
		}
	}
	for _, o := range objects {
		if text, err := o.MarshalJSON(); err != nil || strings.Contains(string(text), "GOCOVERDIR") {
			t.Errorf("%s %s was changed itself (%v)", o.GetKind(), o.GetName(), err)
		}
	}
	if _, err := Instrument(out); err == nil || !strings.Contains(err.Error(), "GOCOVERDIR already") {
		t.Errorf("again: got %v, want an error", err)
	}
	others := slices.DeleteFunc(slices.Clone(objects), func(o *unstructured.Unstructured) bool { return o.GetKind() == "Deployment" })
	if _, err := Instrument(others); err == nil {
		t.Error("without Deployments: want an error")
	}
}
