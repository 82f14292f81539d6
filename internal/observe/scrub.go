package observe

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/diagnose"
)

// lastApplied repeats the whole object as it was last applied, values of environment variables included.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// scrub makes an object's tree fit to be kept: what nobody reads is dropped, secrets are replaced, and
// long ConfigMap values are replaced by their size. It changes the tree in place.
func scrub(r *Redactor, it item) {
	tree := it.tree
	if meta, ok := tree["metadata"].(map[string]any); ok {
		if !it.history {
			shortenHistory(meta)
		}
		if annotations, ok := meta["annotations"].(map[string]any); ok {
			for _, name := range sortedNames(annotations) {
				if s, ok := annotations[name].(string); ok && secretName(lastSegment(name)) {
					annotations[name] = r.Secret(s)
				}
			}
		}
	}
	switch tree["kind"] {
	case "ConfigMap":
		hideValues(r, tree)
	case "Secret": // only ever from files: the live reader asks for metadata
		omitValues(tree)
		delete(tree, "stringData")
	}
	hideNamed(r, tree)
	if meta, ok := tree["metadata"].(map[string]any); ok {
		if annotations, ok := meta["annotations"].(map[string]any); ok {
			scrubApplied(r, annotations)
		}
	}
}

// scrubApplied redacts what was last applied as the object itself; what is no JSON of an object is dropped.
func scrubApplied(r *Redactor, annotations map[string]any) {
	text, ok := annotations[lastApplied].(string)
	if !ok {
		return
	}
	delete(annotations, lastApplied)
	var applied map[string]any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if dec.Decode(&applied) != nil || applied["spec"] == nil {
		return
	}
	if meta, ok := applied["metadata"].(map[string]any); ok {
		delete(meta, "annotations")
	}
	scrub(r, item{tree: applied})
	redactText(r, applied)
	if b, err := json.Marshal(applied); err == nil {
		annotations[lastApplied] = string(b)
	}
}

// shortenHistory keeps who wrote an object when, and of which fields only the top.
func shortenHistory(meta map[string]any) {
	entries, ok := meta["managedFields"].([]any)
	if !ok {
		delete(meta, "managedFields")
		return
	}
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		if fields, ok := entry["fieldsV1"].(map[string]any); ok {
			top := map[string]any{}
			for k := range fields {
				top[k] = map[string]any{}
			}
			entry["fieldsV1"] = top
		}
	}
}

// maxConfigValue is the longest value of a ConfigMap that is kept.
const maxConfigValue = 32 << 10

// hideValues replaces those values of a ConfigMap whose keys say that they are secret, and those that are too long.
func hideValues(r *Redactor, tree map[string]any) {
	data, _ := tree["data"].(map[string]any)
	for _, k := range sortedNames(data) {
		s, ok := data[k].(string)
		switch {
		case !ok || len(s) > maxConfigValue:
			data[k] = omitted(len(s))
		case secretName(k):
			data[k] = r.Secret(s)
		}
	}
	if binary, ok := tree["binaryData"].(map[string]any); ok {
		for k, v := range binary {
			s, _ := v.(string)
			binary[k] = omitted(len(s))
		}
	}
}

// omitValues keeps the keys of a Secret and says how long each value was.
func omitValues(tree map[string]any) {
	for _, field := range []string{"data", "binaryData"} {
		data, ok := tree[field].(map[string]any)
		if !ok {
			continue
		}
		for k, v := range data {
			s, _ := v.(string)
			data[k] = omitted(len(s))
		}
	}
}

// omitted stands for a value that was left out.
func omitted(size int) string { return fmt.Sprintf("[omitted: %d bytes]", size) }

// hideNamed replaces the values of environment variables whose names say that they are secret.
func hideNamed(r *Redactor, v any) {
	if !namesSecret(v) { // of most objects; only the rest is gone through in order
		return
	}
	switch v := v.(type) {
	case map[string]any:
		if value, secret := namedSecret(v); secret {
			v["value"] = r.Secret(value)
		}
		for _, k := range sortedNames(v) {
			hideNamed(r, v[k])
		}
	case []any:
		for _, e := range v {
			hideNamed(r, e)
		}
	}
}

// namesSecret reports whether there is anything for hideNamed in a tree.
func namesSecret(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		if _, secret := namedSecret(v); secret {
			return true
		}
		for _, e := range v {
			if namesSecret(e) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, namesSecret)
	}
	return false
}

// namedSecret returns the value of an entry whose name says that it is secret.
func namedSecret(entry map[string]any) (value string, secret bool) {
	value, ok := entry["value"].(string)
	if !ok || isToken(value) || strings.HasPrefix(value, "$(") {
		return "", false
	}
	name, _ := entry["name"].(string)
	return value, secretName(name)
}

// identity names fields that hold names and never secrets.
var identity = map[string]bool{
	"name": true, "namespace": true, "uid": true, "kind": true, "apiVersion": true, "resourceVersion": true, "generateName": true,
	"labels": true, "matchLabels": true, "selector": true, "nodeSelector": true, "image": true, "imageID": true, "containerID": true,
}

// redactText redacts all text of a tree, in the order of its keys, so that tokens are numbered alike
// every time.
func redactText(r *Redactor, v any) any {
	switch v := v.(type) {
	case map[string]any:
		var names []string
		for k, e := range v {
			if !identity[k] && holdsText(r, e) { // of most parts nothing is to be redacted, and their order matters not
				names = append(names, k)
			}
		}
		slices.Sort(names)
		for _, k := range names {
			v[k] = redactText(r, v[k])
		}
		return v
	case []any:
		for i := range v {
			v[i] = redactText(r, v[i])
		}
		return v
	case string:
		return r.Text(v)
	}
	return v
}

// holdsText reports whether some text in a tree may have to be redacted.
func holdsText(r *Redactor, v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if !identity[k] && holdsText(r, e) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return holdsText(r, e) })
	case string:
		return r.touches(v)
	}
	return false
}

// item is an object as it was read.
type item struct {
	tree    map[string]any
	partial bool
	fields  []string         // what a part is known by; nil for others
	history bool             // managedFields are kept
	seen    *diagnose.Object // as the engine was shown it before it was redacted
}

// seal redacts everything that was collected, in one fixed order, and makes a snapshot of it.
func seal(c diagnose.Contents, objects, events []item) *diagnose.Snapshot {
	var r Redactor
	sortItems(objects)
	sortItems(events)
	for _, it := range objects { // names tell what is secret; it may stand in other places too
		scrub(&r, it)
	}
	c.Objects, c.Events = finish(&r, objects), finish(&r, events)
	slices.SortStableFunc(c.Logs, func(a, b diagnose.Log) int {
		return cmp.Or(strings.Compare(a.Pod.Namespace, b.Pod.Namespace), strings.Compare(a.Pod.Name, b.Pod.Name),
			strings.Compare(a.Container, b.Container), boolCompare(a.Previous, b.Previous))
	})
	for i := range c.Logs {
		c.Logs[i].Lines = r.Lines(c.Logs[i].Lines)
	}
	c.Redactions = r.Count()
	return diagnose.NewSnapshot(c)
}

func finish(r *Redactor, items []item) []*diagnose.Object {
	out := make([]*diagnose.Object, 0, len(items))
	for _, it := range items {
		redactText(r, it.tree)
		// What has no kind or name is no object; the API server never lists such.
		if o, err := adopt(it); err == nil {
			out = append(out, o)
		}
	}
	return out
}

// adopt makes an object of a tree that belongs to nobody else.
func adopt(it item) (*diagnose.Object, error) {
	if it.fields != nil {
		return diagnose.NewPart(it.tree, it.fields)
	}
	return diagnose.AdoptObject(it.tree, it.partial)
}

// sortItems orders by kind, namespace and name.
func sortItems(items []item) {
	type keyed struct {
		kind, namespace, name, apiVersion string
		item                              item
	}
	all := make([]keyed, len(items))
	for i, it := range items {
		meta, _ := it.tree["metadata"].(map[string]any)
		k := keyed{item: it}
		k.kind, _ = it.tree["kind"].(string)
		k.apiVersion, _ = it.tree["apiVersion"].(string)
		k.namespace, _ = meta["namespace"].(string)
		k.name, _ = meta["name"].(string)
		all[i] = k
	}
	slices.SortStableFunc(all, func(a, b keyed) int {
		return cmp.Or(strings.Compare(a.kind, b.kind), strings.Compare(a.namespace, b.namespace), strings.Compare(a.name, b.name), strings.Compare(a.apiVersion, b.apiVersion))
	})
	for i, k := range all {
		items[i] = k.item
	}
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// lastSegment returns what follows an annotation's domain.
func lastSegment(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
