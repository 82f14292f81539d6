package diagnose

import (
	"slices"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Need is what an inquiry would read next, having seen a first snapshot.
type Need struct {
	// Logs are the containers whose logs bear on a symptom, most telling first.
	Logs []LogNeed
	// ConfigMaps are those whose contents matter.
	ConfigMaps []incident.Ref
	// Wants are what the inquiry asked for and the snapshot does not know. What is read of it may lead to further wants.
	Wants []Want
	// Metrics are the Pods of which measurements bear on a symptom.
	Metrics []incident.Ref
	// NoEvents are the objects whose symptoms are not recent and about which no event is kept.
	NoEvents []incident.Ref
}

// maxCallLogs bounds the logs of Pods that are well and may say what they cannot reach.
const maxCallLogs = 16

// LogNeed names one container's log.
type LogNeed struct {
	Pod       incident.Ref
	Container string
	Previous  bool
}

// Needs says what to read next. A collector reads what is cheap and bears on most incidents, asks, and
// reads the rest.
func Needs(snap *Snapshot, inc incident.Incident) Need {
	snap = snap.watched()
	q := newInquiry(snap, inc)
	own, related, _ := q.investigate()
	q.rank()
	var n Need
	seen := map[symptomKey]bool{}
	for _, s := range q.asked {
		if seen[s.key()] {
			continue
		}
		seen[s.key()] = true
		switch s.kind {
		case containerDying, containerNotReady:
			if s.container.lastRun().exists() {
				n.addLog(s, true)
			}
			n.addLog(s, false)
		case callFails:
			n.addLog(s, false)
		}
		for _, ref := range q.dnsNeeds(s) {
			if ref.Kind == "ConfigMap" && !slices.Contains(n.ConfigMaps, ref) {
				n.ConfigMaps = append(n.ConfigMaps, ref)
			}
		}
		if s.object == nil {
			continue
		}
		if s.container != nil && (s.kind == containerDying || s.kind == containerNotReady || s.kind == callFails) {
			q.wantAddresses(s)
			n.addMetrics(s)
		}
		if s.object.ref.Kind == "Pod" && (!s.soft || len(n.ConfigMaps) < maxCallLogs) {
			for _, r := range podReferences(s.object.At("spec")) {
				if ref := r.ref(s.object); r.kind == "ConfigMap" && snap.Knows(ref) == Present && !slices.Contains(n.ConfigMaps, ref) {
					n.ConfigMaps = append(n.ConfigMaps, ref)
				}
			}
		}
		if len(snap.EventsOf(s.object.ref)) == 0 && !s.since.IsZero() && q.now.Sub(s.since) > eventRetention {
			n.NoEvents = append(n.NoEvents, s.object.ref)
		}
	}
	if len(q.asked) == 0 { // what is asked about is well; those that call it may tell more
		q.hearCallers(slices.Concat(own, related))
	}
	for _, s := range q.quiet {
		if len(n.Logs) < maxCallLogs {
			n.addLog(s, false)
		}
	}
	if !slices.ContainsFunc(q.asked, func(s symptom) bool { return !s.soft }) {
		for _, o := range own {
			if (workloadKinds[o.ref.Kind] || o.ref.Kind == "Pod") && len(n.Logs) < 8 {
				n.Logs = append(n.Logs, q.staleLogs(o)...)
			}
		}
	}
	if inc.Resource.Kind == "Service" && q.subject != nil {
		q.wantCallers(q.subject)
	}
	n.Wants = snap.wants()
	return n
}

// wantAddresses asks for what the addresses in a failing container's configuration may mean: when one leads to no Service that was
// read, or a name is not resolved, the Services and namespaces of all the cluster.
func (q *inquiry) wantAddresses(s symptom) {
	lost := q.unresolvedName(s) != nil
	for _, d := range q.dependencies(s.object, s.container.spec) {
		if d.svc == nil && !d.loose {
			lost = q.snap.Knows(d.ref) == Absent || lost
		}
	}
	if lost && !s.soft {
		q.snap.wantKind("Service", "")
		q.snap.wantKind("Namespace", "")
	}
}

// wantCallers asks for those who call a Service from other namespaces: for all Pods, and then for the owners of those whose
// configuration names it.
func (q *inquiry) wantCallers(svc *Object) {
	if !q.snap.Listed("Pod", "") {
		return
	}
	for _, o := range q.snap.c.Objects {
		if o.ref.Kind != "Pod" || o.ref.Namespace == svc.ref.Namespace || isDone(o) {
			continue
		}
		for _, c := range o.At("spec", "containers").Items() {
			if slices.ContainsFunc(q.dependencies(o, c), func(d dependency) bool { return d.ref.Same(svc.ref) }) {
				q.snap.ownersOf(o)
			}
		}
	}
}

func (n *Need) addMetrics(s symptom) {
	if ref := (incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: s.subject.Namespace, Name: s.subject.Name}); !slices.Contains(n.Metrics, ref) {
		n.Metrics = append(n.Metrics, ref)
	}
}

func (n *Need) addLog(s symptom, previous bool) {
	need := LogNeed{incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: s.subject.Namespace, Name: s.subject.Name}, s.container.name, previous}
	if !slices.Contains(n.Logs, need) {
		n.Logs = append(n.Logs, need)
	}
}
