package diagnose

import (
	"fmt"
)

// StrandedPod leads from a Pod on a node that does not report to that node.
func (catalogue) StrandedPod() rule {
	return rule{
		explains: []symptomKind{podStranded},
		why: func(q *inquiry, s symptom) []answer {
			node := q.nodeOf(s.object)
			if node == nil {
				return nil
			}
			next, bad := q.nodeSymptom(node)
			if !bad {
				return nil
			}
			next.affected = s.affected
			return []answer{{next: &next}}
		},
	}
}

// NodeNotReady ends at a node that does not report, or says that it is not ready. What stopped its
// kubelet is not in the API.
func (catalogue) NodeNotReady() rule {
	return rule{
		explains: []symptomKind{nodeUnready},
		why: func(q *inquiry, s symptom) []answer {
			node := s.object
			if _, without := networkless(node); without {
				return nil
			}
			pods := q.snap.OnNode(s.subject.Name)
			c := &cause{
				class: ClassNodeNotReady, target: s.subject, direct: proven, timing: timingUnrelated,
				signals: []string{"NodeNotReady", "ReplicasUnavailable"}, params: map[string]string{"NODE_NAME": s.subject.Name},
				summary: fmt.Sprintf("Node %s is not ready.", s.subject.Name),
			}
			if len(pods) > 0 {
				c.summary = fmt.Sprintf("Node %s is not ready; %s on it %s affected.", s.subject.Name, count(len(pods), "Pod"), verb(int64(len(pods))))
			}
			ready := condition(node, "Ready")
			renewed := q.leaseOf(node)
			c.last = link{subject: s.subject, statement: "the kubelet reports that the node is not ready"}
			if ready.At("status").Str() != "False" {
				c.last.statement = "the kubelet has stopped reporting"
			}
			if m := ready.At("message"); m.Str() != "" {
				c.last.statement += ": " + quote(m.Str())
				c.last.proof = append(c.last.proof, at(m))
			} else {
				c.last.proof = append(c.last.proof, at(ready.At("status")))
			}
			stopped := renewed.Exists() && (!s.since.IsZero() && !renewed.Time().After(s.since) || q.now.Sub(renewed.Time()).Minutes() > 2)
			if stopped {
				c.last.statement += fmt.Sprintf("; it last renewed its Lease at %s", clock(renewed.Time()))
				c.last.proof = append(c.last.proof, at(renewed))
			}
			ev := q.lastEvent(node, "NodeNotReady")
			if ev != nil {
				c.last.proof = append(c.last.proof, event(ev))
			}
			for _, kind := range []string{"MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"} {
				if p := condition(node, kind); p.At("status").Str() == "True" {
					c.factors = append(c.factors, fmt.Sprintf("The node reports %s.", kind))
					c.last.proof = append(c.last.proof, at(p.At("status")))
				}
			}
			c.wanted = []wanted{{"the kubelet's journal and the Lease of node " + s.subject.Name, stopped || ev != nil || ready.At("status").Str() == "False"}}
			return []answer{{cause: c}}
		},
	}
}
