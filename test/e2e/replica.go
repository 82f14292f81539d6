package e2e

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// dataStoragePort is where a pod of Data Storage listens.
const dataStoragePort = 8080

// Replica is the system with one pod of Data Storage, which alone answers what is asked of Data Storage. It
// is reached through the API server, ready or not.
func (s *System) Replica(pod string) *System {
	r := *s
	r.DataStorage, r.http = s.Within(Namespace, "pods", pod, dataStoragePort)
	return &r
}

// Replicas waits until so many pods of Data Storage are ready and no others are there, and returns them.
func (s *System) Replicas(ctx context.Context, n int) ([]*corev1.Pod, error) {
	return s.AwaitPods(ctx, Namespace, map[string]string{"app": DataStorage}, func(pods []*corev1.Pod) string {
		ready := 0
		for _, p := range pods {
			if Ready(p) {
				ready++
			}
		}
		if ready != n || len(pods) != n {
			return fmt.Sprintf("%d of %d pods are ready; wanted %d", ready, len(pods), n)
		}
		return ""
	})
}

// Ready reports whether a pod is ready and stays.
func Ready(p *corev1.Pod) bool {
	if p.DeletionTimestamp != nil {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Restarts is how often the containers of a pod were started again.
func Restarts(p *corev1.Pod) int32 {
	var n int32
	for _, c := range p.Status.ContainerStatuses {
		n += c.RestartCount
	}
	return n
}
