package diagnose

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// misnaming is what is wrong with the address that a container's configuration names.
type misnaming struct {
	statement string
	proof     []cite
	suggest   map[string]string
	direct    directness
}

// misnamed compares the address that a container names with the Services that are there; nil when the address is
// right, or nothing says what else it should be.
func (q *inquiry) misnamed(s symptom, t tie) *misnaming {
	where := "its command"
	switch {
	case t.heard != nil:
		where = "what its program was given"
	case t.env != "":
		where = "variable " + t.env
	}
	if t.svc != nil {
		if q.servesPort(t.svc, t.port) {
			return nil
		}
		m := &misnaming{direct: proven, proof: []cite{t.source(), at(t.svc.At("spec", "ports"))}}
		var have []string
		for _, p := range t.svc.At("spec", "ports").Items() {
			have = append(have, p.At("port").Text())
		}
		m.statement = fmt.Sprintf("%s names port %d of %s, which serves %s", where, t.port, t.ref, list(have, 4))
		m.suggest = map[string]string{"PORT": strconv.FormatInt(t.port, 10)}
		if len(have) == 1 {
			m.suggest["SUGGESTED_PORT"] = have[0]
		}
		return m
	}
	if q.snap.Knows(t.ref) != Absent {
		return nil
	}
	m := &misnaming{direct: compared, proof: []cite{t.source(), gone(t.ref)}, suggest: map[string]string{}}
	m.statement = fmt.Sprintf("%s names %s, and there is no such Service", where, t.ref)
	if before, svc := q.formerAddress(s, t); svc != nil {
		m.direct = proven
		m.statement += fmt.Sprintf("; before the last rollout it named %s, which exists", svc.ref)
		m.proof = append(m.proof, at(before), exists(svc))
		m.suggest["SUGGESTED_HOST"] = svc.ref.Name
		return m
	}
	if q.behindAbsent(t.ref) != nil {
		return nil // it is the Service that is missing
	}
	var elsewhere []*Object
	for _, svc := range q.services().byName[t.ref.Name] {
		if svc.ref.Namespace != t.ref.Namespace {
			elsewhere = append(elsewhere, svc)
		}
	}
	if len(elsewhere) > 0 {
		if len(elsewhere) == 1 {
			m.direct = proven
			m.suggest["SUGGESTED_HOST"] = elsewhere[0].ref.Name + "." + elsewhere[0].ref.Namespace
		}
		m.statement += fmt.Sprintf("; one of that name is in namespace %s", elsewhere[0].ref.Namespace)
		m.proof = append(m.proof, exists(elsewhere[0]))
		return m
	}
	if near := q.nearestObject(t.ref); near != "" {
		ref := t.ref
		ref.Name = near
		svc := q.snap.Object(ref)
		if t.port > 0 && !q.servesPort(svc, t.port) || isOwnService(svc, s.object) {
			return nil
		}
		m.statement += fmt.Sprintf("; Service %q is there, and its name is near", near)
		m.proof = append(m.proof, exists(svc))
		m.suggest["SUGGESTED_HOST"] = near
		return m
	}
	if svc := q.kindred(t.ref, t.port); svc != nil && !isOwnService(svc, s.object) {
		m.statement += fmt.Sprintf("; of the Services that are there only %q serves port %d, and the one name holds the other", svc.ref.Name, t.port)
		m.proof = append(m.proof, exists(svc), at(svc.At("spec", "ports")))
		m.suggest["SUGGESTED_HOST"] = svc.ref.Name
		return m
	}
	return nil
}

// kindred returns the one Service that serves the port which is called under another name, when all words of the one name are
// in the other, as in "redis" and "redis-master"; nil when there is none, or more than one.
func (q *inquiry) kindred(ref incident.Ref, port int64) *Object {
	if port <= 0 {
		return nil
	}
	called := strings.Split(ref.Name, "-")
	var found *Object
	for _, svc := range q.snap.Kind(ref.Kind, ref.Namespace) {
		words := strings.Split(svc.ref.Name, "-")
		missing := func(in []string) func(string) bool { return func(w string) bool { return !slices.Contains(in, w) } }
		if !q.servesPort(svc, port) || slices.ContainsFunc(called, missing(words)) && slices.ContainsFunc(words, missing(called)) {
			continue
		}
		if found != nil {
			return nil
		}
		found = svc
	}
	return found
}

// formerAddress returns what the variable said before the last rollout, when that names a Service that exists.
func (q *inquiry) formerAddress(s symptom, t tie) (Value, *Object) {
	u, ok := q.lastUpdate(s.object)
	if !ok {
		return Value{}, nil
	}
	for _, ch := range u.changes {
		if !ch.concerns(s.container.name) || !ch.from.Exists() || t.env != "" && !hasWord(ch.field, t.env) {
			continue
		}
		for _, a := range addressesIn(ch.from.Text()) {
			d := dependency{address: a}
			if q.resolveDependency(&d, s.subject.Namespace) && d.svc != nil && !d.ref.Same(t.ref) {
				return ch.from, d.svc
			}
		}
	}
	return Value{}, nil
}

// EnvWrong ends at a workload whose configuration names a host or port that no Service serves while another one
// does, or that sets a variable twice. What is wrong is the value, not the Service.
func (catalogue) EnvWrong() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			target := q.owner(s.object)
			for _, t := range q.ties(s) {
				m := q.misnamed(s, t)
				if m == nil || s.kind == callFails && t.said == nil {
					continue
				}
				c := q.envCause(s, m)
				c.target, c.detail = target, s.container.name+"/"+t.env+"/"+t.ref.Name
				c.direct = min(c.direct, t.strong)
				if t.strong < stated {
					c.depends = []string{"Log"}
				}
				c.params["ENV_NAME"] = t.env
				if t.env == "" {
					delete(c.params, "ENV_NAME")
				}
				c.last.subject = target
				c.summary = fmt.Sprintf("%s: %s.", target, m.statement)
				if before, ok := q.shadowed(s, t.env); ok {
					c.last.proof = append(c.last.proof, at(before))
					c.factors = append(c.factors, fmt.Sprintf("Variable %s is set twice; the kubelet takes the later.", t.env))
				}
				out = append(out, answer{via: t.links(s), cause: c})
			}
			if len(out) > 0 || s.kind == callFails {
				return out
			}
			if c := q.duplicateCause(s); c != nil {
				out = append(out, answer{cause: c})
			}
			return out
		},
	}
}

func (q *inquiry) envCause(s symptom, m *misnaming) *cause {
	c := &cause{
		class: ClassEnvWrong, direct: m.direct, timing: timingUnrelated, signals: q.orRollout(s, "CrashLoopBackOff", "EnvWrong"),
		params: map[string]string{"CONTAINER": s.container.name}, last: link{statement: m.statement, proof: m.proof},
	}
	maps.Copy(c.params, m.suggest)
	return c
}

// shadowed returns the value that an earlier entry gives a variable which a later one sets otherwise.
func (q *inquiry) shadowed(s symptom, name string) (Value, bool) {
	entries := s.container.spec.At("env").Items()
	for i, e := range entries {
		if name == "" || e.At("name").Str() != name {
			continue
		}
		for _, later := range entries[i+1:] {
			if later.At("name").Str() == name && later.Text() != e.Text() {
				return e.At("value"), true
			}
		}
	}
	return Value{}, false
}

// duplicateCause is for a variable that is set twice, to different values, and that the program complains about: its
// last lines hold the variable's name or the value that counts.
func (q *inquiry) duplicateCause(s symptom) *cause {
	lines := q.tail(s)
	entries := s.container.spec.At("env").Items()
	for i, e := range entries {
		name := e.At("name").Str()
		if _, twice := q.shadowed(s, name); !twice {
			continue
		}
		last := e
		for _, later := range entries[i+1:] {
			if later.At("name").Str() == name {
				last = later
			}
		}
		value := last.At("value").Str()
		n := slices.IndexFunc(lines, func(l spoken) bool {
			return hasWord(l.text, name) || len(value) > 3 && strings.Contains(l.text, value) ||
				slices.ContainsFunc(addressesIn(value), func(a address) bool { return a.sure && hasWord(l.text, a.host) })
		})
		if n < 0 {
			continue
		}
		m := &misnaming{
			statement: fmt.Sprintf("variable %s is set twice, and the later value, which counts, is %s; the program says %s", name, quote(value), quote(lines[n].text)),
			proof:     []cite{at(e), at(last), lines[n].cite}, direct: compared,
		}
		c := q.envCause(s, m)
		c.target, c.detail = q.owner(s.object), s.container.name+"/"+name
		c.params["ENV_NAME"] = name
		c.last.subject = c.target
		c.summary = fmt.Sprintf("%s: variable %s is set twice, and the later value counts.", c.target, name)
		return c
	}
	return nil
}

// EnvMissing ends at a variable that the program asks for and that its template does not set.
func (catalogue) EnvMissing() rule {
	return rule{
		explains: []symptomKind{containerDying},
		why: func(q *inquiry, s symptom) []answer {
			spec := s.container.spec
			if s.container.lastRun().reason == "OOMKilled" {
				return nil
			}
			set := map[string]Value{}
			for _, v := range q.environment(s.object, spec) {
				set[v.name] = v.value
			}
			for _, e := range spec.At("env").Items() {
				if e.At("valueFrom").Exists() && !set[e.At("name").Str()].Exists() {
					set[e.At("name").Str()] = e.At("valueFrom")
				}
			}
			for _, l := range q.tail(s) {
				for _, name := range wantedVariables(l.text) {
					value, has := set[name]
					if has && value.Text() != "" && !value.At("secretKeyRef", "optional").Bool() && !value.At("configMapKeyRef", "optional").Bool() {
						continue
					}
					return []answer{{cause: q.envMissing(s, l, name, value)}}
				}
			}
			return nil
		},
	}
}

func (q *inquiry) envMissing(s symptom, l spoken, name string, value Value) *cause {
	target := q.owner(s.object)
	env := s.container.spec.At("env")
	c := &cause{
		class: ClassEnvMissing, target: target, detail: s.container.name + "/" + name, direct: compared, timing: timingUnrelated,
		signals: q.orRollout(s, "CrashLoopBackOff", "EnvMissing"), params: map[string]string{"CONTAINER": s.container.name},
		last: link{target, fmt.Sprintf("container %q does not set variable %s, which the program asks for: %s", s.container.name, name, quote(l.text)), []cite{at(env), l.cite}},
	}
	if value.Exists() {
		c.last.statement = fmt.Sprintf("container %q sets variable %s to nothing, and the program asks for it: %s", s.container.name, name, quote(l.text))
		c.last.proof = []cite{at(value), l.cite}
	}
	for _, kind := range []string{"secretKeyRef", "configMapKeyRef"} { // an optional reference leaves a variable unset
		ref := value.At(kind)
		if !ref.At("optional").Bool() {
			continue
		}
		object := incident.Ref{APIVersion: "v1", Kind: "Secret", Namespace: s.subject.Namespace, Name: ref.At("name").Str()}
		if kind == "configMapKeyRef" {
			object.Kind = "ConfigMap"
		}
		c.last.statement = fmt.Sprintf("container %q takes variable %s from %s, which need not be there, and the program asks for it: %s", s.container.name, name, object, quote(l.text))
		c.last.proof = []cite{at(ref), l.cite}
		if q.snap.Knows(object) == Absent {
			c.direct, c.last.proof = proven, append(c.last.proof, gone(object))
		}
	}
	for _, from := range s.container.spec.At("envFrom").Items() {
		if from.At("secretRef").Exists() {
			c.direct, c.depends = reported, []string{"Secret"} // its keys are not read
			c.last.proof = append(c.last.proof, at(from))
		}
	}
	if u, ok := q.lastUpdate(s.object); ok {
		for _, ch := range u.changes {
			if ch.concerns(s.container.name) && ch.from.Exists() && !ch.to.Exists() && strings.Contains(ch.field, "env["+name+"]") {
				c.direct, c.params["ENV_NAME"] = proven, name
				c.last.statement += fmt.Sprintf("; revision %d removed it", u.current.number)
				c.last.proof = append(c.last.proof, at(ch.from))
			}
		}
	}
	c.summary = fmt.Sprintf("The program in container %q of %s asks for variable %s, which is not set.", s.container.name, target, name)
	var names []string
	for _, e := range env.Items() {
		names = append(names, e.At("name").Str())
	}
	if near := nearest(name, names); near != "" {
		c.params["SUGGESTED_NAME"] = near
		c.factors = append(c.factors, fmt.Sprintf("Variable %s is set, and its name is near.", near))
	}
	return c
}

// wantedVariables returns what a line says is not set, as far as it has the form of a variable's name. A line that does not
// speak of variables must say so in words that are used of them.
func wantedVariables(line string) []string {
	lower := strings.ToLower(line)
	holds := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(lower, w) })
	}
	aboutEnv := holds("env", "variable", "keyerror")
	lacks := holds("not set", "unset", "must be set", "is required", "are required", "undefined", "not defined", "is empty", "not provided", "must be provided",
		"cannot be empty", "must not be empty", "need to set", "not configured", "must be specified", "not specified", "is missing", "missing required")
	lacks = lacks || aboutEnv && holds("keyerror", "required", "missing", "not found", "unbound", "not present", "no value", "lookup")
	if !lacks || goesOn(line) || isMild(line) {
		return nil
	}
	var out []string
	for _, word := range strings.FieldsFunc(line, func(r rune) bool {
		return r != '_' && (r > 127 || !isWordByte(byte(r)))
	}) {
		if len(word) < 3 || word[0] < 'A' || word[0] > 'Z' || strings.ToUpper(word) != word || strings.HasPrefix(word, "ERR_") || strings.Contains(word, "ERROR") {
			continue
		}
		compound := strings.Contains(strings.Trim(word, "_"), "_")
		if compound || aboutEnv && !slices.Contains([]string{"FATAL", "WARN", "WARNING", "INFO", "DEBUG", "PANIC", "CRITICAL", "ENV", "UTC", "GMT", "ERR"}, word) {
			out = append(out, word)
		}
	}
	return out
}
