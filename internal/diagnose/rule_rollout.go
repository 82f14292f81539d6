package diagnose

import (
	"fmt"
	"strconv"
	"time"
)

// BadRollout ends at the newest revision of a workload: its Pods fail, and an earlier revision with
// another template did not. It gives way to any rule that names what in the new template is wrong.
func (catalogue) BadRollout() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, containerConfig, imageNotPulled, podNotStarting, podUnscheduled},
		why: func(q *inquiry, s symptom) []answer {
			u, ok := q.lastUpdate(s.object)
			if !ok || q.rolloutSpeaksAgainst(u, s) || q.prepares(s, u.workload) {
				return nil
			}
			if r, managed := q.releaseOf(u.workload); managed && r.brought(u.current) {
				return nil // HelmFailed tells it
			}
			return []answer{{cause: rolloutCause(q, s, u, containerName(s))}}
		},
	}
}

func rolloutCause(q *inquiry, s symptom, u update, name string) *cause {
	w := u.workload
	c := &cause{
		class: ClassBadRollout, target: w.ref, tier: rollout, direct: compared, timing: timingUnrelated, depends: []string{"Log"},
		signals: []string{"CrashLoopBackOff", "BadRollout", "ReplicasUnavailable"},
		params: map[string]string{
			"REVISION": strconv.FormatInt(u.current.number, 10), "PREVIOUS_REVISION": strconv.FormatInt(u.previous.number, 10),
		},
		summary: fmt.Sprintf("Revision %d of %s fails; it changed %s. Revision %d was good.", u.current.number, w.ref, u.describe(name), u.previous.number),
		last:    link{w.ref, fmt.Sprintf("revision %d changed %s", u.current.number, u.describe(name)), nil},
		factor:  fmt.Sprintf("The last rollout, revision %d, changed %s.", u.current.number, u.describe(name)),
	}
	if s.kind == containerNotReady {
		c.signals = []string{"Unhealthy", "BadRollout", "ReplicasUnavailable"}
	}
	bears := false
	for i, ch := range u.changes {
		bears = bears || ch.concerns(name)
		if i < 6 {
			c.last.proof = append(c.last.proof, at(ch.from), at(ch.to))
		}
	}
	q.addHistory(c, w)
	switch {
	case !bears:
		c.direct = inferred
	case len(u.goodPods) > 0:
		// The same cluster at the same time runs the earlier template well: nothing but the
		// difference is left to explain the failure, whatever a log would say.
		c.direct, c.depends = proven, nil
		good := u.goodPods[0]
		c.last.proof = append(c.last.proof, at(condition(good, "Ready").At("status")))
		c.factors = append(c.factors, fmt.Sprintf("%s of revision %d %s still ready.", count(len(u.goodPods), "Pod"), u.previous.number, verb(int64(len(u.goodPods)))))
	}
	c.wanted = []wanted{
		{"events about " + s.subject.String(), len(q.snap.EventsOf(s.subject)) > 0},
		{"the rollout's events about " + w.ref.String(), q.lastEvent(w, "ScalingReplicaSet") != nil || q.lastEvent(w, "SuccessfulCreate") != nil || len(u.goodPods) > 0},
	}
	if s.kind == containerDying {
		has := q.lastWords(s) != nil
		if has {
			c.last.proof = append(c.last.proof, *q.lastWords(s))
		}
		c.wanted = append(c.wanted, wanted{"the previous logs of " + s.subject.String(), has || len(u.goodPods) > 0})
	}
	return c
}

// orRollout adds to the signals of a cause in a template that the last rollout brought that template, so that going back is
// looked for as a remedy too.
func (q *inquiry) orRollout(s symptom, signals ...string) []string {
	if u, ok := q.lastUpdate(s.object); ok && !q.rolloutSpeaksAgainst(u, s) {
		signals = append(signals, "BadRollout")
	}
	return signals
}

// rolloutSpeaksAgainst reports whether something seen rules the rollout out: its revision works elsewhere, or the container
// ran well in it before.
func (q *inquiry) rolloutSpeaksAgainst(u update, s symptom) bool {
	return q.newRevisionWorks(u, s) ||
		s.kind == containerDying && !q.loopedFromStart(s.object, *s.container) && len(u.goodPods) == 0
}

// newRevisionWorks reports whether the newest revision has proven itself, so that the rollout is not
// what went wrong: another Pod of it has been ready for a while without a restart, or this Pod is
// much younger than its revision although nothing of the rollout is left to do.
func (q *inquiry) newRevisionWorks(u update, s symptom) bool {
	for _, p := range q.snap.podsOf(u.workload.ref) {
		if p == s.object || !u.current.isOf(p) || !isReady(p) {
			continue
		}
		since := condition(p, "Ready").At("lastTransitionTime").Time()
		if q.now.Sub(since) < 10*time.Minute {
			continue
		}
		restarts := int64(0)
		for _, c := range containersOf(p) {
			restarts += c.restarts()
		}
		if restarts == 0 {
			return true
		}
	}
	const settled = time.Hour
	rolled, born := u.current.object.Created(), s.object.Created()
	return len(u.goodPods) == 0 && !rolled.IsZero() && born.Sub(rolled) > settled &&
		condition(u.workload, "Progressing").At("status").Str() != "False"
}
