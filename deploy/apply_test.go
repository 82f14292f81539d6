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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/controlplane/controlplanetest"
	"kubernaut.ai/kubernaut/test/infrastructure/manifest"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
	"kubernaut.ai/kubernaut/test/infrastructure/rollout"
)

// once runs each unit of a rollout one time.
type once struct{}

func (once) Unit(ctx context.Context, _ string, u plan.Unit) error { return u.Do(ctx, 1) }

// TestAPIServerTakesAll applies each kustomization to a real API server and waits until its
// controllers have made every Pod, which Pod Security admission and quota then have let in.
func TestAPIServerTakesAll(t *testing.T) {
	cfg := controlplanetest.Config(t)
	cluster, err := rollout.Connect(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, dir := range renderings {
		t.Run(dir, func(t *testing.T) {
			s := render(t, dir)
			if err := cluster.Apply(ctx, once{}, s.Raw()); err != nil {
				t.Fatal(err)
			}
			for _, w := range s.Workloads() {
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

// awaitPod waits until a workload has the Pods that it wants.
func awaitPod(ctx context.Context, t *testing.T, c client.Client, w manifest.Workload) {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(w.Selector)
	if err != nil {
		t.Fatal(err)
	}
	selected := client.MatchingLabelsSelector{Selector: selector}
	refusal := ""
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
		var pods corev1.PodList
		if err := c.List(ctx, &pods, client.InNamespace(w.Namespace), selected); err != nil {
			return false, err
		}
		refusal = refusals(ctx, c, w.Namespace, selected)
		return slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return made(w, p) }), nil
	})
	if err != nil {
		t.Errorf("%s has no Pod: %v; %s", w, err, refusal)
	}
}

// made reports whether a Pod is of a workload's template, and not of one that was applied before.
func made(w manifest.Workload, p corev1.Pod) bool {
	var got, want []string
	for _, v := range p.Spec.Volumes {
		if !strings.HasPrefix(v.Name, "kube-api-access-") { // the ServiceAccount's token
			got = append(got, v.Name)
		}
	}
	for _, v := range w.Template.Spec.Volumes {
		want = append(want, v.Name)
	}
	for _, claim := range w.Claims {
		want = append(want, claim.Name)
	}
	slices.Sort(got)
	slices.Sort(want)
	return slices.Equal(got, want) && p.Spec.Containers[0].Image == w.Template.Spec.Containers[0].Image
}

// refusals says why a Deployment's ReplicaSets cannot create Pods.
func refusals(ctx context.Context, c client.Client, namespace string, selected client.ListOption) string {
	var sets appsv1.ReplicaSetList
	if err := c.List(ctx, &sets, client.InNamespace(namespace), selected); err != nil {
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
