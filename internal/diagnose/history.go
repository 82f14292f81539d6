package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// revision is one state of a workload's Pod template that the cluster still keeps: a ReplicaSet of a
// Deployment, or a ControllerRevision of a StatefulSet or DaemonSet.
type revision struct {
	object   *Object
	number   int64
	template Value
}

// revisions returns the kept revisions of a workload, the newest first.
func (q *inquiry) revisions(w *Object) []revision {
	var out []revision
	for _, child := range q.snap.Children(w.ref) {
		switch {
		case child.ref.Kind == "ReplicaSet" && w.ref.Kind == "Deployment":
			n, _ := strconv.ParseInt(child.At("metadata", "annotations", "deployment.kubernetes.io/revision").Str(), 10, 64)
			out = append(out, revision{child, n, child.At("spec", "template")})
		case child.ref.Kind == "ControllerRevision":
			out = append(out, revision{child, child.At("revision").IntOr(0), child.At("data", "spec", "template")})
		}
	}
	slices.SortStableFunc(out, func(a, b revision) int {
		return cmp.Or(-cmp.Compare(a.number, b.number), -a.object.Created().Compare(b.object.Created()), cmp.Compare(a.object.ref.Name, b.object.ref.Name))
	})
	return out
}

// isOf reports whether a Pod was made from the revision.
func (r revision) isOf(pod *Object) bool {
	if r.object.ref.Kind == "ReplicaSet" {
		owner, ok := pod.Owner()
		return ok && owner.Kind == "ReplicaSet" && owner.Name == r.object.ref.Name
	}
	hash := pod.Labels()["controller-revision-hash"]
	return hash != "" && (r.object.ref.Name == hash || strings.HasSuffix(r.object.ref.Name, "-"+hash))
}

// change is one field in which two templates differ; from or to is absent when the field was added
// or removed.
type change struct {
	field    string // for people: containers[app].image
	from, to Value
}

func (c change) String() string {
	switch {
	case !c.from.Exists():
		return fmt.Sprintf("%s added (%s)", c.field, clip(c.to.Text()))
	case !c.to.Exists():
		return fmt.Sprintf("%s removed (%s)", c.field, clip(c.from.Text()))
	}
	return fmt.Sprintf("%s from %s to %s", c.field, clip(c.from.Text()), clip(c.to.Text()))
}

func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

// ignoredChanges are fields that controllers and kubectl write by themselves.
var ignoredChanges = map[string]bool{
	"/metadata/labels/pod-template-hash": true, "/metadata/labels/controller-revision-hash": true,
	"/metadata/annotations/kubectl.kubernetes.io~1restartedAt": true,
	"/metadata/creationTimestamp":                              true, "/$patch": true,
}

// maxChanges bounds a comparison of templates.
const maxChanges = 24

// changes compares two Pod templates field by field, list entries by their names.
func changes(from, to Value) []change {
	var out []change
	var walk func(field, rel string, from, to Value)
	walk = func(field, rel string, from, to Value) {
		if len(out) >= maxChanges || ignoredChanges[rel] {
			return
		}
		fm, fromMap := from.raw.(map[string]any)
		tm, toMap := to.raw.(map[string]any)
		if rel == "/metadata/annotations" || rel == "/metadata" { // the first annotation makes the map
			fromMap, toMap = fromMap || !from.ok, toMap || !to.ok
		}
		if strings.HasPrefix(rel, "/metadata/annotations/") && isMoment(to) && (isMoment(from) || !from.ok) {
			return // when somebody restarted it: nothing of the program is changed
		}
		if fromMap && toMap {
			keys := sortedKeys(fm)
			for k := range tm {
				if _, ok := fm[k]; !ok {
					keys = append(keys, k)
				}
			}
			slices.Sort(keys)
			for _, k := range keys {
				walk(join(field, k), rel+"/"+escapePointer(k), from.At(k), to.At(k))
			}
			return
		}
		fl, fromList := from.raw.([]any)
		tl, toList := to.raw.([]any)
		if fromList && toList {
			if key := entryKey(fl, tl); key != "" {
				walkEntries(field, rel, key, from, to, walk)
				return
			}
		}
		if from.Text() != to.Text() || from.ok != to.ok {
			if isEmpty(from) && isEmpty(to) || !from.Known() || !to.Known() { // what was not read of a revision may be as in the other one
				return
			}
			out = append(out, change{field, from, to})
		}
	}
	walk("", "", from, to)
	return out
}

// isMoment reports whether a text is a time.
func isMoment(v Value) bool {
	for _, layout := range []string{time.RFC3339Nano, time.RFC1123, time.DateTime, "2006-01-02T15:04:05", "2006-01-02T15:04:05-0700"} {
		if _, err := time.Parse(layout, v.Str()); err == nil {
			return true
		}
	}
	return false
}

func walkEntries(field, rel, key string, from, to Value, walk func(field, rel string, from, to Value)) {
	before := map[string]Value{}
	for _, e := range from.Items() {
		before[e.At(key).Text()] = e
	}
	seen := map[string]bool{}
	for _, e := range to.Items() {
		name := e.At(key).Text()
		seen[name] = true
		old, ok := before[name]
		if !ok {
			old = Value{object: from.object, path: from.Path() + "/-"}
		}
		walk(field+"["+name+"]", rel+"/*", old, e)
	}
	for _, e := range from.Items() {
		if name := e.At(key).Text(); !seen[name] {
			walk(field+"["+name+"]", rel+"/*", e, Value{object: to.object, path: to.Path() + "/-"})
		}
	}
}

// entryKey returns the field by which the entries of two lists are told apart, or "".
func entryKey(a, b []any) string {
	for _, key := range []string{"name", "mountPath", "containerPort", "key"} {
		if keyed(a, key) && keyed(b, key) {
			return key
		}
	}
	return ""
}

func keyed(entries []any, key string) bool {
	seen := map[string]bool{}
	for _, e := range entries {
		m, ok := e.(map[string]any)
		if !ok {
			return false
		}
		v, ok := m[key]
		if !ok || seen[textOf(v)] {
			return false
		}
		seen[textOf(v)] = true
	}
	return true
}

func isEmpty(v Value) bool {
	switch raw := v.raw.(type) {
	case nil:
		return true
	case map[string]any:
		return len(raw) == 0
	case []any:
		return len(raw) == 0
	case string:
		return raw == ""
	}
	return false
}

func join(field, key string) string {
	if field == "" || field == "spec" && (key == "containers" || key == "initContainers" || key == "volumes") {
		return key
	}
	return field + "." + key
}

// update is what the last rollout changed, seen from one of its Pods.
type update struct {
	workload *Object
	current  revision
	previous revision
	changes  []change
	// goodPods are ready Pods of the previous revision.
	goodPods []*Object
}

// lastUpdate returns what the newest revision changed, if the Pod is of that revision and an
// earlier one with another template is still kept.
func (q *inquiry) lastUpdate(pod *Object) (update, bool) {
	w := q.top(pod)
	revs := q.revisions(w)
	if len(revs) < 2 || !revs[0].isOf(pod) {
		return update{}, false
	}
	pods := q.snap.podsOf(w.ref)
	var u update
	for _, previous := range revs[1:] { // the newest that has ready Pods, else the newest
		good := slices.DeleteFunc(slices.Clone(pods), func(p *Object) bool { return !previous.isOf(p) || !isReady(p) })
		if u.workload == nil || len(good) > 0 {
			u = update{workload: w, current: revs[0], previous: previous, goodPods: good}
		}
		if len(good) > 0 {
			break
		}
	}
	u.changes = changes(u.previous.template, u.current.template)
	return u, len(u.changes) > 0
}

// concerns reports whether a change can bear on the container: it is in that container, or in what
// all containers of the Pod share.
func (c change) concerns(name string) bool {
	for _, list := range []string{"containers[", "initContainers["} {
		if rest, ok := strings.CutPrefix(c.field, list); ok {
			return strings.HasPrefix(rest, name+"]")
		}
	}
	return true
}

// describe names the first changes of an update, those of the container first.
func (u update) describe(containerName string) string {
	sorted := slices.Clone(u.changes)
	slices.SortStableFunc(sorted, func(a, b change) int {
		return -compareBool(a.concerns(containerName), b.concerns(containerName))
	})
	names := make([]string, len(sorted))
	for i, c := range sorted {
		names[i] = c.String()
	}
	return list(names, 3)
}

// loopedFromStart reports whether a container that ends again and again has done so since its Pod
// began: its restarts fill the Pod's whole life, given the kubelet's back-off of 10 s that doubles
// up to 5 minutes.
func (q *inquiry) loopedFromStart(pod *Object, c container) bool {
	began := pod.At("status", "startTime").Time()
	if began.IsZero() {
		began = pod.Created()
	}
	if began.IsZero() {
		return true
	}
	n := min(c.restarts(), 100_000)
	allowed := time.Minute
	backoff := 10 * time.Second
	for i := int64(0); i <= n && i < 6; i++ {
		allowed += backoff
		backoff = min(2*backoff, 5*time.Minute)
	}
	if n >= 6 {
		allowed += time.Duration(n-5) * 5 * time.Minute
	}
	allowed += time.Duration(n+1) * (min(c.lastRun().lasted(), 24*time.Hour) + 30*time.Second)
	return q.now.Sub(began) <= allowed+allowed/2
}
