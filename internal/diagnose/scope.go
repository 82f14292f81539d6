package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// root is a symptom from which the search starts.
type root struct {
	symptom
	// related marks a symptom of something that belongs to the subject but is not the subject.
	related bool
}

// locate finds the incident's resource, its owners, and the objects whose symptoms are the
// subject's own and those that merely belong to it.
func (q *inquiry) locate() (own, related []*Object) {
	ref := q.inc.Resource
	if ref.Same(WholeCluster) {
		return q.within(overall{all: true}), nil
	}
	q.subject = q.snap.Object(ref)
	if q.subject == nil && ref.UID != "" { // the caller may mean an earlier one of the same name
		ref.UID = ""
		q.subject = q.snap.Object(ref)
	}
	if ref.Kind == "Namespace" {
		return q.within(overall{namespace: ref.Name}), nil
	}
	if q.subject == nil {
		if heir := q.heirOf(ref); heir != nil {
			q.owners = append([]incident.Ref{heir.ref}, q.snap.ownersOf(heir)...)
			if top := q.snap.Object(q.snap.topWorkload(heir)); top != nil {
				heir = top
			}
			return []*Object{heir}, q.around(heir)
		}
		for _, pod := range q.snap.UsersOf(ref) {
			related = appendOnce(related, q.top(pod))
		}
		return nil, related
	}
	q.owners = q.snap.ownersOf(q.subject)
	o := q.subject
	switch o.ref.Kind {
	case "Pod":
		return []*Object{o}, append([]*Object{q.top(o)}, q.around(q.top(o))...)
	case "ReplicaSet":
		return []*Object{q.top(o)}, q.around(q.top(o))
	case "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController":
		return []*Object{o}, q.around(o)
	case "Service":
		for _, pod := range q.selected(o) {
			related = appendOnce(related, q.top(pod))
		}
		return []*Object{o}, append(related, q.routesTo([]*Object{o})...)
	case "Node":
		for _, pod := range q.snap.OnNode(o.ref.Name) {
			related = appendOnce(related, q.top(pod))
		}
		return []*Object{o}, related
	case "PersistentVolumeClaim", "ConfigMap", "Secret", "ServiceAccount":
		for _, pod := range q.snap.UsersOf(o.ref) {
			related = appendOnce(related, q.top(pod))
		}
		return []*Object{o}, related
	case "ResourceQuota", "LimitRange":
		return []*Object{o}, q.within(overall{namespace: o.ref.Namespace})
	case "HorizontalPodAutoscaler":
		target := o.At("spec", "scaleTargetRef")
		if w := q.snap.Object(incident.Ref{Kind: target.At("kind").Str(), Namespace: o.ref.Namespace, Name: target.At("name").Str()}); w != nil {
			return []*Object{o, w}, q.around(w)
		}
	case "Ingress":
		for _, rule := range o.At("spec", "rules").Items() {
			for _, p := range rule.At("http", "paths").Items() {
				svc := incident.Ref{APIVersion: "v1", Kind: "Service", Namespace: o.ref.Namespace, Name: p.At("backend", "service", "name").Str()}
				if s := q.snap.Object(svc); s != nil {
					related = appendOnce(related, s)
				}
			}
		}
		return []*Object{o}, related
	}
	// Of any other kind, an operator's resource for example, what it owns tells how it is.
	for _, child := range q.snap.Children(o.ref) {
		own = appendOnce(own, child)
	}
	return append([]*Object{o}, own...), nil
}

// top returns the workload above an object, or the object itself when that was not read.
func (q *inquiry) top(o *Object) *Object {
	if w := q.snap.Object(q.snap.topWorkload(o)); w != nil {
		return w
	}
	return o
}

// around returns the Services that select a workload's Pods or were meant to, and its claims.
func (q *inquiry) around(w *Object) []*Object {
	var out []*Object
	labels := templateOf(w).At("metadata", "labels").StrMap()
	for _, svc := range q.snap.Kind("Service", w.ref.Namespace) {
		selector := svc.At("spec", "selector").StrMap()
		if len(selector) == 0 {
			continue
		}
		if selects(selector, labels) || len(q.selected(svc)) == 0 && q.meantFor(svc, w) {
			out = append(out, svc)
		}
	}
	if hpa := q.scalerOf(w); hpa != nil {
		out = append(out, hpa)
	}
	out = append(out, q.routesTo(out)...)
	for _, r := range q.snap.ownersOf(w) {
		if o := q.snap.resolveOwner(r); o != nil && isCustom(o) {
			out = append(out, o)
		}
	}
	return out
}

// selected returns the Pods that a Service selects.
func (q *inquiry) selected(svc *Object) []*Object {
	var out []*Object
	for _, pod := range q.snap.Labelled("Pod", svc.ref.Namespace, svc.At("spec", "selector").StrMap()) {
		if !isDone(pod) {
			out = append(out, pod)
		}
	}
	return out
}

// templateOf returns the Pod template of a workload; for a Pod, the Pod itself.
func templateOf(w *Object) Value {
	switch w.ref.Kind {
	case "Pod":
		return w.Root()
	case "CronJob":
		return w.At("spec", "jobTemplate", "spec", "template")
	}
	return w.At("spec", "template")
}

// heirOf finds the workload of a Pod that is gone: by the caller's owner chain, by what events of
// that Pod's controller say, or by the controllers' rule for naming Pods, which is their own name
// followed by a generated suffix. For other kinds the owner chain alone counts.
func (q *inquiry) heirOf(ref incident.Ref) *Object {
	for _, owner := range q.inc.OwnerChain {
		owner.UID = ""
		if o := q.snap.Object(owner); o != nil {
			return o
		}
	}
	if ref.Kind != "Pod" {
		return nil
	}
	var best *Object
	for _, kind := range []string{"ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"} {
		for _, o := range q.snap.Kind(kind, ref.Namespace) {
			suffix, ok := strings.CutPrefix(ref.Name, o.ref.Name+"-")
			if ok && !strings.Contains(suffix, "-") && (best == nil || len(o.ref.Name) > len(best.ref.Name)) {
				best = o
			}
		}
	}
	return best
}

// symptomsOf states what is wrong now with one object.
func (q *inquiry) symptomsOf(o *Object) []symptom {
	if s, stuck := q.deletionSymptom(o); stuck {
		return []symptom{s}
	}
	switch o.ref.Kind {
	case "Pod":
		return q.podSymptoms(o)
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController":
		return q.workloadSymptoms(o)
	case "Service":
		return q.inUse(o, q.serviceSymptoms(o))
	case "PersistentVolumeClaim":
		return q.claimSymptoms(o)
	case "Node":
		if s, bad := q.nodeSymptom(o); bad {
			return []symptom{s}
		}
		if s, bad := q.pressureSymptom(o); bad {
			return []symptom{s}
		}
		if s, bad := q.drainSymptom(o); bad {
			return []symptom{s}
		}
	case "HorizontalPodAutoscaler":
		if o == q.subject {
			return q.scalerSymptoms(o)
		}
		return q.newScalerSymptoms(o)
	case "PodDisruptionBudget":
		if o != q.subject {
			return q.newBudget(o)
		}
		if s, tight := budgetSymptom(o); tight {
			return []symptom{s}
		}
	}
	switch {
	case isRoute(o):
		return q.routeSymptoms(o)
	case isCustom(o):
		return q.resourceSymptoms(o)
	}
	return nil
}

// roots gathers the symptoms to explain.
func (q *inquiry) roots(own, related []*Object) []root {
	var out []root
	seen := map[symptomKey]bool{}
	add := func(symptoms []symptom, isRelated bool) {
		for _, s := range symptoms {
			if !seen[s.key()] {
				seen[s.key()] = true
				out = append(out, root{s, isRelated})
			}
		}
	}
	for _, o := range own {
		add(q.symptomsOf(o), false)
	}
	for _, o := range own {
		if isZero(o) && len(own) == 1 { // asked about by name: that it runs nothing is what is seen
			replicas := o.At("spec", "replicas")
			add([]symptom{{kind: workloadZero, object: o, affected: 1, link: link{o.ref, "workload runs no Pod", []cite{at(replicas)}}}}, false)
		}
	}
	for _, o := range own {
		if o.ref.Kind == "CronJob" && o == q.subject {
			add(q.idleCronJob(o, true), false)
		}
		if desired := o.At("status", "desiredNumberScheduled"); o.ref.Kind == "DaemonSet" && o == q.subject && desired.Known() && desired.IntOr(1) == 0 {
			add([]symptom{{kind: daemonNowhere, object: o, affected: 1, soft: true, link: link{o.ref, "no node is meant to run a Pod of it", []cite{at(desired)}}}}, false)
		}
	}
	if len(out) == 0 {
		for _, o := range own {
			if workloadKinds[o.ref.Kind] || o.ref.Kind == "Pod" {
				add(q.stalePods(o), false)
			}
		}
	}
	if len(out) == 0 {
		add(q.disturbed(own), false)
	}
	ailing := map[*Object]bool{}
	for _, r := range out {
		if r.object != nil {
			ailing[q.top(r.object)] = true
			ailing[r.object] = true
		}
	}
	add(q.callSymptoms(own, related, ailing), false)
	for _, o := range related {
		add(slices.DeleteFunc(q.symptomsOf(o), q.mereHint), true)
	}
	if len(out) == 0 && q.subject == nil && q.snap.Knows(q.inc.Resource) == Absent && len(own)+len(related) == 0 {
		ref := q.inc.Resource
		out = append(out, root{symptom: symptom{
			kind: resourceGone, affected: 1,
			link: link{ref, fmt.Sprintf("%s does not exist", ref), []cite{gone(ref)}},
		}})
	}
	return out
}

// mereHint sets aside a Service's numeric target port that its Pods do not declare, when it was not
// the Service that was asked about: a program may listen on a port without declaring it.
func (q *inquiry) mereHint(s symptom) bool {
	if s.kind != serviceMisaimed {
		return false
	}
	if m := q.misaimedPort(s.object); m == nil || m.named {
		return false
	}
	q.setAside("port/"+s.subject.String(), note{
		subject: s.subject, statement: s.statement, proof: s.proof,
		reason: "no more than a hint: a container may serve a port that it does not declare",
	})
	return true
}

// isZero reports whether a workload is asked to run no Pod.
func isZero(w *Object) bool {
	switch w.ref.Kind {
	case "Deployment", "StatefulSet", "ReplicaSet", "ReplicationController":
		n, ok := w.At("spec", "replicas").Int()
		return ok && n == 0
	}
	return false
}

func appendOnce(list []*Object, o *Object) []*Object {
	if slices.Contains(list, o) {
		return list
	}
	return append(list, o)
}
