package diagnose

import (
	"fmt"
	"slices"
	"time"
)

// forgotten is how long a Service must have been as it is before its emptiness counts as a standing defect.
const forgotten = 24 * time.Hour

// inUse sets aside what is no trouble of a Service that was not asked about: that it is empty, when it has been as it is for
// long and nothing that was read would serve it, calls it or routes to it; and in a wide inquiry, when those that call it do
// without it.
func (q *inquiry) inUse(svc *Object, symptoms []symptom) []symptom {
	if svc == q.subject || len(symptoms) != 1 {
		return symptoms
	}
	s, reason := symptoms[0], ""
	switch {
	case s.kind == serviceEmpty && q.isLeftover(svc):
		reason = fmt.Sprintf("standing: it was made %s ago, and nothing serves it, calls it or routes to it", span(q.now.Sub(svc.Created())))
	case q.wide && (s.kind == serviceEmpty || s.kind == serviceMisaimed) && q.unmissed(svc):
		reason = "those that call it do without it"
	default:
		return symptoms
	}
	q.setAside("leftover/"+svc.ref.String(), note{subject: svc.ref, statement: s.statement, proof: s.proof, reason: reason})
	return nil
}

// unmissed reports whether it is known of all workloads that call a Service which does not serve that they do without it: they
// have become ready since, their logs do not complain of it, or say that they go on.
func (q *inquiry) unmissed(svc *Object) bool {
	callers := q.callersOf(svc)
	for _, c := range callers {
		pods := q.snap.podsOf(c.workload.ref)
		if len(pods) == 0 || !q.doWithout(pods[:min(len(pods), maxCallers)], svc) {
			return false
		}
	}
	return len(callers) > 0
}

func (q *inquiry) doWithout(pods []*Object, svc *Object) bool {
	known := false
	for _, p := range pods {
		for _, c := range containersOf(p) {
			calls := q.dependencies(p, c.spec)
			i := slices.IndexFunc(calls, func(d dependency) bool { return d.ref.Same(svc.ref) })
			if i < 0 {
				continue
			}
			s := symptom{kind: callFails, object: p, container: &c, link: link{subject: p.ref}}
			if !c.ready() {
				s.kind = containerDying
			} else if down := q.downSince(svc); !down.IsZero() && c.runningSince().After(down.Add(time.Minute)) {
				known = true
				continue
			}
			lines := q.tail(s)
			if q.complainsAbout(s, svc) {
				return false
			}
			says := slices.ContainsFunc(lines, func(l spoken) bool { return goesOn(l.text) && calls[i].namedIn(l.text, calls) })
			known = known || says || c.ready() && len(lines) > 0
		}
	}
	return known
}

func (q *inquiry) isLeftover(svc *Object) bool {
	made := changeOf(svc)
	if made.IsZero() || q.now.Sub(made) < forgotten || len(q.selected(svc)) > 0 || len(q.snap.selectedWorkloads(svc)) > 0 {
		return false
	}
	if len(q.candidatesFor(svc)) > 0 || len(q.callersOf(svc)) > 0 {
		return false
	}
	for _, ingress := range q.snap.Kind("Ingress", svc.ref.Namespace) {
		if hasWord(ingress.At("spec").Text(), svc.ref.Name) {
			return false
		}
	}
	return true
}
