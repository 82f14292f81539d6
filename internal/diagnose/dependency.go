package diagnose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// dependency is a Service that a container's configuration names.
type dependency struct {
	address
	place Value  // where it is named; nowhere when no configuration that was read names it
	heard *cite  // the line in which the program itself names it, then
	env   string // the variable that names it; "" when it is a command, an argument or a file
	ref   incident.Ref
	svc   *Object // nil when it does not exist or was not read
	// loose says that a variable's value is a word which can be the name of a Service, and none has it here: it is
	// a dependency only if the container says that it cannot resolve that name.
	loose bool
}

// source cites where a dependency is named.
func (d dependency) source() cite {
	if d.heard != nil {
		return *d.heard
	}
	return at(d.place)
}

// use says for people how a container names a dependency.
func (d dependency) use(container string) string {
	what := d.host
	if d.port > 0 {
		what += ":" + strconv.FormatInt(d.port, 10)
	}
	switch {
	case d.heard != nil:
		return fmt.Sprintf("container %q calls %s: its log says so", container, what)
	case d.env != "":
		return fmt.Sprintf("container %q calls %s: its variable %s says so", container, what, d.env)
	case d.place.object.ref.Kind == "ConfigMap":
		return fmt.Sprintf("container %q calls %s: its %s says so", container, what, d.place.object.ref)
	}
	return fmt.Sprintf("container %q calls %s: its command says so", container, what)
}

// namedIn reports whether a line names the dependency: by its host, its name as the resolver completes
// it, its cluster address, or a port that no other dependency has.
func (d dependency) namedIn(line string, all []dependency) bool {
	lower := strings.ToLower(line)
	if hasWord(lower, d.host) || hasWord(lower, d.ref.Name+"."+d.ref.Namespace) {
		return true
	}
	if d.svc != nil {
		if ip := d.svc.At("spec", "clusterIP").Str(); strings.Contains(ip, ".") && hasWord(line, ip) {
			return true
		}
	}
	if d.port == 0 || !hasWord(line, ":"+strconv.FormatInt(d.port, 10)) {
		return false
	}
	for _, other := range all {
		if other.port == d.port && !other.ref.Same(d.ref) {
			return false
		}
	}
	return true
}

// dependencies returns the Services that a container's configuration names: its environment, command
// and arguments, and the ConfigMaps that it takes variables or files from, in that order.
func (q *inquiry) dependencies(pod *Object, spec Value) []dependency {
	var out []dependency
	add := func(place Value, env, text string) {
		for _, a := range addressesIn(text) {
			d := dependency{address: a, place: place, env: env}
			if !q.resolveDependency(&d, pod.ref.Namespace) || isOwnService(d.svc, pod) {
				continue
			}
			if d.port == 0 && env != "" {
				d.port = siblingPort(spec, env)
			}
			if !slices.ContainsFunc(out, func(o dependency) bool { return o.ref.Same(d.ref) && (o.port == d.port || d.port == 0) }) {
				out = append(out, d)
			}
		}
	}
	for _, v := range q.environment(pod, spec) {
		add(v.value, v.name, v.value.Str())
	}
	for _, list := range []string{"command", "args"} {
		var words []string
		for _, w := range spec.At(list).Items() {
			words = append(words, w.Str())
		}
		if len(words) > 0 {
			add(spec.At(list), "", strings.Join(words, " "))
		}
	}
	for _, cm := range q.mountedConfigMaps(pod, spec) {
		for _, key := range cm.At("data").Keys() {
			add(cm.At("data", key), "", cm.At("data", key).Str())
		}
	}
	return out
}

// isOwnService reports whether a Service leads to the Pod itself.
func isOwnService(svc, pod *Object) bool {
	if svc == nil || svc.ref.Namespace != pod.ref.Namespace {
		return false
	}
	selector := svc.At("spec", "selector").StrMap()
	return len(selector) > 0 && selects(selector, pod.Labels())
}

// variable is one environment variable whose value was read.
type variable struct {
	name  string
	value Value
}

// environment returns the variables of a container whose values can be read, in the order in which the
// kubelet sets them; of two with one name the later counts.
func (q *inquiry) environment(pod *Object, spec Value) []variable {
	var out []variable
	set := func(name string, v Value) {
		out = slices.DeleteFunc(out, func(o variable) bool { return o.name == name })
		out = append(out, variable{name, v})
	}
	configMap := func(name string) *Object {
		return q.snap.Object(incident.Ref{APIVersion: "v1", Kind: "ConfigMap", Namespace: pod.ref.Namespace, Name: name})
	}
	for _, from := range spec.At("envFrom").Items() {
		if cm := configMap(from.At("configMapRef", "name").Str()); cm != nil {
			for _, key := range cm.At("data").Keys() {
				set(from.At("prefix").Str()+key, cm.At("data", key))
			}
		}
	}
	for _, env := range spec.At("env").Items() {
		name := env.At("name").Str()
		key := env.At("valueFrom", "configMapKeyRef")
		if !key.Exists() {
			set(name, env.At("value"))
		} else if cm := configMap(key.At("name").Str()); cm != nil {
			set(name, cm.At("data", key.At("key").Str()))
		}
	}
	return out
}

// siblingPort returns the port that belongs to a host's variable: the number in the variable that has PORT
// in place of its last part.
func siblingPort(spec Value, env string) int64 {
	i := strings.LastIndexByte(env, '_')
	if i < 0 {
		return 0
	}
	for _, other := range spec.At("env").Items() {
		if other.At("name").Str() == env[:i]+"_PORT" {
			return portNumber(other.At("value").Str())
		}
	}
	return 0
}

// mountedConfigMaps returns the ConfigMaps whose files a container can read.
func (q *inquiry) mountedConfigMaps(pod *Object, spec Value) []*Object {
	mounted := map[string]bool{}
	for _, m := range spec.At("volumeMounts").Items() {
		mounted[m.At("name").Str()] = true
	}
	var out []*Object
	for _, r := range podReferences(pod.At("spec")) {
		if r.kind != "ConfigMap" || r.volume == "" || !mounted[r.volume] {
			continue
		}
		if cm := q.snap.Object(r.ref(pod)); cm != nil {
			out = appendOnce(out, cm)
		}
	}
	return out
}

// resolveDependency finds the Service that an address means in a namespace, as the cluster's DNS would; false
// when it means none.
func (q *inquiry) resolveDependency(d *dependency, ns string) bool {
	parts := strings.Split(d.host, ".")
	if isNumber(parts[len(parts)-1]) {
		d.svc = q.services().byIP[d.host]
		if d.svc == nil {
			q.snap.wantKind("Service", "") // an address may be that of any
			return false
		}
		d.ref = d.svc.ref
		return true
	}
	name, inCluster := parts[0], false
	switch {
	case len(parts) >= 4 && parts[3] == "svc": // a Pod of a StatefulSet
		name, ns, inCluster = parts[1], parts[2], true
	case len(parts) >= 3 && parts[2] == "svc":
		ns, inCluster = parts[1], true
	case len(parts) == 2 && q.services().namespaces[parts[1]]:
		ns, inCluster = parts[1], true
	case len(parts) == 2 && len(q.services().byName[name]) > 0 && d.env != "": // a namespace that there is not, or a domain
		ns, d.loose = parts[1], true
	case len(parts) > 1:
		return false
	}
	d.ref = incident.Ref{APIVersion: "v1", Kind: "Service", Namespace: ns, Name: name}
	d.svc = q.snap.Object(d.ref)
	if d.loose {
		return true
	}
	if d.svc == nil && !inCluster && !d.sure {
		d.loose = true
		return d.env != "" && d.place.Str() == d.host
	}
	return true
}

// serviceIndex finds Services over all namespaces that were read.
type serviceIndex struct {
	byName     map[string][]*Object
	byIP       map[string]*Object
	namespaces map[string]bool
}

func (q *inquiry) services() *serviceIndex {
	if q.serviceIndex != nil {
		return q.serviceIndex
	}
	x := &serviceIndex{map[string][]*Object{}, map[string]*Object{}, map[string]bool{}}
	for _, o := range q.snap.c.Objects {
		switch {
		case o.ref.Kind == "Namespace":
			x.namespaces[o.ref.Name] = true
		case o.ref.Kind == "Service" && groupOf(o.ref.APIVersion, o.ref.Kind) == "":
			x.namespaces[o.ref.Namespace] = true
			x.byName[o.ref.Name] = append(x.byName[o.ref.Name], o)
			if ip := o.At("spec", "clusterIP").Str(); strings.Contains(ip, ".") {
				x.byIP[ip] = o
			}
		}
	}
	q.serviceIndex = x
	return x
}

// servesPort reports whether a Service can be called on a port. One without a cluster address leads to its
// Pods' own ports, of which none need be declared.
func (q *inquiry) servesPort(svc *Object, number int64) bool {
	ports := svc.At("spec", "ports").Items()
	if number == 0 || len(ports) == 0 || svc.At("spec", "clusterIP").Str() == "None" || svc.At("spec", "type").Str() == "ExternalName" {
		return true
	}
	return slices.ContainsFunc(ports, func(p Value) bool { return p.At("port").IntOr(0) == number })
}

// tie says how surely a container's symptom comes from one of its dependencies.
type tie struct {
	dependency
	said   *complaint // what the container says about it; nil when it says nothing
	strong directness
}

// overheard is how surely a container's symptom comes from a Service that nothing but its log names. A log is text that
// anybody may have written: what hangs on it alone stays below what is done without asking a person.
const overheard directness = 0.75

// ties returns the dependencies that can be behind a symptom. A container that logs and says nothing about a
// dependency does not fail for it, save an init container that runs and waits: those are often silent.
func (q *inquiry) ties(s symptom) []tie {
	if s.container == nil || s.container.lastRun().reason == "OOMKilled" && s.kind == containerDying {
		return nil
	}
	known := q.dependencies(s.object, s.container.spec)
	lines := q.tail(s)
	known = append(known, q.heardOf(s, lines, known)...)
	all := slices.DeleteFunc(slices.Clone(known), func(d dependency) bool { return d.loose })
	waits := s.container.init && s.container.running()
	var out []tie
	for _, d := range known {
		if d.loose {
			if said := complaintAbout(lines, d, []dependency{d}); said != nil && said.named && said.kind == unresolved {
				out = append(out, tie{dependency: d, said: said, strong: proven})
			}
			continue
		}
		t := tie{dependency: d, said: complaintAbout(lines, d, all), strong: inferred}
		switch {
		case t.said != nil && t.said.overtaken: // it fits, and what the program says last may be the reason
		case t.said != nil && t.heard != nil:
			t.strong = overheard
		case t.said != nil && t.said.named:
			t.strong = proven
		case t.said != nil:
			t.strong = compared
		case waits:
			t.strong = stated
		case len(lines) > 0:
			continue
		}
		out = append(out, t)
	}
	return out
}

// heardOf returns the Services that exist and that a container's complaints name, though no configuration that was read does:
// a Secret does, or the program has them built in. Only those of its own namespace are taken from a log.
func (q *inquiry) heardOf(s symptom, lines []spoken, known []dependency) []dependency {
	var out []dependency
	for _, l := range lines {
		if classifyComplaint(l.text) == noComplaint || goesOn(l.text) || namesAny(l.text, known) {
			continue
		}
		for _, a := range addressesIn(l.text) {
			d := dependency{address: a, heard: &l.cite}
			if (a.sure || a.port > 0) && q.resolveDependency(&d, s.subject.Namespace) && d.svc != nil && !isOwnService(d.svc, s.object) && d.ref.Namespace == s.subject.Namespace &&
				!slices.ContainsFunc(out, func(o dependency) bool { return o.ref.Same(d.ref) }) {
				out = append(out, d)
			}
		}
	}
	return out
}

// links returns the statements that lead from a container to its dependency.
func (t tie) links(s symptom) []link {
	l := link{s.subject, t.use(s.container.name), []cite{t.source()}}
	if t.said != nil {
		l.statement += "; it last says " + quote(t.said.text)
		l.proof = append(l.proof, t.said.cite)
	}
	return []link{l}
}
