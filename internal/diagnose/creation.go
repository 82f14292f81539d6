package diagnose

import (
	"fmt"
	"time"
)

// creationTakes is how long a controller may need until it has created its Pods.
const creationTakes = time.Minute

// createsNone states that a controller wants more Pods than it has, by its own word, and that no refusal of a further one
// is on record: the event has expired, or the controller keeps none. It is nil when the controller waits for something else.
func (q *inquiry) createsNone(w *Object) *symptom {
	if w.partial || w.Deleting() || !q.snap.Listed("Pod", w.ref.Namespace) || w.Created().IsZero() || q.now.Sub(w.Created()) < creationTakes || q.refusal(w) != nil {
		return nil
	}
	want, have := w.At("spec", "replicas"), w.At("status", "replicas")
	def := int64(1)
	switch w.ref.Kind {
	case "ReplicaSet", "ReplicationController":
	case "StatefulSet":
		if w.At("spec", "podManagementPolicy").Str() != "Parallel" && q.awaitsEarlier(w) {
			return nil
		}
	case "DaemonSet":
		want, have, def = w.At("status", "desiredNumberScheduled"), w.At("status", "currentNumberScheduled"), 0
	case "Job":
		status := w.At("status")
		for _, field := range []string{"active", "succeeded", "failed", "completionTime"} {
			if v := status.At(field); v.Exists() && v.Text() != "0" {
				return nil
			}
		}
		if !status.At("startTime").Exists() || w.At("spec", "suspend").Bool() || len(status.At("conditions").Items()) > 0 || len(q.snap.podsOf(w.ref)) > 0 {
			return nil
		}
		want, have = w.At("spec", "parallelism"), status.At("active")
	default:
		return nil
	}
	n := want.IntOr(def)
	if !w.At("status").Exists() || !want.Known() || have.IntOr(0) >= n || int64(len(q.snap.podsOf(w.ref))) >= n {
		return nil
	}
	// What explains nothing is told by the workload that is short.
	return &symptom{
		kind: podsNotCreated, object: w, reason: silent, affected: int(min(n-have.IntOr(0), 1<<20)),
		link: link{w.ref, fmt.Sprintf("it has %d of the %s that it wants, and no more are created", have.IntOr(0), count(int(n), "Pod")), []cite{at(want), at(have)}},
	}
}

// awaitsEarlier reports whether a StatefulSet that creates its Pods one after the other has one that is not ready.
func (q *inquiry) awaitsEarlier(w *Object) bool {
	for _, p := range q.snap.podsOf(w.ref) {
		if condition(p, "Ready").At("status").Str() != "True" {
			return true
		}
	}
	return false
}
