package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// request is what the API server refused to a ServiceAccount, as its answer says it.
type request struct {
	account     incident.Ref
	verb        string
	resource    string // with its subresource
	group       string
	namespace   string // "" for the whole cluster
	clusterWide bool
}

// isForbidden reports whether a line is the API server's refusal of a ServiceAccount.
func isForbidden(line string) bool {
	_, ok := forbidden(line)
	return ok
}

// forbidden reads the API server's refusal out of a line.
func forbidden(line string) (request, bool) {
	line = strings.ReplaceAll(line, `\`, "")
	_, rest, ok := strings.Cut(line, `User "system:serviceaccount:`)
	user, rest, ok2 := strings.Cut(rest, `" cannot `)
	ns, name, ok3 := strings.Cut(user, ":")
	verb, rest, ok4 := strings.Cut(rest, ` resource "`)
	resource, rest, ok5 := strings.Cut(rest, `" in API group "`)
	group, rest, ok6 := strings.Cut(rest, `"`)
	if !ok || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || strings.ContainsAny(verb+resource+ns+name, " \"") {
		return request{}, false
	}
	r := request{account: incident.Ref{APIVersion: "v1", Kind: "ServiceAccount", Namespace: ns, Name: name}, verb: verb, resource: resource, group: group}
	if _, where, ok := strings.Cut(rest, `in the namespace "`); ok {
		r.namespace, _, _ = strings.Cut(where, `"`)
	} else {
		r.clusterWide = true
	}
	return r, true
}

func (r request) String() string {
	what := r.resource
	if r.group != "" {
		what += "." + r.group
	}
	where := "in namespace " + r.namespace
	if r.clusterWide {
		where = "at the cluster scope"
	}
	return fmt.Sprintf("%s %s %s", r.verb, what, where)
}

// RBACDenied ends at the Role or binding that falls short of what a program asks the API server for with its ServiceAccount. A
// refusal that the roles of now would not give is history.
func (catalogue) RBACDenied() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			for _, l := range q.tail(s) {
				r, ok := forbidden(l.text)
				if !ok || !runsAs(s.object, r.account) {
					continue
				}
				fault := q.shortfall(r)
				if fault == nil {
					continue
				}
				c := &cause{
					class: ClassRBACDenied, target: fault.target, detail: r.String(), direct: fault.direct, timing: timingUnrelated, elsewhere: true,
					signals: []string{"Forbidden", "CrashLoopBackOff"}, depends: []string{"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"},
					params:  map[string]string{"SERVICE_ACCOUNT": r.account.Name},
					last:    link{fault.target, fault.statement, append([]cite{l.cite}, fault.proof...)},
					summary: fmt.Sprintf("The API server does not let %s %s: %s.", r.account, r, fault.statement),
					factors: fault.factors,
				}
				return []answer{{via: []link{{s.subject, fmt.Sprintf("container %q was refused by the API server: %s may not %s", s.container.name, r.account, r), []cite{l.cite}}}, cause: c}}
			}
			return nil
		},
	}
}

// runsAs reports whether a Pod uses the ServiceAccount: a line about another one is about somebody else, or made up.
func runsAs(pod *Object, account incident.Ref) bool {
	name := pod.At("spec", "serviceAccountName").Str()
	if name == "" {
		name = "default"
	}
	return pod.ref.Namespace == account.Namespace && name == account.Name
}

// shortfall is where the permission for a request is missing.
type shortfall struct {
	target    incident.Ref
	statement string
	proof     []cite
	direct    directness
	factors   []string
}

// binding is a RoleBinding or ClusterRoleBinding with the role that it gives.
type binding struct {
	object *Object
	role   *Object // nil when it does not exist or was not read
	ref    incident.Ref
	gives  grant
}

// grant says what the rules of a role make of a request.
type grant int

const (
	nothingGiven grant = iota // no rule is about the resource
	otherVerb                 // a rule is about the resource, with other verbs
	otherGroup                // a rule has resource and verb, in another API group
	given
)

// shortfall finds what is missing for a request; nil when the roles that were read would grant it.
func (q *inquiry) shortfall(r request) *shortfall {
	all := q.bindings(r.namespace)
	known := q.snap.Listed("ClusterRoleBinding", "") && (r.clusterWide || q.snap.Listed("RoleBinding", r.namespace))
	var bound []binding
	for _, b := range all {
		if b.object.ref.Kind == "RoleBinding" && (r.clusterWide || b.object.ref.Namespace != r.namespace) || !b.covers(r.account) {
			continue
		}
		if b.gives = grantOf(b.role, r); b.gives == given {
			return nil
		}
		bound = append(bound, b)
	}
	for _, want := range []grant{otherVerb, otherGroup} {
		for _, b := range bound {
			if b.gives != want {
				continue
			}
			f := &shortfall{target: b.role.ref, direct: proven, proof: []cite{at(b.role.At("rules")), at(b.object.At("subjects"))}}
			f.statement = fmt.Sprintf("its rules name %s without the verb %s", r.resource, r.verb)
			if want == otherGroup {
				f.statement = fmt.Sprintf("its rules allow to %s %s in another API group than %q", r.verb, r.resource, r.group)
			}
			return f
		}
	}
	for _, b := range bound {
		if b.role == nil && q.snap.Knows(b.ref) == Absent {
			return &shortfall{
				target: b.object.ref, direct: proven, proof: []cite{at(b.object.At("roleRef")), gone(b.ref)},
				statement: fmt.Sprintf("it binds %s, which does not exist", b.ref),
			}
		}
	}
	for _, b := range all {
		if b.gives = grantOf(b.role, r); b.gives != given {
			continue
		}
		place := b.object.At("subjects")
		if b.covers(r.account) { // in another namespace, or in one namespace where the whole cluster is asked for
			return &shortfall{
				target: b.object.ref, direct: compared, proof: []cite{at(place), at(b.role.At("rules"))},
				statement: fmt.Sprintf("it gives %s in namespace %s only", b.ref, b.object.ref.Namespace),
			}
		}
		if b.object.ref.Kind == "RoleBinding" && b.object.ref.Namespace != r.namespace {
			continue
		}
		for _, subject := range place.Items() {
			name, ns := subject.At("name").Str(), b.namespaceOf(subject)
			ref := incident.Ref{APIVersion: "v1", Kind: "ServiceAccount", Namespace: ns, Name: name}
			if subject.At("kind").Str() == "ServiceAccount" && (name == r.account.Name || ns == r.account.Namespace && q.snap.Knows(ref) == Absent) {
				return &shortfall{
					target: b.object.ref, direct: proven, proof: []cite{at(subject), at(b.role.At("rules"))},
					statement: fmt.Sprintf("it gives %s to %s, not to %s", b.ref, ref, r.account),
				}
			}
		}
	}
	var roles []binding
	for _, b := range bound {
		if b.role != nil && b.role.ref.Kind == "Role" {
			roles = append(roles, b)
		}
	}
	if len(roles) == 1 {
		b := roles[0]
		return &shortfall{target: b.role.ref, direct: compared, proof: []cite{at(b.role.At("rules")), at(b.object.At("subjects"))}, statement: fmt.Sprintf("none of its rules names %s", r.resource)}
	}
	f := &shortfall{target: r.account, direct: stated, statement: "no role that was read gives it that"}
	if known && len(bound) == 0 {
		f.statement = "no binding gives it a role there"
	}
	for _, kind := range []string{"Role", "ClusterRole"} {
		for _, role := range q.snap.Kind(kind, map[string]string{"Role": r.namespace}[kind]) {
			if len(f.factors) == 0 && kind == "Role" && grantOf(role, r) == given {
				f.factors = append(f.factors, fmt.Sprintf("%s would give it, and no binding names both.", role.ref))
			}
		}
	}
	return f
}

// bindings returns the bindings of the cluster and of all namespaces that were read, those of one namespace first.
func (q *inquiry) bindings(namespace string) []binding {
	if q.bound == nil {
		q.bound = []binding{}
		for _, o := range q.snap.c.Objects {
			if groupOf(o.ref.APIVersion, o.ref.Kind) != "rbac.authorization.k8s.io" || o.ref.Kind != "RoleBinding" && o.ref.Kind != "ClusterRoleBinding" {
				continue
			}
			ref := incident.Ref{APIVersion: "rbac.authorization.k8s.io/v1", Kind: o.At("roleRef", "kind").Str(), Name: o.At("roleRef", "name").Str()}
			if ref.Kind == "Role" {
				ref.Namespace = o.ref.Namespace
			}
			q.bound = append(q.bound, binding{object: o, role: q.snap.Object(ref), ref: ref})
		}
	}
	out := slices.Clone(q.bound)
	slices.SortStableFunc(out, func(a, b binding) int {
		return compareBool(a.object.ref.Namespace != namespace, b.object.ref.Namespace != namespace)
	})
	return out
}

// covers reports whether a binding is for the ServiceAccount or a group that it is in.
func (b binding) covers(account incident.Ref) bool {
	return slices.ContainsFunc(b.object.At("subjects").Items(), func(s Value) bool {
		name := s.At("name").Str()
		switch s.At("kind").Str() {
		case "ServiceAccount":
			return name == account.Name && b.namespaceOf(s) == account.Namespace
		case "Group":
			return name == "system:serviceaccounts" || name == "system:serviceaccounts:"+account.Namespace || name == "system:authenticated"
		case "User":
			return name == "system:serviceaccount:"+account.Namespace+":"+account.Name
		}
		return false
	})
}

// namespaceOf is where a ServiceAccount among the subjects is: a RoleBinding that names no namespace means its own.
func (b binding) namespaceOf(subject Value) string {
	if ns := subject.At("namespace").Str(); ns != "" {
		return ns
	}
	return b.object.ref.Namespace
}

// grantOf applies a role's rules to a request. A rule that is restricted to names counts as granting, because the answer does not say
// the name.
func grantOf(role *Object, r request) grant {
	best := nothingGiven
	if role == nil || role.partial {
		return best
	}
	has := func(list Value, want ...string) bool {
		return slices.ContainsFunc(list.Items(), func(v Value) bool { return v.Str() == "*" || slices.Contains(want, v.Str()) })
	}
	resources := []string{r.resource}
	if _, sub, ok := strings.Cut(r.resource, "/"); ok {
		resources = append(resources, "*/"+sub)
	}
	for _, rule := range role.At("rules").Items() {
		resource, verb := has(rule.At("resources"), resources...), has(rule.At("verbs"), r.verb)
		switch group := has(rule.At("apiGroups"), r.group); {
		case resource && verb && group:
			return given
		case resource && group:
			best = max(best, otherVerb)
		case resource && verb && best == nothingGiven:
			best = otherGroup
		}
	}
	return best
}
