package diagnose

import (
	"fmt"
	"slices"
)

// maxCallers bounds how many Pods of one workload are looked at for what they cannot reach.
const maxCallers = 3

// callSymptoms states that Pods run, are ready, and say that they cannot reach what they call: those of the objects that are
// asked about, and those that call them. A Pod whose log was not read may be cut off too. All of these are soft: a
// log also holds what was overcome, and only something that is wrong now makes a symptom of it.
func (q *inquiry) callSymptoms(own, related []*Object) []symptom {
	var out []symptom
	seen := map[*Object]bool{}
	take := func(w *Object, to *Object) {
		for _, s := range q.callsOf(w, to) {
			if !seen[s.object] {
				out = append(out, s)
			}
		}
		for _, s := range out {
			seen[s.object] = true
		}
	}
	for _, o := range own {
		if workloadKinds[o.ref.Kind] || o.ref.Kind == "Pod" {
			take(o, nil)
		}
	}
	for _, svc := range slices.Concat(own, related) {
		if svc.ref.Kind != "Service" || len(out) > 0 {
			continue
		}
		for _, c := range q.callersOf(svc) {
			take(c.workload, svc)
		}
	}
	return out
}

// callsOf states which containers of a workload complain about what they call; to restricts it to one Service.
func (q *inquiry) callsOf(w, to *Object) []symptom {
	pods := q.snap.podsOf(w.ref)
	if w.ref.Kind == "Pod" {
		pods = []*Object{w}
	}
	var out []symptom
	for i, pod := range pods {
		if i == maxCallers {
			break
		}
		if pod.partial || pod.Deleting() || isDone(pod) {
			continue
		}
		for _, c := range containersOf(pod) {
			if !c.running() || c.init || !c.ready() {
				continue
			}
			s := symptom{kind: callFails, object: pod, container: &c, affected: 1, soft: true, link: link{subject: pod.ref}}
			if q.complains(&s) && (to == nil || q.complainsAbout(s, to)) && !slices.ContainsFunc(out, func(o symptom) bool { return o.container.name == c.name }) {
				out = append(out, s)
			}
		}
	}
	return out
}

// complains fills in what a container says that it cannot reach; for one whose log was not read, that this is not known.
func (q *inquiry) complains(s *symptom) bool {
	lines := q.linesOf(s.object, s.container.name, false)
	for _, l := range lines {
		if kind := classifyComplaint(l.text); kind != noComplaint || isForbidden(l.text) || isCertificateError(l.text) {
			s.statement = fmt.Sprintf("container %q runs and says %s", s.container.name, quote(l.text))
			s.proof = []cite{l.cite}
			return true
		}
	}
	if len(lines) > 0 {
		return false
	}
	s.statement = fmt.Sprintf("container %q runs; no log says whether it reaches what it calls", s.container.name)
	s.proof = []cite{at(s.container.status.At("state", "running", "startedAt"))}
	s.reason = silent
	return true
}

// silent is the reason of a call of which no log speaks.
const silent = "Silent"

// complainsAbout reports whether a container's complaint, or its configuration when its log was not read, is about a Service.
func (q *inquiry) complainsAbout(s symptom, svc *Object) bool {
	return slices.ContainsFunc(q.ties(s), func(t tie) bool {
		return t.ref.Same(svc.ref) && (t.said != nil || s.reason == silent)
	})
}
