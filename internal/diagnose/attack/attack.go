// Package attack holds strings that are made to mislead whoever reads them, and plants them where text from a cluster can
// stand. It serves tests only: of the engine here, of models and of renderers elsewhere.
package attack

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

//go:embed strings.yaml
var corpus []byte

// String is one hostile text. It need not be valid UTF-8.
type String struct{ Name, Text string }

// Strings returns the corpus in the order of its file.
func Strings() ([]String, error) {
	var entries []struct {
		Name, Text, Hex string
		Repeat          int
	}
	if err := yaml.UnmarshalStrict(corpus, &entries); err != nil {
		return nil, fmt.Errorf("read the attack corpus: %w", err)
	}
	out := make([]String, len(entries))
	for i, e := range entries {
		text := e.Text
		if e.Hex != "" {
			raw, err := hex.DecodeString(e.Hex)
			if err != nil {
				return nil, fmt.Errorf("read %s of the attack corpus: %w", e.Name, err)
			}
			text = string(raw)
		}
		out[i] = String{e.Name, strings.Repeat(text, max(1, e.Repeat))}
	}
	return out, nil
}

// Neutral returns a text of the same size and number of lines that says nothing.
func Neutral(text string) string {
	out := []byte(strings.Repeat("x", len(text)))
	for i := range len(text) {
		if text[i] == '\n' {
			out[i] = '\n'
		}
	}
	return string(out)
}

// Place is where in what is read of a cluster, or in an alert, a text can stand.
type Place string

// The places.
const (
	Logs       Place = "logs"        // a line amid each log
	Events     Place = "events"      // the message of one more event about each Pod and workload
	Messages   Place = "messages"    // what each event that there is says, after its own message
	Annotation Place = "annotations" // of every object
	ConfigMaps Place = "ConfigMaps"  // a value in each ConfigMap
	Images     Place = "images"      // the image of one more Pod, which is well
	Env        Place = "env"         // a variable of every container
	Conditions Place = "conditions"  // the message of one more condition, of a type that nothing knows
	Alert      Place = "alert"       // the alert's text, labels and context
)

// Places returns all places.
func Places() []Place {
	return []Place{Logs, Events, Messages, Annotation, ConfigMaps, Images, Env, Conditions, Alert}
}

// Plant returns a copy of what was read, and of the incident, with the text in the place. It errs when an object cannot be built.
func (p Place) Plant(c diagnose.Contents, inc incident.Incident, text string) (diagnose.Contents, incident.Incident, error) {
	c.Objects, c.Events, c.Logs = slices.Clone(c.Objects), slices.Clone(c.Events), slices.Clone(c.Logs)
	var err error
	switch p {
	case Alert:
		inc.ErrorMessage, inc.Description = text, text
		inc.SignalLabels = map[string]string{"description": text, "runbook": text}
		inc.KubernetesContext = map[string]any{"note": text}
	case Logs:
		for i, l := range c.Logs {
			at := len(l.Lines) / 2
			c.Logs[i].Lines = slices.Concat(l.Lines[:at], strings.Split(text, "\n"), l.Lines[at:])
		}
	case Messages:
		for i, ev := range c.Events {
			tree := clone(ev.Tree())
			for _, key := range []string{"message", "note"} {
				if s, ok := tree[key].(string); ok {
					tree[key] = s + " " + text
				}
			}
			if c.Events[i], err = diagnose.NewObject(tree, false); err != nil {
				return c, inc, err
			}
		}
	case Events:
		for i, o := range c.Objects {
			if r := o.Ref(); hasPods(r.Kind) {
				ev, err := diagnose.NewObject(map[string]any{
					"apiVersion": "v1", "kind": "Event", "metadata": map[string]any{"name": fmt.Sprintf("planted.%d", i), "namespace": r.Namespace},
					"type": "Warning", "reason": "Note", "message": text, "lastTimestamp": c.ObservedAt.Format("2006-01-02T15:04:05Z07:00"),
					"involvedObject": map[string]any{"apiVersion": r.APIVersion, "kind": r.Kind, "namespace": r.Namespace, "name": r.Name, "uid": r.UID},
				}, false)
				if err != nil {
					return c, inc, err
				}
				c.Events = append(c.Events, ev)
			}
		}
	case Images:
		pod, err := diagnose.NewObject(map[string]any{
			"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "planted", "namespace": inc.Resource.Namespace, "uid": "planted"},
			"spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": text}}, "nodeName": "planted"},
			"status": map[string]any{
				"phase": "Running", "conditions": []any{map[string]any{"type": "Ready", "status": "True"}},
				"containerStatuses": []any{map[string]any{"name": "c", "image": text, "imageID": text, "ready": true, "state": map[string]any{"running": map[string]any{"startedAt": "2026-01-01T00:00:00Z"}}}},
			},
		}, false)
		if err != nil {
			return c, inc, err
		}
		c.Objects = append(c.Objects, pod)
	default:
		for i, o := range c.Objects {
			tree := clone(o.Tree())
			if !p.into(tree, o.Ref().Kind, text) {
				continue
			}
			planted, err := diagnose.NewObject(tree, o.Partial())
			if err != nil {
				return c, inc, err
			}
			c.Objects[i] = planted
		}
	}
	return c, inc, nil
}

// into changes the tree of one object; false when the place is not in it.
func (p Place) into(tree map[string]any, kind, text string) bool {
	below := func(m map[string]any, key string) map[string]any {
		v, _ := m[key].(map[string]any)
		if v == nil {
			v = map[string]any{}
			m[key] = v
		}
		return v
	}
	switch p {
	case Annotation:
		below(below(tree, "metadata"), "annotations")["example.com/note"] = text
		return true
	case ConfigMaps:
		if kind == "ConfigMap" {
			below(tree, "data")["NOTE"] = text
			return true
		}
	case Conditions:
		if hasPods(kind) {
			status := below(tree, "status")
			list, _ := status["conditions"].([]any)
			status["conditions"] = append(slices.Clone(list), map[string]any{"type": "example.com/Note", "status": "False", "reason": "Note", "message": text})
			return true
		}
	case Env:
		spec := tree["spec"]
		if kind != "Pod" {
			spec = template(tree)
		}
		s, _ := spec.(map[string]any)
		list, _ := s["containers"].([]any)
		for _, e := range list {
			if ctr, ok := e.(map[string]any); ok {
				env, _ := ctr["env"].([]any)
				ctr["env"] = append(slices.Clone(env), map[string]any{"name": "NOTE", "value": text})
			}
		}
		return len(list) > 0
	}
	return false
}

func template(tree map[string]any) any {
	spec, _ := tree["spec"].(map[string]any)
	t, _ := spec["template"].(map[string]any)
	return t["spec"]
}

func hasPods(kind string) bool {
	switch kind {
	case "Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job":
		return true
	}
	return false
}

// clone copies a JSON tree.
func clone(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = cloneValue(v)
	}
	return out
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return clone(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = cloneValue(e)
		}
		return out
	}
	return v
}
