package recorded

import (
	"strings"
	"time"
)

// tableRow fills a sighting from a row.
type tableRow struct {
	s    *sighting
	w    row
	also *sighting
}

func (t *tableRow) set(v any, keys ...string) {
	if v == nil || v == "" {
		return
	}
	set(t.s.tree, v, keys...)
	t.cover("/" + strings.Join(keys, "/"))
}

func (t *tableRow) cover(paths ...string) { t.s.fields = append(t.s.fields, paths...) }

// count sets a number from a column.
func (t *tableRow) count(column string, keys ...string) {
	if n, ok := number(t.w.get(column)); ok {
		t.set(n, keys...)
	}
}

// ratio sets two numbers from "1/3".
func (t *tableRow) ratio(column string, have, want []string) {
	a, b, ok := strings.Cut(t.w.get(column), "/")
	x, okA := number(a)
	y, okB := number(b)
	if ok && okA && okB {
		t.set(x, have...)
		t.set(y, want...)
	}
}

func (t *tableRow) fill(head []string) {
	w := t.w
	switch t.s.res.kind {
	case "Pod":
		t.podRow()
	case "Deployment":
		t.ratio("READY", []string{"status", "readyReplicas"}, []string{"spec", "replicas"})
		t.count("UP-TO-DATE", "status", "updatedReplicas")
		t.count("AVAILABLE", "status", "availableReplicas")
		t.workload()
	case "StatefulSet":
		t.ratio("READY", []string{"status", "readyReplicas"}, []string{"spec", "replicas"})
		t.workload()
	case "ReplicaSet", "ReplicationController":
		t.count("DESIRED", "spec", "replicas")
		t.count("CURRENT", "status", "replicas")
		t.count("READY", "status", "readyReplicas")
		t.workload()
	case "DaemonSet":
		t.count("DESIRED", "status", "desiredNumberScheduled")
		t.count("CURRENT", "status", "currentNumberScheduled")
		t.count("READY", "status", "numberReady")
		t.count("UP-TO-DATE", "status", "updatedNumberScheduled")
		t.count("AVAILABLE", "status", "numberAvailable")
		t.workload()
	case "Job":
		t.job()
		t.workload()
	case "CronJob":
		t.set(w.get("SCHEDULE"), "spec", "schedule")
		if v := strings.ToLower(w.get("SUSPEND")); v == "true" || v == "false" {
			t.set(v == "true", "spec", "suspend")
		}
		if age, ok := parseAge(w.get("LAST SCHEDULE")); ok {
			t.set(ago(age), "status", "lastScheduleTime")
		}
	case "Service":
		t.service()
	case "Endpoints", "EndpointSlice":
		t.endpoints()
	case "Node":
		t.node()
	case "Namespace":
		t.set(w.get("STATUS"), "status", "phase")
	case "PersistentVolumeClaim", "PersistentVolume":
		t.storage()
	case "StorageClass":
		name, _, _ := strings.Cut(w.cells["NAME"], " ")
		t.s.name = name
		if strings.Contains(w.cells["NAME"], "(default)") || strings.HasPrefix(w.cells["PROVISIONER"], "(default)") {
			set(t.s.tree, "true", "metadata", "annotations", "storageclass.kubernetes.io/is-default-class")
		}
		t.cover("/metadata/annotations/storageclass.kubernetes.io~1is-default-class")
		t.set(strings.TrimSpace(strings.TrimPrefix(w.get("PROVISIONER"), "(default)")), "provisioner")
		t.set(w.get("RECLAIMPOLICY"), "reclaimPolicy")
		t.set(w.get("VOLUMEBINDINGMODE"), "volumeBindingMode")
	case "HorizontalPodAutoscaler":
		if kind, name, ok := strings.Cut(w.get("REFERENCE"), "/"); ok {
			t.set(map[string]any{"kind": kind, "name": name, "apiVersion": kinds[kind].apiVersion}, "spec", "scaleTargetRef")
		}
		t.count("MINPODS", "spec", "minReplicas")
		t.count("MAXPODS", "spec", "maxReplicas")
		t.count("REPLICAS", "status", "currentReplicas")
	case "NetworkPolicy":
		sel, _ := selector(w.get("POD-SELECTOR")).(map[string]any)
		if sel == nil {
			sel = map[string]any{}
		}
		t.set(sel, "spec", "podSelector")
	case "ResourceQuota":
		t.quota()
	case "PodDisruptionBudget":
		for column, field := range map[string]string{"MIN AVAILABLE": "minAvailable", "MAX UNAVAILABLE": "maxUnavailable"} {
			if v := w.get(column); v != "" && v != "N/A" {
				t.set(portValue(v), "spec", field)
			}
		}
		t.count("ALLOWED DISRUPTIONS", "status", "disruptionsAllowed")
	case "Secret":
		t.set(w.get("TYPE"), "type")
	case "Ingress":
		t.set(w.get("CLASS"), "spec", "ingressClassName")
	case "PriorityClass":
		t.count("VALUE", "value")
	case "PodMetrics", "NodeMetrics":
		t.metrics()
	case "Application":
		t.set(w.get("SYNC STATUS"), "status", "sync", "status")
		t.set(w.get("HEALTH STATUS"), "status", "health", "status")
	default:
		t.readiness(head)
	}
}

// readiness reads the columns by which most custom resources say how they are.
func (t *tableRow) readiness(head []string) {
	for _, column := range head {
		if column != "READY" && column != "SYNCED" && column != "PROGRAMMED" && column != "ACCEPTED" && column != "AVAILABLE" {
			continue
		}
		status := t.w.get(column)
		if status != "True" && status != "False" && status != "Unknown" {
			continue
		}
		c := map[string]any{"type": column[:1] + strings.ToLower(column[1:]), "status": status}
		if m := t.w.get("STATUS"); m != "" && column == "READY" {
			c["message"] = m
		}
		if m := t.w.get("REASON"); m != "" {
			c["reason"] = m
		}
		set(t.s.tree, []any{c}, "status", "conditions")
		return
	}
}

// workload reads the wide columns.
func (t *tableRow) workload() {
	names, images := strings.Split(t.w.get("CONTAINERS"), ","), strings.Split(t.w.get("IMAGES"), ",")
	if t.w.get("CONTAINERS") != "" && len(names) == len(images) && !strings.Contains(t.w.get("CONTAINERS"), "...") {
		var list []any
		for i, n := range names {
			list = append(list, map[string]any{"name": n, "image": images[i]})
		}
		set(t.s.tree, list, "spec", "template", "spec", "containers")
	}
	if sel := selector(t.w.get("SELECTOR")); sel != nil {
		t.set(sel, "spec", "selector")
	}
}

func (t *tableRow) job() {
	done, want, ok := strings.Cut(t.w.get("COMPLETIONS"), "/")
	if n, isNumber := number(done); ok && isNumber {
		t.set(n, "status", "succeeded")
	}
	if n, isNumber := number(want); ok && isNumber {
		t.set(n, "spec", "completions")
	}
	switch status := t.w.get("STATUS"); status {
	case "Complete", "Failed":
		t.set([]any{map[string]any{"type": status, "status": "True"}}, "status", "conditions")
	case "Suspended":
		t.set(true, "spec", "suspend")
	}
}

func (t *tableRow) service() {
	w := t.w
	t.set(w.get("TYPE"), "spec", "type")
	ip := w.cells["CLUSTER-IP"]
	if ip == "None" || plain(ip) != "" {
		t.set(ip, "spec", "clusterIP")
	}
	if w.has("SELECTOR") {
		m := map[string]any{}
		for part := range strings.SplitSeq(w.get("SELECTOR"), ",") {
			if k, v, ok := strings.Cut(part, "="); ok {
				m[k] = v
			}
		}
		if len(m) > 0 {
			t.set(m, "spec", "selector")
		}
		t.cover("/spec/selector")
	}
	var ports []any
	for part := range strings.SplitSeq(w.get("PORT(S)"), ",") {
		number, protocol, ok := strings.Cut(part, "/")
		if !ok {
			continue
		}
		port, nodePort, both := strings.Cut(number, ":")
		p := map[string]any{"port": portValue(port), "protocol": protocol}
		if both {
			p["nodePort"] = portValue(nodePort)
		}
		ports = append(ports, p)
	}
	if ports != nil { // where they lead to is not printed
		set(t.s.tree, ports, "spec", "ports")
	}
}

// endpoints reads what stands behind a Service: a table prints the ready addresses only, and at most three of them.
func (t *tableRow) endpoints() {
	service := t.s.name
	if t.s.res.kind == "EndpointSlice" {
		i := strings.LastIndexByte(service, '-')
		if i < 0 {
			return
		}
		service = service[:i]
	}
	var list []any
	for part := range strings.SplitSeq(t.w.get("ENDPOINTS"), ",") {
		part, _, _ = strings.Cut(part, " + ")
		if i := strings.LastIndexByte(part, ':'); i > 0 && t.s.res.kind == "Endpoints" {
			part = part[:i]
		}
		if part != "" {
			list = append(list, map[string]any{"addresses": []any{part}, "conditions": map[string]any{"ready": true}})
		}
	}
	if t.s.res.kind == "EndpointSlice" && list != nil { // its addresses may be unready
		for _, e := range list {
			if m, ok := e.(map[string]any); ok {
				delete(m, "conditions")
			}
		}
		return
	}
	if list == nil {
		list = []any{}
	}
	slice := &sighting{res: kinds["EndpointSlice"], namespace: t.s.namespace, known: t.s.known, name: service + "-described", src: t.s.src, fields: []string{"/endpoints", "/metadata/labels"}, tree: map[string]any{"endpoints": list}}
	set(slice.tree, service, "metadata", "labels", "kubernetes.io/service-name")
	t.also = slice
}

func (t *tableRow) node() {
	w := t.w
	status := strings.Split(w.get("STATUS"), ",")
	ready := map[string]string{"Ready": "True", "NotReady": "False", "Unknown": "Unknown"}[status[0]]
	if ready != "" {
		set(t.s.tree, []any{map[string]any{"type": "Ready", "status": ready}}, "status", "conditions")
	}
	cordoned := false
	for _, s := range status {
		cordoned = cordoned || s == "SchedulingDisabled"
	}
	t.set(cordoned, "spec", "unschedulable")
	for role := range strings.SplitSeq(w.get("ROLES"), ",") {
		if role != "" {
			t.set("", "metadata", "labels", "node-role.kubernetes.io/"+role)
			labels, _ := t.s.tree["metadata"].(map[string]any)
			if labels == nil {
				labels = map[string]any{}
				t.s.tree["metadata"] = labels
			}
			if m, ok := labels["labels"].(map[string]any); ok {
				m["node-role.kubernetes.io/"+role] = ""
			} else {
				labels["labels"] = map[string]any{"node-role.kubernetes.io/" + role: ""}
			}
		}
	}
	t.set(w.get("VERSION"), "status", "nodeInfo", "kubeletVersion")
	t.set(w.get("CONTAINER-RUNTIME"), "status", "nodeInfo", "containerRuntimeVersion")
}

func (t *tableRow) storage() {
	w := t.w
	if v := w.get("STATUS"); v == "Terminating" {
		set(t.s.tree, ago(0), "metadata", "deletionTimestamp")
	} else {
		t.set(v, "status", "phase")
	}
	t.set(w.get("VOLUME"), "spec", "volumeName")
	t.set(w.get("STORAGECLASS"), "spec", "storageClassName")
	t.set(w.get("RECLAIM POLICY"), "spec", "persistentVolumeReclaimPolicy")
	at := "status"
	if t.s.res.kind == "PersistentVolume" {
		at = "spec"
		if ns, name, ok := strings.Cut(w.get("CLAIM"), "/"); ok {
			t.set(map[string]any{"kind": "PersistentVolumeClaim", "namespace": ns, "name": name}, "spec", "claimRef")
		}
		t.cover("/spec/claimRef")
	}
	t.cover("/spec/storageClassName", "/spec/volumeName")
	t.set(w.get("CAPACITY"), at, "capacity", "storage")
	var modes []any
	for m := range strings.SplitSeq(w.get("ACCESS MODES"), ",") {
		if long, ok := accessMode[m]; ok {
			modes = append(modes, long)
		}
	}
	if modes != nil {
		t.set(modes, "spec", "accessModes")
	}
}

func (t *tableRow) quota() {
	for _, column := range []string{"REQUEST", "LIMIT"} {
		for part := range strings.SplitSeq(t.w.get(column), ", ") {
			name, amounts, ok := strings.Cut(part, ": ")
			used, hard, both := strings.Cut(amounts, "/")
			if ok && both {
				set(t.s.tree, used, "status", "used", name)
				set(t.s.tree, hard, "status", "hard", name)
				set(t.s.tree, hard, "spec", "hard", name)
			}
		}
	}
	t.cover("/status/used", "/status/hard", "/spec/hard")
}

func (t *tableRow) metrics() {
	usage := map[string]any{}
	if v := t.w.get("CPU(cores)"); v != "" {
		usage["cpu"] = v
	}
	if v := t.w.get("MEMORY(bytes)"); v != "" {
		usage["memory"] = v
	}
	if t.w.has("POD") {
		set(t.s.tree, []any{map[string]any{"name": t.w.cells["NAME"], "usage": usage}}, "containers")
		return
	}
	t.set(usage, "usage")
}

// podRow is what a table says of a Pod's containers, none of which it names.
type podRow struct {
	ready, total int64
	restarts     int64
	restarted    any // ago, when it is printed
	status       string
}

// podPhases are what STATUS reads when no container has anything to say.
var podPhases = map[string]bool{"Pending": true, "Running": true, "Succeeded": true, "Failed": true, "Unknown": true}

func (t *tableRow) podRow() {
	w := t.w
	status := w.get("STATUS")
	row := &podRow{status: status}
	ready, total, _ := strings.Cut(w.get("READY"), "/")
	row.ready, _ = number(ready)
	row.total, _ = number(total)
	restarts, last, _ := strings.Cut(w.get("RESTARTS"), " ")
	row.restarts, _ = number(restarts)
	if d, ok := parseAge(strings.TrimSuffix(strings.TrimPrefix(last, "("), " ago)")); ok && last != "" {
		row.restarted = ago(d)
	}
	t.s.pod = row
	if t.s.age == 0 {
		t.s.age = time.Duration(row.restarts)
	}
	switch {
	case status == "Terminating":
		set(t.s.tree, ago(0), "metadata", "deletionTimestamp")
	case status == "Completed" || status == "Succeeded":
		t.set("Succeeded", "status", "phase")
	case status == "Evicted" || status == "Failed" || status == "NodeLost" || status == "OutOfcpu" || status == "OutOfmemory" || status == "UnexpectedAdmissionError":
		t.set("Failed", "status", "phase")
		if status != "Failed" {
			t.set(status, "status", "reason")
		}
	case status == "SchedulingGated":
		t.set("Pending", "status", "phase")
		set(t.s.tree, []any{map[string]any{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}}, "status", "conditions")
		t.cover("/spec/nodeName")
	case status == "Pending": // the kubelet would have written why the containers wait
		t.set(status, "status", "phase")
		t.cover("/spec/nodeName", "/status/containerStatuses")
	case podPhases[status]:
		t.set(status, "status", "phase")
	case status == "ContainerCreating" || strings.HasPrefix(status, "Init:") || status == "PodInitializing":
		t.set("Pending", "status", "phase")
	case status == "CrashLoopBackOff":
		t.set("Running", "status", "phase")
	case row.ready == 0 && row.restarts == 0 && (strings.HasPrefix(status, "Err") || strings.HasSuffix(status, "ImagePullBackOff") || strings.HasPrefix(status, "Create") || status == "InvalidImageName"):
		t.set("Pending", "status", "phase")
	}
	if w.has("NODE") {
		t.set(w.get("NODE"), "spec", "nodeName")
		t.cover("/spec/nodeName")
	}
	if w.has("IP") {
		t.set(w.get("IP"), "status", "podIP")
	}
	if row.total > 0 && status != "Completed" && status != "Terminating" {
		conditions, _ := t.s.tree["status"].(map[string]any)
		list := []any{}
		if conditions != nil {
			list, _ = conditions["conditions"].([]any)
		}
		value := "False"
		if row.ready == row.total && status == "Running" {
			value = "True"
		}
		set(t.s.tree, append(list, map[string]any{"type": "Ready", "status": value}), "status", "conditions")
	}
}
