package diagnose

import "fmt"

// TrafficPolicyLocal ends at a Service that leads to endpoints on the caller's own node only, when there is none.
func (catalogue) TrafficPolicyLocal() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			node := s.object.At("spec", "nodeName")
			for _, t := range q.ties(s) {
				if t.svc == nil || node.Str() == "" || t.said != nil && t.said.kind != unreached || t.svc.At("spec", "clusterIP").Str() == "None" {
					continue
				}
				policy := t.svc.At("spec", "internalTrafficPolicy")
				if policy.Str() != "Local" || s.reason == silent && !q.youngerThan(t.svc, s.object) {
					continue
				}
				here, elsewhere := q.endpointNodes(t.svc, node.Str())
				if here || elsewhere == nil {
					continue
				}
				c := &cause{
					class: ClassTrafficPolicyLocal, target: t.ref, direct: max(t.strong, compared), timing: timingUnrelated, elsewhere: true,
					signals: []string{"NoLocalEndpoint", "Unhealthy"}, depends: []string{"EndpointSlice"},
					params: map[string]string{"SERVICE_NAME": t.ref.Name, "NODE_NAME": node.Str()},
					last: link{
						t.ref, fmt.Sprintf("its internalTrafficPolicy is Local, and it has no ready endpoint on node %s, where the caller runs", node.Str()),
						append([]cite{at(policy), at(node)}, *elsewhere),
					},
					summary: fmt.Sprintf("%s leads callers to endpoints on their own node only, and there is none on node %s, where %s runs.", t.ref, node.Str(), q.owner(s.object)),
				}
				out = append(out, answer{via: t.links(s), cause: c})
			}
			return out
		},
	}
}

// endpointNodes reports whether a Service has a ready endpoint on a node, and cites one that is on another node; nil when there is
// none or the nodes are not known.
func (q *inquiry) endpointNodes(svc *Object, node string) (here bool, elsewhere *cite) {
	found := false
	for _, slice := range q.snap.Labelled("EndpointSlice", svc.ref.Namespace, map[string]string{"kubernetes.io/service-name": svc.ref.Name}) {
		for _, ep := range slice.At("endpoints").Items() {
			name, ready := ep.At("nodeName"), ep.At("conditions", "ready")
			if name.Str() == "" || ready.Exists() && ready.raw != nil && !ready.Bool() {
				continue
			}
			found = true
			if name.Str() == node {
				return true, nil
			}
			c := at(name)
			elsewhere = &c
		}
	}
	if found {
		return false, elsewhere
	}
	for _, pod := range q.selected(svc) {
		name := pod.At("spec", "nodeName")
		if !isReady(pod) || name.Str() == "" {
			continue
		}
		if name.Str() == node {
			return true, nil
		}
		c := at(name)
		elsewhere = &c
	}
	return false, elsewhere
}
