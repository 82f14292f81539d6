package diagnose

import (
	"fmt"
	"maps"
)

// Route ends at an Ingress, Gateway or route that names a class, a Service, a port or a Secret which is not there, and leads on to
// the Service behind one that is as it should be.
func (catalogue) Route() rule {
	return rule{
		explains: []symptomKind{routeBroken},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			faults := q.routeFaults(s.object)
			direct := 0
			for _, f := range faults {
				if f.next == nil && f.detail != "Accepted" && f.detail != "ResolvedRefs" {
					direct++
				}
			}
			for _, f := range faults {
				if f.next != nil {
					out = append(out, answer{via: []link{f.nextLink}, next: f.next, tie: proven})
					continue
				}
				if direct > 0 && (f.detail == "Accepted" || f.detail == "ResolvedRefs") {
					continue // the controller says what the objects show
				}
				signal := "IngressBackendNotFound"
				if f.class == ClassIngressClassMissing {
					signal = "IngressClassNotFound"
				}
				params := map[string]string{"ROUTE_KIND": s.subject.Kind, "ROUTE_NAME": s.subject.Name}
				maps.Copy(params, f.params)
				out = append(out, answer{cause: &cause{
					class: f.class, target: s.subject, detail: f.detail, direct: f.direct, timing: timingUnrelated, elsewhere: true,
					signals: []string{signal}, params: params, depends: []string{"Service", "Secret", "IngressClass"},
					last:    link{s.subject, f.statement, f.proof},
					summary: fmt.Sprintf("%s leads nowhere: %s.", s.subject, f.statement),
				}})
			}
			return out
		},
	}
}
