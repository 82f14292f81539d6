package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/test/scenarios/recorded"
)

// incident is one that can be staged: the first document of its file is this, and all others are the objects that are applied.
type incident struct {
	recorded.Header
	Staging
	name    string
	objects []map[string]any
}

// Staging is the part of an incident's header that says how it is made and what is taken of it.
type Staging struct {
	// Namespaces are made beside the incident's own, with their labels. The incident's own may be among them, for its labels.
	Namespaces map[string]map[string]string `json:"namespaces"`
	// Before and After are scripts for bash that run before and after the objects are applied; Undo removes what is not in the
	// namespaces. See the prelude in shell.go for what they can call.
	Before string `json:"before"`
	After  string `json:"after"`
	Undo   string `json:"undo"`
	// Alone says that the incident touches the whole cluster: nothing else is staged then, and it is recorded at once.
	Alone bool `json:"alone"`
	// Age is how long the incident lasts before it is recorded, at least; default 3m for those that are staged together.
	Age string `json:"age"`
	// Text are commands whose output belongs to the text, beyond the usual ones; Objects are arguments of kubectl get whose objects
	// belong to the YAML, beyond the usual ones.
	Text    []string `json:"text"`
	Objects []string `json:"objects"`
}

// namespace is the incident's own.
func (i *incident) namespace() string {
	if i.Incident.Namespace != "" {
		return i.Incident.Namespace
	}
	if i.Incident.Kind == "Namespace" {
		return i.Incident.Name
	}
	return "lab-" + i.name
}

// incidents loads those of the names, or all, by name.
func (l *lab) incidents(names []string) ([]*incident, error) {
	files, err := filepath.Glob(filepath.Join(l.dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var out []*incident
	var wrong []error
	spaces := map[string]string{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		i, err := loadIncident(file, name)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", file, err))
			continue
		}
		if other := spaces[i.namespace()]; other != "" {
			wrong = append(wrong, fmt.Errorf("%s and %s have namespace %s", other, name, i.namespace()))
		}
		spaces[i.namespace()] = name
		if len(names) == 0 || slices.Contains(names, name) {
			out = append(out, i)
		}
	}
	if len(names) > 0 && len(out) != len(names) {
		wrong = append(wrong, fmt.Errorf("not all of %v are there", names))
	}
	return out, errors.Join(wrong...)
}

func loadIncident(file, name string) (*incident, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	i := &incident{name: name}
	docs := bytes.Split(text, []byte("\n---\n"))
	var header map[string]any
	if err := yaml.UnmarshalStrict(docs[0], &header); err != nil {
		return nil, err
	}
	own := map[string]any{}
	for _, key := range []string{"namespaces", "before", "after", "undo", "alone", "age", "text", "objects"} {
		if v, ok := header[key]; ok {
			own[key] = v
			delete(header, key)
		}
	}
	for into, from := range map[any]map[string]any{&i.Header: header, &i.Staging: own} {
		raw, err := yaml.Marshal(from)
		if err != nil {
			return nil, err
		}
		if err := yaml.UnmarshalStrict(raw, into); err != nil {
			return nil, err
		}
	}
	if err := i.Header.Validate(); err != nil {
		return nil, err
	}
	for n, d := range docs[1:] {
		var o map[string]any
		if err := yaml.Unmarshal(d, &o); err != nil {
			return nil, fmt.Errorf("document %d: %w", n+2, err)
		}
		if o["kind"] == "App" {
			o = app(o)
		}
		i.objects = append(i.objects, o)
	}
	return i, nil
}

// app writes a Deployment out in full: the short form has name, replicas, image, args, env, port, labels, and what is merged into
// the container, the Pod, the Deployment's spec and its metadata.
func app(short map[string]any) map[string]any {
	get := func(key string, otherwise any) any {
		if v, ok := short[key]; ok {
			return v
		}
		return otherwise
	}
	name := short["name"]
	labels := map[string]any{"app.kubernetes.io/name": name}
	container := map[string]any{
		"name": get("containerName", "app"), "image": get("image", images[0]), "imagePullPolicy": "IfNotPresent",
		"args":      get("args", []any{"serve=:8080"}),
		"resources": map[string]any{"requests": map[string]any{"cpu": "5m", "memory": "16Mi"}},
	}
	if port, ok := short["port"]; ok {
		container["ports"] = []any{map[string]any{"name": "http", "containerPort": port}}
	}
	if env, ok := short["env"].(map[string]any); ok {
		var list []any
		for _, k := range slices.Sorted(maps.Keys(env)) {
			list = append(list, map[string]any{"name": k, "value": env[k]})
		}
		container["env"] = list
	}
	merge(container, short["container"])
	pod := map[string]any{"containers": []any{container}, "terminationGracePeriodSeconds": 3}
	merge(pod, short["pod"])
	if more, ok := short["sidecars"].([]any); ok {
		pod["containers"] = append([]any{container}, more...)
	}
	own := map[string]any{"app.kubernetes.io/name": name}
	merge(own, short["labels"])
	spec := map[string]any{
		"replicas": get("replicas", 1), "selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{"metadata": map[string]any{"labels": own}, "spec": pod},
	}
	merge(spec, short["spec"])
	meta := map[string]any{"name": name, "labels": labels}
	merge(meta, short["metadata"])
	return map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}
}

func merge(into map[string]any, more any) {
	m, _ := more.(map[string]any)
	maps.Copy(into, m)
}
