// Package scenario reads faulted clusters that are written as data, with the verdict that is
// expected of them, derives their twins, and holds answers against what is expected. It serves tests and
// kubernaut eval, with which people measure a model of theirs: both must count alike.
//
// A scenario is a YAML file of several documents. The first is its [Header]; every other one is an
// object, an Event, or a log excerpt (kind Log). Secrets count as read by metadata only.
package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Header is the first document of a scenario.
type Header struct {
	Title string `json:"scenario"`
	// At is the time of the snapshot; T+<duration> and T-<duration> elsewhere in the file stand for times
	// relative to it.
	At       string   `json:"at"`
	Incident Incident `json:"incident"`
	// Unread names kinds that may not be read: they get a gap and no objects. "Log" means all logs.
	Unread []string `json:"unread"`
	// Names are replaced, wherever they stand, to make the renamed twin.
	Names []string `json:"names"`
	// Crowd is a number of further Pods in the incident's namespace that are all well; see [Scenario.Large].
	Crowd int `json:"crowd"`
	// NeedsEvents says that without events the verdict is another one.
	NeedsEvents bool   `json:"needsEvents"`
	Expect      Expect `json:"expect"`
	// Healthy mends the fault: its objects replace those of the same name, and Drop removes others. Events
	// and logs stay, as they do in life.
	Healthy *Healthy `json:"healthy"`
}

// Incident is the part of an incident that a scenario states.
type Incident struct {
	Kind        string `json:"kind"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	Signal      string `json:"signal"`
	Environment string `json:"environment"`
}

// Expect is the expected verdict. Zero fields are not compared.
type Expect struct {
	Verdict       diagnose.Verdict  `json:"verdict"` // default cause
	Class         string            `json:"class"`
	Target        string            `json:"target"` // as Ref.String
	Chain         []string          `json:"chain"`  // subjects, from symptom to cause
	Severity      string            `json:"severity"`
	Signal        string            `json:"signal"` // the first signal type
	Parameters    map[string]string `json:"parameters"`
	MinConfidence float64           `json:"minConfidence"`
	MaxConfidence float64           `json:"maxConfidence"`
	Others        []string          `json:"others"`    // classes
	MustNot       []string          `json:"mustNot"`   // classes that appear nowhere
	Factors       []string          `json:"factors"`   // each is part of some factor
	Noise         []string          `json:"noise"`     // each is part of some note
	TouchingGaps  []string          `json:"gapsTouch"` // exactly these gaps touch the cause, by What
}

// Healthy mends a fault.
type Healthy struct {
	Replace []map[string]any `json:"replace"`
	Drop    []string         `json:"drop"`    // as Ref.String
	Verdict diagnose.Verdict `json:"verdict"` // default healthy
}

// Scenario is one case.
type Scenario struct {
	Header
	Name string // the file's, without extension
	raw  []byte
	docs []map[string]any
}

// Load reads every scenario of a directory, ordered by name.
func Load(fsys fs.FS, dir string) ([]*Scenario, error) {
	files, err := fs.Glob(fsys, path.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var out []*Scenario
	for _, f := range files {
		raw, err := fs.ReadFile(fsys, f)
		if err != nil {
			return nil, err
		}
		s, err := parse(strings.TrimSuffix(path.Base(f), ".yaml"), raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		out = append(out, s)
	}
	return out, nil
}

func parse(name string, raw []byte) (*Scenario, error) {
	s := &Scenario{Name: name, raw: raw}
	docs := bytes.Split(raw, []byte("\n---\n"))
	if err := yaml.UnmarshalStrict(docs[0], &s.Header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	for i, d := range docs[1:] {
		var doc map[string]any
		if err := yaml.Unmarshal(d, &doc); err != nil {
			return nil, fmt.Errorf("document %d: %w", i+2, err)
		}
		if doc["kind"] == nil {
			return nil, fmt.Errorf("document %d has no kind", i+2)
		}
		s.docs = append(s.docs, doc)
	}
	if s.Expect.Verdict == "" {
		s.Expect.Verdict = diagnose.VerdictCause
	}
	return s, nil
}

// Input returns the incident.
func (s *Scenario) Input() incident.Incident {
	in := s.Header.Incident
	return incident.Incident{
		ID: s.Name, RemediationID: s.Name, SignalType: in.Signal, Environment: in.Environment,
		Resource: incident.Ref{Kind: in.Kind, Namespace: in.Namespace, Name: in.Name},
	}
}

// Variant says how a snapshot departs from the file.
type Variant struct {
	Healthy  bool // the fault is mended
	NoEvents bool // events have expired
	NoLogs   bool // logs may not be read
	// Shuffle reorders what was collected; it must not show.
	Shuffle func(n int, swap func(i, j int))
}

// Snapshot builds the scenario's snapshot.
func (s *Scenario) Snapshot(v Variant) (*diagnose.Snapshot, error) {
	now, err := time.Parse(time.RFC3339, s.At)
	if err != nil {
		return nil, err
	}
	docs := s.docs
	if v.Healthy && s.Healthy != nil {
		docs = s.Healthy.apply(docs)
	}
	c := diagnose.Contents{ObservedAt: now, Cluster: "scenario", Reads: s.reads()}
	unread := s.Unread
	if v.NoLogs && !slices.Contains(unread, "Log") {
		unread = append(slices.Clone(unread), "Log")
	}
	for _, kind := range unread {
		c.Gaps = append(c.Gaps, diagnose.Gap{Kind: incident.GapForbidden, Subject: incident.Ref{Kind: kind}, What: kind + " objects", Reason: "may not be read"})
	}
	if v.NoEvents {
		c.Gaps = append(c.Gaps, diagnose.Gap{Kind: incident.GapExpired, Subject: incident.Ref{Kind: "Event"}, What: "events", Reason: "no longer kept"})
	}
	for _, doc := range docs {
		doc, _ := absolute(doc, now).(map[string]any)
		kind, _ := doc["kind"].(string)
		switch {
		case slices.Contains(unread, kind), kind == "Event" && v.NoEvents:
			continue
		case kind == "Log":
			log, err := logOf(doc)
			if err != nil {
				return nil, err
			}
			c.Logs = append(c.Logs, log)
			continue
		case kind == "Secret":
			doc = map[string]any{"apiVersion": doc["apiVersion"], "kind": kind, "metadata": doc["metadata"]}
		}
		o, err := diagnose.NewObject(doc, kind == "Secret")
		if err != nil {
			return nil, err
		}
		if kind == "Event" {
			c.Events = append(c.Events, o)
		} else {
			c.Objects = append(c.Objects, o)
		}
	}
	if s.Crowd > 0 {
		more, err := crowd(s.Header.Incident.Namespace, s.Crowd)
		if err != nil {
			return nil, err
		}
		c.Objects = append(c.Objects, more...)
	}
	if v.Shuffle != nil {
		v.Shuffle(len(c.Objects), func(i, j int) { c.Objects[i], c.Objects[j] = c.Objects[j], c.Objects[i] })
		v.Shuffle(len(c.Events), func(i, j int) { c.Events[i], c.Events[j] = c.Events[j], c.Events[i] })
		v.Shuffle(len(c.Logs), func(i, j int) { c.Logs[i], c.Logs[j] = c.Logs[j], c.Logs[i] })
		v.Shuffle(len(c.Reads), func(i, j int) { c.Reads[i], c.Reads[j] = c.Reads[j], c.Reads[i] })
	}
	return diagnose.NewSnapshot(c), nil
}

// kinds are those that a scenario's snapshot has listed in full, over all namespaces.
var kinds = []string{
	"v1/Pod", "v1/Service", "v1/PersistentVolumeClaim", "v1/ResourceQuota", "v1/LimitRange", "v1/ServiceAccount", "v1/ConfigMap", "v1/Secret", "v1/Event", "v1/Node",
	"v1/PersistentVolume", "v1/Namespace", "apps/v1/Deployment", "apps/v1/ReplicaSet", "apps/v1/StatefulSet", "apps/v1/DaemonSet", "apps/v1/ControllerRevision", "batch/v1/Job",
	"batch/v1/CronJob", "discovery.k8s.io/v1/EndpointSlice", "autoscaling/v2/HorizontalPodAutoscaler", "storage.k8s.io/v1/StorageClass", "coordination.k8s.io/v1/Lease",
	"networking.k8s.io/v1/NetworkPolicy", "networking.k8s.io/v1/Ingress", "networking.k8s.io/v1/IngressClass",
	"rbac.authorization.k8s.io/v1/Role", "rbac.authorization.k8s.io/v1/RoleBinding", "rbac.authorization.k8s.io/v1/ClusterRole", "rbac.authorization.k8s.io/v1/ClusterRoleBinding",
	"policy/v1/PodDisruptionBudget", "scheduling.k8s.io/v1/PriorityClass", "storage.k8s.io/v1/VolumeAttachment",
	"admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration", "admissionregistration.k8s.io/v1/MutatingWebhookConfiguration",
}

func (s *Scenario) reads() []diagnose.Read {
	var out []diagnose.Read
	for _, k := range kinds {
		i := strings.LastIndexByte(k, '/')
		r := diagnose.Read{APIVersion: k[:i], Kind: k[i+1:]}
		if !slices.Contains(s.Unread, r.Kind) {
			out = append(out, r)
		}
	}
	return out
}

func logOf(doc map[string]any) (diagnose.Log, error) {
	raw, err := yaml.Marshal(doc)
	if err != nil {
		return diagnose.Log{}, err
	}
	var l struct {
		Namespace, Pod, Container, Text string
		Previous                        bool
	}
	if err := yaml.Unmarshal(raw, &l); err != nil {
		return diagnose.Log{}, err
	}
	if l.Pod == "" || l.Container == "" {
		return diagnose.Log{}, errors.New("a Log needs pod and container")
	}
	return diagnose.Log{
		Pod: incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: l.Namespace, Name: l.Pod}, Container: l.Container, Previous: l.Previous,
		Lines: strings.Split(strings.TrimSuffix(l.Text, "\n"), "\n"),
	}, nil
}

// absolute replaces T-5m and T+1h by times.
func absolute(v any, now time.Time) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = absolute(e, now)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = absolute(e, now)
		}
		return out
	case string:
		if len(v) > 2 && (strings.HasPrefix(v, "T-") || strings.HasPrefix(v, "T+")) {
			if d, err := time.ParseDuration(v[1:]); err == nil {
				return now.Add(d).UTC().Format(time.RFC3339)
			}
		}
	}
	return v
}

func (h *Healthy) apply(docs []map[string]any) []map[string]any {
	out := slices.Clone(docs)
	for _, r := range h.Replace {
		i := slices.IndexFunc(out, func(d map[string]any) bool { return refOf(d) == refOf(r) })
		if i < 0 {
			out = append(out, r)
		} else {
			out[i] = r
		}
	}
	return slices.DeleteFunc(out, func(d map[string]any) bool { return slices.Contains(h.Drop, refOf(d)) })
}

func refOf(doc map[string]any) string {
	meta, _ := doc["metadata"].(map[string]any)
	ref := incident.Ref{}
	ref.Kind, _ = doc["kind"].(string)
	ref.Namespace, _ = meta["namespace"].(string)
	ref.Name, _ = meta["name"].(string)
	return ref.String()
}

// Renamed returns the twin in which every name of Header.Names is replaced by another word of another
// length, wherever it stands as a word of its own.
func (s *Scenario) Renamed() (*Scenario, error) {
	return parse(s.Name+"-renamed", []byte(s.Rename(string(s.raw))))
}

// Rename replaces the names in a text as [Scenario.Renamed] does in the file.
func (s *Scenario) Rename(text string) string {
	names := slices.Clone(s.Names)
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	for i, n := range names {
		text = replaceWord(text, n, twinName(i))
	}
	return text
}

func twinName(i int) string {
	const letters = "qvzxkjwy"
	return strings.Repeat(string(letters[i%len(letters)]), 3+i%4) + "u" + string(letters[(i/len(letters))%len(letters)]) + "o"
}

func replaceWord(text, word, by string) string {
	var out strings.Builder
	for {
		i := strings.Index(text, word)
		if i < 0 {
			out.WriteString(text)
			return out.String()
		}
		end := i + len(word)
		whole := (i == 0 || !isWordByte(text[i-1])) && (end == len(text) || !isWordByte(text[end]))
		out.WriteString(text[:i])
		if whole {
			out.WriteString(by)
		} else {
			out.WriteString(word)
		}
		text = text[end:]
	}
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// Large returns the scenario's snapshot in a namespace with n more Pods, in Deployments of ten with a
// Service each, all well, on a tenth as many nodes.
func (s *Scenario) Large(n int) (*diagnose.Snapshot, error) {
	large := *s
	large.Crowd = n
	return large.Snapshot(Variant{})
}

// crowd makes the objects that [Scenario.Large] adds.
func crowd(ns string, n int) ([]*diagnose.Object, error) {
	var out []*diagnose.Object
	put := func(kind, apiVersion, name string, rest map[string]any) error {
		tree := map[string]any{"apiVersion": apiVersion, "kind": kind}
		meta := map[string]any{"name": name, "uid": kind + name, "resourceVersion": "1", "creationTimestamp": "2026-11-01T00:00:00Z"}
		if kind != "Node" {
			meta["namespace"] = ns
		}
		for k, v := range rest {
			if k == "metadata" {
				maps.Copy(meta, v.(map[string]any))
				continue
			}
			tree[k] = v
		}
		tree["metadata"] = meta
		o, err := diagnose.NewObject(tree, false)
		if err == nil {
			out = append(out, o)
		}
		return err
	}
	var errs []error
	ready := []any{map[string]any{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-01T00:00:00Z"}}
	for i := range n/10 + 1 {
		errs = append(errs, put("Node", "v1", fmt.Sprintf("large-node-%d", i), map[string]any{
			"spec":   map[string]any{},
			"status": map[string]any{"conditions": ready, "allocatable": map[string]any{"cpu": "16", "memory": "64Gi", "pods": "110"}},
		}))
	}
	for i := range n {
		app := fmt.Sprintf("large-%d", i/10)
		labels := map[string]any{"app": app}
		containers := []any{map[string]any{
			"name": "main", "image": "registry.example.com/" + app + ":1", "ports": []any{map[string]any{"containerPort": 8080}},
			"resources": map[string]any{"requests": map[string]any{"cpu": "100m", "memory": "128Mi"}},
		}}
		template := map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{"containers": containers}}
		owner := func(kind, name string) []any {
			return []any{map[string]any{"apiVersion": "apps/v1", "kind": kind, "name": name, "controller": true}}
		}
		if i%10 == 0 {
			status := map[string]any{"replicas": 10, "readyReplicas": 10, "updatedReplicas": 10}
			errs = append(errs,
				put("Deployment", "apps/v1", app, map[string]any{"spec": map[string]any{"replicas": 10, "template": template}, "status": status}),
				put("ReplicaSet", "apps/v1", app+"-1", map[string]any{"metadata": map[string]any{"ownerReferences": owner("Deployment", app)}, "spec": map[string]any{"replicas": 10, "template": template}, "status": status}),
				put("Service", "v1", app, map[string]any{"spec": map[string]any{"selector": labels, "ports": []any{map[string]any{"port": 80, "targetPort": 8080}}}}))
		}
		errs = append(errs, put("Pod", "v1", fmt.Sprintf("%s-1-%d", app, i), map[string]any{
			"metadata": map[string]any{"labels": labels, "ownerReferences": owner("ReplicaSet", app+"-1")},
			"spec":     map[string]any{"nodeName": fmt.Sprintf("large-node-%d", i/10), "containers": containers},
			"status": map[string]any{"phase": "Running", "conditions": ready, "containerStatuses": []any{map[string]any{
				"name": "main", "ready": true, "restartCount": 0,
				"state": map[string]any{"running": map[string]any{"startedAt": "2026-11-01T00:00:00Z"}},
			}}},
		}))
	}
	return out, errors.Join(errs...)
}
