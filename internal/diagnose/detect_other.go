package diagnose

import (
	"fmt"
	"slices"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// nodeRef names a node.
func nodeRef(name string) incident.Ref {
	return incident.Ref{APIVersion: "v1", Kind: "Node", Name: name}
}

// nodeOf returns the node that a Pod is bound to, or nil when there is none or it was not read.
func (q *inquiry) nodeOf(pod *Object) *Object {
	name := pod.At("spec", "nodeName").Str()
	if name == "" {
		return nil
	}
	return q.snap.Object(incident.Ref{APIVersion: "v1", Kind: "Node", Name: name})
}

// nodeSymptom reports whether a node does not report, or says that it is not ready. A node whose
// Ready condition is still True counts as lost when its Lease is long overdue.
func (q *inquiry) nodeSymptom(node *Object) (symptom, bool) {
	state, known := q.nodes[node]
	if !known {
		state.symptom, state.bad = q.judgeNode(node)
		if q.nodes == nil {
			q.nodes = map[*Object]nodeState{}
		}
		q.nodes[node] = state
	}
	return state.symptom, state.bad
}

// nodeState is what nodeSymptom found, kept because every Pod asks for its node.
type nodeState struct {
	symptom symptom
	bad     bool
}

func (q *inquiry) judgeNode(node *Object) (symptom, bool) {
	if node.partial {
		return symptom{}, false
	}
	s := symptom{kind: nodeUnready, object: node, link: link{subject: node.ref}}
	ready := condition(node, "Ready")
	renewed := q.leaseOf(node)
	switch status := ready.At("status").Str(); status {
	case "True", "":
		if !q.overdue(renewed) {
			return symptom{}, false
		}
		s.statement = fmt.Sprintf("node has not renewed its Lease for %s", span(q.now.Sub(renewed.Time())))
		if status == "True" {
			s.statement += ", and still reads Ready"
		}
		s.proof = []cite{at(renewed)}
		s.since = renewed.Time()
	default:
		s.statement = "node is not ready"
		if status == "Unknown" {
			s.statement = "node does not report"
		}
		s.proof = []cite{at(ready.At("status"))}
		s.reason, s.text, s.since = ready.At("reason").Str(), ready.At("message"), ready.At("lastTransitionTime").Time()
		if s.reason != "" {
			s.statement += ": " + s.reason
			s.proof = append(s.proof, at(ready.At("reason")))
		}
	}
	return s, true
}

// leaseOf returns the time at which a node last renewed its Lease, nowhere when that was not read.
func (q *inquiry) leaseOf(node *Object) Value {
	lease := q.snap.Object(incident.Ref{APIVersion: "coordination.k8s.io/v1", Kind: "Lease", Namespace: "kube-node-lease", Name: node.ref.Name})
	if lease == nil {
		return Value{}
	}
	return lease.At("spec", "renewTime")
}

// overdue reports whether a node's Lease was not renewed for four times its duration. It measures
// against the freshest Lease there is, and not against the clock, so that a snapshot whose time was
// taken late does not declare every node dead.
func (q *inquiry) overdue(renewed Value) bool {
	if renewed.Time().IsZero() {
		return false
	}
	if q.fresh == nil {
		fresh := time.Time{}
		for _, l := range q.snap.Kind("Lease", "kube-node-lease") {
			if t := l.At("spec", "renewTime").Time(); t.After(fresh) && !t.After(q.now) {
				fresh = t
			}
		}
		q.fresh = &fresh
	}
	seconds := renewed.object.At("spec", "leaseDurationSeconds").IntOr(40)
	return q.fresh.Sub(renewed.Time()) > 4*time.Duration(min(max(seconds, 10), 600))*time.Second
}

// endpoints says what stands behind a Service.
type endpoints struct {
	known    bool // EndpointSlices, or the Pods that they would be made from, were read
	ready    int
	notReady int
	proof    []cite
}

func (q *inquiry) endpointsOf(svc *Object) endpoints {
	var e endpoints
	ns := svc.ref.Namespace
	for _, slice := range q.snap.Labelled("EndpointSlice", ns, map[string]string{"kubernetes.io/service-name": svc.ref.Name}) {
		e.known = true
		list := slice.At("endpoints")
		for _, ep := range list.Items() {
			cond := ep.At("conditions", "ready")
			if !cond.Exists() || cond.raw == nil || cond.Bool() {
				e.ready++
			} else {
				e.notReady++
				e.proof = append(e.proof, at(cond))
			}
		}
		if list.Len() == 0 {
			e.proof = append(e.proof, at(list))
		}
	}
	if e.known {
		if len(e.proof) > 3 {
			e.proof = e.proof[:3]
		}
		return e
	}
	if svc.At("spec", "selector").Len() == 0 || !q.podLabelsKnown(ns) {
		return e
	}
	e.known = true
	for _, pod := range q.selected(svc) {
		if isReady(pod) {
			e.ready++
		} else {
			e.notReady++
			e.proof = append(e.proof, at(condition(pod, "Ready").At("status")))
		}
	}
	if len(e.proof) > 3 {
		e.proof = e.proof[:3]
	}
	return e
}

// podLabelsKnown reports whether all Pods of a namespace were read, with their labels.
func (q *inquiry) podLabelsKnown(namespace string) bool {
	return q.snap.Listed("Pod", namespace) && !slices.ContainsFunc(q.snap.Kind("Pod", namespace), func(p *Object) bool { return !p.Covers("/metadata/labels") })
}

// selects reports whether every key of the selector has its value among the labels.
func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// serviceSymptoms states what is wrong with a Service. One without a selector is somebody else's to
// fill, and an ExternalName has no endpoints.
func (q *inquiry) serviceSymptoms(svc *Object) []symptom {
	selector := svc.At("spec", "selector")
	if svc.Deleting() || svc.At("spec", "type").Str() == "ExternalName" || selector.Len() == 0 {
		return nil
	}
	e := q.endpointsOf(svc)
	if !e.known {
		return nil
	}
	if e.ready == 0 {
		s := symptom{kind: serviceEmpty, object: svc, affected: 1, link: link{svc.ref, "Service has no ready endpoint", e.proof}}
		if e.notReady > 0 {
			s.statement = fmt.Sprintf("Service has no ready endpoint; %s %s not ready", count(e.notReady, "endpoint"), verb(int64(e.notReady)))
		}
		s.proof = append([]cite{at(selector)}, s.proof...)
		return []symptom{s}
	}
	if miss := q.misaimedPort(svc); miss != nil {
		return []symptom{{kind: serviceMisaimed, object: svc, affected: e.ready, link: link{
			svc.ref,
			fmt.Sprintf("Service sends port %s to %s, which its Pods do not declare", miss.port.At("port").Text(), miss.target.Text()),
			[]cite{at(miss.target)},
		}}}
	}
	if m := q.strangers(svc); m != nil {
		return []symptom{{kind: serviceMixed, object: svc, affected: 1, link: link{
			svc.ref, fmt.Sprintf("Service selects Pods of %s and of %s", m.member.ref, m.stranger.ref), []cite{at(selector)},
		}}}
	}
	return nil
}

// claimSymptoms states that a claim has no volume. One that waits for its first Pod is as it should
// be, while no Pod uses it.
func (q *inquiry) claimSymptoms(pvc *Object) []symptom {
	phase := pvc.At("status", "phase")
	if pvc.Deleting() || pvc.partial || phase.Str() == "Bound" || !phase.Exists() {
		return nil
	}
	if phase.Str() == "Pending" && len(q.snap.UsersOf(pvc.ref)) == 0 && q.bindsLate(pvc) {
		return nil
	}
	s := symptom{
		kind: claimUnbound, object: pvc, reason: phase.Str(), since: pvc.Created(), affected: 1,
		link: link{pvc.ref, "claim is not bound: " + phase.Str(), []cite{at(phase)}},
	}
	return []symptom{s}
}

// bindsLate reports whether a claim's class binds only when a Pod uses it.
func (q *inquiry) bindsLate(pvc *Object) bool {
	class := q.classOf(pvc)
	return class != nil && class.At("volumeBindingMode").Str() == "WaitForFirstConsumer"
}

// classOf returns the StorageClass of a claim, the default one when the claim leaves it open; nil
// when there is none.
func (q *inquiry) classOf(pvc *Object) *Object {
	name := pvc.At("spec", "storageClassName")
	if name.Exists() {
		return q.snap.Object(incident.Ref{APIVersion: "storage.k8s.io/v1", Kind: "StorageClass", Name: name.Str()})
	}
	return q.defaultClass()
}

// defaultClass returns the newest default StorageClass, which is the one that admission would pick.
func (q *inquiry) defaultClass() *Object {
	var best *Object
	for _, c := range q.snap.Kind("StorageClass", "") {
		if c.At("metadata", "annotations", "storageclass.kubernetes.io/is-default-class").Str() == "true" &&
			(best == nil || c.Created().After(best.Created())) {
			best = c
		}
	}
	return best
}
