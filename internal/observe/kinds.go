package observe

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What a Live reads. Secrets are missing on purpose: without the permission their absence is a gap.
//
// +kubebuilder:rbac:groups="",resources=configmaps;events;limitranges;namespaces;nodes;persistentvolumeclaims;persistentvolumes;pods;resourcequotas;serviceaccounts;services,verbs=get;list
// +kubebuilder:rbac:groups="",resources=pods/log,verbs=get
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions;daemonsets;deployments;replicasets;statefulsets,verbs=get;list
// +kubebuilder:rbac:groups=autoscaling,resources=horizontalpodautoscalers,verbs=get;list
// +kubebuilder:rbac:groups=batch,resources=cronjobs;jobs,verbs=get;list
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=kube-node-lease,resources=leases,verbs=get;list
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=get;list
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingresses;networkpolicies,verbs=get;list
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list
// +kubebuilder:rbac:groups=storage.k8s.io,resources=storageclasses,verbs=get;list

// kind is a built-in kind and how it is read.
type kind struct {
	name       string
	resource   schema.GroupVersionResource
	namespaced bool
	// metadataOnly kinds are listed without their contents.
	metadataOnly bool
}

func (k kind) apiVersion() string { return k.resource.GroupVersion().String() }

func gvr(group, version, resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
}

// namespaceKinds are listed in the incident's namespace.
var namespaceKinds = []kind{
	{"Pod", gvr("", "v1", "pods"), true, false},
	{"Service", gvr("", "v1", "services"), true, false},
	{"PersistentVolumeClaim", gvr("", "v1", "persistentvolumeclaims"), true, false},
	{"ResourceQuota", gvr("", "v1", "resourcequotas"), true, false},
	{"LimitRange", gvr("", "v1", "limitranges"), true, false},
	{"ServiceAccount", gvr("", "v1", "serviceaccounts"), true, false},
	{"ConfigMap", gvr("", "v1", "configmaps"), true, true},
	{"Secret", gvr("", "v1", "secrets"), true, true},
	{"Deployment", gvr("apps", "v1", "deployments"), true, false},
	{"ReplicaSet", gvr("apps", "v1", "replicasets"), true, false},
	{"StatefulSet", gvr("apps", "v1", "statefulsets"), true, false},
	{"DaemonSet", gvr("apps", "v1", "daemonsets"), true, false},
	{"ControllerRevision", gvr("apps", "v1", "controllerrevisions"), true, false},
	{"Job", gvr("batch", "v1", "jobs"), true, false},
	{"CronJob", gvr("batch", "v1", "cronjobs"), true, false},
	{"EndpointSlice", gvr("discovery.k8s.io", "v1", "endpointslices"), true, false},
	{"HorizontalPodAutoscaler", gvr("autoscaling", "v2", "horizontalpodautoscalers"), true, false},
	{"PodDisruptionBudget", gvr("policy", "v1", "poddisruptionbudgets"), true, false},
	{"Ingress", gvr("networking.k8s.io", "v1", "ingresses"), true, false},
	{"NetworkPolicy", gvr("networking.k8s.io", "v1", "networkpolicies"), true, false},
}

// clusterKinds are listed whole.
var clusterKinds = []kind{
	{"Node", gvr("", "v1", "nodes"), false, false},
	{"StorageClass", gvr("storage.k8s.io", "v1", "storageclasses"), false, false},
	{"PersistentVolume", gvr("", "v1", "persistentvolumes"), false, false},
}

var (
	podKind       = namespaceKinds[0]
	namespaceKind = kind{"Namespace", gvr("", "v1", "namespaces"), false, false}
	eventKind     = kind{"Event", gvr("", "v1", "events"), true, false}
	leaseKind     = kind{"Lease", gvr("coordination.k8s.io", "v1", "leases"), true, false}
	configMapKind = kind{"ConfigMap", gvr("", "v1", "configmaps"), true, false}
)

// nodeLeaseNamespace holds the Leases that kubelets renew.
const nodeLeaseNamespace = "kube-node-lease"

// builtin returns how a built-in kind is read.
func builtin(name string) (kind, bool) {
	for _, group := range [][]kind{namespaceKinds, clusterKinds, {namespaceKind, leaseKind}} {
		for _, k := range group {
			if k.name == name {
				return k, true
			}
		}
	}
	return kind{}, false
}
