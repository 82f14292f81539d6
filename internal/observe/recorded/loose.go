package recorded

import (
	"slices"
	"strings"
)

// looseEvents are the events of a description that was pasted without its beginning: they name no object.
type looseEvents struct {
	p        *piece
	lines    []line
	from, to int
}

// loose reads events under the header that a description has, and nothing that says of what.
func (r *reader) loose(p *piece, lines []line) int {
	n := 0
	if n < len(lines) && strings.TrimSpace(lines[n].text) == "Events:" {
		n++
	}
	if n >= len(lines) || !slices.Equal(strings.Fields(lines[n].text), []string{"Type", "Reason", "Age", "From", "Message"}) {
		return 0
	}
	from := n
	for n < len(lines) && !lines[n].blank() && !maybeCommand(lines[n].text) {
		n++
	}
	r.unowned = append(r.unowned, looseEvents{p, lines[from:n], lines[0].n, lines[n-1].n})
	return n
}

// ownLoose gives events that name no object to the one Pod that they can be about: one that waits for a node where the scheduler
// speaks, and else one that is not well. Where there are several of those, or none, they are left over.
func (r *reader) ownLoose() {
	for _, events := range r.unowned {
		scheduling := slices.ContainsFunc(events.lines, func(l line) bool { return strings.Contains(l.text, "FailedScheduling") })
		var about *sighting
		several := false
		for _, s := range r.objects {
			if s.pod == nil || s.pod.status == "Running" && s.pod.ready == s.pod.total || s.pod.status == "Completed" || scheduling != (s.pod.status == "Pending") {
				continue
			}
			several = several || about != nil && about.name != s.name
			about = s
		}
		if about == nil || several {
			r.leave(events.p.file, events.from, events.to, "are events that name no object")
			continue
		}
		n := &node{key: "Events"}
		for _, l := range events.lines {
			n.kids = append(n.kids, &node{line: l})
		}
		r.describedEvents(events.p, about, n)
	}
}
