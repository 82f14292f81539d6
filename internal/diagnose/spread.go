package diagnose

import (
	"fmt"
	"slices"
)

// apart says why a Pod may not join a node by how Pods are to lie to each other.
type apart struct {
	kind  string // "anti-affinity", "affinity" or "topology spread"
	rule  Value  // the term or constraint
	key   string // its topology key
	what  string // for people
	other *Object
	proof []cite
}

// neighbours is what a Pod's placement asks about other Pods, judged once for all nodes.
type neighbours struct {
	q       *inquiry
	pod     *Object
	meant   []fit
	taken   []map[string]*Object // per anti-affinity term: a Pod that holds each value of the topology key
	near    []map[string]*Object // the same per affinity term
	counts  []map[string]int64   // per constraint: Pods in each domain
	repel   []repulsion
	related []Value // affinity terms
	against []Value // anti-affinity terms
	spread  []Value // constraints that must hold
}

// repulsion is a required anti-affinity term of another Pod that means this one.
type repulsion struct {
	by          *Object
	term        Value
	key, domain string
}

const requiredNow = "requiredDuringSchedulingIgnoredDuringExecution"

func (q *inquiry) neighboursOf(pod *Object, meant []fit) *neighbours {
	n := &neighbours{q: q, pod: pod, meant: meant}
	spec := pod.At("spec")
	n.against = spec.At("affinity", "podAntiAffinity", requiredNow).Items()
	n.related = spec.At("affinity", "podAffinity", requiredNow).Items()
	for _, c := range spec.At("topologySpreadConstraints").Items() {
		if c.At("whenUnsatisfiable").Str() != "ScheduleAnyway" {
			n.spread = append(n.spread, c)
		}
	}
	for _, t := range n.against {
		n.taken = append(n.taken, n.holders(t))
	}
	for _, t := range n.related {
		n.near = append(n.near, n.holders(t))
	}
	for _, c := range n.spread {
		n.counts = append(n.counts, n.domains(c))
	}
	for _, other := range q.repelling() {
		if other == pod {
			continue
		}
		for _, t := range other.At("spec", "affinity", "podAntiAffinity", requiredNow).Items() {
			key := t.At("topologyKey").Str()
			if domain, ok := q.domainOf(other, key); ok && q.means(t, other, pod) {
				n.repel = append(n.repel, repulsion{other, t, key, domain})
			}
		}
	}
	return n
}

// repelling returns the Pods on nodes that have a required anti-affinity.
func (q *inquiry) repelling() []*Object {
	if q.repel == nil {
		q.repel = []*Object{}
		for _, pods := range q.snap.onNode {
			for _, p := range pods {
				if !isDone(p) && p.At("spec", "affinity", "podAntiAffinity", requiredNow).Len() > 0 {
					q.repel = append(q.repel, p)
				}
			}
		}
		slices.SortFunc(q.repel, func(a, b *Object) int { return compareRefs(a.ref, b.ref) })
	}
	return q.repel
}

// domainOf is the value of a topology key at the node of a Pod.
func (q *inquiry) domainOf(pod *Object, key string) (string, bool) {
	node := q.nodeOf(pod)
	if node == nil {
		return "", false
	}
	v, ok := node.Labels()[key]
	return v, ok
}

// means reports whether an affinity term of one Pod means another.
func (q *inquiry) means(term Value, owner, other *Object) bool {
	if !term.At("labelSelector").Exists() || !q.inNamespaces(term, owner, other.ref.Namespace) {
		return false
	}
	return matches(term.At("labelSelector"), other.Labels())
}

func (q *inquiry) inNamespaces(term Value, owner *Object, namespace string) bool {
	names, selector := term.At("namespaces").Items(), term.At("namespaceSelector")
	if len(names) == 0 && !selector.Exists() {
		return namespace == owner.ref.Namespace
	}
	if slices.ContainsFunc(names, func(v Value) bool { return v.Str() == namespace }) {
		return true
	}
	if !selector.Exists() {
		return false
	}
	if selector.Len() == 0 {
		return true
	}
	for _, ns := range q.snap.Kind("Namespace", "") {
		if ns.ref.Name == namespace {
			return matches(selector, ns.Labels())
		}
	}
	return false
}

// holders returns, for each domain of a term, a Pod in it that the term means.
func (n *neighbours) holders(term Value) map[string]*Object {
	out := map[string]*Object{}
	spaces := []string{n.pod.ref.Namespace}
	if term.At("namespaces").Len() > 0 || term.At("namespaceSelector").Exists() {
		spaces = nil
		for _, ns := range n.q.snap.Kind("Namespace", "") {
			spaces = append(spaces, ns.ref.Name)
		}
		for _, v := range term.At("namespaces").Items() {
			if !slices.Contains(spaces, v.Str()) {
				spaces = append(spaces, v.Str())
			}
		}
	}
	for _, ns := range spaces {
		for _, p := range n.q.snap.Kind("Pod", ns) {
			if p == n.pod || isDone(p) || !n.q.means(term, n.pod, p) {
				continue
			}
			if domain, ok := n.q.domainOf(p, term.At("topologyKey").Str()); ok && out[domain] == nil {
				out[domain] = p
			}
		}
	}
	return out
}

// domains counts the Pods that a spread constraint means, in each domain of the nodes that the Pod may use.
func (n *neighbours) domains(c Value) map[string]int64 {
	out := map[string]int64{}
	key := c.At("topologyKey").Str()
	for _, f := range n.meant {
		if v, ok := f.node.Labels()[key]; ok {
			out[v] = 0
		}
	}
	for _, p := range n.q.snap.Kind("Pod", n.pod.ref.Namespace) {
		if p == n.pod || isDone(p) || p.Deleting() || !matches(c.At("labelSelector"), p.Labels()) || !n.sameRevision(c, p) {
			continue
		}
		if domain, ok := n.q.domainOf(p, key); ok {
			if _, counted := out[domain]; counted {
				out[domain]++
			}
		}
	}
	return out
}

func (n *neighbours) sameRevision(c Value, other *Object) bool {
	for _, k := range c.At("matchLabelKeys").Items() {
		if n.pod.Labels()[k.Str()] != other.Labels()[k.Str()] {
			return false
		}
	}
	return true
}

// from returns what keeps the Pod off a node for the sake of other Pods; nil when nothing does.
func (n *neighbours) from(node *Object) *apart {
	labels := node.Labels()
	for i, t := range n.against {
		key := t.At("topologyKey").Str()
		if value, ok := labels[key]; ok {
			if other := n.taken[i][value]; other != nil {
				return &apart{
					"anti-affinity", t, key, fmt.Sprintf("%s is in %s=%s, and the Pods keep apart by %s", other.ref, key, value, key), other,
					[]cite{at(t), at(other.At("spec", "nodeName"))},
				}
			}
		}
	}
	for _, r := range n.repel {
		if value, ok := labels[r.key]; ok && value == r.domain {
			return &apart{
				"anti-affinity", r.term, r.key, fmt.Sprintf("%s, which is in %s=%s, keeps such Pods away", r.by.ref, r.key, value), r.by,
				[]cite{at(r.term), at(r.by.At("spec", "nodeName"))},
			}
		}
	}
	for i, t := range n.related {
		key := t.At("topologyKey").Str()
		value, ok := labels[key]
		if ok && n.near[i][value] != nil || len(n.near[i]) == 0 && n.q.means(t, n.pod, n.pod) && ok {
			continue
		}
		return &apart{"affinity", t, key, fmt.Sprintf("no Pod that the affinity term means is in its %s", key), nil, []cite{at(t)}}
	}
	for i, c := range n.spread {
		if a := n.skewed(c, n.counts[i], labels); a != nil {
			return a
		}
	}
	return nil
}

func (n *neighbours) skewed(c Value, counts map[string]int64, labels map[string]string) *apart {
	key := c.At("topologyKey").Str()
	value, ok := labels[key]
	if !ok {
		return &apart{"topology spread", c, key, fmt.Sprintf("it has no label %s, by which the Pods are spread", key), nil, []cite{at(c.At("topologyKey"))}}
	}
	least, first := int64(0), true
	for _, have := range counts {
		if first || have < least {
			least, first = have, false
		}
	}
	if int64(len(counts)) < c.At("minDomains").IntOr(0) {
		least = 0
	}
	self := int64(0)
	if matches(c.At("labelSelector"), n.pod.Labels()) {
		self = 1
	}
	if skew := counts[value] + self - least; skew > c.At("maxSkew").IntOr(1) {
		return &apart{"topology spread", c, key, fmt.Sprintf("%s=%s has %s already, and the emptiest %s has %d", key, value, count(counts[value], "Pod"), key, least), nil, []cite{at(c)}}
	}
	return nil
}
