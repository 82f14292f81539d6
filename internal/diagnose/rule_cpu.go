package diagnose

import (
	"fmt"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// tinyCPU is the CPU limit, in thousandths, up to which probes that time out are put down to it.
const tinyCPU = 100

// CPUThrottled ends at a CPU limit that slows a container so much that its probes time out: its use is at the limit, a
// rollout has lowered the limit, or the limit is tiny.
func (catalogue) CPUThrottled() rule {
	return rule{
		explains: []symptomKind{containerNotReady, containerDying},
		why: func(q *inquiry, s symptom) []answer {
			p := q.failingProbe(s)
			if p == nil || p.event.Exists() && !timesOut(p.event.Str()) {
				return nil
			}
			limit := s.container.spec.At("resources", "limits", "cpu")
			allowed, ok := milli(limit)
			if !ok {
				return nil
			}
			target := q.owner(s.object)
			c := &cause{
				class: ClassCPUThrottled, target: target, detail: s.container.name, timing: timingUnrelated,
				signals: []string{"CPUThrottled", "Unhealthy"}, depends: []string{"PodMetrics"},
				params: map[string]string{"CONTAINER": s.container.name, "CPU_LIMIT": limit.Text()},
				last: link{
					target, fmt.Sprintf("container %q may use %s of a CPU, and its %s times out", s.container.name, limit.Text(), p.name()), []cite{at(limit)},
				},
			}
			if p.event.Exists() {
				c.last.proof = append(c.last.proof, at(p.event))
			} else {
				c.last.statement = fmt.Sprintf("container %q may use %s of a CPU, and its %s fails", s.container.name, limit.Text(), p.name())
			}
			used := q.cpuUse(s)
			if n, known := milli(used); known && allowed > 0 {
				if n*10 < allowed*9 {
					return nil
				}
				c.direct = compared
				c.last.statement += fmt.Sprintf("; it uses %s", used.Text())
				c.last.proof = append(c.last.proof, at(used))
			} else if allowed <= tinyCPU && p.event.Exists() {
				c.direct = inferred
			}
			held, much, measured := q.throttled(s)
			switch {
			case much:
				c.direct = compared
				c.last.statement += fmt.Sprintf("; the limit holds it back in a share of %s of all scheduling periods", held.Text())
				c.last.proof = append(c.last.proof, at(held))
			case measured && !used.Exists(): // the probe is slow for another reason
				return nil
			}
			if u, updated := q.lastUpdate(s.object); updated && (p.event.Exists() || c.direct > 0) {
				for _, ch := range u.changes {
					before, known := milli(ch.from)
					if ch.concerns(s.container.name) && strings.HasSuffix(ch.field, "resources.limits.cpu") && known && before > allowed {
						c.direct = max(c.direct, reported)
						c.last.statement += fmt.Sprintf("; revision %d lowered it from %s", u.current.number, ch.from.Text())
						c.last.proof = append(c.last.proof, at(ch.from))
					}
				}
			}
			if c.direct == 0 {
				return nil
			}
			c.wanted = []wanted{{"metrics of the container's CPU use and throttling", used.Exists() || measured}, {"events Unhealthy about " + s.subject.String(), p.event.Exists()}}
			c.summary = fmt.Sprintf("%s is slowed by its CPU limit: %s.", target, c.last.statement)
			return []answer{{cause: c}}
		},
	}
}

func timesOut(message string) bool {
	m := strings.ToLower(message)
	return strings.Contains(m, "context deadline exceeded") || strings.Contains(m, "timed out") || strings.Contains(m, "timeout")
}

// cpuUse returns where the metrics API says how much CPU a container uses.
func (q *inquiry) cpuUse(s symptom) Value {
	m := q.snap.Object(incident.Ref{APIVersion: "metrics.k8s.io/v1beta1", Kind: "PodMetrics", Namespace: s.subject.Namespace, Name: s.subject.Name})
	if m == nil {
		return Value{}
	}
	for _, c := range m.At("containers").Items() {
		if c.At("name").Str() == s.container.name {
			return c.At("usage", "cpu")
		}
	}
	return Value{}
}
