package stage

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	leaseEvery     = 10 * time.Second // as the kubelet does
	leaseNamespace = "kube-node-lease"
)

// addNode registers a node as its kubelet does: the Node, its status, its Lease.
func (c *Cluster) addNode(ctx context.Context, n Node) error {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: map[string]string{
			corev1.LabelHostname: n.Name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		}},
		Spec: corev1.NodeSpec{Taints: n.Taints, Unschedulable: n.Unschedulable},
	}
	maps.Copy(node.Labels, n.Labels)
	cpu, err := resource.ParseQuantity(cmp.Or(n.CPU, "4"))
	if err != nil {
		return fmt.Errorf("cpu: %w", err)
	}
	memory, err := resource.ParseQuantity(cmp.Or(n.Memory, "8Gi"))
	if err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	if err := c.client.Create(ctx, node, client.FieldOwner("kubelet")); err != nil {
		return err
	}
	now := c.clock()
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:    cpu,
		corev1.ResourceMemory: memory,
		corev1.ResourcePods:   resource.MustParse("110"),
	}
	before := node.DeepCopy()
	node.Status = corev1.NodeStatus{
		Capacity:        capacity,
		Allocatable:     capacity,
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: c.kubelet.port}},
		NodeInfo: corev1.NodeSystemInfo{
			KubeletVersion: "v1.34.0", ContainerRuntimeVersion: "containerd://2.1.4", OperatingSystem: "linux", Architecture: "amd64",
		},
		Conditions: []corev1.NodeCondition{
			nodeCondition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available", now),
			nodeCondition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure", now),
			nodeCondition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available", now),
			nodeCondition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status", now),
		},
	}
	if err := c.client.Status().Patch(ctx, node, client.MergeFrom(before), client.FieldOwner("kubelet")); err != nil {
		return err
	}
	return c.client.Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: leaseNamespace, Name: n.Name,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: node.UID}},
		},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: new(n.Name), LeaseDurationSeconds: new(int32(40)), RenewTime: &metav1.MicroTime{Time: now},
		},
	}, client.FieldOwner("kubelet"))
}

func nodeCondition(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string, now time.Time) corev1.NodeCondition {
	t := metav1.Time{Time: now}
	return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, Message: message, LastHeartbeatTime: t, LastTransitionTime: t}
}

// loseNode makes a node look as the node controller leaves one that stopped reporting, after a grace
// of 50 seconds: an old Lease, unknown conditions, taints, unready Pods.
func (c *Cluster) loseNode(ctx context.Context, l LoseNode) error {
	c.kubelet.lose(l.Name)
	now := c.clock()
	seen := now.Add(-l.LastSeen.Duration)
	var lease coordinationv1.Lease
	if err := c.client.Get(ctx, client.ObjectKey{Namespace: leaseNamespace, Name: l.Name}, &lease); err != nil {
		return err
	}
	lease.Spec.RenewTime = &metav1.MicroTime{Time: seen}
	if err := c.client.Update(ctx, &lease, client.FieldOwner("kubelet")); err != nil {
		return err
	}
	var node corev1.Node
	if err := c.client.Get(ctx, client.ObjectKey{Name: l.Name}, &node); err != nil {
		return err
	}
	before := node.DeepCopy()
	const grace = 50 * time.Second // until the node controller gives up
	for i := range node.Status.Conditions {
		cond := &node.Status.Conditions[i]
		cond.Status, cond.Reason = corev1.ConditionUnknown, "NodeStatusUnknown"
		cond.Message = "Kubelet stopped posting node status."
		cond.LastHeartbeatTime = metav1.Time{Time: seen}
		cond.LastTransitionTime = metav1.Time{Time: seen.Add(grace)}
	}
	if err := c.client.Status().Patch(ctx, &node, client.MergeFrom(before), client.FieldOwner("kube-controller-manager")); err != nil {
		return err
	}
	before = node.DeepCopy()
	gone := metav1.Time{Time: seen.Add(grace)}
	for _, effect := range []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute} {
		node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: effect, TimeAdded: &gone})
	}
	if err := c.client.Patch(ctx, &node, client.MergeFrom(before), client.FieldOwner("kube-controller-manager")); err != nil {
		return err
	}
	return c.unreadyPods(ctx, l.Name)
}

// unreadyPods does what the node controller does to the Pods of a node that it has lost.
func (c *Cluster) unreadyPods(ctx context.Context, node string) error {
	var pods corev1.PodList
	if err := c.client.List(ctx, &pods, client.MatchingFields{"spec.nodeName": node}); err != nil {
		return err
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		before := pod.DeepCopy()
		setPodCondition(&pod.Status, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse}, c.clock())
		if err := c.client.Status().Patch(ctx, pod, client.MergeFrom(before), client.FieldOwner("kube-controller-manager")); err != nil {
			return err
		}
		now := metav1.Time{Time: c.clock()}
		err := c.createOnce(ctx, &corev1.Event{
			ObjectMeta:          metav1.ObjectMeta{Namespace: pod.Namespace, Name: eventName(pod.Name, "NodeNotReady", "")},
			InvolvedObject:      podReference(pod),
			Type:                corev1.EventTypeWarning,
			Reason:              "NodeNotReady",
			Message:             "Node is not ready",
			Count:               1,
			FirstTimestamp:      now,
			LastTimestamp:       now,
			Source:              corev1.EventSource{Component: "node-controller"},
			ReportingController: "node-controller",
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) renewLeases(ctx context.Context) error {
	var leases coordinationv1.LeaseList
	if err := c.client.List(ctx, &leases, client.InNamespace(leaseNamespace)); err != nil {
		return err
	}
	for i := range leases.Items {
		l := &leases.Items[i]
		if c.kubelet.isLost(l.Name) {
			continue
		}
		l.Spec.RenewTime = &metav1.MicroTime{Time: c.clock()}
		if err := c.client.Update(ctx, l, client.FieldOwner("kubelet")); err != nil && !apierrors.IsConflict(err) {
			return err
		}
	}
	return nil
}

// bind does what the scheduler does when it has found a node.
func (c *Cluster) bind(ctx context.Context, pod *corev1.Pod, node string) error {
	b := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}
	if err := c.client.SubResource("binding").Create(ctx, pod, b); err != nil {
		return err
	}
	if err := c.client.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
		return err
	}
	return c.schedulerEvent(ctx, pod, corev1.EventTypeNormal, "Scheduled", "Binding",
		fmt.Sprintf("Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, node))
}

// refuse does what the scheduler does when it has found none.
func (c *Cluster) refuse(ctx context.Context, pod *corev1.Pod, message string) error {
	before := pod.DeepCopy()
	setPodCondition(&pod.Status, corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message,
	}, c.clock())
	if err := c.client.Status().Patch(ctx, pod, client.MergeFrom(before), client.FieldOwner("kube-scheduler")); err != nil {
		return err
	}
	return c.schedulerEvent(ctx, pod, corev1.EventTypeWarning, "FailedScheduling", "Scheduling", message)
}

// schedulerEvent writes an event as the scheduler's recorder does, which fills the fields of the
// newer API and leaves those of the older empty.
func (c *Cluster) schedulerEvent(ctx context.Context, pod *corev1.Pod, kind, reason, action, message string) error {
	return c.createOnce(ctx, &corev1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: pod.Namespace, Name: eventName(pod.Name, reason, "")},
		InvolvedObject:      podReference(pod),
		Type:                kind,
		Reason:              reason,
		Message:             message,
		EventTime:           metav1.MicroTime{Time: c.clock()},
		Action:              action,
		ReportingController: "default-scheduler",
		ReportingInstance:   "default-scheduler-control-plane",
	})
}
