package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Bounds of a result.
const (
	maxOthers = 10
	maxNotes  = 20
	maxLinks  = 12
)

// Run diagnoses an incident on a snapshot. It is a pure function: equal arguments give results
// whose JSON is equal byte for byte. It never fails; what cannot be decided is a verdict too.
func Run(snap *Snapshot, inc incident.Incident) Result {
	q := newInquiry(snap, inc)
	own, related, roots := q.investigate()
	ranked := q.rank()
	q.survey(own, related, roots)

	w := &writer{q: q, ledger: newLedger(snap)}
	return w.write(roots, ranked, own)
}

// writer turns what an inquiry found into a Result, giving out evidence ids in reading order.
type writer struct {
	q      *inquiry
	ledger *ledger
}

func (w *writer) write(roots []root, ranked []explanation, own []*Object) Result {
	q := w.q
	r := Result{Subject: q.inc.Resource, OwnerChain: q.owners, Checks: q.checks}
	if q.subject != nil {
		r.Subject = q.subject.ref
	}
	open := q.unexplained()
	var primary *explanation
	if len(ranked) > 0 && ranked[0].score >= weakest && !w.beside(ranked[0], open) {
		primary = &ranked[0]
	}
	switch {
	case primary != nil:
		r.Verdict = VerdictCause
		c := w.cause(*primary)
		r.Cause = &c
		r.Confidence = c.Confidence
		r.Since = firstSign(primary.root, primary.leaf)
		r.Summary = c.Summary
		r.TargetInOwnerChain = TargetInOwnerChain(q.snap, r.Subject, c.Target) || q.ownedBy(c.Target) || primary.distant || primary.cause.elsewhere || q.wide
		ranked = ranked[1:]
	case len(open) > 0 || q.blind(own):
		r.Verdict = VerdictUndecidable
		r.Since = firstSign(open...)
	default:
		r.Verdict = VerdictHealthy
		r.Confidence = healthyConfidence(q.checks)
		r.TargetInOwnerChain = true
	}
	for _, e := range ranked {
		if len(r.Others) == maxOthers {
			break
		}
		if e.score >= weakest && (primary == nil || !w.accountedFor(*primary, e)) {
			r.Others = append(r.Others, w.cause(e))
		}
	}
	for _, root := range roots {
		if len(r.Symptoms) == maxLinks {
			break
		}
		if !root.related || r.Verdict != VerdictHealthy {
			r.Symptoms = append(r.Symptoms, w.link(root.link))
		}
	}
	for i, n := range q.notes {
		if i == maxNotes {
			break
		}
		r.Noise = append(r.Noise, Note{Subject: n.subject, Statement: worded(n.statement), Reason: n.reason, Evidence: w.ledger.enter(n.proof)})
	}
	r.Gaps = w.gaps(r.Verdict, primary)
	r.ReadNext = q.readNext(r.Verdict, primary, open)
	switch r.Verdict {
	case VerdictHealthy:
		r.Summary = w.healthySummary(r)
	case VerdictUndecidable:
		r.Summary = w.undecidedSummary(r, open)
	}
	r.Summary = worded(r.Summary)
	r.Evidence = w.ledger.list
	return r
}

// worded says "its container" of one whose name was not recorded, as in a table of Pods.
func worded(text string) string { return strings.ReplaceAll(text, `container ""`, "its container") }

// firstSign is the earliest time at which one of the symptoms is known to have begun.
func firstSign(symptoms ...symptom) time.Time {
	var first time.Time
	for _, s := range symptoms {
		if !s.since.IsZero() && (first.IsZero() || s.since.Before(first)) {
			first = s.since
		}
	}
	return first.UTC()
}

// beside reports whether an explanation is of something that merely belongs to the subject while
// the subject's own symptom has none: then the verdict must not be that explanation.
func (w *writer) beside(e explanation, open []symptom) bool {
	if !e.related {
		return false
	}
	for _, s := range open {
		if w.q.subject != nil && s.subject.Same(w.q.subject.ref) {
			return true
		}
	}
	return false
}

// accountedFor reports whether the primary cause leaves nothing for e to explain: both answer the
// same symptom, so that e is a rival that lost and no second problem.
func (w *writer) accountedFor(primary, e explanation) bool {
	return primary.leaf.key() == e.leaf.key() && len(primary.rivals) == 0
}

func (w *writer) link(l link) incident.Link {
	return incident.Link{Subject: l.subject, Statement: worded(l.statement), Evidence: w.ledger.enter(l.proof)}
}

func (w *writer) cause(e explanation) incident.Cause {
	q := w.q
	c := incident.Cause{
		Class: e.cause.class, Target: e.cause.target, Summary: worded(e.cause.summary), Severity: q.severity(e),
		SignalTypes: e.cause.signals, Confidence: e.score, Factors: slices.Clone(e.cause.factors), Parameters: q.parameters(e),
	}
	for _, l := range shorten(e.chain) {
		c.Chain = append(c.Chain, w.link(l))
	}
	for _, rival := range e.rivals {
		c.Factors = append(c.Factors, "Also possible: "+rival.summary)
	}
	return c
}

// shorten keeps the two ends of a chain that is too long.
func shorten(chain []link) []link {
	if len(chain) <= maxLinks {
		return chain
	}
	return append(slices.Clone(chain[:maxLinks/2]), chain[len(chain)-maxLinks/2:]...)
}

// unexplained returns the symptoms for which there is no answer, each once.
func (q *inquiry) unexplained() []symptom {
	var out []symptom
	seen := map[symptomKey]bool{}
	for _, s := range q.open {
		if !seen[s.key()] {
			seen[s.key()] = true
			out = append(out, s)
		}
	}
	return out
}

// blind reports whether too little was read for "nothing is wrong" to mean anything: the subject
// itself is unknown, or its Pods are.
func (q *inquiry) blind(own []*Object) bool {
	if q.wide {
		return q.blindAll(own)
	}
	if len(own) == 0 {
		return q.subject == nil
	}
	for _, o := range own {
		if o.partial || !q.seen(o) {
			return true
		}
		if workloadKinds[o.ref.Kind] && !o.At("status").Exists() && !q.snap.Listed("Pod", o.ref.Namespace) {
			return true
		}
	}
	return false
}

// vital are the fields without which it cannot be said that an object is well.
var vital = map[string][]string{
	"Pod":                   {"/spec/nodeName", "/spec/containers", "/status/containerStatuses"},
	"Service":               {"/spec/selector", "/spec/ports"},
	"Node":                  {"/status/conditions"},
	"PersistentVolumeClaim": {"/status/phase"},
	"Deployment":            {"/spec/replicas"}, "ReplicaSet": {"/spec/replicas"}, "StatefulSet": {"/spec/replicas"},
	"DaemonSet": {}, "Job": {}, "CronJob": {"/spec/schedule"}, "ConfigMap": {"/data"}, "Secret": {}, "ServiceAccount": {}, "Namespace": {}, "StorageClass": {},
}

// seen reports whether enough of an object, and of the Pods below it, was read to say that it is well.
func (q *inquiry) seen(o *Object) bool {
	if o.fields != nil {
		paths, known := vital[o.ref.Kind]
		if !known {
			paths = []string{"/spec"}
		}
		for _, path := range paths {
			if !o.Covers(path) {
				return false
			}
		}
	}
	return o.ref.Kind == "Pod" || !slices.ContainsFunc(q.snap.podsOf(o.ref), func(p *Object) bool { return !q.seen(p) })
}

// gaps marks what the missing readings could have changed.
func (w *writer) gaps(v Verdict, primary *explanation) []incident.Gap {
	var out []incident.Gap
	for _, g := range w.q.snap.c.Gaps {
		touches := v != VerdictCause
		if primary != nil {
			touches = w.q.touches(g, *primary)
		}
		out = append(out, incident.Gap{Kind: g.Kind, What: g.What, Reason: g.Reason, TouchesCause: touches})
	}
	return out
}

func (w *writer) healthySummary(r Result) string {
	q := w.q
	if q.subject == nil && len(r.OwnerChain) > 0 {
		return fmt.Sprintf("Nothing is wrong now: %s no longer exists, and %s, which it belonged to, is as it should be.", r.Subject, r.OwnerChain[len(r.OwnerChain)-1])
	}
	s := "Nothing is wrong now with " + named(r.Subject)
	passed := 0
	for _, c := range r.Checks {
		if c.Outcome == CheckPassed {
			passed++
		}
	}
	s += fmt.Sprintf(": %s passed", count(passed, "check"))
	if unknown := len(r.Checks) - passed; unknown > 0 {
		s += fmt.Sprintf(", %d could not be made", unknown)
	}
	if len(q.notes) > 0 {
		s += "; " + count(len(q.notes), "finding") + " set aside as history or unrelated"
	}
	return s + "."
}

// named writes what was asked about, for a sentence.
func named(r incident.Ref) string {
	if r.Same(WholeCluster) {
		return "the cluster"
	}
	return r.String()
}

func (w *writer) undecidedSummary(r Result, open []symptom) string {
	if len(open) == 0 {
		return fmt.Sprintf("Not decidable from what could be read: %s could not be looked at.", named(r.Subject))
	}
	var parts []string
	for i, s := range open {
		if i == 3 {
			parts = append(parts, fmt.Sprintf("%d more", len(open)-3))
			break
		}
		parts = append(parts, fmt.Sprintf("%s: %s", s.subject, s.statement))
	}
	return "Not decidable from what could be read; seen, and not explained: " + strings.Join(parts, "; ") + "."
}
