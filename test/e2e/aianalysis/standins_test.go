//go:build e2e

package aianalysis

import (
	"context"
	"fmt"
	"maps"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/test/e2e"
	"kubernaut.ai/kubernaut/test/e2e/faultproxy"
)

// What stands beside the system under test, in a namespace of its own.
const (
	standInNamespace = "kubernaut-e2e"
	proxyName        = "fault-proxy"
	mockName         = "holmesgpt-api-mock"
	registryName     = "registry"

	proxyHAPI, proxyStorage, proxyControl = 8080, 8081, 8090
)

var (
	throughHAPI    = fmt.Sprintf("http://%s.%s:%d", proxyName, standInNamespace, proxyHAPI)
	throughStorage = fmt.Sprintf("http://%s.%s:%d", proxyName, standInNamespace, proxyStorage)
	mockURL        = fmt.Sprintf("http://%s.%s:8080", mockName, standInNamespace)
)

// standIns deploys the fault proxy, a second investigation service that answers from the tables of the
// contract's mock mode, and on each node a registry that has nothing. It does not wait for them.
func standIns(ctx context.Context, s *e2e.System) {
	GinkgoHelper()
	hapi := &appsv1.Deployment{}
	Expect(s.WithWatch.Get(ctx, client.ObjectKey{Namespace: e2e.Namespace, Name: e2e.HAPI}, hapi)).To(Succeed())
	proxy := corev1.Container{
		Name: proxyName, Image: s.WorkloadImage,
		Args: []string{
			"proxy", "-control", fmt.Sprintf(":%d", proxyControl),
			"-route", fmt.Sprintf("hapi=:%d=http://%s.%s:8080", proxyHAPI, e2e.HAPI, e2e.Namespace),
			"-route", fmt.Sprintf("datastorage=:%d=http://%s.%s:8080", proxyStorage, e2e.DataStorage, e2e.Namespace),
		},
		ReadinessProbe: probeOf("/healthz", proxyControl),
	}
	mock := corev1.Container{
		Name: mockName, Image: hapi.Spec.Template.Spec.Containers[0].Image,
		Args:           []string{"-config", "/etc/holmesgpt/config.yaml"},
		ReadinessProbe: probeOf("/ready", 8080),
		VolumeMounts: []corev1.VolumeMount{
			{Name: "config", MountPath: "/etc/holmesgpt"}, {Name: "state", MountPath: "/var/lib/holmesgpt"},
		},
	}
	withVolumes := deployment(standInNamespace, mockName, 1, mock)
	withVolumes.Spec.Template.Spec.Volumes = []corev1.Volume{
		{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: mockName}}}},
		{Name: "state", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
	config := fmt.Sprintf("mock: true\nserver: {port: 8080}\ndata_storage: {url: \"http://%s.%s:8080\"}\n", e2e.DataStorage, e2e.Namespace)
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: standInNamespace, Labels: map[string]string{"kubernaut.ai/scrape": "true"}}},
		deployment(standInNamespace, proxyName, 1, proxy),
		service(standInNamespace, proxyName, map[string]string{"app": proxyName}, proxyHAPI, proxyStorage, proxyControl),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: standInNamespace, Name: mockName}, Data: map[string]string{"config.yaml": config}},
		withVolumes,
		registry(s.WorkloadImage),
		service(standInNamespace, mockName, map[string]string{"app": mockName}, 8080),
		// The shipped policies let the controller speak with the services alone.
		&networkingv1.NetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: e2e.Namespace, Name: "e2e-fault-proxy"},
			Spec: networkingv1.NetworkPolicySpec{
				PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": e2e.Controller}},
				PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
				Egress: []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{{
					NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": standInNamespace}},
				}}}},
			},
		},
	} {
		err := s.Create(ctx, o)
		if apierrors.IsAlreadyExists(err) { // of an earlier run, with other images perhaps
			there := o.DeepCopyObject().(client.Object)
			Expect(s.WithWatch.Get(ctx, client.ObjectKeyFromObject(o), there)).To(Succeed())
			o.SetResourceVersion(there.GetResourceVersion())
			err = s.Update(ctx, o)
		}
		Expect(err).NotTo(HaveOccurred(), "%T %s", o, o.GetName())
	}
}

// registry listens on each node's loopback interface, where containerd speaks plain HTTP.
func registry(image string) *appsv1.DaemonSet {
	labels := map[string]string{"app": registryName}
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: standInNamespace, Name: registryName},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{HostNetwork: true, Containers: []corev1.Container{{
					Name: registryName, Image: image, Args: []string{"registry", "-listen", "127.0.0.1:5000"},
				}}},
			},
		},
	}
}

// standIn waits for a stand-in.
func standIn(ctx context.Context, name string) {
	GinkgoHelper()
	Expect(sys.AwaitRollout(ctx, standInNamespace, name)).To(Succeed())
}

// proxyClient returns the client of the fault proxy.
func proxyClient(ctx context.Context) *faultproxy.Client {
	GinkgoHelper()
	standIn(ctx, proxyName)
	return faultproxy.NewClient(sys.Within(standInNamespace, "services", proxyName, proxyControl))
}

func probeOf(path string, port int) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt(port)}},
		PeriodSeconds: 1, TimeoutSeconds: 3,
	}
}

// container is one of the workload image.
func container(name string, args ...string) corev1.Container {
	return corev1.Container{Name: name, Image: sys.WorkloadImage, ImagePullPolicy: corev1.PullIfNotPresent, Args: args}
}

// deployment is a Deployment of one container, labelled app=<name>, that starts quickly and ends
// quickly.
func deployment(namespace, name string, replicas int32, c corev1.Container, change ...func(*corev1.PodSpec)) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	spec := corev1.PodSpec{Containers: []corev1.Container{c}, TerminationGracePeriodSeconds: new(int64)}
	*spec.TerminationGracePeriodSeconds = 1
	for _, f := range change {
		f(&spec)
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: maps.Clone(labels)},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: maps.Clone(labels)}, Spec: spec},
		},
	}
}

// service is a Service with the given ports, each to the same target port.
func service(namespace, name string, selector map[string]string, ports ...int32) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.ServiceSpec{Selector: selector}}
	for _, p := range ports {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprintf("port-%d", p), Port: p, TargetPort: intstr.FromInt32(p)})
	}
	return s
}
