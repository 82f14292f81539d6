// Package diagnose is the deterministic engine: a [Snapshot] of a cluster goes in, and out comes
// the root cause of an incident with the chain that leads from symptom to cause, every link backed
// by evidence that [Verify] re-checks against the same snapshot.
//
// The package is pure. It does no I/O and reads no clock: the time is the snapshot's ObservedAt.
// The same snapshot and incident always give the same [Result], byte for byte. Nothing in it is
// changed after it was built, so everything may be shared between goroutines.
//
// # How a cause is found
//
// The engine asks "why?" until there is no further answer. It starts at the symptoms of the
// incident's resource (a Deployment short of replicas, a Service without endpoints, a claim that
// is not bound) and hands each symptom to every rule that explains symptoms of its kind. A rule
// answers with a cause, or with a symptom of another object that stands behind this one: the Pod
// behind the Deployment, the node behind the Pod. So chains of any length, across objects and
// namespaces, come from short rules that know one step each.
//
// The first symptoms come from detectors (detect_*.go), which state what is wrong now, with
// evidence. An error that no longer has an effect is history: it becomes a [Note] and explains
// nothing. Ranking (rank.go) picks the explanation that accounts for the symptom and its timing;
// the others become contributing factors, other problems, or noise.
//
// Rules compare objects. They never key on a name, an image, or a phrase that merely hints; text
// from the cluster is quoted as evidence, and where a message is the only record of a fact (the
// kubelet's "couldn't find key"), what it says is checked against the objects that are there.
//
// # Adding a rule
//
// A rule is one file, rule_<class>.go, with one method on catalogue; its scenarios are data files,
// test/scenarios/open/<class>-<case>.yaml. Nothing else needs to change.
//
// # Confidence
//
// See [Confidence]: one formula over directness, completeness, timing, competing explanations and
// gaps.
//
// # Signal types
//
// Cause.SignalTypes holds names from this list, most specific first:
//
//	OOMKilled                   a container was killed at its memory limit, or when its node ran out
//	CrashLoopBackOff            a container ends again and again
//	ApplicationError            the program ends by itself
//	BadRollout                  the newest revision fails where the one before it did not
//	ImagePullBackOff            an image cannot be pulled; also under ErrImagePull
//	ErrImagePull                the same, at the first attempt
//	ImagePullUnauthorized       the registry refuses the image
//	RegistryUnavailable         the registry does not answer
//	CreateContainerConfigError  a container's configuration names something that is not there
//	FailedMount                 a volume cannot be mounted
//	ConfigMapNotFound           a ConfigMap that a Pod names does not exist
//	ConfigMapKeyNotFound        a key that a Pod names is not in its ConfigMap
//	SecretNotFound              a Secret that a Pod names does not exist
//	SecretKeyNotFound           a key that a Pod names is not in its Secret
//	FailedScheduling            no node takes a Pod
//	FailedAttachVolume          a volume cannot be attached to the Pod's node
//	FailedCreate                a controller cannot create its Pods
//	QuotaExceeded               a ResourceQuota refuses a Pod
//	ServiceAccountNotFound      a ServiceAccount that a workload names does not exist
//	PodSecurityViolation        Pod Security admission refuses a Pod
//	PVCPending                  a claim is not bound
//	PVCNotFound                 a claim that a Pod names does not exist
//	Unhealthy                   a probe fails
//	ServiceNoEndpoints          a Service has no ready endpoint, or none that serves its port
//	ServicePortMismatch         a Service sends to a port that its Pods do not serve
//	NodeNotReady                a node does not report, or is not ready
//	ReplicasUnavailable         a workload has fewer ready Pods than it should
//	NodePressure                a node runs out of disk, memory or process ids
//	HPANotScaling               an autoscaler cannot compute
//	HPAMaxedOut                 an autoscaler is at its maximum and wants more
//	PDBBlocksEviction           a disruption budget allows no eviction
//	DeletionStuck               a deletion waits for a finalizer
//	DiskFull                    a volume has no space left
//	VolumePermission            a container may not use its volume
//	NetworkPluginDown           Pods get no network
//	KubeProxyDown               a node leads Pods to no Service
//	ScaledToZero                a workload is asked to run no Pod
//	ImageArchMismatch           an image holds no program for its node
//	InvalidCommand              a container's command cannot be started
//	EnvMissing                  a variable that the program asks for is not set
//	EnvWrong                    a variable names what nothing serves, or is set twice
//	ConfigInvalid               the program refuses the content of a ConfigMap
//	SecretStale                 a program uses what a Secret or ConfigMap held before it was changed
//	InitBlocked                 an init container does not end
//	PortConflict                two programs listen on one port
//	JobNotCompleted             a Job's Pod does not end
//	JobFailed                   a Job gave up
//	CronJobSuspended            a CronJob is told to start nothing
//	CronJobInvalid              a CronJob can start nothing as it is written
//	CPUThrottled                a CPU limit slows a container
//	RolloutStrategy             a rollout takes all Pods away
//	HelmReleaseFailed           a Helm release failed, or brought a revision that fails
//	ServiceNotFound             a Service that is called does not exist
//	DependencyRefuses           a dependency refuses a client
//	ConnectionsExhausted        a dependency has no connection left
//	NetworkPolicyDenied         a NetworkPolicy does not let a connection through
//	NoLocalEndpoint             a Service with local traffic policy has no endpoint on the caller's node
//	ServiceSelectorTooBroad     a Service selects Pods that do not belong behind it
//	IngressBackendNotFound      an Ingress or route leads to what is not there
//	IngressClassNotFound        the class of an Ingress or Gateway does not exist
//	Forbidden                   the API server refuses a ServiceAccount
//	ResourceNotReady            a custom resource says that it is broken
//	CertificateInvalid          a certificate has expired or is not issued
//	DNSDown                     the cluster's DNS has no Pod that is ready
//	DNSConfig                   the cluster's DNS is configured wrongly
//	DNSPolicy                   Pods ask another name server than the cluster's
//	MeshPolicyDenied            a service mesh's policy does not let a call through
//	ChaosExperiment             a fault is injected on purpose
//	GitOpsFailed                a GitOps resource cannot apply what it should
//
// # Parameters
//
// Cause.Parameters holds workflow parameters that evidence supports. A name is present only when
// its value is known; which classes set it stands in brackets, "all" where every cause that has such
// an object does.
//
//	NAMESPACE              namespace of the target (all but cluster-scoped targets)
//	WORKLOAD_KIND          Deployment, StatefulSet, DaemonSet, Job, CronJob, ReplicaSet or Pod: the top of the owner chain (all with a workload)
//	WORKLOAD_NAME          its name (all with a workload)
//	POD_NAME               one Pod that shows the symptom (all with a Pod)
//	CONTAINER              the container (all about one container)
//	REPLICAS               desired replicas now, decimal [scaled-to-zero: the number to scale to; all with a workload that has replicas]
//	MEMORY_LIMIT           suggested limit, a quantity in Mi [oom-limit, limits-injected]
//	CURRENT_MEMORY_LIMIT   limit now, as written [oom-limit, oom-growth, limits-injected]
//	PREVIOUS_MEMORY_LIMIT  limit in the previous revision, as written [oom-limit, when a rollout lowered it; oom-growth]
//	REVISION               current revision of the Deployment, decimal [bad-rollout and others after a rollout]
//	PREVIOUS_REVISION      last good revision, decimal [the same]
//	IMAGE                  the container's image [image-*, bad-rollout]
//	PREVIOUS_IMAGE         its image in the last good revision [image-*, bad-rollout, when it differs]
//	IMAGE_PULL_SECRET      a pull Secret that is named and absent [image-pull-denied]
//	CONFIG_MAP             ConfigMap that is referenced [configmap-missing, configmap-key-missing, config-invalid, dns-config; secret-stale, when it is a ConfigMap]
//	SECRET_NAME            Secret that is referenced [secret-missing, secret-key-missing; secret-stale, when it is a Secret]
//	KEY                    referenced key that is absent [configmap-key-missing, secret-key-missing]
//	SUGGESTED_NAME         existing object whose name is nearest to the absent one [env-missing, configmap-missing, secret-missing, pvc-missing, serviceaccount-missing, storageclass-missing]
//	SUGGESTED_KEY          existing key nearest to the absent one [configmap-key-missing, secret-key-missing]
//	NODE_NAME              the node [node-not-ready, node-cordoned, node-pressure, network-plugin-down, kube-proxy-down, preempted; volume-node-affinity, volume-multi-attach, host-port-conflict: a node that shows it; untolerated-taint and node-selector-mismatch: the node that is nearest to fitting]
//	NODE_SELECTOR          "key=value" that no node satisfies [node-selector-mismatch]
//	TAINT                  "key=value:Effect" that is not tolerated [untolerated-taint]
//	RESOURCE               cpu, memory, … of which there is too little [insufficient-resources, limitrange-violation: the one that is bounded]
//	REQUESTED              what the Pod asks for, a quantity [insufficient-resources]
//	AVAILABLE              the most that any eligible node has free, a quantity [insufficient-resources]
//	NODE_SIZE              what the largest eligible node has in all, a quantity [insufficient-resources, when that is enough for the Pod]
//	PVC_NAME               the claim [pvc-*, pv-mismatch, volume-*, storageclass-*; disk-full, when it is a claim]
//	STORAGE_CLASS          StorageClass that the claim names [storageclass-missing, pvc-provisioning]
//	PV_NAME                the PersistentVolume that comes nearest to the claim, or is bound to it [pv-mismatch, volume-node-affinity, volume-multi-attach, when there is one]
//	TOPOLOGY_KEY           node label by which Pods are kept apart or spread [anti-affinity-deadlock]
//	WEBHOOK                name of the webhook, as its configuration has it [webhook-unavailable, admission-denied, when it is a webhook]
//	HPA_NAME               the HorizontalPodAutoscaler [hpa-misconfigured, hpa-maxed]
//	MAX_REPLICAS           its maximum, decimal [hpa-maxed]
//	PDB_NAME               the PodDisruptionBudget [pdb-blocks]
//	FINALIZER              the finalizer that is left [finalizer-stuck, when the object is known]
//	OBJECT_KIND            kind of the object that is not deleted [finalizer-stuck]
//	OBJECT_NAME            its name [finalizer-stuck]
//	STORAGE_SIZE           what the claim asks for, a quantity [disk-full, when it is a claim]
//	LIMIT_RANGE            the LimitRange [limitrange-violation; limits-injected, when it is one]
//	DOMAINS                how many values it has, decimal: the most Pods that find a place [anti-affinity-deadlock, when more are wanted]
//	QUOTA_NAME             the ResourceQuota [quota-*]
//	QUOTA_RESOURCE         resource name as in the quota, for example requests.cpu [quota-exceeded]
//	QUOTA_HARD             its hard value, a quantity [quota-exceeded]
//	QUOTA_USED             its used value, a quantity [quota-exceeded]
//	QUOTA_REQUIRED         hard value that would let the refused Pods in, a quantity [quota-exceeded]
//	SERVICE_NAME           the Service [service-*, dependency-*, connections-exhausted, traffic-policy-local, dns-down; ingress-backend and network-policy, when it is about one]
//	SELECTOR               selector of the Service, "k=v,k=v" in key order [service-selector-mismatch]
//	SUGGESTED_SELECTOR     selector that matches the workload [service-selector-mismatch]
//	PORT                   the port that is wrong, number or name [probe-misconfigured, service-port-mismatch, port-conflict; env-wrong, when it is the port]
//	SUGGESTED_PORT         the container port that is there [probe-misconfigured, service-port-mismatch]
//	PROBE                  liveness, readiness or startup [probe-*]
//	SERVICE_ACCOUNT        the ServiceAccount [serviceaccount-missing, rbac-denied]
//	ENV_NAME               the variable [env-missing, when an earlier revision set it; env-wrong, when it is a variable]
//	SUGGESTED_HOST         a Service that exists, as the container's configuration may name it [env-wrong]
//	CPU_LIMIT              the CPU limit, as written [cpu-throttled]
//	HELM_RELEASE           the Helm release [helm-failed]
//	HELM_REVISION          its newest revision, decimal [helm-failed]
//	NETWORK_POLICY         the NetworkPolicy [network-policy]
//	ROUTE_KIND             Ingress, Gateway or a route's kind [ingress-backend, ingress-class-missing]
//	ROUTE_NAME             its name [ingress-backend, ingress-class-missing]
//	CLASS_NAME             the class that does not exist [ingress-class-missing, when it names one]
//	GATEWAY_NAME           the Gateway that does not exist [ingress-backend, when that is what is missing]
//	RESOURCE_KIND          kind of the custom resource [custom-resource-not-ready, certificate-invalid, gitops-failed, mesh-policy, chaos-experiment]
//	RESOURCE_NAME          its name [custom-resource-not-ready, certificate-invalid, gitops-failed, mesh-policy, chaos-experiment]
package diagnose
