package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// pullFailure is what a failed pull can be, as far as the runtime's message says.
type pullFailure int

const (
	pullUnknown     pullFailure = iota
	pullNotFound                // the registry has no such image
	pullDenied                  // the registry refuses
	pullAmbiguous               // the registry does not say which of the two
	pullUnreachable             // there is no answer
)

// classifyPull reads a runtime's message. The wordings are those of containerd, CRI-O, Docker and of
// registries' status codes; the more particular come first.
func classifyPull(message string) pullFailure {
	m := strings.ToLower(message)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(m, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("repository does not exist or may require", "requested access to the resource is denied"):
		return pullAmbiguous
	case has("no such host", "i/o timeout", "connection refused", "tls handshake timeout", "no route to host", "network is unreachable",
		"context deadline exceeded", "x509:", "server gave http response to https client", "registryunavailable", "502 bad gateway", "503 service unavailable"):
		return pullUnreachable
	case has("unauthorized", "authentication required", "no basic auth credentials", "403 forbidden", "toomanyrequests", "authorization failed"):
		return pullDenied
	case has("not found", "manifest unknown", "name unknown", "404"):
		return pullNotFound
	}
	return pullUnknown
}

// pull is what is known about a container's image that is not there.
type pull struct {
	image    Value
	failure  pullFailure
	message  Value // nowhere when no message says what failed
	previous Value // the image in the last good revision; nowhere when it is the same or not known
	updated  bool  // the last rollout changed the image
	sameRepo bool  // and left its repository as it was
}

func (q *inquiry) pullOf(s symptom) pull {
	p := pull{image: s.container.spec.At("image")}
	for _, m := range q.messagesAbout(s) {
		// A warning about another container's image is not about this one.
		if m.object.ref.Kind == "Event" && !aboutContainer(m.object, *s.container) && !strings.Contains(m.Str(), p.image.Str()) {
			continue
		}
		if f := classifyPull(m.Str()); f != pullUnknown {
			p.failure, p.message = f, m
			break
		}
	}
	if u, ok := q.lastUpdate(s.object); ok {
		for _, ch := range u.changes {
			if strings.HasSuffix(ch.field, "["+s.container.name+"].image") && ch.from.Exists() {
				p.previous, p.updated = ch.from, true
				p.sameRepo = repository(ch.from.Str()) == repository(ch.to.Str())
			}
		}
	}
	return p
}

// repository returns an image's name without tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image = image[:i]
	}
	return image
}

// pullSecrets returns the places where a Pod names pull Secrets. Admission copies those of its
// ServiceAccount there.
func (q *inquiry) pullSecrets(pod *Object) (names []Value, place Value) {
	place = pod.At("spec", "imagePullSecrets")
	for _, v := range place.Items() {
		names = append(names, v.At("name"))
	}
	return names, place
}

// missingPullSecret returns the name of a pull Secret that does not exist.
func (q *inquiry) missingPullSecret(pod *Object) (Value, incident.Ref, bool) {
	names, _ := q.pullSecrets(pod)
	for _, n := range names {
		ref := incident.Ref{APIVersion: "v1", Kind: "Secret", Namespace: pod.ref.Namespace, Name: n.Str()}
		if n.Str() == "" {
			continue
		}
		if q.snap.Knows(ref) == Absent {
			return n, ref, true
		}
		if _, said := q.secretNotRetrieved(pod, n.Str()); said && q.snap.Knows(ref) == Unknown {
			return n, ref, true
		}
	}
	return Value{}, incident.Ref{}, false
}

// secretNotRetrieved returns the kubelet's "Unable to retrieve some image pull secrets (a, b); …".
func (q *inquiry) secretNotRetrieved(pod *Object, name string) (Value, bool) {
	ev := q.lastEvent(pod, "FailedToRetrieveImagePullSecret")
	if ev == nil {
		return Value{}, false
	}
	_, names, _ := strings.Cut(eventText(ev).Str(), "(")
	names, _, _ = strings.Cut(names, ")")
	return eventText(ev), slices.Contains(strings.Split(names, ", "), name)
}

func (q *inquiry) pullCause(s symptom, p pull, class incident.CauseClass) *cause {
	target := q.owner(s.object)
	c := &cause{
		class: class, target: target, detail: s.container.name, direct: reported, timing: timingUnrelated,
		signals: []string{"ImagePullBackOff", "ErrImagePull"},
		params:  map[string]string{"IMAGE": p.image.Str(), "CONTAINER": s.container.name},
		last:    link{subject: target, proof: []cite{at(p.image)}},
		wanted:  []wanted{{"the runtime's message about the pull, in events about " + s.subject.String(), p.message.Exists()}},
		depends: []string{"Event"},
	}
	if p.message.Exists() {
		c.last.proof = append(c.last.proof, at(p.message))
		c.depends = nil
	}
	if p.updated {
		c.params["PREVIOUS_IMAGE"] = p.previous.Str()
		c.last.proof = append(c.last.proof, at(p.previous))
		c.direct = max(c.direct, stated)
	}
	return c
}

// ImageNotFound ends at an image that its registry does not have. A registry that does not say
// whether it refuses or lacks the image is read by what changed: a rollout that left the repository
// as it was changed no credentials.
func (catalogue) ImageNotFound() rule {
	return rule{
		explains: []symptomKind{imageNotPulled},
		why: func(q *inquiry, s symptom) []answer {
			p := q.pullOf(s)
			_, _, secretMissing := q.missingPullSecret(s.object)
			names, _ := q.pullSecrets(s.object)
			c := q.pullCause(s, p, ClassImageNotFound)
			statement := fmt.Sprintf("image %s does not exist in its registry", p.image.Str())
			switch {
			case s.reason == "InvalidImageName":
				c.direct, statement = proven, fmt.Sprintf("%q is no valid image name", p.image.Str())
				c.last.proof = append(c.last.proof, s.proof...)
				c.wanted = nil
			case s.reason == "ErrImageNeverPull":
				policy := s.container.spec.At("imagePullPolicy")
				c.direct, statement = proven, fmt.Sprintf("image %s is not on the node, and the pull policy forbids to fetch it", p.image.Str())
				c.last.proof = append(c.last.proof, at(policy))
				c.wanted = nil
			case p.failure == pullNotFound:
				c.direct = max(c.direct, compared+0.02) // the registry itself says so, through the runtime
			case p.failure == pullAmbiguous && !secretMissing && p.updated:
				c.direct = compared
			case p.failure == pullAmbiguous && !secretMissing && len(names) == 0:
				c.direct = inferred
			case p.failure == pullUnknown && p.updated && p.sameRepo:
				c.direct = reported
			default:
				return nil
			}
			if p.updated {
				statement += fmt.Sprintf("; the last rollout changed it from %s", p.previous.Str())
			}
			c.last.statement = statement
			c.summary = fmt.Sprintf("%s cannot start its Pods: %s.", c.target, statement)
			return []answer{{cause: c}}
		},
	}
}

// ImagePullDenied ends at a registry that refuses: a pull Secret is named and absent, none is named,
// or the one that is there is not accepted.
func (catalogue) ImagePullDenied() rule {
	return rule{
		explains: []symptomKind{imageNotPulled},
		why: func(q *inquiry, s symptom) []answer {
			p := q.pullOf(s)
			name, ref, absent := q.missingPullSecret(s.object)
			if p.failure != pullDenied && p.failure != pullAmbiguous && (p.failure != pullUnknown || !absent) {
				return nil
			}
			c := q.pullCause(s, p, ClassImagePullDenied)
			c.signals = []string{"ImagePullBackOff", "ImagePullUnauthorized", "ErrImagePull"}
			names, place := q.pullSecrets(s.object)
			statement := fmt.Sprintf("the registry refuses image %s", p.image.Str())
			switch {
			case absent:
				c.direct = proven
				if p.failure == pullUnknown {
					c.direct = reported
				}
				c.params["IMAGE_PULL_SECRET"] = ref.Name
				statement += fmt.Sprintf(": pull Secret %q does not exist", ref.Name)
				c.last.proof = append(c.last.proof, at(name))
				if said, ok := q.secretNotRetrieved(s.object, ref.Name); ok {
					c.last.proof = append(c.last.proof, at(said))
				}
				if q.snap.Knows(ref) == Absent {
					c.last.proof = append(c.last.proof, gone(ref))
				}
				if near := q.nearestObject(ref); near != "" {
					c.params["SUGGESTED_NAME"] = near
				}
			case p.failure == pullAmbiguous && (p.updated || len(names) == 0):
				return nil // read as an image that does not exist
			case len(names) == 0 && !place.Known(): // a description does not print them
				c.wanted = append(c.wanted, wanted{"the pull Secrets of " + s.subject.String(), false})
			case len(names) == 0:
				c.direct = max(c.direct, compared)
				statement += ": the Pod names no pull Secret"
				c.last.proof = append(c.last.proof, at(place))
			default:
				var present []string
				for _, n := range names {
					present = append(present, n.Str())
					c.last.proof = append(c.last.proof, at(n))
				}
				c.params["IMAGE_PULL_SECRET"] = present[0]
				statement += fmt.Sprintf(", although pull Secret %s is there: its credentials are wrong or do not reach that far", list(present, 3))
			}
			c.last.statement = statement
			c.summary = fmt.Sprintf("%s cannot start its Pods: %s.", c.target, statement)
			return []answer{{cause: c}}
		},
	}
}

// RegistryUnreachable ends at a registry that does not answer.
func (catalogue) RegistryUnreachable() rule {
	return rule{
		explains: []symptomKind{imageNotPulled},
		why: func(q *inquiry, s symptom) []answer {
			p := q.pullOf(s)
			if p.failure != pullUnreachable {
				return nil
			}
			c := q.pullCause(s, p, ClassRegistryUnreachable)
			c.signals = []string{"ImagePullBackOff", "RegistryUnavailable", "ErrImagePull"}
			c.direct = max(c.direct, compared)
			c.last.statement = fmt.Sprintf("the registry of image %s cannot be reached", p.image.Str())
			if host, _, ok := strings.Cut(p.image.Str(), "/"); p.updated && ok {
				if before, _, _ := strings.Cut(p.previous.Str(), "/"); before != host {
					c.last.statement += fmt.Sprintf("; the last rollout changed the registry from %s", before)
				}
			}
			c.summary = fmt.Sprintf("%s cannot start its Pods: %s.", c.target, c.last.statement)
			return []answer{{cause: c}}
		},
	}
}
