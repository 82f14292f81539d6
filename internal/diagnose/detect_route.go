package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// gatewayAPI is the API group of Gateways and the routes that are attached to them.
const gatewayAPI = "gateway.networking.k8s.io"

// isRoute reports whether an object leads requests from outside to Services.
func isRoute(o *Object) bool {
	switch group := groupOf(o.ref.APIVersion, o.ref.Kind); o.ref.Kind {
	case "Ingress":
		return group == "networking.k8s.io"
	case "Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute":
		return group == gatewayAPI
	}
	return false
}

// backend is a Service and port that a route leads to.
type backend struct {
	svc     incident.Ref
	name    Value // the place of its name
	port    Value // a number or a name; nowhere when none is said
	service *Object
}

// backends lists where an Ingress or a route leads to, each Service and port once.
func (q *inquiry) backends(o *Object) []backend {
	var out []backend
	add := func(name, port Value, ns string) {
		b := backend{svc: incident.Ref{APIVersion: "v1", Kind: "Service", Namespace: ns, Name: name.Str()}, name: name, port: port}
		if b.svc.Name == "" || slices.ContainsFunc(out, func(x backend) bool { return x.svc == b.svc && x.port.Text() == port.Text() }) {
			return
		}
		b.service = q.snap.Object(b.svc)
		out = append(out, b)
	}
	if o.ref.Kind == "Ingress" {
		takeService := func(v Value) {
			port := v.At("service", "port", "number")
			if !port.Exists() {
				port = v.At("service", "port", "name")
			}
			add(v.At("service", "name"), port, o.ref.Namespace)
		}
		takeService(o.At("spec", "defaultBackend"))
		for _, rule := range o.At("spec", "rules").Items() {
			for _, p := range rule.At("http", "paths").Items() {
				takeService(p.At("backend"))
			}
		}
		return out
	}
	for _, rule := range o.At("spec", "rules").Items() {
		for _, b := range rule.At("backendRefs").Items() {
			if kind := b.At("kind").Str(); kind != "" && kind != "Service" || b.At("group").Str() != "" {
				continue
			}
			ns := b.At("namespace").Str()
			if ns == "" {
				ns = o.ref.Namespace
			}
			add(b.At("name"), b.At("port"), ns)
		}
	}
	return out
}

// routesIn returns the routes of a namespace.
func (q *inquiry) routesIn(ns string) []*Object {
	var out []*Object
	for _, kind := range []string{"Ingress", "HTTPRoute", "GRPCRoute", "Gateway"} {
		out = append(out, q.snap.Kind(kind, ns)...)
	}
	return out
}

// routesTo returns the routes of a Service's namespace that lead to it, or that lead to no Service under a name which is near.
func (q *inquiry) routesTo(services []*Object) []*Object {
	var out []*Object
	if len(services) == 0 {
		return nil
	}
	for _, o := range q.routesIn(services[0].ref.Namespace) {
		for _, b := range q.backends(o) {
			if slices.ContainsFunc(services, func(s *Object) bool { return s == b.service }) || b.service == nil && q.snap.Knows(b.svc) == Absent &&
				slices.ContainsFunc(services, func(s *Object) bool { return s.ref.Name == q.nearestObject(b.svc) }) {
				out = appendOnce(out, o)
			}
		}
	}
	return out
}

// routeFault is one thing that is wrong with a route.
type routeFault struct {
	class     incident.CauseClass
	detail    string
	statement string
	proof     []cite
	direct    directness
	params    map[string]string
	next      *symptom // what stands behind it, when the route itself is as it should be
	nextLink  link
}

// routeSymptoms states that a route leads nowhere.
func (q *inquiry) routeSymptoms(o *Object) []symptom {
	if o.partial || o.Deleting() {
		return nil
	}
	faults := q.routeFaults(o)
	if len(faults) == 0 {
		return nil
	}
	s := symptom{kind: routeBroken, object: o, affected: 1, link: link{o.ref, fmt.Sprintf("%s cannot do what it says", o.ref.Kind), faults[0].proof}}
	if faults[0].next != nil {
		s.statement = fmt.Sprintf("%s leads to what does not serve", o.ref.Kind)
		s.proof = faults[0].nextLink.proof
	}
	return []symptom{s}
}

func (q *inquiry) routeFaults(o *Object) []routeFault {
	var out []routeFault
	out = append(out, q.classFaults(o)...)
	for _, b := range q.backends(o) {
		out = append(out, q.backendFaults(o, b)...)
	}
	out = append(out, q.tlsFaults(o)...)
	out = append(out, q.parentFaults(o)...)
	return out
}

// classFaults finds a class that does not exist, or none at all where none is the default.
func (q *inquiry) classFaults(o *Object) []routeFault {
	var class incident.Ref
	var place Value
	switch o.ref.Kind {
	case "Ingress":
		place = o.At("spec", "ingressClassName")
		class = incident.Ref{APIVersion: "networking.k8s.io/v1", Kind: "IngressClass", Name: place.Str()}
		old := o.At("metadata", "annotations", "kubernetes.io/ingress.class")
		if !place.Exists() && (old.Exists() || !old.Known()) {
			return nil
		}
		if !place.Exists() && place.Known() && o.At("status", "loadBalancer", "ingress").Len() == 0 && q.snap.Listed("IngressClass", "") && o.ref.APIVersion == class.APIVersion {
			isDefault := func(c *Object) bool {
				return c.At("metadata", "annotations", "ingressclass.kubernetes.io/is-default-class").Str() == "true"
			}
			if !slices.ContainsFunc(q.snap.Kind("IngressClass", ""), isDefault) {
				return []routeFault{{class: ClassIngressClassMissing, statement: "it names no class, and no IngressClass is the default", proof: []cite{at(place)}, direct: compared}}
			}
			return nil
		}
	case "Gateway":
		place = o.At("spec", "gatewayClassName")
		class = incident.Ref{APIVersion: o.ref.APIVersion, Kind: "GatewayClass", Name: place.Str()}
	}
	if class.Name == "" || q.snap.Knows(class) == Present {
		return nil
	}
	f := routeFault{
		class: ClassIngressClassMissing, detail: class.Name, direct: proven, params: map[string]string{"CLASS_NAME": class.Name},
		statement: fmt.Sprintf("its class %q does not exist", class.Name), proof: []cite{at(place), gone(class)},
	}
	if q.snap.Knows(class) == Unknown {
		waits, untaken := q.untaken(o)
		if !untaken {
			return nil
		}
		f.direct, f.proof = compared, []cite{at(place), at(waits.At("status")), at(waits.At("reason"))}
		f.statement = fmt.Sprintf("no controller has taken it, and its class %q is not among those that were read", class.Name)
	}
	var names []string
	for _, c := range q.snap.c.Objects {
		if c.ref.Kind == class.Kind && groupOf(c.ref.APIVersion, c.ref.Kind) == groupOf(class.APIVersion, class.Kind) {
			names = append(names, c.ref.Name)
		}
	}
	if len(names) == 1 {
		f.params["SUGGESTED_NAME"] = names[0]
		f.statement += fmt.Sprintf("; there is one named %q", names[0])
	} else if near := nearest(class.Name, names); near != "" {
		f.params["SUGGESTED_NAME"] = near
	}
	return []routeFault{f}
}

// untaken reports whether a Gateway still has the condition that the API server gives it, which the controller of its class
// replaces at once.
func (q *inquiry) untaken(o *Object) (accepted Value, untaken bool) {
	accepted = condition(o, "Accepted")
	waits := accepted.At("status").Str() == "Unknown" && accepted.At("reason").Str() == "Pending"
	return accepted, o.ref.Kind == "Gateway" && waits && !o.Created().IsZero() && q.now.Sub(o.Created()) > resourceGrace
}

func (q *inquiry) backendFaults(o *Object, b backend) []routeFault {
	f := routeFault{class: ClassIngressBackend, detail: b.svc.String(), direct: proven, params: map[string]string{"SERVICE_NAME": b.svc.Name}}
	if b.service == nil {
		if q.snap.Knows(b.svc) != Absent {
			return nil
		}
		near := q.nearestObject(b.svc)
		if near == "" && q.behindAbsent(b.svc) != nil {
			return []routeFault{{
				next:     &symptom{kind: serviceAbsent, affected: 1, link: link{b.svc, "Service does not exist", []cite{gone(b.svc)}}},
				nextLink: link{o.ref, fmt.Sprintf("it leads to %s", b.svc), []cite{at(b.name)}},
			}}
		}
		f.statement, f.proof = fmt.Sprintf("it leads to Service %q, which does not exist", b.svc.Name), []cite{at(b.name), gone(b.svc)}
		if near != "" {
			f.params["SUGGESTED_NAME"] = near
			f.statement += fmt.Sprintf("; there is one named %q", near)
		}
		return []routeFault{f}
	}
	ports := b.service.At("spec", "ports").Items()
	if b.port.Exists() && len(ports) > 0 && b.service.At("spec", "type").Str() != "ExternalName" && !slices.ContainsFunc(ports, func(p Value) bool {
		return p.At("port").Text() == b.port.Text() || p.At("name").Exists() && p.At("name").Str() == b.port.Str()
	}) {
		var have []string
		for _, p := range ports {
			have = append(have, strings.TrimSpace(p.At("name").Str()+" "+p.At("port").Text()))
		}
		f.detail += "/" + b.port.Text()
		f.statement = fmt.Sprintf("it leads to port %s of Service %q, which has %s", b.port.Text(), b.svc.Name, list(have, 4))
		f.proof = []cite{at(b.port), at(b.service.At("spec", "ports"))}
		f.params["PORT"] = b.port.Text()
		if len(ports) == 1 {
			f.params["SUGGESTED_PORT"] = ports[0].At("port").Text()
		}
		return []routeFault{f}
	}
	var out []routeFault
	for _, s := range q.serviceSymptoms(b.service) {
		if !q.mereHint(s) {
			out = append(out, routeFault{next: &s, nextLink: link{o.ref, fmt.Sprintf("it leads to %s", b.svc), []cite{at(b.name)}}})
		}
	}
	return out
}

// tlsFaults finds TLS Secrets that do not exist; where a Certificate is to make one, that stands behind it.
func (q *inquiry) tlsFaults(o *Object) []routeFault {
	var names []Value
	for _, t := range o.At("spec", "tls").Items() {
		names = append(names, t.At("secretName"))
	}
	for _, l := range o.At("spec", "listeners").Items() {
		for _, r := range l.At("tls", "certificateRefs").Items() {
			if ns := r.At("namespace").Str(); ns == "" || ns == o.ref.Namespace {
				names = append(names, r.At("name"))
			}
		}
	}
	var out []routeFault
	for _, name := range names {
		ref := incident.Ref{APIVersion: "v1", Kind: "Secret", Namespace: o.ref.Namespace, Name: name.Str()}
		if name.Str() == "" {
			continue
		}
		if cert := q.certificateFor(ref); cert != nil {
			for _, s := range q.resourceSymptoms(cert) {
				out = append(out, routeFault{next: &s, nextLink: link{o.ref, fmt.Sprintf("its TLS Secret %q is made by %s", ref.Name, cert.ref), []cite{at(name), at(cert.At("spec", "secretName"))}}})
			}
			continue
		}
		if q.snap.Knows(ref) == Absent {
			out = append(out, routeFault{
				class: ClassIngressBackend, detail: ref.String(), direct: proven, params: map[string]string{"SECRET_NAME": ref.Name},
				statement: fmt.Sprintf("its TLS Secret %q does not exist", ref.Name), proof: []cite{at(name), gone(ref)},
			})
		}
	}
	return out
}

// parentFaults finds Gateways that do not exist, and what the Gateway's controller says of a route that nothing else explains.
func (q *inquiry) parentFaults(o *Object) []routeFault {
	var out []routeFault
	for _, p := range o.At("spec", "parentRefs").Items() {
		ns := p.At("namespace").Str()
		if ns == "" {
			ns = o.ref.Namespace
		}
		ref := incident.Ref{APIVersion: o.ref.APIVersion, Kind: "Gateway", Namespace: ns, Name: p.At("name").Str()}
		if kind := p.At("kind").Str(); (kind == "" || kind == "Gateway") && ref.Name != "" && q.snap.Knows(ref) == Absent {
			out = append(out, routeFault{
				class: ClassIngressBackend, detail: ref.String(), direct: proven, params: map[string]string{"GATEWAY_NAME": ref.Name},
				statement: fmt.Sprintf("it is attached to Gateway %q, which does not exist", ref.Name), proof: []cite{at(p.At("name")), gone(ref)},
			})
		}
		if gw := q.snap.Object(ref); gw != nil && gw != o {
			for _, s := range q.routeSymptoms(gw) {
				out = append(out, routeFault{next: &s, nextLink: link{o.ref, fmt.Sprintf("it is attached to %s", gw.ref), []cite{at(p.At("name"))}}})
			}
		}
	}
	for _, parent := range o.At("status", "parents").Items() {
		for _, c := range parent.At("conditions").Items() {
			kind := c.At("type").Str()
			if (kind == "Accepted" || kind == "ResolvedRefs") && c.At("status").Str() == "False" && !stale(o, c) {
				out = append(out, routeFault{
					class: ClassIngressBackend, detail: kind, direct: stated, params: map[string]string{},
					statement: fmt.Sprintf("its Gateway's controller says %s is False: %s", kind, quote(strings.TrimSpace(c.At("reason").Str()+" "+c.At("message").Str()))),
					proof:     []cite{at(c.At("status")), at(c.At("reason")), at(c.At("message"))},
				})
			}
		}
	}
	return out
}

// stale reports whether a condition was written about an earlier state of the object's spec.
func stale(o *Object, condition Value) bool {
	seen, ok := condition.At("observedGeneration").Int()
	now, ok2 := o.At("metadata", "generation").Int()
	return ok && ok2 && seen < now
}
