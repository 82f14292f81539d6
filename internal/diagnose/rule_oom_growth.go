package diagnose

import (
	"fmt"
	"time"
)

// growth says that a container was killed at one memory limit after another.
type growth struct {
	revision revision
	before   Value
}

// grows returns an earlier, lower limit of a container that is killed at its present one after it has run for a while. A
// container that is killed as soon as it starts merely needs more.
func (q *inquiry) grows(s symptom) (growth, bool) {
	last := s.container.lastRun()
	now, ok := milli(s.container.spec.At("resources", "limits", "memory"))
	if !ok || last.reason != "OOMKilled" {
		return growth{}, false
	}
	revisions := q.revisions(q.top(s.object))
	if last.lasted() < 5*time.Minute && (last.lasted() < 5*time.Second || raises(revisions, s.container.name) < 2) {
		return growth{}, false
	}
	for _, r := range revisions {
		for _, c := range r.template.At("spec", "containers").Items() {
			before := c.At("resources", "limits", "memory")
			if n, known := milli(before); c.At("name").Str() == s.container.name && known && n < now && !r.isOf(s.object) && r.number < revisions[0].number {
				return growth{r, before}, true
			}
		}
	}
	return growth{}, false
}

// raises counts how often one revision after another gave a container a higher limit, up to the newest.
func raises(revisions []revision, name string) int {
	n := 0
	var above int64
	for i, r := range revisions {
		for _, c := range r.template.At("spec", "containers").Items() {
			limit, ok := milli(c.At("resources", "limits", "memory"))
			if c.At("name").Str() != name {
				continue
			}
			if i > 0 && (!ok || limit >= above) {
				return n
			}
			if i > 0 {
				n++
			}
			above = limit
		}
	}
	return n
}

// OOMGrowth ends at a container whose memory grows until each limit that it was given is reached: a higher one only
// puts the kill off.
func (catalogue) OOMGrowth() rule {
	return rule{
		explains: []symptomKind{containerDying},
		why: func(q *inquiry, s symptom) []answer {
			g, ok := q.grows(s)
			if !ok {
				return nil
			}
			last, limit := s.container.lastRun(), s.container.spec.At("resources", "limits", "memory")
			target := q.owner(s.object)
			c := &cause{
				class: ClassOOMGrowth, target: target, detail: s.container.name, direct: compared, timing: timingUnrelated,
				signals: []string{"OOMKilled", "CrashLoopBackOff"},
				params:  map[string]string{"CONTAINER": s.container.name, "CURRENT_MEMORY_LIMIT": limit.Text(), "PREVIOUS_MEMORY_LIMIT": g.before.Text()},
				last: link{
					target, fmt.Sprintf("the limit of container %q was raised from %s (revision %d) to %s, and was reached again after %s", s.container.name, g.before.Text(), g.revision.number, limit.Text(), span(last.lasted())),
					[]cite{at(limit), at(g.before), at(last.place.At("reason")), at(last.place.At("startedAt")), at(last.place.At("finishedAt"))},
				},
				wanted: []wanted{{"metrics of the container's memory over time", false}},
			}
			c.summary = fmt.Sprintf("The memory of container %q of %s grows until its limit is reached, whatever that is: %s.", s.container.name, target, c.last.statement)
			return []answer{{cause: c}}
		},
	}
}
