package diagnose

import (
	"fmt"
	"slices"
	"strings"
)

// ApplicationError ends at a program that ends by itself when nothing in the cluster explains it. It
// says no more than the exit code and the log do, so it gives way to every other answer.
func (catalogue) ApplicationError() rule {
	return rule{
		explains: []symptomKind{containerDying},
		why: func(q *inquiry, s symptom) []answer {
			last := s.container.lastRun()
			if !last.exists() || last.reason == "OOMKilled" || q.probeKill(s.object, *s.container, last) != nil || stoppedInTime(*s.container) {
				return nil
			}
			if q.isDNS(s.object) && len(q.serviceSymptoms(q.dns().svc)) > 0 {
				return nil // DNSDown says what that comes to
			}
			target := q.owner(s.object)
			meaning := exitMeaning(last.exitCode)
			c := &cause{
				class: ClassApplicationError, target: target, detail: s.container.name, tier: fallback,
				direct: inferred, timing: timingUnrelated, depends: []string{"Log"},
				signals: []string{"CrashLoopBackOff", "ApplicationError"},
				params:  map[string]string{"CONTAINER": s.container.name},
				last:    link{s.subject, fmt.Sprintf("the program ends by itself with exit code %d%s", last.exitCode, meaning), []cite{at(last.place.At("exitCode"))}},
				summary: fmt.Sprintf("The program in container %q of %s ends by itself with exit code %d%s; nothing read from the cluster explains it.", s.container.name, target, last.exitCode, meaning),
			}
			if m := last.place.At("message"); m.Str() != "" {
				c.last.statement += ": " + quote(m.Str())
				c.last.proof = append(c.last.proof, at(m))
			}
			words := q.lastWords(s)
			if words != nil {
				c.last.statement += "; its last line is " + quote(words.value)
				c.last.proof = append(c.last.proof, *words)
			}
			c.wanted = []wanted{
				{"the previous logs of " + s.subject.String(), words != nil},
				{"events about " + s.subject.String() + " (BackOff)", q.lastEvent(s.object, "BackOff") != nil},
			}
			return []answer{{cause: c}}
		},
	}
}

// exitMeaning explains exit codes that have a fixed meaning.
func exitMeaning(code int64) string {
	switch code {
	case 126:
		return " (the command cannot be executed)"
	case 127:
		return " (the command was not found)"
	case 128:
		return " (it could not be started)"
	case 134:
		return " (SIGABRT)"
	case 137:
		return " (SIGKILL)"
	case 139:
		return " (SIGSEGV)"
	case 143:
		return " (SIGTERM)"
	}
	return ""
}

// lastWords cites the last line that the container logged in the run that ended. A log that is gone
// answers with a sentence of the kubelet's as if it were a line; that is no line.
func (q *inquiry) lastWords(s symptom) *cite {
	if s.container == nil {
		return nil
	}
	for _, previous := range []bool{true, false} {
		l := q.snap.Log(s.subject, s.container.name, previous)
		if l == nil {
			continue
		}
		for i, text := range slices.Backward(l.Lines) {
			line := strings.TrimSpace(text)
			if line == "" || strings.HasPrefix(line, "unable to retrieve container logs") || strings.HasPrefix(line, "failed to try resolving symlinks in path") {
				continue
			}
			c := logLine(l, i)
			return &c
		}
	}
	return nil
}
