package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// values are what ${…} stands for in a step.
type values struct {
	namespace string
	now       time.Time

	pod, uid, node, ip string // empty outside of a Pods step
}

// object returns the object of an Apply step with its references replaced. It has no namespace of
// its own when the data gives none.
func (v values) object(raw json.RawMessage) (*unstructured.Unstructured, error) {
	data, err := v.expand(raw)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	if u.GetName() == "" || u.GetAPIVersion() == "" {
		return nil, errors.New("apiVersion, kind and metadata.name are required")
	}
	return u, nil
}

func (v values) pods(raw json.RawMessage) (pods, error) {
	var p pods
	data, err := v.expand(raw)
	if err != nil {
		return p, err
	}
	return p, strictJSON(data, &p)
}

// expand replaces every ${…} in the strings of a JSON document.
func (v values) expand(raw json.RawMessage) (json.RawMessage, error) {
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return nil, err
	}
	var unknown error
	var walk func(any) any
	walk = func(node any) any {
		switch n := node.(type) {
		case string:
			return os.Expand(n, func(name string) string {
				text, err := v.lookup(name)
				if err != nil && unknown == nil {
					unknown = err
				}
				return text
			})
		case []any:
			for i := range n {
				n[i] = walk(n[i])
			}
		case map[string]any:
			for k := range n {
				n[k] = walk(n[k])
			}
		}
		return node
	}
	tree = walk(tree)
	if unknown != nil {
		return nil, unknown
	}
	return json.Marshal(tree)
}

func (v values) lookup(name string) (string, error) {
	text := ""
	switch name {
	case "ns":
		text = v.namespace
	case "pod":
		text = v.pod
	case "uid":
		text = v.uid
	case "node":
		text = v.node
	case "ip":
		text = v.ip
	default:
		ago, ok := strings.CutPrefix(name, "ago ")
		if !ok {
			return "", fmt.Errorf("${%s} is unknown; there are ns, ago DURATION, pod, uid, node and ip", name)
		}
		d, err := time.ParseDuration(ago)
		if err != nil {
			return "", fmt.Errorf("${%s}: %w", name, err)
		}
		return v.now.Add(-d).UTC().Format(time.RFC3339), nil
	}
	if text == "" {
		return "", fmt.Errorf("${%s} has no value here: it is known only in a pods step", name)
	}
	return text, nil
}
