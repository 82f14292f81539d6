package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/incident"
)

// town is a cluster in which one Deployment in a hundred crashes: Deployments of five Pods in fifty namespaces, each with
// a Service, a ConfigMap, and a ReplicaSet that it left behind. There are no controllers: what those write is written here.
type town struct {
	pods, nodes, events int
	dir                 string

	client *kubernetes.Clientset
	made   atomic.Int64
}

const (
	namespaces = 50
	replicas   = 5
	makers     = 24 // writers at once
	illEvery   = 100
)

func (t *town) deployments() int { return t.pods / replicas }

func space(i int) string   { return fmt.Sprintf("team-%d", i%namespaces) }
func service(i int) string { return fmt.Sprintf("svc-%d", i) }

// ill is a Deployment that crashes, and well one that does not.
func (t *town) ill() incident.Ref {
	return incident.Ref{Kind: "Deployment", Namespace: space(0), Name: service(0)}
}

func (t *town) well() incident.Ref {
	return incident.Ref{Kind: "Deployment", Namespace: space(1), Name: service(1)}
}

// build makes what is not there yet, and returns how much that was.
func (t *town) build(ctx context.Context, config *rest.Config) (int64, error) {
	var err error
	if t.client, err = kubernetes.NewForConfig(config); err != nil {
		return 0, err
	}
	steps := []struct {
		n    int
		make func(ctx context.Context, i int) error
	}{{namespaces, t.namespace}, {t.nodes, t.node}, {t.deployments(), t.deployment}, {t.events, t.event}}
	for _, s := range steps {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(makers)
		for i := range s.n {
			g.Go(func() error {
				if err := s.make(ctx, i); !apierrors.IsAlreadyExists(err) {
					return err
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return 0, err
		}
	}
	return t.made.Load(), nil
}

func (t *town) count(err error) error {
	if err == nil {
		t.made.Add(1)
	}
	return err
}

func (t *town) namespace(ctx context.Context, i int) error {
	_, err := t.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: space(i)}}, metav1.CreateOptions{})
	if t.count(err) != nil {
		return err
	}
	_, err = t.client.CoreV1().ServiceAccounts(space(i)).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	return t.count(err)
}

func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

func (t *town) node(ctx context.Context, i int) error {
	room := corev1.ResourceList{"cpu": resource.MustParse("16"), "memory": resource.MustParse("64Gi"), "pods": resource.MustParse("110"), "ephemeral-storage": resource.MustParse("200Gi")}
	now := metav1.Now()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName(i), Labels: map[string]string{"kubernetes.io/hostname": nodeName(i), "topology.kubernetes.io/zone": fmt.Sprintf("zone-%d", i%3), "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}},
		Spec:       corev1.NodeSpec{ProviderID: "cloud://" + nodeName(i), PodCIDR: fmt.Sprintf("10.%d.%d.0/24", i/250, i%250)},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room, NodeInfo: corev1.NodeSystemInfo{KubeletVersion: "v1.37.2", OSImage: "Linux", Architecture: "amd64", ContainerRuntimeVersion: "containerd://2.1"},
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("172.16.%d.%d", i/250, i%250)}, {Type: corev1.NodeHostName, Address: nodeName(i)}},
		},
	}
	for c, is := range map[corev1.NodeConditionType]corev1.ConditionStatus{"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"} {
		node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{Type: c, Status: is, Reason: "Kubelet", Message: "as the kubelet says", LastHeartbeatTime: now, LastTransitionTime: now})
	}
	for n := range 30 {
		node.Status.Images = append(node.Status.Images, corev1.ContainerImage{Names: []string{fmt.Sprintf("registry.example.com/app-%d@sha256:%064d", n, n), fmt.Sprintf("registry.example.com/app-%d:v1.%d", n, n)}, SizeBytes: 100 << 20})
	}
	_, err := t.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if t.count(err) != nil {
		return err
	}
	seconds, holder, renewed := int32(40), nodeName(i), metav1.NowMicro()
	_, err = t.client.CoordinationV1().Leases("kube-node-lease").Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName(i)}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &renewed},
	}, metav1.CreateOptions{})
	return t.count(err)
}

func podName(deployment, replica int) string {
	return fmt.Sprintf("%s-6d5f7c9b8d-%05d", service(deployment), replica)
}

func (t *town) event(ctx context.Context, i int) error {
	p := i % t.pods
	name, ns := podName(p/replicas, p%replicas), space(p/replicas)
	at := metav1.NewTime(time.Now().Add(-time.Duration(i%50) * time.Minute))
	what := []struct{ kind, reason, message string }{
		{"Normal", "Scheduled", "Successfully assigned " + ns + "/" + name + " to " + nodeName(p%t.nodes)},
		{"Normal", "Pulled", "Container image \"registry.example.com/shop/" + service(p/replicas) + ":v1.4.2\" already present on machine"},
		{"Normal", "Started", "Container started"},
		{"Warning", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"},
	}[i/t.pods%4]
	_, err := t.client.CoreV1().Events(ns).Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: fmt.Sprintf("%s.%x", name, i)},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: ns, Name: name, FieldPath: "spec.containers{server}"},
		Type:           what.kind, Reason: what.reason, Message: what.message, Count: int32(1 + i%7), FirstTimestamp: at, LastTimestamp: at,
		Source: corev1.EventSource{Component: "kubelet", Host: nodeName(p % t.nodes)},
	}, metav1.CreateOptions{})
	return t.count(err)
}

func (t *town) deployment(ctx context.Context, i int) error {
	ns, name, labels := space(i), service(i), map[string]string{"app": service(i), "app.kubernetes.io/part-of": "shop", "team": space(i)}
	template := t.template(i, labels)
	n, ready := int32(replicas), int32(replicas)
	if i%illEvery == 0 {
		ready = 0
	}
	meta := metav1.ObjectMeta{Name: name, Labels: labels}
	d, err := t.client.AppsV1().Deployments(ns).Create(ctx, &appsv1.Deployment{
		ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Replicas: &n, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}, Template: template},
	}, metav1.CreateOptions{})
	if t.count(err) != nil {
		return err
	}
	available := appsv1.DeploymentCondition{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}
	if ready == 0 {
		available.Status, available.Reason = corev1.ConditionFalse, "MinimumReplicasUnavailable"
	}
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: ready, AvailableReplicas: ready, UnavailableReplicas: n - ready, Conditions: []appsv1.DeploymentCondition{available}}
	if _, err := t.client.AppsV1().Deployments(ns).UpdateStatus(ctx, d, metav1.UpdateOptions{}); t.count(err) != nil {
		return err
	}
	var current *appsv1.ReplicaSet
	for revision, hash := range []string{"59c7f4d6b5", "6d5f7c9b8d"} {
		rs := &appsv1.ReplicaSet{ObjectMeta: *meta.DeepCopy(), Spec: appsv1.ReplicaSetSpec{Replicas: &n, Selector: d.Spec.Selector, Template: *template.DeepCopy()}}
		rs.Name += "-" + hash
		rs.Annotations = map[string]string{"deployment.kubernetes.io/revision": fmt.Sprint(revision + 1)}
		rs.OwnerReferences = owner("Deployment", d.Name, d.UID)
		if revision == 0 {
			rs.Spec.Replicas = new(int32)
			rs.Spec.Template.Spec.Containers[0].Image += "-previous"
		}
		if current, err = t.client.AppsV1().ReplicaSets(ns).Create(ctx, rs, metav1.CreateOptions{}); t.count(err) != nil {
			return err
		}
	}
	current.Status = appsv1.ReplicaSetStatus{Replicas: n, ReadyReplicas: ready, AvailableReplicas: ready, FullyLabeledReplicas: n, ObservedGeneration: 1}
	if _, err := t.client.AppsV1().ReplicaSets(ns).UpdateStatus(ctx, current, metav1.UpdateOptions{}); t.count(err) != nil {
		return err
	}
	if err := t.front(ctx, i, labels); err != nil {
		return err
	}
	for r := range replicas {
		if err := t.pod(ctx, i, r, template, owner("ReplicaSet", current.Name, current.UID)); err != nil {
			return err
		}
	}
	return nil
}

func owner(kind, name string, uid types.UID) []metav1.OwnerReference {
	yes := true
	return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: name, UID: uid, Controller: &yes, BlockOwnerDeletion: &yes}}
}

func (t *town) template(i int, labels map[string]string) corev1.PodTemplateSpec {
	env := []corev1.EnvVar{{Name: "BACKEND", Value: "http://" + service((i+namespaces)%t.deployments()) + ":80"}, {Name: "LOG_LEVEL", Value: "info"}, {Name: "DB_PASSWORD", Value: fmt.Sprintf("secret-of-%d", i)}}
	for n := range 12 {
		env = append(env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", n), Value: fmt.Sprintf("value-%d", n)})
	}
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromString("http")}}, PeriodSeconds: 10}
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: "server", Image: "registry.example.com/shop/" + service(i) + ":v1.4.2", Env: env, ReadinessProbe: probe, LivenessProbe: probe.DeepCopy(),
				Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}, VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/config"}},
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("128Mi")}, Limits: corev1.ResourceList{"memory": resource.MustParse("256Mi")}},
			}},
			Volumes: []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: service(i)}}}}},
		},
	}
}

// front makes what leads to a Deployment and what it is configured by.
func (t *town) front(ctx context.Context, i int, labels map[string]string) error {
	ns, name, port, protocol, portName := space(i), service(i), int32(8080), corev1.ProtocolTCP, "http"
	_, err := t.client.CoreV1().ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Data: map[string]string{"app.yaml": "level: info\n"}}, metav1.CreateOptions{})
	if t.count(err) != nil {
		return err
	}
	_, err = t.client.CoreV1().Services(ns).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}},
	}, metav1.CreateOptions{})
	if t.count(err) != nil {
		return err
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-x7x9z", Labels: map[string]string{discoveryv1.LabelServiceName: name}}, AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{{Name: &portName, Port: &port, Protocol: &protocol}},
	}
	ready := i%illEvery != 0
	for r := range replicas {
		node := nodeName((i*replicas + r) % t.nodes)
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{address(i, r)}, Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready}, NodeName: &node,
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: ns, Name: podName(i, r)},
		})
	}
	_, err = t.client.DiscoveryV1().EndpointSlices(ns).Create(ctx, slice, metav1.CreateOptions{})
	return t.count(err)
}

func address(deployment, replica int) string {
	return fmt.Sprintf("10.%d.%d.%d", 100+deployment/250, deployment%250, 1+replica)
}

func (t *town) pod(ctx context.Context, i, r int, template corev1.PodTemplateSpec, owners []metav1.OwnerReference) error {
	pods := t.client.CoreV1().Pods(space(i))
	pod := &corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: *template.Spec.DeepCopy()}
	pod.Name, pod.OwnerReferences = podName(i, r), owners
	pod.Spec.NodeName = nodeName((i*replicas + r) % t.nodes)
	live, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if t.count(err) != nil {
		return err
	}
	is, now := corev1.ConditionTrue, metav1.Now()
	c := corev1.ContainerStatus{
		Name: "server", Image: pod.Spec.Containers[0].Image, ImageID: fmt.Sprintf("registry.example.com/shop/%s@sha256:%064d", service(i), i), ContainerID: fmt.Sprintf("containerd://%064d", i*replicas+r),
		Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
	}
	if i%illEvery == 0 {
		is, c.Ready, c.RestartCount = corev1.ConditionFalse, false, 6
		c.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 2m40s restarting failed container"}}
		c.LastTerminationState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled", StartedAt: now, FinishedAt: now}}
	}
	live.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, StartTime: &now, HostIP: "172.16.0.1", PodIP: address(i, r), PodIPs: []corev1.PodIP{{IP: address(i, r)}}, QOSClass: corev1.PodQOSBurstable, ContainerStatuses: []corev1.ContainerStatus{c},
		Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now}, {Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now}, {Type: corev1.PodReady, Status: is, LastTransitionTime: now}, {Type: corev1.ContainersReady, Status: is, LastTransitionTime: now}},
	}
	_, err = pods.UpdateStatus(ctx, live, metav1.UpdateOptions{})
	return t.count(err)
}
