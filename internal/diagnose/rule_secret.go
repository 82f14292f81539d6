package diagnose

import "kubernaut.ai/kubernaut/internal/incident"

// SecretMissing ends at a Secret that a Pod names and that does not exist. Only the names of Secrets
// are read.
func (catalogue) SecretMissing() rule {
	return rule{explains: referenceSymptoms, why: func(q *inquiry, s symptom) []answer {
		return missingObjects(q, s, "Secret", func(_ reference, ref incident.Ref) *cause {
			return &cause{
				class: ClassSecretMissing, params: map[string]string{"SECRET_NAME": ref.Name},
				signals: []string{startSignal(s), "SecretNotFound"},
			}
		})
	}}
}

// SecretKeyMissing ends at a key that a Pod names and that the kubelet did not find in its Secret.
func (catalogue) SecretKeyMissing() rule {
	return rule{explains: referenceSymptoms, why: func(q *inquiry, s symptom) []answer {
		return missingKeys(q, s, "Secret", func(_ reference, ref incident.Ref) *cause {
			return &cause{
				class: ClassSecretKeyMissing, params: map[string]string{"SECRET_NAME": ref.Name},
				signals: []string{startSignal(s), "SecretKeyNotFound"},
			}
		})
	}}
}
