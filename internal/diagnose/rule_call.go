package diagnose

import "fmt"

// Callee leads from a container that complains about what it calls to what that complains about itself: each hop of a chain of Services
// may be ready while only the last one's call is cut.
func (catalogue) Callee() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			for _, t := range q.ties(s) {
				if t.svc == nil || t.said == nil || t.said.kind == refusesUs || len(q.troubleOf(t.dependency)) > 0 {
					continue
				}
				for _, w := range q.snap.selectedWorkloads(t.svc) {
					for _, next := range q.callsOf(w, nil) {
						if next.reason == silent || next.object == s.object {
							continue
						}
						out = append(out, answer{
							via:  append(t.links(s), link{t.ref, fmt.Sprintf("it leads to %s", w.ref), []cite{exists(w)}}),
							next: &next, tie: min(t.strong, compared), settles: t.said.named,
						})
					}
				}
			}
			return out
		},
	}
}
