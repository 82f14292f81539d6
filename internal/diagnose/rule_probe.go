package diagnose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// probe is one probe of a container and what it asks.
type probe struct {
	kind  string // liveness, readiness or startup
	spec  Value
	port  Value // nowhere for an exec probe
	path  Value // of an HTTP probe
	event Value // the newest message about its failure
}

// failingProbe returns the probe that can be behind the symptom, nil when the container has none of
// that kind.
func (q *inquiry) failingProbe(s symptom) *probe {
	if s.container == nil {
		return nil
	}
	var kinds []string
	switch s.kind {
	case containerNotReady:
		kinds = []string{"startup", "readiness"}
		if started := s.container.status.At("started"); started.Bool() || !s.container.spec.At("startupProbe").Exists() {
			kinds = []string{"readiness"}
		}
	case containerDying:
		killed := q.probeKill(s.object, *s.container, s.container.lastRun())
		if killed == nil && !stoppedInTime(*s.container) {
			return nil
		}
		kinds = []string{"liveness"}
		if killed != nil && strings.Contains(eventText(killed).Str(), "failed startup probe") {
			kinds = []string{"startup"}
		}
	}
	for _, kind := range kinds {
		spec := s.container.spec.At(kind + "Probe")
		if !spec.Exists() {
			continue
		}
		p := &probe{kind: kind, spec: spec, path: spec.At("httpGet", "path")}
		for _, way := range []string{"httpGet", "tcpSocket", "grpc"} {
			if spec.At(way).Exists() {
				p.port = spec.At(way, "port")
			}
		}
		prefix := strings.ToUpper(kind[:1]) + kind[1:] + " probe "
		for _, ev := range q.snap.EventsOf(s.subject) {
			if ev.At("reason").Str() == "Unhealthy" && aboutContainer(ev, *s.container) && strings.HasPrefix(eventText(ev).Str(), prefix) {
				p.event = eventText(ev)
			}
		}
		return p
	}
	return nil
}

func (p *probe) name() string { return p.kind + " probe" }

// target finds the container port that a probe's or Service's port means: by name, or by number. declared
// says that the number could be looked up at all.
func portIn(ports []port, v Value) (found, declared bool) {
	n, numeric := v.Int()
	for _, p := range ports {
		declared = true
		if numeric && p.number == n || !numeric && p.name == v.Str() {
			return true, true
		}
	}
	return false, declared || !numeric
}

func (q *inquiry) probeCause(s symptom, p *probe) *cause {
	target := q.owner(s.object)
	c := &cause{
		target: target, detail: s.container.name + "/" + p.kind, timing: timingUnrelated,
		signals: []string{"Unhealthy", "ReplicasUnavailable"},
		params:  map[string]string{"PROBE": p.kind, "CONTAINER": s.container.name},
		last:    link{subject: target},
		wanted:  []wanted{{"events Unhealthy about " + s.subject.String(), p.event.Exists()}},
	}
	if s.kind == containerDying {
		c.signals = []string{"CrashLoopBackOff", "Unhealthy"}
		if kill := q.probeKill(s.object, *s.container, s.container.lastRun()); kill != nil {
			c.last.proof = append(c.last.proof, event(kill))
		}
	}
	if p.port.Exists() {
		c.params["PORT"] = p.port.Text()
		c.last.proof = append(c.last.proof, at(p.port))
	}
	if p.event.Exists() {
		c.last.proof = append(c.last.proof, at(p.event))
	}
	return c
}

// ProbeMisconfigured ends at a probe that asks for a port that its container does not have, or for
// a path that the program says it does not serve.
func (catalogue) ProbeMisconfigured() rule {
	return rule{
		explains: []symptomKind{containerNotReady, containerDying},
		why: func(q *inquiry, s symptom) []answer {
			p := q.failingProbe(s)
			if p == nil {
				return nil
			}
			if !p.port.Exists() {
				return absentProbeProgram(q, s, p)
			}
			var ports []port
			for _, d := range declaredPorts(s.object.At("spec")) {
				if d.container == s.container.name {
					ports = append(ports, d)
				}
			}
			c := q.probeCause(s, p)
			c.class = ClassProbeMisconfigured
			found, declared := portIn(ports, p.port)
			_, numeric := p.port.Int()
			_, refused := says([]Value{p.event}, "connection refused")
			_, noPath := says([]Value{p.event}, "statuscode: 404")
			plain := saysAny(p.event, "server gave HTTP response to HTTPS client", "first record does not look like a TLS handshake")
			secure := saysAny(p.event, "malformed HTTP response", "HTTP request to an HTTPS server")
			changes := q.newProbe(s, p)
			statement := ""
			switch {
			case !found && !numeric:
				c.direct = proven
				statement = fmt.Sprintf("the %s of container %q asks port %q, and the container has no port of that name", p.name(), s.container.name, p.port.Str())
			case !found && declared && (refused || !p.event.Exists()):
				// Declaring a port is not needed to listen on it; that the connection is refused closes
				// that gap.
				c.direct = proven
				if !refused {
					c.direct = compared
				}
				statement = fmt.Sprintf("the %s of container %q asks port %s, and the container serves %s", p.name(), s.container.name, p.port.Text(), portList(ports))
			case plain && p.spec.At("httpGet", "scheme").Str() == "HTTPS", secure && p.spec.At("httpGet", "scheme").Str() != "HTTPS":
				c.direct = proven
				c.last.proof = append(c.last.proof, at(p.spec.At("httpGet", "scheme")))
				statement = fmt.Sprintf("the %s of container %q speaks another scheme than the program on port %s does: %s", p.name(), s.container.name, p.port.Text(), quote(p.event.Str()))
			case noPath:
				c.direct = compared
				c.last.proof = append(c.last.proof, at(p.path))
				statement = fmt.Sprintf("the %s of container %q asks for path %s, and the program answers 404: it does not serve that path", p.name(), s.container.name, p.path.Text())
			case len(changes) > 0:
				c.direct = compared
				c.last.proof = append(c.last.proof, at(changes[0].from), at(changes[0].to))
				statement = fmt.Sprintf("the newest revision changed nothing but the %s of container %q, with which the earlier one is ready: %s", p.name(), s.container.name, changes[0])
			case found && refused && q.impatient(s, p):
				c.direct = inferred
				c.last.proof = append(c.last.proof, at(p.spec.At("initialDelaySeconds")), at(s.container.lastRun().place.At("finishedAt")))
				statement = fmt.Sprintf("the %s of container %q has it killed %s after its start, before it listens on port %s; no startup probe gives it more time", p.name(), s.container.name, span(s.container.lastRun().lasted()), p.port.Text())
			default:
				return nil
			}
			for i, d := range ports {
				if i < 4 {
					c.last.proof = append(c.last.proof, at(d.place.At("containerPort")))
				}
			}
			if len(ports) == 1 && !found {
				c.params["SUGGESTED_PORT"] = strconv.FormatInt(ports[0].number, 10)
			}
			if len(ports) == 0 {
				c.last.proof = append(c.last.proof, at(s.container.spec.At("ports")))
			}
			c.last.statement = statement
			c.summary = fmt.Sprintf("%s: %s.", c.target, statement)
			return []answer{{cause: c}}
		},
	}
}

// newProbe returns what the newest revision changed in a probe, when it changed nothing else and Pods of the one before are
// still ready; nil otherwise.
func (q *inquiry) newProbe(s symptom, p *probe) []change {
	u, ok := q.lastUpdate(s.object)
	if !ok || len(u.goodPods) == 0 || q.rolloutSpeaksAgainst(u, s) {
		return nil
	}
	for _, ch := range u.changes {
		if !strings.Contains(ch.field, "containers["+s.container.name+"]."+p.kind+"Probe.") {
			return nil // one that is new says nothing of how the program was before
		}
	}
	return u.changes
}

// impatient reports whether a liveness probe has a program killed as soon as it may while that still starts: no startup probe holds it back,
// it ends as one that is asked to, and says nothing of a failure.
func (q *inquiry) impatient(s symptom, p *probe) bool {
	if s.kind != containerDying || p.kind != "liveness" || s.container.spec.At("startupProbe").Exists() || !stoppedInTime(*s.container) {
		return false
	}
	seconds := p.spec.At("initialDelaySeconds").IntOr(0) + p.spec.At("periodSeconds").IntOr(10)*(p.spec.At("failureThreshold").IntOr(3)+1)
	least := time.Duration(min(max(seconds, 0), 3600)) * time.Second
	if s.container.lastRun().lasted() > least {
		return false
	}
	return !slices.ContainsFunc(q.tail(s), func(l spoken) bool { return isGrave(l.text) || classifyComplaint(l.text) != noComplaint })
}

// absentProbeProgram is for a probe that runs a program which is not in the image.
func absentProbeProgram(q *inquiry, s symptom, p *probe) []answer {
	command := p.spec.At("exec", "command")
	absent := saysAny(p.event, "executable file not found", "no such file or directory")
	errored := saysAny(p.event, "probe errored", "exec failed", "unable to start container process", "failed to exec")
	if !command.Exists() || !absent || !errored {
		return nil
	}
	c := q.probeCause(s, p)
	c.class, c.direct = ClassProbeMisconfigured, proven
	c.last.proof = append(c.last.proof, at(command))
	c.last.statement = fmt.Sprintf("the %s of container %q runs %s, which its image does not hold", p.name(), s.container.name, quote(command.Text()))
	c.summary = fmt.Sprintf("%s: %s.", c.target, c.last.statement)
	return []answer{{cause: c}}
}

func portList(ports []port) string {
	var names []string
	for _, p := range ports {
		names = append(names, strconv.FormatInt(p.number, 10))
	}
	if len(names) == 1 {
		return "port " + names[0]
	}
	return "ports " + list(names, 4)
}

// ProbeFailing ends at a probe that aims well and fails: the program does not answer as it should. It
// says no more than the probe does, so it gives way to any other answer.
func (catalogue) ProbeFailing() rule {
	return rule{
		explains: []symptomKind{containerNotReady, containerDying},
		why: func(q *inquiry, s symptom) []answer {
			p := q.failingProbe(s)
			if p == nil {
				return nil
			}
			c := q.probeCause(s, p)
			c.class, c.tier, c.direct, c.depends = ClassProbeFailing, fallback, inferred, []string{"Log", "Event"}
			if p.event.Exists() {
				c.direct, c.depends = reported, []string{"Log"}
			}
			statement := fmt.Sprintf("the %s of container %q fails", p.name(), s.container.name)
			if p.event.Exists() {
				statement += ": " + quote(p.event.Str())
			} else {
				c.last.proof = append(c.last.proof, at(p.spec))
			}
			words := q.lastWords(s)
			if words != nil {
				c.last.proof = append(c.last.proof, *words)
			}
			c.wanted = append(c.wanted, wanted{"the logs of " + s.subject.String(), words != nil})
			c.last.statement = statement
			c.summary = fmt.Sprintf("%s: %s; the program does not answer as the probe wants.", c.target, statement)
			return []answer{{cause: c}}
		},
	}
}
