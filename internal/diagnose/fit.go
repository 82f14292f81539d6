package diagnose

import (
	"slices"
	"strconv"
	"strings"
)

// requirement is one condition that a Pod puts on a node's labels, by its node selector or by a term
// of its required node affinity.
type requirement struct {
	key      string
	operator string
	values   []string
	place    Value
}

func (r requirement) String() string {
	switch r.operator {
	case "In":
		if len(r.values) == 1 {
			return r.key + "=" + r.values[0]
		}
		return r.key + " in (" + strings.Join(r.values, ",") + ")"
	case "NotIn":
		return r.key + " not in (" + strings.Join(r.values, ",") + ")"
	case "Exists":
		return r.key
	case "DoesNotExist":
		return "!" + r.key
	}
	return r.key + " " + r.operator + " " + strings.Join(r.values, ",")
}

func (r requirement) holds(labels map[string]string) bool {
	value, ok := labels[r.key]
	switch r.operator {
	case "In":
		return ok && slices.Contains(r.values, value)
	case "NotIn":
		return !ok || !slices.Contains(r.values, value)
	case "Exists":
		return ok
	case "DoesNotExist":
		return !ok
	case "Gt", "Lt":
		n, errN := strconv.ParseInt(value, 10, 64)
		if !ok || errN != nil || len(r.values) != 1 {
			return false
		}
		m, errM := strconv.ParseInt(r.values[0], 10, 64)
		return errM == nil && (r.operator == "Gt" && n > m || r.operator == "Lt" && n < m)
	}
	return false
}

// nodeTerms returns the alternatives of what a Pod requires of its node: the node selector together
// with each term of its required affinity. A Pod without any has one empty alternative.
func nodeTerms(spec Value) [][]requirement {
	var base []requirement
	selector := spec.At("nodeSelector")
	for _, k := range selector.Keys() {
		base = append(base, requirement{k, "In", []string{selector.At(k).Str()}, selector.At(k)})
	}
	terms := spec.At("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms").Items()
	if len(terms) == 0 {
		return [][]requirement{base}
	}
	var out [][]requirement
	for _, t := range terms {
		alternative := slices.Clone(base)
		for _, list := range []string{"matchExpressions", "matchFields"} {
			for _, e := range t.At(list).Items() {
				r := requirement{key: e.At("key").Str(), operator: e.At("operator").Str(), place: e}
				for _, v := range e.At("values").Items() {
					r.values = append(r.values, v.Str())
				}
				alternative = append(alternative, r)
			}
		}
		out = append(out, alternative)
	}
	return out
}

// shortage is a resource of which a node has too little left.
type shortage struct {
	resource        string
	need, free, all int64 // thousandths
	place           Value // the node's allocatable
}

// fit says what keeps a Pod off one node.
type fit struct {
	node     *Object
	failing  []requirement // of the alternative that comes nearest; none when the node is selected
	cordoned bool
	unready  bool
	taints   []Value    // not tolerated
	pressure []Value    // the same, of those that mirror a pressure that the node reports
	short    []shortage // judged for nodes only that are selected
	pin      *pinned    // a claim whose volumes cannot be used there
	port     *taken     // judged for nodes only that would fit otherwise
	apart    *apart     // the same
}

func (f fit) selected() bool { return len(f.failing) == 0 }

// open reports whether the node takes Pods of this one's kind at all.
func (f fit) open() bool {
	return f.selected() && !f.cordoned && !f.unready && len(f.taints)+len(f.pressure) == 0
}

// fits judges every node for a Pod.
func (q *inquiry) fits(pod *Object) []fit {
	spec := pod.At("spec")
	terms, requests := nodeTerms(spec), requestsOf(spec, "requests")
	requests["pods"] = 1000
	pins := q.pinsOf(pod)
	var out []fit
	for _, node := range q.snap.Kind("Node", "") {
		if node.partial || !node.Covers("/metadata/labels") || !node.Covers("/spec/taints") {
			continue
		}
		f := fit{node: node, cordoned: node.At("spec", "unschedulable").Bool(), failing: failingOn(node, terms)}
		_, f.unready = q.nodeSymptom(node)
		for _, t := range untolerated(node, spec) {
			if isPressure(t) {
				f.pressure = append(f.pressure, t)
			} else {
				f.taints = append(f.taints, t)
			}
		}
		f.pin = offNode(pins, node)
		if f.selected() {
			f.short = q.shortages(node, requests)
		}
		out = append(out, f)
	}
	return out
}

// failingOn returns what a node lacks of the alternative that it comes nearest to.
func failingOn(node *Object, terms [][]requirement) []requirement {
	labels := node.Labels()
	var nearest []requirement
	for i, term := range terms {
		var failing []requirement
		for _, r := range term {
			if r.key == "metadata.name" && strings.Contains(r.place.Path(), "/matchFields/") {
				if !r.holds(map[string]string{"metadata.name": node.ref.Name}) {
					failing = append(failing, r)
				}
			} else if !r.holds(labels) {
				failing = append(failing, r)
			}
		}
		if i == 0 || len(failing) < len(nearest) {
			nearest = failing
		}
	}
	return nearest
}

// untolerated returns a node's taints that keep the Pod off, other than those that mirror the node
// being cordoned or unready.
func untolerated(node *Object, spec Value) []Value {
	var out []Value
	for _, t := range node.At("spec", "taints").Items() {
		effect, key := t.At("effect").Str(), t.At("key").Str()
		if effect == "PreferNoSchedule" || key == "node.kubernetes.io/unschedulable" || key == "node.kubernetes.io/not-ready" || key == "node.kubernetes.io/unreachable" {
			continue
		}
		if !slices.ContainsFunc(spec.At("tolerations").Items(), func(tol Value) bool { return tolerates(tol, t) }) {
			out = append(out, t)
		}
	}
	return out
}

// isPressure reports whether a taint mirrors a condition of the node.
func isPressure(taint Value) bool {
	switch taint.At("key").Str() {
	case "node.kubernetes.io/disk-pressure", "node.kubernetes.io/memory-pressure", "node.kubernetes.io/pid-pressure", "node.kubernetes.io/network-unavailable":
		return true
	}
	return false
}

func tolerates(tol, taint Value) bool {
	if e := tol.At("effect").Str(); e != "" && e != taint.At("effect").Str() {
		return false
	}
	key := tol.At("key").Str()
	if key != "" && key != taint.At("key").Str() {
		return false
	}
	if tol.At("operator").Str() == "Exists" {
		return true
	}
	return key != "" && tol.At("value").Str() == taint.At("value").Str()
}

// taintText writes "key=value:Effect".
func taintText(t Value) string {
	text := t.At("key").Str()
	if v := t.At("value").Str(); v != "" {
		text += "=" + v
	}
	return text + ":" + t.At("effect").Str()
}

// shortages returns the resources of which the node has less left than is asked for.
func (q *inquiry) shortages(node *Object, requests map[string]int64) []shortage {
	used := q.usedOn(node)
	allocatable := node.At("status", "allocatable")
	if !allocatable.Exists() {
		allocatable = node.At("status", "capacity")
	}
	if !allocatable.Exists() {
		return nil
	}
	var out []shortage
	for _, name := range sortedKeys(requests) {
		place := allocatable.At(name)
		all, known := milli(place)
		if !known && (name == "pods" || name == "ephemeral-storage") {
			continue // not every source of nodes lists these
		}
		if free := all - used[name]; free < requests[name] {
			out = append(out, shortage{name, requests[name], max(free, 0), all, place})
		}
	}
	return out
}

// usedOn sums the requests of the Pods that a node runs.
func (q *inquiry) usedOn(node *Object) map[string]int64 {
	if used, ok := q.requests[node.ref.Name]; ok {
		return used
	}
	used := map[string]int64{}
	for _, p := range q.snap.OnNode(node.ref.Name) {
		if isDone(p) {
			continue
		}
		for name, n := range requestsOf(p.At("spec"), "requests") {
			used[name] = add(used[name], n)
		}
		used["pods"] = add(used["pods"], 1000)
	}
	if q.requests == nil {
		q.requests = map[string]map[string]int64{}
	}
	q.requests[node.ref.Name] = used
	return used
}

// isControlPlane reports whether a node is set aside for the control plane.
func isControlPlane(node *Object) bool {
	labels := node.Labels()
	_, a := labels["node-role.kubernetes.io/control-plane"]
	_, b := labels["node-role.kubernetes.io/master"]
	return a || b
}

// podsKnownOn reports whether all Pods of the cluster were read, so that what is free on a node is
// known and not merely bounded.
func (q *inquiry) podsKnownOn() bool { return q.snap.Listed("Pod", "") }
