package deploy_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/controlplane/controlplanetest"
)

// TestAPIServerTakesAll applies each kustomization to a real API server and waits until its
// controllers have made every Pod, which Pod Security admission and quota then have let in.
func TestAPIServerTakesAll(t *testing.T) {
	cfg := controlplanetest.Config(t)
	controlplanetest.InstallCRDs(t, cfg, "crd/kubernaut.ai_aianalyses.yaml")
	c, err := client.New(cfg, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, dir := range renderings {
		t.Run(dir, func(t *testing.T) {
			s := render(t, dir)
			for _, o := range s.objects {
				if _, isCRD := o.(*apiextensionsv1.CustomResourceDefinition); !isCRD {
					apply(ctx, t, c, o)
				}
			}
			for _, w := range s.workloads() {
				awaitPod(ctx, t, c, w)
			}
		})
	}
	t.Run("samples", func(t *testing.T) {
		files, err := filepath.Glob("samples/*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			u := &unstructured.Unstructured{}
			if err := yaml.Unmarshal(text, &u.Object); err != nil {
				t.Fatal(err)
			}
			u.SetNamespace("default")
			if err := c.Create(ctx, u); err != nil {
				t.Errorf("%s: %v", f, err)
			}
		}
	})
}

func apply(ctx context.Context, t *testing.T, c client.Client, o client.Object) {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(o.GetObjectKind().GroupVersionKind())
	unstructured.RemoveNestedField(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("deploy-test"), client.ForceOwnership); err != nil {
		t.Errorf("apply %s %s: %v", u.GetKind(), u.GetName(), err)
	}
}

// awaitPod waits until a workload has the Pods that it wants.
func awaitPod(ctx context.Context, t *testing.T, c client.Client, w workload) {
	t.Helper()
	refusal := ""
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
		var pods corev1.PodList
		if err := c.List(ctx, &pods, client.InNamespace(w.namespace), client.MatchingLabelsSelector{Selector: w.selector}); err != nil {
			return false, err
		}
		refusal = refusals(ctx, c, w)
		return slices.ContainsFunc(pods.Items, w.made), nil
	})
	if err != nil {
		t.Errorf("%s has no Pod: %v; %s", w, err, refusal)
	}
}

// made reports whether a Pod is of this template, and not of one that was applied before.
func (w workload) made(p corev1.Pod) bool {
	var got, want []string
	for _, v := range p.Spec.Volumes {
		if !strings.HasPrefix(v.Name, "kube-api-access-") { // the ServiceAccount's token
			got = append(got, v.Name)
		}
	}
	for _, v := range w.template.Spec.Volumes {
		want = append(want, v.Name)
	}
	want = append(want, w.claims...)
	slices.Sort(got)
	slices.Sort(want)
	return slices.Equal(got, want) && p.Spec.Containers[0].Image == w.template.Spec.Containers[0].Image
}

// refusals says why a Deployment's ReplicaSets cannot create Pods.
func refusals(ctx context.Context, c client.Client, w workload) string {
	var sets appsv1.ReplicaSetList
	if err := c.List(ctx, &sets, client.InNamespace(w.namespace), client.MatchingLabelsSelector{Selector: w.selector}); err != nil {
		return err.Error()
	}
	text := ""
	for _, rs := range sets.Items {
		for _, cond := range rs.Status.Conditions {
			text += fmt.Sprintf("%s: %s ", cond.Reason, cond.Message)
		}
	}
	return text
}
