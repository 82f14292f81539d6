package diagnose

import (
	"fmt"
	"slices"
	"time"
)

// recentCut is how long ago a change may be that cuts off Pods of which no log was read.
const recentCut = 24 * time.Hour

// maxCallers bounds how many Pods of one workload are looked at for what they cannot reach.
const maxCallers = 3

// callSymptoms states that Pods run, are ready, and say that they cannot reach what they call: those of the objects that are
// asked about, and those that call them. A Pod whose log was not read may be cut off too. All of these are soft: a
// log also holds what was overcome, and only something that is wrong now makes a symptom of it. Objects that ail have symptoms
// of their own.
func (q *inquiry) callSymptoms(own, related []*Object, ailing map[*Object]bool) []symptom {
	var out []symptom
	seen := map[*Object]bool{}
	told := false
	take := func(w *Object, to *Object) {
		for _, s := range q.callsOf(w, to) {
			if !seen[s.object] {
				out = append(out, s)
				told = told || s.reason != silent
			}
		}
		for _, s := range out {
			seen[s.object] = true
		}
	}
	for _, o := range own {
		if (workloadKinds[o.ref.Kind] || o.ref.Kind == "Pod") && !ailing[o] {
			take(o, nil)
		}
	}
	if len(ailing) > 0 || told {
		return out
	}
	speaking := q.speaking()
	for _, svc := range slices.Concat(own, related) {
		if svc.ref.Kind != "Service" || told {
			continue
		}
		if !q.lastCut().IsZero() {
			for _, c := range q.callersOf(svc) {
				take(c.workload, svc)
			}
			continue
		}
		for _, w := range speaking {
			take(w, svc)
		}
	}
	return out
}

// hearCallers looks at the Pods that call the Services among the objects, so that it is known whose logs are missing.
func (q *inquiry) hearCallers(objects []*Object) {
	for _, svc := range objects {
		if svc.ref.Kind != "Service" || len(q.quiet) >= maxCallLogs {
			continue
		}
		for _, c := range q.callersOf(svc) {
			q.callsOf(c.workload, svc)
		}
	}
}

// speaking returns the workloads of whose Pods some log was read.
func (q *inquiry) speaking() []*Object {
	var out []*Object
	for _, l := range q.snap.c.Logs {
		if pod := q.snap.Object(l.Pod); pod != nil && pod.ref.Kind == "Pod" {
			out = appendOnce(out, q.top(pod))
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
	q.quiet = append(q.quiet, *s)
	if start := s.container.runningSince(); start.IsZero() || !q.lastCut().After(start) {
		return false
	}
	s.statement = fmt.Sprintf("container %q runs; no log says whether it reaches what it calls", s.container.name)
	s.proof = []cite{at(s.container.status.At("state", "running", "startedAt"))}
	s.reason = silent
	return true
}

// lastCut is when, within the last day, something was written that can cut Pods off from what they call; zero when nothing was.
func (q *inquiry) lastCut() time.Time {
	if q.cut == nil {
		q.cut = &time.Time{}
		for _, o := range q.snap.c.Objects {
			if o.ref.Kind == "NetworkPolicy" || o.ref.Kind == "Service" && o.At("spec", "internalTrafficPolicy").Str() == "Local" {
				if t := changeOf(o); t.After(*q.cut) && q.now.Sub(t) < recentCut {
					q.cut = &t
				}
			}
		}
	}
	return *q.cut
}

// silent is the reason of a call of which no log speaks.
const silent = "Silent"

// complainsAbout reports whether a container's complaint, or its configuration when its log was not read, is about a Service.
func (q *inquiry) complainsAbout(s symptom, svc *Object) bool {
	return slices.ContainsFunc(q.ties(s), func(t tie) bool {
		return t.ref.Same(svc.ref) && (t.said != nil || s.reason == silent)
	})
}
