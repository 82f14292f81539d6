package recorded

import (
	"fmt"
	"regexp"
	"strings"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

var (
	emptyIn     = regexp.MustCompile(`^No resources found(?: in (\S+) namespace)?\.?$`)
	notFound    = regexp.MustCompile(`^(?:Error from server|error:?) \(NotFound\): (\S+) "([^"]+)" not found`)
	forbidden   = regexp.MustCompile(`^Error from server \(Forbidden\): (.*)$`)
	cannot      = regexp.MustCompile(`cannot (\w+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)"| at the cluster scope)?`)
	unreachable = regexp.MustCompile(`^(Unable to connect to the server|The connection to the server .* was refused|error: You must be logged in|Error from server \(\w+\)|error: the server doesn't have a resource type|Error from server|error: Metrics API not available|error: timed out|I?E?\d{4} .*couldn't get current server API group list)`)
)

// message reads what kubectl says instead of an answer.
func (r *reader) message(p *piece, lines []line) int {
	text := strings.TrimSpace(lines[0].text)
	if m := emptyIn.FindStringSubmatch(text); m != nil {
		if p.cmd.lists() || p.cmd != nil && p.cmd.verb == "get" && len(p.cmd.names) == 0 && !p.cmd.filtered {
			for _, res := range p.cmd.resources {
				read := diagnose.Read{APIVersion: res.apiVersion, Kind: res.kind, Selector: p.cmd.selector, Truncated: p.cut}
				r.askedIn(p, read, res, m[1])
			}
		}
		return 1
	}
	if m := notFound.FindStringSubmatch(text); m != nil {
		if res, ok := resourceOf(m[1]); ok {
			r.askedIn(p, diagnose.Read{APIVersion: res.apiVersion, Kind: res.kind, Name: m[2]}, res, "")
		}
		return 1
	}
	if m := forbidden.FindStringSubmatch(text); m != nil {
		gap := diagnose.Gap{Kind: incident.GapForbidden, What: "what a command asked for", Reason: m[1]}
		if c := cannot.FindStringSubmatch(m[1]); c != nil {
			name, sub, _ := strings.Cut(c[2], "/")
			if res, ok := resources[name]; ok {
				gap.Subject.Kind = res.kind
				if sub == "log" {
					gap.Subject.Kind = "Log"
				}
			}
			gap.Subject.Namespace = c[4]
			gap.What = c[2]
			if c[4] != "" {
				gap.What += " in namespace " + c[4]
			}
		}
		r.gaps = append(r.gaps, gap)
		return 1
	}
	if unreachable.MatchString(text) {
		gap := diagnose.Gap{Kind: incident.GapFailed, What: "what a command asked for", Reason: text}
		if res, ok := p.cmd.only(); ok {
			gap.Subject = incident.Ref{Kind: res.kind, Namespace: p.cmd.namespace}
			gap.What = fmt.Sprintf("%s objects", res.kind)
		}
		r.gaps = append(r.gaps, gap)
		return 1
	}
	return 0
}

// asked notes lists that a command was answered in full.
func (r *reader) asked(p *piece, found int) {
	if !p.cmd.lists() {
		return
	}
	for _, res := range p.cmd.resources {
		r.askedIn(p, diagnose.Read{APIVersion: res.apiVersion, Kind: res.kind, Found: found, Truncated: p.cut}, res, "")
	}
}

func (r *reader) askedIn(p *piece, read diagnose.Read, res resource, namespace string) {
	ns, known := p.where()
	switch {
	case !res.namespaced || p.cmd != nil && p.cmd.allNamespaces:
		r.reads = append(r.reads, read)
	case namespace != "" || known:
		if read.Namespace = ns; namespace != "" {
			read.Namespace = namespace
		}
		r.hints[read.Namespace]++
		r.reads = append(r.reads, read)
	default:
		r.pending = append(r.pending, &read)
	}
}

// canI reads the answer to `kubectl auth can-i`.
func (r *reader) canI(p *piece, lines []line) int {
	text := strings.TrimSpace(lines[0].text)
	if p.cmd == nil || p.cmd.verb != "auth" || len(p.cmd.args) < 3 || p.cmd.args[0] != "can-i" {
		return 0
	}
	answer, _, _ := strings.Cut(text, " ")
	if answer != "yes" && answer != "no" {
		return 0
	}
	name, sub, _ := strings.Cut(p.cmd.args[2], "/")
	object := ""
	if res, ok := resourceOf(name); ok {
		for known, other := range resources {
			if other == res && len(known) > len(name) {
				name = known
			}
		}
	} else {
		object = sub
	}
	attributes := map[string]any{"verb": p.cmd.args[1], "resource": name, "namespace": p.cmd.namespace}
	if sub != "" && object == "" {
		attributes["subresource"] = sub
	}
	r.see(&sighting{
		res: resource{"authorization.k8s.io/v1", "SubjectAccessReview", false}, known: true,
		name: strings.ToLower(strings.Join([]string{p.cmd.as, p.cmd.args[1], p.cmd.args[2], p.cmd.namespace}, ".")),
		tree: map[string]any{
			"spec":   map[string]any{"user": p.cmd.as, "resourceAttributes": attributes},
			"status": map[string]any{"allowed": answer == "yes"},
		},
		src: Source{p.file, lines[0].n, FormTable},
	})
	return 1
}

var revisionsOf = regexp.MustCompile(`^(deployment|statefulset|daemonset)\.apps/(\S+?)\s*$`)

// rollout reads `kubectl rollout history` and status.
func (r *reader) rollout(p *piece, lines []line) int {
	text := strings.TrimSpace(lines[0].text)
	if m := revisionsOf.FindStringSubmatch(text); m != nil && len(lines) > 1 && strings.HasPrefix(lines[1].text, "REVISION") {
		n := 2
		newest := ""
		for n < len(lines) && !lines[n].blank() {
			newest, _, _ = strings.Cut(strings.TrimSpace(lines[n].text), " ")
			n++
		}
		res := resources[m[1]]
		s := r.sighting(p, res, m[2], lines[0], FormTable)
		if res.kind == "Deployment" && newest != "" {
			set(s.tree, newest, "metadata", "annotations", "deployment.kubernetes.io/revision")
		}
		r.see(s)
		return n
	}
	if p.cmd != nil && p.cmd.verb == "rollout" && (strings.HasPrefix(text, "Waiting for ") || strings.Contains(text, "successfully rolled out") || strings.HasPrefix(text, "error: ")) {
		return 1
	}
	return 0
}

var versionLine = regexp.MustCompile(`^(Client Version|Server Version|Kustomize Version|WARNING: version difference|Warning: v1 |Warning: .* is deprecated|Kubernetes control plane is running|CoreDNS is running|To further debug)\b`)

func (r *reader) version(_ *piece, lines []line) int {
	if versionLine.MatchString(strings.TrimSpace(lines[0].text)) {
		return 1
	}
	return 0
}

// sighting makes one with an empty tree and no known field.
func (r *reader) sighting(p *piece, res resource, name string, l line, form Form) *sighting {
	s := &sighting{res: res, name: name, tree: map[string]any{}, fields: []string{}, src: Source{p.file, l.n, form}}
	if !res.namespaced {
		s.known = true
		return s
	}
	s.namespace, s.known = p.where()
	return s
}

// set puts a value into a tree.
func set(tree map[string]any, value any, keys ...string) {
	for _, k := range keys[:len(keys)-1] {
		next, ok := tree[k].(map[string]any)
		if !ok {
			next = map[string]any{}
			tree[k] = next
		}
		tree = next
	}
	tree[keys[len(keys)-1]] = value
}
