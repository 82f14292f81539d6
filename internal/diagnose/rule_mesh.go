package diagnose

import (
	"fmt"
	"slices"
	"strings"
)

// Groups and annotations of the Istio mesh's contract.
const (
	meshSecurity = "security.istio.io"
	meshRoot     = "istio-system"
	meshSidecar  = "sidecar.istio.io/status"
)

// MeshPolicy ends at a policy of the service mesh that refuses a call, or demands mutual TLS of a client that has no sidecar to speak it.
func (catalogue) MeshPolicy() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			for _, t := range q.ties(s) {
				if t.svc == nil || t.said == nil {
					continue
				}
				pods := q.selected(t.svc)
				if len(pods) == 0 || !inMesh(pods[0]) {
					continue
				}
				var c *cause
				switch t.said.kind {
				case unreached:
					c = q.strictTLS(s, pods[0])
				case refusesUs:
					c = q.meshDenies(s, t, pods[0])
				}
				if c == nil {
					continue
				}
				c.direct = min(c.direct, max(t.strong, compared))
				c.last.proof = append(c.last.proof, t.said.cite)
				out = append(out, answer{via: append(t.links(s), link{t.ref, fmt.Sprintf("its endpoint %s is in the mesh", pods[0].ref), []cite{at(pods[0].At("metadata", "annotations", meshSidecar))}}), cause: c})
			}
			return out
		},
	}
}

// inMesh reports whether a Pod has the mesh's sidecar, as the injector notes.
func inMesh(pod *Object) bool { return pod.At("metadata", "annotations", meshSidecar).Exists() }

// meshPolicies returns the mesh's policies of a kind that are in force for a Pod, the more particular first.
func (q *inquiry) meshPolicies(kind string, pod *Object) []*Object {
	var own, namespace, mesh []*Object
	for _, ns := range []string{pod.ref.Namespace, meshRoot} {
		for _, p := range q.snap.custom(meshSecurity, kind, ns) {
			labels := p.At("spec", "selector", "matchLabels").StrMap()
			switch {
			case !selects(labels, pod.Labels()) || p.partial:
			case ns == meshRoot:
				mesh = append(mesh, p)
			case len(labels) > 0:
				own = append(own, p)
			default:
				namespace = append(namespace, p)
			}
		}
	}
	return slices.Concat(own, namespace, mesh)
}

// strictTLS finds the policy that makes a server take mutual TLS only, when the client has no sidecar.
func (q *inquiry) strictTLS(s symptom, server *Object) *cause {
	if inMesh(s.object) || !s.object.Covers("/metadata/annotations") {
		return nil
	}
	policies := q.meshPolicies("PeerAuthentication", server)
	if len(policies) == 0 {
		return nil
	}
	p := policies[0]
	mode := p.At("spec", "mtls", "mode")
	if mode.Str() != "STRICT" {
		return nil
	}
	return q.meshCause(s, p, fmt.Sprintf("it makes %s take mutual TLS only, and the client has no sidecar", server.ref),
		[]cite{at(mode), at(s.object.At("metadata", "annotations", meshSidecar))})
}

// meshDenies evaluates the AuthorizationPolicies of a server for a client. A rule that asks for what is not known (hosts, headers, a path that no line names,
// other conditions) decides nothing.
func (q *inquiry) meshDenies(s symptom, t tie, server *Object) *cause {
	var allow []*Object
	for _, p := range q.meshPolicies("AuthorizationPolicy", server) {
		rules := p.At("spec", "rules")
		switch p.At("spec", "action").Str() {
		case "DENY":
			for _, r := range rules.Items() {
				if match, known := q.meshRule(r, s.object, t, server); match && known {
					return q.meshCause(s, p, "its rule denies what comes from the client", []cite{at(p.At("spec", "action")), at(r)})
				}
			}
		case "", "ALLOW":
			for _, r := range rules.Items() {
				if match, known := q.meshRule(r, s.object, t, server); match || !known {
					return nil
				}
			}
			allow = append(allow, p)
		}
	}
	if len(allow) == 0 {
		return nil
	}
	newest := allow[0]
	for _, p := range allow {
		if changeOf(p).After(changeOf(newest)) {
			newest = p
		}
	}
	rules := newest.At("spec", "rules")
	statement := "none of its rules allows the client"
	if rules.Len() == 0 {
		statement = "it allows nobody"
	}
	return q.meshCause(s, newest, statement, []cite{at(newest.At("spec"))})
}

func (q *inquiry) meshCause(s symptom, policy *Object, statement string, proof []cite) *cause {
	c := &cause{
		class: ClassMeshPolicy, target: policy.ref, direct: proven, timing: timingUnrelated, elsewhere: true,
		signals: []string{"MeshPolicyDenied"}, params: map[string]string{"RESOURCE_KIND": policy.ref.Kind, "RESOURCE_NAME": policy.ref.Name},
		last:    link{policy.ref, statement, proof},
		summary: fmt.Sprintf("%s keeps %s from what it calls: %s.", policy.ref, q.owner(s.object), statement),
	}
	if q.youngerThan(policy, s.object) {
		c.timing = timingFits
	}
	return c
}

// meshRule reports whether a rule is about calls of a client to a server; known is false when that cannot be told.
func (q *inquiry) meshRule(r Value, client *Object, t tie, server *Object) (match, known bool) {
	if r.At("when").Len() > 0 {
		return false, false
	}
	account := client.At("spec", "serviceAccountName").Str()
	if account == "" {
		account = "default"
	}
	principal := "cluster.local/ns/" + client.ref.Namespace + "/sa/" + account
	from := r.At("from").Len() == 0
	for _, f := range r.At("from").Items() {
		source := f.At("source")
		fits := true
		for _, key := range source.Keys() {
			switch key {
			case "principals":
				fits = fits && inMesh(client) && anyMatches(source.At(key), principal)
			case "namespaces":
				fits = fits && inMesh(client) && anyMatches(source.At(key), client.ref.Namespace)
			case "notPrincipals":
				fits = fits && !anyMatches(source.At(key), principal)
			case "notNamespaces":
				fits = fits && !anyMatches(source.At(key), client.ref.Namespace)
			default:
				return false, false
			}
		}
		from = from || fits
	}
	if !from {
		return false, true
	}
	to := r.At("to").Len() == 0
	for _, o := range r.At("to").Items() {
		operation := o.At("operation")
		fits := true
		for _, key := range operation.Keys() {
			method, path := requestIn(t)
			switch {
			case key == "ports":
				fits = fits && q.onMeshPort(operation.At(key), t, server)
			case key == "methods" && method != "":
				fits = fits && anyMatches(operation.At(key), method)
			case key == "notMethods" && method != "":
				fits = fits && !anyMatches(operation.At(key), method)
			case key == "paths" && path != "":
				fits = fits && anyMatches(operation.At(key), path)
			case key == "notPaths" && path != "":
				fits = fits && !anyMatches(operation.At(key), path)
			default:
				return false, false
			}
		}
		to = to || fits
	}
	return to, true
}

// requestIn reads the method and the path of the request out of the line in which the client complains; empty where it does
// not say them.
func requestIn(t tie) (method, path string) {
	for _, word := range strings.FieldsFunc(t.said.text, func(r rune) bool { return strings.ContainsRune(" \t\"'`,;()[]<>", r) }) {
		switch word {
		case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
			method = word
			continue
		}
		_, rest, isURL := strings.Cut(word, "://")
		if !isURL || path != "" {
			continue
		}
		_, rest, _ = strings.Cut(strings.TrimSuffix(rest, ":"), "/")
		rest, _, _ = strings.Cut(rest, "?")
		path = "/" + rest
	}
	return method, path
}

// onMeshPort reports whether one of the ports is one on which the client reaches the server's Pod.
func (q *inquiry) onMeshPort(ports Value, t tie, server *Object) bool {
	for _, p := range t.svc.At("spec", "ports").Items() {
		if n, _ := p.At("port").Int(); t.port != 0 && n != t.port {
			continue
		}
		if anyMatches(ports, fmt.Sprint(numberOf(targetPort(p), server))) {
			return true
		}
	}
	return false
}

// anyMatches applies the mesh's patterns: exact, prefix*, *suffix, or *.
func anyMatches(patterns Value, value string) bool {
	return slices.ContainsFunc(patterns.Items(), func(v Value) bool {
		p := v.Str()
		switch {
		case p == "*":
			return true
		case strings.HasSuffix(p, "*"):
			return strings.HasPrefix(value, strings.TrimSuffix(p, "*"))
		case strings.HasPrefix(p, "*"):
			return strings.HasSuffix(value, strings.TrimPrefix(p, "*"))
		}
		return p == value
	})
}
