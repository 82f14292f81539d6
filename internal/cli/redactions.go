package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// redactions lists where a snapshot holds the mark of something that was replaced, in the snapshot's
// order.
func redactions(snap *diagnose.Snapshot) []redaction {
	const mark = "[redacted:"
	out := []redaction{}
	c := snap.Contents()
	for _, list := range [][]*diagnose.Object{c.Objects, c.Events} {
		for _, o := range list {
			ref := o.Ref()
			ref.UID = ""
			walk(o.Tree(), "", func(path, text string) {
				if strings.Contains(text, mark) {
					out = append(out, redaction{ref, path})
				}
			})
		}
	}
	for _, l := range c.Logs {
		run := "current"
		if l.Previous {
			run = "previous"
		}
		for i, line := range l.Lines {
			if strings.Contains(line, mark) {
				out = append(out, redaction{incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: l.Pod.Namespace, Name: l.Pod.Name}, fmt.Sprintf("%s/%s/%d", l.Container, run, i)})
			}
		}
	}
	return out
}

// walk calls visit for every text of a JSON tree with its pointer, in the order of the keys.
func walk(v any, path string, visit func(path, text string)) {
	switch v := v.(type) {
	case string:
		visit(path, v)
	case []any:
		for i, e := range v {
			walk(e, fmt.Sprintf("%s/%d", path, i), visit)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			walk(v[k], path+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(k), visit)
		}
	}
}
