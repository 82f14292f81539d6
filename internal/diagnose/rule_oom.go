package diagnose

import (
	"fmt"
	"strconv"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// OOMLimit ends at a container's own memory limit: the kernel killed the container for it. The
// runtime records that as OOMKilled; it may record a kill of a child process as a plain exit 137, and
// one during the container's start as a start error that says so.
func (catalogue) OOMLimit() rule {
	return rule{
		explains: []symptomKind{containerDying, podFailed, podNotStarting},
		why: func(q *inquiry, s symptom) []answer {
			if s.kind == podNotStarting {
				return oomAtStart(q, s)
			}
			if s.container == nil {
				return nil
			}
			if _, grows := q.grows(s); grows {
				return nil
			}
			last := s.container.lastRun()
			if last.reason == "OOMKilled" && q.injected(s) != nil {
				return nil
			}
			limit := s.container.spec.At("resources", "limits", "memory")
			direct := directness(0)
			switch {
			case last.reason == "OOMKilled":
				direct = proven
			case strings.Contains(last.place.At("message").Str(), "OOM-killed"):
				direct = stated
			case last.exitCode == 137 && s.container.status.At("lastState", "terminated", "reason").Str() == "OOMKilled":
				last.place, direct = s.container.status.At("lastState", "terminated"), proven // the kubelet misses such a kill now and then
			case last.exitCode == 137 && limit.Exists() && q.probeKill(s.object, *s.container, last) == nil && !q.killedByKubelet(s.object, *s.container):
				direct = inferred
			default:
				return nil
			}
			if !limit.Exists() {
				return oomWithoutLimit(q, s, last)
			}
			return []answer{{cause: oomCause(q, s, last, limit, direct)}}
		},
	}
}

func oomCause(q *inquiry, s symptom, last run, limit Value, direct directness) *cause {
	target := q.owner(s.object)
	c := &cause{
		class: ClassOOMLimit, target: target, detail: s.container.name, direct: direct, timing: timingUnrelated,
		signals: []string{"OOMKilled", "CrashLoopBackOff"},
		params:  map[string]string{"CONTAINER": s.container.name, "CURRENT_MEMORY_LIMIT": limit.Text()},
		last:    link{target, fmt.Sprintf("container %q may use %s of memory and was killed at that limit", s.container.name, limit.Text()), []cite{at(limit)}},
	}
	if s.reason == "CrashLoopBackOff" {
		c.wanted = []wanted{{"events about " + s.subject.String() + " (BackOff)", q.lastEvent(s.object, "BackOff") != nil}}
	}
	c.last.proof = append(c.last.proof, at(last.place.At("exitCode")))
	if last.reason != "" {
		c.last.proof = append(c.last.proof, at(last.place.At("reason")))
	}
	if last.place.At("message").Exists() && direct == stated {
		c.last.proof = append(c.last.proof, at(last.place.At("message")))
	}
	c.summary = fmt.Sprintf("Container %q of %s is killed because it needs more memory than its limit of %s.", s.container.name, target, limit.Text())
	if direct == inferred {
		c.summary = fmt.Sprintf("Container %q of %s is killed (exit code 137), most likely at its memory limit of %s.", s.container.name, target, limit.Text())
	}
	now, ok := milli(limit)
	suggestion := suggestLimit(now)
	if u, updated := q.lastUpdate(s.object); updated {
		field := "containers[" + s.container.name + "].resources.limits.memory"
		for _, ch := range u.changes {
			before, known := milli(ch.from)
			if ch.field != field || !known {
				continue
			}
			if before > now {
				c.factors = append(c.factors, fmt.Sprintf("Revision %d lowered the limit from %s to %s.", u.current.number, ch.from.Text(), ch.to.Text()))
				c.last.proof = append(c.last.proof, at(ch.from), at(ch.to))
				c.params["PREVIOUS_MEMORY_LIMIT"] = ch.from.Text()
				suggestion = before
			} else {
				c.factors = append(c.factors, fmt.Sprintf("Revision %d raised the limit from %s to %s, and it is still reached: its use grows.", u.current.number, ch.from.Text(), ch.to.Text()))
				c.last.proof = append(c.last.proof, at(ch.from), at(ch.to))
			}
		}
	}
	if ok && suggestion > 0 {
		c.params["MEMORY_LIMIT"] = strconv.FormatInt(suggestion/1000>>20, 10) + "Mi"
	}
	return c
}

// leastMemory is what a container runtime itself needs to set a container up, in thousandths of a byte; runtimes that look at the limit
// first take no less.
const leastMemory = 12 << 20 * 1000

// oomAtStart ends at a memory limit that does not even let a container be set up: that shows as a sandbox that cannot be made. Some runtimes
// say that the memory was why, others only that what they were to start is dead already; then the limits of all containers, which bound the
// sandbox too, are held against what a runtime needs.
func oomAtStart(q *inquiry, s symptom) []answer {
	text := strings.ToLower(s.text.Str())
	var least *container
	var limit Value
	var sum int64
	bounded := true
	for _, c := range containersOf(s.object) {
		v := c.spec.At("resources", "limits", "memory")
		n, ok := milli(v)
		bounded, sum = bounded && ok, add(sum, n)
		if now, _ := milli(limit); ok && (least == nil || n < now) {
			least, limit = &c, v
		}
	}
	direct := stated
	switch {
	case least == nil:
		return nil
	case strings.Contains(text, "oom-killed"), strings.Contains(text, "memory limit too low"):
	case !bounded || sum >= leastMemory:
		return nil
	case strings.Contains(text, "cannot start a stopped process"), strings.Contains(text, "process is already dead"):
		direct = compared
	case s.text.Exists() || sum >= leastMemory/2:
		return nil
	default: // no event is left, and nothing could be set up within so little
		direct = inferred
	}
	target := q.owner(s.object)
	c := &cause{
		class: ClassOOMLimit, target: target, detail: least.name, direct: direct, timing: timingUnrelated,
		signals: []string{"OOMKilled", "ReplicasUnavailable"},
		params:  map[string]string{"CONTAINER": least.name, "CURRENT_MEMORY_LIMIT": limit.Text()},
		last:    link{target, fmt.Sprintf("container %q may use %s of memory, and is killed for it while it is set up", least.name, limit.Text()), []cite{at(limit)}},
		summary: fmt.Sprintf("Container %q of %s cannot be set up within its memory limit of %s.", least.name, target, limit.Text()),
	}
	if s.text.Exists() {
		c.last.proof = append(c.last.proof, at(s.text))
	}
	if now, ok := milli(limit); ok {
		if suggestion := suggestLimit(now); suggestion > 0 {
			c.params["MEMORY_LIMIT"] = strconv.FormatInt(suggestion/1000>>20, 10) + "Mi"
		}
	}
	return []answer{{cause: c}}
}

// suggestLimit is twice the present limit, in thousandths of a byte, rounded up to a multiple of
// 64 MiB. When a rollout lowered the limit, the limit before it is suggested instead.
func suggestLimit(now int64) int64 {
	const step = 64 << 20 * 1000
	if now > 1<<60 {
		return 0
	}
	return (2*now + step - 1) / step * step
}

// killedByKubelet reports whether the kubelet says that it stopped the container for another reason.
func (q *inquiry) killedByKubelet(pod *Object, c container) bool {
	ev := q.lastEvent(pod, "Killing")
	return ev != nil && aboutContainer(ev, c)
}

// oomWithoutLimit is for a container that has no limit of its own: the node ran out.
func oomWithoutLimit(q *inquiry, s symptom, last run) []answer {
	if last.reason != "OOMKilled" {
		return nil
	}
	limits := s.container.spec.At("resources", "limits", "memory")
	target := q.owner(s.object)
	c := &cause{
		class: ClassOOMNode, target: target, detail: s.container.name, direct: compared, timing: timingUnrelated,
		signals: []string{"OOMKilled", "CrashLoopBackOff"},
		params:  map[string]string{"CONTAINER": s.container.name, "NODE_NAME": s.object.At("spec", "nodeName").Str()},
		summary: fmt.Sprintf("Container %q of %s has no memory limit and was killed when its node ran out of memory.", s.container.name, target),
		last: link{
			target, fmt.Sprintf("container %q has no memory limit, so that it was the node that ran out", s.container.name),
			[]cite{at(limits), at(last.place.At("reason"))},
		},
		depends: []string{"Node"},
	}
	node := q.nodeOf(s.object)
	pressure := false
	if node != nil {
		if m := condition(node, "MemoryPressure"); m.At("status").Str() == "True" {
			pressure = true
			c.last.proof = append(c.last.proof, at(m.At("status")))
		}
		if ev := q.lastEvent(node, "SystemOOM"); ev != nil {
			pressure = true
			c.last.proof = append(c.last.proof, event(ev))
		}
	}
	c.wanted = []wanted{{"memory pressure of " + incident.Ref{Kind: "Node", Name: s.object.At("spec", "nodeName").Str()}.String(), pressure}}
	return []answer{{cause: c}}
}
