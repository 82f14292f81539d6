package diagnose

import (
	"slices"
	"strings"
	"time"
)

// obstacle is what keeps a Pod from being scheduled.
type obstacle string

const (
	obstacleSelector  obstacle = "selector"
	obstacleTaint     obstacle = "taint"
	obstacleCordon    obstacle = "cordon"
	obstacleUnready   obstacle = "unready"
	obstacleResources obstacle = "resources"
)

// placement is the judgement of all nodes for one Pod.
type placement struct {
	nodes []fit
	// because lists the obstacles that decide, each with the nodes that it keeps away and that the Pod
	// would otherwise run on.
	because map[obstacle][]fit
}

// placementOf finds what keeps a Pod from being scheduled, in the order in which its author narrowed
// the nodes down: first those that its selector and affinity mean; of these the ones that take such
// Pods; of these the ones with room. What keeps away a node that the Pod never meant is no cause.
func (q *inquiry) placementOf(s symptom) placement {
	p := placement{nodes: q.fits(s.object), because: map[obstacle][]fit{}}
	var meant, open []fit
	for _, f := range p.nodes {
		if f.selected() {
			meant = append(meant, f)
		}
	}
	if len(meant) == 0 {
		if len(p.nodes) > 0 {
			p.because[obstacleSelector] = p.nodes
		}
		return p
	}
	for _, f := range meant {
		if f.open() {
			open = append(open, f)
		}
	}
	if slices.ContainsFunc(open, func(f fit) bool { return len(f.short) == 0 }) {
		return p // it would fit: something that is not judged here keeps it away
	}
	blocked := slices.DeleteFunc(slices.Clone(meant), fit.open)
	// A control-plane node keeps workloads away on purpose, unless the Pod means no other node.
	if workers := slices.DeleteFunc(slices.Clone(blocked), func(f fit) bool { return isControlPlane(f.node) }); len(workers) > 0 || len(open) > 0 {
		blocked = workers
	}
	roomy := slices.DeleteFunc(slices.Clone(blocked), func(f fit) bool { return len(f.short) > 0 })
	if len(roomy) > 0 || len(open) > 0 {
		blocked = roomy
	}
	for _, f := range blocked {
		switch {
		case f.unready:
			p.because[obstacleUnready] = append(p.because[obstacleUnready], f)
		case f.cordoned && len(f.taints) == 0:
			if len(open) == 0 || !q.cordonedLongBefore(f, s) {
				p.because[obstacleCordon] = append(p.because[obstacleCordon], f)
			}
		case len(f.taints) > 0 && len(open) == 0:
			p.because[obstacleTaint] = append(p.because[obstacleTaint], f)
		}
	}
	if len(p.because[obstacleCordon])+len(p.because[obstacleUnready]) > 0 {
		delete(p.because, obstacleTaint)
		return p
	}
	if len(open) > 0 {
		p.because[obstacleResources] = open
	}
	return p
}

// cordonedLongBefore reports whether a node was already cordoned a day before the Pod waited: a
// standing condition that capacity had been planned without.
func (q *inquiry) cordonedLongBefore(f fit, s symptom) bool {
	at := q.cordonedAt(f.node).Time()
	return !at.IsZero() && !s.since.IsZero() && s.since.Sub(at) > 24*time.Hour
}

// cordonedAt is the time that the node controller wrote when it saw the cordon.
func (q *inquiry) cordonedAt(node *Object) Value {
	for _, t := range node.At("spec", "taints").Items() {
		if t.At("key").Str() == "node.kubernetes.io/unschedulable" {
			return t.At("timeAdded")
		}
	}
	return Value{}
}

// schedulerReasons reads the scheduler's "0/5 nodes are available: 2 Insufficient cpu, 3 node(s) …"
// into its reasons.
func schedulerReasons(message string) []string {
	_, rest, ok := strings.Cut(message, " nodes are available: ")
	if !ok {
		return nil
	}
	rest, _, _ = strings.Cut(rest, ". preemption:")
	var out []string
	for part := range strings.SplitSeq(strings.TrimSuffix(rest, "."), ", ") {
		_, reason, found := strings.Cut(strings.TrimSpace(part), " ")
		if found {
			out = append(out, strings.TrimSuffix(reason, "."))
		}
	}
	return out
}

// scheduling fills what all scheduling causes share.
func (q *inquiry) scheduling(s symptom, c *cause) *cause {
	c.signals = []string{"FailedScheduling", "ReplicasUnavailable"}
	said := s.text.Str() != ""
	if said {
		c.last.proof = append(c.last.proof, at(s.text))
	}
	c.wanted = []wanted{{"what the scheduler says about " + s.subject.String(), said}}
	return c
}
