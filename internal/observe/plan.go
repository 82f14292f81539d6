package observe

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Up to so many things are read one by one; of more there is one list.
const (
	maxGets   = 8 // objects of one kind in one namespace
	maxSpaces = 3 // namespaces of one kind, or nodes whose Pods are wanted
)

// plan turns what the engine asked for into the fewest and cheapest queries.
func (r *reader) plan(wants []diagnose.Want) []query {
	var out []query
	batches := map[schema.GroupResource]*batch{}
	var order []schema.GroupResource
	for _, w := range wants {
		if w.Ref.Kind == "*" {
			group, _, _ := strings.Cut(w.Ref.APIVersion, "/")
			if group == "*" {
				group = ""
			}
			out = append(out, r.customIn(group, w.Ref.Namespace)...)
			r.noteKinds(w)
			continue
		}
		k, ok := r.resolve(w.Ref)
		if !ok {
			r.noteUnserved(w)
			continue
		}
		key := k.resource.GroupResource()
		if batches[key] == nil {
			batches[key] = &batch{kind: k, names: map[string][]string{}}
			order = append(order, key)
		}
		batches[key].add(w)
	}
	for _, key := range order {
		out = append(out, batches[key].queries()...)
	}
	return out
}

// noteKinds records that all kinds of a group were asked for, when nothing of it can be unknown for want of an answer.
func (r *reader) noteKinds(w diagnose.Want) {
	if s := r.served(); s != nil && len(s.failed) == 0 {
		r.note(diagnose.Read{APIVersion: w.Ref.APIVersion, Kind: w.Ref.Kind, Namespace: w.Ref.Namespace})
	}
}

// noteUnserved records that there are no objects of a kind which the cluster does not serve. Without the word of the API
// server, or where one of those behind it does not answer, nothing is known. Measurements are another matter: that they are
// not served does not mean that there is nothing to measure.
func (r *reader) noteUnserved(w diagnose.Want) {
	s := r.served()
	if s == nil || w.Ref.Kind == "" || w.Ref.APIVersion == "" && !isBuiltin(w.Ref.Kind) {
		return
	}
	group, _, _ := strings.Cut(w.Ref.APIVersion, "/")
	if slices.Contains(s.failed, group) || group == "metrics.k8s.io" {
		return
	}
	r.note(diagnose.Read{APIVersion: apiVersionOf(w.Ref), Kind: w.Ref.Kind, Namespace: w.Ref.Namespace, Name: w.Ref.Name, Selector: w.Selector()})
}

func isBuiltin(name string) bool {
	_, ok := builtin(name)
	return ok
}

// apiVersionOf completes the API version of a built-in kind.
func apiVersionOf(ref incident.Ref) string {
	if k, ok := builtin(ref.Kind); ok && ref.APIVersion == "" {
		return k.apiVersion()
	}
	return ref.APIVersion
}

// batch is what is wanted of one kind.
type batch struct {
	kind   kind
	spaces []string            // namespaces to list; "" is all of them
	names  map[string][]string // by namespace
	nodes  []string
	abouts []string // kinds of objects that events are wanted about
}

func (b *batch) add(w diagnose.Want) {
	ns := w.Ref.Namespace
	if !b.kind.namespaced {
		if ns != "" && w.Ref.Name != "" {
			return // there is no such thing: an owner's namespace was tried
		}
		ns = ""
	}
	switch {
	case w.Node != "":
		b.nodes = append(b.nodes, w.Node)
	case w.About != "":
		b.abouts = append(b.abouts, w.About)
	case w.Ref.Name == "":
		b.spaces = append(b.spaces, ns)
	case b.kind.namespaced && ns == "":
	default:
		b.names[ns] = append(b.names[ns], w.Ref.Name)
	}
}

func (b *batch) queries() []query {
	for ns, names := range b.names {
		slices.Sort(names)
		b.names[ns] = slices.Compact(names)
		if b.kind.is(whole) || len(b.names[ns]) > maxGets {
			b.spaces = append(b.spaces, ns)
		}
	}
	slices.Sort(b.spaces)
	b.spaces = slices.Compact(b.spaces)
	if slices.Contains(b.spaces, "") || len(b.spaces) > maxSpaces || len(b.nodes) > maxSpaces {
		return []query{{kind: b.kind}}
	}
	var out []query
	for _, ns := range b.spaces {
		out = append(out, query{kind: b.kind, namespace: ns})
	}
	for _, ns := range sortedNames(b.names) {
		if slices.Contains(b.spaces, ns) {
			continue
		}
		for _, name := range b.names[ns] {
			out = append(out, query{kind: b.kind, namespace: ns, name: name})
		}
	}
	for _, n := range b.nodes {
		out = append(out, query{kind: b.kind, selector: diagnose.Want{Node: n}.Selector()})
	}
	for _, a := range b.abouts {
		if !slices.Contains(b.spaces, eventsOfCluster) {
			out = append(out, query{kind: b.kind, namespace: eventsOfCluster, selector: diagnose.Want{About: a}.Selector()})
		}
	}
	return out
}

// eventsOfCluster is the namespace that keeps the events about what has no namespace.
const eventsOfCluster = "default"
