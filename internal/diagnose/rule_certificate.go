package diagnose

import (
	"fmt"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// isCertificateError reports whether a line is a TLS library's refusal of a certificate.
func isCertificateError(line string) bool {
	line = strings.ToLower(line)
	if !strings.Contains(line, "certificate") && !strings.Contains(line, "x509") {
		return false
	}
	for _, w := range []string{"x509:", "expired", "verify failed", "verification failed", "not yet valid", "unknown authority", "bad certificate", "unable to get local issuer"} {
		if strings.Contains(line, w) {
			return true
		}
	}
	return false
}

// CertificateInUse leads from a container that complains about a certificate to the Certificate whose Secret it, or what it calls,
// has mounted.
func (catalogue) CertificateInUse() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			var said *spoken
			for _, l := range q.tail(s) {
				if isCertificateError(l.text) {
					said = &l
					break
				}
			}
			if said == nil {
				return nil
			}
			users := []*Object{s.object}
			for _, d := range q.dependencies(s.object, s.container.spec) {
				if d.svc != nil {
					if pods := q.selected(d.svc); len(pods) > 0 {
						users = append(users, pods[0])
					}
				}
			}
			var out []answer
			seen := map[incident.Ref]bool{}
			for _, pod := range users {
				for _, r := range podReferences(pod.At("spec")) {
					ref := r.ref(pod)
					if r.kind != "Secret" || seen[ref] {
						continue
					}
					seen[ref] = true
					cert := q.certificateFor(ref)
					if cert == nil {
						continue
					}
					for _, next := range q.resourceSymptoms(cert) {
						out = append(out, answer{settles: true, tie: proven, next: &next, via: []link{
							{s.subject, fmt.Sprintf("container %q says %s", s.container.name, quote(said.text)), []cite{said.cite}},
							{pod.ref, fmt.Sprintf("it mounts Secret %q, which %s makes", ref.Name, cert.ref), []cite{at(r.name), at(cert.At("spec", "secretName"))}},
						}})
					}
				}
			}
			return out
		},
	}
}

// CertificateExpired ends at the Secret from which what a container calls has its certificate, when the container says that it has
// expired and nothing in the cluster is known to renew it.
func (catalogue) CertificateExpired() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, callFails},
		why: func(q *inquiry, s symptom) []answer {
			if s.container == nil {
				return nil
			}
			known := q.dependencies(s.object, s.container.spec)
			for _, l := range q.tail(s) {
				if !isCertificateError(l.text) || !strings.Contains(strings.ToLower(l.text), "expired") {
					continue
				}
				for _, d := range known {
					if d.svc == nil || !d.namedIn(l.text, known) {
						continue
					}
					secret, pod := q.certificateOf(d.svc)
					if pod == nil || q.certificateFor(secret.ref(pod)) != nil {
						continue
					}
					ref := secret.ref(pod)
					if o := q.snap.Object(ref); o != nil && changeOf(o).After(pod.Created()) {
						continue // it was renewed; that the server does not know yet is another fault
					}
					c := &cause{
						class: ClassCertificateInvalid, target: ref, direct: compared, timing: timingUnrelated, elsewhere: true, depends: []string{"Log", "Certificate"},
						signals: []string{"CertificateInvalid"}, params: map[string]string{"SERVICE_NAME": d.ref.Name, "SECRET_NAME": ref.Name},
						last:    link{ref, fmt.Sprintf("the certificate that %s has from it has expired", pod.ref), []cite{at(secret.name), l.cite}},
						summary: fmt.Sprintf("%s holds the certificate of %s, which has expired; %s refuses it.", ref, d.ref, q.owner(s.object)),
					}
					return []answer{{cause: c, via: []link{
						{s.subject, fmt.Sprintf("container %q says %s", s.container.name, quote(l.text)), []cite{l.cite}},
						{d.ref, fmt.Sprintf("it leads to %s", pod.ref), []cite{exists(pod)}},
					}}}
				}
			}
			return nil
		},
	}
}

// certificateOf returns the one Secret that the Pods of a Service mount, which then holds the certificate by which they are known; no Pod
// when there is none, or more than one.
func (q *inquiry) certificateOf(svc *Object) (reference, *Object) {
	pods := q.selected(svc)
	if len(pods) == 0 {
		return reference{}, nil
	}
	var found []reference
	for _, r := range podReferences(pods[0].At("spec")) {
		if r.kind == "Secret" && r.volume != "" {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		return reference{}, nil
	}
	return found[0], pods[0]
}
