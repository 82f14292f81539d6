package diagnose

import (
	"fmt"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// QuotaExceeded ends at a ResourceQuota that has too little left for another Pod: what it allows,
// less what is used, is less than one Pod asks for.
func (catalogue) QuotaExceeded() rule {
	return rule{
		explains: []symptomKind{podsNotCreated},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			messages := q.messagesAbout(s)
			for _, quota := range q.snap.Kind("ResourceQuota", s.subject.Namespace) {
				message, said := says(messages, "exceeded quota: "+quota.ref.Name+",")
				if e, ok := exceeded(s, quota, said); ok {
					out = append(out, answer{cause: quotaCause(q, s, quota.ref, e, message, said)})
				} else if said {
					out = append(out, answer{cause: quotaByMessage(q, s, quota.ref, message)})
				}
			}
			if len(out) > 0 || q.snap.Listed("ResourceQuota", s.subject.Namespace) {
				return out
			}
			if message, said := says(messages, "exceeded quota: "); said {
				_, rest, _ := strings.Cut(message.Str(), "exceeded quota: ")
				name, _, _ := strings.Cut(rest, ",")
				ref := incident.Ref{APIVersion: "v1", Kind: "ResourceQuota", Namespace: s.subject.Namespace, Name: name}
				out = append(out, answer{cause: quotaByMessage(q, s, ref, message)})
			}
			return out
		},
	}
}

// excess is one resource of a quota that has too little left.
type excess struct {
	resource         string
	hard, used       Value
	hardN, usedN     int64
	need             int64 // of one Pod
	required         int64 // hard value that would let all missing Pods in
	containerRequest []cite
}

// exceeded does the quota's arithmetic for one more Pod of the workload. A claim of a Pod may be there already, so that
// its storage counts only when the API server says that this quota refused something.
func exceeded(s symptom, quota *Object, said bool) (excess, bool) {
	spec := templateOf(s.object).At("spec")
	if !said && !inScope(quota, spec) {
		return excess{}, false
	}
	requests, limits := requestsOf(spec, "requests"), requestsOf(spec, "limits")
	for name, n := range limits { // a limit without a request is the request
		if _, ok := requests[name]; !ok {
			requests[name] = n
		}
	}
	hard := quota.At("status", "hard")
	if !hard.Exists() {
		hard = quota.At("spec", "hard")
	}
	for _, name := range hard.Keys() {
		var need int64
		switch {
		case s.object.ref.Kind == "Deployment": // it creates ReplicaSets and no Pods
			if name == "count/replicasets.apps" {
				need = 1000
			}
		case name == "pods" || name == "count/pods":
			need = 1000
		case isStorage(name):
			if said || s.reason == silent {
				need = storageOf(s.object, name)
			}
		case strings.HasPrefix(name, "limits."):
			need = limits[strings.TrimPrefix(name, "limits.")]
		default:
			need = requests[strings.TrimPrefix(name, "requests.")]
		}
		used := quota.At("status", "used", name)
		hardN, ok := milli(hard.At(name))
		usedN, known := milli(used)
		if need == 0 || !ok || !known || add(usedN, need) <= hardN {
			continue
		}
		missing := max(1, int64(s.affected))
		e := excess{resource: name, hard: hard.At(name), used: used, hardN: hardN, usedN: usedN, need: need}
		if need < 1<<52 && missing < 1<<10 {
			e.required = add(usedN, need*missing)
		}
		for _, field := range []string{"requests", "limits"} {
			short := strings.TrimPrefix(strings.TrimPrefix(name, "requests."), "limits.")
			for _, c := range spec.At("containers").Items() {
				if v := c.At("resources", field, short); v.Exists() && strings.HasPrefix(name, "limits.") == (field == "limits") {
					e.containerRequest = append(e.containerRequest, at(v))
				}
			}
		}
		return e, true
	}
	return excess{}, false
}

// isStorage reports whether a quota's resource is about claims.
func isStorage(name string) bool {
	return strings.HasSuffix(name, "requests.storage") || strings.HasSuffix(name, "persistentvolumeclaims")
}

// storageOf is what the claims of one Pod of a StatefulSet take of a quota's resource.
func storageOf(w *Object, name string) int64 {
	class, ofClass := strings.CutSuffix(name, ".storageclass.storage.k8s.io/requests.storage")
	if !ofClass {
		class, ofClass = strings.CutSuffix(name, ".storageclass.storage.k8s.io/persistentvolumeclaims")
	}
	var sum int64
	for _, claim := range w.At("spec", "volumeClaimTemplates").Items() {
		if ofClass && claim.At("spec", "storageClassName").Str() != class {
			continue
		}
		n := int64(1000)
		if strings.HasSuffix(name, "requests.storage") {
			n, _ = milli(claim.At("spec", "resources", "requests", "storage"))
		}
		sum = add(sum, n)
	}
	return sum
}

// inScope reports whether a quota counts Pods of this spec.
func inScope(quota *Object, spec Value) bool {
	effort := len(requestsOf(spec, "requests"))+len(requestsOf(spec, "limits")) > 0
	ends := spec.At("activeDeadlineSeconds").Exists()
	holds := func(scope, operator string, values []Value) bool {
		switch scope {
		case "BestEffort":
			return !effort
		case "NotBestEffort":
			return effort
		case "Terminating":
			return ends
		case "NotTerminating":
			return !ends
		case "PriorityClass":
			r := requirement{key: scope, operator: operator}
			for _, v := range values {
				r.values = append(r.values, v.Str())
			}
			labels := map[string]string{}
			if class := spec.At("priorityClassName").Str(); class != "" {
				labels[scope] = class
			}
			return r.holds(labels)
		}
		return true
	}
	for _, scope := range quota.At("spec", "scopes").Items() {
		if !holds(scope.Str(), "Exists", nil) {
			return false
		}
	}
	for _, e := range quota.At("spec", "scopeSelector", "matchExpressions").Items() {
		if !holds(e.At("scopeName").Str(), e.At("operator").Str(), e.At("values").Items()) {
			return false
		}
	}
	return true
}

func quotaCause(q *inquiry, s symptom, ref incident.Ref, e excess, message Value, said bool) *cause {
	c := &cause{
		class: ClassQuotaExceeded, target: ref, detail: e.resource, direct: compared, timing: timingUnrelated,
		signals: []string{"QuotaExceeded", "FailedCreate"},
		params: map[string]string{
			"QUOTA_NAME": ref.Name, "QUOTA_RESOURCE": e.resource, "QUOTA_HARD": e.hard.Text(), "QUOTA_USED": e.used.Text(),
		},
		last: link{ref, fmt.Sprintf("quota %q allows %s of %s and %s is used; another Pod needs %s", ref.Name, e.hard.Text(), e.resource, e.used.Text(),
			quantity(e.resource, e.need)), append([]cite{at(e.hard), at(e.used)}, e.containerRequest...)},
		summary: fmt.Sprintf("%s cannot create Pods: ResourceQuota %q of namespace %s is used up (%s: %s of %s).", q.owner(s.object), ref.Name, ref.Namespace,
			e.resource, e.used.Text(), e.hard.Text()),
		wanted: []wanted{{"the refusal of " + s.subject.String(), said}},
	}
	if e.required > 0 {
		c.params["QUOTA_REQUIRED"] = quantity(e.resource, e.required)
	}
	if said {
		c.direct = proven
		c.last.proof = append(c.last.proof, at(message))
	}
	return c
}

// quotaByMessage takes the API server's word, when the quota cannot be read or has changed since.
func quotaByMessage(q *inquiry, s symptom, ref incident.Ref, message Value) *cause {
	c := &cause{
		class: ClassQuotaExceeded, target: ref, direct: stated, timing: timingUnrelated, depends: []string{"ResourceQuota"},
		signals: []string{"QuotaExceeded", "FailedCreate"}, params: map[string]string{"QUOTA_NAME": ref.Name},
		last:    link{ref, "the API server refuses the Pods: " + quote(message.Str()), []cite{at(message)}},
		summary: fmt.Sprintf("%s cannot create Pods: ResourceQuota %q of namespace %s is used up.", q.owner(s.object), ref.Name, ref.Namespace),
	}
	_, rest, _ := strings.Cut(message.Str(), "limited: ")
	if name, hard, ok := strings.Cut(rest, "="); ok {
		hard, _, _ = strings.Cut(hard, ",")
		c.detail, c.params["QUOTA_RESOURCE"], c.params["QUOTA_HARD"] = name, name, hard
	}
	return c
}

// QuotaNeedsResources ends at a quota that demands requests or limits which the Pods do not state.
func (catalogue) QuotaNeedsResources() rule {
	return rule{
		explains: []symptomKind{podsNotCreated},
		why: func(q *inquiry, s symptom) []answer {
			message, said := says(q.messagesAbout(s), "failed quota: ", "must specify ")
			if !said {
				return nil
			}
			_, rest, _ := strings.Cut(message.Str(), "failed quota: ")
			name, rest, _ := strings.Cut(rest, ":")
			_, demand, _ := strings.Cut(rest, "must specify ")
			demand = strings.ReplaceAll(strings.ReplaceAll(demand, " for: ", " of "), ";", ",")
			target := q.owner(s.object)
			c := &cause{
				class: ClassQuotaNeedsResources, target: target, detail: name, direct: stated, timing: timingUnrelated,
				signals: []string{"QuotaExceeded", "FailedCreate"}, params: map[string]string{"QUOTA_NAME": name},
				last:    link{target, fmt.Sprintf("quota %q demands that Pods specify %s, and the template does not", name, demand), []cite{at(message)}},
				summary: fmt.Sprintf("%s cannot create Pods: ResourceQuota %q demands %s.", target, name, demand),
			}
			if quota := q.snap.Object(incident.Ref{APIVersion: "v1", Kind: "ResourceQuota", Namespace: s.subject.Namespace, Name: name}); quota != nil {
				c.last.proof = append(c.last.proof, at(quota.At("spec", "hard")))
			}
			for _, ctr := range templateOf(s.object).At("spec", "containers").Items() {
				if !ctr.At("resources", "limits").Exists() || !ctr.At("resources", "requests").Exists() {
					c.last.proof = append(c.last.proof, at(ctr.At("resources")))
					c.params["CONTAINER"] = ctr.At("name").Str()
					c.direct = proven
					break
				}
			}
			return []answer{{cause: c}}
		},
	}
}
