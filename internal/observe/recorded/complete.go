package recorded

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// complete adds what follows from the names that controllers give, and what tables say of containers.
func (r *reader) complete(merged map[key]*sighting) {
	keys := slices.SortedFunc(maps.Keys(merged), compareKeys)
	spoken, pulled := r.spokenOf(), r.pulledBy()
	for _, k := range keys {
		if k.kind == "ReplicaSet" || k.kind == "Job" {
			ownByName(merged, merged[k])
		}
		if k.kind == "Job" && merged[k].fields != nil {
			r.jobFailure(merged[k])
		}
		labelTemplate(merged[k])
	}
	for _, k := range keys {
		if k.kind != "Pod" {
			continue
		}
		pod := merged[k]
		ownByName(merged, pod)
		owner := ownerOf(merged, pod)
		if owner != nil && pod.fields != nil {
			inherit(pod, owner)
		}
		if pod.pod != nil && pod.fields != nil {
			containers(pod, owner, spoken[nameKey{pod.namespace, pod.name}], pulled[nameKey{pod.namespace, pod.name}])
		}
	}
}

// labelTemplate gives the template of a workload that was not seen whole the labels that its selector demands: it has those, and
// maybe more.
func labelTemplate(w *sighting) {
	switch w.res.kind {
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet":
	default:
		return
	}
	spec, _ := w.tree["spec"].(map[string]any)
	selector, _ := spec["selector"].(map[string]any)
	demands, _ := selector["matchLabels"].(map[string]any)
	template, _ := spec["template"].(map[string]any)
	meta, _ := template["metadata"].(map[string]any)
	if w.fields == nil || len(demands) == 0 || meta["labels"] != nil {
		return
	}
	set(w.tree, cloneMap(demands), "spec", "template", "metadata", "labels")
}

// jobFailure takes from the Job controller's event what it wrote into the condition in the same words.
func (r *reader) jobFailure(job *sighting) {
	status, _ := job.tree["status"].(map[string]any)
	list, _ := status["conditions"].([]any)
	for _, e := range r.events {
		object, _ := e.tree["involvedObject"].(map[string]any)
		reason, _ := e.tree["reason"].(string)
		if object["kind"] != "Job" || object["name"] != job.name || e.namespace != job.namespace || e.tree["type"] != "Warning" {
			continue
		}
		if reason != "BackoffLimitExceeded" && reason != "DeadlineExceeded" && reason != "PodFailurePolicy" {
			continue
		}
		for _, c := range list {
			if m, ok := c.(map[string]any); ok && m["type"] == "Failed" {
				if m["reason"] == nil {
					m["reason"], m["message"] = reason, e.tree["message"]
				}
				return
			}
		}
		set(job.tree, append(list, map[string]any{"type": "Failed", "status": "True", "reason": reason, "message": e.tree["message"]}), "status", "conditions")
		return
	}
}

func ownerRef(s *sighting) map[string]any {
	meta, _ := s.tree["metadata"].(map[string]any)
	list, _ := meta["ownerReferences"].([]any)
	if len(list) == 0 {
		return nil
	}
	o, _ := list[0].(map[string]any)
	return o
}

// generated are the suffixes that controllers append to their own names.
var generated = map[string]struct {
	owners []string
	suffix *regexp.Regexp
}{
	"ReplicaSet": {[]string{"Deployment"}, regexp.MustCompile(`^[a-z0-9]{4,11}$`)},
	"Job":        {[]string{"CronJob"}, regexp.MustCompile(`^\d{7,12}$`)},
	"Pod":        {[]string{"ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"}, regexp.MustCompile(`^(?:[a-z0-9]{5}|\d{1,5}|[a-z0-9]{2,10})$`)},
}

// ownByName gives an object of which the owner is not known the one whose name, with a generated suffix, is its own. A
// Pod of a Deployment whose ReplicaSet was not recorded gets that, too.
func ownByName(merged map[key]*sighting, s *sighting) {
	if ownerRef(s) != nil {
		if o := ownerRef(s); s.res.kind == "Pod" && o["kind"] == "ReplicaSet" {
			name, _ := o["name"].(string)
			stub(merged, s, name)
		}
		return
	}
	if s.fields == nil || slices.Contains(s.fields, "/metadata/ownerReferences") {
		return
	}
	i := strings.LastIndexByte(s.name, '-')
	if i <= 0 {
		return
	}
	name, suffix := s.name[:i], s.name[i+1:]
	rule := generated[s.res.kind]
	if !rule.suffix.MatchString(suffix) {
		return
	}
	for _, kind := range rule.owners {
		if ordinal := strings.Trim(suffix, "0123456789") == ""; kind == "StatefulSet" && !ordinal {
			continue
		}
		res := kinds[kind]
		if merged[key{groupOf(res.apiVersion), kind, s.namespace, name}] != nil {
			own(s, res, name)
			return
		}
	}
	if s.res.kind == "Pod" && len(suffix) == 5 && stub(merged, s, name) {
		own(s, kinds["ReplicaSet"], name)
	}
}

func own(s *sighting, res resource, name string) {
	set(s.tree, []any{map[string]any{"apiVersion": res.apiVersion, "kind": res.kind, "name": name, "controller": true}}, "metadata", "ownerReferences")
}

// encoded is what the Deployment controller makes hashes of: no vowels, and no digit that looks like one.
var encoded = regexp.MustCompile(`^[bcdfghjklmnpqrstvwxz2456789]{8,10}$`)

// fromTemplate reports whether a Pod's ReplicaSet was made by a Deployment: the Pod carries its hash as a label, or, where no
// labels were recorded, the suffix is such a hash and the Pod's own five characters are of the same alphabet.
func fromTemplate(pod *sighting, hash string) bool {
	meta, _ := pod.tree["metadata"].(map[string]any)
	if labels, ok := meta["labels"].(map[string]any); ok {
		return labels["pod-template-hash"] == hash
	}
	own := pod.name[strings.LastIndexByte(pod.name, '-')+1:]
	return encoded.MatchString(hash) && len(own) == 5 && encoded.MatchString(own+"bcd")
}

// stub makes the ReplicaSet between a Pod and a Deployment that was recorded, or that must be there.
func stub(merged map[key]*sighting, pod *sighting, name string) bool {
	k := key{"apps", "ReplicaSet", pod.namespace, name}
	if merged[k] != nil {
		return true
	}
	i := strings.LastIndexByte(name, '-')
	if i <= 0 || !generated["ReplicaSet"].suffix.MatchString(name[i+1:]) {
		return false
	}
	derived := func(kind, name string) *sighting {
		return &sighting{res: kinds[kind], namespace: pod.namespace, known: true, name: name, tree: map[string]any{}, fields: []string{}, src: Source{pod.src.File, pod.src.Line, FormDerived}}
	}
	if above := (key{"apps", "Deployment", pod.namespace, name[:i]}); merged[above] == nil {
		if !fromTemplate(pod, name[i+1:]) {
			return false
		}
		merged[above] = derived("Deployment", name[:i])
	}
	merged[k] = derived("ReplicaSet", name)
	own(merged[k], kinds["Deployment"], name[:i])
	return true
}

// ownerOf returns the object whose template a Pod was made from: its controller, or the Deployment behind one of which
// no template was recorded.
func ownerOf(merged map[key]*sighting, pod *sighting) *sighting {
	o := ownerRef(pod)
	for range 2 {
		if o == nil {
			return nil
		}
		kind, _ := o["kind"].(string)
		name, _ := o["name"].(string)
		s := merged[key{groupOf(kinds[kind].apiVersion), kind, pod.namespace, name}]
		if s == nil {
			return nil
		}
		if spec, _ := s.tree["spec"].(map[string]any); spec != nil && spec["template"] != nil {
			return s
		}
		o = ownerRef(s)
	}
	return nil
}

// inherit gives a Pod of which no labels were recorded those of its controller's template.
func inherit(pod, owner *sighting) {
	meta, _ := pod.tree["metadata"].(map[string]any)
	if meta["labels"] != nil || slices.Contains(pod.fields, "/metadata/labels") {
		return
	}
	spec, _ := owner.tree["spec"].(map[string]any)
	template, _ := spec["template"].(map[string]any)
	tm, _ := template["metadata"].(map[string]any)
	if labels, ok := tm["labels"].(map[string]any); ok {
		set(pod.tree, cloneMap(labels), "metadata", "labels")
		pod.fields = append(slices.Clip(pod.fields), "/metadata/labels")
	}
}

// containers makes container statuses of what a table says, when nothing better was recorded. Which of several
// containers it is of which the STATUS speaks is not known, unless an event or a log names one.
func containers(pod, owner *sighting, named, image string) {
	status, _ := pod.tree["status"].(map[string]any)
	if status["containerStatuses"] != nil || status["initContainerStatuses"] != nil {
		return
	}
	row := pod.pod
	reason, init := strings.CutPrefix(row.status, "Init:")
	state := stateOf(reason, init, row)
	if state == nil || row.total == 0 {
		return
	}
	spec, _ := pod.tree["spec"].(map[string]any)
	names := namesIn(spec)
	if names == nil && owner != nil {
		ownerSpec, _ := owner.tree["spec"].(map[string]any)
		template, _ := ownerSpec["template"].(map[string]any)
		templateSpec, _ := template["spec"].(map[string]any)
		names = namesIn(templateSpec)
	}
	name := named
	if int64(len(names)) == row.total && (row.total == 1 || name == "") {
		name = names[0]
	}
	if row.total > 1 && named == "" && row.ready < row.total && reason != "Running" && !init {
		name = ""
	}
	list := "containerStatuses"
	specs := "containers"
	if init {
		list, specs, name = "initContainerStatuses", "initContainers", named
	}
	entry := map[string]any{"name": name, "ready": row.ready == row.total && reason == "Running", "restartCount": row.restarts, "state": state}
	if row.restarted != nil {
		entry["lastState"] = map[string]any{"terminated": map[string]any{"finishedAt": row.restarted}}
	}
	set(pod.tree, []any{entry}, "status", list)
	if spec[specs] == nil {
		container := map[string]any{"name": name}
		if image != "" && row.total == 1 && !init {
			container["image"] = image
		}
		set(pod.tree, []any{container}, "spec", specs)
	}
}

// pulling is how the kubelet names the image that it pulls for a Pod.
var pulling = regexp.MustCompile(`(?i)pull(?:ing)? image "([^"\s]+)"`)

// pulledBy returns, by Pod, the one image that its events speak of pulling; "" when they name several.
func (r *reader) pulledBy() map[nameKey]string {
	out := map[nameKey]string{}
	for _, e := range r.events {
		object, _ := e.tree["involvedObject"].(map[string]any)
		message, _ := e.tree["message"].(string)
		m := pulling.FindStringSubmatch(message)
		if object["kind"] != "Pod" || m == nil {
			continue
		}
		name, _ := object["name"].(string)
		k := nameKey{e.namespace, name}
		if have, ok := out[k]; ok && have != m[1] {
			out[k] = ""
			continue
		}
		out[k] = m[1]
	}
	return out
}

// stateOf is a container's state by a Pod's STATUS.
func stateOf(reason string, init bool, row *podRow) map[string]any {
	switch {
	case reason == "Running" && row.ready == row.total:
		return map[string]any{"running": map[string]any{}}
	case reason == "Running" && row.total == 1:
		return map[string]any{"running": map[string]any{}}
	case reason == "Error" || reason == "OOMKilled" || strings.HasPrefix(reason, "ExitCode:") || strings.HasPrefix(reason, "Signal:") || reason == "StartError" || reason == "ContainerCannotRun" || reason == "DeadlineExceeded":
		t := map[string]any{"reason": reason}
		if code, ok := strings.CutPrefix(reason, "ExitCode:"); ok {
			n, _ := number(code)
			t["exitCode"] = n
			delete(t, "reason")
		}
		if reason == "OOMKilled" {
			t["exitCode"] = int64(137)
		}
		return map[string]any{"terminated": t}
	case strings.HasSuffix(reason, "BackOff") || strings.HasPrefix(reason, "Err") || strings.HasPrefix(reason, "Create") || strings.HasPrefix(reason, "Invalid") || strings.HasPrefix(reason, "Run") && reason != "Running" ||
		reason == "ContainerCreating" || reason == "PodInitializing" || reason == "ImageInspectError":
		return map[string]any{"waiting": map[string]any{"reason": reason}}
	case init && strings.Contains(reason, "/"):
		return map[string]any{"running": map[string]any{}}
	}
	return nil
}

func namesIn(spec map[string]any) []string {
	list, _ := spec["containers"].([]any)
	var out []string
	for _, c := range list {
		m, _ := c.(map[string]any)
		if n, ok := m["name"].(string); ok {
			out = append(out, n)
		}
	}
	return out
}

var (
	inMessage = regexp.MustCompile(`(?:[Cc]ontainer |container=)"?([a-z0-9][a-z0-9-]*)"?`)
	inPath    = regexp.MustCompile(`\{([a-z0-9-]+)\}$`)
)

// spokenOf returns, by Pod, the one container that its warnings name; "" when they name several.
func (r *reader) spokenOf() map[nameKey]string {
	out := map[nameKey]string{}
	for _, e := range r.events {
		object, _ := e.tree["involvedObject"].(map[string]any)
		if object["kind"] != "Pod" || e.tree["type"] != "Warning" {
			continue
		}
		path, _ := object["fieldPath"].(string)
		message, _ := e.tree["message"].(string)
		m := inPath.FindStringSubmatch(path)
		if m == nil && (e.tree["reason"] == "BackOff" || e.tree["reason"] == "Unhealthy") {
			m = inMessage.FindStringSubmatch(message)
		}
		if m == nil || m[1] == "image" {
			continue
		}
		name, _ := object["name"].(string)
		k := nameKey{e.namespace, name}
		if have, ok := out[k]; ok && have != m[1] {
			out[k] = ""
			continue
		}
		out[k] = m[1]
	}
	return out
}

// allLogs finds out whose the logs are and keeps the longest of each.
func (r *reader) allLogs(merged map[key]*sighting, main string, out *Recording) []diagnose.Log {
	type logKey struct {
		kind, namespace, pod, container string
		previous                        bool
	}
	best := map[logKey]*logPart{}
	pods := map[string][]*sighting{}
	var nodes []string
	for k, s := range merged {
		switch k.kind {
		case "Pod":
			pods[k.name] = append(pods[k.name], s)
		case "Node":
			nodes = append(nodes, k.name)
		}
	}
	for _, l := range r.logs {
		if l.kind == "Node" {
			if l.pod == "" && len(nodes) == 1 {
				l.pod = nodes[0]
			}
		} else {
			l.find(pods, main)
		}
		if l.pod == "" || l.container == "" {
			r.leave(l.src.File, l.src.Line, max(l.to, l.src.Line), "is a log of which it is not said whose it is")
			continue
		}
		k := logKey{l.kind, l.namespace, l.pod, l.container, l.previous}
		have := best[k]
		if have == nil || len(l.lines) > len(have.lines) || len(l.lines) == len(have.lines) && slices.Compare(l.lines, have.lines) < 0 {
			best[k] = l
		}
	}
	var logs []diagnose.Log
	for k, l := range best {
		ref := incident.Ref{APIVersion: "v1", Kind: k.kind, Namespace: k.namespace, Name: k.pod}
		lines, cut := slices.Clone(l.lines), l.cut
		if len(lines) > maxLogLines {
			lines, cut = lines[len(lines)-maxLogLines:], true
		}
		logs = append(logs, diagnose.Log{Pod: ref, Container: k.container, Previous: k.previous, Lines: lines, Truncated: cut})
		run := "current"
		if k.previous {
			run = "previous"
		}
		ref.APIVersion = ""
		out.sources[ref] = append(out.sources[ref], placed{k.container + "/" + run, l.src})
	}
	return logs
}

// find looks for the Pod of a log among the words around it, and for the container among the Pod's.
func (l *logPart) find(pods map[string][]*sighting, main string) {
	if l.pod == "" && l.target != "" {
		for _, name := range slices.Sorted(maps.Keys(pods)) {
			if strings.HasPrefix(name, l.target+"-") && strings.Count(name[len(l.target):], "-") <= 2 {
				if l.pod != "" {
					l.pod = ""
					break
				}
				l.pod = name
			}
		}
	}
	rest := ""
	if l.pod == "" {
		for _, w := range l.words {
			for name := range pods {
				if i := strings.Index(w, name); i >= 0 && len(name) > len(l.pod) {
					l.pod, rest = name, w[i+len(name):]
				}
			}
		}
	}
	var pod *sighting
	for _, s := range pods[l.pod] {
		if l.known && s.namespace == l.namespace || !l.known && (pod == nil || s.namespace < pod.namespace) {
			pod = s
		}
	}
	if pod != nil {
		l.namespace = pod.namespace
	}
	if l.namespace == "" {
		l.namespace = main
	}
	if l.container != "" || pod == nil {
		return
	}
	spec, _ := pod.tree["spec"].(map[string]any)
	names := namesIn(spec)
	for _, n := range names {
		if rest != "" && strings.Contains(rest, n) || slices.Contains(l.words, n) {
			l.container = n
		}
	}
	if l.container == "" && len(names) == 1 {
		l.container = names[0]
	}
}
