package diagnose

import (
	"fmt"
	"slices"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Dependencies leads from a container that fails, or waits, for something that its configuration names to
// what is wrong with that: a Service that does not exist or has nothing behind it, or the workload behind it.
// A dependency that the container does not complain about is none of its symptom's; an optional one that is
// absent leaves its client well, and is never asked about.
func (catalogue) Dependencies() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			for _, t := range q.ties(s) {
				if s.kind == callFails && (t.said == nil || t.svc == nil && q.behindAbsent(t.ref) == nil) {
					continue // a client that is well may do without what it names
				}
				if t.said != nil && (t.said.kind == refusesUs || t.said.kind == exhausted) || q.misnamed(s, t) != nil {
					continue
				}
				settles := t.strong == proven && !q.rolloutTouched(s, t)
				if s.container.init && t.strong >= stated {
					settles = true
				}
				for _, next := range q.troubleOf(t.dependency) {
					if s.kind == callFails && q.doesWithout(s, t.dependency) {
						continue
					}
					out = append(out, answer{via: t.links(s), next: &next, tie: t.strong, settles: settles})
				}
			}
			return out
		},
	}
}

// doesWithout reports whether a Pod became ready while its dependency was down already: it may complain, and needs it not.
func (q *inquiry) doesWithout(s symptom, d dependency) bool {
	ready := condition(s.object, "Ready")
	if ready.At("status").Str() != "True" || d.svc == nil {
		return false
	}
	down := q.downSince(d.svc)
	return !down.IsZero() && ready.At("lastTransitionTime").Time().After(down.Add(time.Minute))
}

// downSince is when what is behind a Service was last seen to stop being ready; zero when that is not recorded.
func (q *inquiry) downSince(svc *Object) time.Time {
	var down time.Time
	for _, w := range q.snap.selectedWorkloads(svc) {
		available := condition(w, "Available")
		if t := available.At("lastTransitionTime").Time(); available.At("status").Str() == "False" && t.After(down) {
			down = t
		}
	}
	for _, p := range q.selected(svc) {
		if t := notReadySince(p); t.After(down) {
			down = t
		}
	}
	return down
}

// rolloutTouched reports whether the last rollout changed the place that names the dependency.
func (q *inquiry) rolloutTouched(s symptom, t tie) bool {
	u, ok := q.lastUpdate(s.object)
	return ok && slices.ContainsFunc(u.changes, func(c change) bool {
		return c.concerns(s.container.name) && t.env != "" && hasWord(c.field, t.env) ||
			t.env == "" && t.place.object == s.object && c.concerns(s.container.name) && (hasWord(c.field, "command") || hasWord(c.field, "args"))
	})
}

// troubleOf states what is wrong with a dependency now.
func (q *inquiry) troubleOf(d dependency) []symptom {
	if d.svc == nil {
		if q.snap.Knows(d.ref) != Absent {
			return nil
		}
		return []symptom{{kind: serviceAbsent, affected: 1, link: link{d.ref, "Service does not exist", []cite{gone(d.ref)}}}}
	}
	out := q.serviceSymptoms(d.svc)
	if len(out) > 0 {
		return out
	}
	for _, w := range q.snap.selectedWorkloads(d.svc) {
		out = append(out, q.workloadSymptoms(w)...)
	}
	return out
}

// ServiceMissing ends at a Service that a workload calls and that does not exist: no other variable value would
// lead to what it calls.
func (catalogue) ServiceMissing() rule {
	return rule{
		explains: []symptomKind{serviceAbsent},
		why: func(q *inquiry, s symptom) []answer {
			c := &cause{
				class: ClassServiceMissing, target: s.subject, direct: proven, timing: timingUnrelated,
				signals: []string{"ServiceNotFound", "CrashLoopBackOff"},
				params:  map[string]string{"SERVICE_NAME": s.subject.Name},
				last:    link{s.subject, "the Service that is called does not exist", []cite{gone(s.subject)}},
				summary: fmt.Sprintf("%s does not exist, and is called.", s.subject),
			}
			if w := q.behindAbsent(s.subject); w != nil {
				c.params["WORKLOAD_KIND"], c.params["WORKLOAD_NAME"] = w.ref.Kind, w.ref.Name
				c.last.statement += fmt.Sprintf("; %s, which no Service selects, can have been behind it", w.ref)
				c.last.proof = append(c.last.proof, exists(w))
				c.summary = fmt.Sprintf("%s does not exist, and is called; %s would serve it.", s.subject, w.ref)
			}
			return []answer{{cause: c}}
		},
	}
}

// behindAbsent returns the one workload that an absent Service can have led to: it or one of its labels has the
// Service's name, and no Service selects it.
func (q *inquiry) behindAbsent(svc incident.Ref) *Object {
	var found []*Object
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet"} {
		for _, w := range q.snap.Kind(kind, svc.Namespace) {
			labels := templateOf(w).At("metadata", "labels").StrMap()
			match := w.ref.Name == svc.Name
			for _, v := range labels {
				match = match || v == svc.Name
			}
			if match && !q.servedByOtherIn(svc.Namespace, labels) {
				found = append(found, w)
			}
		}
	}
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

// servedByOtherIn reports whether some Service of a namespace selects these labels.
func (q *inquiry) servedByOtherIn(ns string, labels map[string]string) bool {
	return slices.ContainsFunc(q.snap.Kind("Service", ns), func(svc *Object) bool {
		sel := svc.At("spec", "selector").StrMap()
		return len(sel) > 0 && selects(sel, labels)
	})
}

// DependencyDown ends at a dependency that does not serve when nothing says why.
func (catalogue) DependencyDown() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			for _, t := range q.ties(s) {
				if s.kind == callFails && (t.said == nil || t.svc == nil && q.behindAbsent(t.ref) == nil) {
					continue // a client that is well may do without what it names
				}
				if t.svc == nil || t.said != nil && (t.said.kind == refusesUs || t.said.kind == exhausted) {
					continue
				}
				trouble := q.troubleOf(t.dependency)
				if len(trouble) == 0 || s.kind == callFails && q.doesWithout(s, t.dependency) {
					continue
				}
				target := q.behind(t.svc)
				out = append(out, answer{via: append(t.links(s), trouble[0].link), cause: &cause{
					class: ClassDependencyDown, target: target, elsewhere: true, tier: fallback, direct: min(t.strong, reported), timing: timingUnrelated,
					signals: []string{"ServiceNoEndpoints", "CrashLoopBackOff"}, depends: []string{"Log", "Pod"},
					params:  map[string]string{"SERVICE_NAME": t.ref.Name},
					last:    link{target, "it does not serve what depends on it", trouble[0].proof},
					summary: fmt.Sprintf("%s does not serve, and %s depends on it; nothing read says why.", target, q.owner(s.object)),
				}})
			}
			return out
		},
	}
}

// behind returns the workload that a Service leads to, or the Service when there is not exactly one.
func (q *inquiry) behind(svc *Object) incident.Ref {
	workloads := q.snap.selectedWorkloads(svc)
	if len(workloads) == 1 {
		return workloads[0].ref
	}
	return svc.ref
}
