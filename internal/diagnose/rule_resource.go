package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// ResourceParts leads from a custom resource that says it is broken to what it owns, and to the custom resources that it
// refers to, when these are broken too.
func (catalogue) ResourceParts() rule {
	return rule{
		explains: []symptomKind{resourceUnready},
		why: func(q *inquiry, s symptom) []answer {
			var out []answer
			for _, child := range q.snap.Children(s.subject) {
				for _, next := range q.symptomsOf(child) {
					out = append(out, answer{via: []link{{s.subject, fmt.Sprintf("it owns %s", child.ref), []cite{at(child.At("metadata", "ownerReferences"))}}}, next: &next, tie: proven, settles: true})
				}
			}
			for _, r := range q.managed(s.object) {
				for _, next := range q.symptomsOf(r.object) {
					out = append(out, answer{via: []link{{s.subject, fmt.Sprintf("it manages %s", r.object.ref), []cite{at(r.place)}}}, next: &next, tie: proven, settles: true})
				}
			}
			for _, r := range q.refersTo(s.object) {
				for _, next := range q.resourceSymptoms(r.object) {
					out = append(out, answer{via: []link{{s.subject, fmt.Sprintf("it refers to %s", r.object.ref), []cite{at(r.place)}}}, next: &next, tie: proven, settles: true})
				}
			}
			return out
		},
	}
}

// referred is an object that another one names, and where.
type referred struct {
	object *Object
	place  Value
}

// managed returns the objects that a GitOps resource lists as its own.
func (q *inquiry) managed(o *Object) []referred {
	var out []referred
	for i, r := range o.At("status", "resources").Items() {
		if i == maxManaged {
			break
		}
		kind := r.At("kind").Str()
		version := r.At("version").Str()
		if group := r.At("group").Str(); group != "" {
			version = group + "/" + version
		}
		ref := incident.Ref{APIVersion: version, Kind: kind, Namespace: r.At("namespace").Str(), Name: r.At("name").Str()}
		if child := q.snap.Object(ref); child != nil {
			out = append(out, referred{child, r.At("name")})
		}
	}
	return out
}

// maxManaged bounds how many of a GitOps resource's objects are looked at.
const maxManaged = 200

// refersTo returns the custom resources that an object's spec names, by fields that end in Ref and hold a kind and a name.
func (q *inquiry) refersTo(o *Object) []referred {
	var out []referred
	spec := o.At("spec")
	for _, key := range spec.Keys() {
		v := spec.At(key)
		if !strings.HasSuffix(key, "Ref") || v.At("name").Str() == "" {
			continue
		}
		kind, ns := v.At("kind").Str(), v.At("namespace").Str()
		if kind == "" && key == "issuerRef" {
			kind = "Issuer"
		}
		if ns == "" {
			ns = o.ref.Namespace
		}
		for _, ref := range []incident.Ref{{Kind: kind, Namespace: ns, Name: v.At("name").Str()}, {Kind: kind, Name: v.At("name").Str()}} {
			if r := q.snap.Object(ref); kind != "" && r != nil && r != o && isCustom(r) {
				out = append(out, referred{r, v.At("name")})
				break
			}
		}
	}
	return out
}

// CustomResource ends at a custom resource that reports itself broken while nothing that it owns or refers to is: a certificate, a GitOps
// resource, or any other.
func (catalogue) CustomResource() rule {
	return rule{
		explains: []symptomKind{resourceUnready},
		why: func(q *inquiry, s symptom) []answer {
			c := &cause{
				class: ClassCustomResource, target: s.subject, direct: stated, timing: timingUnrelated, elsewhere: true, tier: rollout,
				signals: []string{"ResourceNotReady"}, params: map[string]string{"RESOURCE_KIND": s.subject.Kind, "RESOURCE_NAME": s.subject.Name},
				last: s.link, summary: fmt.Sprintf("%s %s.", s.subject, s.statement),
			}
			switch group := groupOf(s.subject.APIVersion, s.subject.Kind); {
			case group == certificateGroup && slices.Contains([]string{"Certificate", "Issuer", "ClusterIssuer", "CertificateRequest"}, s.subject.Kind):
				c.class, c.signals = ClassCertificateInvalid, []string{"CertificateInvalid"}
				if s.reason == expired {
					c.direct = proven
				}
				if ref := s.object.At("spec", "issuerRef", "name"); ref.Exists() {
					kind := s.object.At("spec", "issuerRef", "kind").Str()
					issuer := incident.Ref{APIVersion: s.subject.APIVersion, Kind: "Issuer", Namespace: s.subject.Namespace, Name: ref.Str()}
					if kind == "ClusterIssuer" {
						issuer.Kind, issuer.Namespace = kind, ""
					}
					if q.snap.Knows(issuer) == Absent {
						c.direct = proven
						c.last.statement += fmt.Sprintf("; its issuer %s does not exist", issuer)
						c.last.proof = append(slices.Clip(c.last.proof), at(ref), gone(issuer))
					}
				}
			case appliesRepository(group, s.subject.Kind):
				c.class, c.signals = ClassGitOpsFailed, []string{"GitOpsFailed"}
			}
			return []answer{{cause: c}}
		},
	}
}

// appliesRepository reports whether resources of a kind apply what a repository says, or fetch it.
func appliesRepository(group, kind string) bool {
	return group == "argoproj.io" && strings.HasPrefix(kind, "App") || strings.HasSuffix(group, ".toolkit.fluxcd.io")
}
