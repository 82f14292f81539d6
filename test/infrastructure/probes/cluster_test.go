package probes

import (
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientset "k8s.io/client-go/kubernetes/fake"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/preflight"
)

func objects(all ...runtime.Object) func(*testing.T, *Options) {
	return func(_ *testing.T, o *Options) { o.Client = clientset.NewClientset(all...) }
}

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "kubernaut-system", Name: name}
}

func pod(name, image string, change func(*corev1.ContainerStatus)) *corev1.Pod {
	status := corev1.ContainerStatus{Name: "main", Image: image}
	change(&status)
	return &corev1.Pod{ObjectMeta: named(name), Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{status}}}
}

func waiting(reason string) func(*corev1.ContainerStatus) {
	return func(s *corev1.ContainerStatus) { s.State.Waiting = &corev1.ContainerStateWaiting{Reason: reason} }
}

func ended(code int32, reason, message string) func(*corev1.ContainerStatus) {
	return func(s *corev1.ContainerStatus) {
		s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}
	}
}

func event(name, reason, message string) *corev1.Event {
	return &corev1.Event{ObjectMeta: named(name), Reason: reason, Message: message, InvolvedObject: corev1.ObjectReference{Namespace: "kubernaut-system", Name: name}}
}

func TestClusterProbes(t *testing.T) {
	hook := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "hook"}, Webhooks: []admissionv1.ValidatingWebhook{
		{ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "kubernaut-system", Name: "hook"}}},
		{ClientConfig: admissionv1.WebhookClientConfig{}},
	}}
	endpoints := func(ready bool) *discoveryv1.EndpointSlice {
		meta := named("hook-1")
		meta.Labels = map[string]string{discoveryv1.LabelServiceName: "hook"}
		return &discoveryv1.EndpointSlice{ObjectMeta: meta, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}}}
	}
	rendered := func(names ...string) func(*testing.T, *Options) {
		return func(t *testing.T, o *Options) {
			objects(event("controller", "FailedMount", `MountVolume.SetUp failed for volume "config" : configmap "aianalysis-config" not found`), event("x", "Scheduled", "fine"))(t, o)
			o.Rendered = func(kind, namespace, name string) bool {
				return slices.Contains(names, kind+"/"+namespace+"/"+name)
			}
		}
	}
	list := func(all ...runtime.Object) func(*testing.T, *Options) {
		return func(t *testing.T, o *Options) {
			objects(all...)(t, o)
			o.Images = func() []string {
				return []string{"localhost/kubernaut-datastorage:0123456789ab", "localhost/kubernaut-aianalysis:0123456789ab"}
			}
		}
	}
	nodes := func(images string) fake {
		return fake{containers: []engine.Container{node("worker")}, exec: map[string]string{aCluster + "-worker": images}}
	}
	const both = "localhost/kubernaut-datastorage:0123456789ab\nlocalhost/kubernaut-aianalysis:0123456789ab\nsha256:1\n"
	for _, r := range []row{
		{name: "no endpoints yet", probe: "webhook", change: objects(hook), want: "absent", evidence: "kubernaut-system/hook"},
		{name: "no endpoint is ready", probe: "webhook", change: objects(hook, endpoints(false)), want: "absent"},
		{name: "an endpoint is ready", probe: "webhook", change: objects(hook, endpoints(true)), want: "present"},
		{name: "no webhook", probe: "webhook", change: objects(), want: preflight.Unknown},

		{name: "a manifest has it", probe: "references", change: rendered("ConfigMap/kubernaut-system/aianalysis-config"), want: "rendered", evidence: "ConfigMap aianalysis-config"},
		{name: "no manifest has it", probe: "references", change: rendered("Secret/kubernaut-system/aianalysis-config"), want: "missing", evidence: "which no manifest has"},
		{name: "the manifests are not known", probe: "references", change: objects(), want: preflight.Unknown},

		{name: "a container exited", probe: "last-termination", change: objects(pod("a", "i", ended(1, "Error", ""))), want: "exited", evidence: "exit code 1"},
		{name: "a container ran out of memory", probe: "last-termination", change: objects(pod("a", "i", ended(1, "Error", "")), pod("b", "i", ended(137, "OOMKilled", ""))), want: "oom", evidence: "OOMKilled"},
		{name: "a container of another architecture", probe: "last-termination", change: objects(pod("a", "i", ended(255, "Error", "exec /app: exec format error"))), want: "arch", evidence: "exec format error"},
		{name: "nothing ended", probe: "last-termination", change: objects(pod("a", "i", ended(0, "Completed", ""))), want: preflight.Unknown},

		{name: "the image was lost", probe: "image-on-node", fake: nodes("localhost/kubernaut-aianalysis:0123456789ab\n"), change: list(pod("a", "localhost/kubernaut-datastorage:0123456789ab", waiting("ErrImageNeverPull"))), want: "lost", evidence: "is not on " + aCluster + "-worker"},
		{name: "the image was never listed", probe: "image-on-node", fake: nodes(both), change: list(pod("a", "localhost/kubernaut-datastorage:latest", waiting("ImagePullBackOff"))), want: "unlisted", evidence: "datastorage:latest"},
		{name: "the image is there under another name", probe: "image-on-node", fake: nodes("docker.io/library/kubernaut-datastorage:0123456789ab\n"), change: list(pod("a", "kubernaut-datastorage:0123456789ab", waiting("ErrImageNeverPull"))), want: "present"},
		{name: "nobody waits and all is there", probe: "image-on-node", fake: nodes(both), change: list(pod("a", "i", waiting("ContainerCreating"))), want: "present"},
		{name: "nobody waits and one was lost", probe: "image-on-node", fake: nodes("localhost/kubernaut-aianalysis:0123456789ab\n"), change: list(), want: "lost"},
		{name: "the load list is not known", probe: "image-on-node", fake: nodes(both), change: objects(), want: preflight.Unknown},

		{name: "nobody may write counters", probe: "counters", fake: nodes("755 0 /coverdata\n"), change: counters(), want: "denied", evidence: "755"},
		{name: "the process was killed", probe: "counters", fake: nodes("777 0 /coverdata\n"), change: counters(event("controller", "ExceededGracePeriod", "Container runtime did not kill the pod within specified grace period.")), want: "killed"},
		{name: "counters are a riddle", probe: "counters", fake: nodes("1777 0 /coverdata\n"), change: counters(), want: preflight.Unknown},
	} {
		t.Run(r.name, r.run)
	}
	t.Run("no cluster", func(t *testing.T) {
		for _, probe := range []string{"webhook", "last-termination"} {
			row{probe: probe, want: preflight.Unknown, evidence: "cannot be asked", change: func(t *testing.T, o *Options) { o.Host.Kubeconfig = t.TempDir() + "/none" }}.run(t)
		}
	})
}

func counters(all ...runtime.Object) func(*testing.T, *Options) {
	return func(t *testing.T, o *Options) {
		objects(all...)(t, o)
		o.Counters = "/coverdata"
	}
}
