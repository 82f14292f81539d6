package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// caller is a workload that names a Service, and how it fares.
type caller struct {
	workload *Object
	place    Value
	ready    tally
	well     bool
}

// callersOf returns the workloads whose Pods name a Service, in the order of the objects.
func (q *inquiry) callersOf(svc *Object) []caller {
	key := keyOf(svc.ref)
	if out, ok := q.callers[key]; ok || q.callersKnown {
		return out
	}
	if q.callers == nil {
		q.callers = map[objectKey][]caller{}
	}
	if q.wide { // one pass for all Services
		q.callersKnown = true
		q.findCallers(nil, func(k objectKey, c caller) { q.callers[k] = append(q.callers[k], c) })
		return q.callers[key]
	}
	q.callers[key] = nil
	q.findCallers(svc, func(k objectKey, c caller) {
		if k == key {
			q.callers[key] = append(q.callers[key], c)
		}
	})
	return q.callers[key]
}

// findCallers calls found for each Service that a workload names; with only, workloads that cannot name that Service may be
// passed over.
func (q *inquiry) findCallers(only *Object, found func(service objectKey, c caller)) {
	may := q.mayName(only)
	for _, w := range q.snap.c.Objects {
		if !workloadKinds[w.ref.Kind] || w.ref.Kind == "CronJob" || q.top(w) != w || !may(w) {
			continue
		}
		pods := q.snap.podsOf(w.ref)
		if len(pods) == 0 {
			continue
		}
		want, have, known := wantedPods(w)
		seen := map[objectKey]bool{}
		for _, c := range pods[0].At("spec", "containers").Items() {
			for _, d := range q.dependencies(pods[0], c) {
				if k := keyOf(d.ref); !seen[k] && !d.loose {
					seen[k] = true
					found(k, caller{w, d.place, have, known && want.number > 0 && have.number >= want.number})
				}
			}
		}
	}
}

// mayName returns a test whether a workload's template, or a ConfigMap that it names, holds a Service's name or address. All do
// when there is no Service to look for.
func (q *inquiry) mayName(svc *Object) func(w *Object) bool {
	if svc == nil {
		return func(*Object) bool { return true }
	}
	ip := svc.At("spec", "clusterIP").Str()
	named := func(v Value) bool {
		return v.anyText(func(text string) bool {
			return strings.Contains(text, svc.ref.Name) || strings.Contains(ip, ".") && strings.Contains(text, ip)
		})
	}
	configMaps := map[string][]*Object{}
	for _, o := range q.snap.c.Objects {
		if o.ref.Kind == "ConfigMap" && named(o.At("data")) {
			configMaps[o.ref.Namespace] = append(configMaps[o.ref.Namespace], o)
		}
	}
	return func(w *Object) bool {
		spec := templateOf(w).At("spec")
		return spec.Exists() && (named(spec) || slices.ContainsFunc(configMaps[w.ref.Namespace], func(cm *Object) bool {
			return spec.anyText(func(text string) bool { return text == cm.ref.Name })
		}))
	}
}

// DependencyRefuses ends at a client that a dependency refuses: its own configuration when it is the only one
// refused, the dependency when all of its clients are.
func (catalogue) DependencyRefuses() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			for _, t := range q.ties(s) {
				if t.said == nil || s.kind == callFails && q.readsNewer(s) || t.said.kind != refusesUs || t.svc == nil || len(q.serviceSymptoms(t.svc)) > 0 {
					continue
				}
				if pods := q.selected(t.svc); len(pods) > 0 && inMesh(pods[0]) && q.meshDenies(s, t, pods[0]) != nil {
					continue // the mesh refuses in its name
				}
				client := q.owner(s.object)
				c := &cause{
					class: ClassDependencyRefuses, target: client, detail: t.ref.String(), direct: min(t.strong, reported), timing: timingUnrelated,
					signals: []string{"CrashLoopBackOff", "DependencyRefuses"}, depends: []string{"Log"},
					params: map[string]string{"SERVICE_NAME": t.ref.Name},
					last:   link{client, fmt.Sprintf("%s answers and refuses what this client sends", t.ref), []cite{t.said.cite, t.source()}},
				}
				c.summary = fmt.Sprintf("%s is refused by %s: %s.", client, t.ref, quote(t.said.text))
				well, ill := q.others(t.svc, client)
				switch {
				case len(well) > 0:
					c.direct = min(t.strong, compared)
					c.last.statement += fmt.Sprintf(", while %s, which also calls it, is well", well[0].workload.ref)
					c.last.proof = append(c.last.proof, well[0].ready.cite)
					c.summary = fmt.Sprintf("%s alone is refused by %s: its own configuration is wrong.", client, t.ref)
				case len(ill) > 0:
					c.target, c.elsewhere = q.behind(t.svc), true
					c.detail = ""
					c.last.subject = c.target
					c.last.statement = fmt.Sprintf("it answers and refuses all of its clients, among them %s", ill[0].workload.ref)
					c.last.proof = append(c.last.proof, ill[0].ready.cite)
					c.summary = fmt.Sprintf("%s refuses all of its clients.", c.target)
				}
				if src := q.credentials(s); src != nil {
					c.factors = append(c.factors, fmt.Sprintf("The client takes its environment from %s.", src.ref(s.object)))
				}
				out = append(out, answer{via: t.links(s), cause: c})
			}
			return out
		},
	}
}

// others returns the other callers of a Service: those that are well, and those that are not.
func (q *inquiry) others(svc *Object, client incident.Ref) (well, ill []caller) {
	for _, c := range q.callersOf(svc) {
		switch {
		case c.workload.ref.Same(client):
		case !c.well || q.refused(c, svc):
			ill = append(ill, c)
		default:
			well = append(well, c)
		}
	}
	return well, ill
}

// refused reports whether a caller's log says that the Service refuses it, although its Pods are ready.
func (q *inquiry) refused(c caller, svc *Object) bool {
	for i, pod := range q.snap.podsOf(c.workload.ref) {
		if i == maxCallers {
			break
		}
		for _, ctr := range containersOf(pod) {
			s := symptom{kind: callFails, object: pod, container: &ctr}
			if slices.ContainsFunc(q.ties(s), func(t tie) bool {
				return t.ref.Same(svc.ref) && t.said != nil && (t.said.kind == refusesUs || t.said.kind == exhausted)
			}) {
				return true
			}
		}
	}
	return false
}

// credentials returns the first Secret that the container takes variables from.
func (q *inquiry) credentials(s symptom) *reference {
	for _, r := range podReferences(s.object.At("spec")) {
		if r.kind == "Secret" && r.container == s.container.name {
			return &r
		}
	}
	return nil
}

// ConnectionsExhausted ends at a dependency that answers and has no connection left: it stays ready while its
// clients die.
func (catalogue) ConnectionsExhausted() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			for _, t := range q.ties(s) {
				if t.said == nil || t.said.kind != exhausted || t.svc == nil || len(q.serviceSymptoms(t.svc)) > 0 {
					continue
				}
				target := q.behind(t.svc)
				c := &cause{
					class: ClassConnectionsExhausted, target: target, elsewhere: true, direct: min(t.strong, compared), timing: timingUnrelated,
					signals: []string{"CrashLoopBackOff", "ConnectionsExhausted"}, depends: []string{"Log"},
					params:  map[string]string{"SERVICE_NAME": t.ref.Name},
					last:    link{target, "it answers and has no connection left for its clients", []cite{t.said.cite, t.source()}},
					summary: fmt.Sprintf("%s has no connection left for its clients, %s among them.", target, q.owner(s.object)),
				}
				if _, ill := q.others(t.svc, q.owner(s.object)); len(ill) > 0 {
					c.last.statement += fmt.Sprintf("; %s fails with it", ill[0].workload.ref)
					c.last.proof = append(c.last.proof, ill[0].ready.cite)
				}
				for _, o := range q.callersOf(t.svc) {
					if n, _ := o.workload.At("spec", "replicas").Int(); n > 0 {
						c.factors = append(c.factors, fmt.Sprintf("%s calls it with %s.", o.workload.ref, count(n, "Pod")))
					}
				}
				out = append(out, answer{via: t.links(s), cause: c})
			}
			return out
		},
	}
}
