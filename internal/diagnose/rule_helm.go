package diagnose

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// lastApplied compares a workload's template with what was last applied to it by kubectl apply: fields that were applied
// and are otherwise now. Fields that only one of the two has are the server's defaults.
func lastApplied(w *Object) (place Value, diff []change) {
	place = w.At("metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration")
	var tree map[string]any
	if place.Str() == "" || json.Unmarshal([]byte(place.Str()), &tree) != nil {
		return place, nil
	}
	applied, err := NewObject(tree, false)
	if err != nil {
		return place, nil
	}
	for _, ch := range changes(templateOf(applied), templateOf(w)) {
		if ch.from.Exists() && ch.to.Exists() && !sameQuantity(ch.from, ch.to) {
			diff = append(diff, ch)
		}
	}
	return place, diff
}

// sameQuantity reports whether two values are one quantity in two spellings.
func sameQuantity(a, b Value) bool {
	n, ok := milli(a)
	m, also := milli(b)
	return ok && also && n == m
}

// release is the newest revision of a Helm release, as far as the metadata of its Secret says.
type release struct {
	secret  *Object
	name    string
	version int64
	status  Value
}

// releaseOf returns the newest revision of the Helm release that manages a workload; false when it is managed by none or
// its Secrets were not read.
func (q *inquiry) releaseOf(w *Object) (release, bool) {
	name := w.At("metadata", "annotations", "meta.helm.sh/release-name").Str()
	ns := w.At("metadata", "annotations", "meta.helm.sh/release-namespace").Str()
	if name == "" {
		return release{}, false
	}
	if ns == "" {
		ns = w.ref.Namespace
	}
	var out release
	for _, s := range q.snap.Kind("Secret", ns) {
		if s.labels["owner"] != "helm" || s.labels["name"] != name {
			continue
		}
		n, err := strconv.ParseInt(s.labels["version"], 10, 64)
		if err == nil && n > out.version {
			out = release{s, name, n, s.At("metadata", "labels", "status")}
		}
	}
	return out, out.secret != nil
}

// brought reports whether a release's revision brought a revision of a workload: it was made just before it.
func (r release) brought(rev revision) bool {
	made, rolled := r.secret.Created(), rev.object.Created()
	return !made.IsZero() && !rolled.IsZero() && rolled.Sub(made) > -time.Minute && rolled.Sub(made) < 10*time.Minute
}

// failed reports whether Helm says that the release's newest revision failed, or never ended.
func (r release) failed() bool {
	return r.status.Str() == "failed" || strings.HasPrefix(r.status.Str(), "pending-")
}

// addHistory tells with a rollout who changed the workload, and what was changed past what was applied.
func (q *inquiry) addHistory(c *cause, w *Object) {
	if place, diff := lastApplied(w); len(diff) > 0 {
		c.factors = append(c.factors, fmt.Sprintf("%s was changed past what was last applied: %s.", w.ref, diff[0]))
		c.last.proof = append(c.last.proof, at(place))
	}
	if changed, ok := lastChange(w); ok {
		c.factors = append(c.factors, fmt.Sprintf("The spec of %s was last written by %s at %s.", w.ref, changed.manager, clock(changed.time)))
		c.last.proof = append(c.last.proof, at(changed.place))
	}
}

// HelmFailed ends at a workload whose failing revision was brought by a Helm release, or whose release failed. It gives way
// to what names the fault in the template, as any rollout does.
func (catalogue) HelmFailed() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, containerConfig, imageNotPulled, podNotStarting, podUnscheduled},
		why: func(q *inquiry, s symptom) []answer {
			w := q.top(s.object)
			r, ok := q.releaseOf(w)
			if !ok {
				return nil
			}
			u, rolled := q.lastUpdate(s.object)
			if rolled && (!r.brought(u.current) || q.rolloutSpeaksAgainst(u, s)) || !rolled && !r.failed() {
				return nil
			}
			var c *cause
			if rolled {
				c = rolloutCause(q, s, u, containerName(s))
			} else {
				c = &cause{tier: rollout, direct: reported, timing: timingUnknown, params: map[string]string{}}
				c.last.statement = fmt.Sprintf("release %q, which manages it, has not been deployed", r.name)
				c.factor = fmt.Sprintf("Helm release %q is %s.", r.name, r.status.Str())
			}
			c.class, c.target, c.last.subject = ClassHelmFailed, w.ref, w.ref
			c.signals = []string{"HelmReleaseFailed", "BadRollout", "CrashLoopBackOff"}
			c.params["HELM_RELEASE"], c.params["HELM_REVISION"] = r.name, strconv.FormatInt(r.version, 10)
			c.last.statement += fmt.Sprintf("; Helm release %q brought it as its revision %d", r.name, r.version)
			c.last.proof = append(c.last.proof, exists(r.secret), at(r.secret.At("metadata", "labels", "version")))
			if r.status.Exists() {
				c.last.statement += ", which is " + r.status.Str()
				c.last.proof = append(c.last.proof, at(r.status))
			}
			c.summary = fmt.Sprintf("Revision %d of Helm release %q broke %s: %s.", r.version, r.name, w.ref, c.last.statement)
			return []answer{{cause: c}}
		},
	}
}

func containerName(s symptom) string {
	if s.container == nil {
		return ""
	}
	return s.container.name
}

// PatchedRollout ends at a workload whose template differs from what was last applied to it, when no earlier revision is
// kept to compare it with.
func (catalogue) PatchedRollout() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, imageNotPulled},
		why: func(q *inquiry, s symptom) []answer {
			w := q.top(s.object)
			if len(q.revisions(w)) > 1 {
				return nil
			}
			place, diff := lastApplied(w)
			for _, ch := range diff {
				if !ch.concerns(containerName(s)) {
					continue
				}
				c := &cause{
					class: ClassBadRollout, target: w.ref, tier: rollout, direct: reported, timing: timingUnknown, depends: []string{"ReplicaSet", "ControllerRevision"},
					signals: []string{"CrashLoopBackOff", "BadRollout"}, params: map[string]string{},
					last:    link{w.ref, "what was last applied says otherwise: " + ch.String(), []cite{at(place), at(ch.to)}},
					summary: fmt.Sprintf("%s was changed past what was last applied, and fails: %s.", w.ref, ch),
				}
				if strings.HasSuffix(ch.field, "].image") {
					c.params["IMAGE"], c.params["PREVIOUS_IMAGE"] = ch.to.Str(), ch.from.Str()
				}
				if changed, ok := lastChange(w); ok {
					c.timing = timingFits
					c.last.statement += fmt.Sprintf("; written by %s at %s", changed.manager, clock(changed.time))
					c.last.proof = append(c.last.proof, at(changed.place))
				}
				return []answer{{cause: c}}
			}
			return nil
		},
	}
}
