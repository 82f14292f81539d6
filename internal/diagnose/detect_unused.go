package diagnose

import (
	"fmt"
	"time"
)

// forgotten is how long a Service must have been as it is before its emptiness counts as a standing defect.
const forgotten = 24 * time.Hour

// inUse sets aside that a Service is empty when it was not asked about, has been as it is for long, and nothing that was
// read would serve it, calls it or routes to it: a leftover is nobody's trouble.
func (q *inquiry) inUse(svc *Object, symptoms []symptom) []symptom {
	if svc == q.subject || len(symptoms) != 1 || symptoms[0].kind != serviceEmpty || !q.isLeftover(svc) {
		return symptoms
	}
	s := symptoms[0]
	q.setAside("leftover/"+svc.ref.String(), note{
		subject: svc.ref, statement: s.statement, proof: s.proof,
		reason: fmt.Sprintf("standing: it was made %s ago, and nothing serves it, calls it or routes to it", span(q.now.Sub(svc.Created()))),
	})
	return nil
}

func (q *inquiry) isLeftover(svc *Object) bool {
	made := svc.Created()
	if changed, ok := lastChange(svc); ok && changed.time.After(made) {
		made = changed.time
	}
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
