package diagnose

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Object is one object of the cluster as a JSON tree, of any kind. It is immutable.
type Object struct {
	ref             incident.Ref
	resourceVersion string
	tree            map[string]any
	partial         bool
	fields          []string // what a part is known by, see NewPart; nil for others
	labels          map[string]string
	owner           incident.Ref // the controlling one; zero when there is none
}

// NewObject takes a JSON tree as encoding/json, sigs.k8s.io/yaml or client-go's unstructured
// types build it, and copies it into a canonical form: integral numbers are int64, others
// float64, text is valid UTF-8. It errs when the tree has no kind or no metadata.name. partial says
// that only the metadata was read, so that nothing can be concluded from what is absent elsewhere.
func NewObject(tree map[string]any, partial bool) (*Object, error) {
	t, _ := canonical(tree).(map[string]any)
	return newObject(t, partial)
}

// AdoptObject is NewObject for a tree that the caller gives up: it is brought into the canonical form in place.
func AdoptObject(tree map[string]any, partial bool) (*Object, error) {
	adopt(tree)
	return newObject(tree, partial)
}

// adopt is canonical in place.
func adopt(raw any) {
	switch v := raw.(type) {
	case map[string]any:
		for k, e := range v {
			if !utf8.ValidString(k) {
				delete(v, k)
				v[strings.ToValidUTF8(k, "\uFFFD")] = canonical(e)
				continue
			}
			switch e := e.(type) {
			case map[string]any, []any:
				adopt(e)
			case nil, bool, int64:
			case string:
				if !utf8.ValidString(e) {
					v[k] = canonical(e)
				}
			default:
				v[k] = canonical(e)
			}
		}
	case []any:
		for i, e := range v {
			switch e := e.(type) {
			case map[string]any, []any:
				adopt(e)
			default:
				v[i] = canonical(e)
			}
		}
	}
}

func newObject(t map[string]any, partial bool) (*Object, error) {
	o := &Object{tree: t, partial: partial}
	meta := o.Root().At("metadata")
	o.ref = incident.Ref{
		APIVersion: o.Root().At("apiVersion").Str(),
		Kind:       o.Root().At("kind").Str(),
		Namespace:  meta.At("namespace").Str(),
		Name:       meta.At("name").Str(),
		UID:        meta.At("uid").Str(),
	}
	o.labels = meta.At("labels").StrMap()
	o.owner = o.readOwner()
	o.resourceVersion = meta.At("resourceVersion").Str()
	if o.ref.Kind == "" || o.ref.Name == "" {
		return nil, fmt.Errorf("an object needs kind and metadata.name, got kind %q, name %q", o.ref.Kind, o.ref.Name)
	}
	return o, nil
}

// NewPart is NewObject for an object of which only some fields were read, as from a table or a description: fields
// are the JSON pointers below which everything is known, so that only there what is absent is known to be absent.
// Metadata is no exception.
func NewPart(tree map[string]any, fields []string) (*Object, error) {
	o, err := NewObject(tree, false)
	if err != nil {
		return nil, err
	}
	o.fields = append([]string{}, fields...)
	slices.Sort(o.fields)
	o.fields = slices.Compact(o.fields)
	return o, nil
}

// Ref names the object, with API version and UID as far as the tree has them.
func (o *Object) Ref() incident.Ref { return o.ref }

// ResourceVersion is that of the object when it was read; "" when it is not known.
func (o *Object) ResourceVersion() string { return o.resourceVersion }

// Partial reports whether only the metadata was read.
func (o *Object) Partial() bool { return o.partial }

// Fields returns the JSON pointers below which a part is known; nil when the object is no part.
func (o *Object) Fields() []string { return o.fields }

// Covers reports whether it is known what stands at a JSON pointer, so that nothing there means absent.
func (o *Object) Covers(path string) bool {
	switch {
	case o.partial:
		return strings.HasPrefix(path, "/metadata")
	case o.fields == nil:
		return true
	}
	for _, f := range o.fields {
		if strings.HasPrefix(path, f) && (len(path) == len(f) || path[len(f)] == '/') {
			return true
		}
	}
	return false
}

// Tree returns the JSON tree. It must not be changed.
func (o *Object) Tree() map[string]any { return o.tree }

// Root returns the whole object as a Value.
func (o *Object) Root() Value { return Value{object: o, raw: o.tree, ok: true} }

// At returns the value under the given keys.
func (o *Object) At(keys ...string) Value { return o.Root().At(keys...) }

// Labels returns metadata.labels. The map must not be changed.
func (o *Object) Labels() map[string]string { return o.labels }

// Created returns metadata.creationTimestamp, or the zero time.
func (o *Object) Created() time.Time { return o.At("metadata", "creationTimestamp").Time() }

// Deleting reports whether deletion was asked for.
func (o *Object) Deleting() bool { return o.At("metadata", "deletionTimestamp").Exists() }

// Owner returns the controlling owner, or the only owner when none is marked as controller.
func (o *Object) Owner() (incident.Ref, bool) { return o.owner, o.owner.Kind != "" }

func (o *Object) readOwner() incident.Ref {
	owners := o.At("metadata", "ownerReferences").Items()
	pick := -1
	for i, w := range owners {
		if w.At("controller").Bool() {
			pick = i
			break
		}
	}
	if pick < 0 {
		if len(owners) != 1 {
			return incident.Ref{}
		}
		pick = 0
	}
	w := owners[pick]
	return incident.Ref{
		APIVersion: w.At("apiVersion").Str(),
		Kind:       w.At("kind").Str(),
		Namespace:  o.ref.Namespace,
		Name:       w.At("name").Str(),
		UID:        w.At("uid").Str(),
	}
}

// canonical copies a JSON tree into the form that NewObject documents.
func canonical(raw any) any {
	switch v := raw.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[strings.ToValidUTF8(k, "\uFFFD")] = canonical(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = canonical(e)
		}
		return out
	case string:
		return strings.ToValidUTF8(v, "\uFFFD")
	case nil, bool, int64:
		return v
	case int:
		return int64(v)
	case int32:
		return int64(v)
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v)
		}
		return float64(v)
	case float32:
		return canonicalFloat(float64(v))
	case float64:
		return canonicalFloat(v)
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return canonicalFloat(f)
	default:
		return fmt.Sprint(v)
	}
}

func canonicalFloat(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Sprint(f)
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return int64(f)
	}
	return f
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
