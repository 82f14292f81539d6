package diagnose

import (
	"fmt"
	"slices"
	"strings"
)

// NodeSelectorMismatch ends at a node selector or required node affinity that no node satisfies.
func (catalogue) NodeSelectorMismatch() rule {
	return rule{
		explains: []symptomKind{podUnscheduled},
		why: func(q *inquiry, s symptom) []answer {
			p := q.placementOf(s)
			nodes := p.because[obstacleSelector]
			target := q.owner(s.object)
			c := &cause{class: ClassNodeSelectorMismatch, target: target, direct: proven, timing: timingUnrelated, params: map[string]string{}}
			if len(nodes) == 0 {
				return selectorByMessage(q, s, c, len(p.nodes) > 0)
			}
			explainSelector(c, nodes)
			return []answer{{cause: q.scheduling(s, c)}}
		},
	}
}

// explainSelector fills in what the Pods of c's target require of a node and none of these has.
func explainSelector(c *cause, nodes []fit) {
	// The node that comes nearest shows best what is missing.
	near := nodes[0]
	for _, f := range nodes {
		if len(f.failing) < len(near.failing) || len(f.failing) == len(near.failing) && isControlPlane(near.node) && !isControlPlane(f.node) {
			near = f
		}
	}
	missing := near.failing[0]
	c.detail = missing.String()
	c.params["NODE_SELECTOR"] = missing.String()
	c.params["NODE_NAME"] = near.node.ref.Name
	proof := []cite{at(missing.place)}
	var has []string
	for i, f := range nodes {
		label := f.node.At("metadata", "labels", missing.key)
		if i < 5 {
			proof = append(proof, at(label))
		}
		if v := label.Str(); label.Exists() && !slices.Contains(has, v) {
			has = append(has, v)
		}
	}
	slices.Sort(has)
	detail := fmt.Sprintf("no node has the label %s", missing.key)
	if len(has) > 0 {
		detail = fmt.Sprintf("nodes have %s = %s", missing.key, list(has, 5))
	}
	c.last = link{c.target, fmt.Sprintf("the Pods require %s, and none of %s satisfies it: %s", missing, count(len(nodes), "node"), detail), proof}
	c.summary = fmt.Sprintf("%s cannot be scheduled: it requires nodes with %s, and there is none.", c.target, missing)
}

// DaemonSelector ends at a DaemonSet that runs nowhere, because it selects nodes of which there is none. No Pod is made for it that
// could wait.
func (catalogue) DaemonSelector() rule {
	return rule{
		explains: []symptomKind{daemonNowhere},
		why: func(q *inquiry, s symptom) []answer {
			terms := nodeTerms(templateOf(s.object).At("spec"))
			var nodes []fit
			for _, node := range q.snap.Kind("Node", "") {
				if node.partial || !node.Covers("/metadata/labels") {
					continue
				}
				f := fit{node: node, failing: failingOn(node, terms)}
				if f.selected() {
					return nil
				}
				nodes = append(nodes, f)
			}
			c := &cause{
				class: ClassNodeSelectorMismatch, target: s.subject, direct: proven, timing: timingUnrelated,
				signals: []string{"FailedScheduling"}, params: map[string]string{}, depends: []string{"Node"},
			}
			if len(nodes) > 0 {
				explainSelector(c, nodes)
			} else if first := terms[0]; len(first) > 0 { // its controller has looked at the nodes
				c.direct, c.detail = reported, first[0].String()
				c.params["NODE_SELECTOR"] = c.detail
				c.last = link{c.target, fmt.Sprintf("the Pods require %s, and its controller finds no node for them", c.detail), []cite{at(first[0].place)}}
			} else {
				return nil
			}
			c.summary = fmt.Sprintf("%s runs nowhere: it requires nodes with %s, and there is none.", c.target, c.detail)
			return []answer{{cause: c}}
		},
	}
}

// selectorByMessage takes the scheduler's word when no node could be read. A cordoned node that
// would match is counted otherwise by the scheduler, so its word is nearly enough.
func selectorByMessage(q *inquiry, s symptom, c *cause, nodesRead bool) []answer {
	terms := nodeTerms(s.object.At("spec"))
	reasons := schedulerReasons(s.text.Str())
	if nodesRead || len(terms[0]) == 0 || len(reasons) == 0 {
		return nil
	}
	said := false
	for _, r := range reasons {
		if strings.Contains(r, "node-role.kubernetes.io/") || strings.HasSuffix(r, "untolerated taint(s)") {
			continue // of the control plane, as nearly always
		}
		said = true
		if !strings.Contains(r, "didn't match Pod's node affinity/selector") && !strings.Contains(r, "didn't match node selector") {
			return nil
		}
	}
	if !said {
		return nil
	}
	first := terms[0][0]
	c.direct, c.depends, c.detail = reported, []string{"Node"}, first.String()
	c.params["NODE_SELECTOR"] = first.String()
	c.last = link{c.target, fmt.Sprintf("the Pods require %s, and no node satisfies it", first), []cite{at(first.place)}}
	c.summary = fmt.Sprintf("%s cannot be scheduled: no node satisfies its node selector or affinity.", c.target)
	return []answer{{cause: q.scheduling(s, c)}}
}
