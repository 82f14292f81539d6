package recorded

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// pod reads the description of a Pod.
func (d *description) pod() {
	root := d.root
	d.covers("/spec/nodeName", "/spec/containers", "/spec/initContainers", "/spec/volumes", "/spec/nodeSelector", "/spec/tolerations", "/spec/priorityClassName", "/spec/topologySpreadConstraints", "/spec/readinessGates",
		"/status", "/metadata/ownerReferences", "/metadata/deletionTimestamp")
	if node, _, _ := strings.Cut(root.entry("Node"), "/"); node != "" {
		d.from(root.kid("Node"), node, "spec", "nodeName")
	}
	if sa := root.entry("Service Account"); sa != "" {
		d.set(sa, "spec", "serviceAccountName")
		d.covers("/spec/serviceAccountName")
	}
	if pc := root.entry("Priority Class Name"); pc != "" {
		d.set(pc, "spec", "priorityClassName")
	}
	if n, ok := number(root.entry("Priority")); ok {
		d.set(n, "spec", "priority")
	}
	if t := root.entry("Start Time"); t != "" {
		d.set(d.r.stamp(t), "status", "startTime")
	}
	if status := root.entry("Status"); status != "" && !strings.HasPrefix(status, "Terminating") {
		d.from(root.kid("Status"), status, "status", "phase")
	} else if status != "" {
		d.set("Running", "status", "phase")
	}
	d.set(root.entry("Reason"), "status", "reason")
	d.set(root.entry("Message"), "status", "message")
	d.set(root.entry("IP"), "status", "podIP")
	d.set(root.entry("QoS Class"), "status", "qosClass")
	d.conditions()
	d.template(root, "spec", true)
}

// template reads containers, volumes and what else a Pod and a Pod template have in common.
func (d *description) template(n *node, specAt string, withStatus bool) {
	keys := strings.Split(specAt, "/")
	at := func(more ...string) []string { return append(append([]string{}, keys...), more...) }
	for _, list := range []struct{ label, field, status string }{
		{"Init Containers", "initContainers", "initContainerStatuses"}, {"Containers", "containers", "containerStatuses"},
	} {
		var specs, statuses []any
		for _, c := range n.kid(list.label).kids {
			name := strings.TrimSuffix(c.text, ":")
			if c.key == "" || c.value != "" {
				continue
			}
			spec, status := d.container(c, name)
			specs = append(specs, spec)
			if status != nil {
				statuses = append(statuses, status)
			}
		}
		if specs != nil {
			d.from(n.kid(list.label), specs, at(list.field)...)
		}
		if statuses != nil && withStatus {
			d.from(n.kid(list.label), statuses, "status", list.status)
		}
	}
	var volumes []any
	for _, v := range n.kid("Volumes").kids {
		if v.key != "" && v.value == "" {
			volumes = append(volumes, volume(v))
		}
	}
	if volumes != nil {
		d.from(n.kid("Volumes"), volumes, at("volumes")...)
	}
	if sel := n.kid("Node-Selectors", "Node-Selector").pairs(); len(sel) > 0 {
		d.from(n.kid("Node-Selectors", "Node-Selector"), sel, at("nodeSelector")...)
	}
	var spread []any
	for _, line := range n.kid("Topology Spread Constraints").entries() {
		if m := spreadOf.FindStringSubmatch(line); m != nil {
			skew, _ := strconv.ParseInt(m[3], 10, 32)
			c := map[string]any{"topologyKey": m[1], "whenUnsatisfiable": m[2], "maxSkew": skew}
			if labels := labelPairs(m[4]); len(labels) > 0 {
				c["labelSelector"] = map[string]any{"matchLabels": labels}
			}
			spread = append(spread, c)
		}
	}
	if spread != nil {
		d.from(n.kid("Topology Spread Constraints"), spread, at("topologySpreadConstraints")...)
	}
	var tolerations []any
	for _, t := range n.kid("Tolerations").entries() {
		tolerations = append(tolerations, toleration(t))
	}
	if tolerations != nil {
		d.from(n.kid("Tolerations"), tolerations, at("tolerations")...)
	}
}

var spreadOf = regexp.MustCompile(`^(\S+):(\w+) when max skew (\d+) is exceeded(?: for selector (.+))?$`)

// labelPairs reads "a=b,c=d"; nil when it holds anything else, as a selector with a set does.
func labelPairs(s string) map[string]any {
	out := map[string]any{}
	for part := range strings.SplitSeq(s, ",") {
		k, v, ok := strings.Cut(part, "=")
		if !ok || strings.ContainsAny(k+v, "!=() ") {
			return nil
		}
		out[k] = v
	}
	return out
}

var portOf = regexp.MustCompile(`^(\d+)/(\w*)(?: \(([^)]+)\))?$`)

func (d *description) container(c *node, name string) (spec, status map[string]any) {
	spec = map[string]any{"name": name}
	if v := c.entry("Image"); v != "" {
		spec["image"] = v
	}
	var ports []any
	for part := range strings.SplitSeq(c.entry("Port", "Ports"), ", ") {
		if m := portOf.FindStringSubmatch(part); m != nil {
			n, _ := strconv.ParseInt(m[1], 10, 32)
			if n == 0 {
				continue
			}
			port := map[string]any{"containerPort": n}
			if m[2] != "" {
				port["protocol"] = m[2]
			}
			if m[3] != "" {
				port["name"] = m[3]
			}
			ports = append(ports, port)
		}
	}
	for i, part := range strings.Split(c.entry("Host Port", "Host Ports"), ", ") {
		if n, ok := number(part); ok && n > 0 && i < len(ports) {
			if port, ok := ports[i].(map[string]any); ok {
				port["hostPort"] = n
			}
		}
	}
	if ports != nil {
		spec["ports"] = ports
	}
	for key, field := range map[string]string{"Command": "command", "Args": "args"} {
		var list []any
		for _, k := range c.kid(key).kids {
			list = append(list, k.text)
		}
		if list != nil {
			spec[field] = list
		}
	}
	res := map[string]any{}
	for key, field := range map[string]string{"Limits": "limits", "Requests": "requests"} {
		m := map[string]any{}
		for _, k := range c.kid(key).kids {
			if k.key != "" && k.value != "" {
				m[k.key] = k.value
			}
		}
		if len(m) > 0 {
			res[field] = m
		}
	}
	if len(res) > 0 {
		spec["resources"] = res
	}
	for key, field := range map[string]string{"Liveness": "livenessProbe", "Readiness": "readinessProbe", "Startup": "startupProbe"} {
		if p := probe(c.entry(key)); p != nil {
			spec[field] = p
		}
	}
	if env := environment(c.kid("Environment")); env != nil {
		spec["env"] = env
	}
	if from := environmentFrom(c.kid("Environment Variables from")); from != nil {
		spec["envFrom"] = from
	}
	if mounts := mounts(c.kid("Mounts")); mounts != nil {
		spec["volumeMounts"] = mounts
	}
	if !c.has("State") {
		return spec, nil
	}
	status = map[string]any{"name": name, "ready": c.entry("Ready") == "True", "state": d.state(c.kid("State"))}
	if n, ok := number(c.entry("Restart Count")); ok {
		status["restartCount"] = n
	}
	if v := c.entry("Image ID"); v != "" {
		status["imageID"] = v
	}
	if v := c.entry("Container ID"); v != "" {
		status["containerID"] = v
	}
	if last := c.kid("Last State"); last.key != "" {
		status["lastState"] = d.state(last)
	}
	return spec, status
}

func (d *description) state(n *node) map[string]any {
	out := map[string]any{}
	if v := n.entry("Reason"); v != "" {
		out["reason"] = v
	}
	if v := n.kid("Message"); v.key != "" {
		text := []string{v.value}
		for _, k := range v.kids {
			text = append(text, k.text)
		}
		out["message"] = strings.TrimSpace(strings.Join(text, "\n"))
	}
	for key, field := range map[string]string{"Exit Code": "exitCode", "Signal": "signal"} {
		if v, ok := number(n.entry(key)); ok {
			out[field] = v
		}
	}
	for key, field := range map[string]string{"Started": "startedAt", "Finished": "finishedAt"} {
		if t := d.r.stamp(n.entry(key)); t != nil {
			out[field] = t
		}
	}
	return map[string]any{strings.ToLower(n.value): out}
}

var (
	attrs   = regexp.MustCompile(`\s*delay=(\d+)s timeout=(\d+)s period=(\d+)s #success=(\d+) #failure=(\d+)$`)
	keyFrom = regexp.MustCompile(`^<set to the key '([^']*)' (in secret|of config map) '([^']*)'>\s+Optional: (\w+)`)
	fieldOf = regexp.MustCompile(`^\S*\s*\((v1):([^)]+)\)$`)
)

// probe undoes how kubectl writes a probe in one line.
func probe(s string) map[string]any {
	m := attrs.FindStringSubmatch(s)
	if m == nil {
		return nil
	}
	out := map[string]any{}
	for i, field := range []string{"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"} {
		n, _ := strconv.ParseInt(m[i+1], 10, 32)
		if n > 0 {
			out[field] = n
		}
	}
	kind, rest, _ := strings.Cut(strings.TrimSpace(strings.TrimSuffix(s, m[0])), " ")
	switch kind {
	case "http-get":
		get := map[string]any{}
		if u, err := url.Parse(rest); err == nil && u.Port() != "" {
			get["port"], get["path"], get["scheme"] = portValue(u.Port()), u.Path, strings.ToUpper(u.Scheme)
		} else { // a named port is no URL
			scheme, tail, _ := strings.Cut(rest, "://")
			host, file, _ := strings.Cut(tail, "/")
			i := strings.LastIndexByte(host, ':')
			get["port"], get["path"], get["scheme"] = portValue(host[i+1:]), "/"+file, strings.ToUpper(scheme)
		}
		out["httpGet"] = get
	case "tcp-socket":
		out["tcpSocket"] = map[string]any{"port": portValue(rest[strings.LastIndexByte(rest, ':')+1:])}
	case "grpc":
		host, service, _ := strings.Cut(rest, " ")
		g := map[string]any{"port": portValue(host[strings.LastIndexByte(host, ':')+1:])}
		if service != "" {
			g["service"] = service
		}
		out["grpc"] = g
	case "exec":
		var list []any
		for w := range strings.FieldsSeq(strings.Trim(rest, "[]")) {
			list = append(list, w)
		}
		out["exec"] = map[string]any{"command": list}
	}
	return out
}

func portValue(s string) any {
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		return n
	}
	return s
}

func environment(n *node) []any {
	var out []any
	for _, k := range n.kids {
		if k.key == "" || strings.ContainsAny(k.key, " \t") {
			if len(out) > 0 {
				if e, _ := out[len(out)-1].(map[string]any); e != nil {
					if s, ok := e["value"].(string); ok {
						e["value"] = s + "\n" + k.text
					}
				}
			}
			continue
		}
		e := map[string]any{"name": k.key}
		if m := keyFrom.FindStringSubmatch(k.value); m != nil {
			ref := map[string]any{"name": m[3], "key": m[1]}
			if m[4] == "true" {
				ref["optional"] = true
			}
			from := "secretKeyRef"
			if m[2] != "in secret" {
				from = "configMapKeyRef"
			}
			e["valueFrom"] = map[string]any{from: ref}
		} else if m := fieldOf.FindStringSubmatch(k.value); m != nil {
			e["valueFrom"] = map[string]any{"fieldRef": map[string]any{"apiVersion": m[1], "fieldPath": m[2]}}
		} else {
			e["value"] = k.value
		}
		out = append(out, e)
	}
	return out
}

var fromLine = regexp.MustCompile(`^(\S+)\s+(ConfigMap|Secret)(?: with prefix '([^']*)')?\s+Optional: (\w+)`)

func environmentFrom(n *node) []any {
	var out []any
	for _, k := range n.kids {
		if m := fromLine.FindStringSubmatch(k.text); m != nil {
			ref := map[string]any{"name": m[1]}
			if m[4] == "true" {
				ref["optional"] = true
			}
			e := map[string]any{strings.ToLower(m[2][:1]) + m[2][1:] + "Ref": ref}
			if m[3] != "" {
				e["prefix"] = m[3]
			}
			out = append(out, e)
		}
	}
	return out
}

var mountLine = regexp.MustCompile(`^(\S.*?) from (\S+) \((\w+)(?:,path="([^"]*)")?\)`)

func mounts(n *node) []any {
	var out []any
	for _, k := range n.kids {
		if m := mountLine.FindStringSubmatch(k.text); m != nil {
			e := map[string]any{"mountPath": m[1], "name": m[2]}
			if m[3] == "ro" {
				e["readOnly"] = true
			}
			if m[4] != "" {
				e["subPath"] = m[4]
			}
			out = append(out, e)
		}
	}
	return out
}

// volume reads one volume: its type, and what it names.
func volume(n *node) map[string]any {
	out := map[string]any{"name": n.key}
	kind, _, _ := strings.Cut(n.entry("Type"), " ")
	optional := n.entry("Optional") == "true"
	source := map[string]any{}
	named := func(field, key string) {
		if v := n.entry(key); v != "" {
			source[field] = v
		}
	}
	if optional {
		source["optional"] = true
	}
	switch kind {
	case "ConfigMap":
		named("name", "Name")
		out["configMap"] = source
	case "Secret":
		named("secretName", "SecretName")
		out["secret"] = source
	case "PersistentVolumeClaim":
		named("claimName", "ClaimName")
		out["persistentVolumeClaim"] = source
	case "EmptyDir":
		named("medium", "Medium")
		named("sizeLimit", "SizeLimit")
		out["emptyDir"] = source
	case "HostPath":
		named("path", "Path")
		named("type", "HostPathType")
		out["hostPath"] = source
	case "NFS":
		named("server", "Server")
		named("path", "Path")
		out["nfs"] = source
	case "CSI":
		named("driver", "Driver")
		out["csi"] = source
	case "Projected":
		var list []any
		for _, k := range n.kids {
			switch k.key {
			case "ConfigMapName", "Optional", "ConfigMapOptional":
				if k.key == "ConfigMapName" && plain(k.value) != "" {
					list = append(list, map[string]any{"configMap": map[string]any{"name": k.value}})
				}
			case "SecretName":
				list = append(list, map[string]any{"secret": map[string]any{"name": k.value}})
			case "DownwardAPI":
				list = append(list, map[string]any{"downwardAPI": map[string]any{}})
			}
			if k.key == "ConfigMapOptional" || k.key == "Optional" {
				if last, ok := lastMap(list); ok && k.value == "true" {
					for _, ref := range last {
						if m, ok := ref.(map[string]any); ok {
							m["optional"] = true
						}
					}
				}
			}
		}
		out["projected"] = map[string]any{"sources": list}
	}
	return out
}

func lastMap(list []any) (map[string]any, bool) {
	if len(list) == 0 {
		return nil, false
	}
	m, ok := list[len(list)-1].(map[string]any)
	return m, ok
}

// toleration undoes "key=value:Effect op=Exists for 300s".
func toleration(s string) map[string]any {
	out := map[string]any{}
	words := strings.Fields(s)
	for i, w := range words {
		switch {
		case strings.HasPrefix(w, "op="):
			out["operator"] = strings.TrimPrefix(w, "op=")
		case w == "for" && i+1 < len(words):
			if d, ok := parseAge(words[i+1]); ok {
				out["tolerationSeconds"] = int64(d.Seconds())
			}
		case i == 0:
			left := w
			if j := strings.LastIndexByte(w, ':'); j >= 0 {
				left = w[:j]
				out["effect"] = w[j+1:]
			}
			if k, v, ok := strings.Cut(left, "="); ok {
				out["key"], out["value"] = k, v
			} else if left != "" {
				out["key"] = left
			}
		}
	}
	if out["operator"] == nil {
		out["operator"] = "Equal"
	}
	return out
}
