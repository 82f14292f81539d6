package recorded

import (
	"strings"
)

// workload reads Deployments, ReplicaSets, StatefulSets and DaemonSets.
func (d *description) workload() {
	root, kind := d.root, d.s.res.kind
	d.covers("/spec/replicas", "/spec/selector", "/metadata/ownerReferences", "/spec/template/metadata/labels", "/spec/template/spec/containers", "/spec/template/spec/initContainers",
		"/spec/template/spec/volumes", "/spec/template/spec/nodeSelector", "/spec/template/spec/tolerations")
	if sel := root.kid("Selector"); sel.key != "" {
		d.from(sel, selector(sel.value), "spec", "selector")
	}
	replicas := root.kid("Replicas")
	n := counted(replicas.value)
	put := func(word string, keys ...string) {
		if v, ok := n[word]; ok {
			d.from(replicas, v, keys...)
		}
	}
	put("desired", "spec", "replicas")
	switch kind {
	case "Deployment":
		put("updated", "status", "updatedReplicas")
		put("total", "status", "replicas")
		put("available", "status", "availableReplicas")
		if root.entry("MinReadySeconds") == "0" || !root.has("MinReadySeconds") { // then ready and available are the same
			put("available", "status", "readyReplicas")
		}
		put("unavailable", "status", "unavailableReplicas")
		d.set(root.entry("StrategyType"), "spec", "strategy", "type")
		if ru := root.entry("RollingUpdateStrategy"); ru != "" {
			for part := range strings.SplitSeq(ru, ",") {
				v, what, _ := strings.Cut(strings.TrimSpace(part), " ")
				switch what {
				case "max unavailable":
					d.set(portValue(v), "spec", "strategy", "rollingUpdate", "maxUnavailable")
				case "max surge":
					d.set(portValue(v), "spec", "strategy", "rollingUpdate", "maxSurge")
				}
			}
		}
		d.covers("/spec/strategy", "/status/updatedReplicas", "/status/conditions")
	case "ReplicaSet", "ReplicationController":
		put("current", "status", "replicas")
		d.covers("/status/replicas", "/status/conditions")
		if kind == "ReplicationController" {
			d.set(root.kid("Selector").pairs(), "spec", "selector")
		}
	case "StatefulSet":
		put("total", "status", "replicas")
		d.set(root.entry("Update Strategy"), "spec", "updateStrategy", "type")
		if p, ok := number(root.kid("Update Strategy").entry("Partition")); ok {
			d.set(p, "spec", "updateStrategy", "rollingUpdate", "partition")
		}
		d.covers("/spec/updateStrategy", "/status/replicas", "/spec/volumeClaimTemplates")
		d.claimTemplates()
	case "DaemonSet":
		for key, field := range map[string]string{
			"Desired Number of Nodes Scheduled": "desiredNumberScheduled", "Current Number of Nodes Scheduled": "currentNumberScheduled",
			"Number of Nodes Scheduled with Up-to-date Pods": "updatedNumberScheduled", "Number of Nodes Scheduled with Available Pods": "numberAvailable", "Number of Nodes Misscheduled": "numberMisscheduled",
		} {
			if v, ok := number(root.entry(key)); ok {
				d.from(root.kid(key), v, "status", field)
				if field == "numberAvailable" { // the description does not print numberReady
					d.set(v, "status", "numberReady")
				}
			}
		}
	}
	d.conditions()
	d.podTemplate("spec/template")
	if kind == "Deployment" {
		d.deploymentSets()
	}
}

const revisionNote = "deployment.kubernetes.io/revision"

// deploymentSets takes the ReplicaSets that a Deployment's description names. The new one has the Deployment's template
// and revision; by ages of minutes it cannot be told from those before it.
func (d *description) deploymentSets() {
	for _, key := range []string{"NewReplicaSet", "OldReplicaSets"} {
		for part := range strings.SplitSeq(d.root.entry(key), ", ") {
			name, counts, ok := strings.Cut(part, " (")
			if !ok || name == "" {
				continue
			}
			s := &sighting{res: kinds["ReplicaSet"], namespace: d.s.namespace, known: d.s.known, name: name, tree: map[string]any{}, src: Source{d.p.file, d.root.kid(key).line.n, FormDescription}, fields: []string{"/metadata/ownerReferences"}}
			set(s.tree, []any{map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": d.s.name, "controller": true}}, "metadata", "ownerReferences")
			a, b, _ := strings.Cut(counts, "/")
			if n, ok := number(a); ok {
				set(s.tree, n, "status", "replicas")
			}
			if n, ok := number(b); ok {
				set(s.tree, n, "spec", "replicas")
			}
			if key == "NewReplicaSet" {
				d.giveTemplate(s)
				if meta, ok := d.s.tree["metadata"].(map[string]any); ok {
					if notes, ok := meta["annotations"].(map[string]any); ok && notes[revisionNote] != nil {
						set(s.tree, notes[revisionNote], "metadata", "annotations", revisionNote)
					}
				}
			}
			d.r.see(s)
		}
	}
}

// giveTemplate gives another object the Pod template of what is described, but for its labels, of which another has more.
func (d *description) giveTemplate(to *sighting) {
	const at = "/spec/template/spec"
	spec, _ := d.s.tree["spec"].(map[string]any)
	template, _ := spec["template"].(map[string]any)
	if template["spec"] == nil {
		return
	}
	set(to.tree, cloneValue(template["spec"]), "spec", "template", "spec")
	for _, field := range d.s.fields {
		if strings.HasPrefix(field, at) {
			to.fields = append(to.fields, field)
		}
	}
	to.lines = map[string]int{}
	for path, line := range d.s.lines {
		if strings.HasPrefix(path, at) {
			to.lines[path] = line
		}
	}
}

func (d *description) claimTemplates() {
	n := d.root.kid("Volume Claims")
	var list []any
	var cur map[string]any
	for _, k := range n.kids {
		switch k.key {
		case "Name":
			cur = map[string]any{"metadata": map[string]any{"name": k.value}}
			list = append(list, cur)
		case "StorageClass":
			if cur != nil && plain(k.value) != "" {
				set(cur, k.value, "spec", "storageClassName")
			}
		case "Capacity":
			if cur != nil && plain(k.value) != "" {
				set(cur, k.value, "spec", "resources", "requests", "storage")
			}
		}
	}
	if list != nil {
		d.from(n, list, "spec", "volumeClaimTemplates")
	}
}

func (d *description) podTemplate(at string) {
	n := d.root.kid("Pod Template")
	if n.key == "" {
		return
	}
	keys := strings.Split(at, "/")
	if l := n.kid("Labels"); l.key != "" {
		d.from(l, l.pairs(), append(append([]string{}, keys...), "metadata", "labels")...)
	}
	if a := n.kid("Annotations"); a.key != "" {
		d.from(a, a.notes(), append(append([]string{}, keys...), "metadata", "annotations")...)
	}
	if sa := n.entry("Service Account"); sa != "" {
		d.from(n.kid("Service Account"), sa, append(append([]string{}, keys...), "spec", "serviceAccountName")...)
	}
	d.template(n, at+"/spec", false)
}

// selector undoes "app=web,tier in (a,b),!x".
func selector(s string) any {
	s = plain(s)
	if s == "" {
		return nil
	}
	match := map[string]any{}
	var exprs []any
	depth, from := 0, 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) {
			if s[i] == '(' {
				depth++
			}
			if s[i] == ')' {
				depth--
			}
			if s[i] != ',' || depth > 0 {
				continue
			}
		}
		part := strings.TrimSpace(s[from:i])
		from = i + 1
		f := strings.Fields(part)
		switch {
		case len(f) >= 3 && (f[1] == "in" || f[1] == "notin"):
			var values []any
			for v := range strings.SplitSeq(strings.Trim(strings.Join(f[2:], ""), "()"), ",") {
				values = append(values, v)
			}
			exprs = append(exprs, map[string]any{"key": f[0], "operator": map[string]string{"in": "In", "notin": "NotIn"}[f[1]], "values": values})
		case strings.Contains(part, "="):
			k, v, _ := strings.Cut(part, "=")
			match[k] = v
		case strings.HasPrefix(part, "!"):
			exprs = append(exprs, map[string]any{"key": part[1:], "operator": "DoesNotExist"})
		case part != "":
			exprs = append(exprs, map[string]any{"key": part, "operator": "Exists"})
		}
	}
	out := map[string]any{}
	if len(match) > 0 {
		out["matchLabels"] = match
	}
	if exprs != nil {
		out["matchExpressions"] = exprs
	}
	return out
}

func (d *description) job() {
	root := d.root
	d.covers("/metadata/ownerReferences", "/spec/parallelism", "/spec/completions", "/spec/suspend", "/spec/backoffLimit", "/spec/template/spec/containers", "/spec/template/spec/volumes", "/spec/template/metadata/labels")
	for key, field := range map[string]string{"Parallelism": "parallelism", "Completions": "completions", "Backoff Limit": "backoffLimit", "Active Deadline Seconds": "activeDeadlineSeconds"} {
		if v, ok := number(root.entry(key)); ok {
			d.from(root.kid(key), v, "spec", field)
		}
	}
	if v := root.entry("Suspend"); v == "true" {
		d.set(true, "spec", "suspend")
	}
	d.set(d.r.stamp(root.entry("Start Time")), "status", "startTime")
	if t := d.r.stamp(root.entry("Completed At")); t != nil {
		d.set(t, "status", "completionTime")
		d.set([]any{map[string]any{"type": "Complete", "status": "True", "lastTransitionTime": t}}, "status", "conditions")
	}
	n := root.kid("Pods Statuses")
	for word, v := range counted(n.value) {
		switch word {
		case "active", "succeeded", "failed":
			d.from(n, v, "status", word)
		case "ready)":
			d.from(n, v, "status", "ready")
		}
	}
	if a, ok := number(n.value); ok {
		d.from(n, a, "status", "active")
	}
	d.conditions()
	d.podTemplate("spec/template")
}

func (d *description) cronJob() {
	root := d.root
	d.covers("/spec/schedule", "/spec/suspend", "/spec/concurrencyPolicy", "/spec/startingDeadlineSeconds", "/spec/jobTemplate/spec/template/spec/containers", "/status/active")
	d.from(root.kid("Schedule"), root.entry("Schedule"), "spec", "schedule")
	d.from(root.kid("Concurrency Policy"), root.entry("Concurrency Policy"), "spec", "concurrencyPolicy")
	switch strings.ToLower(root.entry("Suspend")) {
	case "true":
		d.from(root.kid("Suspend"), true, "spec", "suspend")
	case "false":
		d.from(root.kid("Suspend"), false, "spec", "suspend")
	}
	if v, ok := number(root.entry("Starting Deadline Seconds")); ok {
		d.from(root.kid("Starting Deadline Seconds"), v, "spec", "startingDeadlineSeconds")
	}
	d.set(d.r.stamp(root.entry("Last Schedule Time")), "status", "lastScheduleTime")
	d.podTemplate("spec/jobTemplate/spec/template")
}

func (d *description) node() {
	root := d.root
	d.covers("/spec/taints", "/spec/unschedulable", "/status/conditions", "/status/capacity", "/status/allocatable", "/status/nodeInfo")
	if t := root.kid("Taints"); t.key != "" {
		var list []any
		for _, e := range t.entries() {
			i := strings.LastIndexByte(e, ':')
			if i < 0 {
				continue
			}
			k, v, _ := strings.Cut(e[:i], "=")
			taint := map[string]any{"key": k, "effect": e[i+1:]}
			if v != "" {
				taint["value"] = v
			}
			list = append(list, taint)
		}
		if list != nil {
			d.from(t, list, "spec", "taints")
		}
	}
	d.from(root.kid("Unschedulable"), root.entry("Unschedulable") == "true", "spec", "unschedulable")
	for key, field := range map[string]string{"Capacity": "capacity", "Allocatable": "allocatable"} {
		m := map[string]any{}
		for _, k := range root.kid(key).kids {
			if k.key != "" && k.value != "" {
				m[k.key] = k.value
			}
		}
		if len(m) > 0 {
			d.from(root.kid(key), m, "status", field)
		}
	}
	info := root.kid("System Info")
	for key, field := range map[string]string{"Kubelet Version": "kubeletVersion", "Container Runtime Version": "containerRuntimeVersion", "Kernel Version": "kernelVersion", "OS Image": "osImage", "Architecture": "architecture", "Operating System": "operatingSystem"} {
		d.set(info.entry(key), "status", "nodeInfo", field)
	}
	var addresses []any
	for _, k := range root.kid("Addresses").kids {
		addresses = append(addresses, map[string]any{"type": k.key, "address": k.value})
	}
	if addresses != nil {
		d.set(addresses, "status", "addresses")
	}
	d.conditions()
	if lease := root.kid("Lease"); lease.key != "" {
		if t := d.r.stamp(lease.entry("RenewTime")); t != nil {
			l := &sighting{res: kinds["Lease"], namespace: "kube-node-lease", known: true, name: d.s.name, tree: map[string]any{}, src: Source{d.p.file, lease.line.n, FormDescription}, fields: []string{"/spec/renewTime", "/spec/holderIdentity"}}
			set(l.tree, t, "spec", "renewTime")
			if h := lease.entry("HolderIdentity"); h != "" {
				set(l.tree, h, "spec", "holderIdentity")
			}
			d.r.see(l)
		}
	}
	d.podsOnNode()
}

// podsOnNode takes the Pods that a node's description lists, with what they ask for.
func (d *description) podsOnNode() {
	head, rows, lines := d.root.kid("Non-terminated Pods").rows()
	name, ns := column(head, "Name"), column(head, "Namespace")
	if name < 0 || ns < 0 {
		return
	}
	for i, row := range rows {
		s := &sighting{res: kinds["Pod"], namespace: cell(row, ns), known: true, name: cell(row, name), tree: map[string]any{}, src: Source{d.p.file, lines[i].n, FormTable}, fields: []string{"/spec/nodeName"}}
		if s.name == "" || s.namespace == "" {
			continue
		}
		set(s.tree, d.s.name, "spec", "nodeName")
		s.born(cell(row, column(head, "Age")))
		d.r.see(s)
		d.r.hints[s.namespace]--
	}
}

// born sets the time of creation from an age.
func (s *sighting) born(age string) {
	if d, ok := parseAge(age); ok {
		s.age = d
		set(s.tree, ago(d), "metadata", "creationTimestamp")
	}
}

func (d *description) claim() {
	root := d.root
	d.covers("/spec/storageClassName", "/spec/volumeName", "/spec/accessModes", "/spec/volumeMode", "/status/phase", "/status/capacity", "/metadata/deletionTimestamp", "/metadata/finalizers")
	if c := root.entry("StorageClass"); c != "" {
		d.from(root.kid("StorageClass"), c, "spec", "storageClassName")
	}
	if v := root.entry("Status"); v != "" && !strings.HasPrefix(v, "Terminating") {
		d.from(root.kid("Status"), v, "status", "phase")
	}
	d.from(root.kid("Volume"), root.entry("Volume"), "spec", "volumeName")
	if c := root.entry("Capacity"); c != "" {
		d.from(root.kid("Capacity"), c, "status", "capacity", "storage")
	}
	d.accessModes("spec")
	d.set(root.entry("VolumeMode"), "spec", "volumeMode")
	d.conditions()
}

func (d *description) accessModes(at string) {
	var list []any
	for short := range strings.SplitSeq(strings.Trim(d.root.entry("Access Modes"), "[]"), ",") {
		if long, ok := accessMode[strings.TrimSpace(short)]; ok {
			list = append(list, long)
		}
	}
	if list != nil {
		d.set(list, at, "accessModes")
	}
}

var accessMode = map[string]string{"RWO": "ReadWriteOnce", "ROX": "ReadOnlyMany", "RWX": "ReadWriteMany", "RWOP": "ReadWriteOncePod"}

func (d *description) volume() {
	root := d.root
	d.covers("/spec/storageClassName", "/spec/claimRef", "/spec/persistentVolumeReclaimPolicy", "/spec/capacity", "/spec/nodeAffinity", "/status/phase", "/metadata/finalizers")
	d.from(root.kid("StorageClass"), root.entry("StorageClass"), "spec", "storageClassName")
	if v := root.entry("Status"); !strings.HasPrefix(v, "Terminating") {
		d.from(root.kid("Status"), v, "status", "phase")
	}
	if ns, name, ok := strings.Cut(root.entry("Claim"), "/"); ok {
		d.from(root.kid("Claim"), map[string]any{"kind": "PersistentVolumeClaim", "namespace": ns, "name": name}, "spec", "claimRef")
	}
	d.from(root.kid("Reclaim Policy"), root.entry("Reclaim Policy"), "spec", "persistentVolumeReclaimPolicy")
	d.from(root.kid("Capacity"), root.entry("Capacity"), "spec", "capacity", "storage")
	d.set(root.entry("Message"), "status", "message")
	d.accessModes("spec")
	if terms := root.kid("Node Affinity").kid("Required Terms"); terms.key != "" {
		var list []any
		for _, t := range terms.kids {
			var exprs []any
			parts := []string{t.value}
			for _, k := range t.kids {
				parts = append(parts, k.text)
			}
			text := strings.Join(parts, ", ")
			if sel, ok := selector(strings.ReplaceAll(strings.ReplaceAll(strings.Trim(text, ", "), "[", "("), "]", ")")).(map[string]any); ok {
				exprs, _ = sel["matchExpressions"].([]any)
			}
			list = append(list, map[string]any{"matchExpressions": exprs})
		}
		d.from(terms, list, "spec", "nodeAffinity", "required", "nodeSelectorTerms")
	}
	if src := root.kid("Source"); src.key != "" {
		kind, _, _ := strings.Cut(src.entry("Type"), " ")
		switch kind {
		case "CSI":
			d.set(src.entry("Driver"), "spec", "csi", "driver")
		case "HostPath":
			d.set(src.entry("Path"), "spec", "hostPath", "path")
		case "LocalVolume":
			d.set(src.entry("Path"), "spec", "local", "path")
		case "NFS":
			d.set(src.entry("Server"), "spec", "nfs", "server")
			d.set(src.entry("Path"), "spec", "nfs", "path")
		}
	}
}

func (d *description) storageClass() {
	root := d.root
	d.covers("/provisioner", "/parameters", "/allowVolumeExpansion", "/reclaimPolicy", "/volumeBindingMode")
	d.from(root.kid("Provisioner"), root.entry("Provisioner"), "provisioner")
	d.set(root.entry("ReclaimPolicy"), "reclaimPolicy")
	d.from(root.kid("VolumeBindingMode"), root.entry("VolumeBindingMode"), "volumeBindingMode")
	d.set(root.kid("Parameters").pairs(), "parameters")
	if v := strings.ToLower(root.entry("AllowVolumeExpansion")); v == "true" || v == "false" {
		d.set(v == "true", "allowVolumeExpansion")
	}
	annotations := root.kid("Annotations").pairs()
	if root.entry("IsDefaultClass") == "Yes" {
		annotations["storageclass.kubernetes.io/is-default-class"] = "true"
	}
	d.s.tree["metadata"] = map[string]any{"annotations": annotations}
}

func (d *description) namespace() {
	d.from(d.root.kid("Status"), d.root.entry("Status"), "status", "phase")
	d.covers("/status/phase", "/status/conditions")
	d.conditions()
}
