package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// hook is one webhook of a configuration.
type hook struct {
	config *Object
	place  Value
}

func (h hook) name() string { return h.place.At("name").Str() }

func (h hook) mutates() bool { return h.config.ref.Kind == "MutatingWebhookConfiguration" }

// hooks returns the webhooks of all configurations.
func (q *inquiry) hooks() []hook {
	var out []hook
	for _, kind := range []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"} {
		for _, config := range q.snap.Kind(kind, "") {
			for _, h := range config.At("webhooks").Items() {
				out = append(out, hook{config, h})
			}
		}
	}
	return out
}

// hookNamed finds a webhook by the name that the API server gives it in messages.
func (q *inquiry) hookNamed(name string) *hook {
	for _, h := range q.hooks() {
		if h.name() == name {
			return &h
		}
	}
	return nil
}

// seesPods reports whether the API server asks the webhook about new Pods of a workload.
func (q *inquiry) seesPods(h hook, w *Object) bool {
	asked := slices.ContainsFunc(h.place.At("rules").Items(), func(r Value) bool {
		return listed(r.At("operations"), "CREATE") && listed(r.At("resources"), "pods") && listed(r.At("apiGroups"), "")
	})
	if !asked || !matches(h.place.At("objectSelector"), templateOf(w).At("metadata", "labels").StrMap()) {
		return false
	}
	selector := h.place.At("namespaceSelector")
	if selector.Len() == 0 {
		return true
	}
	ns := q.snap.Object(incident.Ref{APIVersion: "v1", Kind: "Namespace", Name: w.ref.Namespace})
	return ns != nil && matches(selector, ns.Labels())
}

func listed(list Value, word string) bool {
	return slices.ContainsFunc(list.Items(), func(v Value) bool { return v.Str() == word || v.Str() == "*" || v.Str() == "*/*" })
}

// unanswered says why a webhook's Service cannot answer; false when it can, or nobody knows.
func (q *inquiry) unanswered(h hook) (why string, proof, seen []cite) {
	place := h.place.At("clientConfig", "service")
	if !place.Exists() {
		return "", nil, nil
	}
	ref := incident.Ref{APIVersion: "v1", Kind: "Service", Namespace: place.At("namespace").Str(), Name: place.At("name").Str()}
	named := []cite{at(place.At("namespace")), at(place.At("name"))}
	svc := q.snap.Object(ref)
	if svc == nil {
		if q.snap.Knows(ref) == Absent {
			return fmt.Sprintf("%s, which it is to ask, does not exist", ref), append(named, gone(ref)), nil
		}
		return "", nil, nil
	}
	e := q.endpointsOf(svc)
	if !e.known || e.ready > 0 {
		return "", nil, named
	}
	proof = slices.Concat(named, e.proof)
	why = fmt.Sprintf("%s, which it is to ask, has no ready endpoint", ref)
	for _, w := range q.snap.selectedWorkloads(svc) {
		if bad := q.workloadState(w); bad != nil {
			why += fmt.Sprintf(" (%s: %s)", w.ref, bad.statement)
			proof = append(proof, bad.proof...)
			break
		}
	}
	if len(e.proof) == 0 {
		proof = append(proof, at(svc.At("spec", "selector")))
	}
	return why, proof, nil
}

// WebhookUnavailable ends at a webhook that must answer before a Pod is created, and does not.
func (catalogue) WebhookUnavailable() rule {
	return rule{
		explains: []symptomKind{podsNotCreated, workloadShort},
		why: func(q *inquiry, s symptom) []answer {
			if s.kind == workloadShort {
				return silentWebhook(q, s)
			}
			_, rest, said := strings.Cut(s.text.Str(), `failed calling webhook "`)
			name, detail, closed := strings.Cut(rest, `"`)
			if !said || !closed {
				return nil
			}
			c := webhookCause(q, s, ClassWebhookUnavailable, name)
			c.last.proof = append(c.last.proof, at(s.text))
			h := q.hookNamed(name)
			switch {
			case h == nil:
				c.direct, c.depends = reported, []string{"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}
				c.last.statement = fmt.Sprintf("webhook %q must answer before a Pod is created, and does not: %s", name, quote(detail))
			case h.place.At("failurePolicy").Str() == "Ignore":
				return nil // it may fail now, so that the refusal is of the past
			default:
				c.last.statement = fmt.Sprintf("webhook %q must answer before a Pod is created (failurePolicy Fail), and does not", name)
				c.last.proof = append(c.last.proof, at(h.place.At("failurePolicy")))
				why, proof, seen := q.unanswered(*h)
				switch {
				case why != "":
					c.direct = proven
					c.last.statement += ": " + why
					c.last.proof = append(c.last.proof, proof...)
				case strings.Contains(detail, "x509:") || strings.Contains(detail, "tls:"):
					c.last.statement += ": the certificate that it shows is not the one that its configuration trusts"
					c.last.proof = append(c.last.proof, seen...)
					c.factors = append(c.factors, "The certificate of the webhook and its caBundle do not belong together, or one has expired.")
				case strings.Contains(detail, "deadline exceeded") || strings.Contains(detail, "Timeout"):
					c.last.statement += fmt.Sprintf(" in %s s", orElse(h.place.At("timeoutSeconds").Text(), "10"))
					c.last.proof = append(c.last.proof, seen...)
					if t := h.place.At("timeoutSeconds"); t.Known() {
						c.last.proof = append(c.last.proof, at(t))
					}
				default:
					c.last.statement += ": " + quote(detail)
				}
			}
			c.summary = fmt.Sprintf("%s cannot create Pods: %s.", q.owner(s.object), c.last.statement)
			return []answer{{cause: c}}
		},
	}
}

func webhookCause(q *inquiry, s symptom, class incident.CauseClass, name string) *cause {
	c := &cause{
		class: class, target: q.owner(s.object), detail: name, direct: stated, timing: timingUnrelated, elsewhere: true,
		signals: []string{"FailedCreate", "ReplicasUnavailable"}, params: map[string]string{"WEBHOOK": name},
	}
	if h := q.hookNamed(name); h != nil {
		c.target = h.config.ref
		c.last.proof = []cite{at(h.place.At("name"))}
	}
	c.last.subject = c.target
	return c
}

// silentWebhook finds the webhook behind a workload that has too few Pods when no refusal is kept: one that is asked about
// its Pods, must answer, and cannot.
func silentWebhook(q *inquiry, s symptom) []answer {
	creators := []*Object{s.object}
	for _, child := range q.snap.Children(s.subject) {
		if workloadKinds[child.ref.Kind] {
			creators = append(creators, child)
		}
	}
	for _, w := range creators {
		want := w.At("spec", "replicas").IntOr(1)
		switch w.ref.Kind {
		case "Deployment", "CronJob", "Job":
			continue
		case "DaemonSet":
			want = w.At("status", "desiredNumberScheduled").IntOr(0)
		}
		if q.refusal(w) != nil || !q.snap.Listed("Pod", w.ref.Namespace) || int64(len(q.snap.podsOf(w.ref))) >= want {
			continue
		}
		for _, h := range q.hooks() {
			if h.place.At("failurePolicy").Str() == "Ignore" || !q.seesPods(h, w) {
				continue
			}
			why, proof, _ := q.unanswered(h)
			if why == "" {
				continue
			}
			c := webhookCause(q, s, ClassWebhookUnavailable, h.name())
			c.direct = compared
			c.last.statement = fmt.Sprintf("webhook %q must answer before a Pod is created, and cannot: %s", h.name(), why)
			c.last.proof = append(append(c.last.proof, at(h.place.At("rules"))), proof...)
			c.summary = fmt.Sprintf("%s cannot create Pods: %s.", q.owner(s.object), c.last.statement)
			c.wanted = []wanted{{"the event FailedCreate of " + w.ref.String(), false}}
			return []answer{{cause: c}}
		}
	}
	return nil
}

// AdmissionDenied ends at a webhook or an admission policy that answers and refuses the Pods.
func (catalogue) AdmissionDenied() rule {
	return rule{
		explains: []symptomKind{podsNotCreated},
		why: func(q *inquiry, s symptom) []answer {
			text := s.text.Str()
			if _, rest, said := strings.Cut(text, `admission webhook "`); said {
				name, rest, closed := strings.Cut(rest, `"`)
				reason, denied := strings.CutPrefix(rest, " denied the request")
				if !closed || !denied {
					return nil
				}
				c := webhookCause(q, s, ClassAdmissionDenied, name)
				if q.hookNamed(name) == nil {
					c.direct, c.depends = reported, []string{"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}
				}
				return deniedBy(q, s, c, fmt.Sprintf("webhook %q", name), reason)
			}
			_, rest, said := strings.Cut(text, "ValidatingAdmissionPolicy '")
			name, rest, closed := strings.Cut(rest, "'")
			_, reason, denied := strings.Cut(rest, "denied request")
			if !said || !closed || !denied {
				return nil
			}
			c := webhookCause(q, s, ClassAdmissionDenied, name)
			c.params = map[string]string{}
			c.target = incident.Ref{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicy", Name: name}
			if policy := q.snap.Object(c.target); policy != nil {
				c.target = policy.ref
				c.last.proof = append(c.last.proof, at(policy.At("spec", "validations")))
			}
			return deniedBy(q, s, c, fmt.Sprintf("admission policy %q", name), reason)
		},
	}
}

func deniedBy(q *inquiry, s symptom, c *cause, who, reason string) []answer {
	c.last.subject = c.target
	c.last.statement = fmt.Sprintf("%s refuses the Pods: %s", who, quote(strings.TrimLeft(reason, ": ")))
	c.last.proof = append(c.last.proof, at(s.text))
	c.summary = fmt.Sprintf("%s cannot create Pods: %s.", q.owner(s.object), c.last.statement)
	return []answer{{cause: c}}
}
