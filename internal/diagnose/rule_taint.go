package diagnose

import (
	"fmt"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// UntoleratedTaint ends at a taint of the nodes that a Pod could otherwise run on. The scheduler does
// not name taints; the specs of nodes and Pod do. The node is at fault when the workload ran with
// the same template before, and the workload when it never did.
func (catalogue) UntoleratedTaint() rule {
	return rule{
		explains: []symptomKind{podUnscheduled},
		why: func(q *inquiry, s symptom) []answer {
			nodes := q.placementOf(s).because[obstacleTaint]
			if len(nodes) == 0 {
				return taintByMessage(q, s)
			}
			near := nodes[0]
			for _, f := range nodes {
				if len(f.taints) < len(near.taints) {
					near = f
				}
			}
			taint := near.taints[0]
			target := q.owner(s.object)
			if q.ranBefore(s.object) {
				target = near.node.ref
			}
			proof := []cite{at(taint), at(s.object.At("spec", "tolerations"))}
			for i, f := range nodes {
				if i < 5 && f.node != near.node {
					proof = append(proof, at(f.taints[0]))
				}
			}
			statement := fmt.Sprintf("node %s, which the Pods could run on, has taint %s, which they do not tolerate", near.node.ref.Name, taintText(taint))
			if len(nodes) > 1 {
				statement += "; so it is with " + count(len(nodes)-1, "more node")
			}
			c := &cause{
				class: ClassUntoleratedTaint, target: target, detail: taintText(taint), direct: proven, timing: timingUnrelated,
				params:  map[string]string{"TAINT": taintText(taint), "NODE_NAME": near.node.ref.Name, "NAMESPACE": s.subject.Namespace},
				last:    link{near.node.ref, statement, proof},
				summary: fmt.Sprintf("%s cannot be scheduled: it does not tolerate taint %s of node %s.", q.owner(s.object), taintText(taint), near.node.ref.Name),
			}
			return []answer{{cause: q.scheduling(s, c)}}
		},
	}
}

// taintByMessage takes the scheduler's word when no node was read: it may name the taint.
func taintByMessage(q *inquiry, s symptom) []answer {
	reasons := schedulerReasons(s.text.Str())
	if len(reasons) == 0 || len(q.placementOf(s).nodes) > 0 {
		return nil
	}
	named := ""
	for _, r := range reasons {
		_, taint, ok := strings.Cut(r, "untolerated taint")
		if !ok {
			return nil
		}
		if taint = strings.Trim(strings.TrimPrefix(taint, "(s)"), " {}"); taint != "" && !strings.HasPrefix(taint, "node-role.kubernetes.io/") {
			named = taint
		}
	}
	if named == "" && len(reasons) > 1 || strings.HasPrefix(named, "node.kubernetes.io/") {
		return nil
	}
	target := q.owner(s.object)
	c := &cause{
		class: ClassUntoleratedTaint, target: target, detail: named, direct: reported, timing: timingUnrelated, depends: []string{"Node"},
		params:  map[string]string{"NAMESPACE": s.subject.Namespace},
		last:    link{target, "all nodes have taints that the Pods do not tolerate: " + quote(s.text.Str()), []cite{at(s.object.At("spec", "tolerations"))}},
		summary: fmt.Sprintf("%s cannot be scheduled: it does not tolerate the taints of the nodes.", target),
	}
	return []answer{{cause: q.scheduling(s, c)}}
}

// ranBefore reports whether Pods of the same template were scheduled before: a sibling is on a node,
// or the revision is notably older than the Pod that waits.
func (q *inquiry) ranBefore(pod *Object) bool {
	owner, ok := pod.Owner()
	if !ok {
		return false
	}
	for _, sibling := range q.snap.Children(owner) {
		if sibling.ref.Kind == "Pod" && sibling.At("spec", "nodeName").Str() != "" {
			return true
		}
	}
	o := q.snap.Object(owner)
	const rollingOut = 10 * time.Minute
	return o != nil && !o.Created().IsZero() && pod.Created().Sub(o.Created()) > rollingOut
}

// NodeCordoned ends at a node that was made unschedulable and that a Pod would otherwise run on.
func (catalogue) NodeCordoned() rule {
	return rule{
		explains: []symptomKind{podUnscheduled},
		why: func(q *inquiry, s symptom) []answer {
			nodes := q.placementOf(s).because[obstacleCordon]
			if len(nodes) == 0 {
				return nil
			}
			node := nodes[0].node
			proof := []cite{at(node.At("spec", "unschedulable"))}
			if when := q.cordonedAt(node); when.Exists() {
				proof = append(proof, at(when))
			}
			for i, f := range nodes {
				if i > 0 && i < 5 {
					proof = append(proof, at(f.node.At("spec", "unschedulable")))
				}
			}
			statement := fmt.Sprintf("node %s is cordoned; the Pods match it, and it has room for them", node.ref.Name)
			if len(nodes) > 1 {
				statement = fmt.Sprintf("%d nodes that the Pods match are cordoned, node %s among them", len(nodes), node.ref.Name)
			}
			c := &cause{
				class: ClassNodeCordoned, target: node.ref, direct: proven, timing: timingUnrelated,
				params:  map[string]string{"NODE_NAME": node.ref.Name, "NAMESPACE": s.subject.Namespace},
				last:    link{node.ref, statement, proof},
				summary: fmt.Sprintf("%s cannot be scheduled: node %s, which it could run on, is cordoned.", q.owner(s.object), node.ref.Name),
			}
			return []answer{{cause: q.scheduling(s, c)}}
		},
	}
}

// UnreadyNodes leads from a Pod that no node takes to the nodes that it would run on and that do not
// report.
func (catalogue) UnreadyNodes() rule {
	return rule{
		explains: []symptomKind{podUnscheduled},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			for _, f := range q.placementOf(s).because[obstacleUnready] {
				if next, bad := q.nodeSymptom(f.node); bad {
					next.affected = s.affected
					via := link{
						incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: s.subject.Namespace, Name: s.subject.Name},
						fmt.Sprintf("the Pod would run on node %s", f.node.ref.Name),
						[]cite{exists(f.node)},
					}
					out = append(out, answer{via: []link{via}, next: &next})
				}
			}
			return out
		},
	}
}
