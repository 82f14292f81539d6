package recorded

import "strings"

// resource is a kind of object.
type resource struct {
	apiVersion, kind string
	namespaced       bool
}

// resourceRows lists kinds with the names that kubectl takes for them.
const resourceRows = `
v1 Pod pods,pod,po
v1 Service services,service,svc
v1 Endpoints endpoints,ep
v1 ConfigMap configmaps,configmap,cm
v1 Secret secrets,secret
v1 Event events,event,ev
v1 Node nodes,node,no -
v1 Namespace namespaces,namespace,ns,projects,project -
v1 PersistentVolumeClaim persistentvolumeclaims,persistentvolumeclaim,pvc,pvcs
v1 PersistentVolume persistentvolumes,persistentvolume,pv,pvs -
v1 ResourceQuota resourcequotas,resourcequota,quota
v1 LimitRange limitranges,limitrange,limits
v1 ServiceAccount serviceaccounts,serviceaccount,sa
v1 ReplicationController replicationcontrollers,replicationcontroller,rc
apps/v1 Deployment deployments,deployment,deploy
apps/v1 ReplicaSet replicasets,replicaset,rs
apps/v1 StatefulSet statefulsets,statefulset,sts
apps/v1 DaemonSet daemonsets,daemonset,ds
apps/v1 ControllerRevision controllerrevisions,controllerrevision
batch/v1 Job jobs,job
batch/v1 CronJob cronjobs,cronjob,cj
autoscaling/v2 HorizontalPodAutoscaler horizontalpodautoscalers,horizontalpodautoscaler,hpa
policy/v1 PodDisruptionBudget poddisruptionbudgets,poddisruptionbudget,pdb
networking.k8s.io/v1 Ingress ingresses,ingress,ing
networking.k8s.io/v1 IngressClass ingressclasses,ingressclass -
networking.k8s.io/v1 NetworkPolicy networkpolicies,networkpolicy,netpol
discovery.k8s.io/v1 EndpointSlice endpointslices,endpointslice
storage.k8s.io/v1 StorageClass storageclasses,storageclass,sc -
storage.k8s.io/v1 VolumeAttachment volumeattachments,volumeattachment -
storage.k8s.io/v1 CSIDriver csidrivers,csidriver -
storage.k8s.io/v1 CSINode csinodes,csinode -
coordination.k8s.io/v1 Lease leases,lease
scheduling.k8s.io/v1 PriorityClass priorityclasses,priorityclass,pc -
rbac.authorization.k8s.io/v1 Role roles,role
rbac.authorization.k8s.io/v1 RoleBinding rolebindings,rolebinding
rbac.authorization.k8s.io/v1 ClusterRole clusterroles,clusterrole -
rbac.authorization.k8s.io/v1 ClusterRoleBinding clusterrolebindings,clusterrolebinding -
admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration validatingwebhookconfigurations,validatingwebhookconfiguration -
admissionregistration.k8s.io/v1 MutatingWebhookConfiguration mutatingwebhookconfigurations,mutatingwebhookconfiguration -
apiextensions.k8s.io/v1 CustomResourceDefinition customresourcedefinitions,customresourcedefinition,crd,crds -
apiregistration.k8s.io/v1 APIService apiservices,apiservice -
cert-manager.io/v1 Certificate certificates,certificate,cert,certs
cert-manager.io/v1 CertificateRequest certificaterequests,certificaterequest,cr
cert-manager.io/v1 Issuer issuers,issuer
cert-manager.io/v1 ClusterIssuer clusterissuers,clusterissuer -
argoproj.io/v1alpha1 Application applications,application,app,apps
kustomize.toolkit.fluxcd.io/v1 Kustomization kustomizations,kustomization,ks
helm.toolkit.fluxcd.io/v2 HelmRelease helmreleases,helmrelease,hr
source.toolkit.fluxcd.io/v1 GitRepository gitrepositories,gitrepository,gitrepo
gateway.networking.k8s.io/v1 Gateway gateways,gateway,gtw
gateway.networking.k8s.io/v1 HTTPRoute httproutes,httproute
keda.sh/v1alpha1 ScaledObject scaledobjects,scaledobject,so
networking.istio.io/v1 VirtualService virtualservices,virtualservice,vs
networking.istio.io/v1 DestinationRule destinationrules,destinationrule,dr
security.istio.io/v1 PeerAuthentication peerauthentications,peerauthentication,pa
security.istio.io/v1 AuthorizationPolicy authorizationpolicies,authorizationpolicy
`

var resources, kinds = readResources()

func readResources() (byName, byKind map[string]resource) {
	byName, byKind = map[string]resource{}, map[string]resource{}
	for row := range strings.SplitSeq(strings.TrimSpace(resourceRows), "\n") {
		f := strings.Fields(row)
		res := resource{f[0], f[1], len(f) == 3}
		byKind[res.kind] = res
		for name := range strings.SplitSeq(f[2], ",") {
			byName[name] = res
		}
	}
	return byName, byKind
}

// resourceOf finds a kind by what kubectl takes for it: pods, deploy, deployment.apps, Certificate.
func resourceOf(name string) (resource, bool) {
	lower := strings.ToLower(name)
	if res, ok := resources[lower]; ok {
		return res, true
	}
	first, group, _ := strings.Cut(lower, ".")
	res, ok := resources[first]
	if !ok || group == "" {
		return resource{}, false
	}
	have, _, grouped := strings.Cut(res.apiVersion, "/")
	if i := strings.IndexByte(group, '.'); group != have && (i < 0 || group[i+1:] != have) {
		return resource{}, false // another group's kind of the same name
	}
	return res, grouped
}

// Resource is a kind as kubectl knows it.
type Resource struct {
	APIVersion, Kind string
	Namespaced       bool
}

// ResourceByName finds a kind by what kubectl takes for it: pods, deploy, deployment.apps, Certificate.
func ResourceByName(name string) (Resource, bool) {
	res, ok := resourceOf(name)
	return Resource{res.apiVersion, res.kind, res.namespaced}, ok
}

// ResourceNames returns the name of each kind that is known, as kubectl prints it, and its short names.
func ResourceNames() [][]string {
	var out [][]string
	for row := range strings.SplitSeq(strings.TrimSpace(resourceRows), "\n") {
		names := strings.Split(strings.Fields(row)[2], ",")
		kept := names[:1]
		for _, n := range names[1:] {
			if !strings.HasPrefix(names[0], n) { // the singular, which is no shorter name
				kept = append(kept, n)
			}
		}
		out = append(out, kept)
	}
	return out
}

// everything is what `kubectl get all` lists.
var everything = []string{"pods", "services", "daemonsets", "deployments", "replicasets", "statefulsets", "horizontalpodautoscalers", "cronjobs", "jobs"}
