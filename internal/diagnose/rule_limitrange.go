package diagnose

import (
	"fmt"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// LimitRangeViolation ends at a LimitRange that refuses the Pods of a template.
func (catalogue) LimitRangeViolation() rule {
	return rule{
		explains: []symptomKind{podsNotCreated},
		why: func(q *inquiry, s symptom) []answer {
			text := s.text.Str()
			said := strings.Contains(text, "usage per ") || strings.Contains(text, "limit to request ratio per ")
			if !said && s.reason != silent {
				return nil
			}
			target := q.owner(s.object)
			c := &cause{
				class: ClassLimitRangeViolation, direct: proven, timing: timingUnrelated, signals: []string{"FailedCreate", "ReplicasUnavailable"},
				params: map[string]string{},
			}
			for _, r := range q.snap.Kind("LimitRange", s.subject.Namespace) {
				v := violationOf(templateOf(s.object).At("spec"), r)
				if v == nil {
					v = claimViolation(s.object, r)
				}
				if v != nil {
					c.target, c.detail = r.ref, v.resource
					c.params["LIMIT_RANGE"], c.params["RESOURCE"] = r.ref.Name, v.resource
					if v.container != "" {
						c.params["CONTAINER"] = v.container
					}
					c.last = link{r.ref, v.what, v.proof}
					if said {
						c.last.proof = append(c.last.proof, at(s.text))
					} else {
						c.direct, c.wanted = compared, []wanted{{"the refusal of " + s.subject.String(), false}}
					}
					c.summary = fmt.Sprintf("%s cannot create Pods: LimitRange %q of namespace %s refuses them: %s.", target, r.ref.Name, r.ref.Namespace, v.what)
					return []answer{{cause: c}}
				}
			}
			if !said || q.snap.Listed("LimitRange", s.subject.Namespace) {
				return nil
			}
			c.target, c.direct, c.depends = target, reported, []string{"LimitRange"}
			c.last = link{target, "a LimitRange of the namespace refuses the Pods: " + quote(text), []cite{at(s.text)}}
			c.summary = fmt.Sprintf("%s cannot create Pods: a LimitRange of namespace %s refuses them.", target, s.subject.Namespace)
			return []answer{{cause: c}}
		},
	}
}

// violation is one bound of a LimitRange that a template breaks.
type violation struct {
	resource, container, what string
	proof                     []cite
}

// violationOf returns the first bound of a LimitRange that a Pod's spec breaks, after its defaults were set; nil when it
// breaks none.
func violationOf(spec Value, r *Object) *violation {
	for _, bound := range r.At("spec", "limits").Items() {
		switch bound.At("type").Str() {
		case "Container":
			for _, list := range []string{"initContainers", "containers"} {
				for _, ctr := range spec.At(list).Items() {
					name := ctr.At("name").Str()
					ask := func(field, resource string) (int64, Value, bool) {
						v := ctr.At("resources", field, resource)
						if n, ok := milli(v); ok {
							return n, v, true
						}
						if d := bound.At(map[string]string{"limits": "default", "requests": "defaultRequest"}[field], resource); d.Exists() {
							n, ok := milli(d)
							return n, d, ok
						}
						if limit := ctr.At("resources", "limits", resource); field == "requests" && limit.Exists() { // a limit without a request is the request
							n, ok := milli(limit)
							return n, limit, ok
						}
						return 0, v, false
					}
					if v := broken(bound, fmt.Sprintf("container %q", name), ask); v != nil {
						v.container = name
						return v
					}
				}
			}
		case "Pod":
			requests, limits := requestsOf(spec, "requests"), requestsOf(spec, "limits")
			ask := func(field, resource string) (int64, Value, bool) {
				sums := limits
				if field == "requests" {
					sums = requests
				}
				n, ok := sums[resource]
				return n, spec.At("containers"), ok
			}
			if v := broken(bound, "the Pod", ask); v != nil {
				return v
			}
		}
	}
	return nil
}

// claimViolation returns the first bound of a LimitRange that a StatefulSet's claims break.
func claimViolation(w, r *Object) *violation {
	for _, bound := range r.At("spec", "limits").Items() {
		if bound.At("type").Str() != "PersistentVolumeClaim" {
			continue
		}
		for _, claim := range w.At("spec", "volumeClaimTemplates").Items() {
			asked := claim.At("spec", "resources", "requests", "storage")
			n, ok := milli(asked)
			most, limited := milli(bound.At("max", "storage"))
			least, floored := milli(bound.At("min", "storage"))
			who := fmt.Sprintf("a claim made from %q asks for %s of storage", claim.At("metadata", "name").Str(), asked.Text())
			switch {
			case ok && limited && n > most:
				return &violation{"storage", "", fmt.Sprintf("%s, and may ask for %s at most", who, bound.At("max", "storage").Text()), []cite{at(bound.At("max", "storage")), at(asked)}}
			case ok && floored && n < least:
				return &violation{"storage", "", fmt.Sprintf("%s, and must ask for %s at least", who, bound.At("min", "storage").Text()), []cite{at(bound.At("min", "storage")), at(asked)}}
			}
		}
	}
	return nil
}

// broken compares what is asked for with one entry of a LimitRange.
func broken(bound Value, who string, ask func(field, resource string) (int64, Value, bool)) *violation {
	for _, resource := range bound.At("max").Keys() {
		limit := bound.At("max", resource)
		most, ok := milli(limit)
		if n, place, set := ask("limits", resource); ok && (set && n > most || !set) {
			what := fmt.Sprintf("%s may use %s of %s at most, and its limit is %s", who, limit.Text(), resource, quantity(resource, n))
			if !set {
				what = fmt.Sprintf("%s may use %s of %s at most, and states no limit", who, limit.Text(), resource)
			}
			return &violation{resource, "", what, []cite{at(limit), at(place)}}
		}
	}
	for _, resource := range bound.At("min").Keys() {
		limit := bound.At("min", resource)
		least, ok := milli(limit)
		if n, place, set := ask("requests", resource); ok && (set && n < least || !set) {
			return &violation{resource, "", fmt.Sprintf("%s must ask for %s of %s at least, and asks for %s", who, limit.Text(), resource, quantity(resource, n)), []cite{at(limit), at(place)}}
		}
	}
	for _, resource := range bound.At("maxLimitRequestRatio").Keys() {
		limit := bound.At("maxLimitRequestRatio", resource)
		ratio, ok := milli(limit)
		n, place, set := ask("limits", resource)
		m, asked, stated := ask("requests", resource)
		if ok && set && stated && m > 0 && float64(n)/float64(m) > float64(ratio)/1000 {
			what := fmt.Sprintf("the limit of %s of %s may be %s times what it asks for, and it is %.3g times", who, resource, limit.Text(), float64(n)/float64(m))
			return &violation{resource, "", what, []cite{at(limit), at(place), at(asked)}}
		}
	}
	return nil
}

// injection is a memory limit that a Pod has and its template does not state.
type injection struct {
	limit    Value // of the Pod
	template Value // where it would stand in the template
	by       *Object
	proof    []cite
	direct   directness
}

// injected finds who set the memory limit of a container that ran into it: the LimitRange whose default it is, or the one
// webhook that may change the Pods; nil when the template states it, or nobody can be named.
func (q *inquiry) injected(s symptom) *injection {
	if s.container == nil || s.object == nil {
		return nil
	}
	w := q.top(s.object)
	limit := s.container.spec.At("resources", "limits", "memory")
	if w == s.object || !limit.Exists() {
		return nil
	}
	var own Value
	for _, list := range []string{"initContainers", "containers"} {
		for _, c := range templateOf(w).At("spec", list).Items() {
			if c.At("name").Str() == s.container.name {
				own = c.At("resources", "limits", "memory")
			}
		}
	}
	has, ok := milli(limit)
	wrote, written := milli(own)
	if own.object == nil || !own.Known() || !ok || written && wrote == has {
		return nil
	}
	in := &injection{limit: limit, template: own, direct: proven}
	if !written {
		for _, r := range q.snap.Kind("LimitRange", s.subject.Namespace) {
			for _, bound := range r.At("spec", "limits").Items() {
				if n, set := milli(bound.At("default", "memory")); set && n == has && bound.At("type").Str() == "Container" {
					in.by, in.proof = r, []cite{at(bound.At("default", "memory"))}
					return in
				}
			}
		}
	}
	for _, h := range q.hooks() {
		if h.mutates() && q.seesPods(h, w) {
			if in.by != nil && in.by != h.config {
				return nil
			}
			in.by, in.proof, in.direct = h.config, []cite{at(h.place.At("name")), at(h.place.At("rules"))}, compared
		}
	}
	if in.by == nil {
		return nil
	}
	return in
}

// LimitsInjected ends at the LimitRange or webhook that set the memory limit at which a container is killed.
func (catalogue) LimitsInjected() rule {
	return rule{
		explains: []symptomKind{containerDying, podFailed},
		why: func(q *inquiry, s symptom) []answer {
			in := q.injected(s)
			if in == nil || s.container.lastRun().reason != "OOMKilled" {
				return nil
			}
			last := s.container.lastRun()
			target := q.owner(s.object)
			by := fmt.Sprintf("LimitRange %q", in.by.ref.Name)
			if in.by.ref.Kind != "LimitRange" {
				by = fmt.Sprintf("webhook %q", in.by.ref.Name)
			}
			c := &cause{
				class: ClassLimitsInjected, target: in.by.ref, detail: s.container.name, direct: in.direct, timing: timingUnrelated, elsewhere: true,
				signals: []string{"OOMKilled", "CrashLoopBackOff"},
				params:  map[string]string{"CONTAINER": s.container.name, "CURRENT_MEMORY_LIMIT": in.limit.Text(), "NAMESPACE": s.subject.Namespace},
				last:    link{in.by.ref, fmt.Sprintf("%s sets the limit of %s, which the template does not state", by, in.limit.Text()), append(in.proof, at(in.template))},
				summary: fmt.Sprintf("Container %q of %s is killed at a memory limit of %s that %s sets; its template does not state it.", s.container.name, target, in.limit.Text(), by),
			}
			if now, ok := milli(in.limit); ok {
				c.params["MEMORY_LIMIT"] = fmt.Sprintf("%dMi", suggestLimit(now)/1000>>20)
			}
			if in.by.ref.Kind == "LimitRange" {
				c.params["LIMIT_RANGE"] = in.by.ref.Name
			}
			via := link{
				incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: s.subject.Namespace, Name: s.subject.Name},
				fmt.Sprintf("container %q was killed at its memory limit of %s", s.container.name, in.limit.Text()),
				[]cite{at(last.place.At("reason")), at(in.limit)},
			}
			return []answer{{via: []link{via}, cause: c}}
		},
	}
}
