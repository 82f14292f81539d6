package e2e

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// AwaitRollout waits until a Deployment runs as its spec says, with all of its replicas available
// and no pod of an earlier revision left, not even one that ends.
func (s *System) AwaitRollout(ctx context.Context, namespace, name string) error {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	err := Await(ctx, s, d, "rolled out", func(d *appsv1.Deployment) string {
		want, st := *d.Spec.Replicas, d.Status
		if st.ObservedGeneration < d.Generation || st.Replicas != want || st.UpdatedReplicas != want || st.AvailableReplicas != want {
			return fmt.Sprintf("generation %d of %d observed, %d pods, %d updated, %d available; wanted %d",
				st.ObservedGeneration, d.Generation, st.Replicas, st.UpdatedReplicas, st.AvailableReplicas, want)
		}
		return ""
	})
	if err != nil {
		return err
	}
	_, err = s.AwaitPods(ctx, namespace, d.Spec.Selector.MatchLabels, func(pods []*corev1.Pod) string {
		if len(pods) != int(*d.Spec.Replicas) {
			return fmt.Sprintf("%d pods, wanted %d", len(pods), *d.Spec.Replicas)
		}
		return ""
	})
	return err
}

// AwaitPods waits for the pods with labels.
func (s *System) AwaitPods(ctx context.Context, namespace string, labels map[string]string, ok func([]*corev1.Pod) string) ([]*corev1.Pod, error) {
	return AwaitAll(ctx, s, fmt.Sprintf("pods %v in %s", labels, namespace), ok, client.InNamespace(namespace), client.MatchingLabels(labels))
}

// Change changes a Deployment and waits until it has rolled out.
func (s *System) Change(ctx context.Context, namespace, name string, change func(*appsv1.Deployment)) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		d := &appsv1.Deployment{}
		if err := s.WithWatch.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, d); err != nil {
			return err
		}
		change(d)
		return s.Update(ctx, d)
	})
	if err != nil {
		return fmt.Errorf("change Deployment %s/%s: %w", namespace, name, err)
	}
	return s.AwaitRollout(ctx, namespace, name)
}

// Scale sets the number of replicas and waits until they are there, or gone.
func (s *System) Scale(ctx context.Context, namespace, name string, replicas int32) error {
	return s.Change(ctx, namespace, name, func(d *appsv1.Deployment) { d.Spec.Replicas = &replicas })
}

// ConfigMapKey replaces the text under a key of a ConfigMap, and returns what was there.
func (s *System) ConfigMapKey(ctx context.Context, namespace, name, key, text string) (before string, err error) {
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		cm := &corev1.ConfigMap{}
		if err := s.WithWatch.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, cm); err != nil {
			return err
		}
		before = cm.Data[key]
		if cm.Data == nil {
			cm.Data = map[string]string{}
		}
		cm.Data[key] = text
		return s.Update(ctx, cm)
	})
	if err != nil {
		return "", fmt.Errorf("ConfigMap %s/%s: %w", namespace, name, err)
	}
	return before, nil
}

// Touch annotates a pod: the kubelet then brings its volumes up to date at once, where it would by
// itself take a minute.
func (s *System) Touch(ctx context.Context, pod *corev1.Pod) error {
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{"kubernaut.ai/touched":%q}}}`, time.Now().Format(time.RFC3339Nano)))
	if err := s.Patch(ctx, pod.DeepCopy(), patch); err != nil {
		return fmt.Errorf("touch pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// ControllerPods returns the pods of the controller.
func (s *System) ControllerPods(ctx context.Context) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := s.List(ctx, &pods, client.InNamespace(Namespace), client.MatchingLabels{"app": Controller})
	return pods.Items, err
}

// leaseName is that of the controller's leader election.
const leaseName = "aianalysis.kubernaut.ai"

// AwaitLeader waits until a pod of the controller holds the lease, one that ok accepts, and returns it.
func (s *System) AwaitLeader(ctx context.Context, ok func(corev1.Pod) bool) (corev1.Pod, error) {
	var leader corev1.Pod
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: leaseName}}
	err := Await(ctx, s, lease, "held", func(l *coordinationv1.Lease) string {
		if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity == "" {
			return "nobody holds it"
		}
		pods, err := s.ControllerPods(ctx)
		if err != nil {
			return err.Error()
		}
		for _, p := range pods { // the identity is the pod's name, "_" and a UUID
			if len(*l.Spec.HolderIdentity) > len(p.Name) && (*l.Spec.HolderIdentity)[:len(p.Name)+1] == p.Name+"_" && ok(p) {
				leader = p
				return ""
			}
		}
		return fmt.Sprintf("held by %s, which is not one of those wanted", *l.Spec.HolderIdentity)
	})
	return leader, err
}

// Kill has a process of a pod end at once, as a crash would end it, and waits until its container was started again.
// namespace is where the pod that sends the signal may run.
func (s *System) Kill(ctx context.Context, namespace string, pod corev1.Pod, container, process string) error {
	return s.Signal(ctx, namespace, pod, container, process, syscall.SIGKILL)
}

// Signal sends a signal that ends it to a process of a pod, from the pod's node, and waits until its container was started
// again. namespace is where the pod that sends the signal may run.
func (s *System) Signal(ctx context.Context, namespace string, pod corev1.Pod, container, process string, signal syscall.Signal) error {
	var before int32 = -1
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == container {
			before = c.RestartCount
		}
	}
	root, privileged := int64(0), true
	hand := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "signal-", Namespace: namespace},
		Spec: corev1.PodSpec{
			NodeName: pod.Spec.NodeName, HostPID: true, RestartPolicy: corev1.RestartPolicyNever,
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{
				Name: "signal", Image: s.WorkloadImage, ImagePullPolicy: corev1.PullIfNotPresent,
				Args:            []string{"signal", "-pod", string(pod.UID), "-comm", process, "-signal", strconv.Itoa(int(signal))},
				SecurityContext: &corev1.SecurityContext{Privileged: &privileged, RunAsUser: &root},
			}},
		},
	}
	if err := s.Create(ctx, hand); err != nil {
		return fmt.Errorf("%v to %s in %s: %w", signal, process, pod.Name, err)
	}
	err := Await(ctx, s, hand, "done", func(p *corev1.Pod) string {
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			return "phase " + string(p.Status.Phase)
		}
		return ""
	})
	if err == nil && hand.Status.Phase == corev1.PodFailed {
		err = errors.New("it was not sent; see the log of pod " + hand.Name)
	}
	if err != nil {
		return fmt.Errorf("%v to %s in %s: %w", signal, process, pod.Name, err)
	}
	return Await(ctx, s, pod.DeepCopy(), fmt.Sprintf("restarted after %v", signal), func(p *corev1.Pod) string {
		for _, c := range p.Status.ContainerStatuses {
			if c.Name == container && c.RestartCount > before {
				return ""
			}
		}
		return "not restarted yet"
	})
}

// AwaitDaemons waits until a DaemonSet runs on every node that it is for.
func (s *System) AwaitDaemons(ctx context.Context, namespace, name string) error {
	d := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	return Await(ctx, s, d, "running", func(d *appsv1.DaemonSet) string {
		st := d.Status
		if st.ObservedGeneration < d.Generation || st.DesiredNumberScheduled == 0 || st.NumberAvailable != st.DesiredNumberScheduled {
			return fmt.Sprintf("%d of %d are available", st.NumberAvailable, st.DesiredNumberScheduled)
		}
		return ""
	})
}
