package e2e

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Database is the StatefulSet of PostgreSQL, its container and the processes in it.
const Database = "postgres"

// ScaleStatefulSet sets the number of replicas and waits until they are ready, or gone.
func (s *System) ScaleStatefulSet(ctx context.Context, namespace, name string, replicas int32) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		set := &appsv1.StatefulSet{}
		if err := s.WithWatch.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, set); err != nil {
			return err
		}
		if *set.Spec.Replicas == replicas {
			return nil
		}
		set.Spec.Replicas = &replicas
		return s.Update(ctx, set)
	})
	if err != nil {
		return fmt.Errorf("scale StatefulSet %s/%s: %w", namespace, name, err)
	}
	return s.AwaitStatefulSet(ctx, namespace, name)
}

// AwaitStatefulSet waits until a StatefulSet has the pods that its spec wants, all of them ready, and no others.
func (s *System) AwaitStatefulSet(ctx context.Context, namespace, name string) error {
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	err := Await(ctx, s, set, "ready", func(set *appsv1.StatefulSet) string {
		want, st := *set.Spec.Replicas, set.Status
		if st.ObservedGeneration < set.Generation || st.Replicas != want || st.ReadyReplicas != want {
			return fmt.Sprintf("generation %d of %d observed, %d pods, %d ready; wanted %d",
				st.ObservedGeneration, set.Generation, st.Replicas, st.ReadyReplicas, want)
		}
		return ""
	})
	if err != nil {
		return err
	}
	_, err = s.AwaitPods(ctx, namespace, set.Spec.Selector.MatchLabels, func(pods []*corev1.Pod) string {
		for _, p := range pods {
			if !Ready(p) {
				return fmt.Sprintf("pod %s is not ready", p.Name)
			}
		}
		if len(pods) != int(*set.Spec.Replicas) {
			return fmt.Sprintf("%d pods, wanted %d", len(pods), *set.Spec.Replicas)
		}
		return ""
	})
	return err
}
