package diagnose

import (
	"fmt"

	"kubernaut.ai/kubernaut/internal/incident"
)

// PodSecurity ends at a Pod template that the namespace's Pod Security level does not admit.
func (catalogue) PodSecurity() rule {
	return rule{
		explains: []symptomKind{podsNotCreated},
		why: func(q *inquiry, s symptom) []answer {
			message, said := says(q.messagesAbout(s), "violates PodSecurity ")
			if !said {
				return nil
			}
			target := q.owner(s.object)
			c := &cause{
				class: ClassPodSecurity, target: target, direct: stated, timing: timingUnrelated,
				signals: []string{"FailedCreate", "PodSecurityViolation"}, params: map[string]string{},
				summary: fmt.Sprintf("%s cannot create Pods: they violate the Pod Security level of namespace %s.", target, target.Namespace),
				last:    link{target, "the template violates the namespace's Pod Security level: " + quote(message.Str()), []cite{at(message)}},
			}
			ns := q.snap.Object(incident.Ref{APIVersion: "v1", Kind: "Namespace", Name: target.Namespace})
			if ns != nil {
				if level := ns.At("metadata", "labels", "pod-security.kubernetes.io/enforce"); level.Exists() {
					c.last.proof = append(c.last.proof, at(level))
				}
			}
			return []answer{{cause: c}}
		},
	}
}
