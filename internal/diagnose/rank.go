package diagnose

import (
	"cmp"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// weakest is the confidence below which an explanation is no cause.
const weakest = 0.3

// rank merges the explanations of one cause, weighs them and orders them, the best first.
//
// What is the subject's own symptom comes before what only belongs to it; then the cause that
// accounts for more of the Pods that are missing; then the more directly proven one, then the surer
// one; then the one further upstream, which has the longer chain. Class and target break ties, so that the order is total.
// When all of a namespace or of the cluster was asked about, weight comes first.
func (q *inquiry) rank() []explanation {
	var out []explanation
	for _, e := range q.found {
		e.score = q.weigh(e)
		e.roots = []symptomKey{e.root.key()}
		merged := false
		for i := range out {
			if !sameCause(out[i].cause, e.cause) {
				continue
			}
			merged = true
			affected := out[i].affected
			if e.leaf.key() != out[i].leaf.key() {
				affected += e.affected
			} else {
				affected = max(affected, e.affected)
			}
			roots := out[i].roots
			if !slices.Contains(roots, e.root.key()) {
				roots = append(roots, e.root.key())
			}
			if better(e, out[i]) < 0 {
				out[i] = e
			}
			out[i].affected, out[i].roots = affected, roots
			break
		}
		if !merged {
			out = append(out, e)
		}
	}
	if !q.wide {
		slices.SortStableFunc(out, better)
		return out
	}
	for i := range out {
		out[i].weight = q.weight(out[i])
	}
	slices.SortStableFunc(out, func(a, b explanation) int {
		return cmp.Or(
			compareBool(a.score < weakest, b.score < weakest),
			-slices.Compare(a.weight[:], b.weight[:]),
			compareBool(a.cause.tier == fallback, b.cause.tier == fallback),
			compareBool(a.root.since.IsZero(), b.root.since.IsZero()),
			a.root.since.Compare(b.root.since), // what came first may have brought the rest
			better(a, b),
		)
	})
	return out
}

func better(a, b explanation) int {
	return cmp.Or(
		compareBool(a.related, b.related),
		compareBool(a.score < weakest, b.score < weakest),
		compareBool(a.cause.tier == fallback, b.cause.tier == fallback),
		-cmp.Compare(share(a), share(b)),
		-cmp.Compare(a.cause.direct, b.cause.direct),
		-cmp.Compare(a.score, b.score),
		-cmp.Compare(len(a.chain), len(b.chain)),
		cmp.Compare(a.cause.class, b.cause.class),
		compareRefs(a.cause.target, b.cause.target),
		cmp.Compare(a.cause.detail, b.cause.detail),
		compareRefs(a.root.subject, b.root.subject),
		strings.Compare(a.leaf.subject.Name, b.leaf.subject.Name),
	)
}

// share is the part of the first symptom that an explanation accounts for, in tenths: small
// differences in number do not outweigh certainty.
func share(e explanation) int {
	whole := max(e.root.affected, e.affected, 1)
	return 10 * e.affected / whole
}

// standing says how much of a workload still works.
type standing int

const (
	unaffected standing = iota // all that is wanted is ready
	degraded
	down
)

// impact finds the worst state among the workloads that a chain runs through.
func (q *inquiry) impact(e explanation) standing {
	worst := unaffected
	for _, l := range e.chain {
		o := q.snap.Object(l.subject)
		if o == nil {
			continue
		}
		if o.ref.Kind == "Service" && (e.root.kind == serviceEmpty || e.root.kind == serviceMisaimed) {
			return down
		}
		if o.ref.Kind == "PersistentVolumeClaim" && len(q.snap.UsersOf(o.ref)) > 0 {
			o = q.snap.UsersOf(o.ref)[0]
		}
		if o.ref.Kind == "Pod" {
			o = q.top(o)
		}
		if !workloadKinds[o.ref.Kind] {
			if o.ref.Kind == "Pod" {
				worst = max(worst, down)
			}
			continue
		}
		want, have, known := wantedPods(o)
		switch {
		case !known:
			worst = max(worst, degraded)
		case have.number == 0:
			worst = max(worst, down)
		case have.number < want.number:
			worst = max(worst, degraded)
		}
	}
	return worst
}

// severity grades a cause by its impact, not by what the signal claims: a workload that is wholly
// down is critical in production or behind a Service and high elsewhere; one that is degraded is high
// in production and medium elsewhere; one that still serves in full is low.
func (q *inquiry) severity(e explanation) incident.Severity {
	production := strings.EqualFold(q.inc.Environment, "production") || strings.EqualFold(q.inc.Environment, "prod")
	switch q.impact(e) {
	case down:
		if production || q.behindService(e) {
			return incident.SeverityCritical
		}
		return incident.SeverityHigh
	case degraded:
		if production {
			return incident.SeverityHigh
		}
		return incident.SeverityMedium
	}
	if e.cause.class == ClassNodeNotReady {
		return incident.SeverityHigh
	}
	return incident.SeverityLow
}

// behindService reports whether a Service selects a Pod or workload of the chain.
func (q *inquiry) behindService(e explanation) bool {
	for _, l := range e.chain {
		if l.subject.Kind == "Service" {
			return true
		}
		o := q.snap.Object(l.subject)
		if o == nil || (o.ref.Kind != "Pod" && !workloadKinds[o.ref.Kind]) {
			continue
		}
		labels := templateOf(o).At("metadata", "labels").StrMap()
		for _, svc := range q.snap.Kind("Service", o.ref.Namespace) {
			if sel := svc.At("spec", "selector").StrMap(); len(sel) > 0 && selects(sel, labels) {
				return true
			}
		}
	}
	return false
}
