package recorded

import (
	"regexp"
	"strings"

	"kubernaut.ai/kubernaut/internal/diagnose"
)

var (
	topKey   = regexp.MustCompile(`^[A-Z][\w .()/%|-]{0,60}:(?:\s|$)`)
	nameLine = regexp.MustCompile(`^Name:\s+\S+\s*$`)
	bareLine = regexp.MustCompile(`^(?:Data|BinaryData|Resource Quotas|Resource Limits|No resource quota\.|No LimitRange resource\.|=+|-+(?:\s+-+)+|Resource\s+Used\s+Hard|Type\s+Resource\s+Min\s+Max.*|PolicyRule:?|[\w./-]+(?:\s{2,}\S+)+)$`)
)

// describeStart reports whether a description begins at the first line.
func describeStart(lines []line) bool {
	if !nameLine.MatchString(lines[0].text) || len(lines) < 2 {
		return false
	}
	for _, l := range lines[1:min(len(lines), 4)] {
		if topKey.MatchString(l.text) || bareLine.MatchString(l.text) && !l.blank() {
			return true
		}
	}
	return false
}

// description reads the output of `kubectl describe` for one object.
func (r *reader) description(p *piece, lines []line) int {
	if !describeStart(lines) {
		return 0
	}
	n, data, blanks := 1, false, 0
	for n < len(lines) {
		l := lines[n]
		if l.blank() {
			blanks++
			n++
			continue
		}
		if nameLine.MatchString(l.text) && (!data || describeStart(lines[n:]) && blanks > 0) {
			break
		}
		top := l.indent() == 0 && !strings.HasPrefix(l.text, "\t")
		switch {
		case l.text == "Data":
			data = true
		case l.text == "BinaryData" || strings.HasPrefix(l.text, "Events:"):
			data = false
		}
		if top && !data && !topKey.MatchString(l.text) && (blanks > 0 || !bareLine.MatchString(l.text)) && !bareLine.MatchString(l.text) {
			break
		}
		if top && !data && blanks > 0 && (isHeader(l.text) || yamlStart.MatchString(l.text)) {
			break
		}
		blanks = 0
		n++
	}
	for n > 1 && lines[n-1].blank() {
		n--
	}
	r.described(p, lines[:n])
	return n
}

// described makes a sighting of a description.
func (r *reader) described(p *piece, lines []line) {
	root := outline(lines)
	name := root.entry("Name")
	res, known := p.cmd.only()
	if !known || p.cmd.verb != "describe" {
		if res, known = r.shapeOf(root, lines); !known && p.hint != nil && len(p.hint.kinds) == 1 {
			res, known = p.hint.kinds[0], true
		}
	}
	if kind, version := root.entry("Kind"), root.entry("API Version"); kind != "" && version != "" {
		res, known = resource{version, kind, root.entry("Namespace") != "" || kinds[kind].namespaced}, true
	}
	if !known {
		r.leave(p.file, lines[0].n, lines[len(lines)-1].n, "describes an object of a kind that cannot be told")
		return
	}
	s := &sighting{res: res, name: name, tree: map[string]any{}, src: Source{p.file, lines[0].n, FormDescription}, fields: []string{"/metadata/labels", "/metadata/annotations"}}
	s.namespace = root.entry("Namespace")
	s.known = s.namespace != "" || !res.namespaced
	if !s.known {
		s.namespace, s.known = p.where()
	}
	d := &description{r: r, p: p, s: s, root: root, lines: lines}
	d.read()
	r.see(s)
	r.reads = append(r.reads, diagnose.Read{APIVersion: res.apiVersion, Kind: res.kind, Namespace: s.namespace, Name: name, Found: 1})
	r.describedEvents(p, s, root.kid("Events"))
}

// shapeOf tells the kind of a description by its keys.
func (r *reader) shapeOf(root *node, lines []line) (resource, bool) {
	has := func(keys ...string) bool {
		for _, k := range keys {
			if !root.has(k) {
				return false
			}
		}
		return true
	}
	for _, shape := range []struct {
		kind string
		keys []string
	}{
		{"Node", []string{"System Info"}},
		{"Node", []string{"Roles", "Taints"}},
		{"Deployment", []string{"StrategyType"}},
		{"DaemonSet", []string{"Desired Number of Nodes Scheduled"}},
		{"StatefulSet", []string{"Volume Claims"}},
		{"StatefulSet", []string{"Update Strategy", "Replicas"}},
		{"CronJob", []string{"Concurrency Policy"}},
		{"Job", []string{"Pods Statuses"}},
		{"ReplicaSet", []string{"Replicas", "Pod Template"}},
		{"Pod", []string{"Containers"}},
		{"Pod", []string{"Node", "Status", "IPs"}},
		{"Pod", []string{"Service Account", "Status"}},
		{"PersistentVolume", []string{"Reclaim Policy", "Claim"}},
		{"PersistentVolumeClaim", []string{"Access Modes", "Volume"}},
		{"Service", []string{"Session Affinity"}},
		{"Service", []string{"Selector", "IP Families"}},
		{"Ingress", []string{"Rules", "Default backend"}},
		{"Ingress", []string{"Ingress Class"}},
		{"HorizontalPodAutoscaler", []string{"Reference", "Min replicas"}},
		{"ServiceAccount", []string{"Mountable secrets"}},
		{"NetworkPolicy", []string{"Created on", "Spec"}},
		{"PodDisruptionBudget", []string{"Min available"}},
		{"PodDisruptionBudget", []string{"Max unavailable"}},
		{"StorageClass", []string{"Provisioner"}},
	} {
		if has(shape.keys...) {
			return kinds[shape.kind], true
		}
	}
	for _, l := range lines {
		switch f := strings.Fields(l.text); {
		case len(f) == 3 && f[0] == "Resource" && f[1] == "Used" && f[2] == "Hard" && l.indent() == 0 && has("Namespace"):
			return kinds["ResourceQuota"], true
		case len(f) > 3 && f[0] == "Type" && f[1] == "Resource" && f[2] == "Min" && l.indent() == 0 && has("Namespace"):
			return kinds["LimitRange"], true
		case l.text == "BinaryData":
			return kinds["ConfigMap"], true
		case l.text == "Data" && has("Type"):
			return kinds["Secret"], true
		case l.text == "Data":
			return kinds["ConfigMap"], true
		case l.text == "No resource quota.":
			return kinds["Namespace"], true
		}
	}
	return resource{}, false
}

// description reads one description into a sighting.
type description struct {
	r     *reader
	p     *piece
	s     *sighting
	root  *node
	lines []line
}

func (d *description) set(value any, keys ...string) {
	if value != nil && value != "" {
		set(d.s.tree, value, keys...)
	}
}

// from sets a value and notes its line.
func (d *description) from(n *node, value any, keys ...string) {
	if n.key == "" {
		return
	}
	d.set(value, keys...)
	if d.s.lines == nil {
		d.s.lines = map[string]int{}
	}
	d.s.lines["/"+strings.Join(keys, "/")] = n.line.n
}

func (d *description) covers(paths ...string) { d.s.fields = append(d.s.fields, paths...) }

// read fills what is common to all kinds, and then each kind's own.
func (d *description) read() {
	root := d.root
	if n := root.kid("Labels"); n.key != "" {
		d.from(n, n.pairs(), "metadata", "labels")
	}
	if n := root.kid("Annotations"); n.key != "" {
		d.from(n, n.notes(), "metadata", "annotations")
	}
	if t := root.entry("CreationTimestamp", "Created on"); t != "" {
		d.set(d.r.stamp(t), "metadata", "creationTimestamp")
	}
	if kind, owner, ok := strings.Cut(root.entry("Controlled By"), "/"); ok {
		o := map[string]any{"kind": kind, "name": owner, "controller": true}
		if res, known := kinds[kind]; known {
			o["apiVersion"] = res.apiVersion
		}
		d.from(root.kid("Controlled By"), []any{o}, "metadata", "ownerReferences")
	}
	if status := root.entry("Status"); strings.HasPrefix(status, "Terminating (lasts ") {
		d.set(agoOf(strings.TrimSuffix(strings.TrimPrefix(status, "Terminating (lasts "), ")")), "metadata", "deletionTimestamp")
	}
	if f := strings.Trim(root.entry("Finalizers"), "[]"); f != "" {
		var list []any
		for one := range strings.FieldsSeq(f) {
			list = append(list, one)
		}
		d.set(list, "metadata", "finalizers")
		d.covers("/metadata/finalizers")
	}
	read, ok := map[string]func(){
		"Pod": d.pod, "Deployment": d.workload, "ReplicaSet": d.workload, "ReplicationController": d.workload, "StatefulSet": d.workload, "DaemonSet": d.workload, "Job": d.job, "CronJob": d.cronJob,
		"Node": d.node, "PersistentVolumeClaim": d.claim, "PersistentVolume": d.volume, "Service": d.service, "Ingress": d.ingress, "HorizontalPodAutoscaler": d.hpa, "ResourceQuota": d.quota,
		"LimitRange": d.limits, "ServiceAccount": d.serviceAccount, "NetworkPolicy": d.networkPolicy, "PodDisruptionBudget": d.pdb, "ConfigMap": d.configMap, "Secret": d.secret,
		"StorageClass": d.storageClass, "Namespace": d.namespace,
	}[d.s.res.kind]
	if !ok || d.root.has("API Version") {
		d.generic()
		return
	}
	read()
}

// conditions reads a table of conditions.
func (d *description) conditions() {
	n := d.root.kid("Conditions")
	if n.key == "" {
		return
	}
	head, rows, _ := n.rows()
	var list []any
	for _, row := range rows {
		c := map[string]any{}
		for i, h := range head {
			v := cell(row, i)
			switch h {
			case "Type", "Status", "Reason", "Message":
				if v != "" {
					c[strings.ToLower(h)] = v
				}
			case "LastHeartbeatTime", "LastTransitionTime":
				if t := d.r.stamp(v); t != nil {
					c[strings.ToLower(h[:1])+h[1:]] = t
				}
			}
		}
		if c["type"] != nil {
			list = append(list, c)
		}
	}
	if list != nil {
		d.from(n, list, "status", "conditions")
	}
}

// generic reads the description of any other kind, which prints the whole object.
func (d *description) generic() {
	for _, n := range d.root.kids {
		switch n.key {
		case "Spec", "Status", "Data", "Rules", "Subjects", "Role Ref", "Webhooks", "Value", "Provisioner", "Metadata":
			if v := value(n, 0); v != nil {
				if n.key == "Metadata" {
					m, _ := v.(map[string]any)
					for _, k := range []string{"creationTimestamp", "deletionTimestamp", "generation", "ownerReferences", "finalizers", "uid", "resourceVersion"} {
						if m[k] != nil {
							if k == "ownerReferences" || k == "finalizers" {
								if one, ok := m[k].(map[string]any); ok {
									m[k] = []any{one}
								} else if one, ok := m[k].(string); ok {
									m[k] = []any{one}
								}
							}
							d.set(m[k], "metadata", k)
						}
					}
					d.covers("/metadata")
					continue
				}
				d.from(n, v, fieldName(n.key))
				d.covers("/" + fieldName(n.key))
			}
		}
	}
	d.r.dates(d.s.tree, 0)
}

// value turns a node of a generic description into JSON.
func value(n *node, depth int) any {
	if len(n.kids) == 0 || depth > 40 {
		return scalar(n.value)
	}
	keyless := 0
	seen := map[string]bool{}
	list := n.key == "Conditions" || n.key == "Owner References"
	for _, k := range n.kids {
		if k.key == "" || strings.Contains(k.key, ",") {
			keyless++
		}
		list = list || seen[k.key]
		seen[k.key] = true
	}
	if keyless == len(n.kids) {
		var out []any
		if n.value != "" {
			out = append(out, scalar(n.value))
		}
		for _, k := range n.kids {
			out = append(out, scalar(k.text))
		}
		return out
	}
	var out []any
	cur := map[string]any{}
	for _, k := range n.kids {
		if k.key == "" {
			continue
		}
		f := fieldName(k.key)
		if _, again := cur[f]; again && list {
			out = append(out, cur)
			cur = map[string]any{}
		}
		if v := value(k, depth+1); v != nil {
			cur[f] = v
		}
	}
	if list {
		return append(out, cur)
	}
	return cur
}

func scalar(s string) any {
	switch s = plain(s); s {
	case "":
		return nil
	case "true":
		return true
	case "false":
		return false
	}
	if n, ok := number(s); ok && strings.Trim(s, "0123456789") == "" && len(s) < 18 {
		return n
	}
	return s
}

// fieldName undoes how kubectl writes the name of a field: "Last Transition Time" is lastTransitionTime.
func fieldName(label string) string {
	words := strings.Fields(label)
	if len(words) == 0 || strings.ContainsAny(label, "./_-") {
		return label
	}
	words[0] = strings.ToLower(words[0][:1]) + words[0][1:]
	if strings.ToUpper(words[0][1:]) == words[0][1:] {
		words[0] = strings.ToLower(words[0])
	}
	return strings.Join(words, "")
}
