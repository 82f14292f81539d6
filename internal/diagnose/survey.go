package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// checkCreation is the name of the check that needs events.
const checkCreation = "controllers can create their Pods"

// survey lists the checks that were made, and sets aside what was seen around the subject and has no
// effect on it.
func (q *inquiry) survey(own, related []*Object, roots []root) {
	failed := map[symptomKind]int{}
	for _, r := range roots {
		failed[r.kind]++
	}
	for _, e := range q.found {
		failed[e.leaf.kind]++
	}
	for _, s := range q.open {
		failed[s.kind]++
	}
	ns := q.inc.Resource.Namespace
	check := func(name string, known bool, detail string, kinds ...symptomKind) {
		c := Check{Name: name, Outcome: CheckPassed, Detail: detail}
		for _, k := range kinds {
			if failed[k] > 0 {
				c.Outcome, c.Detail = CheckFailed, ""
			}
		}
		if c.Outcome == CheckPassed && !known {
			c.Outcome, c.Detail = CheckUnknown, "what this needs could not be read"
		}
		q.checks = append(q.checks, c)
	}
	scope := slices.Concat(own, related)
	pods := q.podsIn(scope)
	hasPods := slices.ContainsFunc(scope, func(o *Object) bool { return o.ref.Kind == "Pod" || workloadKinds[o.ref.Kind] })
	podsKnown := len(pods) > 0 || q.snap.Listed("Pod", ns)
	switch {
	case q.inc.Resource.Same(WholeCluster): // exists by itself
	case q.snap.Knows(q.inc.Resource) != Unknown || q.subject != nil:
		check("the resource exists", true, "", resourceGone)
	default:
		check("the resource exists", false, "")
	}
	if slices.ContainsFunc(scope, func(o *Object) bool { return workloadKinds[o.ref.Kind] }) {
		check("workloads have the ready Pods that they want", true, "", workloadShort, workloadZero)
		check(checkCreation, q.eventsKnown(ns), "", podsNotCreated)
	}
	if hasPods {
		check("Pods are assigned to nodes", podsKnown, count(len(pods), "Pod"), podUnscheduled)
		check("images, configuration and volumes of the Pods are there", podsKnown, "", imageNotPulled, containerConfig, podNotStarting)
		check("containers keep running", podsKnown, "", containerDying, podFailed)
		check("containers are ready", podsKnown, "", containerNotReady)
		check("what the containers say that they call can be reached", podsKnown, "", callFails)
		nodes := map[string]bool{}
		known := true
		for _, p := range pods {
			if n := p.At("spec", "nodeName").Str(); n != "" {
				nodes[n] = true
				known = known && q.nodeOf(p) != nil
			}
		}
		check("nodes of the Pods report", known, count(len(nodes), "node"), podStranded, nodeUnready)
	}
	services := 0
	for _, o := range scope {
		if o.ref.Kind == "Service" {
			services++
		}
	}
	if hasPods || services > 0 {
		check("Services of the workload have ready endpoints", q.snap.Listed("Service", ns) || services > 0, count(services, "Service"), serviceEmpty, serviceMisaimed, serviceMixed)
	}
	if slices.ContainsFunc(scope, func(o *Object) bool { return o.ref.Kind == "PersistentVolumeClaim" }) || len(q.claimsOf(pods)) > 0 {
		check("claims are bound", true, "", claimUnbound)
	}
	if slices.ContainsFunc(own, func(o *Object) bool { return o.ref.Kind == "Node" }) {
		check("the node reports and is ready", true, "", nodeUnready)
	}
	q.oldWarnings(scope, pods)
}

// podsIn returns the Pods of the objects in scope.
func (q *inquiry) podsIn(scope []*Object) []*Object {
	var out []*Object
	seen := map[*Object]bool{}
	add := func(p *Object) {
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	for _, o := range scope {
		if o.ref.Kind == "Pod" {
			add(o)
		} else if workloadKinds[o.ref.Kind] {
			for _, p := range q.snap.podsOf(o.ref) {
				add(p)
			}
		}
	}
	return out
}

func (q *inquiry) claimsOf(pods []*Object) []incident.Ref {
	var out []incident.Ref
	for _, p := range pods {
		for _, r := range podReferences(p.At("spec")) {
			if r.kind == "PersistentVolumeClaim" && !slices.Contains(out, r.ref(p)) {
				out = append(out, r.ref(p))
			}
		}
	}
	return out
}

// eventsKnown reports whether the events of a namespace were read in full.
func (q *inquiry) eventsKnown(ns string) bool {
	for _, g := range q.snap.c.Gaps {
		if g.Subject.Kind == "Event" && (g.Subject.Namespace == "" || g.Subject.Namespace == ns) {
			return false
		}
	}
	return q.snap.Listed("Event", ns)
}

// oldWarnings sets aside warnings about objects in scope that no chain uses: their effect is over,
// or they never had one.
func (q *inquiry) oldWarnings(scope, pods []*Object) {
	used := map[incident.Ref]bool{}
	for _, e := range q.found {
		for _, l := range e.chain {
			for _, c := range l.proof {
				used[c.ref] = true
			}
			used[l.subject] = true
		}
	}
	for _, s := range q.open {
		used[s.subject] = true
	}
	for _, o := range scope {
		for _, child := range append(q.snap.Children(o.ref), o) {
			if workloadKinds[child.ref.Kind] {
				q.refusal(child) // sets aside what was overcome
			}
		}
	}
	for _, o := range slices.Concat(scope, pods) {
		if used[o.ref] || q.ailing[o.ref] {
			continue
		}
		events := q.snap.EventsOf(o.ref)
		for _, ev := range slices.Backward(events) {
			if ev.At("type").Str() != "Warning" || used[ev.ref] {
				continue
			}
			q.setAside("warning/"+o.ref.String()+"/"+ev.At("reason").Str(), note{
				subject:   o.ref,
				statement: fmt.Sprintf("warning %s at %s: %s", ev.At("reason").Str(), clock(lastSeen(ev)), quote(eventText(ev).Str())),
				reason:    "history: the object shows no effect of it now",
				proof:     []cite{event(ev)},
			})
		}
	}
}

// readNext says what would decide, or make surer.
func (q *inquiry) readNext(v Verdict, primary *explanation, open []symptom) []string {
	var out []string
	add := func(s string) {
		if !slices.Contains(out, s) && len(out) < 8 {
			out = append(out, s)
		}
	}
	if v == VerdictCause {
		for _, w := range primary.cause.wanted {
			if !w.have {
				add(w.what)
			}
		}
		return out
	}
	if v == VerdictHealthy {
		return nil
	}
	for key := range q.noted {
		if strings.HasPrefix(key, "starting/") {
			add("the same again in a minute: a container has only just started")
		}
	}
	for _, s := range open {
		ref := s.subject
		switch s.kind {
		case resourceGone:
			add("the API server's audit log, for who deleted " + ref.String())
		case podUnscheduled:
			add("the scheduler: whether kube-scheduler runs, and its log; it left no reason on " + ref.String())
		case podNotStarting:
			add("kubelet and container runtime logs of the node of " + ref.String())
		case containerDying, podFailed:
			add("the previous logs of " + ref.String())
		case containerNotReady:
			add("the readiness probe of " + ref.String() + ": its events, and the container's log")
		case workloadShort, podsNotCreated:
			add("events about " + ref.String() + " and its ReplicaSets, and whether the controller manager runs")
		case serviceEmpty, serviceMisaimed:
			add("the EndpointSlices of " + ref.String())
		case claimUnbound:
			add("events about " + ref.String() + " and the log of its provisioner")
		case nodeUnready, podStranded:
			add("the kubelet's journal on " + ref.String())
		}
	}
	for _, g := range q.snap.c.Gaps {
		add(g.What + " (" + string(g.Kind) + ")")
	}
	if len(out) == 0 {
		add(q.inc.Resource.String() + " itself: it could not be read")
	}
	return out
}
