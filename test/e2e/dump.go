package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// Dump writes what a person needs who has to explain a failure into a directory: the objects and
// events of namespaces, and the logs of their pods since a time, those of earlier runs too. It writes
// what it can, and returns what it could not.
func (s *System) Dump(ctx context.Context, dir string, since time.Time, namespaces ...string) error {
	clients, err := kubernetes.NewForConfig(s.rest)
	if err != nil {
		return err
	}
	var errs []error
	for _, namespace := range namespaces {
		to := filepath.Join(dir, namespace)
		if err := os.MkdirAll(to, 0o750); err != nil {
			return err
		}
		var pods corev1.PodList
		for _, list := range []client.ObjectList{
			&pods, &corev1.EventList{}, &corev1.ConfigMapList{}, &corev1.ServiceList{}, &corev1.PersistentVolumeClaimList{},
			&corev1.ResourceQuotaList{}, &appsv1.DeploymentList{}, &appsv1.ReplicaSetList{}, &appsv1.StatefulSetList{}, &batchv1.JobList{},
			&discoveryv1.EndpointSliceList{}, &v1alpha1.AIAnalysisList{},
		} {
			kind := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", list), "*"), "List")
			kind = kind[strings.LastIndex(kind, ".")+1:]
			if err := s.List(ctx, list, client.InNamespace(namespace)); err != nil {
				errs = append(errs, fmt.Errorf("list %s in %s: %w", kind, namespace, err))
				continue
			}
			errs = append(errs, writeYAML(filepath.Join(to, strings.ToLower(kind)+".yaml"), list))
		}
		for _, pod := range pods.Items {
			for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
				for _, previous := range []bool{false, true} {
					seconds := int64(time.Since(since).Seconds()) + 1
					log, err := clients.CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
						Container: c.Name, Previous: previous, SinceSeconds: &seconds, LimitBytes: new(int64(4 << 20)),
					}).DoRaw(ctx)
					if err != nil || len(log) == 0 {
						continue // a container that has not run has no log
					}
					name := pod.Name + "." + c.Name
					if previous {
						name += ".previous"
					}
					errs = append(errs, os.WriteFile(filepath.Join(to, name+".log"), log, 0o600))
				}
			}
		}
	}
	return errors.Join(errs...)
}

func writeYAML(path string, v any) error {
	text, err := yaml.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
