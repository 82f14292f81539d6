package observe

import "kubernaut.ai/kubernaut/internal/diagnose"

// Part is an object as it was read from a file, before anything in it was redacted.
type Part struct {
	Tree    map[string]any
	Partial bool     // only the metadata was read
	Fields  []string // as for diagnose.NewPart; nil when the object was read as a whole
}

// Seal redacts everything that was read elsewhere than by a Live, as a Live does, and makes a snapshot of it: it adds the
// objects and events to the contents, whose logs and gaps may hold secrets still. Who wrote which field, and when, is
// kept. The trees are changed.
func Seal(c diagnose.Contents, objects, events []Part) *diagnose.Snapshot {
	for i, g := range c.Gaps {
		var r Redactor
		c.Gaps[i].What, c.Gaps[i].Reason = r.Text(g.What), r.Text(g.Reason)
	}
	return seal(c, items(objects), items(events))
}

func items(parts []Part) []item {
	out := make([]item, len(parts))
	for i, p := range parts {
		out[i] = item{tree: p.Tree, partial: p.Partial, fields: p.Fields, history: true}
	}
	return out
}
