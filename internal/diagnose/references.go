package diagnose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// referenceSymptoms are the kinds of symptoms that a missing reference can be behind.
var referenceSymptoms = []symptomKind{containerConfig, podNotStarting, podUnscheduled}

// bears reports whether a reference can be behind the symptom: the container's own for a symptom of
// a container, those of volumes for a Pod that does not start.
func (r reference) bears(s symptom) bool {
	switch {
	case r.optional:
		return false
	case s.container != nil:
		return r.container == s.container.name
	case s.kind == podUnscheduled:
		return r.kind == "PersistentVolumeClaim"
	}
	return r.volume != ""
}

// use says for people how a Pod uses a reference.
func (r reference) use() string {
	switch {
	case r.volume != "":
		return fmt.Sprintf("volume %q needs %s %q", r.volume, r.kind, r.name.Str())
	case r.container != "" && r.key.Exists():
		return fmt.Sprintf("container %q needs key %q of %s %q", r.container, r.key.Str(), r.kind, r.name.Str())
	case r.container != "":
		return fmt.Sprintf("container %q takes its environment from %s %q", r.container, r.kind, r.name.Str())
	}
	return fmt.Sprintf("Pod needs %s %q", r.kind, r.name.Str())
}

// messagesAbout returns what components say about the symptom now: the message of the state itself,
// and the warnings about the object, newest first.
func (q *inquiry) messagesAbout(s symptom) []Value {
	var out []Value
	if s.text.Str() != "" {
		out = append(out, s.text)
	}
	if s.object == nil {
		return out
	}
	events := q.snap.EventsOf(s.object.ref)
	for _, ev := range slices.Backward(events) {
		if ev.At("type").Str() == "Warning" && sameIncarnation(ev, s.object) && len(out) < 20 {
			out = append(out, eventText(ev))
		}
	}
	return out
}

// says returns the first message that contains all the parts.
func says(messages []Value, parts ...string) (Value, bool) {
	for _, m := range messages {
		text := m.Str()
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, p) }) {
			return m, true
		}
	}
	return Value{}, false
}

// saysAny reports whether a message holds one of the parts.
func saysAny(message Value, parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(message.Str(), p) })
}

// missingObjects answers with the objects of a kind that the symptom's Pod names and that do not
// exist.
func missingObjects(q *inquiry, s symptom, kind string, build func(r reference, ref incident.Ref) *cause) []answer {
	var out []answer
	messages := q.messagesAbout(s)
	seen := map[incident.Ref]bool{}
	for _, r := range podReferences(s.object.At("spec")) {
		ref := r.ref(s.object)
		if r.kind != kind || seen[ref] || !r.bears(s) {
			continue
		}
		message, said := says(messages, `"`+ref.Name+`" not found`)
		knows := q.snap.Knows(ref)
		if knows == Present || knows == Unknown && !said {
			continue
		}
		seen[ref] = true
		if next, via, made := q.unmade(s, r, ref); made {
			out = append(out, answer{via: via, next: next, settles: true})
			continue
		}
		c := build(r, ref)
		c.target, c.detail, c.timing = q.owner(s.object), ref.Name, timingUnrelated
		c.summary = fmt.Sprintf("%s cannot start its Pods: %s %q does not exist in namespace %s.", c.target, kind, ref.Name, ref.Namespace)
		c.last = link{ref, fmt.Sprintf("%s %q does not exist", kind, ref.Name), nil}
		c.direct = stated
		if knows == Absent {
			c.direct = proven
			c.last.proof = append(c.last.proof, gone(ref))
		} else {
			c.depends = []string{kind}
		}
		if said {
			c.last.proof = append(c.last.proof, at(message))
		}
		c.wanted = []wanted{{"what the kubelet or the scheduler says about " + s.subject.String(), said}}
		if near := q.nearestObject(ref); near != "" {
			c.params["SUGGESTED_NAME"] = near
			c.factors = append(c.factors, fmt.Sprintf("%s %q exists, and its name is near.", kind, near))
		}
		out = append(out, answer{via: []link{{s.subject, r.use(), []cite{at(r.name)}}}, cause: c})
	}
	if len(out) == 0 && !s.object.Covers("/spec/containers") {
		if c := q.saidMissing(s, kind, build); c != nil {
			out = append(out, answer{cause: c})
		}
	}
	return out
}

// absentObject is how the kubelet says that an object does not exist.
var absentObject = regexp.MustCompile(`\b(secret|configmap) "([a-z0-9][a-z0-9.-]*)" not found`)

// saidMissing takes the kubelet's word for what a Pod names of which the spec was not read.
func (q *inquiry) saidMissing(s symptom, kind string, build func(r reference, ref incident.Ref) *cause) *cause {
	for _, message := range q.messagesAbout(s) {
		m := absentObject.FindStringSubmatch(message.Str())
		if m == nil || m[1] != strings.ToLower(kind) {
			continue
		}
		ref := incident.Ref{APIVersion: "v1", Kind: kind, Namespace: s.subject.Namespace, Name: m[2]}
		if q.snap.Knows(ref) == Present {
			continue
		}
		c := build(reference{kind: kind}, ref)
		c.target, c.detail, c.timing, c.direct, c.depends = q.owner(s.object), ref.Name, timingUnrelated, reported, []string{kind}
		c.summary = fmt.Sprintf("%s cannot start its Pods: %s %q does not exist in namespace %s.", c.target, kind, ref.Name, ref.Namespace)
		c.last = link{ref, fmt.Sprintf("%s %q does not exist", kind, ref.Name), []cite{at(message)}}
		return c
	}
	return nil
}

// unmade returns the symptom of a custom resource that is not well and is to make an absent object: its spec names it, or
// it has its name and names nothing else.
func (q *inquiry) unmade(s symptom, r reference, ref incident.Ref) (next *symptom, via []link, made bool) {
	q.snap.want(Want{Ref: incident.Ref{APIVersion: custom, Kind: custom, Namespace: ref.Namespace}})
	for _, o := range q.snap.c.Objects {
		if o.ref.Namespace != ref.Namespace || !isCustom(o) {
			continue
		}
		target := o.At("spec", "target", "name")
		if !target.Exists() {
			target = o.At("spec", "secretName")
		}
		if !target.Exists() {
			target = o.At("metadata", "name")
		}
		bad := q.resourceSymptoms(o)
		if target.Str() != ref.Name || !strings.Contains(o.ref.Kind, ref.Kind) && target.Path() == "/metadata/name" || len(bad) == 0 {
			continue
		}
		via = []link{{s.subject, r.use(), []cite{at(r.name)}}, {o.ref, fmt.Sprintf("it is to make %s, which does not exist", ref), []cite{at(target)}}}
		return &bad[0], via, true
	}
	return nil, nil, false
}

// missingKeys answers with the keys that the symptom's Pod names and that an existing ConfigMap or
// Secret does not have. A Secret's keys are not read, so that for it the kubelet's word counts, about
// a key that the spec names.
func missingKeys(q *inquiry, s symptom, kind string, build func(r reference, ref incident.Ref) *cause) []answer {
	var out []answer
	messages := q.messagesAbout(s)
	seen := map[string]bool{}
	for _, r := range podReferences(s.object.At("spec")) {
		ref, key := r.ref(s.object), r.key.Str()
		if r.kind != kind || key == "" || seen[ref.Name+"/"+key] || !r.bears(s) || q.snap.Knows(ref) == Absent {
			continue
		}
		message, said := says(messages, fmt.Sprintf("couldn't find key %s in %s %s/%s", key, kind, ref.Namespace, ref.Name))
		if !said {
			message, said = says(messages, "references non-existent", "key: "+key)
		}
		o := q.snap.Object(ref)
		readable := o != nil && o.Covers("/data")
		lacks := readable && !o.At("data", key).Exists() && !o.At("binaryData", key).Exists()
		if readable && !lacks || !readable && !said {
			continue
		}
		seen[ref.Name+"/"+key] = true
		c := build(r, ref)
		c.target, c.detail, c.timing = q.owner(s.object), ref.Name+"/"+key, timingUnrelated
		c.params["KEY"] = key
		c.summary = fmt.Sprintf("%s cannot start its Pods: %s %q has no key %q.", c.target, kind, ref.Name, key)
		c.last = link{ref, fmt.Sprintf("%s %q has no key %q", kind, ref.Name, key), nil}
		c.direct = stated
		if lacks {
			c.direct = proven
			c.last.proof = append(c.last.proof, at(o.At("data", key)))
			if near := nearest(key, o.At("data").Keys()); near != "" {
				c.params["SUGGESTED_KEY"] = near
				c.factors = append(c.factors, fmt.Sprintf("It has a key %q, whose name is near.", near))
			}
		}
		if said {
			c.last.proof = append(c.last.proof, at(message))
		}
		c.wanted = []wanted{{"what the kubelet says about " + s.subject.String(), said}}
		out = append(out, answer{via: []link{{s.subject, r.use(), []cite{at(r.name), at(r.key)}}}, cause: c})
	}
	return out
}
