package diagnose

import (
	"fmt"
	"slices"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// WholeCluster is the resource of an incident that asks about everything in the cluster. One of kind Namespace asks about
// everything in that namespace.
var WholeCluster = incident.Ref{Kind: "Cluster"}

// isWide reports whether a resource stands for all that is in a namespace, or in the cluster.
func isWide(r incident.Ref) bool {
	return r.Kind == "Namespace" || r.Same(WholeCluster)
}

// overall names what is asked about in a wide inquiry: one namespace, or all.
type overall struct {
	all       bool
	namespace string
}

func (w overall) covers(o *Object) bool { return w.all || o.ref.Namespace == w.namespace }

// wideKinds are the built-in kinds whose objects a wide inquiry looks at.
var wideKinds = []string{
	"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob", "Pod", "Service", "EndpointSlice",
	"PersistentVolumeClaim", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress",
}

// within returns what can be unwell by itself in a wide inquiry: workloads and Pods without an owner that was read, what
// leads to them, claims, autoscalers, budgets, custom resources, and whatever waits to be deleted; in the cluster its nodes too.
func (q *inquiry) within(w overall) []*Object {
	for _, kind := range wideKinds {
		q.snap.wantKind(kind, w.namespace)
	}
	if w.all {
		q.snap.wantKind("Node", "")
		q.snap.wantKind("Namespace", "")
	}
	q.snap.want(Want{Ref: incident.Ref{APIVersion: custom, Kind: custom, Namespace: w.namespace}})
	var out []*Object
	for _, o := range q.snap.c.Objects {
		if !w.covers(o) {
			if o.ref.Kind == "Namespace" && o.ref.Name == w.namespace && o.Deleting() {
				out = append(out, o)
			}
			continue
		}
		switch o.ref.Kind {
		case "Service", "PersistentVolumeClaim", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Node":
			if !isCustom(o) { // as Knative's Service is
				out = append(out, o)
				continue
			}
		}
		if workloadKinds[o.ref.Kind] || o.ref.Kind == "Pod" || isCustom(o) {
			if owner, ok := o.Owner(); !ok || q.snap.resolveOwner(owner) == nil { // what an owner made, the owner answers for
				out = append(out, o)
				continue
			}
		}
		if _, stuck := q.deletionSymptom(o); stuck || isRoute(o) {
			out = append(out, o)
		}
	}
	return out
}

// blindAll is blind for a wide inquiry: workloads and Pods must be known, what else there is need not.
func (q *inquiry) blindAll(own []*Object) bool {
	known := false
	for _, o := range own {
		if !workloadKinds[o.ref.Kind] && o.ref.Kind != "Pod" {
			continue
		}
		if known = true; o.partial || !q.seen(o) {
			return true
		}
	}
	ns := q.inc.Resource.Name
	return !known && !q.snap.Listed("Pod", ns) || slices.ContainsFunc(q.snap.c.Gaps, func(g Gap) bool {
		return g.Subject.Kind == "Pod" && (ns == "" || g.Subject.Namespace == "" || g.Subject.Namespace == ns)
	})
}

// lately is how long ago something that is often so on purpose may have been brought about for it to count when nobody
// asked about it by name.
const lately = 48 * time.Hour

// newBudget is the symptom of a budget that was not asked about: one that allows no eviction counts while a node waits to be
// drained, or when it has been so lately.
func (q *inquiry) newBudget(pdb *Object) []symptom {
	s, tight := budgetSymptom(pdb)
	if !tight {
		return nil
	}
	if t := changeOf(pdb); !t.IsZero() && q.now.Sub(t) < lately {
		return []symptom{s}
	}
	for _, node := range q.snap.Kind("Node", "") {
		if mark := node.At("spec", "unschedulable"); mark.Bool() && slices.ContainsFunc(q.snap.OnNode(node.ref.Name), func(p *Object) bool { return q.blockingBudget(p) == pdb }) {
			s.statement = fmt.Sprintf("the budget lets no Pod leave %s, which is cordoned", node.ref)
			s.proof = append(s.proof, at(mark))
			return []symptom{s}
		}
	}
	q.setAside("budget/"+pdb.ref.String(), note{
		subject: pdb.ref, statement: s.statement, proof: s.proof, reason: "standing: no node waits to be drained",
	})
	return nil
}

// weight says how much of a wide inquiry an explanation accounts for, to be compared from the first number to the last:
// whether it is of what began lately, whether something serves no longer, and how many first symptoms it explains.
func (q *inquiry) weight(e explanation) [3]int {
	var w [3]int
	if since := e.root.since; since.IsZero() || q.now.Sub(since) < lately {
		w[0] = 1
	}
	if standing := q.impact(e); standing != unaffected {
		w[1] = 1
	}
	w[2] = len(e.roots)
	return w
}
