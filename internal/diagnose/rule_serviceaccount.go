package diagnose

import (
	"fmt"

	"kubernaut.ai/kubernaut/internal/incident"
)

// ServiceAccountMissing ends at a ServiceAccount that a workload's Pods name and that does not exist,
// so that the API server refuses them.
func (catalogue) ServiceAccountMissing() rule {
	return rule{
		explains: []symptomKind{podsNotCreated},
		why: func(q *inquiry, s symptom) []answer {
			name := templateOf(s.object).At("spec", "serviceAccountName")
			if name.Str() == "" {
				return nil
			}
			ref := incident.Ref{APIVersion: "v1", Kind: "ServiceAccount", Namespace: s.subject.Namespace, Name: name.Str()}
			message, said := says(q.messagesAbout(s), `serviceaccount "`+name.Str()+`" not found`)
			knows := q.snap.Knows(ref)
			if knows == Present || knows == Unknown && !said {
				return nil
			}
			target := q.owner(s.object)
			c := &cause{
				class: ClassServiceAccountMissing, target: target, detail: name.Str(), direct: stated, timing: timingUnrelated,
				signals: []string{"FailedCreate", "ServiceAccountNotFound"}, params: map[string]string{"SERVICE_ACCOUNT": name.Str()},
				summary: fmt.Sprintf("%s cannot create Pods: ServiceAccount %q does not exist in namespace %s.", target, name.Str(), ref.Namespace),
				last:    link{ref, fmt.Sprintf("ServiceAccount %q, which the template names, does not exist", name.Str()), []cite{at(name)}},
				wanted:  []wanted{{"the refusal of " + s.subject.String(), said}},
			}
			if knows == Absent {
				c.direct = proven
				c.last.proof = append(c.last.proof, gone(ref))
			}
			if said {
				c.last.proof = append(c.last.proof, at(message))
			}
			if near := q.nearestObject(ref); near != "" {
				c.params["SUGGESTED_NAME"] = near
				c.factors = append(c.factors, fmt.Sprintf("ServiceAccount %q exists, and its name is near.", near))
			}
			return []answer{{cause: c}}
		},
	}
}
