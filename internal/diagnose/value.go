package diagnose

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// Value is a place in an object and what is there, so that whoever reads a value can also cite it.
// The zero Value is nowhere. Reading below a value that is absent, or of another type, gives an
// absent value whose path still says where it would have been.
type Value struct {
	object *Object
	// The place is path, and below it the first n keys of below: most places are never cited, so that their paths are
	// not written.
	path  string
	below [3]string
	n     uint8
	ok    bool
	raw   any
}

// At returns the value below v under the given keys.
func (v Value) At(keys ...string) Value {
	for _, k := range keys {
		m, _ := v.raw.(map[string]any)
		v.raw, v.ok = m[k]
		v.descend(k)
	}
	return v
}

func (v *Value) descend(key string) {
	if int(v.n) == len(v.below) {
		v.path, v.n = v.Path(), 0
	}
	v.below[v.n] = key
	v.n++
}

// Items returns the elements of a list; none when v is no list.
func (v Value) Items() []Value {
	list, _ := v.raw.([]any)
	if len(list) == 0 {
		return nil
	}
	out := make([]Value, len(list))
	for i, raw := range list {
		out[i] = v
		out[i].raw, out[i].ok = raw, true
		out[i].descend(strconv.Itoa(i))
	}
	return out
}

// Keys returns the keys of a map, sorted.
func (v Value) Keys() []string {
	m, _ := v.raw.(map[string]any)
	return sortedKeys(m)
}

// Exists reports whether there is anything at the place, null included.
func (v Value) Exists() bool { return v.ok }

// Known reports whether it was read what stands at the place; where it is known and does not exist, it is absent.
func (v Value) Known() bool { return v.ok || v.object != nil && v.object.Covers(v.Path()) }

// Len returns the number of elements of a list or a map, else 0.
func (v Value) Len() int {
	switch raw := v.raw.(type) {
	case []any:
		return len(raw)
	case map[string]any:
		return len(raw)
	}
	return 0
}

// Str returns a string value, or "".
func (v Value) Str() string {
	s, _ := v.raw.(string)
	return s
}

// Int returns an integral number, or 0 and false.
func (v Value) Int() (int64, bool) {
	switch n := v.raw.(type) {
	case int64:
		return n, true
	case float64:
		if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
			return int64(n), true
		}
	}
	return 0, false
}

// IntOr returns an integral number, or def.
func (v Value) IntOr(def int64) int64 {
	if n, ok := v.Int(); ok {
		return n
	}
	return def
}

// Bool returns a boolean value, or false.
func (v Value) Bool() bool {
	b, _ := v.raw.(bool)
	return b
}

// Time returns an RFC 3339 time in UTC, or the zero time.
func (v Value) Time() time.Time {
	s, ok := v.raw.(string)
	if !ok {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// StrMap returns a map's string values.
func (v Value) StrMap() map[string]string {
	m, _ := v.raw.(map[string]any)
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, raw := range m {
		if s, ok := raw.(string); ok {
			out[k] = s
		}
	}
	return out
}

// anyText reports whether some text at or below v fulfils f.
func (v Value) anyText(f func(string) bool) bool { return anyText(v.raw, f) }

func anyText(raw any, f func(string) bool) bool {
	switch raw := raw.(type) {
	case string:
		return f(raw)
	case map[string]any:
		for _, e := range raw {
			if anyText(e, f) {
				return true
			}
		}
	case []any:
		for _, e := range raw {
			if anyText(e, f) {
				return true
			}
		}
	}
	return false
}

// Path returns the RFC 6901 pointer of the place within its object.
func (v Value) Path() string {
	if v.n == 0 {
		return v.path
	}
	var path strings.Builder
	path.WriteString(v.path)
	for _, k := range v.below[:v.n] {
		path.WriteByte('/')
		path.WriteString(escapePointer(k))
	}
	return path.String()
}

// Text returns the value as evidence carries it: a string as it is, anything else as compact JSON
// with sorted keys; "" when there is nothing.
func (v Value) Text() string {
	if !v.ok {
		return ""
	}
	return textOf(v.raw)
}

func textOf(raw any) string {
	if s, ok := raw.(string); ok {
		return s
	}
	b, err := marshalCompact(raw)
	if err != nil {
		return ""
	}
	return b
}

// marshalCompact is json.Marshal without HTML escaping: evidence is read by people.
func marshalCompact(raw any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(raw); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// resolve follows an RFC 6901 pointer; false when it selects nothing or is malformed.
func resolve(raw any, pointer string) (any, bool) {
	if pointer == "" {
		return raw, true
	}
	if pointer[0] != '/' {
		return nil, false
	}
	for token := range strings.SplitSeq(pointer[1:], "/") {
		token = unescapePointer(token)
		switch node := raw.(type) {
		case map[string]any:
			next, ok := node[token]
			if !ok {
				return nil, false
			}
			raw = next
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(node) || strconv.Itoa(i) != token {
				return nil, false
			}
			raw = node[i]
		default:
			return nil, false
		}
	}
	return raw, true
}

func escapePointer(token string) string {
	if !strings.ContainsAny(token, "~/") {
		return token
	}
	return strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1")
}

func unescapePointer(token string) string {
	if !strings.Contains(token, "~") {
		return token
	}
	return strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
}
