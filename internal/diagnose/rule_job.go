package diagnose

import (
	"fmt"
	"strings"
)

// SidecarBlocksJob ends at a Job whose work is done and whose Pod is kept open by a container beside it.
func (catalogue) SidecarBlocksJob() rule {
	return rule{
		explains: []symptomKind{jobHeld},
		why: func(q *inquiry, s symptom) []answer {
			target := q.owner(s.object)
			if job, ok := s.object.Owner(); ok && job.Kind == "Job" {
				target = q.snap.resolveOwner(job).ref
			}
			started := s.container.status.At("state", "running", "startedAt")
			c := &cause{
				class: ClassSidecarBlocksJob, target: target, detail: s.container.name, direct: proven, timing: timingUnrelated,
				signals: []string{"JobNotCompleted"}, params: map[string]string{"CONTAINER": s.container.name},
				last:    link{target, fmt.Sprintf("container %q is no sidecar to Kubernetes, which would stop it with the Job's own container", s.container.name), []cite{at(s.container.spec.At("name")), at(started)}},
				summary: fmt.Sprintf("%s does not complete: its work is done, and container %q keeps running.", target, s.container.name),
			}
			return []answer{{cause: c}}
		},
	}
}

// JobFailed ends at a Job that gave up: at its deadline, which it says itself, or at its backoff limit when no Pod of it
// is left to say why.
func (catalogue) JobFailed() rule {
	return rule{
		explains: []symptomKind{workloadShort},
		why: func(q *inquiry, s symptom) []answer {
			if s.subject.Kind != "Job" || s.reason == "" {
				return nil
			}
			failed := condition(s.object, "Failed")
			c := &cause{
				class: ClassJobFailed, target: s.subject, tier: fallback, direct: stated, timing: timingUnrelated, depends: []string{"Pod", "Log"},
				signals: []string{"JobFailed"}, params: map[string]string{},
				last: link{s.subject, "the Job gave up: " + s.reason, []cite{at(failed.At("reason"))}},
			}
			limit := s.object.At("spec", "backoffLimit")
			switch s.reason {
			case "DeadlineExceeded":
				c.tier, c.direct, c.depends = specific, proven, nil
				limit = s.object.At("spec", "activeDeadlineSeconds")
				c.last.statement = fmt.Sprintf("the Job was stopped at its deadline of %s seconds", limit.Text())
			case "BackoffLimitExceeded":
				if limit.Exists() {
					c.last.statement = fmt.Sprintf("the Job gave up after %s", count(limit.IntOr(6)+1, "failure"))
				}
			}
			if limit.Exists() {
				c.last.proof = append(c.last.proof, at(limit))
			}
			if m := failed.At("message"); m.Str() != "" {
				c.last.proof = append(c.last.proof, at(m))
			}
			if c.tier == fallback {
				c.wanted = []wanted{{"the Pods of " + s.subject.String() + " and their logs: none is left", len(q.snap.podsOf(s.subject)) > 0}}
			}
			c.summary = fmt.Sprintf("%s has failed: %s.", s.subject, c.last.statement)
			return []answer{{cause: c}}
		},
	}
}

// CronJobSuspended ends at a CronJob that is told to start nothing.
func (catalogue) CronJobSuspended() rule {
	return rule{
		explains: []symptomKind{cronIdle},
		why: func(_ *inquiry, s symptom) []answer {
			suspend := s.object.At("spec", "suspend")
			if !suspend.Bool() {
				return nil
			}
			c := &cause{
				class: ClassCronJobSuspended, target: s.subject, direct: proven, timing: timingUnrelated,
				signals: []string{"CronJobSuspended"}, params: map[string]string{},
				last:    link{s.subject, "spec.suspend is true", []cite{at(suspend)}},
				summary: fmt.Sprintf("%s is suspended: it starts no Job.", s.subject),
			}
			if changed, ok := lastChange(s.object); ok {
				c.last.statement += fmt.Sprintf("; its spec was last written by %s at %s", changed.manager, clock(changed.time))
				c.last.proof = append(c.last.proof, at(changed.place))
			}
			return []answer{{cause: c}}
		},
	}
}

// CronJobInvalid ends at a CronJob that can start no Job as it is written: its schedule or time zone is none, its
// starting deadline is shorter than the controller's own step, or a run that does not end forbids the next.
func (catalogue) CronJobInvalid() rule {
	return rule{
		explains: []symptomKind{cronIdle},
		why: func(q *inquiry, s symptom) []answer {
			if s.reason == "Suspended" {
				return nil
			}
			spec := s.object.At("spec")
			c := &cause{
				class: ClassCronJobInvalid, target: s.subject, direct: proven, timing: timingUnrelated,
				signals: []string{"CronJobInvalid"}, params: map[string]string{}, last: link{subject: s.subject},
			}
			deadline := spec.At("startingDeadlineSeconds")
			n, limited := deadline.Int()
			text := spec.At("schedule")
			switch {
			case s.reason == "Unparsable":
				c.last.statement, c.last.proof = fmt.Sprintf("schedule %q is none", text.Str()), []cite{at(text)}
			case s.reason == "Never":
				c.last.statement, c.last.proof = fmt.Sprintf("schedule %q names no day that there is", text.Str()), []cite{at(text)}
			case q.lastEvent(s.object, "UnknownTimeZone") != nil:
				c.last.statement, c.last.proof = fmt.Sprintf("time zone %q is not known", spec.At("timeZone").Str()), []cite{at(spec.At("timeZone")), event(q.lastEvent(s.object, "UnknownTimeZone"))}
			case limited && n < 10:
				c.direct = stated
				c.last.statement = fmt.Sprintf("its starting deadline of %d s is shorter than the 10 s in which the controller looks at it, so that every run is missed", n)
				c.last.proof = []cite{at(deadline)}
			default:
				return q.blockedRuns(s, c)
			}
			c.summary = fmt.Sprintf("%s starts no Job: %s.", s.subject, c.last.statement)
			return []answer{{cause: c}}
		},
	}
}

// blockedRuns looks for a run that does not end and forbids the next, and for what the controller says about missed runs.
func (q *inquiry) blockedRuns(s symptom, c *cause) []answer {
	policy := s.object.At("spec", "concurrencyPolicy")
	if policy.Str() == "Forbid" {
		for _, job := range q.snap.Children(s.subject) {
			if job.ref.Kind != "Job" || job.At("status", "active").IntOr(0) == 0 {
				continue
			}
			via := []link{{job.ref, "a run that has not ended forbids the next", []cite{at(policy), at(job.At("status", "active"))}}}
			var out []answer
			for _, next := range q.workloadSymptoms(job) {
				out = append(out, answer{via: via, next: &next})
			}
			c.direct, c.tier = compared, fallback
			c.last.statement, c.last.proof = fmt.Sprintf("%s has not ended, and policy Forbid lets no other run beside it", job.ref), via[0].proof
			c.summary = fmt.Sprintf("%s starts no Job: %s.", s.subject, c.last.statement)
			return append(out, answer{via: via, cause: c})
		}
	}
	for _, reason := range []string{"TooManyMissedTimes", "MissSchedule", "UnparseableSchedule", "FailedNeedsStart"} {
		if ev := q.lastEvent(s.object, reason); ev != nil {
			c.direct = stated
			c.last.statement, c.last.proof = "the controller starts none: "+quote(strings.TrimSpace(eventText(ev).Str())), []cite{event(ev)}
			c.summary = fmt.Sprintf("%s starts no Job: %s.", s.subject, c.last.statement)
			return []answer{{cause: c}}
		}
	}
	return nil
}
