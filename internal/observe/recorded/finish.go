package recorded

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe"
)

// finish merges all sightings into a snapshot.
func (r *reader) finish() *Recording {
	r.ownLoose()
	main := r.mainNamespace()
	r.place(main)
	now, anchored := r.anchor() // an object's birth and its age may be known from texts of which one names no namespace
	out := &Recording{Anchored: anchored, sources: map[incident.Ref][]placed{}}
	merged := r.merge(out)
	r.complete(merged)
	events := r.mergeEvents(now, out)

	c := diagnose.Contents{ObservedAt: now, Cluster: r.o.Cluster, Gaps: r.gaps, Reads: r.allReads(main), Logs: r.allLogs(merged, main, out)}
	var objects []observe.Part
	tables := map[incident.Ref]bool{}
	for _, k := range slices.SortedFunc(maps.Keys(merged), compareKeys) {
		s := merged[k]
		identify(s)
		settle(s.tree, now)
		objects = append(objects, observe.Part{Tree: s.tree, Partial: s.partial, Fields: s.fields})
		if s.fields != nil && s.src.Form <= FormTable {
			tables[incident.Ref{Kind: k.kind, Namespace: k.namespace}] = true
		}
	}
	for ref := range tables {
		what := ref.Kind + " objects beyond what a table prints"
		if ref.Namespace != "" {
			what += ", in namespace " + ref.Namespace
		}
		c.Gaps = append(c.Gaps, diagnose.Gap{Kind: incident.GapNotAsked, Subject: ref, What: what, Reason: "only tables of them were recorded"})
	}
	c.Redactions = r.redactions
	out.Snapshot = observe.Seal(c, objects, events)
	slices.SortFunc(r.leftover, func(a, b Leftover) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Reason, b.Reason))
	})
	out.Leftover = r.leftover
	return out
}

// identify writes into the tree what identifies the object.
func identify(s *sighting) {
	if s.tree["kind"] == nil {
		s.tree["kind"] = s.res.kind
	}
	if s.tree["apiVersion"] == nil && s.res.apiVersion != "" {
		s.tree["apiVersion"] = s.res.apiVersion
	}
	set(s.tree, s.name, "metadata", "name")
	if s.namespace != "" {
		set(s.tree, s.namespace, "metadata", "namespace")
	}
}

// systemNamespaces are never those that an incident's text forgot to name.
func systemNamespace(ns string) bool {
	return ns == "" || ns == "default" || strings.HasPrefix(ns, "kube-") || strings.HasPrefix(ns, "openshift-")
}

// mainNamespace is that of text which names none.
func (r *reader) mainNamespace() string {
	if r.o.Namespace != "" {
		return r.o.Namespace
	}
	best := ""
	for _, ns := range slices.Sorted(maps.Keys(r.hints)) {
		if !systemNamespace(ns) && r.hints[ns] > 0 && (best == "" || r.hints[ns] > r.hints[best]) {
			best = ns
		}
	}
	return cmp.Or(best, "default")
}

type nameKey struct{ kind, name string }

// place gives every sighting a namespace: that of the same name elsewhere, or the main one.
func (r *reader) place(main string) {
	known := map[nameKey]string{}
	for _, list := range [][]*sighting{r.objects, r.events} {
		for _, s := range list {
			if !s.known || s.namespace == "" {
				continue
			}
			k := nameKey{s.res.kind, s.name}
			if have, ok := known[k]; ok && have != s.namespace {
				known[k] = "" // in several
				continue
			}
			known[k] = s.namespace
		}
	}
	for _, list := range [][]*sighting{r.objects, r.events} {
		for _, s := range list {
			if s.known {
				continue
			}
			s.known = true
			object, _ := s.tree["involvedObject"].(map[string]any)
			k := nameKey{s.res.kind, s.name}
			if object != nil {
				kind, _ := object["kind"].(string)
				name, _ := object["name"].(string)
				k = nameKey{kind, name}
			}
			s.namespace = cmp.Or(known[k], main)
		}
	}
	for _, s := range r.events {
		object, _ := s.tree["involvedObject"].(map[string]any)
		kind, _ := object["kind"].(string)
		if object == nil || object["namespace"] != nil {
			continue
		}
		if res, ok := kinds[kind]; !ok || res.namespaced {
			object["namespace"] = s.namespace
		}
	}
}

// key identifies a merged object.
type key struct{ group, kind, namespace, name string }

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.group, b.group), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
}

func (s *sighting) key() key { return key{groupOf(s.res.apiVersion), s.res.kind, s.namespace, s.name} }

// merge puts the sightings of one object together, the strongest first.
func (r *reader) merge(out *Recording) map[key]*sighting {
	groups := map[key][]*sighting{}
	for _, s := range r.objects {
		groups[s.key()] = append(groups[s.key()], s)
	}
	merged := make(map[key]*sighting, len(groups))
	for k, g := range groups {
		if len(g) > 1 {
			sortSightings(g)
		}
		base := g[0]
		ref := incident.Ref{Kind: k.kind, Namespace: k.namespace, Name: k.name}
		places := []placed{{"", base.src}}
		for p, n := range base.lines {
			places = append(places, placed{p, Source{base.src.File, n, base.src.Form}})
		}
		for _, other := range g[1:] {
			if base.fields == nil && !base.partial {
				break
			}
			m := merger{base: base, other: other, whole: other.fields == nil && !other.partial}
			m.fill("", base.tree, other.tree)
			for _, p := range m.taken {
				n := other.src.Line
				if line, ok := other.lines[p]; ok {
					n = line
				}
				places = append(places, placed{p, Source{other.src.File, n, other.src.Form}})
			}
			base.absorb(other, m.whole)
		}
		out.sources[ref] = append(out.sources[ref], places...)
		merged[k] = base
	}
	for ref := range out.sources {
		slices.SortFunc(out.sources[ref], func(a, b placed) int {
			return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.src.File, b.src.File), cmp.Compare(a.src.Line, b.src.Line))
		})
	}
	return merged
}

// absorb takes over what the other sighting knows.
func (s *sighting) absorb(other *sighting, whole bool) {
	switch {
	case whole:
		s.fields = nil
	case s.fields != nil:
		s.fields = append(slices.Clip(s.fields), other.fields...)
	}
	if s.pod == nil {
		s.pod = other.pod
	}
	s.age = max(s.age, other.age)
}

// sortSightings orders them by strength and then by time. What decides a tie is in the sightings, never their order.
func sortSightings(g []*sighting) {
	texts := map[*sighting]string{}
	text := func(s *sighting) string {
		if t, ok := texts[s]; ok {
			return t
		}
		b, _ := json.Marshal(s.tree)
		texts[s] = string(b)
		return texts[s]
	}
	slices.SortFunc(g, func(a, b *sighting) int {
		return cmp.Or(-cmp.Compare(a.src.Form, b.src.Form), -cmp.Compare(version(a), version(b)), -cmp.Compare(a.age, b.age), -cmp.Compare(len(a.fields), len(b.fields)),
			-cmp.Compare(restarts(a), restarts(b)), cmp.Compare(text(a), text(b)), cmp.Compare(a.src.File, b.src.File), cmp.Compare(a.src.Line, b.src.Line))
	})
}

// version is the resource version as a number, 0 when there is none.
func version(s *sighting) int64 {
	meta, _ := s.tree["metadata"].(map[string]any)
	text, _ := meta["resourceVersion"].(string)
	n, _ := number(text)
	return n
}

func restarts(s *sighting) int64 {
	if s.pod != nil {
		return s.pod.restarts
	}
	var total int64
	status, _ := s.tree["status"].(map[string]any)
	list, _ := status["containerStatuses"].([]any)
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			switch n := m["restartCount"].(type) {
			case int64:
				total += n
			case json.Number:
				v, _ := n.Int64()
				total += v
			}
		}
	}
	return total
}

// merger fills one tree from another.
type merger struct {
	base, other *sighting
	whole       bool
	taken       []string
}

// known reports whether the base says all that there is below a path.
func (m *merger) known(path string) bool {
	for _, f := range m.base.fields {
		if path == f || strings.HasPrefix(path, f+"/") {
			return true
		}
	}
	return false
}

func (m *merger) fill(path string, into, from map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(from)) {
		p := path + "/" + strings.ReplaceAll(strings.ReplaceAll(k, "~", "~0"), "/", "~1")
		have, ok := into[k]
		if !ok {
			if !m.known(p) {
				into[k] = from[k]
				m.taken = append(m.taken, p)
			}
			continue
		}
		switch v := from[k].(type) {
		case map[string]any:
			if h, ok := have.(map[string]any); ok {
				m.fill(p, h, v)
			}
		case []any:
			if h, ok := have.([]any); ok {
				into[k] = m.fillList(p, h, v)
			}
		}
	}
}

// fillList fills the entries of a list that have a name or a type.
func (m *merger) fillList(path string, into, from []any) []any {
	id := func(e any) string {
		v, _ := e.(map[string]any)
		for _, k := range []string{"name", "type", "key", "port"} {
			if s, ok := v[k].(string); ok && s != "" {
				return k + "=" + s
			}
		}
		return ""
	}
	index := map[string]map[string]any{}
	for _, e := range into {
		if v, ok := e.(map[string]any); ok && id(e) != "" {
			index[id(e)] = v
		}
	}
	for _, e := range from {
		v, ok := e.(map[string]any)
		if !ok || id(e) == "" {
			return into
		}
		if have := index[id(e)]; have != nil {
			m.fill(path+"/*", have, v)
		} else if !m.known(path) {
			into = append(into, v)
		}
	}
	return into
}

// mergeEvents puts together what several texts say about one event; what was read as an object stands.
func (r *reader) mergeEvents(now time.Time, out *Recording) []observe.Part {
	type eventKey struct{ kind, namespace, name, reason, message string }
	of := func(s *sighting) eventKey {
		object, _ := s.tree["involvedObject"].(map[string]any)
		if object == nil {
			object, _ = s.tree["regarding"].(map[string]any)
		}
		str := func(m map[string]any, k string) string { v, _ := m[k].(string); return v }
		message := cmp.Or(str(s.tree, "message"), str(s.tree, "note"))
		return eventKey{str(object, "kind"), cmp.Or(str(object, "namespace"), s.namespace), str(object, "name"), str(s.tree, "reason"), strings.Join(strings.Fields(message), " ")}
	}
	slices.SortStableFunc(r.events, func(a, b *sighting) int {
		return cmp.Or(-cmp.Compare(a.src.Form, b.src.Form), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name), cmp.Compare(a.src.File, b.src.File), cmp.Compare(a.src.Line, b.src.Line))
	})
	said := map[eventKey]*sighting{}
	var list []*sighting
	for _, s := range r.events {
		k := of(s)
		have := said[k]
		if have == nil || s.src.Form >= FormDocument {
			said[k] = s
			list = append(list, s)
			continue
		}
		if have.src.Form >= FormDocument {
			continue
		}
		for _, field := range []string{"lastTimestamp", "firstTimestamp"} {
			a, isA := have.tree[field].(ago)
			b, isB := s.tree[field].(ago)
			if isB && (!isA || (field == "lastTimestamp") == (b < a)) {
				have.tree[field] = b
			}
		}
		for _, k := range slices.Sorted(maps.Keys(s.tree)) {
			if have.tree[k] == nil {
				have.tree[k] = s.tree[k]
			}
		}
		if a, b := have.tree["involvedObject"].(map[string]any), s.tree["involvedObject"].(map[string]any); a["fieldPath"] == nil && b["fieldPath"] != nil {
			a["fieldPath"] = b["fieldPath"]
		}
		if a, _ := have.tree["count"].(int64); a < asInt(s.tree["count"]) {
			have.tree["count"] = s.tree["count"]
		}
	}
	var parts []observe.Part
	for _, s := range list {
		identify(s)
		settle(s.tree, now)
		ref := incident.Ref{Kind: "Event", Namespace: s.namespace, Name: s.name}
		out.sources[ref] = append(out.sources[ref], placed{"", s.src})
		parts = append(parts, observe.Part{Tree: s.tree, Partial: s.partial})
	}
	return parts
}

func asInt(v any) int64 { n, _ := v.(int64); return n }

// allReads puts the reads into namespaces, each once.
func (r *reader) allReads(main string) []diagnose.Read {
	seen := map[diagnose.Read]bool{}
	var out []diagnose.Read
	add := func(read diagnose.Read) {
		if !seen[read] {
			seen[read] = true
			out = append(out, read)
		}
	}
	for _, read := range r.reads {
		if read.Name != "" && read.Namespace == "" && kinds[read.Kind].namespaced {
			read.Namespace = main
		}
		add(read)
	}
	for _, read := range r.pending {
		read.Namespace = main
		add(*read)
	}
	return out
}

func cloneMap(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = cloneValue(v)
	}
	return out
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return cloneMap(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = cloneValue(e)
		}
		return out
	}
	return v
}
