package diagnose

import (
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Pointer returns the value at an RFC 6901 JSON pointer. Where that selects nothing, the Value is absent and
// says where it would be.
func (o *Object) Pointer(path string) Value {
	raw, ok := resolve(o.tree, path)
	return Value{object: o, path: path, raw: raw, ok: ok}
}

// Of returns the object that the value is a place of; nil for the zero Value.
func (v Value) Of() *Object { return v.object }

// Cite returns what proves that the value stands where it does, or, where nothing stands, that nothing
// does. It has no id. It is false when it was not read what stands there: then there is nothing to cite.
func (s *Snapshot) Cite(v Value) (incident.Evidence, bool) {
	if v.object == nil {
		return incident.Evidence{}, false
	}
	c := at(v)
	return s.evidence(c), !c.unread
}

// CiteLine returns what proves that an excerpt has the line.
func (s *Snapshot) CiteLine(l *Log, line int) incident.Evidence { return s.evidence(logLine(l, line)) }

// CiteAbsence returns what proves that an object was asked for and is not there; false when that is not
// known.
func (s *Snapshot) CiteAbsence(ref incident.Ref) (incident.Evidence, bool) {
	return s.evidence(gone(ref)), s.Knows(ref) == Absent
}

func (s *Snapshot) evidence(c cite) incident.Evidence {
	return incident.Evidence{
		Kind: c.kind, Ref: c.ref, ResourceVersion: c.resourceVersion, Path: c.path, Value: c.value,
		Absent: c.absent, ObservedAt: s.ObservedAt(), SHA256: incident.HashValue(c.value),
	}
}

// Recorded reports whether a piece of evidence is what a component recorded in a field that it keeps, or an
// absence, and not text that somebody wrote: a log line, a message, an annotation, a value of a ConfigMap
// or of an environment variable, a command.
func Recorded(e incident.Evidence) bool {
	if e.Absent {
		return true
	}
	if e.Kind != incident.EvidenceObject && e.Kind != incident.EvidenceMetric {
		return false
	}
	if e.Ref.Kind == "ConfigMap" || e.Ref.Kind == "Secret" || strings.HasPrefix(e.Value, "{") || strings.HasPrefix(e.Value, "[") {
		return e.Path == "/metadata/name"
	}
	if strings.ContainsFunc(e.Value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return false
	}
	for token := range strings.SplitSeq(e.Path, "/") {
		switch token {
		case "annotations", "message", "note", "args", "command", "env", "description", "value", "data", "stringData", "labels":
			return false
		}
	}
	return true
}
