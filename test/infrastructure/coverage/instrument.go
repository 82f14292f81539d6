package coverage

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/test/infrastructure/image"
)

const (
	volume    = "coverage"
	directory = "/coverdata"
	variable  = "GOCOVERDIR"
	size      = "256Mi"
)

// Service is a Deployment of one of our programs, and the volume that its counters go to.
type Service struct {
	// Name is that of the image, Package the program's directory in the module.
	Name, Package string
	// Namespace, Deployment and Claim are objects of the cluster.
	Namespace, Deployment, Claim string
}

// Instrument returns objects with a volume for counters in every Deployment that runs a program of ours. It changes copies. It
// errs if there is no such Deployment, or one that has a directory for counters already.
func Instrument(objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	services, err := Services(objects)
	if err != nil {
		return nil, err
	}
	byName := make(map[[2]string]Service, len(services))
	for _, s := range services {
		byName[[2]string{s.Namespace, s.Deployment}] = s
	}
	var out []*unstructured.Unstructured
	for _, o := range objects {
		s, ok := byName[[2]string{o.GetNamespace(), o.GetName()}]
		if !ok || o.GetKind() != "Deployment" {
			out = append(out, o)
			continue
		}
		o = o.DeepCopy()
		if err := s.mount(o); err != nil {
			return nil, fmt.Errorf("instrument Deployment %s: %w", s.Deployment, err)
		}
		out = append(out, s.claim(), o)
	}
	return out, nil
}

// Services lists the Deployments of objects that run programs of ours. It errs if there is none.
func Services(objects []*unstructured.Unstructured) ([]Service, error) {
	var services []Service
	for _, o := range objects {
		if o.GetKind() != "Deployment" {
			continue
		}
		containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		if err != nil {
			return nil, fmt.Errorf("Deployment %s: %w", o.GetName(), err) //nolint:staticcheck // a kind's name
		}
		for _, c := range containers {
			if spec, ok := program(c); ok {
				services = append(services, Service{
					Name: spec.Name, Package: spec.Package, Namespace: o.GetNamespace(), Deployment: o.GetName(), Claim: o.GetName() + "-coverage",
				})
			}
		}
	}
	if len(services) == 0 {
		return nil, fmt.Errorf("none of %d objects is a Deployment of a program with counters", len(objects))
	}
	return services, nil
}

// program tells which of our programs a container runs.
func program(container any) (image.Spec, bool) {
	c, _ := container.(map[string]any)
	text, _ := c["image"].(string)
	ref, err := image.ParseRef(text)
	if err != nil {
		return image.Spec{}, false
	}
	all := image.Services()
	i := slices.IndexFunc(all, func(s image.Spec) bool { return s.Repository() == ref.Name })
	if i < 0 {
		return image.Spec{}, false
	}
	return all[i], true
}

// claim is the PersistentVolumeClaim of the volume.
func (s Service) claim() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "PersistentVolumeClaim",
		"metadata":   map[string]any{"name": s.Claim, "namespace": s.Namespace, "labels": map[string]any{"app": s.Deployment}},
		"spec": map[string]any{
			"accessModes": []any{"ReadWriteOnce"},
			"resources":   map[string]any{"requests": map[string]any{"storage": size}},
		},
	}}
}

// mount adds the volume to the pods of a Deployment.
func (s Service) mount(deployment *unstructured.Unstructured) error {
	path := []string{"spec", "template", "spec"}
	pod, ok, err := unstructured.NestedMap(deployment.Object, path...)
	if err != nil || !ok {
		return fmt.Errorf("it has no spec of a pod: %w", err)
	}
	containers, _ := pod["containers"].([]any)
	for _, c := range containers {
		if _, ok := program(c); !ok {
			continue
		}
		container := c.(map[string]any) // program has looked
		env, _ := container["env"].([]any)
		if slices.ContainsFunc(env, func(e any) bool { v, _ := e.(map[string]any); return v["name"] == variable }) {
			return fmt.Errorf("container %v sets %s already", container["name"], variable)
		}
		container["env"] = append(env, map[string]any{"name": variable, "value": directory})
		mounts, _ := container["volumeMounts"].([]any)
		container["volumeMounts"] = append(mounts, map[string]any{"name": volume, "mountPath": directory})
	}
	volumes, _ := pod["volumes"].([]any)
	pod["volumes"] = append(volumes, map[string]any{"name": volume, "persistentVolumeClaim": map[string]any{"claimName": s.Claim}})
	return unstructured.SetNestedMap(deployment.Object, pod, path...)
}
