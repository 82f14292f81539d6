package recorded

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"
)

// saying is an event as text tells it.
type saying struct {
	kind, name         string
	namespace          string
	known              bool
	reason, typ        string
	message, component string
	fieldPath          string
	last, first        any
	count              int64
}

// eventRow reads a row of `kubectl get events` or `kubectl events`.
func (r *reader) eventRow(p *piece, w row) {
	e := saying{reason: w.get("REASON"), typ: w.get("TYPE"), message: strings.TrimSpace(w.cells["MESSAGE"]), fieldPath: w.get("SUBOBJECT"), component: w.get("SOURCE")}
	e.kind, e.name, _ = strings.Cut(w.get("OBJECT"), "/")
	if k := w.get("KIND"); k != "" { // as kubectl wrote it before 1.14
		e.kind, e.name = k, w.get("NAME")
		if i := strings.LastIndexByte(e.name, '.'); i > 0 {
			e.name = e.name[:i]
		}
	}
	e.last, e.first, e.count = parseSeen(w.cells["LAST SEEN"])
	if f, ok := w.cells["FIRST SEEN"]; ok && agoOf(f) != nil {
		e.first = agoOf(f)
	}
	if n, ok := number(w.get("COUNT")); ok {
		e.count = n
	}
	e.namespace, e.known = p.where()
	if ns := w.get("NAMESPACE"); ns != "" {
		e.namespace, e.known = ns, true
	}
	if e.kind == "" || e.name == "" || e.reason == "" {
		r.leave(p.file, w.line.n, w.line.n, "is an event that names no object")
		return
	}
	r.say(p, e, w.line)
}

// say makes a sighting of an event.
func (r *reader) say(p *piece, e saying, l line) {
	res, ok := resourceOf(e.kind)
	if !ok {
		res = resource{"", e.kind, true}
	}
	namespace, known := e.namespace, e.known
	object := map[string]any{"kind": res.kind, "name": e.name}
	if res.apiVersion != "" {
		object["apiVersion"] = res.apiVersion
	}
	if !res.namespaced {
		if namespace == "" {
			namespace = "default"
		}
		known = true
	}
	if e.fieldPath != "" {
		object["fieldPath"] = e.fieldPath
	}
	tree := map[string]any{"involvedObject": object, "reason": e.reason, "message": e.message}
	if e.typ != "" {
		tree["type"] = e.typ
	}
	if e.last != nil {
		tree["lastTimestamp"] = e.last
	}
	if e.first != nil {
		tree["firstTimestamp"] = e.first
	}
	if e.count > 0 {
		tree["count"] = e.count
	}
	if e.component != "" {
		component, host, _ := strings.Cut(e.component, ", ")
		tree["source"] = map[string]any{"component": component}
		if host != "" {
			tree["source"] = map[string]any{"component": component, "host": host}
		}
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s", res.kind, e.name, e.reason, e.message)
	s := &sighting{res: kinds["Event"], namespace: namespace, known: known, name: fmt.Sprintf("%s.%016x", e.name, h.Sum64()), tree: tree, src: Source{p.file, l.n, FormTable}}
	r.see(s)
}

var (
	describedEvent = regexp.MustCompile(`^(Normal|Warning)\s+(\S+)\s+(<\w+>|\d[0-9a-z.]*)(?: \(x(\d+) over ([^)]+)\))?(?:\s+(.*))?$`)
	listedEvent    = regexp.MustCompile(`^(?:([a-z0-9][a-z0-9-]*)\s+)?(<\w+>|\d+[smhdy][0-9a-z]*)(?: \(x(\d+) over ([^)]+)\))?\s+(Normal|Warning)\s+([A-Z]\w+)\s+([A-Za-z.]+/[a-z0-9][\w.-]*)\s+(.*)$`)
	fromAndMessage = regexp.MustCompile(`^(\S+(?:, \S+)?)\s{2,}(.*)$`)
)

// describedEvents reads the events that stand below a description.
func (r *reader) describedEvents(p *piece, about *sighting, n *node) {
	if n.key == "" {
		return
	}
	var last *saying
	var at line
	flush := func() {
		if last != nil {
			r.say(p, *last, at)
		}
		last = nil
	}
	var walk func(n *node)
	walk = func(n *node) {
		for _, k := range n.kids {
			text := strings.TrimSpace(strings.ReplaceAll(k.line.text, "\t", "  "))
			m := describedEvent.FindStringSubmatch(text)
			switch {
			case m != nil:
				flush()
				e := saying{kind: about.res.kind, name: about.name, namespace: about.namespace, known: about.known, typ: m[1], reason: m[2], count: 1}
				e.last, e.first = agoOf(m[3]), agoOf(m[3])
				if m[4] != "" {
					e.count, _ = number(m[4])
					e.first = agoOf(m[5])
				}
				e.message = m[6]
				if f := fromAndMessage.FindStringSubmatch(m[6]); f != nil {
					e.component, e.message = f[1], strings.TrimSpace(f[2])
				}
				last, at = &e, k.line
			case strings.HasPrefix(text, "Type ") || strings.HasPrefix(text, "----"):
			case last != nil:
				last.message += "\n" + text
			}
			walk(k)
		}
	}
	walk(n)
	flush()
}

// eventLines reads events without a header.
func (r *reader) eventLines(p *piece, lines []line) int {
	n := 0
	for n < len(lines) {
		text := strings.TrimSpace(strings.ReplaceAll(lines[n].text, "\t", "  "))
		m := listedEvent.FindStringSubmatch(text)
		if m == nil {
			break
		}
		e := saying{typ: m[5], reason: m[6], message: strings.TrimSpace(m[8]), count: 1}
		e.kind, e.name, _ = strings.Cut(m[7], "/")
		e.last, e.first = agoOf(m[2]), agoOf(m[2])
		if m[3] != "" {
			e.count, _ = number(m[3])
			e.first = agoOf(m[4])
		}
		e.namespace, e.known = p.where()
		if m[1] != "" {
			e.namespace, e.known = m[1], true
		}
		r.say(p, e, lines[n])
		n++
	}
	return n
}
