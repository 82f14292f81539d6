package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// BuiltinGroup reports whether an API group belongs to Kubernetes itself or to what other detectors judge. The analyses of this
// system describe incidents and are no part of them.
func BuiltinGroup(group string) bool {
	switch group {
	case "", "apps", "batch", "autoscaling", "policy", "discovery.k8s.io", "networking.k8s.io", "storage.k8s.io", "coordination.k8s.io",
		"scheduling.k8s.io", "rbac.authorization.k8s.io", "authorization.k8s.io", "admissionregistration.k8s.io", "metrics.k8s.io", "events.k8s.io", "apiextensions.k8s.io",
		"apiregistration.k8s.io", "certificates.k8s.io", "node.k8s.io", "flowcontrol.apiserver.k8s.io", "authentication.k8s.io", "resource.k8s.io", "kubernaut.ai", gatewayAPI:
		return true
	}
	return false
}

// isCustom reports whether an object is of a kind that some controller added to the cluster.
func isCustom(o *Object) bool { return !BuiltinGroup(groupOf(o.ref.APIVersion, o.ref.Kind)) }

// goodWhenTrue and goodWhenFalse are the condition types whose meaning the API conventions and the common status readers agree on.
func goodWhenTrue(kind string) bool {
	switch kind {
	case "Ready", "Available", "Synced", "Healthy", "Succeeded", "Established", "Installed", "Deployed", "Released", "Reconciled", "ReconcileSucceeded", "Serving", "Programmed":
		return true
	}
	return false
}

func goodWhenFalse(kind string) bool {
	switch kind {
	case "Degraded", "Stalled", "Failed", "Failing", "Failure", "Error", "ReconcileError", "ReconcileFailed", "Invalid", "InvalidSpecError", "SyncError", "ComparisonError", "OperationError":
		return true
	}
	return false
}

// resourceGrace is how long a custom resource may be unready without being at fault.
const resourceGrace = 5 * time.Minute

// resourceSymptoms states that a custom resource reports that it is broken: by a condition, or by a phase that says so where
// it has none. What it said of an earlier spec does not count, and one that has just been made is given time.
func (q *inquiry) resourceSymptoms(o *Object) []symptom {
	if !isCustom(o) || isChaos(groupOf(o.ref.APIVersion, o.ref.Kind)) || o.partial || o.Deleting() || o.At("spec", "suspend").Bool() || o.At("spec", "paused").Bool() {
		return nil
	}
	if s, bad := q.badHealth(o); bad {
		return []symptom{s}
	}
	if end := o.At("status", "notAfter"); o.ref.Kind == "Certificate" && !end.Time().IsZero() && end.Time().Before(q.now) {
		return []symptom{{
			kind: resourceUnready, object: o, reason: expired, since: end.Time(), affected: 1,
			link: link{o.ref, "its certificate expired at " + end.Str(), []cite{at(end)}},
		}}
	}
	var worst Value
	for _, c := range o.At("status", "conditions").Items() {
		kind, status := c.At("type").Str(), c.At("status").Str()
		if stale(o, c) || !(goodWhenTrue(kind) && status == "False" || goodWhenFalse(kind) && status == "True") {
			continue
		}
		since := c.At("lastTransitionTime").Time()
		if goodWhenTrue(kind) && !since.IsZero() && q.now.Sub(since) < resourceGrace && c.At("reason").Str() == "Progressing" {
			continue
		}
		if !worst.Exists() || goodWhenFalse(kind) && !goodWhenFalse(worst.At("type").Str()) {
			worst = c
		}
	}
	if worst.Exists() {
		s := symptom{
			kind: resourceUnready, object: o, reason: worst.At("reason").Str(), text: worst.At("message"), since: worst.At("lastTransitionTime").Time(), affected: 1,
			link: link{o.ref, fmt.Sprintf("says that %s is %s", worst.At("type").Str(), worst.At("status").Str()), []cite{at(worst.At("status"))}},
		}
		if s.reason != "" {
			s.statement += ": " + s.reason
			s.proof = append(s.proof, at(worst.At("reason")))
		}
		if s.text.Str() != "" {
			s.statement += ", " + quote(s.text.Str())
			s.proof = append(s.proof, at(s.text))
		}
		return []symptom{s}
	}
	if o.At("status", "conditions").Len() > 0 && o.ref.Kind != "ClusterServiceVersion" {
		return nil
	}
	for _, key := range []string{"phase", "state"} {
		v := o.At("status", key)
		if word := strings.ToLower(v.Str()); slices.Contains([]string{"failed", "error", "degraded", "unhealthy", "invalid", "lost"}, word) {
			s := symptom{
				kind: resourceUnready, object: o, reason: o.At("status", "reason").Str(), text: o.At("status", "message"), affected: 1,
				link: link{o.ref, fmt.Sprintf("says that its %s is %s", key, v.Str()), []cite{at(v)}},
			}
			if s.text.Str() != "" {
				s.statement += ", " + quote(s.text.Str())
				s.proof = append(s.proof, at(s.text))
			}
			return []symptom{s}
		}
	}
	return nil
}

// badHealth reads a status that has a health and a sync result instead of conditions, as an Argo CD Application has.
func (q *inquiry) badHealth(o *Object) (symptom, bool) {
	health, phase := o.At("status", "health", "status"), o.At("status", "operationState", "phase")
	s := symptom{kind: resourceUnready, object: o, affected: 1, link: link{subject: o.ref}}
	switch {
	case phase.Str() == "Failed" || phase.Str() == "Error":
		s.text = o.At("status", "operationState", "message")
		s.statement, s.proof = "its last sync has "+strings.ToLower(phase.Str()), []cite{at(phase)}
	case health.Str() == "Degraded" || health.Str() == "Missing":
		s.text = o.At("status", "health", "message")
		s.statement, s.proof = "says that its health is "+health.Str(), []cite{at(health)}
	default:
		for _, c := range o.At("status", "conditions").Items() {
			if kind := c.At("type").Str(); health.Exists() && strings.HasSuffix(kind, "Error") && !c.At("status").Exists() {
				s.text, s.reason = c.At("message"), kind
				s.statement, s.proof = "reports "+kind, []cite{at(c.At("type"))}
				if s.text.Str() != "" {
					s.statement += ": " + quote(s.text.Str())
					s.proof = append(s.proof, at(s.text))
				}
				return s, true
			}
		}
		return s, false
	}
	if s.text.Str() != "" {
		s.statement += ": " + quote(s.text.Str())
		s.proof = append(s.proof, at(s.text))
	}
	return s, true
}

// expired is the reason of a certificate whose time is over.
const expired = "Expired"

// certificateGroup is the API group of cert-manager's resources.
const certificateGroup = "cert-manager.io"

// certificateFor returns the Certificate that makes a TLS Secret.
func (q *inquiry) certificateFor(secret incident.Ref) *Object {
	for _, o := range q.snap.custom(certificateGroup, "Certificate", secret.Namespace) {
		if o.At("spec", "secretName").Str() == secret.Name {
			return o
		}
	}
	return nil
}
