package observe

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// maxRounds bounds how often the engine is asked what to read next. Chains across namespaces take three.
const maxRounds = 5

// readFirst reads what bears on most incidents: the namespace of the resource, or everything.
func (r *reader) readFirst(ref incident.Ref) {
	var queries []query
	add := func(q query) { queries = append(queries, q) }
	ns := ref.Namespace
	switch {
	case ref.Same(diagnose.WholeCluster):
		for _, k := range builtins {
			if !k.is(elsewhere) {
				add(query{kind: k})
			}
		}
		lease, _ := builtin("Lease")
		add(query{kind: lease, namespace: nodeLeaseNamespace})
		add(query{kind: lease, namespace: "kube-system"})
		add(query{kind: eventKind})
		r.run(append(queries, r.customIn("", "")...))
		return
	case ref.Kind == "Namespace":
		ns = ref.Name
		queries = r.customIn("", ns)
	}
	if ns != "" {
		for _, k := range builtins {
			if k.namespaced && !k.is(elsewhere) {
				if actual, ok := r.resolve(incident.Ref{Kind: k.name}); ok {
					add(query{kind: actual, namespace: ns})
				}
			}
		}
		add(query{kind: eventKind, namespace: ns})
		namespace, _ := builtin("Namespace")
		add(query{kind: namespace, name: ns})
	}
	if q, ok := r.subject(ref); ok {
		add(q)
	}
	r.run(queries)
}

// subject is the query for the incident's own resource.
func (r *reader) subject(ref incident.Ref) (query, bool) {
	gap := diagnose.Gap{Subject: ref, What: ref.String(), Kind: incident.GapFailed, Reason: "the API server does not serve this kind"}
	if _, err := schema.ParseGroupVersion(ref.APIVersion); err != nil {
		gap.Kind, gap.Reason = incident.GapNotAsked, fmt.Sprintf("apiVersion %q is malformed", ref.APIVersion)
		r.gap(gap)
		return query{}, false
	}
	k, ok := r.resolve(ref)
	if !ok {
		if ref.APIVersion == "" {
			gap.Kind, gap.Reason = incident.GapNotAsked, "kind "+ref.Kind+" is not built in, and the API server serves none of that name"
		}
		r.gap(gap)
		return query{}, false
	}
	q := query{kind: k, namespace: ref.Namespace, name: ref.Name}
	if !k.namespaced {
		q.namespace = ""
	}
	return q, true
}

// customIn returns the lists of custom resources of a group, or with "" of all groups: in one namespace, or with "" everywhere.
func (r *reader) customIn(group, namespace string) []query {
	s := r.served()
	if s == nil {
		return nil
	}
	var out []query
	for _, k := range s.custom(group) {
		if !k.namespaced && namespace != "" {
			continue
		}
		if len(out) == r.limits.MaxKinds {
			r.gap(diagnose.Gap{
				Kind: incident.GapNotAsked, Subject: incident.Ref{Kind: "CustomResourceDefinition"}, What: "further kinds of custom resources",
				Reason: fmt.Sprintf("there are more than the limit of %d", r.limits.MaxKinds),
			})
			break
		}
		out = append(out, query{kind: k, namespace: namespace})
	}
	return out
}

// readFurther lets the engine look at what was read and reads what it asks for, until it asks for nothing more. It sees the
// trees before they are redacted; nothing of its looks is kept.
func (r *reader) readFurther(inc incident.Incident) {
	for round := range maxRounds {
		need := diagnose.Needs(r.preview(), inc)
		queries := r.plan(need.Wants)
		for _, ref := range need.ConfigMaps {
			k, _ := builtin("ConfigMap")
			queries = append(queries, query{kind: k.contents(), namespace: ref.Namespace, name: ref.Name})
		}
		done := r.run(queries, r.logReads(need.Logs)...)
		if done == 0 || round == maxRounds-1 || r.ctx.Err() != nil {
			r.noteExpired(need.NoEvents)
			r.readMetrics(need.Metrics)
			return
		}
	}
}

// run makes those of the queries that were not made before, and the other reads, and returns how many that were.
func (r *reader) run(queries []query, others ...func()) int {
	reads := others
	for _, q := range queries {
		if !r.ask(q) {
			continue
		}
		if q.name != "" {
			reads = append(reads, func() { r.get(q) })
		} else {
			reads = append(reads, func() { r.list(q) })
		}
	}
	r.each(reads)
	return len(reads)
}

// ask reports whether a query is to be made: nothing that was asked before answers it, and the bound is not reached.
func (r *reader) ask(q query) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := q.question()
	wider := []question{key}
	if !key.contents || !q.kind.is(metadataOnly) {
		for _, ns := range []string{q.namespace, ""} {
			if w := (question{key.resource, ns, "", "", key.contents}); w != key && !r.cut[w] {
				wider = append(wider, w)
			}
		}
	}
	if slices.ContainsFunc(wider, func(k question) bool { return r.asked[k] }) {
		return false
	}
	r.asked[key] = true
	if len(r.asked) <= r.limits.MaxReads {
		return true
	}
	if len(r.asked) == r.limits.MaxReads+1 {
		r.gaps = append(r.gaps, diagnose.Gap{
			Kind: incident.GapNotAsked, Subject: incident.Ref{Kind: "Object"}, What: "further objects",
			Reason: fmt.Sprintf("the limit of %d reads was reached", r.limits.MaxReads),
		})
	}
	return false
}

// logReads reads those logs that were not read yet, up to the bound.
func (r *reader) logReads(needs []diagnose.LogNeed) []func() {
	var reads []func()
	for _, l := range needs {
		if r.heard[l] {
			continue
		}
		if len(r.heard) == r.limits.MaxLogs {
			if !r.deaf {
				r.deaf = true
				r.gap(diagnose.Gap{
					Kind: incident.GapNotAsked, Subject: incident.Ref{Kind: "Log"}, What: "logs of further containers",
					Reason: fmt.Sprintf("the limit of %d excerpts was reached", r.limits.MaxLogs),
				})
			}
			break
		}
		r.heard[l] = true
		reads = append(reads, func() { r.readLog(l) })
	}
	return reads
}

// noteExpired records which events are no longer kept.
func (r *reader) noteExpired(about []incident.Ref) {
	for _, ref := range about {
		if r.listedEvents(ref.Namespace) {
			r.gap(diagnose.Gap{
				Kind: incident.GapExpired, Subject: incident.Ref{Kind: "Event", Namespace: ref.Namespace, Name: ref.Name},
				What: "events about " + ref.String(), Reason: "it has been so for longer than the API server keeps events",
			})
		}
	}
}

func (r *reader) listedEvents(namespace string) bool {
	return slices.ContainsFunc(r.reads, func(read diagnose.Read) bool {
		return read.Kind == eventKind.name && (read.Namespace == namespace || read.Namespace == "") && read.Selector == ""
	})
}

// preview makes a snapshot of what was read so far, for the engine to say what to read next.
func (r *reader) preview() *diagnose.Snapshot {
	r.mu.Lock()
	for _, all := range []map[objectKey]item{r.objects, r.events} {
		for key, it := range all {
			if it.seen == nil {
				if o, err := diagnose.AdoptObject(it.tree, it.partial); err == nil {
					it.seen = o
					all[key] = it
				}
			}
		}
	}
	r.mu.Unlock()
	c, objects, events := r.contents(r.now(), "")
	build := func(items []item) []*diagnose.Object {
		out := make([]*diagnose.Object, 0, len(items))
		for _, it := range items {
			if it.seen != nil {
				out = append(out, it.seen)
			}
		}
		return out
	}
	c.Objects, c.Events = build(objects), build(events)
	return diagnose.NewSnapshot(c)
}

// contents hands out what was read.
func (r *reader) contents(now time.Time, cluster string) (c diagnose.Contents, objects, events []item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, it := range r.objects {
		objects = append(objects, it)
	}
	for _, it := range r.events {
		events = append(events, it)
	}
	return diagnose.Contents{
		ObservedAt: now, Cluster: cluster, Reads: slices.Clone(r.reads), Gaps: slices.Clone(r.gaps), Logs: slices.Clone(r.logs),
	}, objects, events
}
