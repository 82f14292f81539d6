package diagnose

import (
	"cmp"
	"slices"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Relation is one step between two objects, and the place that says so.
type Relation struct {
	From, To incident.Ref
	Name     string // for example "is owned by", "runs on", "selects"
	Place    Value
}

// Owners returns the owners of an object, from the nearest to the topmost.
func (s *Snapshot) Owners(ref incident.Ref) []incident.Ref {
	o := s.Object(ref)
	if o == nil {
		return nil
	}
	return s.ownersOf(o)
}

// Pods returns the Pods below an object over any number of owners; of a Pod, the Pod itself.
func (s *Snapshot) Pods(ref incident.Ref) []*Object {
	if o := s.Object(ref); o != nil && o.ref.Kind == "Pod" {
		return []*Object{o}
	}
	return s.podsOf(ref)
}

// Relations returns the steps from and to an object that the snapshot shows, in a fixed order: ownership,
// placement, what a Pod or its template names, and what selects or routes to it.
func (s *Snapshot) Relations(ref incident.Ref) []Relation {
	o := s.Object(ref)
	if o == nil {
		return nil
	}
	r := &relations{s: s, o: o}
	r.owners()
	switch o.ref.Kind {
	case "Node":
		for _, pod := range s.OnNode(o.ref.Name) {
			r.from(pod.ref, "runs on", pod.At("spec", "nodeName"))
		}
	case "ConfigMap", "Secret", "PersistentVolumeClaim", "ServiceAccount":
		for _, pod := range s.UsersOf(o.ref) {
			r.named(pod.ref, o.ref, pod.At("spec"))
		}
	}
	r.claim()
	r.template()
	r.selection()
	r.routes()
	return r.list
}

type relations struct {
	s    *Snapshot
	o    *Object
	list []Relation
}

func (r *relations) to(other incident.Ref, name string, place Value) {
	if other.Name != "" && place.Exists() {
		r.list = append(r.list, Relation{r.o.ref, r.known(other), name, place})
	}
}

func (r *relations) from(other incident.Ref, name string, place Value) {
	if place.Exists() {
		r.list = append(r.list, Relation{r.known(other), r.o.ref, name, place})
	}
}

// known completes a reference by the object that it means.
func (r *relations) known(ref incident.Ref) incident.Ref {
	if o := r.s.Object(ref); o != nil {
		return o.ref
	}
	return ref
}

func (r *relations) owners() {
	if owner, ok := r.o.Owner(); ok {
		if o := r.s.resolveOwner(owner); o != nil {
			owner = o.ref
		}
		r.to(owner, "is owned by", r.o.At("metadata", "ownerReferences"))
	}
	for _, child := range r.s.Children(r.o.ref) {
		r.from(child.ref, "is owned by", child.At("metadata", "ownerReferences"))
	}
}

func (r *relations) claim() {
	o := r.o
	switch o.ref.Kind {
	case "PersistentVolumeClaim":
		r.to(incident.Ref{APIVersion: "v1", Kind: "PersistentVolume", Name: o.At("spec", "volumeName").Str()}, "is bound to", o.At("spec", "volumeName"))
		r.to(incident.Ref{APIVersion: "storage.k8s.io/v1", Kind: "StorageClass", Name: o.At("spec", "storageClassName").Str()}, "is of class", o.At("spec", "storageClassName"))
	case "PersistentVolume":
		claim := o.At("spec", "claimRef")
		r.to(incident.Ref{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.At("namespace").Str(), Name: claim.At("name").Str()}, "belongs to", claim.At("name"))
	case "Pod":
		r.to(incident.Ref{APIVersion: "v1", Kind: "Node", Name: o.At("spec", "nodeName").Str()}, "runs on", o.At("spec", "nodeName"))
	case "HorizontalPodAutoscaler":
		target := o.At("spec", "scaleTargetRef")
		r.to(incident.Ref{Kind: target.At("kind").Str(), Namespace: o.ref.Namespace, Name: target.At("name").Str()}, "scales", target.At("name"))
	}
}

// template follows what a Pod, or a workload's template, names.
func (r *relations) template() {
	spec := r.o.At("spec")
	if r.o.ref.Kind != "Pod" {
		if !workloadKinds[r.o.ref.Kind] {
			return
		}
		spec = templateOf(r.o).At("spec")
	}
	seen := map[incident.Ref]bool{}
	for _, p := range podReferences(spec) {
		if ref := p.ref(r.o); !seen[ref] {
			seen[ref] = true
			r.to(ref, "names", p.name)
		}
	}
	for _, hpa := range r.s.Kind("HorizontalPodAutoscaler", r.o.ref.Namespace) {
		if t := hpa.At("spec", "scaleTargetRef"); t.At("kind").Str() == r.o.ref.Kind && t.At("name").Str() == r.o.ref.Name {
			r.from(hpa.ref, "scales", t.At("name"))
		}
	}
}

func (r *relations) named(user, what incident.Ref, spec Value) {
	for _, p := range podReferences(spec) {
		if p.kind == what.Kind && p.name.Str() == what.Name {
			r.from(user, "names", p.name)
			return
		}
	}
}

// selectors are the kinds that choose Pods by their labels, and where they say how.
var selectors = []struct {
	kind, name string
	path       []string
}{
	{"Service", "selects", []string{"spec", "selector"}},
	{"PodDisruptionBudget", "protects", []string{"spec", "selector"}},
	{"NetworkPolicy", "restricts", []string{"spec", "podSelector"}},
}

func (r *relations) selection() {
	for _, k := range selectors {
		if r.o.ref.Kind == k.kind {
			selector := r.o.At(k.path...)
			for _, pod := range r.s.Kind("Pod", r.o.ref.Namespace) {
				if selectsPod(k.kind, selector, pod.Labels()) {
					r.to(pod.ref, k.name, selector)
				}
			}
			continue
		}
		labels := r.o.Labels()
		if r.o.ref.Kind != "Pod" {
			if !workloadKinds[r.o.ref.Kind] {
				continue
			}
			labels = templateOf(r.o).At("metadata", "labels").StrMap()
		}
		for _, by := range r.s.Kind(k.kind, r.o.ref.Namespace) {
			if selector := by.At(k.path...); selectsPod(k.kind, selector, labels) {
				r.from(by.ref, k.name, selector)
			}
		}
	}
}

// selectsPod evaluates a selector: a Service's is a plain map, and an empty one selects nothing.
func selectsPod(kind string, selector Value, labels map[string]string) bool {
	if kind == "Service" {
		m := selector.StrMap()
		return len(m) > 0 && selects(m, labels)
	}
	return selector.Exists() && labelsMatch(selector, labels)
}

// routes follows Ingresses to their Services.
func (r *relations) routes() {
	ns := r.o.ref.Namespace
	each := func(ingress *Object, do func(service incident.Ref, place Value)) {
		backend := func(v Value) {
			if name := v.At("service", "name"); name.Str() != "" {
				do(incident.Ref{APIVersion: "v1", Kind: "Service", Namespace: ns, Name: name.Str()}, name)
			}
		}
		backend(ingress.At("spec", "defaultBackend"))
		for _, rule := range ingress.At("spec", "rules").Items() {
			for _, p := range rule.At("http", "paths").Items() {
				backend(p.At("backend"))
			}
		}
	}
	switch r.o.ref.Kind {
	case "Ingress":
		each(r.o, func(service incident.Ref, place Value) { r.to(service, "routes to", place) })
	case "Service":
		for _, ingress := range r.s.Kind("Ingress", ns) {
			each(ingress, func(service incident.Ref, place Value) {
				if service.Same(r.o.ref) {
					r.from(ingress.ref, "routes to", place)
				}
			})
		}
	}
}

// Bounds of a search for a path.
const (
	maxPathLength  = 6
	maxPathObjects = 2000
)

// Path returns a shortest way between two objects over Relations; nil when there is none of at most six
// steps.
func (s *Snapshot) Path(from, to incident.Ref) []Relation {
	type step struct {
		ref  incident.Ref
		via  Relation
		back int
		deep int
	}
	start := s.Object(from)
	if start == nil {
		return nil
	}
	queue := []step{{ref: start.ref, back: -1}}
	seen := map[objectKey]bool{keyOf(start.ref): true}
	for i := 0; i < len(queue) && len(queue) < maxPathObjects; i++ {
		at := queue[i]
		if at.ref.Same(to) {
			var out []Relation
			for k := i; queue[k].back >= 0; k = queue[k].back {
				out = append(out, queue[k].via)
			}
			slices.Reverse(out)
			return out
		}
		if at.deep == maxPathLength {
			continue
		}
		for _, r := range s.Relations(at.ref) {
			next := r.To
			if next.Same(at.ref) {
				next = r.From
			}
			if k := keyOf(next); !seen[k] {
				seen[k] = true
				queue = append(queue, step{next, r, i, at.deep + 1})
			}
		}
	}
	return nil
}

// Change is one field in which two revisions of a Pod template differ; From or To does not exist when the
// field was added or removed.
type Change struct {
	Field    string // for people: containers[app].image
	From, To Value
}

// Rollout is what the newest revision of a workload changed.
type Rollout struct {
	Current, Previous *Object // a ReplicaSet or ControllerRevision each
	Changes           []Change
}

// LastRollout compares the newest two revisions of a workload that the snapshot has; false when it has
// fewer.
func (s *Snapshot) LastRollout(workload *Object) (Rollout, bool) {
	q := newInquiry(s, incident.Incident{})
	revisions := q.revisions(workload)
	if len(revisions) < 2 {
		return Rollout{}, false
	}
	out := Rollout{Current: revisions[0].object, Previous: revisions[1].object}
	for _, c := range changes(revisions[1].template, revisions[0].template) {
		out.Changes = append(out.Changes, Change{c.field, c.from, c.to})
	}
	return out, true
}

// LastSeen orders events by when they were last seen, the most recent first.
func LastSeen(events []*Object) []*Object {
	out := slices.Clone(events)
	slices.SortStableFunc(out, func(a, b *Object) int {
		return cmp.Or(lastSeen(b).Compare(lastSeen(a)), cmp.Compare(a.ref.Name, b.ref.Name))
	})
	return out
}

// EventMessage returns the place of an event's message; About the object that it is about.
func EventMessage(ev *Object) Value { return eventText(ev) }

// About returns the object that an event is about.
func About(ev *Object) incident.Ref { return about(ev) }
