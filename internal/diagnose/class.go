package diagnose

import "kubernaut.ai/kubernaut/internal/incident"

// The classes of root cause that the rules find. Workflows in the catalog name them under
// incident.LabelCauses.
const (
	ClassOOMLimit              incident.CauseClass = "oom-limit"                 // killed at the container's own memory limit
	ClassOOMNode               incident.CauseClass = "oom-node"                  // has no limit; killed when its node ran out of memory
	ClassBadRollout            incident.CauseClass = "bad-rollout"               // the new revision fails, the one before it did not
	ClassApplicationError      incident.CauseClass = "application-error"         // the program ends by itself; no rollout explains it
	ClassConfigMapMissing      incident.CauseClass = "configmap-missing"         // a referenced ConfigMap does not exist
	ClassConfigMapKeyMissing   incident.CauseClass = "configmap-key-missing"     // it exists without the referenced key
	ClassSecretMissing         incident.CauseClass = "secret-missing"            // a referenced Secret does not exist
	ClassSecretKeyMissing      incident.CauseClass = "secret-key-missing"        // it exists without the referenced key
	ClassImageNotFound         incident.CauseClass = "image-not-found"           // the registry has no such image or tag
	ClassImagePullDenied       incident.CauseClass = "image-pull-denied"         // the registry refuses: pull Secret absent or wrong
	ClassRegistryUnreachable   incident.CauseClass = "registry-unreachable"      // the registry does not answer
	ClassInsufficientResources incident.CauseClass = "insufficient-resources"    // no eligible node has enough left
	ClassNodeSelectorMismatch  incident.CauseClass = "node-selector-mismatch"    // node selector or required affinity fits no node
	ClassUntoleratedTaint      incident.CauseClass = "untolerated-taint"         // nodes that would fit carry a taint
	ClassNodeCordoned          incident.CauseClass = "node-cordoned"             // nodes that would fit are unschedulable
	ClassStorageClassMissing   incident.CauseClass = "storageclass-missing"      // a claim names a StorageClass that does not exist
	ClassStorageClassNoDefault incident.CauseClass = "storageclass-no-default"   // a claim names none, and there is no default
	ClassPVCMissing            incident.CauseClass = "pvc-missing"               // a Pod names a claim that does not exist
	ClassPVCProvisioning       incident.CauseClass = "pvc-provisioning"          // the provisioner of an existing class does not deliver
	ClassQuotaExceeded         incident.CauseClass = "quota-exceeded"            // a ResourceQuota is used up
	ClassQuotaNeedsResources   incident.CauseClass = "quota-requires-resources"  // a ResourceQuota demands requests or limits that the Pods lack
	ClassProbeMisconfigured    incident.CauseClass = "probe-misconfigured"       // a probe asks a port that no container serves
	ClassProbeFailing          incident.CauseClass = "probe-failing"             // a well-aimed probe fails
	ClassServiceSelector       incident.CauseClass = "service-selector-mismatch" // the selector matches no Pod
	ClassServicePort           incident.CauseClass = "service-port-mismatch"     // the target port is served by no Pod
	ClassNodeNotReady          incident.CauseClass = "node-not-ready"            // the node does not report, or reports itself unready
	ClassServiceAccountMissing incident.CauseClass = "serviceaccount-missing"    // Pods name a ServiceAccount that does not exist
	ClassScaledToZero          incident.CauseClass = "scaled-to-zero"            // the workload is asked to run nothing
	ClassPodSecurity           incident.CauseClass = "pod-security-violation"    // Pod Security admission refuses the Pods
)
