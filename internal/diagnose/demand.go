package diagnose

import (
	"cmp"
	"slices"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Want names what an inquiry asked its snapshot for and the snapshot does not know.
type Want struct {
	// Ref is an object when it has a name, else all objects of its kind in its namespace, or everywhere when it has none.
	// Without an API version the kind is a built-in one, or any of that name. An API version "<group>/*" leaves the version
	// open. Kind "*" stands for all kinds of that group, with API version "*" for those of all custom resources.
	Ref incident.Ref
	// Node restricts Pods to those bound to a node.
	Node string
	// About restricts events to those about objects of one kind.
	About string
}

func (w Want) compare(o Want) int {
	return cmp.Or(compareRefs(w.Ref, o.Ref), cmp.Compare(w.Node, o.Node), cmp.Compare(w.About, o.About))
}

// Selector is the field selector by which the API server knows the restriction; "" when there is none.
func (w Want) Selector() string {
	switch {
	case w.Node != "":
		return "spec.nodeName=" + w.Node
	case w.About != "":
		return "involvedObject.kind=" + w.About
	}
	return ""
}

// demand records what is asked of a snapshot. It belongs to one call of Needs, on whose copy of the snapshot alone it is.
type demand struct{ asked map[Want]bool }

// custom stands, as API version and kind, for all custom resources.
const custom = "*"

// want records a question; a snapshot that is not watched ignores it.
func (s *Snapshot) want(w Want) {
	if s.demand != nil {
		w.Ref.UID = ""
		s.demand.asked[w] = true
	}
}

// wantKind asks for a built-in kind: in one namespace, or with "" in all.
func (s *Snapshot) wantKind(kind, namespace string) {
	if s.demand != nil {
		s.want(Want{Ref: incident.Ref{Kind: kind, Namespace: namespace}})
	}
}

// wantChildren asks for what a controller of a kind makes.
func (s *Snapshot) wantChildren(owner incident.Ref) {
	if s.demand == nil || owner.Namespace == "" {
		return
	}
	kinds := map[string][]string{
		"Deployment": {"ReplicaSet"}, "StatefulSet": {"Pod", "ControllerRevision"}, "DaemonSet": {"Pod", "ControllerRevision"},
		"CronJob": {"Job"}, "ReplicaSet": {"Pod"}, "Job": {"Pod"}, "ReplicationController": {"Pod"},
	}[owner.Kind]
	if !BuiltinGroup(groupOf(owner.APIVersion, owner.Kind)) {
		kinds = []string{"Deployment", "StatefulSet", "DaemonSet", "Job", "Pod"}
	}
	for _, k := range kinds {
		s.wantKind(k, owner.Namespace)
	}
}

// wantEvents asks for the events about an object. Those about what has no namespace are kept in namespace default.
func (s *Snapshot) wantEvents(about incident.Ref) {
	switch {
	case s.demand == nil:
	case about.Namespace != "":
		s.wantKind("Event", about.Namespace)
	default:
		s.want(Want{Ref: incident.Ref{Kind: "Event", Namespace: "default"}, About: about.Kind})
	}
}

// watched returns a copy of the snapshot that records what is asked of it.
func (s *Snapshot) watched() *Snapshot {
	c := *s
	c.demand = &demand{asked: map[Want]bool{}}
	return &c
}

// wants returns what was asked and is not known, in a fixed order.
func (s *Snapshot) wants() []Want {
	var out []Want
	for w := range s.demand.asked {
		if !s.answers(w) {
			out = append(out, w)
		}
	}
	slices.SortFunc(out, Want.compare)
	return out
}

// answers reports whether a snapshot knows what a Want is about.
func (s *Snapshot) answers(w Want) bool {
	if w.Ref.Name != "" {
		return s.knows(w.Ref) != Unknown
	}
	for _, r := range s.readsOf(w.Ref.Kind) {
		fits := r.Selector == "" || r.Selector == w.Selector()
		if r.Name == "" && fits && (r.Namespace == "" || r.Namespace == w.Ref.Namespace) && s.sameGroup(r, w.Ref) {
			return true
		}
	}
	return false
}

func (s *Snapshot) sameGroup(r Read, ref incident.Ref) bool {
	return ref.APIVersion == r.APIVersion || groupOf(r.APIVersion, r.Kind) == groupOf(ref.APIVersion, ref.Kind)
}
