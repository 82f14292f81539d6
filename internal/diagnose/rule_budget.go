package diagnose

import (
	"fmt"

	"kubernaut.ai/kubernaut/internal/incident"
)

// budgetSymptom reports whether a PodDisruptionBudget allows no eviction although its Pods are well.
func budgetSymptom(pdb *Object) (symptom, bool) {
	status := pdb.At("status")
	allowed := status.At("disruptionsAllowed")
	expected, healthy, desired := status.At("expectedPods"), status.At("currentHealthy"), status.At("desiredHealthy")
	if !allowed.Exists() || allowed.IntOr(1) != 0 || expected.IntOr(0) == 0 || healthy.IntOr(0) < desired.IntOr(0) {
		return symptom{}, false
	}
	return symptom{
		kind: budgetTight, object: pdb, affected: 1,
		link: link{pdb.ref, "the budget allows no Pod to be evicted, and all its Pods are well", []cite{at(allowed), at(healthy)}},
	}, true
}

// drainSymptom reports whether a cordoned node still runs Pods that a budget lets nobody evict.
func (q *inquiry) drainSymptom(node *Object) (symptom, bool) {
	mark := node.At("spec", "unschedulable")
	if !mark.Bool() {
		return symptom{}, false
	}
	for _, p := range q.snap.OnNode(node.ref.Name) {
		if pdb := q.blockingBudget(p); pdb != nil {
			return symptom{
				kind: nodeUndrained, object: node, affected: 1,
				link: link{node.ref, fmt.Sprintf("node is cordoned and still runs %s, which may not be evicted", p.ref), []cite{at(mark), at(p.At("spec", "nodeName"))}},
			}, true
		}
	}
	return symptom{}, false
}

// blockingBudget returns the budget that keeps a Pod from being evicted, or nil. A drain leaves the Pods of DaemonSets.
func (q *inquiry) blockingBudget(pod *Object) *Object {
	if owner, ok := pod.Owner(); !ok || owner.Kind == "DaemonSet" || owner.Kind == "Node" || isDone(pod) {
		return nil
	}
	for _, pdb := range q.snap.Kind("PodDisruptionBudget", pod.ref.Namespace) {
		if selector := pdb.At("spec", "selector"); !selector.Exists() || !matches(selector, pod.Labels()) {
			continue
		}
		if _, tight := budgetSymptom(pdb); tight {
			return pdb
		}
	}
	return nil
}

// UndrainedNode leads from a node that cannot be drained to the budgets that forbid it.
func (catalogue) UndrainedNode() rule {
	return rule{
		explains: []symptomKind{nodeUndrained},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			seen := map[*Object]bool{}
			for _, p := range q.snap.OnNode(s.subject.Name) {
				pdb := q.blockingBudget(p)
				if pdb == nil || seen[pdb] {
					continue
				}
				seen[pdb] = true
				if next, tight := budgetSymptom(pdb); tight {
					via := link{p.ref, fmt.Sprintf("the Pod is guarded by budget %q", pdb.ref.Name), []cite{at(pdb.At("spec", "selector")), at(p.At("spec", "nodeName"))}}
					out = append(out, answer{via: []link{via}, next: &next})
				}
			}
			return out
		},
	}
}

// PDBBlocks ends at a budget that demands as many Pods as there are.
func (catalogue) PDBBlocks() rule {
	return rule{
		explains: []symptomKind{budgetTight},
		why: func(q *inquiry, s symptom) []answer {
			pdb := s.object
			expected, desired := pdb.At("status", "expectedPods"), pdb.At("status", "desiredHealthy")
			c := &cause{
				class: ClassPDBBlocks, target: pdb.ref, direct: proven, timing: timingUnrelated, elsewhere: true, signals: []string{"PDBBlocksEviction"},
				params: map[string]string{"PDB_NAME": pdb.ref.Name, "NAMESPACE": pdb.ref.Namespace},
				last: link{
					pdb.ref, fmt.Sprintf("it demands %s healthy, and there %s %s in all", count(desired.IntOr(0), "Pod"), verb(expected.IntOr(0)), expected.Text()),
					[]cite{at(desired), at(expected)},
				},
			}
			for _, field := range []string{"minAvailable", "maxUnavailable"} {
				if v := pdb.At("spec", field); v.Exists() {
					c.last.statement += fmt.Sprintf(" (%s: %s)", field, v.Text())
					c.last.proof = append(c.last.proof, at(v))
				}
			}
			for _, p := range q.snap.Kind("Pod", pdb.ref.Namespace) {
				if matches(pdb.At("spec", "selector"), p.Labels()) {
					w := q.top(p)
					c.factors = append(c.factors, fmt.Sprintf("The budget guards %s.", w.ref))
					if n, ok := w.At("spec", "replicas").Int(); ok {
						c.params["REPLICAS"] = fmt.Sprint(n)
					}
					c.params["WORKLOAD_KIND"], c.params["WORKLOAD_NAME"] = w.ref.Kind, w.ref.Name
					break
				}
			}
			c.summary = fmt.Sprintf("%s allows no eviction: %s.", pdb.ref, c.last.statement)
			return []answer{{cause: c}}
		},
	}
}

// finalizerGrace is how long a deletion may take before it counts as stuck.
const finalizerGrace = 3 * 60

// deletionSymptom reports whether an object's deletion has been waiting for a finalizer for long.
func (q *inquiry) deletionSymptom(o *Object) (symptom, bool) {
	asked := o.At("metadata", "deletionTimestamp")
	finalizers := o.At("metadata", "finalizers")
	if finalizers.Len() == 0 {
		finalizers = o.At("spec", "finalizers") // of a Namespace
	}
	grace := o.At("metadata", "deletionGracePeriodSeconds").IntOr(0)
	if !asked.Exists() || finalizers.Len() == 0 || q.now.Sub(asked.Time()).Seconds() < float64(finalizerGrace+min(max(grace, 0), 3600)) {
		return symptom{}, false
	}
	return symptom{
		kind: deletionStuck, object: o, since: asked.Time(), affected: 1,
		link: link{o.ref, fmt.Sprintf("has been waiting to be deleted for %s", span(q.now.Sub(asked.Time()))), []cite{at(asked)}},
	}, true
}

// FinalizerStuck ends at an object that waits for a finalizer to be removed, or leads from a namespace to such objects in it.
func (catalogue) FinalizerStuck() rule {
	return rule{
		explains: []symptomKind{deletionStuck},
		why: func(q *inquiry, s symptom) []answer {
			if s.subject.Kind == "Namespace" {
				return stuckNamespace(q, s)
			}
			c := finalizerCause(s)
			finalizers := s.object.At("metadata", "finalizers")
			first := finalizers.Items()[0]
			c.detail, c.params["FINALIZER"] = first.Str(), first.Str()
			c.last = link{s.subject, fmt.Sprintf("finalizer %q is on it, and nothing has removed it", first.Str()), []cite{at(finalizers)}}
			if users := q.snap.UsersOf(s.subject); first.Str() == "kubernetes.io/pvc-protection" && len(users) > 0 {
				c.last.statement = fmt.Sprintf("it is in use by %s, and finalizer %q keeps it until then", users[0].ref, first.Str())
				c.last.proof = append(c.last.proof, exists(users[0]))
			}
			c.summary = fmt.Sprintf("%s cannot be deleted: %s.", s.subject, c.last.statement)
			return []answer{{cause: c}}
		},
	}
}

func finalizerCause(s symptom) *cause {
	c := &cause{
		class: ClassFinalizerStuck, target: s.subject, direct: proven, timing: timingUnrelated, signals: []string{"DeletionStuck"}, elsewhere: true,
		params: map[string]string{"OBJECT_KIND": s.subject.Kind, "OBJECT_NAME": s.subject.Name},
		wanted: []wanted{{"the controller that owns the finalizer, and its log", false}},
	}
	if s.subject.Namespace != "" {
		c.params["NAMESPACE"] = s.subject.Namespace
	}
	return c
}

func stuckNamespace(q *inquiry, s symptom) []answer {
	var out []answer
	q.snap.want(Want{Ref: incident.Ref{APIVersion: custom, Kind: custom, Namespace: s.subject.Name}})
	for _, o := range q.snap.c.Objects {
		if o.ref.Namespace != s.subject.Name {
			continue
		}
		if next, stuck := q.deletionSymptom(o); stuck {
			out = append(out, answer{via: []link{{s.subject, "the namespace goes when all that is in it has gone", []cite{at(s.object.At("metadata", "deletionTimestamp"))}}}, next: &next})
		}
	}
	if len(out) > 0 {
		return out
	}
	c := finalizerCause(s)
	c.direct = stated
	for _, kind := range []string{"NamespaceFinalizersRemaining", "NamespaceContentRemaining", "NamespaceDeletionDiscoveryFailure", "NamespaceDeletionGroupVersionParsingFailure", "NamespaceDeletionContentFailure"} {
		if cond := condition(s.object, kind); cond.At("status").Str() == "True" {
			c.last = link{s.subject, "what is in the namespace does not go: " + quote(cond.At("message").Str()), []cite{at(cond.At("status")), at(cond.At("message"))}}
			c.summary = fmt.Sprintf("%s cannot be deleted: %s.", s.subject, quote(cond.At("message").Str()))
			return []answer{{cause: c}}
		}
	}
	return nil
}

// TerminatingNamespace leads from Pods that are refused because their namespace is being deleted to that namespace.
func (catalogue) TerminatingNamespace() rule {
	return rule{
		explains: []symptomKind{podsNotCreated},
		why: func(q *inquiry, s symptom) []answer {
			ns := q.snap.Object(incident.Ref{APIVersion: "v1", Kind: "Namespace", Name: s.subject.Namespace})
			if ns == nil || !ns.Deleting() {
				return nil
			}
			if next, stuck := q.deletionSymptom(ns); stuck {
				return []answer{{next: &next}}
			}
			return nil
		},
	}
}
