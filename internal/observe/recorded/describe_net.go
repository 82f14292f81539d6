package recorded

import (
	"regexp"
	"strings"
)

// service reads a Service, and the endpoints that its description prints.
func (d *description) service() {
	root := d.root
	d.covers("/spec/selector", "/spec/ports", "/spec/type", "/spec/externalName", "/spec/clusterIP", "/spec/sessionAffinity")
	if sel := root.kid("Selector"); sel.key != "" {
		if m := sel.pairs(); len(m) > 0 {
			d.from(sel, m, "spec", "selector")
		}
	}
	d.from(root.kid("Type"), root.entry("Type"), "spec", "type")
	d.from(root.kid("IP"), root.entry("IP"), "spec", "clusterIP")
	d.set(root.entry("External Name"), "spec", "externalName")
	d.set(root.entry("Internal Traffic Policy"), "spec", "internalTrafficPolicy")
	d.set(root.entry("External Traffic Policy"), "spec", "externalTrafficPolicy")
	d.covers("/spec/internalTrafficPolicy", "/spec/externalTrafficPolicy")
	var ports, slicePorts, endpoints []any
	var cur map[string]any
	printed := false
	var at line
	seen := map[string]bool{}
	for _, n := range root.kids {
		switch n.key {
		case "Port":
			f := strings.Fields(n.value)
			if len(f) == 0 {
				continue
			}
			number, protocol, _ := strings.Cut(f[len(f)-1], "/")
			cur = map[string]any{"port": portValue(number), "protocol": protocol}
			if len(f) == 2 && plain(f[0]) != "" {
				cur["name"] = f[0]
			}
			ports = append(ports, cur)
			at = n.line
		case "TargetPort":
			if cur != nil {
				target, _, _ := strings.Cut(n.value, "/")
				cur["targetPort"] = portValue(target)
			}
		case "NodePort":
			if f := strings.Fields(n.value); cur != nil && len(f) > 0 {
				number, _, _ := strings.Cut(f[len(f)-1], "/")
				cur["nodePort"] = portValue(number)
			}
		case "Endpoints":
			printed = true
			for e := range strings.SplitSeq(plain(n.value), ",") {
				e = strings.TrimSpace(e)
				if before, _, cut := strings.Cut(e, " + "); cut { // "+ 3 more..."
					e = before
				}
				i := strings.LastIndexByte(e, ':')
				if i < 0 {
					continue
				}
				if address := strings.Trim(e[:i], "[]"); !seen[address] {
					seen[address] = true
					endpoints = append(endpoints, map[string]any{"addresses": []any{address}, "conditions": map[string]any{"ready": true}})
				}
				if len(slicePorts) < len(ports) {
					p := map[string]any{"port": portValue(e[i+1:])}
					if cur != nil && cur["name"] != nil {
						p["name"] = cur["name"]
					}
					slicePorts = append(slicePorts, p)
				}
			}
		}
	}
	if ports != nil {
		d.set(ports, "spec", "ports")
		d.s.note("/spec/ports", at.n)
	}
	if printed && d.s.tree["spec"] != nil && root.entry("Type") != "ExternalName" && root.entry("Selector") != "" {
		d.r.see(d.endpointSlice(d.s.name, endpoints, slicePorts, root.kid("Endpoints").line))
	}
}

// endpointSlice stands for what was printed about a Service's endpoints: only the ready ones are.
func (d *description) endpointSlice(service string, endpoints, ports []any, l line) *sighting {
	s := &sighting{res: kinds["EndpointSlice"], namespace: d.s.namespace, known: d.s.known, name: service + "-described", src: Source{d.p.file, l.n, FormDescription}, fields: []string{"/endpoints", "/metadata/labels"}, tree: map[string]any{}}
	if endpoints == nil {
		endpoints = []any{}
	}
	s.tree["endpoints"] = endpoints
	if ports != nil {
		s.tree["ports"] = ports
	}
	set(s.tree, service, "metadata", "labels", "kubernetes.io/service-name")
	return s
}

var backend = regexp.MustCompile(`^(\S*)\s+([\w.-]+):([\w-]+) \(`)

func (d *description) ingress() {
	root := d.root
	d.covers("/spec/rules", "/spec/ingressClassName", "/spec/tls", "/spec/defaultBackend", "/status/loadBalancer")
	d.from(root.kid("Ingress Class"), root.entry("Ingress Class"), "spec", "ingressClassName")
	if a := root.entry("Address"); a != "" {
		d.set([]any{map[string]any{"ip": a}}, "status", "loadBalancer", "ingress")
	}
	var rules []any
	var walk func(n *node, paths *[]any)
	path := func(text string) map[string]any {
		m := backend.FindStringSubmatch(text)
		if m == nil {
			return nil
		}
		port := map[string]any{"number": portValue(m[3])}
		if _, isName := port["number"].(string); isName {
			port = map[string]any{"name": m[3]}
		}
		return map[string]any{"path": m[1], "pathType": "Prefix", "backend": map[string]any{"service": map[string]any{"name": m[2], "port": port}}}
	}
	walk = func(n *node, paths *[]any) {
		for _, k := range n.kids {
			if p := path(k.text); p != nil {
				*paths = append(*paths, p)
			}
			walk(k, paths)
		}
	}
	for _, n := range root.kid("Rules").kids {
		if strings.HasPrefix(n.text, "Host") || strings.HasPrefix(n.text, "----") {
			continue
		}
		host, rest, _ := strings.Cut(n.text, " ")
		var paths []any
		if p := path(strings.TrimSpace(rest)); p != nil {
			paths = append(paths, p)
		}
		walk(n, &paths)
		rule := map[string]any{"http": map[string]any{"paths": paths}}
		if host != "*" {
			rule["host"] = host
		}
		rules = append(rules, rule)
	}
	if rules != nil {
		d.from(root.kid("Rules"), rules, "spec", "rules")
	}
	var tls []any
	for _, n := range root.kid("TLS").kids {
		name, hosts, ok := strings.Cut(n.text, " terminates ")
		if !ok {
			continue
		}
		var list []any
		for h := range strings.SplitSeq(hosts, ",") {
			list = append(list, h)
		}
		tls = append(tls, map[string]any{"secretName": name, "hosts": list})
	}
	if tls != nil {
		d.from(root.kid("TLS"), tls, "spec", "tls")
	}
}

func (d *description) hpa() {
	root := d.root
	d.covers("/spec/scaleTargetRef", "/spec/minReplicas", "/spec/maxReplicas", "/spec/metrics", "/status/conditions", "/status/currentReplicas", "/status/desiredReplicas")
	if kind, name, ok := strings.Cut(root.entry("Reference"), "/"); ok {
		d.from(root.kid("Reference"), map[string]any{"kind": kind, "name": name, "apiVersion": kinds[kind].apiVersion}, "spec", "scaleTargetRef")
	}
	for key, field := range map[string]string{"Min replicas": "minReplicas", "Max replicas": "maxReplicas"} {
		if n, ok := number(root.entry(key)); ok {
			d.from(root.kid(key), n, "spec", field)
		}
	}
	for _, n := range root.kids {
		if strings.HasSuffix(n.key, " pods") && strings.Contains(n.value, "desired") {
			c := counted(n.value)
			d.from(n, c["current"], "status", "currentReplicas")
			d.from(n, c["desired"], "status", "desiredReplicas")
		}
	}
	metrics := regexp.MustCompile(`^resource (\w+) on pods\s*(?:\(as a percentage of request\))?:\s*(\S+)(?: \(\S+\))? / (\S+)`)
	var specs, current []any
	for _, n := range root.kid("Metrics").kids {
		m := metrics.FindStringSubmatch(n.text)
		if m == nil {
			continue
		}
		target := map[string]any{"type": "AverageValue", "averageValue": m[3]}
		if u, ok := number(m[3]); ok && strings.HasSuffix(m[3], "%") {
			target = map[string]any{"type": "Utilization", "averageUtilization": u}
		}
		specs = append(specs, map[string]any{"type": "Resource", "resource": map[string]any{"name": m[1], "target": target}})
		if u, ok := number(m[2]); ok && strings.HasSuffix(m[2], "%") {
			current = append(current, map[string]any{"type": "Resource", "resource": map[string]any{"name": m[1], "current": map[string]any{"averageUtilization": u}}})
		}
	}
	if specs != nil {
		d.from(root.kid("Metrics"), specs, "spec", "metrics")
	}
	if current != nil {
		d.from(root.kid("Metrics"), current, "status", "currentMetrics")
	}
	d.conditions()
}

// quota reads the table of a ResourceQuota, which stands at the margin.
func (d *description) quota() {
	d.covers("/spec/hard", "/status/hard", "/status/used", "/spec/scopes")
	in := false
	for _, l := range d.lines {
		f := strings.Fields(l.text)
		switch {
		case len(f) == 3 && f[0] == "Resource":
			in = true
		case len(f) > 0 && strings.HasPrefix(f[0], "Events"):
			in = false
		case in && len(f) == 3 && !strings.HasPrefix(f[0], "--"):
			set(d.s.tree, f[1], "status", "used", f[0])
			set(d.s.tree, f[2], "status", "hard", f[0])
			set(d.s.tree, f[2], "spec", "hard", f[0])
			d.s.note("/status/used/"+strings.ReplaceAll(f[0], "/", "~1"), l.n)
			d.s.note("/status/hard/"+strings.ReplaceAll(f[0], "/", "~1"), l.n)
		}
	}
	if scopes := d.root.entry("Scopes"); scopes != "" {
		var list []any
		for s := range strings.SplitSeq(scopes, ", ") {
			list = append(list, s)
		}
		d.set(list, "spec", "scopes")
	}
}

func (s *sighting) note(path string, n int) {
	if s.lines == nil {
		s.lines = map[string]int{}
	}
	s.lines[path] = n
}

func (d *description) limits() {
	d.covers("/spec/limits")
	byType := map[string]map[string]any{}
	var order []any
	for _, l := range d.lines {
		f := strings.Fields(l.text)
		if len(f) != 7 || strings.HasPrefix(f[0], "--") {
			continue
		}
		item := byType[f[0]]
		if item == nil {
			item = map[string]any{"type": f[0]}
			byType[f[0]] = item
			order = append(order, item)
		}
		for i, field := range []string{"min", "max", "defaultRequest", "default", "maxLimitRequestRatio"} {
			if f[i+2] != "-" {
				set(item, f[i+2], field, f[1])
			}
		}
	}
	if order != nil {
		d.set(order, "spec", "limits")
	}
}

func (d *description) serviceAccount() {
	d.covers("/imagePullSecrets", "/secrets")
	for key, field := range map[string]string{"Image pull secrets": "imagePullSecrets", "Mountable secrets": "secrets"} {
		var list []any
		for _, e := range d.root.kid(key).entries() {
			list = append(list, map[string]any{"name": strings.TrimSuffix(e, " (not found)")})
		}
		if list != nil {
			d.from(d.root.kid(key), list, field)
		}
	}
}

func (d *description) pdb() {
	root := d.root
	d.covers("/spec", "/status/disruptionsAllowed", "/status/currentHealthy", "/status/desiredHealthy", "/status/expectedPods")
	for key, field := range map[string]string{"Min available": "minAvailable", "Max unavailable": "maxUnavailable"} {
		if v := root.entry(key); v != "" {
			d.from(root.kid(key), portValue(v), "spec", field)
		}
	}
	d.from(root.kid("Selector"), selector(root.entry("Selector")), "spec", "selector")
	for key, field := range map[string]string{"Allowed disruptions": "disruptionsAllowed", "Current": "currentHealthy", "Desired": "desiredHealthy", "Total": "expectedPods"} {
		if v, ok := number(root.kid("Status").entry(key)); ok {
			d.from(root.kid("Status").kid(key), v, "status", field)
		}
	}
}

// configMap reads which keys there are, and their values.
func (d *description) configMap() {
	d.covers("/data", "/binaryData")
	data := map[string]any{}
	section := ""
	for i := 0; i < len(d.lines); i++ {
		text := d.lines[i].text
		switch {
		case text == "Data" || text == "BinaryData":
			section = text
		case strings.HasPrefix(text, "Events:"):
			section = ""
		case section == "Data" && strings.HasSuffix(text, ":") && i+1 < len(d.lines) && d.lines[i+1].text == "----":
			var value []string
			key := strings.TrimSuffix(text, ":")
			d.s.note("/data/"+key, d.lines[i].n)
			i += 2
			for i < len(d.lines) && d.lines[i].text != "BinaryData" && !strings.HasPrefix(d.lines[i].text, "Events:") && !(i+1 < len(d.lines) && d.lines[i+1].text == "----" && strings.HasSuffix(d.lines[i].text, ":")) {
				value = append(value, d.lines[i].text)
				i++
			}
			i--
			data[key] = strings.Join(trimBlank(value), "\n")
		case section == "BinaryData" && strings.HasSuffix(text, " bytes"):
			k, _, _ := strings.Cut(text, ":")
			set(d.s.tree, "", "binaryData", k)
		}
	}
	d.set(data, "data")
}

// secret reads which keys there are; their values are not printed.
func (d *description) secret() {
	d.covers("/data", "/type")
	d.from(d.root.kid("Type"), d.root.entry("Type"), "type")
	data := map[string]any{}
	section := false
	for _, l := range d.lines {
		section = section || l.text == "Data"
		if k, v, ok := keyed(l.text); ok && section && strings.HasSuffix(v, " bytes") {
			data[k] = ""
		}
	}
	d.set(data, "data")
}

// networkPolicy reads the rules that the description spells out.
func (d *description) networkPolicy() {
	d.covers("/spec")
	spec := d.root.kid("Spec")
	pods, _ := selector(strings.TrimSpace(strings.TrimSuffix(spec.entry("PodSelector"), "(Allowing the specific traffic to all pods in this namespace)"))).(map[string]any)
	if pods == nil {
		pods = map[string]any{}
	}
	d.set(pods, "spec", "podSelector")
	var types []any
	for t := range strings.SplitSeq(spec.entry("Policy Types"), ",") {
		if t = strings.TrimSpace(t); t != "" {
			types = append(types, t)
		}
	}
	if types != nil {
		d.set(types, "spec", "policyTypes")
	}
	for key, field := range map[string][2]string{"Allowing ingress traffic": {"ingress", "from"}, "Allowing egress traffic": {"egress", "to"}} {
		n := spec.kid(key)
		if n.key == "" {
			continue
		}
		d.from(n, policyRules(n, field[1]), "spec", field[0])
	}
}

func policyRules(n *node, peerField string) []any {
	rules := []any{}
	rule := map[string]any{}
	flush := func() {
		rules = append(rules, rule)
		rule = map[string]any{}
	}
	add := func(field string, v any) {
		list, _ := rule[field].([]any)
		rule[field] = append(list, v)
	}
	for _, k := range n.kids {
		switch {
		case strings.HasPrefix(k.text, "<none>"):
			return rules
		case strings.HasPrefix(k.text, "-----"):
			flush()
		case k.key == "To Port" && !strings.HasPrefix(k.value, "<any>"):
			port, protocol, _ := strings.Cut(k.value, "/")
			add("ports", map[string]any{"port": portValue(port), "protocol": protocol})
		case (k.key == "From" || k.key == "To") && !strings.HasPrefix(k.value, "<any>"):
			peer := map[string]any{}
			for _, s := range k.kids {
				sel, _ := selector(s.value).(map[string]any)
				if sel == nil {
					sel = map[string]any{}
				}
				switch s.key {
				case "PodSelector":
					peer["podSelector"] = sel
				case "NamespaceSelector":
					peer["namespaceSelector"] = sel
				case "IPBlock":
					block := map[string]any{"cidr": s.entry("CIDR")}
					var except []any
					for e := range strings.SplitSeq(s.entry("Except"), ",") {
						if e = strings.TrimSpace(e); e != "" {
							except = append(except, e)
						}
					}
					if except != nil {
						block["except"] = except
					}
					peer["ipBlock"] = block
				}
			}
			add(peerField, peer)
		}
	}
	flush()
	return rules
}
