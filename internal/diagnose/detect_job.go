package diagnose

import (
	"fmt"
	"time"
)

// heldGrace is how long the other containers of a Job's Pod may go on after its work is done.
const heldGrace = 5 * time.Minute

// heldJob states that a Job's Pod is kept open by a container that has no end, while one that had an end is done.
func (q *inquiry) heldJob(job *Object) []symptom {
	var out []symptom
	for _, pod := range q.snap.podsOf(job.ref) {
		if pod.Deleting() || isDone(pod) {
			continue
		}
		var done, running *container
		for _, c := range containersOf(pod) {
			if c.init || c.sidecar {
				continue
			}
			switch last := c.lastRun(); {
			case c.status.At("state", "terminated").Exists() && last.exitCode == 0 && q.now.Sub(last.finished) > heldGrace:
				done = &c
			case c.running():
				running = &c
			default:
				return nil
			}
		}
		if done == nil || running == nil {
			continue
		}
		last := done.lastRun()
		out = append(out, symptom{
			kind: jobHeld, object: pod, container: running, since: last.finished, affected: 1,
			link: link{
				pod.ref, fmt.Sprintf("container %q ended well at %s, and container %q still runs, so that the Pod does not end", done.name, clock(last.finished), running.name),
				[]cite{at(last.place.At("exitCode")), at(last.place.At("finishedAt")), at(running.status.At("state", "running", "startedAt"))},
			},
		})
	}
	return out
}

// idleCronJob states that a CronJob starts no Jobs: it is suspended, or has let two of its times go by. A suspended one
// counts when it was asked about by name or was changed, or has run, lately: most are suspended on purpose.
func (q *inquiry) idleCronJob(cj *Object, byName bool) []symptom {
	s := symptom{kind: cronIdle, object: cj, affected: 1, link: link{subject: cj.ref}}
	if suspend := cj.At("spec", "suspend"); suspend.Bool() {
		stopped := cj.At("status", "lastScheduleTime").Time()
		if changed, ok := lastChange(cj); ok {
			stopped = changed.time
		}
		if !byName && (stopped.IsZero() || q.now.Sub(stopped) > lately) {
			return nil
		}
		s.reason, s.statement, s.proof = "Suspended", "CronJob is suspended and starts no Job", []cite{at(suspend)}
		return []symptom{s}
	}
	text := cj.At("spec", "schedule")
	if !text.Exists() || cj.Created().IsZero() || !cj.At("status", "lastScheduleTime").Known() {
		return nil
	}
	parsed, ok := parseSchedule(text.Str())
	if !ok {
		s.reason, s.statement, s.proof = "Unparsable", "the CronJob's schedule cannot be read", []cite{at(text)}
		return []symptom{s}
	}
	since, place := cj.Created(), cj.At("metadata", "creationTimestamp")
	if t := cj.At("status", "lastScheduleTime"); t.Time().After(since) {
		since, place = t.Time(), t
	}
	if changed, ok := lastChange(cj); ok && changed.time.After(since) { // it may have had another schedule before
		since, place = changed.time, changed.place
	}
	gap := parsed.longestGap(since)
	if gap == 0 || q.now.Sub(since) <= 2*gap+time.Minute {
		if gap > 0 {
			return nil
		}
		s.reason, s.statement, s.proof = "Never", "the CronJob's schedule is never due", []cite{at(text)}
		return []symptom{s}
	}
	s.reason, s.since = "Overdue", since.Add(gap)
	s.statement = fmt.Sprintf("CronJob has started no Job since %s, although its schedule %q was due more than once", clock(since), text.Str())
	s.proof = []cite{at(place), at(text)}
	return []symptom{s}
}
