package diagnose

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// defaultScheduler is the scheduler of Pods that name none.
const defaultScheduler = "default-scheduler"

// unnoticed is how long a scheduler may take to write its first verdict on a Pod.
const unnoticed = 30 * time.Second

// SchedulerDown ends at a scheduler that does not work. Whatever a scheduler decides about a Pod, it writes a condition;
// a Pod without one was never looked at.
func (catalogue) SchedulerDown() rule {
	return rule{
		explains: []symptomKind{podUnscheduled},
		why: func(q *inquiry, s symptom) []answer {
			if !q.overlooked(s.object) {
				return nil
			}
			name := s.object.At("spec", "schedulerName")
			if name.Str() != "" && name.Str() != defaultScheduler {
				return q.namedScheduler(s, name)
			}
			return q.kubeScheduler(s)
		},
	}
}

// overlooked reports whether no scheduler has said anything about a Pod that is old enough.
func (q *inquiry) overlooked(pod *Object) bool {
	conditions := pod.At("status", "conditions")
	return conditions.Known() && !condition(pod, "PodScheduled").Exists() && q.lastEvent(pod, "FailedScheduling") == nil &&
		pod.At("spec", "schedulingGates").Len() == 0 && q.now.Sub(pod.Created()) > unnoticed
}

func schedulerCause(s symptom, target incident.Ref, statement string, proof ...cite) *cause {
	pod := s.object
	c := &cause{
		class: ClassSchedulerDown, target: target, direct: proven, timing: timingUnrelated, elsewhere: true,
		signals: []string{"FailedScheduling", "ReplicasUnavailable"}, params: map[string]string{}, depends: []string{"Pod"},
		last: link{target, statement, proof},
	}
	c.last.proof = append(c.last.proof, at(condition(pod, "PodScheduled")))
	c.summary = fmt.Sprintf("%s waits for a scheduler: %s.", s.subject, statement)
	return c
}

// namedScheduler judges the scheduler that a Pod names itself.
func (q *inquiry) namedScheduler(s symptom, name Value) []answer {
	via := []link{{s.subject, fmt.Sprintf("the Pod names scheduler %q, which has not looked at it", name.Str()), []cite{at(name)}}}
	if w := q.schedulerNamed(name.Str()); w != nil {
		if bad := q.workloadState(w); bad != nil {
			return []answer{{via: via, cause: schedulerCause(s, w.ref, "the scheduler does not work: "+bad.statement, bad.proof...)}}
		}
		return nil
	}
	for _, ns := range q.snap.Kind("Namespace", "") {
		for _, p := range q.snap.Kind("Pod", ns.ref.Name) {
			if p.At("spec", "schedulerName").Str() == name.Str() && p.At("spec", "nodeName").Str() != "" && p.Created().After(s.object.Created()) {
				return nil // it works
			}
		}
	}
	if !q.snap.Listed("Pod", "") {
		return nil
	}
	target := q.owner(s.object)
	c := schedulerCause(s, target, fmt.Sprintf("the Pods name scheduler %q, and nothing that runs is that scheduler", name.Str()), at(name))
	c.direct, c.elsewhere = compared, false
	return []answer{{cause: c}}
}

// schedulerNamed returns the workload that is a scheduler of that name: it says so in its command, or is called so; nil when
// there is none.
func (q *inquiry) schedulerNamed(name string) *Object {
	for _, kind := range []string{"Pod", "Deployment", "StatefulSet", "DaemonSet"} {
		q.snap.wantKind(kind, "")
	}
	for _, w := range q.snap.c.Objects {
		if _, owned := w.Owner(); owned || w.ref.Kind != "Pod" && !workloadKinds[w.ref.Kind] {
			continue
		}
		said := w.ref.Name == name
		for _, c := range templateOf(w).At("spec", "containers").Items() {
			for _, word := range slices.Concat(c.At("command").Items(), c.At("args").Items()) {
				said = said || word.Str() == "--scheduler-name="+name
			}
		}
		if said {
			return w
		}
	}
	return nil
}

// workloadState says what is wrong with a workload or Pod; nil when it runs.
func (q *inquiry) workloadState(w *Object) *link {
	if isZero(w) {
		return &link{w.ref, "it is asked to run no Pod", []cite{at(w.At("spec", "replicas"))}}
	}
	for _, s := range q.symptomsOf(w) {
		return &s.link
	}
	return nil
}

// kubeScheduler judges the cluster's own scheduler, as far as its Pods or its Lease can be seen.
func (q *inquiry) kubeScheduler(s symptom) []answer {
	const system = "kube-system"
	via := []link{{s.subject, "no scheduler has looked at the Pod: it has no condition PodScheduled", []cite{at(s.object.At("status", "conditions"))}}}
	var apiServer, failing *Object
	var trouble *link
	for _, p := range q.snap.Kind("Pod", system) {
		switch {
		case isDone(p):
		case runs(p, "kube-scheduler"):
			bad := q.workloadState(p)
			if bad == nil && isReady(p) && !q.staleScheduler() {
				return nil // of several, one that works is enough
			}
			if bad == nil {
				bad = &link{p.ref, "it is not ready, or does not renew its Lease", []cite{at(condition(p, "Ready").At("status"))}}
			}
			if failing == nil {
				failing, trouble = p, bad
			}
		case runs(p, "kube-apiserver"):
			apiServer = p
		}
	}
	if failing != nil {
		return []answer{{via: via, cause: schedulerCause(s, q.owner(failing), "the scheduler does not work: "+trouble.statement, trouble.proof...)}}
	}
	for _, w := range q.snap.Kind("Deployment", system) {
		if runs(w, "kube-scheduler") {
			if bad := q.workloadState(w); bad != nil {
				return []answer{{via: via, cause: schedulerCause(s, w.ref, "the scheduler does not work: "+bad.statement, bad.proof...)}}
			}
			return nil
		}
	}
	if lease := q.schedulerLease(); lease != nil && q.staleScheduler() {
		host, _, _ := strings.Cut(lease.At("spec", "holderIdentity").Str(), "_")
		if host == "" { // a scheduler that ends in order gives its Lease up
			host = q.controlPlane(apiServer)
		}
		target := incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: system, Name: strings.TrimSuffix("kube-scheduler-"+host, "-")}
		renewed := lease.At("spec", "renewTime")
		return []answer{{via: via, cause: schedulerCause(s, target, fmt.Sprintf("the scheduler last renewed its Lease at %s", clock(renewed.Time())), at(renewed))}}
	}
	if apiServer != nil && q.snap.Listed("Pod", system) {
		node := apiServer.At("spec", "nodeName").Str()
		target := incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: system, Name: "kube-scheduler-" + node}
		if q.snap.Knows(target) == Absent {
			return []answer{{via: via, cause: schedulerCause(s, target, fmt.Sprintf("node %s runs the control plane, and no scheduler with it", node), gone(target), at(apiServer.At("spec", "nodeName")))}}
		}
	}
	return nil
}

// controlPlane names the node of the control plane where it is known to be one: that of the API server's Pod, else the only one that has
// the role.
func (q *inquiry) controlPlane(apiServer *Object) string {
	if apiServer != nil {
		return apiServer.At("spec", "nodeName").Str()
	}
	var found []string
	for _, n := range q.snap.Kind("Node", "") {
		if isControlPlane(n) {
			found = append(found, n.ref.Name)
		}
	}
	if len(found) != 1 {
		return ""
	}
	return found[0]
}

// schedulerLease is the Lease by which the cluster's schedulers elect a leader; nil when it was not read.
func (q *inquiry) schedulerLease() *Object {
	return q.snap.Object(incident.Ref{APIVersion: "coordination.k8s.io/v1", Kind: "Lease", Namespace: "kube-system", Name: "kube-scheduler"})
}

// staleScheduler reports whether the schedulers' Lease is long overdue, measured against the freshest Lease there is.
func (q *inquiry) staleScheduler() bool {
	lease := q.schedulerLease()
	if lease == nil {
		return false
	}
	fresh, renewed := time.Time{}, lease.At("spec", "renewTime").Time()
	for _, ns := range []string{"kube-system", "kube-node-lease"} {
		for _, l := range q.snap.Kind("Lease", ns) {
			if t := l.At("spec", "renewTime").Time(); t.After(fresh) && !t.After(q.now) {
				fresh = t
			}
		}
	}
	return !renewed.IsZero() && fresh.Sub(renewed) > time.Minute
}

// runs reports whether a Pod, or a workload's template, runs a program: as its command, or as the control-plane component
// that its label says it is.
func runs(o *Object, program string) bool {
	t := templateOf(o)
	if t.At("metadata", "labels", "component").Str() == program {
		return true
	}
	for _, c := range t.At("spec", "containers").Items() {
		if words := c.At("command").Items(); len(words) > 0 && path.Base(words[0].Str()) == program {
			return true
		}
	}
	return false
}
