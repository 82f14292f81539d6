package diagnose

import (
	"cmp"
	"slices"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func compareRefs(a, b incident.Ref) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.APIVersion, b.APIVersion), cmp.Compare(a.UID, b.UID))
}

// orderObjects sorts and keeps the last of those that share kind, namespace and name.
func orderObjects(in []*Object) []*Object {
	last := make(map[objectKey]*Object, len(in))
	for _, o := range in {
		if o != nil {
			last[keyOf(o.ref)] = o
		}
	}
	out := make([]*Object, 0, len(last))
	for _, o := range last {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *Object) int { return compareRefs(a.ref, b.ref) })
	return out
}

func orderEvents(in []*Object) []*Object {
	out := orderObjects(in)
	type timed struct {
		event *Object
		at    time.Time
	}
	all := make([]timed, len(out)) // to read a time is dear, and sorting compares each event many times
	for i, ev := range out {
		all[i] = timed{ev, lastSeen(ev)}
	}
	slices.SortStableFunc(all, func(a, b timed) int { return a.at.Compare(b.at) })
	for i, t := range all {
		out[i] = t.event
	}
	return out
}

// lastSeen is the last time of an event of either API version.
func lastSeen(ev *Object) time.Time {
	for _, v := range []Value{
		ev.At("series", "lastObservedTime"), ev.At("lastTimestamp"), ev.At("deprecatedLastTimestamp"),
		ev.At("eventTime"), ev.At("firstTimestamp"), ev.At("metadata", "creationTimestamp"),
	} {
		if t := v.Time(); !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// about returns the object that an event is about.
func about(ev *Object) incident.Ref {
	v := ev.At("involvedObject")
	if !v.Exists() {
		v = ev.At("regarding")
	}
	return incident.Ref{
		APIVersion: v.At("apiVersion").Str(), Kind: v.At("kind").Str(),
		Namespace: v.At("namespace").Str(), Name: v.At("name").Str(), UID: v.At("uid").Str(),
	}
}

// eventText returns the place of an event's message.
func eventText(ev *Object) Value {
	if v := ev.At("message"); v.Exists() {
		return v
	}
	return ev.At("note")
}

func (s *Snapshot) index() {
	n := len(s.c.Objects)
	s.byKey = make(map[objectKey]*Object, n)
	s.byUID = make(map[string]*Object, n)
	s.byKind = map[kindKey][]*Object{}
	s.loose = make(map[objectKey]*Object, n)
	s.children = map[objectKey][]*Object{}
	s.events = map[objectKey][]*Object{}
	s.eventKey = make(map[objectKey]*Object, len(s.c.Events))
	s.onNode = map[string][]*Object{}
	s.users = map[objectKey][]*Object{}
	s.labelled = map[labelKey][]*Object{}
	s.logs = make(map[logKey]*Log, len(s.c.Logs))
	for _, o := range s.c.Objects {
		s.byKey[keyOf(o.ref)] = o
		if o.ref.UID != "" {
			s.byUID[o.ref.UID] = o
		}
		key := keyOf(o.ref)
		kk := kindKey{key.group, key.kind, key.namespace}
		s.byKind[kk] = append(s.byKind[kk], o)
		key.group = ""
		if s.loose[key] == nil {
			s.loose[key] = o
		}
		if owner, ok := o.Owner(); ok {
			k := keyOf(owner)
			s.children[k] = append(s.children[k], o)
			if owner.Namespace != "" { // the owner may be cluster-scoped; a reference does not say
				k.namespace = ""
				s.children[k] = append(s.children[k], o)
			}
		}
		switch o.ref.Kind {
		case "Pod":
			s.indexPod(o)
			s.indexLabels(o)
		case "EndpointSlice":
			s.indexLabels(o)
		}
	}
	for _, ev := range s.c.Events {
		s.eventKey[keyOf(ev.ref)] = ev
		k := keyOf(about(ev))
		s.events[k] = append(s.events[k], ev)
		if ev.At("reason").Str() == "Preempted" {
			s.preemptions = append(s.preemptions, ev)
		}
	}
	for i := range s.c.Logs {
		l := &s.c.Logs[i]
		s.logs[logKey{l.Pod.Namespace, l.Pod.Name, l.Container, l.Previous}] = l
	}
}

func (s *Snapshot) indexLabels(o *Object) {
	for k, v := range o.labels {
		key := labelKey{o.ref.Kind, o.ref.Namespace, k, v}
		s.labelled[key] = append(s.labelled[key], o)
	}
}

func (s *Snapshot) indexPod(pod *Object) {
	if node := pod.At("spec", "nodeName").Str(); node != "" {
		s.onNode[node] = append(s.onNode[node], pod)
	}
	seen := map[objectKey]bool{}
	for _, r := range podReferences(pod.At("spec")) {
		k := objectKey{"", r.kind, pod.ref.Namespace, r.name.Str()}
		if k.name != "" && !seen[k] {
			seen[k] = true
			s.users[k] = append(s.users[k], pod)
		}
	}
}
