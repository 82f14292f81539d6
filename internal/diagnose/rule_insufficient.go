package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// InsufficientResources ends at the requests of a Pod that are more than any node it could run on
// has left.
func (catalogue) InsufficientResources() rule {
	return rule{
		explains: []symptomKind{podUnscheduled},
		why: func(q *inquiry, s symptom) []answer {
			p := q.placementOf(s)
			nodes := p.because[obstacleResources]
			if len(nodes) == 0 {
				if len(p.because) == 0 {
					return insufficientByMessage(q, s)
				}
				return nil
			}
			if q.preemptionOf(s) != nil {
				return nil
			}
			best, most := scarcest(nodes)
			certain := best.need > most || q.podsKnownOn()
			_, said := says([]Value{s.text}, "Insufficient "+best.resource)
			if !certain && !said {
				return nil
			}
			target := q.owner(s.object)
			c := &cause{
				class: ClassInsufficientResources, target: target, detail: best.resource, direct: proven, timing: timingUnrelated,
				params: map[string]string{
					"RESOURCE": best.resource, "REQUESTED": quantity(best.resource, best.need), "AVAILABLE": quantity(best.resource, best.free),
				},
			}
			if !certain {
				c.direct, c.depends = stated, []string{"Pod"}
			}
			statement := fmt.Sprintf("each Pod asks for %s of %s; the most that any of %s has left is %s",
				quantity(best.resource, best.need), best.resource, count(len(nodes), "eligible node"), quantity(best.resource, best.free))
			if best.need > most {
				statement = fmt.Sprintf("each Pod asks for %s of %s; the largest of %s has %s in all",
					quantity(best.resource, best.need), best.resource, count(len(nodes), "eligible node"), quantity(best.resource, most))
				c.params["AVAILABLE"] = quantity(best.resource, most)
			} else {
				c.params["NODE_SIZE"] = quantity(best.resource, most)
			}
			c.last = link{target, statement, requestCites(s.object, best.resource)}
			for i, f := range nodes {
				for _, short := range f.short {
					if short.resource == best.resource && i < 5 {
						c.last.proof = append(c.last.proof, at(short.place))
					}
				}
			}
			c.summary = fmt.Sprintf("%s cannot be scheduled: %s.", target, statement)
			return []answer{{cause: q.scheduling(s, c)}}
		},
	}
}

// scarcest picks the resource of which most nodes have too little, at the node that has the most of
// it, and the most that any node has in all.
func scarcest(nodes []fit) (best shortage, most int64) {
	lacking := map[string]int{}
	for _, f := range nodes {
		for _, s := range f.short {
			lacking[s.resource]++
		}
	}
	names := sortedKeys(lacking)
	slices.SortStableFunc(names, func(a, b string) int { return -cmp.Compare(lacking[a], lacking[b]) })
	for _, f := range nodes {
		for _, s := range f.short {
			if s.resource != names[0] {
				continue
			}
			most = max(most, s.all)
			if best.resource == "" || s.free > best.free {
				best = s
			}
		}
	}
	return best, most
}

// requestCites cites what a Pod's containers ask for of a resource.
func requestCites(pod *Object, resource string) []cite {
	var out []cite
	for _, list := range []string{"containers", "initContainers"} {
		for _, c := range pod.At("spec", list).Items() {
			if v := c.At("resources", "requests", resource); v.Exists() {
				out = append(out, at(v))
			}
		}
	}
	if len(out) == 0 {
		out = append(out, at(pod.At("spec", "containers")))
	}
	return out
}

// insufficientByMessage takes the scheduler's word when nothing that was read of the nodes keeps the Pod away.
func insufficientByMessage(q *inquiry, s symptom) []answer {
	reasons := schedulerReasons(s.text.Str())
	for _, r := range reasons {
		resource, ok := strings.CutPrefix(r, "Insufficient ")
		need := requestsOf(s.object.At("spec"), "requests")[resource]
		if r == "Too many pods" {
			resource, ok, need = "pods", true, 1000
		}
		if !ok {
			continue
		}
		target := q.owner(s.object)
		params := map[string]string{"RESOURCE": resource, "REQUESTED": quantity(resource, need)}
		statement, proof := fmt.Sprintf("each Pod asks for %s of %s, which the nodes lack", quantity(resource, need), resource), requestCites(s.object, resource)
		if !s.object.Covers("/spec/containers") { // a table says nothing of requests
			delete(params, "REQUESTED")
			statement, proof = fmt.Sprintf("each Pod asks for more %s than the nodes have left", resource), []cite{at(s.text)}
		}
		c := &cause{
			class: ClassInsufficientResources, target: target, detail: resource, direct: reported, timing: timingUnrelated, depends: []string{"Node"},
			params:  params,
			last:    link{target, statement, proof},
			summary: fmt.Sprintf("%s cannot be scheduled: the nodes lack %s.", target, resource),
		}
		return []answer{{cause: q.scheduling(s, c)}}
	}
	return nil
}
