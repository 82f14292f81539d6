package observe

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What a Live reads. Secrets are missing on purpose: without the permission their absence is a gap.
//
// +kubebuilder:rbac:groups="",resources=configmaps;events;limitranges;namespaces;nodes;persistentvolumeclaims;persistentvolumes;pods;replicationcontrollers;resourcequotas;serviceaccounts;services,verbs=get;list
// +kubebuilder:rbac:groups="",resources=pods/log,verbs=get
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=mutatingwebhookconfigurations;validatingadmissionpolicies;validatingadmissionpolicybindings;validatingwebhookconfigurations,verbs=get;list
// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,verbs=get;list
// +kubebuilder:rbac:groups=apiregistration.k8s.io,resources=apiservices,verbs=get;list
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions;daemonsets;deployments;replicasets;statefulsets,verbs=get;list
// +kubebuilder:rbac:groups=autoscaling,resources=horizontalpodautoscalers,verbs=get;list
// +kubebuilder:rbac:groups=batch,resources=cronjobs;jobs,verbs=get;list
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=kube-node-lease,resources=leases,verbs=get;list
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=kube-system,resources=leases,verbs=get;list
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=get;list
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gatewayclasses;gateways;grpcroutes;httproutes,verbs=get;list
// +kubebuilder:rbac:groups=metrics.k8s.io,resources=nodes;pods,verbs=get;list
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingressclasses;ingresses;networkpolicies,verbs=get;list
// +kubebuilder:rbac:groups=node.k8s.io,resources=runtimeclasses,verbs=get;list
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=clusterrolebindings;clusterroles;rolebindings;roles,verbs=get;list
// +kubebuilder:rbac:groups=scheduling.k8s.io,resources=priorityclasses,verbs=get;list
// +kubebuilder:rbac:groups=storage.k8s.io,resources=csidrivers;csinodes;storageclasses;volumeattachments,verbs=get;list

// kind is a kind of the API server and how it is read.
type kind struct {
	name       string
	resource   schema.GroupVersionResource
	namespaced bool
	trait
}

// trait says what is particular about reading a kind.
type trait int

const (
	// metadataOnly kinds are read without their contents.
	metadataOnly trait = 1 << iota
	// whole kinds are few in any cluster: one list of them is cheaper than getting some by name, and tells what else there is.
	whole
	// optional kinds are served by some clusters only. Where they are not served there are none, and that is no gap.
	optional
	// busy kinds are written by controllers all the time: who wrote which field is of no use and much text.
	busy
	// elsewhere kinds are read when a rule asks for them, not because they are in the incident's namespace.
	elsewhere
)

func (k kind) is(t trait) bool { return k.trait&t != 0 }

func (k kind) apiVersion() string { return k.resource.GroupVersion().String() }

func gvr(group, version, resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
}

// builtins are the kinds that are read without asking the API server what it serves.
var builtins = []kind{
	{"Pod", gvr("", "v1", "pods"), true, busy},
	{"Service", gvr("", "v1", "services"), true, 0},
	{"PersistentVolumeClaim", gvr("", "v1", "persistentvolumeclaims"), true, 0},
	{"ResourceQuota", gvr("", "v1", "resourcequotas"), true, whole},
	{"LimitRange", gvr("", "v1", "limitranges"), true, whole},
	{"ServiceAccount", gvr("", "v1", "serviceaccounts"), true, 0},
	{"ConfigMap", gvr("", "v1", "configmaps"), true, metadataOnly},
	{"Secret", gvr("", "v1", "secrets"), true, metadataOnly},
	{"Deployment", gvr("apps", "v1", "deployments"), true, 0},
	{"ReplicaSet", gvr("apps", "v1", "replicasets"), true, busy},
	{"StatefulSet", gvr("apps", "v1", "statefulsets"), true, 0},
	{"DaemonSet", gvr("apps", "v1", "daemonsets"), true, 0},
	{"ControllerRevision", gvr("apps", "v1", "controllerrevisions"), true, busy},
	{"ReplicationController", gvr("", "v1", "replicationcontrollers"), true, elsewhere},
	{"Job", gvr("batch", "v1", "jobs"), true, 0},
	{"CronJob", gvr("batch", "v1", "cronjobs"), true, 0},
	{"EndpointSlice", gvr("discovery.k8s.io", "v1", "endpointslices"), true, busy},
	{"HorizontalPodAutoscaler", gvr("autoscaling", "v2", "horizontalpodautoscalers"), true, 0},
	{"PodDisruptionBudget", gvr("policy", "v1", "poddisruptionbudgets"), true, 0},
	{"Ingress", gvr("networking.k8s.io", "v1", "ingresses"), true, 0},
	{"NetworkPolicy", gvr("networking.k8s.io", "v1", "networkpolicies"), true, 0},
	{"Gateway", gvr("gateway.networking.k8s.io", "v1", "gateways"), true, optional},
	{"HTTPRoute", gvr("gateway.networking.k8s.io", "v1", "httproutes"), true, optional},
	{"GRPCRoute", gvr("gateway.networking.k8s.io", "v1", "grpcroutes"), true, optional},
	{"Role", gvr("rbac.authorization.k8s.io", "v1", "roles"), true, whole | elsewhere},
	{"RoleBinding", gvr("rbac.authorization.k8s.io", "v1", "rolebindings"), true, whole | elsewhere},
	{"Lease", gvr("coordination.k8s.io", "v1", "leases"), true, busy | elsewhere},
	{"PodMetrics", gvr("metrics.k8s.io", "v1beta1", "pods"), true, busy | elsewhere},

	{"Namespace", gvr("", "v1", "namespaces"), false, 0},
	{"Node", gvr("", "v1", "nodes"), false, busy},
	{"NodeMetrics", gvr("metrics.k8s.io", "v1beta1", "nodes"), false, busy | elsewhere},
	{"PersistentVolume", gvr("", "v1", "persistentvolumes"), false, 0},
	{"StorageClass", gvr("storage.k8s.io", "v1", "storageclasses"), false, whole},
	{"VolumeAttachment", gvr("storage.k8s.io", "v1", "volumeattachments"), false, 0},
	{"CSIDriver", gvr("storage.k8s.io", "v1", "csidrivers"), false, whole},
	{"CSINode", gvr("storage.k8s.io", "v1", "csinodes"), false, busy | elsewhere},
	{"IngressClass", gvr("networking.k8s.io", "v1", "ingressclasses"), false, whole},
	{"GatewayClass", gvr("gateway.networking.k8s.io", "v1", "gatewayclasses"), false, whole | optional},
	{"PriorityClass", gvr("scheduling.k8s.io", "v1", "priorityclasses"), false, whole},
	{"RuntimeClass", gvr("node.k8s.io", "v1", "runtimeclasses"), false, whole},
	{"ClusterRole", gvr("rbac.authorization.k8s.io", "v1", "clusterroles"), false, whole | elsewhere},
	{"ClusterRoleBinding", gvr("rbac.authorization.k8s.io", "v1", "clusterrolebindings"), false, whole | elsewhere},
	{"MutatingWebhookConfiguration", gvr("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"), false, whole},
	{"ValidatingWebhookConfiguration", gvr("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"), false, whole},
	{"ValidatingAdmissionPolicy", gvr("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"), false, whole | optional},
	{"ValidatingAdmissionPolicyBinding", gvr("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings"), false, whole | optional},
	{"APIService", gvr("apiregistration.k8s.io", "v1", "apiservices"), false, whole},
	{"CustomResourceDefinition", gvr("apiextensions.k8s.io", "v1", "customresourcedefinitions"), false, 0},
}

// eventKind is not among the builtins: events are kept apart and have bounds of their own.
var eventKind = kind{"Event", gvr("", "v1", "events"), true, busy}

// nodeLeaseNamespace holds the Leases that kubelets renew.
const nodeLeaseNamespace = "kube-node-lease"

// builtin returns how a built-in kind is read; group is "" when the caller does not say it.
func builtin(name string) (kind, bool) {
	if name == eventKind.name {
		return eventKind, true
	}
	for _, k := range builtins {
		if k.name == name {
			return k, true
		}
	}
	return kind{}, false
}

// contents is the kind, read with its contents.
func (k kind) contents() kind {
	k.trait &^= metadataOnly
	return k
}
