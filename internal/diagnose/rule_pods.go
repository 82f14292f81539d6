package diagnose

import "fmt"

// WorkloadPods leads from a workload that is short of ready Pods to what is wrong with its Pods, or
// to the refusal that keeps them from being created.
func (catalogue) WorkloadPods() rule {
	return rule{
		explains: []symptomKind{workloadShort},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			creators := []*Object{s.object}
			for _, child := range q.snap.Children(s.subject) {
				if workloadKinds[child.ref.Kind] {
					creators = append(creators, child)
				}
			}
			for _, w := range creators {
				if r := q.refusal(w); r != nil {
					out = append(out, answer{next: &symptom{
						kind: podsNotCreated, object: w, reason: "FailedCreate", text: r.text, affected: s.affected,
						link: link{w.ref, "the API server refuses to create its Pods", r.cite},
					}})
				} else if next := q.createsNone(w); next != nil {
					out = append(out, answer{next: next})
				}
			}
			for _, p := range q.grouped(q.snap.podsOf(s.subject)) {
				out = append(out, answer{next: &p})
			}
			return out
		},
	}
}

// ServicePods leads from a Service without ready endpoints to the workloads that it selects.
func (catalogue) ServicePods() rule {
	return rule{
		explains: []symptomKind{serviceEmpty},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			selector := s.object.At("spec", "selector")
			for _, w := range q.snap.selectedWorkloads(s.object) {
				if isZero(w) {
					replicas := w.At("spec", "replicas")
					out = append(out, answer{next: &symptom{
						kind: workloadZero, object: w, affected: 1,
						link: link{w.ref, "the workload that the Service selects is asked to run no Pod", []cite{at(replicas), at(selector)}},
					}})
					continue
				}
				for _, next := range q.workloadSymptoms(w) {
					out = append(out, answer{next: &next})
				}
			}
			for _, pod := range q.selected(s.object) {
				if _, owned := pod.Owner(); !owned {
					for _, next := range q.podSymptoms(pod) {
						out = append(out, answer{next: &next})
					}
				}
			}
			return out
		},
	}
}

// selectedWorkloads returns the workloads whose Pods the Service's selector would match.
func (s *Snapshot) selectedWorkloads(svc *Object) []*Object {
	selector := svc.At("spec", "selector").StrMap()
	var out []*Object
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController"} {
		for _, w := range s.Kind(kind, svc.ref.Namespace) {
			if s.topWorkload(w) != w.ref {
				continue
			}
			if len(selector) > 0 && selects(selector, templateOf(w).At("metadata", "labels").StrMap()) {
				out = append(out, w)
			}
		}
	}
	return out
}

// ScaledToZero ends at a workload that runs no Pod because it is asked to.
func (catalogue) ScaledToZero() rule {
	return rule{
		explains: []symptomKind{workloadZero},
		why: func(q *inquiry, s symptom) []answer {
			w := s.object
			replicas := w.At("spec", "replicas")
			c := &cause{
				class: ClassScaledToZero, target: w.ref, direct: compared, timing: timingUnrelated,
				summary: fmt.Sprintf("%s is scaled to zero: it is asked to run no Pod.", w.ref),
				signals: []string{"ScaledToZero", "ServiceNoEndpoints", "ReplicasUnavailable"},
				params:  map[string]string{"REPLICAS": "1"},
				last:    link{w.ref, "spec.replicas is 0", []cite{at(replicas)}},
			}
			ev := q.lastEvent(w, "ScalingReplicaSet")
			if ev == nil {
				ev = q.lastEvent(w, "SuccessfulDelete")
			}
			if ev != nil {
				c.last.proof = append(c.last.proof, event(ev))
				if n := scaledFrom(eventText(ev).Str()); n != "" {
					c.params["REPLICAS"] = n
				}
			}
			c.wanted = []wanted{{"the event that scaled " + w.ref.String() + " down, or the audit log, for who did it", ev != nil}}
			if hpa := q.scalerOf(w); hpa != nil {
				if n := hpa.At("spec", "minReplicas"); n.Exists() {
					c.params["REPLICAS"] = n.Text()
					c.factors = append(c.factors, fmt.Sprintf("%s does not scale a workload that is at zero", hpa.ref))
				}
			}
			return []answer{{cause: c}}
		},
	}
}

// scaledFrom reads N out of the Deployment controller's "Scaled down replica set X from N to 0".
func scaledFrom(message string) string {
	var set, from string
	if n, _ := fmt.Sscanf(message, "Scaled down replica set %s from %s to 0", &set, &from); n != 2 || !isNumber(from) {
		return ""
	}
	return from
}

func isNumber(s string) bool {
	if s == "" || len(s) > 9 {
		return false
	}
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return true
}

// scalerOf returns the HorizontalPodAutoscaler of a workload, or nil.
func (q *inquiry) scalerOf(w *Object) *Object {
	for _, hpa := range q.snap.Kind("HorizontalPodAutoscaler", w.ref.Namespace) {
		t := hpa.At("spec", "scaleTargetRef")
		if t.At("kind").Str() == w.ref.Kind && t.At("name").Str() == w.ref.Name {
			return hpa
		}
	}
	return nil
}
