package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/manifest"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// FieldManager owns the fields that Apply writes.
const FieldManager = "kubernaut-e2e"

// Units runs units of work and retries them by the class of their failure; a *plan.Task does.
type Units interface {
	Unit(ctx context.Context, name string, u plan.Unit) error
}

// Apply applies objects server-side, taking over fields that others own, in the order of their stages, each stage as one
// unit. Definitions are served before the next stage begins. Applying the same objects again changes nothing, so a
// retry is harmless; what the API server refuses because of what the objects say is permanent.
func (c *Cluster) Apply(ctx context.Context, units Units, objects []*unstructured.Unstructured) error {
	for _, stage := range []struct {
		name string
		manifest.Stage
	}{{"definitions", manifest.Definitions}, {"namespaces", manifest.Namespaces}, {"config", manifest.Config}, {"workloads", manifest.Workloads}} {
		var list []*unstructured.Unstructured
		for _, o := range objects {
			if manifest.StageOf(o.GetKind()) == stage.Stage {
				list = append(list, o)
			}
		}
		if len(list) == 0 {
			continue
		}
		err := units.Unit(ctx, "apply "+stage.name, plan.Unit{Do: func(ctx context.Context, _ int) error { return c.applyStage(ctx, list) }})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) applyStage(ctx context.Context, list []*unstructured.Unstructured) error {
	var errs []error
	for _, o := range list {
		if err := c.applyOne(ctx, o); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, o := range list {
		if o.GetKind() == "CustomResourceDefinition" {
			if err := c.awaitServed(ctx, o.GetName()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Cluster) applyOne(ctx context.Context, o *unstructured.Unstructured) error {
	what := o.GetKind() + " " + o.GetName()
	err := c.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.FieldOwner(FieldManager), client.ForceOwnership)
	switch {
	case err == nil:
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause): // forbidden, for now
		return fmt.Errorf("apply %s: %w", what, err)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsForbidden(err), meta.IsNoMatchError(err):
		return failure.With(fmt.Errorf("apply %s: %w", what, err), failure.Finding{
			Class: failure.Permanent, Product: true, Summary: "the API server refuses " + what, Lines: []string{err.Error()},
			Fix: "correct the manifest as the API server says",
		})
	}
	return fmt.Errorf("apply %s: %w", what, err)
}

// awaitServed returns when a definition is established: its resource is served then.
func (c *Cluster) awaitServed(ctx context.Context, name string) error {
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("apiextensions.k8s.io/v1")
	list.SetKind("CustomResourceDefinitionList")
	one := client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector(metav1.ObjectNameField, name)}
	for {
		if err := c.client.List(ctx, list, one); err != nil {
			return fmt.Errorf("wait for CustomResourceDefinition %s: %w", name, err)
		}
		if slices.ContainsFunc(list.Items, established) {
			return nil
		}
		w, err := c.client.Watch(ctx, list, one, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}})
		if err != nil {
			return fmt.Errorf("wait for CustomResourceDefinition %s: %w", name, err)
		}
		done := follow(ctx, w)
		if done {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for CustomResourceDefinition %s to be established: %w", name, context.Cause(ctx))
		}
	}
}

// follow reads a watch until a definition is established, which it reports, or the watch or ctx ends.
func follow(ctx context.Context, w watch.Interface) bool {
	defer w.Stop()
	for {
		select {
		case e, ok := <-w.ResultChan():
			if !ok || e.Type == watch.Error {
				return false
			}
			if o, ok := e.Object.(*unstructured.Unstructured); ok && established(*o) {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

func established(crd unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(c any) bool {
		m, ok := c.(map[string]any)
		return ok && m["type"] == "Established" && m["status"] == "True"
	})
}
