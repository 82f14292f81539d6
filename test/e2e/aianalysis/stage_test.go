//go:build e2e

package aianalysis

import (
	"context"
	"fmt"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/test/e2e"
)

// registryAddress is where a node finds the registry that has nothing.
const registryAddress = "localhost:5000"

const controlPlaneLabel = "node-role.kubernetes.io/control-plane"

// shop creates the Deployment shop.
func shop(ctx context.Context, namespace string, c corev1.Container, change ...func(*corev1.PodSpec)) {
	GinkgoHelper()
	create(ctx, deployment(namespace, "shop", 1, c, change...))
}

func anyPods(pods []*corev1.Pod) string {
	if len(pods) == 0 {
		return "there are none"
	}
	return ""
}

// awaitPod waits for a Pod of shop of which ok is true.
func awaitPod(ctx context.Context, namespace, what string, ok func(*corev1.Pod) bool) {
	GinkgoHelper()
	_, err := sys.AwaitPods(ctx, namespace, map[string]string{"app": "shop"}, func(pods []*corev1.Pod) string {
		if slices.ContainsFunc(pods, ok) {
			return ""
		}
		return fmt.Sprintf("no Pod is %s; there are %s", what, podStates(pods))
	})
	Expect(err).NotTo(HaveOccurred())
}

func podStates(pods []*corev1.Pod) string {
	text := ""
	for _, p := range pods {
		text += fmt.Sprintf("%s: %s", p.Name, p.Status.Phase)
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			switch {
			case c.State.Waiting != nil:
				text += fmt.Sprintf(", %s waits: %s", c.Name, c.State.Waiting.Reason)
			case c.State.Terminated != nil:
				text += fmt.Sprintf(", %s ended: %s", c.Name, c.State.Terminated.Reason)
			}
		}
		text += "; "
	}
	return text
}

// awaitWaiting waits for a container of shop that waits for one of the reasons.
func awaitWaiting(ctx context.Context, namespace string, reasons ...string) {
	GinkgoHelper()
	awaitPod(ctx, namespace, fmt.Sprint("waiting for ", reasons), func(p *corev1.Pod) bool {
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if w := c.State.Waiting; w != nil && slices.Contains(reasons, w.Reason) {
				return true
			}
		}
		return false
	})
}

// awaitUnscheduled waits for a Pod of shop that the scheduler finds no node for.
func awaitUnscheduled(ctx context.Context, namespace string) {
	GinkgoHelper()
	awaitPod(ctx, namespace, "unschedulable", func(p *corev1.Pod) bool {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
				return true
			}
		}
		return false
	})
}

// awaitEvent waits for an event of a reason about an object of a kind that has repeated for a time.
func awaitEvent(ctx context.Context, namespace, kind, reason string, lasting time.Duration) {
	GinkgoHelper()
	_, err := e2e.AwaitAll(ctx, sys, "event "+reason, func(events []*corev1.Event) string {
		for _, e := range events {
			if e.LastTimestamp.Sub(e.FirstTimestamp.Time) >= lasting {
				return ""
			}
		}
		return fmt.Sprintf("there is none that has lasted for %s, of %d", lasting, len(events))
	}, client.InNamespace(namespace), client.MatchingFields{"involvedObject.kind": kind, "reason": reason})
	Expect(err).NotTo(HaveOccurred())
}

// awaitReplicaFailure waits until the API server has refused the Pods of shop.
func awaitReplicaFailure(ctx context.Context, namespace string) {
	GinkgoHelper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "shop"}}
	Expect(e2e.Await(ctx, sys, d, "refused its Pods", func(d *appsv1.Deployment) string {
		for _, c := range d.Status.Conditions {
			if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
				return ""
			}
		}
		return fmt.Sprintf("its conditions are %v", d.Status.Conditions)
	})).To(Succeed())
}

func cpu(quantity string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(quantity)}
}

// server is a container that works.
func server() corev1.Container {
	c := container("main", "serve")
	c.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
	return c
}

func stageHealthy(ctx context.Context, namespace string) {
	c := server()
	c.ReadinessProbe = probeOf("/healthz", 8080)
	shop(ctx, namespace, c)
	Expect(sys.AwaitRollout(ctx, namespace, "shop")).To(Succeed())
}

func stageCrash(ctx context.Context, namespace string) {
	shop(ctx, namespace, container("main", "crash", "-code", "3", "-message", "panic: the ledger has no page 7"))
	awaitWaiting(ctx, namespace, "CrashLoopBackOff")
}

func stageInitCrash(ctx context.Context, namespace string) {
	shop(ctx, namespace, server(), func(s *corev1.PodSpec) {
		s.InitContainers = []corev1.Container{container("migrate", "crash", "-message", "migration 12 does not apply")}
	})
	awaitWaiting(ctx, namespace, "CrashLoopBackOff")
}

func stageBadRollout(ctx context.Context, namespace string) {
	stageHealthy(ctx, namespace)
	change(ctx, namespace, func(s *corev1.PodSpec) {
		s.Containers[0].Args = []string{"crash", "-message", "flag provided but not defined: -ledger-mode"}
	})
	awaitWaiting(ctx, namespace, "CrashLoopBackOff")
}

// change changes the Pods of shop, and waits for nothing.
func change(ctx context.Context, namespace string, how func(*corev1.PodSpec)) {
	GinkgoHelper()
	d := &appsv1.Deployment{}
	Expect(sys.WithWatch.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "shop"}, d)).To(Succeed())
	before := d.DeepCopy()
	how(&d.Spec.Template.Spec)
	Expect(sys.Patch(ctx, d, client.MergeFrom(before))).To(Succeed())
}

func stageOOM(ctx context.Context, namespace string) {
	c := container("main", "eat-memory", "-mib", "256")
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}
	shop(ctx, namespace, c)
	// Now and then the kubelet misses what killed a container. It is the latest end that counts, and a pause follows it.
	awaitPod(ctx, namespace, "killed for its memory", func(p *corev1.Pod) bool {
		for _, c := range p.Status.ContainerStatuses {
			if t := c.LastTerminationState.Terminated; c.State.Waiting != nil && t != nil && t.Reason == "OOMKilled" {
				return true
			}
		}
		return false
	})
}

// stageImage has a workload that works go over to an image that cannot be had.
func stageImage(image string) func(context.Context, string) {
	return func(ctx context.Context, namespace string) {
		Expect(sys.AwaitDaemons(ctx, standInNamespace, registryName)).To(Succeed())
		stageHealthy(ctx, namespace)
		change(ctx, namespace, func(s *corev1.PodSpec) { s.Containers[0].Image = image })
		awaitWaiting(ctx, namespace, "ErrImagePull", "ImagePullBackOff")
	}
}

func stageTooLarge(ctx context.Context, namespace string) {
	c := server()
	c.Resources.Requests = cpu("100")
	shop(ctx, namespace, c)
	awaitUnscheduled(ctx, namespace)
}

func stageNodeSelector(ctx context.Context, namespace string) {
	shop(ctx, namespace, server(), func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"disk": "nvme"} })
	awaitUnscheduled(ctx, namespace)
}

func stageTaint(ctx context.Context, namespace string) {
	shop(ctx, namespace, server(), func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{controlPlaneLabel: ""} })
	awaitUnscheduled(ctx, namespace)
}

// controlPlane returns the name of a node of the control plane.
func controlPlane(ctx context.Context) string {
	GinkgoHelper()
	var nodes corev1.NodeList
	Expect(sys.List(ctx, &nodes, client.HasLabels{controlPlaneLabel})).To(Succeed())
	Expect(nodes.Items).NotTo(BeEmpty(), "nodes of the control plane")
	return nodes.Items[0].Name
}

func stageCordon(ctx context.Context, namespace string) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: controlPlane(ctx)}}
	cordon := func(ctx context.Context, on bool) {
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"unschedulable":%v}}`, on))
		Expect(sys.Patch(ctx, node, patch)).To(Succeed())
	}
	cordon(ctx, true)
	DeferCleanup(func(ctx context.Context) { cordon(ctx, false) })
	shop(ctx, namespace, server(), func(s *corev1.PodSpec) {
		s.NodeSelector = map[string]string{controlPlaneLabel: ""}
		s.Tolerations = []corev1.Toleration{{Key: controlPlaneLabel, Operator: corev1.TolerationOpExists}}
	})
	awaitUnscheduled(ctx, namespace)
}

func configMap(namespace, name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data}
}

func stageConfigMapRenamed(ctx context.Context, namespace string) {
	create(ctx, configMap(namespace, "shop-settings-v2", map[string]string{"level": "info"}))
	c := server()
	c.EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "shop-settings"}}}}
	shop(ctx, namespace, c)
	awaitWaiting(ctx, namespace, "CreateContainerConfigError")
}

func stageConfigMapVolume(ctx context.Context, namespace string) {
	c := server()
	c.VolumeMounts = []corev1.VolumeMount{{Name: "routes", MountPath: "/etc/routes"}}
	shop(ctx, namespace, c, func(s *corev1.PodSpec) {
		s.Volumes = []corev1.Volume{{Name: "routes", VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "routes"}},
		}}}
	})
	awaitEvent(ctx, namespace, "Pod", "FailedMount", 0)
}

func stageConfigMapKey(ctx context.Context, namespace string) {
	create(ctx, configMap(namespace, "shop-settings", map[string]string{"log-level": "info", "region": "north"}))
	c := server()
	c.Env = []corev1.EnvVar{{Name: "LEVEL", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: "shop-settings"}, Key: "loglevel",
	}}}}
	shop(ctx, namespace, c)
	awaitWaiting(ctx, namespace, "CreateContainerConfigError")
}

func stageSecret(ctx context.Context, namespace string) {
	c := server()
	c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "shop-credentials"}}}}
	shop(ctx, namespace, c)
	awaitWaiting(ctx, namespace, "CreateContainerConfigError")
}

func stageSecretKey(ctx context.Context, namespace string) {
	create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "shop-credentials"}, StringData: map[string]string{"user": "shop"}})
	c := server()
	c.Env = []corev1.EnvVar{{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: "shop-credentials"}, Key: "password",
	}}}}
	shop(ctx, namespace, c)
	awaitWaiting(ctx, namespace, "CreateContainerConfigError")
}

func stageUnhealthy(ctx context.Context, namespace string) {
	c := server()
	c.Args = []string{"serve", "-unhealthy"}
	c.LivenessProbe = probeOf("/healthz", 8080)
	c.LivenessProbe.FailureThreshold = 2
	shop(ctx, namespace, c)
	awaitPod(ctx, namespace, "restarted", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].RestartCount > 0
	})
}

func stageProbePort(ctx context.Context, namespace string) {
	c := server()
	c.ReadinessProbe = probeOf("/healthz", 8081)
	shop(ctx, namespace, c)
	// A container is given the time that its probes allow before it counts as not ready.
	awaitEvent(ctx, namespace, "Pod", "Unhealthy", 15*time.Second)
}

func quota(ctx context.Context, namespace, hard string) {
	GinkgoHelper()
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "team"}, Spec: corev1.ResourceQuotaSpec{
		Hard: corev1.ResourceList{corev1.ResourceRequestsCPU: resource.MustParse(hard)},
	}}
	create(ctx, q)
	Expect(e2e.Await(ctx, sys, q, "in force", func(q *corev1.ResourceQuota) string {
		if len(q.Status.Hard) == 0 {
			return "its status has no hard limits"
		}
		return ""
	})).To(Succeed())
}

func stageQuota(ctx context.Context, namespace string) {
	quota(ctx, namespace, "75m")
	c := server()
	c.Resources.Requests = cpu("50m")
	create(ctx, deployment(namespace, "shop", 2, c))
	awaitReplicaFailure(ctx, namespace)
}

func stageQuotaDemands(ctx context.Context, namespace string) {
	quota(ctx, namespace, "1")
	shop(ctx, namespace, server())
	awaitReplicaFailure(ctx, namespace)
}

func stageClaim(class string) func(context.Context, string) {
	return func(ctx context.Context, namespace string) {
		create(ctx, &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "data"},
			Spec: corev1.PersistentVolumeClaimSpec{
				StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
			},
		})
		stageNoClaim(ctx, namespace)
	}
}

func stageNoClaim(ctx context.Context, namespace string) {
	c := server()
	c.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	shop(ctx, namespace, c, func(s *corev1.PodSpec) {
		s.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
		}}}
	})
	awaitUnscheduled(ctx, namespace)
}

func stageDeadProvisioner(ctx context.Context, namespace string) {
	binding := storagev1.VolumeBindingImmediate
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: namespace}, Provisioner: "e2e.kubernaut.ai/nobody", VolumeBindingMode: &binding}
	create(ctx, class)
	DeferCleanup(func(ctx context.Context) { Expect(sys.Delete(ctx, class)).To(Succeed()) })
	stageClaim(class.Name)(ctx, namespace)
	awaitEvent(ctx, namespace, "PersistentVolumeClaim", "ExternalProvisioning", 0)
}

func stageSelector(ctx context.Context, namespace string) {
	create(ctx, service(namespace, "shop", map[string]string{"app": "shop", "tier": "front"}, 8080))
	c := server()
	c.ReadinessProbe = probeOf("/healthz", 8080)
	d := deployment(namespace, "shop", 1, c)
	d.Spec.Template.Labels["tier"] = "back"
	create(ctx, d)
	Expect(sys.AwaitRollout(ctx, namespace, "shop")).To(Succeed())
}

func stageServicePort(ctx context.Context, namespace string) {
	s := service(namespace, "shop", map[string]string{"app": "shop"}, 80)
	s.Spec.Ports[0].TargetPort = intstr.FromString("web")
	create(ctx, s)
	stageHealthy(ctx, namespace)
}

func stageServiceAccount(ctx context.Context, namespace string) {
	shop(ctx, namespace, server(), func(s *corev1.PodSpec) { s.ServiceAccountName = "shop-runner" })
	awaitReplicaFailure(ctx, namespace)
}

func stagePodSecurity(ctx context.Context, namespace string) {
	shop(ctx, namespace, server())
	awaitReplicaFailure(ctx, namespace)
}

func stageScaledToZero(ctx context.Context, namespace string) {
	create(ctx, deployment(namespace, "shop", 0, server()))
	Expect(sys.AwaitRollout(ctx, namespace, "shop")).To(Succeed())
}
