package diagnose

import (
	"maps"
	"net/netip"
	"slices"

	"kubernaut.ai/kubernaut/internal/incident"
)

// party is one side of a connection as a NetworkPolicy sees it.
type party struct {
	namespace string
	labels    map[string]string
	// cluster says that it is a Pod; else it is an address outside, of which only ip may be known.
	cluster bool
	ip      string
	spec    Value // of the Pod, for ports by name
}

func podParty(pod *Object) party {
	return party{namespace: pod.ref.Namespace, labels: pod.Labels(), cluster: true, ip: pod.At("status", "podIP").Str(), spec: pod.At("spec")}
}

// direction is one of the two ends at which policies decide about a connection.
type direction struct {
	policyType, rules, peers string
}

func egress() direction  { return direction{"Egress", "egress", "to"} }
func ingress() direction { return direction{"Ingress", "ingress", "from"} }

// isolating returns the policies of a namespace that restrict a Pod's traffic in a direction.
func (q *inquiry) isolating(d direction, of party) []*Object {
	var out []*Object
	for _, p := range q.snap.Kind("NetworkPolicy", of.namespace) {
		if p.partial || !p.Covers("/spec") || p.Deleting() || !restricts(p, d) || !labelsMatch(p.At("spec", "podSelector"), of.labels) {
			continue
		}
		out = append(out, p)
	}
	return out
}

// restricts reports whether a policy is about a direction. One that does not say is about ingress, and about egress
// when it has egress rules.
func restricts(policy *Object, d direction) bool {
	types := policy.At("spec", "policyTypes").Items()
	if len(types) == 0 {
		return d.policyType == "Ingress" || policy.At("spec", "egress").Len() > 0
	}
	return slices.ContainsFunc(types, func(t Value) bool { return t.Str() == d.policyType })
}

// labelsMatch evaluates a label selector; an empty one matches all.
func labelsMatch(selector Value, labels map[string]string) bool {
	if !selects(selector.At("matchLabels").StrMap(), labels) {
		return false
	}
	for _, e := range selector.At("matchExpressions").Items() {
		r := requirement{key: e.At("key").Str(), operator: e.At("operator").Str()}
		for _, v := range e.At("values").Items() {
			r.values = append(r.values, v.Str())
		}
		if !r.holds(labels) {
			return false
		}
	}
	return true
}

// verdict says what the rules of one policy make of a connection.
type verdict int

const (
	allowed    verdict = iota
	otherPort          // a rule takes the peer, on other ports only
	otherPeer          // a rule takes the port, of other peers only
	neither            // no rule is near
	undecided          // what the rule asks for was not read
	hasNoRules         // the policy allows nothing in this direction
)

// judge applies a policy to a connection between the Pod that it selects and another party, on a port of server.
func (q *inquiry) judge(policy *Object, d direction, other, server party, number int64, protocol string) (verdict, Value) {
	rules := policy.At("spec", d.rules)
	if rules.Len() == 0 {
		return hasNoRules, rules
	}
	best, place := neither, rules
	for _, r := range rules.Items() {
		peer := len(r.At(d.peers).Items()) == 0
		for _, p := range r.At(d.peers).Items() {
			match, known := q.peerMatches(policy, p, other)
			if !known {
				return undecided, p
			}
			peer = peer || match
		}
		onPort := portAllowed(r.At("ports"), server.spec, number, protocol)
		switch {
		case peer && onPort:
			return allowed, r
		case peer && best != otherPort:
			best, place = otherPort, r.At("ports")
		case onPort && best == neither:
			best, place = otherPeer, r.At(d.peers)
		}
	}
	return best, place
}

// peerMatches reports whether a rule's peer is the other party; known is false when that cannot be told.
func (q *inquiry) peerMatches(policy *Object, peer Value, other party) (match, known bool) {
	if block := peer.At("ipBlock"); block.Exists() {
		return inBlock(block, other.ip)
	}
	if !other.cluster {
		return false, true
	}
	if ns := peer.At("namespaceSelector"); ns.Exists() {
		labels, read := q.namespaceLabels(other.namespace)
		match := labelsMatch(ns, labels)
		if !match && !read && !onlyByName(ns) {
			return false, false
		}
		if !match {
			return false, true
		}
	} else if other.namespace != policy.ref.Namespace {
		return false, true
	}
	return labelsMatch(peer.At("podSelector"), other.labels), true
}

// nameLabel is the label that the API server gives every namespace.
const nameLabel = "kubernetes.io/metadata.name"

// namespaceLabels returns a namespace's labels; read is false when only the one that every namespace has is known.
func (q *inquiry) namespaceLabels(name string) (labels map[string]string, read bool) {
	if ns := q.snap.Object(incident.Ref{APIVersion: "v1", Kind: "Namespace", Name: name}); ns != nil && ns.Covers("/metadata/labels") {
		if ns.Labels()[nameLabel] != "" {
			return ns.Labels(), true
		}
		labels = map[string]string{nameLabel: name}
		maps.Copy(labels, ns.Labels())
		return labels, true
	}
	return map[string]string{nameLabel: name}, false
}

// onlyByName reports whether a namespace selector asks for nothing but the name.
func onlyByName(selector Value) bool {
	for _, k := range selector.At("matchLabels").Keys() {
		if k != nameLabel {
			return false
		}
	}
	for _, e := range selector.At("matchExpressions").Items() {
		if e.At("key").Str() != nameLabel {
			return false
		}
	}
	return true
}

func inBlock(block Value, ip string) (match, known bool) {
	prefix, err := netip.ParsePrefix(block.At("cidr").Str())
	if err != nil {
		return false, false
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return false, false
	}
	if !prefix.Contains(addr) {
		return false, true
	}
	for _, e := range block.At("except").Items() {
		if except, err := netip.ParsePrefix(e.Str()); err == nil && except.Contains(addr) {
			return false, true
		}
	}
	return true, true
}

func portAllowed(ports, server Value, number int64, protocol string) bool {
	if ports.Len() == 0 {
		return true
	}
	for _, p := range ports.Items() {
		proto := p.At("protocol").Str()
		if proto == "" {
			proto = "TCP"
		}
		if proto != protocol {
			continue
		}
		want := p.At("port")
		first, numeric := want.Int()
		switch {
		case !want.Exists():
			return true
		case numeric:
			if number >= first && number <= max(first, p.At("endPort").IntOr(0)) {
				return true
			}
		case slices.ContainsFunc(declaredPorts(server), func(d port) bool { return d.name == want.Str() && d.number == number }):
			return true
		}
	}
	return false
}

// denial is a connection that NetworkPolicies do not let through.
type denial struct {
	direction
	of      party     // the Pod that is isolated
	all     []*Object // the policies that isolate it
	culprit *Object   // the one that falls short or came last
	what    verdict   // what the culprit's rules make of the connection
	place   Value
	sole    bool // nothing speaks for another policy
}

// denied reports how policies deny a connection from a client to a port of a server; nil when they let it through, or when it
// cannot be told. since is when the client or server last worked, as far as that is known.
func (q *inquiry) denied(d direction, of, other, server party, number int64, protocol string, younger func(*Object) bool) *denial {
	out := &denial{direction: d, of: of, all: q.isolating(d, of)}
	if len(out.all) == 0 {
		return nil
	}
	score := -1
	for _, p := range out.all {
		v, place := q.judge(p, d, other, server, number, protocol)
		if v == allowed || v == undecided {
			return nil
		}
		n := 0
		switch {
		case younger(p):
			n = 4
		case v == otherPort:
			n = 3
		case v == otherPeer && p.At("spec", "podSelector").At("matchLabels").Len() > 0:
			n = 2
		case p.At("spec", "podSelector", "matchLabels").Len() > 0:
			n = 1
		}
		if n > score || n == score && p.Created().After(out.culprit.Created()) {
			out.sole = n > score
			score = n
			out.culprit, out.what, out.place = p, v, place
		} else if n == score && p.Created().Equal(out.culprit.Created()) {
			out.sole = false
		}
	}
	return out
}
