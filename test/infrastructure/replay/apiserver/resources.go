package apiserver

import (
	"net/http"
	"strings"
)

// resource is one that is served.
type resource struct {
	group, version, plural, kind string
	namespaced                   bool
}

// resources are all.
func resources() []resource {
	return []resource{
		{"", "v1", "nodes", "Node", false},
		{"", "v1", "namespaces", "Namespace", false},
		{"", "v1", "persistentvolumes", "PersistentVolume", false},
		{"", "v1", "pods", "Pod", true},
		{"", "v1", "events", "Event", true},
		{"", "v1", "services", "Service", true},
		{"", "v1", "configmaps", "ConfigMap", true},
		{"", "v1", "secrets", "Secret", true},
		{"", "v1", "serviceaccounts", "ServiceAccount", true},
		{"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true},
		{"apps", "v1", "deployments", "Deployment", true},
		{"apps", "v1", "replicasets", "ReplicaSet", true},
		{"apps", "v1", "statefulsets", "StatefulSet", true},
		{"apps", "v1", "daemonsets", "DaemonSet", true},
		{"batch", "v1", "jobs", "Job", true},
		{"rbac.authorization.k8s.io", "v1", "roles", "Role", true},
		{"rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", true},
		{"rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false},
		{"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false},
		{"networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true},
		{"policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true},
		{"coordination.k8s.io", "v1", "leases", "Lease", true},
		{"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true},
		{"apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false},
		{"admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", false},
		{"admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", false},
	}
}

// prefix is where the resource's paths begin.
func (r resource) prefix() string {
	if r.group == "" {
		return "/api/" + r.version
	}
	return "/apis/" + r.group + "/" + r.version
}

func (r resource) apiVersion() string { return strings.TrimPrefix(r.group+"/"+r.version, "/") }

// path is one of an object, of a sub-resource of one, or of a collection, in one namespace or in all.
type path struct {
	prefix, namespace, plural, name, sub string
}

// object is the path under which an object is kept.
func (p path) object() string { return p.collection() + p.name }

// collection is what the paths of its objects begin with.
func (p path) collection() string {
	if p.namespace == "" {
		return p.prefix + "/" + p.plural + "/"
	}
	return p.prefix + "/namespaces/" + p.namespace + "/" + p.plural + "/"
}

// holds reports whether an object's path is in a collection, which may be that of all namespaces.
func (p path) holds(object string) bool {
	if p.namespace != "" || !strings.HasPrefix(object, p.prefix+"/namespaces/") {
		return strings.HasPrefix(object, p.collection())
	}
	parts := strings.Split(strings.TrimPrefix(object, p.prefix+"/namespaces/"), "/") // namespace, plural, name
	return len(parts) == 3 && parts[1] == p.plural
}

// find takes a URL's path apart.
func find(url string) (resource, path, bool) {
	for _, r := range resources() {
		rest, ok := strings.CutPrefix(url, r.prefix()+"/")
		if !ok {
			continue
		}
		parts := strings.Split(rest, "/")
		p := path{prefix: r.prefix(), plural: r.plural}
		if r.namespaced && parts[0] == "namespaces" && len(parts) > 2 {
			p.namespace, parts = parts[1], parts[2:]
		}
		if parts[0] != r.plural || r.plural == "namespaces" && len(parts) > 2 {
			continue
		}
		if len(parts) > 1 {
			p.name = parts[1]
		}
		if len(parts) > 2 {
			p.sub = parts[2]
		}
		return r, p, true
	}
	return resource{}, path{}, false
}

// discovery answers what there is, if that is what is asked.
func discovery(w http.ResponseWriter, url string) bool {
	switch url {
	case "/api":
		reply(w, object{"kind": "APIVersions", "versions": []string{"v1"}})
		return true
	case "/apis":
		var groups []object
		seen := map[string]bool{"": true}
		for _, r := range resources() {
			if !seen[r.group] {
				seen[r.group] = true
				v := object{"groupVersion": r.apiVersion(), "version": r.version}
				groups = append(groups, object{"name": r.group, "versions": []object{v}, "preferredVersion": v})
			}
		}
		reply(w, object{"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
		return true
	}
	var list []object
	for _, r := range resources() {
		if r.prefix() == url {
			list = append(list, object{
				"name": r.plural, "singularName": strings.ToLower(r.kind), "namespaced": r.namespaced, "kind": r.kind,
				"verbs": []string{"get", "list", "watch", "create", "patch", "update", "delete"},
			})
		}
	}
	if len(list) == 0 {
		return false
	}
	reply(w, object{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": strings.TrimPrefix(strings.TrimPrefix(url, "/apis/"), "/api/"), "resources": list})
	return true
}
