package diagnose

import "kubernaut.ai/kubernaut/internal/incident"

// ConfigMapMissing ends at a ConfigMap that a Pod names and that does not exist.
func (catalogue) ConfigMapMissing() rule {
	return rule{explains: referenceSymptoms, why: func(q *inquiry, s symptom) []answer {
		return missingObjects(q, s, "ConfigMap", func(_ reference, ref incident.Ref) *cause {
			return &cause{
				class: ClassConfigMapMissing, params: map[string]string{"CONFIG_MAP": ref.Name},
				signals: []string{startSignal(s), "ConfigMapNotFound"},
			}
		})
	}}
}

// ConfigMapKeyMissing ends at a key that a Pod names and that its ConfigMap does not have.
func (catalogue) ConfigMapKeyMissing() rule {
	return rule{explains: referenceSymptoms, why: func(q *inquiry, s symptom) []answer {
		return missingKeys(q, s, "ConfigMap", func(_ reference, ref incident.Ref) *cause {
			return &cause{
				class: ClassConfigMapKeyMissing, params: map[string]string{"CONFIG_MAP": ref.Name},
				signals: []string{startSignal(s), "ConfigMapKeyNotFound"},
			}
		})
	}}
}

// startSignal is the signal under which a Pod that cannot be started is reported: a volume that
// cannot be mounted, or a container that cannot be configured.
func startSignal(s symptom) string {
	if s.container == nil {
		return "FailedMount"
	}
	return "CreateContainerConfigError"
}
