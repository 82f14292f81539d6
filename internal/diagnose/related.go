package diagnose

import (
	"slices"

	"kubernaut.ai/kubernaut/internal/incident"
)

// TargetInOwnerChain reports whether target is the resource itself, one of its owners or
// dependants, or related to it by what the snapshot shows: a Service that selects it or should, a
// ConfigMap, Secret, claim or ServiceAccount that it names, the node it runs on or is kept from,
// the StorageClass of its claim, or a ResourceQuota of its namespace. All is related to the whole cluster, and what is in a
// namespace to that.
func TargetInOwnerChain(snap *Snapshot, resource, target incident.Ref) bool {
	if resource.Same(target) || resource.Same(WholeCluster) || resource.Kind == "Namespace" && target.Namespace == resource.Name {
		return true
	}
	subject := snap.Object(resource)
	if subject == nil {
		return false
	}
	family := append(snap.ownersOf(subject), subject.ref)
	for _, r := range family {
		if r.Same(target) {
			return true
		}
	}
	if o := snap.Object(target); o != nil {
		for _, r := range snap.ownersOf(o) { // the target is below the resource, or beside it
			if slices.ContainsFunc(family, r.Same) {
				return true
			}
		}
	}
	switch target.Kind {
	case "Namespace":
		return target.Name == resource.Namespace
	case "ResourceQuota", "LimitRange":
		return target.Namespace == resource.Namespace
	}
	pods := snap.podsOf(family[len(family)-1])
	for _, r := range family {
		pods = append(pods, snap.podsOf(r)...)
	}
	if subject.ref.Kind == "Pod" {
		pods = append(pods, subject)
	}
	switch subject.ref.Kind {
	case "Service":
		pods = append(pods, snap.Labelled("Pod", subject.ref.Namespace, subject.At("spec", "selector").StrMap())...)
		for _, w := range snap.selectedWorkloads(subject) {
			if w.ref.Same(target) {
				return true
			}
		}
	case "Node":
		pods = append(pods, snap.OnNode(subject.ref.Name)...)
	case "ConfigMap", "Secret", "PersistentVolumeClaim", "ServiceAccount":
		pods = append(pods, snap.UsersOf(subject.ref)...)
	}
	for _, p := range pods {
		if snap.concerns(p, target) {
			return true
		}
	}
	if w := snap.Object(snap.topWorkload(subject)); w != nil && target.Kind == "Service" {
		return snap.serves(target, templateOf(w).At("metadata", "labels").StrMap())
	}
	return false
}

// concerns reports whether a Pod has a direct relation to the target.
func (s *Snapshot) concerns(pod *Object, target incident.Ref) bool {
	if pod.ref.Same(target) {
		return true
	}
	for _, r := range s.ownersOf(pod) {
		if r.Same(target) {
			return true
		}
	}
	switch target.Kind {
	case "Node":
		node := pod.At("spec", "nodeName").Str()
		return node == target.Name || node == ""
	case "Service":
		return s.serves(target, pod.Labels())
	}
	for _, r := range podReferences(pod.At("spec")) {
		ref := r.ref(pod)
		if ref.Same(target) {
			return true
		}
		if r.kind == "PersistentVolumeClaim" && target.Kind == "StorageClass" {
			if pvc := s.Object(ref); pvc != nil && pvc.At("spec", "storageClassName").Str() == target.Name {
				return true
			}
		}
	}
	return false
}

func (s *Snapshot) serves(service incident.Ref, labels map[string]string) bool {
	svc := s.Object(service)
	if svc == nil {
		return false
	}
	selector := svc.At("spec", "selector").StrMap()
	return len(selector) > 0 && (selects(selector, labels) || nearMiss(selector, labels) != "")
}

// ownedBy reports whether the target is in the owner chain that was found for a resource that no
// longer exists, or in the one that the caller gave.
func (q *inquiry) ownedBy(target incident.Ref) bool {
	if q.subject != nil {
		return false
	}
	for _, r := range q.owners {
		if r.Same(target) || TargetInOwnerChain(q.snap, r, target) {
			return true
		}
	}
	return false
}
