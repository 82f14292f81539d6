package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Bounds, in bytes, of the text in a payload.
const (
	maxLabel    = 512       // a name, an id, a hash
	maxText     = 4 << 10   // a sentence or a few
	maxLongText = 16 << 10  // a tool's arguments or result
	maxItems    = 100       // elements of a list
	maxData     = 64 << 10  // the whole payload, as JSON
	maxFrame    = 256 << 10 // a whole event, as JSON: payload, and an envelope at its limits
)

// clip returns s as valid UTF-8 without NUL characters, which not every database can hold. Text
// longer than limit bytes is cut and ends in a marker that says how much is missing.
func clip(s string, limit int) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	if len(s) <= limit {
		return s
	}
	// The marker's length depends on the count only by digits: room for the longest is left.
	keep := max(limit-len("…[truncated 9223372036854775807 bytes]"), 0)
	for keep > 0 && !utf8.RuneStart(s[keep]) {
		keep--
	}
	return fmt.Sprintf("%s…[truncated %d bytes]", s[:keep], len(s)-keep)
}

// clipAll bounds every element, and the number of elements. It never returns nil, so that the JSON
// is a list.
func clipAll(list []string, limit int) []string {
	out := make([]string, 0, min(len(list), maxItems+1))
	for i, s := range list {
		if i == maxItems {
			out = append(out, fmt.Sprintf("…[truncated %d items]", len(list)-maxItems))
			break
		}
		out = append(out, clip(s, limit))
	}
	return out
}

// preview returns the first previewLength characters.
func preview(s string) string {
	n := 0
	for i := range s {
		if n == previewLength {
			s = s[:i]
			break
		}
		n++
	}
	return clip(s, math.MaxInt)
}

func join(list []string, sep string) string {
	return strings.Join(list[:min(len(list), maxItems)], sep)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return clip(err.Error(), maxText)
}

// optional returns nil for an empty string: null in JSON.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return new(clip(s, maxLabel))
}

// finite returns nil for what JSON cannot say.
func finite(f *float64) *float64 {
	if f == nil || math.IsNaN(*f) || math.IsInf(*f, 0) {
		return nil
	}
	return f
}

// maxDepth bounds the nesting of JSON that comes from outside.
const maxDepth = 32

// foreignJSON returns what is put into a payload for JSON that comes from outside: its value, without
// anything that a strict reader would refuse (repeated names, numbers out of range, deep nesting), or
// its text where there is no such value.
func foreignJSON(raw json.RawMessage) any {
	if len(raw) == 0 {
		return struct{}{}
	}
	var v any
	if len(raw) > maxLongText || json.Unmarshal(raw, &v) != nil || deeper(v, maxDepth) {
		return clip(string(raw), maxLongText)
	}
	return v
}

// deeper reports whether decoded JSON has more than limit levels.
func deeper(v any, limit int) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			if limit == 0 || deeper(e, limit-1) {
				return true
			}
		}
	case []any:
		for _, e := range v {
			if limit == 0 || deeper(e, limit-1) {
				return true
			}
		}
	}
	return false
}

// boundID returns text that fits a field of the given number of characters. Two different texts
// stay different: what is cut off is replaced by a hash of the whole.
func boundID(s string, limit int) string {
	s = clip(s, math.MaxInt)
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	suffix := "~" + hex.EncodeToString(sum[:16])
	runes := []rune(s)
	return string(runes[:limit-len(suffix)]) + suffix
}

// bound returns e with defaults filled and every field within the store's limits: ids are shortened
// by boundID, data by boundData. Event type and action are left alone, because a wrong one is a
// mistake in the program.
func bound(e incident.AuditEvent) incident.AuditEvent {
	e = e.WithDefaults()
	if e.ID == "" {
		e.ID = newID()
	}
	e.CorrelationID = boundID(e.CorrelationID, incident.MaxCorrelationID)
	e.ActorID = boundID(e.ActorID, incident.MaxActorID)
	e.ResourceType = boundID(e.ResourceType, incident.MaxResourceType)
	e.ResourceID = boundID(e.ResourceID, incident.MaxResourceID)
	e.Namespace = boundID(e.Namespace, incident.MaxEventNamespace)
	e.ClusterName = boundID(e.ClusterName, incident.MaxClusterName)
	e.Data = boundData(e.Data)
	return e
}

// escapedNUL is how a NUL character looks in JSON. PostgreSQL's jsonb refuses it.
var escapedNUL = []byte(`\u0000`)

// boundData returns a JSON object of at most maxData bytes: data itself where it fits, else data
// with its longest texts and lists cut, each with a marker, and "payload_truncated": true. What is
// not a JSON object is returned as it is, for validation to refuse.
func boundData(data json.RawMessage) json.RawMessage {
	if len(data) <= maxData && !bytes.Contains(data, escapedNUL) {
		return data
	}
	decode := json.NewDecoder(bytes.NewReader(data))
	decode.UseNumber()
	var object map[string]any
	if !json.Valid(data) || decode.Decode(&object) != nil {
		return data
	}
	text, items := math.MaxInt, math.MaxInt
	if len(data) > maxData {
		text, items = maxLongText, maxItems
	}
	for {
		cut := cutter{text: text, items: items}
		short, err := json.Marshal(cut.object(object))
		if err != nil {
			return data
		}
		if len(short) <= maxData {
			return short
		}
		if text <= 64 && items <= 1 {
			// Nothing but keys is left, and there are too many of them.
			short, _ = json.Marshal(map[string]any{truncatedKey: true, "payload_bytes": len(data)})
			return short
		}
		text, items = max(min(text, maxLongText)/2, 64), max(min(items, maxItems)/2, 1)
	}
}

const truncatedKey = "payload_truncated"

// cutter copies decoded JSON, cutting what exceeds its limits.
type cutter struct {
	text, items int
	did         bool
}

func (c *cutter) object(m map[string]any) map[string]any {
	out := c.fields(m)
	if c.did {
		out[truncatedKey] = true
	}
	return out
}

func (c *cutter) fields(m map[string]any) map[string]any {
	out := make(map[string]any, len(m)+1)
	for k, v := range m {
		out[c.cut(k)] = c.value(v)
	}
	return out
}

func (c *cutter) cut(s string) string {
	c.did = c.did || len(s) > c.text
	return clip(s, c.text)
}

func (c *cutter) value(v any) any {
	switch v := v.(type) {
	case string:
		return c.cut(v)
	case map[string]any:
		return c.fields(v)
	case []any:
		out := make([]any, 0, min(len(v), c.items))
		for i, e := range v {
			if i == c.items {
				c.did = true
				out = append(out, fmt.Sprintf("…[truncated %d items]", len(v)-i))
				break
			}
			out = append(out, c.value(e))
		}
		return out
	}
	return v
}
