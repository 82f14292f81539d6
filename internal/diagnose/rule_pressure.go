package diagnose

import (
	"fmt"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// pressures are the conditions of a node under which it evicts Pods and takes no more.
var pressures = []string{"DiskPressure", "MemoryPressure", "PIDPressure"}

// pressureSymptom reports whether a node that is ready says that it runs out of something.
func (q *inquiry) pressureSymptom(node *Object) (symptom, bool) {
	for _, kind := range pressures {
		c := condition(node, kind)
		if c.At("status").Str() != "True" {
			continue
		}
		return symptom{
			kind: nodePressed, object: node, reason: kind, text: c.At("message"), since: c.At("lastTransitionTime").Time(), affected: 1,
			link: link{node.ref, "node reports " + kind, []cite{at(c.At("status")), at(c.At("type"))}},
		}, true
	}
	return symptom{}, false
}

// isEvicted reports whether the kubelet ended a Pod for want of something.
func isEvicted(pod *Object) bool {
	return pod.At("status", "phase").Str() == "Failed" && pod.At("status", "reason").Str() == "Evicted"
}

// evictedLately reports whether a Pod was evicted within the last hour, as far as that is recorded.
func (q *inquiry) evictedLately(pod *Object) bool {
	when := condition(pod, "DisruptionTarget").At("lastTransitionTime").Time()
	return isEvicted(pod) && (when.IsZero() || q.now.Sub(when) < time.Hour)
}

// PressedNodes leads from Pods that were evicted, or that no node takes, to the nodes that run out of something.
func (catalogue) PressedNodes() rule {
	return rule{
		explains: []symptomKind{podUnscheduled, podFailed, workloadShort},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			seen := map[*Object]bool{}
			to := func(node *Object, l link) {
				if node == nil || seen[node] {
					return
				}
				seen[node] = true
				if next, bad := q.pressureSymptom(node); bad {
					next.affected = s.affected
					out = append(out, answer{via: []link{l}, next: &next})
				}
			}
			switch s.kind {
			case podUnscheduled:
				for _, f := range q.placementOf(s).because[obstaclePressure] {
					to(f.node, link{s.subject, fmt.Sprintf("the Pod would run on node %s, which has taint %s", f.node.ref.Name, taintText(f.pressure[0])), []cite{at(f.pressure[0])}})
				}
			case podFailed:
				if isEvicted(s.object) && !overOwnBound(s.object) {
					to(q.nodeOf(s.object), link{s.subject, "the kubelet evicted the Pod", []cite{at(s.object.At("status", "reason")), at(s.object.At("status", "message"))}})
				}
			case workloadShort:
				for _, p := range q.snap.podsOf(s.subject) {
					if q.evictedLately(p) && !overOwnBound(p) {
						to(q.nodeOf(p), link{p.ref, "the kubelet evicted the Pod", []cite{at(p.At("status", "reason")), at(p.At("status", "message"))}})
					}
				}
			}
			return out
		},
	}
}

// NodePressure ends at a node that evicts or refuses Pods because it runs out of disk, memory or process ids.
func (catalogue) NodePressure() rule {
	return rule{
		explains: []symptomKind{nodePressed, podFailed},
		why: func(q *inquiry, s symptom) []answer {
			c := &cause{
				class: ClassNodePressure, target: s.subject, direct: proven, timing: timingUnrelated, elsewhere: true,
				signals: []string{"NodePressure", "ReplicasUnavailable"}, params: map[string]string{"NODE_NAME": s.subject.Name},
			}
			if s.kind == podFailed {
				return evictedBefore(q, s, c)
			}
			c.detail = s.reason
			c.last = link{s.subject, fmt.Sprintf("the kubelet reports %s since %s", s.reason, clock(s.since)), []cite{at(condition(s.object, s.reason).At("lastTransitionTime"))}}
			if s.text.Str() != "" {
				c.last.statement += ": " + quote(s.text.Str())
				c.last.proof = append(c.last.proof, at(s.text))
			}
			evicted := 0
			for _, p := range q.snap.OnNode(s.subject.Name) {
				if isEvicted(p) {
					if evicted++; evicted <= 3 {
						c.last.proof = append(c.last.proof, at(p.At("status", "message")))
					}
				}
			}
			if evicted > 0 {
				c.last.statement += fmt.Sprintf("; %s evicted", count(evicted, "Pod"))
			}
			said := false
			for _, reason := range []string{"EvictionThresholdMet", "FreeDiskSpaceFailed", "ImageGCFailed", "NodeHasDiskPressure", "NodeHasInsufficientMemory", "NodeHasInsufficientPID"} {
				if ev := q.lastEvent(s.object, reason); ev != nil {
					c.last.proof = append(c.last.proof, event(ev))
					said = true
				}
			}
			c.wanted = []wanted{{"what uses up node " + s.subject.Name + ": kubelet statistics, and events about it", said || evicted > 0}}
			c.summary = fmt.Sprintf("Node %s is under %s: it evicts Pods and takes no more.", s.subject.Name, s.reason)
			return []answer{{cause: c}}
		},
	}
}

// evictedBefore ends at the node of a Pod that was evicted when the node has recovered since.
func evictedBefore(q *inquiry, s symptom, c *cause) []answer {
	message := s.object.At("status", "message")
	if !isEvicted(s.object) || overOwnBound(s.object) || !strings.Contains(message.Str(), "node was low on resource") {
		return nil
	}
	node := q.nodeOf(s.object)
	if node == nil {
		return nil
	}
	if _, now := q.pressureSymptom(node); now {
		return nil
	}
	c.target, c.direct = node.ref, stated
	c.params["NODE_NAME"] = node.ref.Name
	c.last = link{node.ref, "the node ran low and evicted the Pod: " + quote(message.Str()), []cite{at(message)}}
	c.summary = fmt.Sprintf("%s was evicted when node %s ran low.", s.subject, node.ref.Name)
	return []answer{{cause: c}}
}

// overOwnBound reports whether a Pod was evicted for using more disk than it may, and not for its node's sake.
func overOwnBound(pod *Object) bool {
	text := pod.At("status", "message").Str()
	return strings.Contains(text, "exceeds the limit") || strings.Contains(text, "exceeds the total limit") || strings.Contains(text, "exceeded its local ephemeral storage limit")
}

// preemption is what took the place of a Pod.
type preemption struct {
	by     *Object
	proof  []cite
	direct directness
}

// preemptionOf finds the Pod of a higher priority to which the waiting Pod's predecessor gave way: as the scheduler says,
// or as priorities, times and room show. nil when there is none.
func (q *inquiry) preemptionOf(s symptom) *preemption {
	own, _ := s.object.At("spec", "priority").Int()
	higher := func(p *Object) bool { return p != nil && p.At("spec", "priority").IntOr(0) > own }
	name := s.object.ref.Name
	if owner, ok := s.object.Owner(); ok {
		name = owner.Name + "-"
	}
	for _, ev := range q.snap.preemptions {
		victim := about(ev)
		if victim.Namespace != s.subject.Namespace || !strings.HasPrefix(victim.Name, name) ||
			s.object.Created().Sub(lastSeen(ev)).Abs() > 10*time.Minute {
			continue
		}
		_, rest, _ := strings.Cut(eventText(ev).Str(), "reempted by ")
		by := strings.Fields(strings.TrimPrefix(rest, "pod "))
		if len(by) == 0 {
			continue
		}
		p := q.snap.byUID[by[0]]
		if ns, n, ok := strings.Cut(by[0], "/"); ok && p == nil {
			p = q.snap.Object(incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: ns, Name: n})
		}
		if higher(p) {
			return &preemption{p, []cite{event(ev)}, proven}
		}
	}
	return q.displaced(s, higher)
}

// displaced finds, without any event, a Pod of a higher priority that came when the waiting Pod's predecessor went, to a
// node that would have room for it otherwise.
func (q *inquiry) displaced(s symptom, higher func(*Object) bool) *preemption {
	if !q.ranBefore(s.object) || s.object.Created().IsZero() {
		return nil
	}
	for _, f := range q.placementOf(s).because[obstacleResources] {
		for _, p := range q.snap.OnNode(f.node.ref.Name) {
			came := condition(p, "PodScheduled").At("lastTransitionTime")
			if !higher(p) || isDone(p) || came.Time().IsZero() || came.Time().Before(s.object.Created()) || came.Time().Sub(s.object.Created()) > 3*time.Minute {
				continue
			}
			room := requestsOf(p.At("spec"), "requests")
			fits := true
			for _, short := range f.short {
				fits = fits && short.need <= short.free+room[short.resource]
			}
			if fits && p.Created().Before(s.object.Created()) { // it waited, and then a place was made
				return &preemption{p, []cite{at(came), at(s.object.At("metadata", "creationTimestamp"))}, compared}
			}
		}
	}
	return nil
}

// Preempted ends at the workload whose Pods took the place of those that wait.
func (catalogue) Preempted() rule {
	return rule{
		explains: []symptomKind{podUnscheduled},
		why: func(q *inquiry, s symptom) []answer {
			pre := q.preemptionOf(s)
			if pre == nil {
				return nil
			}
			by := q.owner(pre.by)
			mine, theirs := s.object.At("spec", "priority"), pre.by.At("spec", "priority")
			c := &cause{
				class: ClassPreempted, target: by, direct: pre.direct, timing: timingUnrelated, elsewhere: true, depends: []string{"Pod"},
				params: map[string]string{"NODE_NAME": pre.by.At("spec", "nodeName").Str(), "NAMESPACE": by.Namespace},
				last: link{
					by, fmt.Sprintf("%s, of priority %d, took the place of a Pod of priority %d", pre.by.ref, theirs.IntOr(0), mine.IntOr(0)),
					append(pre.proof, at(theirs)),
				},
				summary: fmt.Sprintf("%s lost its place to %s, whose priority is higher, and finds no other.", q.owner(s.object), by),
			}
			if mine.Exists() {
				c.last.proof = append(c.last.proof, at(mine))
			}
			if class := pre.by.At("spec", "priorityClassName"); class.Exists() {
				c.last.statement += fmt.Sprintf(" (PriorityClass %q)", class.Str())
				c.last.proof = append(c.last.proof, at(class))
			}
			return []answer{{cause: q.scheduling(s, c)}}
		},
	}
}
