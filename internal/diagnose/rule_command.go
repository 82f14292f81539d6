package diagnose

import (
	"fmt"
	"slices"
	"strings"
)

// startMessages returns what the runtime or the program's own shell says about a start that failed: the message
// of the state, that of the last run, warnings, and the last lines of the log.
func (q *inquiry) startMessages(s symptom) []cite {
	var out []cite
	if m := s.container.lastRun().place.At("message"); m.Str() != "" {
		out = append(out, at(m))
	}
	for _, m := range q.messagesAbout(s) {
		if m.object.ref.Kind != "Event" || aboutContainer(m.object, *s.container) {
			out = append(out, at(m))
		}
	}
	for _, l := range q.tail(s) {
		out = append(out, l.cite)
	}
	return out
}

// ImageArch ends at an image that holds no program for the architecture of the Pod's node: the kernel cannot execute
// it, or the registry lists no such variant. That the same image runs on a node of the same architecture speaks
// against it.
func (catalogue) ImageArch() rule {
	return rule{
		explains: []symptomKind{containerDying, imageNotPulled},
		why: func(q *inquiry, s symptom) []answer {
			messages := q.startMessages(s)
			i := slices.IndexFunc(messages, func(c cite) bool {
				m := strings.ToLower(c.value)
				return strings.Contains(m, "exec format error") || strings.Contains(m, "no match for platform in manifest") || strings.Contains(m, "no matching manifest for")
			})
			if i < 0 {
				return nil
			}
			image, node := s.container.spec.At("image"), q.nodeOf(s.object)
			target := q.owner(s.object)
			c := &cause{
				class: ClassImageArchMismatch, target: target, detail: s.container.name, direct: reported, timing: timingUnrelated,
				signals: q.orRollout(s, "CrashLoopBackOff", "ImageArchMismatch"),
				params:  map[string]string{"CONTAINER": s.container.name, "IMAGE": image.Str()},
				last:    link{target, fmt.Sprintf("image %s holds no program that the node can execute", image.Str()), []cite{at(image), messages[i]}},
			}
			if node != nil {
				arch := architecture(node)
				if q.sameImageRuns(s, arch.Str()) {
					return nil
				}
				c.params["NODE_NAME"] = node.ref.Name
				if arch.Exists() {
					c.direct = stated
					c.last.statement = fmt.Sprintf("image %s holds no program for the architecture of node %s, %s", image.Str(), node.ref.Name, arch.Str())
					c.last.proof = append(c.last.proof, at(arch))
				}
			} else {
				c.depends = []string{"Node"}
			}
			if p := q.pullOf(s); p.updated {
				c.params["PREVIOUS_IMAGE"] = p.previous.Str()
				c.last.statement += fmt.Sprintf("; the last rollout changed it from %s", p.previous.Str())
				c.last.proof = append(c.last.proof, at(p.previous))
			}
			c.summary = fmt.Sprintf("%s cannot run on its node: %s.", target, c.last.statement)
			return []answer{{cause: c}}
		},
	}
}

// architecture returns where a node says what its processor is.
func architecture(node *Object) Value {
	if v := node.At("status", "nodeInfo", "architecture"); v.Exists() {
		return v
	}
	return node.At("metadata", "labels", "kubernetes.io/arch")
}

// sameImageRuns reports whether another Pod of the same workload runs the same image on a node of that architecture.
func (q *inquiry) sameImageRuns(s symptom, arch string) bool {
	for _, p := range q.snap.podsOf(q.owner(s.object)) {
		node := q.nodeOf(p)
		if p == s.object || node == nil || architecture(node).Str() != arch || !isReady(p) {
			continue
		}
		for _, c := range containersOf(p) {
			if c.name == s.container.name && c.spec.At("image").Str() == s.container.spec.At("image").Str() {
				return true
			}
		}
	}
	return false
}

// InvalidCommand ends at a command that cannot be started: the runtime says so (exit 128, a start error), or a shell
// does by its exit code 126 or 127.
func (catalogue) InvalidCommand() rule {
	return rule{
		explains: []symptomKind{containerDying},
		why: func(q *inquiry, s symptom) []answer {
			last, spec := s.container.lastRun(), s.container.spec
			if last.reason == "OOMKilled" {
				return nil
			}
			said := q.startFailure(s)
			byRuntime := said != nil && (last.exitCode == 128 || last.reason == "StartError" || last.reason == "ContainerCannotRun" || !last.exists() || last.exitCode == 127 || last.exitCode == 126)
			byShell := last.exists() && (last.exitCode == 126 || last.exitCode == 127)
			if !byRuntime && !byShell {
				return nil
			}
			target := q.owner(s.object)
			place := spec.At("command")
			if !place.Exists() {
				place = spec.At("args")
			}
			c := &cause{
				class: ClassInvalidCommand, target: target, detail: s.container.name, direct: reported, timing: timingUnrelated,
				signals: q.orRollout(s, "CrashLoopBackOff", "InvalidCommand"), params: map[string]string{"CONTAINER": s.container.name},
				last: link{subject: target, proof: []cite{at(place)}},
			}
			c.last.statement = fmt.Sprintf("the command of container %q cannot be started", s.container.name)
			if last.exists() {
				c.last.statement += fmt.Sprintf(" (exit code %d)", last.exitCode)
				c.last.proof = append(c.last.proof, at(last.place.At("exitCode")))
			} else {
				c.last.proof = append(c.last.proof, s.proof...)
			}
			if said != nil {
				c.direct = compared
				c.last.statement += ": " + quote(said.value)
				c.last.proof = append(c.last.proof, *said)
				if word := commandWord(spec, said.value); word != "" {
					c.direct = stated
					c.last.statement += fmt.Sprintf("; its template says %q", word)
				}
			} else {
				c.depends = []string{"Log"}
			}
			if u, ok := q.lastUpdate(s.object); ok {
				for _, ch := range u.changes {
					if ch.concerns(s.container.name) && (strings.Contains(ch.field, "].command") || strings.Contains(ch.field, "].args") || strings.HasSuffix(ch.field, "].image")) {
						c.factors = append(c.factors, fmt.Sprintf("Revision %d changed %s.", u.current.number, ch))
						c.last.proof = append(c.last.proof, at(ch.from), at(ch.to))
					}
				}
			}
			c.wanted = []wanted{{"the previous logs of " + s.subject.String() + ", or the runtime's message", said != nil}}
			c.summary = fmt.Sprintf("%s cannot run: %s.", target, c.last.statement)
			return []answer{{cause: c}}
		},
	}
}

// startFailure finds the message that says that a program could not be executed. One about a mount, a device or
// memory is not about the program.
func (q *inquiry) startFailure(s symptom) *cite {
	for _, c := range q.startMessages(s) {
		m := strings.ToLower(c.value)
		if strings.Contains(m, "exec format error") || strings.Contains(m, "oom-killed") || strings.Contains(m, "mount") {
			continue
		}
		for _, w := range []string{"executable file not found", "no such file or directory", "permission denied", "command not found", ": not found", "is a directory", "no command specified", "not executable"} {
			starts := strings.Contains(m, "exec") || strings.Contains(m, "sh:") || strings.Contains(m, "command") || strings.Contains(m, "sh: line") || c.kind != "log"
			if strings.Contains(m, w) && starts {
				return &c
			}
		}
	}
	return nil
}

// commandWord returns the word of a container's command or arguments that a message names.
func commandWord(spec Value, message string) string {
	for _, list := range []string{"command", "args"} {
		for _, item := range spec.At(list).Items() {
			for word := range strings.FieldsSeq(item.Str()) {
				if len(word) > 1 && strings.Contains(message, word) && !strings.HasPrefix(word, "-") {
					return word
				}
			}
		}
	}
	return ""
}
