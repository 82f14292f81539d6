package diagnose

import (
	"fmt"
	"strconv"
	"strings"
)

// RolloutStrategy ends at a Deployment whose strategy lets a rollout take all its Pods away at once, when the new Pods are
// merely not there yet. What is wrong with the new Pods, when something is, comes first.
func (catalogue) RolloutStrategy() rule {
	return rule{
		explains: []symptomKind{workloadShort},
		why: func(q *inquiry, s symptom) []answer {
			w := s.object
			want, most, lets, takes := q.takesAllAway(w)
			if !takes {
				return nil
			}
			revisions := q.revisions(w)
			for _, p := range q.snap.podsOf(w.ref) {
				for _, other := range q.podSymptoms(p) {
					if other.kind != containerNotReady {
						return nil
					}
				}
			}
			replaced := revisions[1].object.At("spec", "replicas")
			c := &cause{
				class: ClassRolloutStrategy, target: w.ref, direct: compared, timing: timingUnrelated,
				signals: []string{"RolloutStrategy", "ReplicasUnavailable"}, params: map[string]string{"REVISION": strconv.FormatInt(revisions[0].number, 10), "PREVIOUS_REVISION": strconv.FormatInt(revisions[1].number, 10)},
				last: link{
					w.ref, fmt.Sprintf("its strategy (%s) lets %d of %s be unavailable, so that the rollout of revision %d removed all Pods before a new one was ready", most.Text(), lets, count(want.number, "Pod"), revisions[0].number),
					[]cite{at(most), want.cite, at(replaced)},
				},
			}
			c.summary = fmt.Sprintf("%s serves nothing during its rollout: %s.", w.ref, c.last.statement)
			return []answer{{cause: c}}
		},
	}
}

// takesAllAway reports whether a Deployment's strategy let its present rollout remove all Pods that it wants, and how many it
// lets be unavailable.
func (q *inquiry) takesAllAway(w *Object) (want tally, most Value, lets int64, takes bool) {
	want, have, known := wantedPods(w)
	most = w.At("spec", "strategy", "rollingUpdate", "maxUnavailable")
	lets = unavailable(most, want.number)
	if kind := w.At("spec", "strategy", "type"); kind.Str() == "Recreate" {
		most, lets = kind, want.number
	}
	if w.ref.Kind != "Deployment" || !known || have.number > 0 || want.number < 2 || lets < want.number {
		return want, most, lets, false
	}
	revisions := q.revisions(w)
	return want, most, lets, len(revisions) >= 2 && q.takesOver(revisions)
}

// prepares reports whether a Pod's init container is still at work in a rollout that took all Pods away: that it takes its
// time is then no fault of the new revision.
func (q *inquiry) prepares(s symptom, w *Object) bool {
	if s.kind != containerNotReady || s.container == nil || !s.container.init || s.container.restarts() > 0 {
		return false
	}
	_, _, _, takes := q.takesAllAway(w)
	return takes
}

// takesOver reports whether the newest revision's Pods have replaced those of the one before.
func (q *inquiry) takesOver(revisions []revision) bool {
	n, known := revisions[1].object.At("spec", "replicas").Int()
	return known && n == 0 && q.now.Sub(revisions[0].object.Created()) < 3*shortly
}

// unavailable reads a number or percentage of the Pods.
func unavailable(v Value, of int64) int64 {
	if n, ok := v.Int(); ok {
		return n
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(v.Str(), "%"), 10, 64)
	if err != nil || n < 0 || n > 1000 {
		return 0
	}
	return n * of / 100
}
