package diagnose

import (
	"fmt"
	"slices"
)

// InitBlocked ends at an init container that has been running for long: it waits for something that nothing read from
// the cluster names, else that would be the cause.
func (catalogue) InitBlocked() rule {
	return rule{
		explains: []symptomKind{containerNotReady},
		why: func(q *inquiry, s symptom) []answer {
			if s.reason != "Init" || q.prepares(s, q.top(s.object)) {
				return nil
			}
			if slices.ContainsFunc(q.ties(s), func(t tie) bool { return t.svc != nil && len(q.troubleOf(t.dependency)) > 0 }) {
				return nil // it waits for that
			}
			target := q.owner(s.object)
			started := s.container.status.At("state", "running", "startedAt")
			command := s.container.spec.At("command")
			if !command.Exists() {
				command = s.container.spec.At("image")
			}
			c := &cause{
				class: ClassInitBlocked, target: target, detail: s.container.name, tier: fallback, direct: reported, timing: timingUnrelated,
				signals: []string{"InitBlocked", "ReplicasUnavailable"}, depends: []string{"Log"},
				params: map[string]string{"CONTAINER": s.container.name},
				last: link{
					target, fmt.Sprintf("init container %q does not end; it runs since %s, and no other container is started before it ends", s.container.name, clock(started.Time())),
					[]cite{at(started), at(command)},
				},
				summary: fmt.Sprintf("%s does not start: init container %q waits and does not end.", target, s.container.name),
			}
			words := q.tail(s)
			if len(words) > 0 {
				c.last.statement += "; its last line is " + quote(words[0].text)
				c.last.proof = append(c.last.proof, words[0].cite)
			}
			c.wanted = []wanted{{"the log of " + s.container.name + " in " + s.subject.String(), len(words) > 0}}
			return []answer{{cause: c}}
		},
	}
}
