package diagnose

import (
	"fmt"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// shortly is how long before a symptom a change of what it reads may lie for it to be the change that brought it.
const shortly = time.Hour

// configUse is one ConfigMap or Secret that a container reads.
type configUse struct {
	reference
	object *Object
	paths  []string // where its files are mounted
	fixed  bool     // what the container read does not follow later changes: a variable, or a file of a subPath
}

// configUses returns the existing ConfigMaps and Secrets that a container reads, each once.
func (q *inquiry) configUses(s symptom) []configUse {
	var out []configUse
	index := map[objectKey]int{}
	for _, r := range podReferences(s.object.At("spec")) {
		if r.kind != "ConfigMap" && r.kind != "Secret" {
			continue
		}
		if r.volume != "" && holdsToken(s.object, r.volume) {
			continue // the API server's certificates, which every Pod gets and no program is configured by
		}
		u := configUse{reference: r, object: q.snap.Object(r.ref(s.object)), fixed: r.container != ""}
		if u.object == nil || r.container != "" && r.container != s.container.name {
			continue
		}
		if r.volume != "" {
			for _, m := range s.container.spec.At("volumeMounts").Items() {
				if m.At("name").Str() == r.volume {
					u.paths = append(u.paths, m.At("mountPath").Str())
					u.fixed = u.fixed || m.At("subPath").Str() != ""
				}
			}
			if len(u.paths) == 0 {
				continue
			}
		}
		k := keyOf(u.object.ref)
		if i, ok := index[k]; ok {
			out[i].paths = append(out[i].paths, u.paths...)
			out[i].fixed = out[i].fixed || u.fixed
			continue
		}
		index[k] = len(out)
		out = append(out, u)
	}
	return out
}

// holdsToken reports whether a volume of a Pod is the one with the token of its ServiceAccount.
func holdsToken(pod *Object, volume string) bool {
	for _, v := range pod.At("spec", "volumes").Items() {
		if v.At("name").Str() != volume {
			continue
		}
		for _, source := range v.At("projected", "sources").Items() {
			if source.At("serviceAccountToken").Exists() {
				return true
			}
		}
	}
	return false
}

// namedBy finds the newest line that names a file of the ConfigMap, one of its keys, or a variable that it sets.
func (u configUse) namedBy(s symptom, lines []spoken) *spoken {
	var words []string
	for _, key := range u.object.At("data").Keys() {
		if strings.ContainsAny(key, "._-") {
			words = append(words, key)
		}
	}
	for _, e := range s.container.spec.At("env").Items() {
		if key := e.At("valueFrom", "configMapKeyRef"); key.At("name").Str() == u.object.ref.Name {
			words = append(words, e.At("name").Str())
		}
	}
	for _, l := range lines {
		if isMild(l.text) || goesOn(l.text) || reads(l.text) {
			continue
		}
		for _, p := range u.paths {
			if p != "" && p != "/" && strings.Contains(l.text, p) {
				return &l
			}
		}
		for _, w := range words {
			if hasWord(l.text, w) {
				return &l
			}
		}
	}
	return nil
}

// ConfigInvalid ends at a ConfigMap that the program reads and refuses: its last lines name the ConfigMap's file, key or
// variable, or nothing but the ConfigMap changed before the program began to fail.
func (catalogue) ConfigInvalid() rule {
	return rule{
		explains: []symptomKind{containerDying},
		why: func(q *inquiry, s symptom) []answer {
			last := s.container.lastRun()
			if !last.exists() || last.exitCode == 0 || last.exitCode == 137 || last.exitCode >= 126 && last.exitCode <= 128 || q.probeKill(s.object, *s.container, last) != nil || q.isDNS(s.object) {
				return nil
			}
			lines := q.tail(s)
			var out []answer
			for _, u := range q.configUses(s) {
				if u.kind != "ConfigMap" {
					continue
				}
				if c := q.configInvalid(s, u, lines); c != nil {
					out = append(out, answer{via: []link{{s.subject, u.use(), []cite{at(u.name)}}}, cause: c})
				}
			}
			return out
		},
	}
}

func (q *inquiry) configInvalid(s symptom, u configUse, lines []spoken) *cause {
	changed, recorded := lastChange(u.object)
	recent := recorded && q.changedBefore(s, changed.time)
	// What was written before the workload was, the workload was made with: that is no change under its feet.
	changedUnder := recent && changed.time.After(q.top(s.object).Created())
	said := u.namedBy(s, lines)
	if said != nil && isAbsence(said.text) && !recent {
		said = nil
	}
	if said == nil && (!changedUnder || len(lines) > 0 && classifyComplaint(lines[0].text) != noComplaint) {
		return nil
	}
	update, rolled := q.lastUpdate(s.object)
	if rolled && said == nil {
		return nil
	}
	last := s.container.lastRun()
	c := &cause{
		class: ClassConfigInvalid, target: u.object.ref, direct: reported, timing: timingUnknown,
		signals: []string{"CrashLoopBackOff", "ConfigInvalid"},
		params:  map[string]string{"CONFIG_MAP": u.object.ref.Name, "CONTAINER": s.container.name},
		last:    link{u.object.ref, fmt.Sprintf("the program in container %q ends with exit code %d on the content of the ConfigMap", s.container.name, last.exitCode), []cite{at(last.place.At("exitCode"))}},
	}
	if said != nil {
		c.last.statement += ": " + quote(said.text)
		c.last.proof = append(c.last.proof, said.cite)
	} else {
		c.direct, c.depends = inferred, []string{"Log"}
	}
	if recent {
		c.timing = timingFits
		if said != nil {
			c.direct = compared
		}
		c.last.statement += fmt.Sprintf("; %s wrote it at %s", changed.manager, clock(changed.time))
		c.last.proof = append(c.last.proof, at(changed.place))
	} else if recorded {
		c.timing = timingStanding
	}
	if rolled {
		for _, ch := range update.changes {
			if ch.to.Text() == u.object.ref.Name {
				c.timing, c.direct = timingFits, compared
				c.last.statement += fmt.Sprintf("; revision %d took it in place of %q", update.current.number, ch.from.Text())
				c.last.proof = append(c.last.proof, at(ch.from), at(ch.to))
			}
		}
	}
	c.wanted = []wanted{{"the previous logs of " + s.subject.String(), len(lines) > 0}, {"when " + u.object.ref.String() + " was changed (managedFields)", recorded}}
	c.summary = fmt.Sprintf("The program in container %q of %s refuses the content of %s.", s.container.name, q.owner(s.object), u.object.ref)
	return c
}

// isAbsence reports whether a line says that something is not there, rather than that it is wrong.
func isAbsence(line string) bool { return strings.Contains(strings.ToLower(line), "no such file") }

// reads reports whether a line merely says that a file is read.
func reads(line string) bool {
	line = strings.ToLower(line)
	return !isGrave(line) && (strings.Contains(line, "loaded") || strings.Contains(line, "loading") || strings.Contains(line, "using") || strings.Contains(line, "reading"))
}

// changedBefore reports whether a change came before the trouble began, and not long before: before the first run
// that failed, or before the restarts of a container that had run well in an old Pod.
func (q *inquiry) changedBefore(s symptom, changed time.Time) bool {
	start := began(s)
	return !start.IsZero() && !changed.After(start.Add(2*time.Minute)) && start.Sub(changed) < shortly
}

// SecretStale ends at Pods that took a Secret's or ConfigMap's values at their start, while the object has been changed
// since: they work with what is no longer so, and the program complains as it would about that.
func (catalogue) SecretStale() rule {
	return rule{
		explains: []symptomKind{containerNotReady, containerDying},
		why: func(q *inquiry, s symptom) []answer {
			started := s.container.runningSince()
			if started.IsZero() || s.container.init {
				return nil
			}
			lines := q.linesOf(s.object, s.container.name, false)
			var said *spoken
			for _, l := range lines {
				if classifyComplaint(l.text) == refusesUs {
					said = &l
					break
				}
			}
			if said == nil {
				return nil
			}
			var out []answer
			for _, u := range q.configUses(s) {
				changed, recorded := lastChange(u.object)
				if !u.fixed || !recorded || !changed.time.After(started) {
					continue
				}
				out = append(out, answer{via: []link{{s.subject, u.use(), []cite{at(u.name)}}}, cause: q.staleCause(s, u, changed, *said)})
			}
			return out
		},
	}
}

func (q *inquiry) staleCause(s symptom, u configUse, changed changedAt, said spoken) *cause {
	target, started := q.owner(s.object), s.container.status.At("state", "running", "startedAt")
	c := &cause{
		class: ClassSecretStale, target: target, detail: u.object.ref.String(), direct: compared + 0.02, timing: timingFits,
		signals: []string{"SecretStale", "Unhealthy"}, params: map[string]string{"CONTAINER": s.container.name},
		last: link{target, fmt.Sprintf("container %q read %s when it started, at %s; it was changed at %s, and the program says %s",
			s.container.name, u.object.ref, clock(started.Time()), clock(changed.time), quote(said.text)), []cite{at(started), at(changed.place), said.cite}},
		summary: fmt.Sprintf("%s still uses what %s held before it was changed at %s.", target, u.object.ref, clock(changed.time)),
	}
	if u.kind == "Secret" {
		c.params["SECRET_NAME"] = u.object.ref.Name
	} else {
		c.params["CONFIG_MAP"] = u.object.ref.Name
	}
	return c
}

// stalePods states that the Pods of a workload, or a Pod, run and complain about credentials that were changed after they
// had read them. A log is looked at only where a Secret or ConfigMap is newer than the container that took it in.
func (q *inquiry) stalePods(o *Object) []symptom {
	pods := q.snap.podsOf(o.ref)
	if o.ref.Kind == "Pod" {
		pods = []*Object{o}
	}
	for i, pod := range pods {
		if i == maxStale || pod.Deleting() || pod.partial || isDone(pod) {
			break
		}
		for _, c := range containersOf(pod) {
			s := symptom{
				kind: containerNotReady, object: pod, container: &c, reason: "Stale", affected: 1, since: c.runningSince(),
				link: link{subject: pod.ref},
			}
			if !c.running() || c.init || !q.readsNewer(s) {
				continue
			}
			for _, l := range q.linesOf(pod, c.name, false) {
				if classifyComplaint(l.text) == refusesUs {
					s.statement = fmt.Sprintf("container %q runs and is refused by what it calls: %s", c.name, quote(l.text))
					s.proof = []cite{l.cite}
					return []symptom{s}
				}
			}
		}
	}
	return nil
}

// maxStale bounds how many Pods of one workload are looked at for what they read before it was changed.
const maxStale = 3

// readsNewer reports whether something that a container read once has been changed since.
func (q *inquiry) readsNewer(s symptom) bool {
	for _, u := range q.configUses(s) {
		if changed, ok := lastChange(u.object); ok && u.fixed && changed.time.After(s.container.runningSince()) {
			return true
		}
	}
	return false
}

// staleLogs are the logs that say whether Pods that run suffer from what they read before it was changed.
func (q *inquiry) staleLogs(o *Object) []LogNeed {
	pods := q.snap.podsOf(o.ref)
	if o.ref.Kind == "Pod" {
		pods = []*Object{o}
	}
	var out []LogNeed
	for i, p := range pods {
		for _, c := range containersOf(p) {
			if i < maxStale && c.running() && !c.init && q.readsNewer(symptom{object: p, container: &c}) {
				out = append(out, LogNeed{Pod: incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: p.ref.Namespace, Name: p.ref.Name}, Container: c.name})
			}
		}
	}
	return out
}
