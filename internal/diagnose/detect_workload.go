package diagnose

import (
	"fmt"

	"kubernaut.ai/kubernaut/internal/incident"
)

// workloadSymptoms states what is wrong now with a workload: fewer ready Pods than it wants, a
// rollout that does not finish, or Pods that die although all are counted as ready.
func (q *inquiry) workloadSymptoms(w *Object) []symptom {
	switch w.ref.Kind {
	case "Job":
		return q.jobSymptoms(w)
	case "CronJob":
		out := q.idleCronJob(w, false)
		if len(out) > 0 {
			return out
		}
		jobs := q.snap.Children(w.ref)
		if len(jobs) > 0 { // only the newest run says how the CronJob is doing
			newest := jobs[0]
			for _, j := range jobs {
				if j.Created().After(newest.Created()) {
					newest = j
				}
			}
			out = q.workloadSymptoms(newest)
		}
		return out
	}
	want, have, known := wantedPods(w)
	if !known {
		return q.podsAsRoots(q.snap.podsOf(w.ref))
	}
	s := symptom{kind: workloadShort, object: w, link: link{subject: w.ref}, affected: int(max(1, want.number-have.number))}
	switch {
	case want.number == 0:
		return nil
	case have.number < want.number:
		s.statement = fmt.Sprintf("has %d of %d Pods ready", have.number, want.number)
		s.proof = []cite{want.cite, have.cite}
	default:
		updated := w.At("status", "updatedReplicas")
		if w.ref.Kind == "DaemonSet" {
			updated = w.At("status", "updatedNumberScheduled")
		}
		if n := updated.IntOr(0); w.ref.Kind != "ReplicaSet" && w.ref.Kind != "ReplicationController" && n < want.number && updated.Exists() && rolling(w) {
			s.statement = fmt.Sprintf("its rollout has stopped at %d of %d Pods, while the earlier revision still serves", n, want.number)
			s.proof = []cite{want.cite, at(updated)}
			break
		}
		return append(q.podsAsRoots(q.snap.podsOf(w.ref)), q.evictedAgain(w)...)
	}
	if c := condition(w, "Available"); c.At("status").Str() == "False" {
		s.since = c.At("lastTransitionTime").Time()
	}
	return []symptom{s}
}

func verb(n int64) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// rolling reports whether the workload replaces its Pods by itself when the template changes.
func rolling(w *Object) bool {
	for _, path := range []string{"strategy", "updateStrategy"} {
		if w.At("spec", path, "type").Str() == "OnDelete" || w.At("spec", path, "rollingUpdate", "partition").IntOr(0) > 0 {
			return false
		}
	}
	return !w.At("spec", "paused").Bool()
}

// tally is a number and where it was read.
type tally struct {
	number int64
	cite
}

// wantedPods returns how many Pods a workload wants and how many of them are ready.
func wantedPods(w *Object) (want, have tally, known bool) {
	spec, status := w.At("spec", "replicas"), w.At("status", "readyReplicas")
	def := int64(1)
	if w.ref.Kind == "DaemonSet" {
		spec, status, def = w.At("status", "desiredNumberScheduled"), w.At("status", "numberReady"), 0
	}
	if w.partial || !w.At("status").Exists() || !spec.Known() || !status.Known() {
		return tally{}, tally{}, false
	}
	return tally{spec.IntOr(def), at(spec)}, tally{status.IntOr(0), at(status)}, true
}

// podsAsRoots states the symptoms of Pods themselves, the same ones once.
func (q *inquiry) podsAsRoots(pods []*Object) []symptom {
	return q.grouped(pods)
}

// grouped gathers the Pods' symptoms: those of one kind, container and reason are told once, of the
// first Pod, with the number of Pods that show them.
func (q *inquiry) grouped(pods []*Object) []symptom {
	type group struct {
		kind              symptomKind
		container, reason string
		owner             incident.Ref
	}
	index := map[group]int{}
	var out []symptom
	for _, pod := range pods {
		for _, s := range q.podSymptoms(pod) {
			q.ailing[pod.ref] = true
			owner, _ := pod.Owner()
			g := group{kind: s.kind, reason: s.reason, owner: owner}
			if s.container != nil {
				g.container = s.container.name
			}
			if s.kind == containerDying { // its reason flickers between CrashLoopBackOff and the exit's own
				g.reason = ""
			}
			if i, ok := index[g]; ok {
				out[i].affected++
				continue
			}
			index[g] = len(out)
			out = append(out, s)
		}
	}
	for i, s := range out {
		if s.affected > 1 {
			out[i].statement += fmt.Sprintf("; so it is with %s", count(s.affected-1, "more Pod"))
		}
	}
	return out
}

func (q *inquiry) jobSymptoms(job *Object) []symptom {
	if c := condition(job, "Complete"); c.At("status").Str() == "True" {
		return nil
	}
	s := symptom{kind: workloadShort, object: job, link: link{subject: job.ref}, affected: 1}
	if c := condition(job, "Failed"); c.At("status").Str() == "True" {
		s.statement = "Job has failed: " + c.At("reason").Str()
		s.proof = []cite{at(c.At("status")), at(c.At("reason"))}
		s.reason, s.text, s.since = c.At("reason").Str(), c.At("message"), c.At("lastTransitionTime").Time()
		return []symptom{s}
	}
	if job.At("spec", "suspend").Bool() {
		return nil
	}
	if q.refusal(job) != nil || q.createsNone(job) != nil {
		s.statement = "Job has no Pod"
		s.proof = []cite{at(job.At("status", "active"))}
		return []symptom{s}
	}
	if held := q.heldJob(job); len(held) > 0 {
		return held
	}
	return q.podsAsRoots(q.snap.podsOf(job.ref))
}

// refused says that a controller was refused when it created a Pod.
type refused struct {
	by   *Object // the object whose controller was refused
	text Value
	cite []cite
}

// refusal returns why a ReplicaSet, StatefulSet, DaemonSet or Job has fewer Pods than it wants, if
// the API server refuses them now. A refusal that was overcome since is history.
func (q *inquiry) refusal(w *Object) *refused {
	want := w.At("spec", "replicas").IntOr(1)
	switch w.ref.Kind {
	case "DaemonSet":
		want = w.At("status", "desiredNumberScheduled").IntOr(0)
	case "Job":
		want = w.At("spec", "parallelism").IntOr(1)
		if condition(w, "Complete").At("status").Str() == "True" || condition(w, "Failed").At("status").Str() == "True" {
			return nil
		}
	case "Deployment":
		c := condition(w, "Progressing")
		if c.At("status").Str() == "False" && c.At("reason").Str() == "ReplicaSetCreateError" {
			return &refused{w, c.At("message"), []cite{at(c.At("reason")), at(c.At("message"))}}
		}
		return nil // it creates no Pods itself
	case "CronJob":
		return nil
	}
	var alive int64
	for _, child := range q.snap.Children(w.ref) {
		if child.ref.Kind == "Pod" && !child.Deleting() && child.At("status", "phase").Str() != "Failed" {
			alive++
		}
	}
	if alive == 0 && !q.snap.Listed("Pod", w.ref.Namespace) {
		alive = w.At("status", "replicas").IntOr(0)
	}
	enough := alive >= want
	ev := q.lastEvent(w, "FailedCreate")
	if c := condition(w, "ReplicaFailure"); c.At("status").Str() == "True" && !enough && (c.At("message").Exists() || ev == nil) {
		return &refused{w, c.At("message"), []cite{at(c.At("reason")), at(c.At("message"))}}
	}
	if ev == nil {
		return nil
	}
	if enough {
		q.setAside("refused/"+w.ref.String(), note{
			subject: w.ref, statement: "the API server refused a Pod at " + clock(lastSeen(ev)),
			reason: "history: all the Pods that it wants exist now", proof: []cite{event(ev)},
		})
		return nil
	}
	return &refused{w, eventText(ev), []cite{event(ev)}}
}
