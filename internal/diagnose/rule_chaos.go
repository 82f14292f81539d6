package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// isChaos reports whether an object of an API group injects faults.
func isChaos(group string) bool {
	return slices.Contains(chaosGroups, group)
}

// chaosGroups are the API groups of the tools that inject faults.
var chaosGroups = []string{"chaos-mesh.org", "litmuschaos.io", "chaosblade.io"}

// experiments returns the objects that inject faults into a Pod now.
func (q *inquiry) experiments(pod *Object) []experiment {
	if q.chaos == nil {
		q.chaos = []*Object{}
		for _, group := range chaosGroups {
			q.snap.want(Want{Ref: incident.Ref{APIVersion: group + "/*", Kind: custom}})
		}
		for _, o := range q.snap.c.Objects {
			if isChaos(groupOf(o.ref.APIVersion, o.ref.Kind)) {
				q.chaos = append(q.chaos, o)
			}
		}
	}
	var out []experiment
	for _, o := range q.chaos {
		active, ok := inForce(o)
		if !ok || o.partial {
			continue
		}
		if place, ok := aims(o, pod); ok {
			out = append(out, experiment{o, active, place})
		}
	}
	return out
}

// experiment is an object that injects faults, what says that it does so now, and what says into which Pods.
type experiment struct {
	object      *Object
	active, aim Value
}

// inForce returns what says that an experiment's faults are in place.
func inForce(o *Object) (Value, bool) {
	if o.At("metadata", "annotations", "experiment.chaos-mesh.org/pause").Str() == "true" {
		return Value{}, false
	}
	if c := condition(o, "AllRecovered"); c.At("status").Str() == "True" {
		return Value{}, false
	}
	if c := condition(o, "AllInjected"); c.Exists() {
		return c.At("status"), c.At("status").Str() == "True"
	}
	state := o.At("spec", "engineState")
	if state.Str() == "active" {
		status := o.At("status", "engineStatus").Str()
		return state, status != "completed" && status != "stopped"
	}
	return Value{}, false
}

// aims reports whether an experiment selects a Pod, and where it says so.
func aims(o, pod *Object) (Value, bool) {
	if info := o.At("spec", "appinfo"); info.Exists() {
		k, v, ok := strings.Cut(info.At("applabel").Str(), "=")
		return info, ok && info.At("appns").Str() == pod.ref.Namespace && pod.Labels()[k] == v
	}
	selector := o.At("spec", "selector")
	if !selector.Exists() {
		return Value{}, false
	}
	namespaces := selector.At("namespaces")
	inNamespace := namespaces.Len() == 0 && o.ref.Namespace == pod.ref.Namespace ||
		slices.ContainsFunc(namespaces.Items(), func(v Value) bool { return v.Str() == pod.ref.Namespace })
	if !inNamespace {
		return Value{}, false
	}
	if named := selector.At("pods", pod.ref.Namespace); selector.At("pods").Exists() {
		return named, slices.ContainsFunc(named.Items(), func(v Value) bool { return v.Str() == pod.ref.Name })
	}
	return selector, selects(selector.At("labelSelectors").StrMap(), pod.Labels())
}

// Chaos ends at an experiment that injects faults into a Pod, or into what it calls, while it is in force.
func (catalogue) Chaos() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails, podFailed, podNotStarting, podDisturbed},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			add := func(e experiment, via []link) {
				out = append(out, answer{via: via, cause: &cause{
					class: ClassChaosExperiment, target: e.object.ref, direct: proven, timing: timingUnrelated, elsewhere: true,
					signals: []string{"ChaosExperiment"}, params: map[string]string{"RESOURCE_KIND": e.object.ref.Kind, "RESOURCE_NAME": e.object.ref.Name},
					last:    link{e.object.ref, fmt.Sprintf("this %s is in force and selects the Pod", e.object.ref.Kind), []cite{at(e.active), at(e.aim)}},
					summary: fmt.Sprintf("%s injects faults into the Pods of %s on purpose.", e.object.ref, q.owner(s.object)),
				}})
			}
			for _, e := range q.experiments(s.object) {
				add(e, nil)
			}
			if len(out) > 0 || s.container == nil {
				return out
			}
			for _, t := range q.ties(s) {
				if t.svc == nil || t.said == nil {
					continue
				}
				for _, pod := range q.selected(t.svc) {
					for _, e := range q.experiments(pod) {
						if len(out) == 0 {
							add(e, append(t.links(s), link{t.ref, fmt.Sprintf("its endpoint is %s", pod.ref), []cite{exists(pod)}}))
						}
					}
				}
			}
			return out
		},
	}
}

// disturbed states that faults are injected into Pods which show nothing else.
func (q *inquiry) disturbed(own []*Object) []symptom {
	var out []symptom
	for _, o := range own {
		pods := q.snap.podsOf(o.ref)
		switch o.ref.Kind {
		case "Pod":
			pods = []*Object{o}
		case "Service":
			pods = q.selected(o)
		}
		for _, pod := range pods {
			if e := q.experiments(pod); len(e) > 0 {
				out = append(out, symptom{kind: podDisturbed, object: pod, affected: 1, link: link{pod.ref, "faults are injected into the Pod", []cite{at(e[0].active)}}})
				break
			}
		}
	}
	return out
}
