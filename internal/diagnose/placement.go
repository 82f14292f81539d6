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
	obstaclePressure  obstacle = "pressure"
	obstacleVolume    obstacle = "volume"
	obstaclePort      obstacle = "host port"
	obstacleApart     obstacle = "other Pods"
)

// placement is the judgement of all nodes for one Pod.
type placement struct {
	nodes []fit
	// because lists the obstacles that decide, each with the nodes that it keeps away and that the Pod
	// would otherwise run on.
	because map[obstacle][]fit
}

// placementOf finds what keeps a Pod from being scheduled, in the order in which its author narrowed
// the nodes down: first those that its selector and affinity mean; of these the ones where its volumes can be used; of
// these the ones that take such Pods; of these the ones with room; of these the ones that other Pods leave to it. What
// keeps away a node that the Pod never meant is no cause.
func (q *inquiry) placementOf(s symptom) placement {
	if p, ok := q.placed[s.object]; ok {
		return p
	}
	p := q.place(s)
	if q.placed == nil {
		q.placed = map[*Object]placement{}
	}
	q.placed[s.object] = p
	return p
}

func (q *inquiry) place(s symptom) placement {
	p := placement{nodes: q.fits(s.object), because: map[obstacle][]fit{}}
	var meant, reached, beyond []fit
	for _, f := range p.nodes {
		switch {
		case !f.selected():
			continue
		case f.pin == nil:
			reached = append(reached, f)
		default:
			beyond = append(beyond, f)
		}
		meant = append(meant, f)
	}
	switch {
	case len(meant) == 0 && len(p.nodes) > 0:
		p.because[obstacleSelector] = p.nodes
	case len(reached) == 0 && len(meant) > 0:
		p.because[obstacleVolume] = meant
	case len(meant) > 0:
		q.narrow(s, p, reached)
		beyond = slices.DeleteFunc(beyond, func(f fit) bool { return !f.open() || len(f.short) > 0 })
		if len(p.because[obstacleResources]) > 0 && len(p.because) == 1 && len(beyond) > 0 {
			delete(p.because, obstacleResources)
			p.because[obstacleVolume] = beyond
		}
	}
	return p
}

// narrow judges the nodes that a Pod means and that its volumes reach.
func (q *inquiry) narrow(s symptom, p placement, meant []fit) {
	var open, free []fit
	for _, f := range meant {
		if f.open() {
			open = append(open, f)
			if len(f.short) == 0 {
				free = append(free, f)
			}
		}
	}
	blocked := slices.DeleteFunc(slices.Clone(meant), fit.open)
	// A control-plane node keeps workloads away on purpose, unless the Pod means no other node.
	if workers := slices.DeleteFunc(slices.Clone(blocked), func(f fit) bool { return isControlPlane(f.node) }); len(workers) > 0 || len(open) > 0 {
		blocked = workers
	}
	roomy := slices.DeleteFunc(slices.Clone(blocked), func(f fit) bool { return len(f.short) > 0 })
	if len(free) > 0 {
		q.crowded(s, p, meant, free, roomy, len(open) > len(free))
		return
	}
	if len(roomy) > 0 || len(open) > 0 {
		blocked = roomy
	}
	q.closed(s, p, blocked, len(open) > 0)
	if len(p.because[obstacleCordon])+len(p.because[obstacleUnready])+len(p.because[obstaclePressure]) > 0 {
		delete(p.because, obstacleTaint)
		return
	}
	if len(open) > 0 {
		p.because[obstacleResources] = open
	}
}

// closed sorts the nodes that take no such Pods by why they do not.
func (q *inquiry) closed(s symptom, p placement, blocked []fit, others bool) {
	for _, f := range blocked {
		switch {
		case f.unready:
			p.because[obstacleUnready] = append(p.because[obstacleUnready], f)
		case f.cordoned && len(f.taints) == 0:
			if !others || !q.cordonedLongBefore(f, s) {
				p.because[obstacleCordon] = append(p.because[obstacleCordon], f)
			}
		case len(f.pressure) > 0 && len(f.taints) == 0:
			p.because[obstaclePressure] = append(p.because[obstaclePressure], f)
		case len(f.taints) > 0 && !others:
			p.because[obstacleTaint] = append(p.because[obstacleTaint], f)
		}
	}
}

// crowded judges a Pod that some node has room for: its host ports are taken there, or other Pods keep it away. A node
// that is closed and where that is not so is the better answer, unless more Pods are wanted than can lie apart.
func (q *inquiry) crowded(s symptom, p placement, meant, free, closed []fit, full bool) {
	n := q.neighboursOf(s.object, meant)
	var ports, kept []fit
	for _, f := range free {
		if f.port = q.portTaken(s.object, f.node); f.port != nil {
			ports = append(ports, f)
		} else if f.apart = n.from(f.node); f.apart != nil {
			kept = append(kept, f)
		}
	}
	if len(ports)+len(kept) < len(free) {
		return // it would fit: something that is not judged here keeps it away
	}
	var left []fit
	for _, f := range closed {
		if q.portTaken(s.object, f.node) == nil && n.from(f.node) == nil {
			left = append(left, f)
		}
	}
	replicas := s.replicas(q).number
	if len(left) > 0 && (len(kept) == 0 || replicas <= int64(domainsOf(p, kept[0].apart.key))) {
		if q.closed(s, p, left, false); len(p.because) > 0 {
			return
		}
	}
	switch {
	case len(kept) > 0 && full && kept[0].apart.kind == "anti-affinity" && replicas <= int64(domainsOf(p, kept[0].apart.key)):
		p.because[obstacleResources] = slices.DeleteFunc(slices.Clone(meant), func(f fit) bool { return !f.open() || len(f.short) == 0 })
	case len(kept) > 0:
		p.because[obstacleApart] = kept
	default:
		p.because[obstaclePort] = ports
	}
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
	for _, end := range []string{". preemption:", ". no new claims to deallocate"} {
		rest, _, _ = strings.Cut(rest, end)
	}
	var out []string
	for part := range strings.SplitSeq(strings.TrimSuffix(rest, "."), ", ") {
		_, reason, found := strings.Cut(strings.TrimSpace(part), " ")
		if found {
			out = append(out, strings.TrimSuffix(reason, "."))
		}
	}
	return out
}

// schedulerSaysOnly reports whether nothing that was read of the nodes keeps the Pod away, and the scheduler gives one reason for all of them, those
// set aside that keep workloads off on purpose, and those that it gives beside.
func (q *inquiry) schedulerSaysOnly(s symptom, phrase string, beside ...string) bool {
	reasons := schedulerReasons(s.text.Str())
	if len(q.placementOf(s).because) > 0 {
		return false
	}
	found := false
	for _, r := range reasons {
		switch {
		case strings.Contains(r, phrase):
			found = true
		case strings.Contains(r, "node-role.kubernetes.io/"), strings.HasSuffix(r, "untolerated taint(s)"):
		case slices.ContainsFunc(beside, func(b string) bool { return strings.Contains(r, b) }):
		default:
			return false
		}
	}
	return found
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
