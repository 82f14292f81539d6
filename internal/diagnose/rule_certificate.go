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
