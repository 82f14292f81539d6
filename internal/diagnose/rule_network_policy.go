package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// NetworkPolicy ends at a policy that keeps a client from what it calls, or from the cluster's DNS. The policies of both ends are
// evaluated for that connection; a policy that denies what nobody misses explains nothing.
func (catalogue) NetworkPolicy() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			if s.object.At("spec", "hostNetwork").Bool() {
				return nil
			}
			if a := q.deniedDNS(s); a != nil {
				return []answer{*a}
			}
			var out []answer
			seen := map[string]bool{}
			for _, t := range q.ties(s) {
				if t.said != nil && t.said.kind != unreached || t.svc == nil {
					continue
				}
				d, server, number := q.deniedCall(s, t)
				if d == nil || s.kind == callFails && t.said == nil && !q.cutOff(s, d.culprit) || seen[d.culprit.ref.String()] {
					continue
				}
				seen[d.culprit.ref.String()] = true
				c := q.denialCause(s, d, fmt.Sprintf("%s on port %d", server.ref, number))
				c.direct = min(c.direct, max(t.strong, compared))
				c.params["SERVICE_NAME"] = t.ref.Name
				out = append(out, answer{via: append(t.links(s), link{t.ref, fmt.Sprintf("its endpoint is %s", server.ref), []cite{exists(server)}}), cause: c})
			}
			if len(out) == 0 {
				out = append(out, q.deniedOutside(s)...)
			}
			return out
		},
	}
}

// deniedCall evaluates the policies between a container's Pod and all the Pods behind a Service; it is denied when none of them can be
// reached on any port that the container may mean.
func (q *inquiry) deniedCall(s symptom, t tie) (*denial, *Object, int64) {
	if selector := t.svc.At("spec", "selector"); selector.Known() && selector.Len() == 0 {
		return q.deniedEndpoint(s, t)
	}
	var first *denial
	var server *Object
	var number int64
	client := podParty(s.object)
	for _, pod := range q.selected(t.svc) {
		if pod.partial || !isReady(pod) || pod.At("spec", "hostNetwork").Bool() {
			continue
		}
		for _, p := range t.svc.At("spec", "ports").Items() {
			if n := p.At("port").IntOr(0); t.port != 0 && n != t.port && t.svc.At("spec", "ports").Len() > 1 {
				continue
			}
			n := numberOf(targetPort(p), pod)
			protocol := p.At("protocol").Str()
			if protocol == "" {
				protocol = "TCP"
			}
			if n == 0 {
				return nil, nil, 0
			}
			peer := podParty(pod)
			younger := func(policy *Object) bool { return q.youngerThan(policy, s.object) }
			d := q.denied(egress(), client, peer, peer, n, protocol, younger)
			if d == nil {
				d = q.denied(ingress(), peer, client, peer, n, protocol, younger)
			}
			if d == nil {
				return nil, nil, 0
			}
			if first == nil {
				first, server, number = d, pod, n
			}
		}
	}
	return first, server, number
}

// deniedEndpoint is deniedCall for a Service that selects no Pods, as that of the API server: policies see the addresses that
// its EndpointSlices name.
func (q *inquiry) deniedEndpoint(s symptom, t tie) (first *denial, behind *Object, number int64) {
	for _, slice := range q.snap.Labelled("EndpointSlice", t.svc.ref.Namespace, map[string]string{"kubernetes.io/service-name": t.svc.ref.Name}) {
		for _, p := range slice.At("ports").Items() {
			for _, ep := range slice.At("endpoints").Items() {
				for _, address := range ep.At("addresses").Items() {
					outside := party{ip: address.Str()}
					d := q.denied(egress(), podParty(s.object), outside, outside, p.At("port").IntOr(0), orElse(p.At("protocol").Str(), "TCP"),
						func(policy *Object) bool { return q.youngerThan(policy, s.object) })
					if d == nil || ep.At("targetRef").Exists() {
						return nil, nil, 0
					}
					if first == nil {
						first, behind, number = d, slice, p.At("port").IntOr(0)
					}
				}
			}
		}
	}
	return first, behind, number
}

// numberOf resolves a target port on a Pod; 0 when the Pod does not declare that name.
func numberOf(target Value, pod *Object) int64 {
	if n, ok := target.Int(); ok {
		return n
	}
	for _, p := range declaredPorts(pod.At("spec")) {
		if p.name == target.Str() {
			return p.number
		}
	}
	return 0
}

// youngerThan reports whether an object was made or last written after the Pod's containers began to run.
func (q *inquiry) youngerThan(o, pod *Object) bool {
	start := pod.At("status", "startTime").Time()
	if start.IsZero() {
		start = pod.Created()
	}
	return !start.IsZero() && changeOf(o).After(start)
}

// changeOf is when an object was last written, as far as that is recorded, else when it was made.
func changeOf(o *Object) time.Time {
	if c, ok := lastChange(o); ok && c.time.After(o.Created()) {
		return c.time
	}
	return o.Created()
}

// cutOff reports whether a policy came while the container ran: where no log speaks of the call, its age must.
func (q *inquiry) cutOff(s symptom, policy *Object) bool { return q.youngerThan(policy, s.object) }

func (q *inquiry) denialCause(s symptom, d *denial, what string) *cause {
	culprit := d.culprit
	c := &cause{
		class: ClassNetworkPolicy, target: culprit.ref, direct: proven, timing: timingUnrelated, elsewhere: true, depends: []string{"NetworkPolicy"},
		signals: []string{"NetworkPolicyDenied", "Unhealthy"}, params: map[string]string{"NETWORK_POLICY": culprit.ref.Name},
		last: link{subject: culprit.ref, proof: []cite{at(culprit.At("spec", "podSelector")), at(d.place)}},
	}
	if q.youngerThan(culprit, s.object) {
		c.timing = timingFits
	}
	side := "lets the Pod"
	if d.policyType == "Ingress" {
		side = "lets others"
	}
	switch d.what {
	case hasNoRules:
		c.last.statement = fmt.Sprintf("it selects the Pod and allows no %s at all", strings.ToLower(d.policyType))
		if !d.place.Exists() {
			c.last.proof = append(c.last.proof[:1], at(culprit.At("spec", "policyTypes")))
		}
	case otherPort:
		c.last.statement = fmt.Sprintf("it %s reach %s, on other ports only", side, what)
	case otherPeer:
		c.last.statement = fmt.Sprintf("its %s rules allow the port, and none of their peers is the other side", strings.ToLower(d.policyType))
	default:
		c.last.statement = fmt.Sprintf("none of its %s rules allows it", strings.ToLower(d.policyType))
	}
	client := q.owner(s.object)
	c.summary = fmt.Sprintf("%s keeps %s from %s: %s.", culprit.ref, client, what, c.last.statement)
	if !q.snap.Listed("NetworkPolicy", d.of.namespace) {
		c.direct = inferred
	}
	if len(d.all) > 1 {
		var names []string
		for _, p := range d.all {
			if p != culprit {
				names = append(names, p.ref.Name)
			}
		}
		c.factors = append(c.factors, fmt.Sprintf("None of the other policies that select the Pod allows it either: %s.", list(names, 4)))
		if !d.sole {
			c.direct = min(c.direct, compared)
		}
	}
	return c
}

// deniedDNS answers for a container that cannot resolve names while policies keep its Pod from the cluster's DNS.
func (q *inquiry) deniedDNS(s symptom) *answer {
	said := q.unresolvedName(s)
	if said == nil {
		return nil
	}
	dns := q.dns()
	client := podParty(s.object)
	younger := func(policy *Object) bool { return q.youngerThan(policy, s.object) }
	d := q.denied(egress(), client, dns.party, dns.party, 53, "UDP", younger)
	if d == nil {
		d = q.denied(ingress(), dns.party, client, dns.party, 53, "UDP", younger)
	}
	if d == nil {
		return nil
	}
	c := q.denialCause(s, d, "the cluster's DNS")
	c.last.proof = append(c.last.proof, said.cite)
	return &answer{via: []link{{s.subject, fmt.Sprintf("container %q cannot resolve names: %s", s.container.name, quote(said.text)), []cite{said.cite}}}, cause: c}
}

// unresolvedName returns the last line in which a container says that it cannot resolve a name.
func (q *inquiry) unresolvedName(s symptom) *spoken {
	for _, l := range q.tail(s) {
		if classifyComplaint(l.text) == unresolved {
			return &l
		}
	}
	return nil
}

// deniedOutside answers for a container that cannot reach an address outside the cluster while no egress rule of its policies
// allows any.
func (q *inquiry) deniedOutside(s symptom) []answer {
	for _, l := range q.tail(s) {
		if classifyComplaint(l.text) != unreached {
			continue
		}
		for _, a := range addressesIn(l.text) {
			d := dependency{address: a}
			if !a.sure || q.isPodIP(a.host) {
				continue
			}
			if q.resolveDependency(&d, s.subject.Namespace) {
				if out := q.deniedUnselected(s, d, l); out != nil {
					return out
				}
				continue
			}
			number := a.port
			if number == 0 {
				number = 443
			}
			outside := party{ip: a.host}
			denied := q.denied(egress(), podParty(s.object), outside, outside, number, "TCP", func(p *Object) bool { return q.youngerThan(p, s.object) })
			if denied == nil || mayBeInside(a.host) && slices.ContainsFunc(denied.all, func(p *Object) bool { return p.At("spec", "egress").Len() > 0 }) {
				continue
			}
			c := q.denialCause(s, denied, a.host)
			c.direct = min(c.direct, compared)
			c.last.proof = append(c.last.proof, l.cite)
			return []answer{{via: []link{{s.subject, fmt.Sprintf("container %q cannot reach %s: %s", s.container.name, a.host, quote(l.text)), []cite{l.cite}}}, cause: c}}
		}
	}
	return nil
}

// deniedUnselected answers for a container that cannot reach a Service which selects no Pods and which only its log names.
func (q *inquiry) deniedUnselected(s symptom, d dependency, l spoken) []answer {
	if d.svc == nil || !d.svc.At("spec", "selector").Known() || d.svc.At("spec", "selector").Len() > 0 {
		return nil
	}
	denied, slice, number := q.deniedEndpoint(s, tie{dependency: d})
	if denied == nil {
		return nil
	}
	c := q.denialCause(s, denied, fmt.Sprintf("%s on port %d", d.ref, number))
	c.direct = min(c.direct, compared)
	c.params["SERVICE_NAME"] = d.ref.Name
	c.last.proof = append(c.last.proof, l.cite)
	via := []link{{s.subject, fmt.Sprintf("container %q cannot reach %s: %s", s.container.name, d.ref, quote(l.text)), []cite{l.cite}}, {d.ref, fmt.Sprintf("its addresses are those of %s", slice.ref), []cite{exists(slice)}}}
	return []answer{{via: via, cause: c}}
}

// mayBeInside reports whether an address can be one of the cluster that was not read: a private one, or a name of two parts, which may be
// those of a Service and its namespace.
func mayBeInside(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsPrivate()
	}
	return strings.Count(host, ".") < 2
}

// isPodIP reports whether some Pod or node that was read has the address.
func (q *inquiry) isPodIP(ip string) bool {
	if !strings.Contains(ip, ".") || !isNumber(ip[strings.LastIndexByte(ip, '.')+1:]) {
		return false
	}
	return slices.ContainsFunc(q.snap.c.Objects, func(o *Object) bool {
		return o.ref.Kind == "Pod" && o.At("status", "podIP").Str() == ip
	})
}

// dnsService is where the Pods of a cluster ask for names.
type dnsService struct {
	ref   incident.Ref
	svc   *Object // nil when it was not read
	party party
}

// dns finds the cluster's DNS: the Service that kubelets lead Pods to by contract, and one of its Pods.
func (q *inquiry) dns() dnsService {
	d := dnsService{ref: incident.Ref{APIVersion: "v1", Kind: "Service", Namespace: "kube-system", Name: "kube-dns"}}
	d.party = party{namespace: d.ref.Namespace, labels: map[string]string{"k8s-app": "kube-dns"}, cluster: true}
	for _, svc := range q.snap.Kind("Service", d.ref.Namespace) {
		if svc.Labels()["k8s-app"] == "kube-dns" || svc.ref.Name == d.ref.Name {
			d.svc, d.ref = svc, svc.ref
			break
		}
	}
	if d.svc != nil {
		if pods := q.selected(d.svc); len(pods) > 0 {
			d.party = podParty(pods[0])
		}
	}
	return d
}
