package diagnose

import (
	"fmt"

	"kubernaut.ai/kubernaut/internal/incident"
)

// evictedAgain states that the Pods of a workload, which has all that it wants now, are evicted one after the other for
// what they use themselves: each replacement is well until it comes to the same bound.
func (q *inquiry) evictedAgain(w *Object) []symptom {
	var gone []*Object
	for _, p := range q.snap.podsOf(w.ref) {
		if q.evictedLately(p) && overOwnBound(p) {
			gone = append(gone, p)
		}
	}
	if len(gone) < 2 || !q.sameBound(w, gone[0]) {
		return nil
	}
	first, last := gone[0], gone[1]
	return []symptom{{
		kind: podFailed, object: first, reason: first.At("status", "reason").Str(), text: first.At("status", "message"), affected: len(gone), soft: true,
		link: link{
			incident.Ref{APIVersion: w.ref.APIVersion, Kind: w.ref.Kind, Namespace: w.ref.Namespace, Name: w.ref.Name},
			fmt.Sprintf("%s were evicted within the last hour, one after the other", count(len(gone), "Pod")),
			[]cite{at(first.At("status", "reason")), at(last.At("status", "reason"))},
		},
	}}
}

// sameBound reports whether a workload's template still has the volumes of a Pod, with their bounds.
func (q *inquiry) sameBound(w, pod *Object) bool {
	bounds := map[string]string{}
	for _, v := range templateOf(w).At("spec", "volumes").Items() {
		bounds[v.At("name").Str()] = v.At("emptyDir", "sizeLimit").Text()
	}
	for _, v := range pod.At("spec", "volumes").Items() {
		if size := v.At("emptyDir", "sizeLimit"); size.Exists() && bounds[v.At("name").Str()] != size.Text() {
			return false
		}
	}
	return true
}
