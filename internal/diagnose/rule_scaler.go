package diagnose

import (
	"fmt"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// standingFor is how long something may have been so before it counts as a standing defect of what was not asked about.
const standingFor = 2 * time.Hour

// scalerSymptoms states that an autoscaler cannot compute, finds nothing to scale, or wants more than it may have.
func (q *inquiry) scalerSymptoms(hpa *Object) []symptom {
	for _, kind := range []string{"AbleToScale", "ScalingActive"} {
		c := condition(hpa, kind)
		if c.At("status").Str() != "False" || c.At("reason").Str() == "ScalingDisabled" {
			continue
		}
		since := c.At("lastTransitionTime").Time()
		if !since.IsZero() && q.now.Sub(since) < 3*time.Minute && q.now.Sub(hpa.Created()) < 5*time.Minute {
			q.setAside("scaler/"+hpa.ref.String(), note{
				subject: hpa.ref, statement: "autoscaler has no metrics yet", reason: "start-up: it is younger than the metrics that it needs",
				proof: []cite{at(c.At("status")), at(hpa.At("metadata", "creationTimestamp"))},
			})
			return nil
		}
		return []symptom{{
			kind: scalerStuck, object: hpa, reason: c.At("reason").Str(), text: c.At("message"), since: since, affected: 1,
			link: link{hpa.ref, fmt.Sprintf("autoscaler does not work: %s is False (%s)", kind, c.At("reason").Str()), []cite{at(c.At("status")), at(c.At("reason"))}},
		}}
	}
	most, has := hpa.At("spec", "maxReplicas"), hpa.At("status", "desiredReplicas")
	if c := condition(hpa, "ScalingLimited"); c.At("status").Str() == "True" && c.At("reason").Str() == "TooManyReplicas" && has.IntOr(0) >= most.IntOr(1) {
		return []symptom{{
			kind: scalerFull, object: hpa, reason: "TooManyReplicas", text: c.At("message"), since: c.At("lastTransitionTime").Time(), affected: 1,
			link: link{hpa.ref, fmt.Sprintf("autoscaler is at its maximum of %s and wants more", most.Text()), []cite{at(c.At("reason")), at(has)}},
		}}
	}
	if now, goal, over := overGoal(hpa); over && !condition(hpa, "ScalingLimited").Exists() && most.Exists() && hpa.At("status", "currentReplicas").IntOr(0) >= most.IntOr(1) {
		return []symptom{{
			kind: scalerFull, object: hpa, reason: "TooManyReplicas", affected: 1,
			link: link{hpa.ref, fmt.Sprintf("autoscaler is at its maximum of %s, and its metric is above its aim", most.Text()), []cite{at(hpa.At("status", "currentReplicas")), at(now), at(goal)}},
		}}
	}
	return nil
}

// overGoal returns a share of requests that is well above the one that an autoscaler aims at.
func overGoal(hpa *Object) (now, goal Value, over bool) {
	wants := hpa.At("spec", "metrics").Items()
	for i, m := range hpa.At("status", "currentMetrics").Items() {
		if i >= len(wants) {
			break
		}
		for _, kind := range []string{"resource", "containerResource"} {
			now, goal = m.At(kind, "current", "averageUtilization"), wants[i].At(kind, "target", "averageUtilization")
			if n := goal.IntOr(0); n > 0 && now.IntOr(0) > n+n/5 {
				return now, goal, true
			}
		}
	}
	return Value{}, Value{}, false
}

// newScalerSymptoms are those of an autoscaler that was not asked about: what has been so for long is noise, unless the metric
// shows that more is missed now.
func (q *inquiry) newScalerSymptoms(hpa *Object) []symptom {
	var out []symptom
	for _, s := range q.scalerSymptoms(hpa) {
		if _, _, over := overGoal(hpa); !s.since.IsZero() && q.now.Sub(s.since) > standingFor && !(over && s.kind == scalerFull) {
			q.setAside("scaler/"+hpa.ref.String(), note{
				subject: hpa.ref, statement: s.statement, proof: s.proof,
				reason: "standing: it has been so for " + span(q.now.Sub(s.since)),
			})
			continue
		}
		out = append(out, s)
	}
	return out
}

// HPAMisconfigured ends at an autoscaler that cannot work as it, or what it scales, is written.
func (catalogue) HPAMisconfigured() rule {
	return rule{
		explains: []symptomKind{scalerStuck},
		why: func(q *inquiry, s symptom) []answer {
			hpa := s.object
			c := &cause{
				class: ClassHPAMisconfigured, target: hpa.ref, direct: stated, timing: timingUnrelated, signals: []string{"HPANotScaling"}, elsewhere: true,
				params: map[string]string{"HPA_NAME": hpa.ref.Name},
				last:   link{hpa.ref, "it cannot compute how many Pods there should be: " + quote(s.text.Str()), []cite{at(s.text)}},
			}
			t := hpa.At("spec", "scaleTargetRef")
			ref := incident.Ref{APIVersion: t.At("apiVersion").Str(), Kind: t.At("kind").Str(), Namespace: hpa.ref.Namespace, Name: t.At("name").Str()}
			w := q.snap.Object(ref)
			switch {
			case w == nil && q.snap.Knows(ref) == Absent:
				c.direct = proven
				c.last.statement = fmt.Sprintf("it scales %s, which does not exist", ref)
				c.last.proof = []cite{at(t.At("name")), gone(ref)}
				if near := q.nearestObject(ref); near != "" {
					c.params["SUGGESTED_NAME"] = near
					c.factors = append(c.factors, fmt.Sprintf("%s %q exists, and its name is near.", ref.Kind, near))
				}
			case w != nil:
				if m, ctr := unrequested(hpa, w); m.Exists() {
					c.direct = proven
					c.last.statement = fmt.Sprintf("it scales by the share of requested %s, and container %q of %s requests none", m.Str(), ctr.At("name").Str(), w.ref)
					c.last.proof = []cite{at(m), at(ctr.At("resources", "requests", m.Str())), at(s.text)}
					c.params["CONTAINER"], c.params["RESOURCE"] = ctr.At("name").Str(), m.Str()
				}
			}
			c.summary = fmt.Sprintf("%s does not scale: %s.", hpa.ref, c.last.statement)
			return []answer{{cause: c}}
		},
	}
}

// unrequested returns a resource by whose share an autoscaler scales, and a container that does not request it.
func unrequested(hpa, w *Object) (resource, ctr Value) {
	for _, m := range hpa.At("spec", "metrics").Items() {
		for _, kind := range []string{"resource", "containerResource"} {
			name := m.At(kind, "name")
			if !name.Exists() || !m.At(kind, "target", "averageUtilization").Exists() {
				continue
			}
			for _, c := range templateOf(w).At("spec", "containers").Items() {
				if only := m.At(kind, "container").Str(); only != "" && only != c.At("name").Str() {
					continue
				}
				if !c.At("resources", "requests", name.Str()).Exists() && !c.At("resources", "limits", name.Str()).Exists() && c.At("resources").Known() {
					return name, c
				}
			}
		}
	}
	return Value{}, Value{}
}

// HPAMaxed ends at an autoscaler whose maximum is reached while its metric asks for more.
func (catalogue) HPAMaxed() rule {
	return rule{
		explains: []symptomKind{scalerFull},
		why: func(_ *inquiry, s symptom) []answer {
			hpa := s.object
			most := hpa.At("spec", "maxReplicas")
			c := &cause{
				class: ClassHPAMaxed, target: hpa.ref, direct: proven, timing: timingUnrelated, signals: []string{"HPAMaxedOut"}, elsewhere: true,
				params: map[string]string{"HPA_NAME": hpa.ref.Name, "MAX_REPLICAS": most.Text()},
				last:   link{hpa.ref, fmt.Sprintf("spec.maxReplicas is %s, and what it measures asks for more", most.Text()), []cite{at(most), at(condition(hpa, "ScalingLimited").At("status"))}},
			}
			wants := hpa.At("spec", "metrics").Items()
			for i, m := range hpa.At("status", "currentMetrics").Items() {
				now := m.At("resource", "current", "averageUtilization")
				if i < len(wants) && now.Exists() {
					goal := wants[i].At("resource", "target", "averageUtilization")
					if goal.IntOr(0) >= now.IntOr(0) {
						continue
					}
					c.last.statement += fmt.Sprintf(": %s is at %s %% of its request, and %s %% is wanted", m.At("resource", "name").Str(), now.Text(), goal.Text())
					c.last.proof = append(c.last.proof, at(now), at(goal))
				}
			}
			c.summary = fmt.Sprintf("%s is at its maximum of %s and wants more.", hpa.ref, most.Text())
			return []answer{{cause: c}}
		},
	}
}
