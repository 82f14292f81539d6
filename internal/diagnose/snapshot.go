package diagnose

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Contents is all that a Snapshot holds, as plain data: what a collector fills and what a bundle
// stores.
type Contents struct {
	// ObservedAt is the time of the reading, and the engine's only clock.
	ObservedAt time.Time
	// Cluster names where it was read; for people.
	Cluster string
	// Objects in any order; of two with the same API group, kind, namespace and name the later wins.
	Objects []*Object
	// Events are objects of kind Event, core/v1 or events.k8s.io/v1.
	Events []*Object
	Logs   []Log
	// Reads says what was asked. What is not in Objects is absent only if a read covers it.
	Reads []Read
	Gaps  []Gap
	// Redactions counts the values that were replaced before anything was kept.
	Redactions int
	// Reading says what the reading of a live cluster took; nil for anything else.
	Reading *Reading
}

// Reading is what it took to read a live cluster.
type Reading struct {
	Requests int    `json:"requests"`
	Lists    int    `json:"lists"` // of the requests, those for a page of a list
	Bytes    int64  `json:"bytes"` // of all answers, as they came
	Took     string `json:"took"`
}

// Read is one question that was put to the cluster and answered in full: a list of a kind, or a
// get of one name.
type Read struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind"`
	// Namespace is "" for cluster-scoped kinds, and for a list over all namespaces.
	Namespace string `json:"namespace,omitempty"`
	// Name is "" for a list.
	Name string `json:"name,omitempty"`
	// Selector restricts a list; such a list proves no absence.
	Selector string `json:"selector,omitempty"`
	// Partial says that only metadata was asked for.
	Partial bool `json:"partial,omitempty"`
	// Found is the number of objects that came back.
	Found int `json:"found"`
	// Truncated says that a bound cut the list short, so that it proves no absence.
	Truncated bool `json:"truncated,omitempty"`
}

// Gap is a question that the cluster did not answer in full.
type Gap struct {
	Kind incident.GapKind `json:"kind"`
	// Subject says what was asked for: its Kind is the objects' kind, "Event", or "Log" with the Pod's
	// namespace and name; Namespace and Name are empty when all were asked for.
	Subject incident.Ref `json:"subject"`
	What    string       `json:"what"`   // for people: "events in namespace shop"
	Reason  string       `json:"reason"` // one sentence for people
}

// Log is an excerpt of one container's log.
type Log struct {
	Pod       incident.Ref `json:"pod"`
	Container string       `json:"container"`
	// Previous is set for the log of the container's previous run.
	Previous bool `json:"previous,omitempty"`
	// Lines are the last lines, oldest first, without line ends.
	Lines []string `json:"lines"`
	// Truncated says that earlier lines were left out.
	Truncated bool `json:"truncated,omitempty"`
}

// Snapshot is what was read of a cluster at one time, indexed. It is immutable.
type Snapshot struct {
	c Contents

	byKey    map[objectKey]*Object
	byUID    map[string]*Object
	byKind   map[kindKey][]*Object // per kind and namespace, in the order of Contents.Objects
	loose    map[objectKey]*Object // without the group: for references that do not say it
	children map[objectKey][]*Object
	events   map[objectKey][]*Object // by the object that they are about, oldest first
	onNode   map[string][]*Object    // Pods by spec.nodeName
	users    map[objectKey][]*Object // Pods by ConfigMap, Secret, claim or ServiceAccount that they name
	labelled map[labelKey][]*Object  // Pods and EndpointSlices by each of their labels
	logs     map[logKey]*Log
	eventKey map[objectKey]*Object

	preemptions []*Object // events about Pods that gave way

	demand *demand // on the copy that Needs watches; nil elsewhere
}

// objectKey identifies an object. The API group matters: Knative's Service is not core's.
type objectKey struct{ group, kind, namespace, name string }

type kindKey struct{ group, kind, namespace string }

type labelKey struct{ kind, namespace, key, value string }

type logKey struct {
	namespace, pod, container string
	previous                  bool
}

// keyOf takes the group of a reference without an API version from the built-in kinds.
func keyOf(r incident.Ref) objectKey {
	return objectKey{groupOf(r.APIVersion, r.Kind), r.Kind, r.Namespace, r.Name}
}

func groupOf(apiVersion, kind string) string {
	if apiVersion == "" {
		return builtinGroups[kind]
	}
	group, _, found := strings.Cut(apiVersion, "/")
	if !found {
		return "" // core: "v1"
	}
	return group
}

// builtinGroups holds the groups of built-in kinds outside core.
var builtinGroups = map[string]string{
	"Deployment": "apps", "ReplicaSet": "apps", "StatefulSet": "apps", "DaemonSet": "apps", "ControllerRevision": "apps",
	"Job": "batch", "CronJob": "batch",
	"HorizontalPodAutoscaler": "autoscaling", "PodDisruptionBudget": "policy",
	"EndpointSlice": "discovery.k8s.io", "Ingress": "networking.k8s.io", "NetworkPolicy": "networking.k8s.io",
	"IngressClass": "networking.k8s.io", "Gateway": gatewayAPI, "GatewayClass": gatewayAPI, "HTTPRoute": gatewayAPI, "GRPCRoute": gatewayAPI,
	"Role": "rbac.authorization.k8s.io", "ClusterRole": "rbac.authorization.k8s.io",
	"RoleBinding": "rbac.authorization.k8s.io", "ClusterRoleBinding": "rbac.authorization.k8s.io",
	"StorageClass": "storage.k8s.io", "VolumeAttachment": "storage.k8s.io", "Lease": "coordination.k8s.io", "PriorityClass": "scheduling.k8s.io",
	"ValidatingWebhookConfiguration": "admissionregistration.k8s.io", "MutatingWebhookConfiguration": "admissionregistration.k8s.io",
	"ValidatingAdmissionPolicy": "admissionregistration.k8s.io",
}

// NewSnapshot orders and indexes the contents. The order in which they were collected does not
// show in the result. The caller must not use c's slices afterwards.
func NewSnapshot(c Contents) *Snapshot {
	c.ObservedAt = c.ObservedAt.UTC()
	c.Objects = orderObjects(c.Objects)
	c.Events = orderEvents(c.Events)
	slices.SortStableFunc(c.Logs, func(a, b Log) int {
		return cmp.Or(compareRefs(a.Pod, b.Pod), cmp.Compare(a.Container, b.Container), compareBool(a.Previous, b.Previous))
	})
	slices.SortStableFunc(c.Reads, func(a, b Read) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.APIVersion, b.APIVersion), cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.Selector, b.Selector), compareBool(a.Partial, b.Partial),
			compareBool(a.Truncated, b.Truncated), cmp.Compare(a.Found, b.Found))
	})
	slices.SortStableFunc(c.Gaps, func(a, b Gap) int {
		return cmp.Or(compareRefs(a.Subject, b.Subject), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.What, b.What), cmp.Compare(a.Reason, b.Reason))
	})
	s := &Snapshot{c: c}
	s.index()
	return s
}

// Contents returns what the snapshot holds, in canonical order. It must not be changed.
func (s *Snapshot) Contents() Contents { return s.c }

// ObservedAt is the time of the reading.
func (s *Snapshot) ObservedAt() time.Time { return s.c.ObservedAt }

// Object returns the object of that kind, namespace and name, or nil. A ref without an API version
// means the built-in kind, else any. When ref has a UID, an object with another UID is not it.
func (s *Snapshot) Object(ref incident.Ref) *Object {
	o := s.object(ref)
	if o == nil && s.demand != nil && ref.Kind != "" && ref.Name != "" {
		s.want(Want{Ref: ref})
	}
	return o
}

func (s *Snapshot) object(ref incident.Ref) *Object {
	o := s.byKey[keyOf(ref)]
	if o == nil && ref.APIVersion == "" {
		o = s.loose[objectKey{"", ref.Kind, ref.Namespace, ref.Name}]
	}
	if o != nil && ref.UID != "" && o.ref.UID != "" && o.ref.UID != ref.UID {
		return nil
	}
	return o
}

// Kind returns the objects of a built-in kind in a namespace, ordered by name; namespace "" selects
// those of cluster-scoped kinds.
func (s *Snapshot) Kind(kind, namespace string) []*Object {
	s.wantKind(kind, namespace)
	return s.byKind[kindKey{builtinGroups[kind], kind, namespace}]
}

// custom returns the objects of a kind that some controller added to the cluster, in one namespace.
func (s *Snapshot) custom(group, kind, namespace string) []*Object {
	if s.demand != nil {
		s.want(Want{Ref: incident.Ref{APIVersion: group + "/*", Kind: kind, Namespace: namespace}})
	}
	return s.byKind[kindKey{group, kind, namespace}]
}

// Children returns the objects whose controlling owner is ref.
func (s *Snapshot) Children(ref incident.Ref) []*Object {
	s.wantChildren(ref)
	return s.children[keyOf(ref)]
}

// EventsOf returns the events about ref, the least recent first.
func (s *Snapshot) EventsOf(ref incident.Ref) []*Object {
	s.wantEvents(ref)
	return s.events[keyOf(ref)]
}

// OnNode returns the Pods that are bound to the node.
func (s *Snapshot) OnNode(node string) []*Object {
	if s.demand != nil {
		s.want(Want{Ref: incident.Ref{Kind: "Pod"}, Node: node})
	}
	return s.onNode[node]
}

// UsersOf returns the Pods whose spec names the ConfigMap, Secret, PersistentVolumeClaim or
// ServiceAccount.
func (s *Snapshot) UsersOf(ref incident.Ref) []*Object {
	if ref.Namespace != "" {
		s.wantKind("Pod", ref.Namespace)
	}
	return s.users[keyOf(ref)]
}

// Labelled returns the Pods, or the EndpointSlices, of a namespace that have all the labels, ordered by
// name; none when no label is asked for.
func (s *Snapshot) Labelled(kind, namespace string, labels map[string]string) []*Object {
	s.wantKind(kind, namespace)
	var least []*Object
	first := true
	for k, v := range labels {
		if have := s.labelled[labelKey{kind, namespace, k, v}]; first || len(have) < len(least) {
			least, first = have, false
		}
	}
	if len(labels) == 1 {
		return least
	}
	var out []*Object
	for _, o := range least {
		if selects(labels, o.labels) {
			out = append(out, o)
		}
	}
	return out
}

// Log returns a log excerpt, or nil when there is none.
func (s *Snapshot) Log(pod incident.Ref, container string, previous bool) *Log {
	return s.logs[logKey{pod.Namespace, pod.Name, container, previous}]
}

// Knowledge says how much the snapshot knows about the existence of something.
type Knowledge int

// What a snapshot can know about an object.
const (
	Unknown Knowledge = iota // not asked, or the answer was refused or cut short
	Present
	Absent // asked, and not there
)

// Knows reports what is known about the existence of ref.
func (s *Snapshot) Knows(ref incident.Ref) Knowledge {
	k := s.knows(ref)
	if k == Unknown && s.demand != nil && ref.Kind != "" && ref.Name != "" {
		s.want(Want{Ref: ref})
	}
	return k
}

func (s *Snapshot) knows(ref incident.Ref) Knowledge {
	if s.object(ref) != nil {
		return Present
	}
	group := groupOf(ref.APIVersion, ref.Kind)
	for _, r := range s.readsOf(ref.Kind) {
		if r.Truncated || r.Selector != "" || groupOf(r.APIVersion, r.Kind) != group {
			continue
		}
		if r.Name == "" && (r.Namespace == "" || r.Namespace == ref.Namespace) {
			return Absent
		}
		if r.Name == ref.Name && r.Namespace == ref.Namespace {
			return Absent
		}
	}
	return Unknown
}

// Listed reports whether all objects of the kind in the namespace were read.
func (s *Snapshot) Listed(kind, namespace string) bool {
	s.wantKind(kind, namespace)
	for _, r := range s.readsOf(kind) {
		if r.Name == "" && r.Selector == "" && !r.Truncated && (r.Namespace == "" || r.Namespace == namespace) {
			return true
		}
	}
	return false
}

func (s *Snapshot) readsOf(kind string) []Read {
	i, ok := slices.BinarySearchFunc(s.c.Reads, kind, func(r Read, k string) int { return cmp.Compare(r.Kind, k) })
	if !ok {
		return nil
	}
	j := i
	for j < len(s.c.Reads) && s.c.Reads[j].Kind == kind {
		j++
	}
	return s.c.Reads[i:j]
}
