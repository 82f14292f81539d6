package diagnose

import (
	"strings"
	"time"
)

// changedAt is when, and by whom, an object's content was last written, as its managedFields say. The entries keep
// each manager's last write only, and those of subresources are not the content's.
type changedAt struct {
	time    time.Time
	manager string
	place   Value // the entry's time
}

// lastChange returns the latest write of an object's content; false when none is recorded.
func lastChange(o *Object) (changedAt, bool) {
	var out changedAt
	for _, e := range o.At("metadata", "managedFields").Items() {
		t := e.At("time").Time()
		if e.At("subresource").Str() != "" || t.IsZero() || !writesContent(e) {
			continue
		}
		if t.After(out.time) {
			out = changedAt{t, e.At("manager").Str(), e.At("time")}
		}
	}
	return out, !out.time.IsZero()
}

// writesContent reports whether a managedFields entry owns more than metadata. An entry that does not say what it owns
// counts.
func writesContent(entry Value) bool {
	fields := entry.At("fieldsV1")
	if fields.Len() == 0 {
		return true
	}
	for _, k := range fields.Keys() {
		if k == "f:data" || k == "f:binaryData" || k == "f:stringData" || k == "f:spec" || !strings.HasPrefix(k, "f:") {
			return true
		}
	}
	return false
}

// began is when a container's trouble began, as far as that is recorded: the Pod stopped being ready, but no earlier
// than the Pod itself.
func began(s symptom) time.Time {
	t := s.since
	if start := s.object.At("status", "startTime").Time(); t.Before(start) {
		t = start
	}
	if t.IsZero() {
		t = s.object.Created()
	}
	return t
}
