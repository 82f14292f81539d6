package diagnose

import (
	"fmt"

	"kubernaut.ai/kubernaut/internal/incident"
)

// ClaimMissing ends at a PersistentVolumeClaim that a Pod names and that does not exist.
func (catalogue) ClaimMissing() rule {
	return rule{explains: referenceSymptoms, why: func(q *inquiry, s symptom) []answer {
		return missingObjects(q, s, "PersistentVolumeClaim", func(_ reference, ref incident.Ref) *cause {
			return &cause{
				class: ClassPVCMissing, params: map[string]string{"PVC_NAME": ref.Name},
				signals: []string{"FailedScheduling", "PVCNotFound"},
			}
		})
	}}
}

// PodClaims leads from a Pod that no node takes, or that does not start, to a claim of it that is not
// bound. A claim that binds late waits for the Pod, and not the other way round, unless its
// provisioner has failed.
func (catalogue) PodClaims() rule {
	return rule{
		explains: []symptomKind{podUnscheduled, podNotStarting},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			for _, r := range podReferences(s.object.At("spec")) {
				if r.kind != "PersistentVolumeClaim" {
					continue
				}
				pvc := q.snap.Object(r.ref(s.object))
				if pvc == nil {
					continue
				}
				if q.waitsForPod(pvc) && q.staticMismatch(pvc) == nil {
					continue
				}
				for _, next := range q.claimSymptoms(pvc) {
					out = append(out, answer{via: []link{{s.subject, r.use(), []cite{at(r.name)}}}, next: &next})
				}
			}
			return out
		},
	}
}

// waitsForPod reports whether a claim will be bound only once a node was chosen for its Pod.
func (q *inquiry) waitsForPod(pvc *Object) bool {
	return q.bindsLate(pvc) && q.lastEvent(pvc, "ProvisioningFailed") == nil && !pvc.At("metadata", "annotations", "volume.kubernetes.io/selected-node").Exists()
}

// ClaimWaitsForPod leads from a claim that binds late to the Pod that it waits for.
func (catalogue) ClaimWaitsForPod() rule {
	return rule{
		explains: []symptomKind{claimUnbound},
		why: func(q *inquiry, s symptom) []answer {
			class := q.classOf(s.object)
			if class == nil || !q.waitsForPod(s.object) || q.staticMismatch(s.object) != nil {
				return nil
			}
			var out []answer
			mode := []link{{s.subject, "the claim is bound when a node has been chosen for its Pod", []cite{at(class.At("volumeBindingMode"))}}}
			for _, pod := range q.snap.UsersOf(s.subject) {
				for _, next := range q.podSymptoms(pod) {
					if next.kind == podUnscheduled {
						out = append(out, answer{via: mode, next: &next})
					}
				}
			}
			return out
		},
	}
}

// StorageClassMissing ends at a claim that names a StorageClass which does not exist, when no volume
// of that class waits to be claimed either.
func (catalogue) StorageClassMissing() rule {
	return rule{
		explains: []symptomKind{claimUnbound},
		why: func(q *inquiry, s symptom) []answer {
			name := s.object.At("spec", "storageClassName")
			if name.Str() == "" || q.volumesOf(name.Str()) > 0 || q.staticMismatch(s.object) != nil {
				return nil
			}
			ref := incident.Ref{APIVersion: "storage.k8s.io/v1", Kind: "StorageClass", Name: name.Str()}
			message, said := says(q.messagesAbout(s), `storageclass.storage.k8s.io "`+name.Str()+`" not found`)
			knows := q.snap.Knows(ref)
			if knows == Present || knows == Unknown && !said {
				return nil
			}
			c := claimCause(s, ClassStorageClassMissing)
			c.params["STORAGE_CLASS"] = name.Str()
			c.summary = fmt.Sprintf("%s cannot be provisioned: StorageClass %q does not exist.", s.subject, name.Str())
			c.last = link{s.subject, fmt.Sprintf("StorageClass %q, which the claim names, does not exist", name.Str()), []cite{at(name)}}
			c.direct = stated
			if knows == Absent {
				c.direct = proven
				c.last.proof = append(c.last.proof, gone(ref))
			}
			if said {
				c.last.proof = append(c.last.proof, at(message))
			}
			c.wanted = []wanted{{"the event ProvisioningFailed of " + s.subject.String(), said}}
			if near := q.nearestObject(ref); near != "" {
				c.params["SUGGESTED_NAME"] = near
				c.factors = append(c.factors, fmt.Sprintf("StorageClass %q exists, and its name is near.", near))
			} else if def := q.defaultClass(); def != nil {
				c.params["SUGGESTED_NAME"] = def.ref.Name
				c.factors = append(c.factors, fmt.Sprintf("The default StorageClass is %q.", def.ref.Name))
			}
			return []answer{{cause: c}}
		},
	}
}

// StorageClassNoDefault ends at a claim that leaves its class open in a cluster that has no default.
func (catalogue) StorageClassNoDefault() rule {
	return rule{
		explains: []symptomKind{claimUnbound},
		why: func(q *inquiry, s symptom) []answer {
			name := s.object.At("spec", "storageClassName")
			if name.Exists() || !q.snap.Listed("StorageClass", "") || q.defaultClass() != nil || q.volumesOf("") > 0 || q.staticMismatch(s.object) != nil {
				return nil
			}
			ev := q.lastEvent(s.object, "FailedBinding")
			c := claimCause(s, ClassStorageClassNoDefault)
			c.direct = proven
			c.summary = fmt.Sprintf("%s names no StorageClass, and the cluster has no default one.", s.subject)
			c.last = link{s.subject, "the claim names no StorageClass, and none is marked as default", []cite{at(name)}}
			classes := q.snap.Kind("StorageClass", "")
			for i, class := range classes {
				if i < 3 {
					c.last.proof = append(c.last.proof, at(class.At("metadata", "annotations", "storageclass.kubernetes.io/is-default-class")))
				}
			}
			if len(classes) == 1 {
				c.params["SUGGESTED_NAME"] = classes[0].ref.Name
			}
			if ev != nil {
				c.last.proof = append(c.last.proof, event(ev))
			}
			c.wanted = []wanted{{"the event FailedBinding of " + s.subject.String(), ev != nil}}
			return []answer{{cause: c}}
		},
	}
}

// Provisioning ends at a claim whose class exists and whose provisioner does not deliver.
func (catalogue) Provisioning() rule {
	return rule{
		explains: []symptomKind{claimUnbound},
		why: func(q *inquiry, s symptom) []answer {
			class := q.classOf(s.object)
			if class == nil || q.staticMismatch(s.object) != nil || len(unsupportedMode(q, s)) > 0 {
				return nil
			}
			failed, waits := q.lastEvent(s.object, "ProvisioningFailed"), q.lastEvent(s.object, "ExternalProvisioning")
			if failed == nil && waits == nil && (s.reason != "Pending" || q.waitsForPod(s.object) && class.At("provisioner").Str() != noProvisioner) {
				return nil
			}
			provisioner := class.At("provisioner")
			c := claimCause(s, ClassPVCProvisioning)
			c.params["STORAGE_CLASS"] = class.ref.Name
			c.last = link{class.ref, fmt.Sprintf("provisioner %q of the class has not delivered a volume", provisioner.Str()), []cite{at(provisioner)}}
			c.summary = fmt.Sprintf("%s waits for provisioner %q of StorageClass %q, which does not deliver.", s.subject, provisioner.Str(), class.ref.Name)
			c.direct = inferred
			switch {
			case failed != nil:
				c.direct = reported
				c.last.statement += ": " + quote(eventText(failed).Str())
				c.last.proof = append(c.last.proof, event(failed))
			case provisioner.Str() == noProvisioner:
				c.direct = compared
				c.last.statement = "the class has no provisioner, and no volume of it is free"
				c.summary = fmt.Sprintf("%s needs a volume of StorageClass %q, which has no provisioner, and none is free.", s.subject, class.ref.Name)
			case waits != nil:
				c.last.proof = append(c.last.proof, event(waits))
			}
			c.wanted = []wanted{{"events about " + s.subject.String(), failed != nil || waits != nil}, {"the log of provisioner " + provisioner.Str(), false}}
			return []answer{{cause: c}}
		},
	}
}

func claimCause(s symptom, class incident.CauseClass) *cause {
	return &cause{
		class: class, target: s.subject, timing: timingUnrelated, params: map[string]string{"PVC_NAME": s.subject.Name},
		signals: []string{"PVCPending", "FailedScheduling"}, depends: []string{"StorageClass"},
	}
}

// volumesOf counts the PersistentVolumes of a class that nobody has claimed.
func (q *inquiry) volumesOf(class string) int {
	n := 0
	for _, pv := range q.snap.Kind("PersistentVolume", "") {
		if pv.At("spec", "storageClassName").Str() == class && pv.At("status", "phase").Str() == "Available" {
			n++
		}
	}
	return n
}
