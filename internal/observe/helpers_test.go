package observe_test

import (
	"strings"

	"kubernaut.ai/kubernaut/internal/diagnose"
)

// treesOf returns everything that a snapshot keeps of objects and events.
func treesOf(snap *diagnose.Snapshot) []map[string]any {
	var out []map[string]any
	c := snap.Contents()
	for _, o := range c.Objects {
		out = append(out, o.Tree())
	}
	for _, o := range c.Events {
		out = append(out, o.Tree())
	}
	return out
}

func countOf(text, part string) int { return strings.Count(text, part) }
