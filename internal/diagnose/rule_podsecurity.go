package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// PodSecurity ends at a Pod template that the namespace's Pod Security level does not admit.
func (catalogue) PodSecurity() rule {
	return rule{
		explains: []symptomKind{podsNotCreated},
		why: func(q *inquiry, s symptom) []answer {
			message, said := says(q.messagesAbout(s), "violates PodSecurity ")
			target := q.owner(s.object)
			level := Value{}
			if ns := q.snap.Object(incident.Ref{APIVersion: "v1", Kind: "Namespace", Name: target.Namespace}); ns != nil {
				level = ns.At("metadata", "labels", "pod-security.kubernetes.io/enforce")
			}
			c := &cause{
				class: ClassPodSecurity, target: target, direct: stated, timing: timingUnrelated,
				signals: []string{"FailedCreate", "PodSecurityViolation"}, params: map[string]string{},
				summary: fmt.Sprintf("%s cannot create Pods: they violate the Pod Security level of namespace %s.", target, target.Namespace),
			}
			switch {
			case said:
				c.last = link{target, "the template violates the namespace's Pod Security level: " + quote(message.Str()), []cite{at(message)}}
			case s.reason == silent:
				what, proof := violates(templateOf(s.object).At("spec"), level.Str())
				if what == "" {
					return nil
				}
				c.direct = compared
				c.last = link{target, fmt.Sprintf("the namespace enforces the Pod Security level %q, and the template %s", level.Str(), what), proof}
				c.wanted = []wanted{{"the refusal of " + s.subject.String(), false}}
			default:
				return nil
			}
			if level.Exists() {
				c.last.proof = append(c.last.proof, at(level))
			}
			return []answer{{cause: c}}
		},
	}
}

// violates says in which way a Pod's spec breaks a Pod Security level, by the controls that most specs break; empty when it
// breaks none of them.
func violates(spec Value, level string) (what string, proof []cite) {
	if level != "baseline" && level != "restricted" || !spec.Known() {
		return "", nil
	}
	for _, field := range []string{"hostNetwork", "hostPID", "hostIPC"} {
		if v := spec.At(field); v.Bool() {
			return "sets " + field, []cite{at(v)}
		}
	}
	for _, v := range spec.At("volumes").Items() {
		if p := v.At("hostPath"); p.Exists() {
			return fmt.Sprintf("mounts the node's path %s", p.At("path").Str()), []cite{at(p)}
		}
	}
	var containers []Value
	for _, list := range []string{"initContainers", "containers", "ephemeralContainers"} {
		containers = append(containers, spec.At(list).Items()...)
	}
	for _, c := range containers {
		if v := c.At("securityContext", "privileged"); v.Bool() {
			return fmt.Sprintf("runs container %q privileged", c.At("name").Str()), []cite{at(v)}
		}
		for _, p := range c.At("ports").Items() {
			if h := p.At("hostPort"); h.IntOr(0) > 0 {
				return fmt.Sprintf("asks for host port %s", h.Text()), []cite{at(h)}
			}
		}
	}
	if level == "baseline" || spec.At("os", "name").Str() == "windows" {
		return "", nil
	}
	for _, c := range containers {
		name, own, pod := c.At("name").Str(), c.At("securityContext"), spec.At("securityContext")
		missing := ""
		var place Value
		first := func(field ...string) Value {
			if v := own.At(field...); v.Exists() {
				return v
			}
			return pod.At(field...)
		}
		drops := func(v Value) bool { return strings.EqualFold(v.Str(), "ALL") }
		switch nonRoot, profile := first("runAsNonRoot"), first("seccompProfile", "type"); {
		case !nonRoot.Bool():
			missing, place = "runAsNonRoot: true", nonRoot
		case profile.Str() != "RuntimeDefault" && profile.Str() != "Localhost":
			missing, place = "a seccompProfile", profile
		case !own.At("allowPrivilegeEscalation").Exists() || own.At("allowPrivilegeEscalation").Bool():
			missing, place = "allowPrivilegeEscalation: false", own.At("allowPrivilegeEscalation")
		case !slices.ContainsFunc(own.At("capabilities", "drop").Items(), drops):
			missing, place = "capabilities.drop: [ALL]", own.At("capabilities", "drop")
		}
		if missing != "" {
			return fmt.Sprintf("does not set %s for container %q", missing, name), []cite{at(place)}
		}
	}
	return "", nil
}
