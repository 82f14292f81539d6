package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// How long a thing may take before it counts as wrong, where no field of the object says it.
const (
	startGrace     = time.Minute      // from binding to the first container
	initGrace      = 5 * time.Minute  // of an init container
	eventRetention = time.Hour        // for which API servers keep events by default
	recentCrash    = 10 * time.Minute // an out-of-memory kill younger than this counts as going on
)

// podSymptoms states what is wrong with a Pod now. What was wrong and no longer has an effect is
// noted instead.
func (q *inquiry) podSymptoms(pod *Object) []symptom {
	if pod.Deleting() {
		return q.stuckOnNode(pod)
	}
	if pod.partial || pod.At("status", "phase").Str() == "Succeeded" {
		return nil
	}
	if node := q.nodeOf(pod); node != nil {
		if s, bad := q.nodeSymptom(node); bad {
			return []symptom{{
				kind: podStranded, object: pod, since: s.since, affected: 1,
				link: link{pod.ref, fmt.Sprintf("Pod is bound to node %s, which is not ready", node.ref.Name), []cite{at(pod.At("spec", "nodeName"))}},
			}}
		}
	}
	if pod.At("status", "phase").Str() == "Failed" {
		return q.failedPod(pod)
	}
	if node := pod.At("spec", "nodeName"); node.Str() == "" && node.Known() {
		return q.unscheduledPod(pod)
	}
	var out []symptom
	creating := 0
	for _, c := range containersOf(pod) {
		reason, place := c.waiting()
		switch {
		case reason == "ContainerCreating" || reason == "PodInitializing" || !c.status.Exists():
			creating++
		case reason == "CrashLoopBackOff":
			out = append(out, q.dying(pod, c, reason, at(place.At("reason"))))
		case imageReasons[reason]:
			out = append(out, containerSymptom(imageNotPulled, pod, c, reason, place,
				fmt.Sprintf("container %q waits for its image: %s", c.name, reason)))
		case reason == "CreateContainerConfigError":
			out = append(out, containerSymptom(containerConfig, pod, c, reason, place,
				fmt.Sprintf("container %q cannot be configured: %s", c.name, reason)))
		case reason != "":
			out = append(out, containerSymptom(containerDying, pod, c, reason, place,
				fmt.Sprintf("container %q cannot be started: %s", c.name, reason)))
		case c.status.At("state", "terminated").Exists():
			if s, bad := q.terminated(pod, c); bad {
				out = append(out, s)
			}
		case c.running():
			creating -= len(pod.At("spec", "containers").Items()) // those that wait for an init container are not late
			out = append(out, q.runningContainer(pod, c)...)
		}
	}
	if len(out) == 0 && creating > 0 && pod.At("status", "phase").Str() != "Running" {
		out = append(out, q.notStarting(pod)...)
	}
	return out
}

// stuckOnNode states that a Pod of a StatefulSet cannot be deleted because its node does not report: nobody confirms its end,
// and so no other takes its place.
func (q *inquiry) stuckOnNode(pod *Object) []symptom {
	owner, _ := pod.Owner()
	end, node := pod.At("metadata", "deletionTimestamp"), q.nodeOf(pod)
	if pod.partial || node == nil || owner.Kind != "StatefulSet" || !end.Time().Before(q.now) {
		return nil
	}
	s, bad := q.nodeSymptom(node)
	if !bad {
		return nil
	}
	return []symptom{{
		kind: podStranded, object: pod, since: s.since, affected: 1,
		link: link{pod.ref, fmt.Sprintf("Pod is to be deleted, and its node %s, which is not ready, does not confirm its end", node.ref.Name), []cite{at(end), at(pod.At("spec", "nodeName"))}},
	}}
}

// imageReasons are the waiting reasons of a container whose image is not there.
var imageReasons = map[string]bool{
	"ImagePullBackOff": true, "ErrImagePull": true, "ErrImageNeverPull": true, "InvalidImageName": true,
	"ImageInspectError": true, "RegistryUnavailable": true, "SignatureValidationFailed": true,
}

func containerSymptom(kind symptomKind, pod *Object, c container, reason string, place Value, statement string) symptom {
	s := symptom{
		kind: kind, object: pod, container: &c, reason: reason, text: place.At("message"), since: notReadySince(pod), affected: 1,
		link: link{pod.ref, statement, []cite{at(place.At("reason"))}},
	}
	if s.text.Exists() {
		s.proof = append(s.proof, at(s.text))
	}
	return s
}

// notReadySince is when the Pod stopped being ready, as its condition says.
func notReadySince(pod *Object) time.Time {
	c := condition(pod, "Ready")
	if c.At("status").Str() == "True" {
		return time.Time{}
	}
	return c.At("lastTransitionTime").Time()
}

// dying describes a container that ends again and again.
func (q *inquiry) dying(pod *Object, c container, reason string, proof ...cite) symptom {
	statement := fmt.Sprintf("container %q keeps ending", c.name)
	if reason == "CrashLoopBackOff" {
		statement = fmt.Sprintf("container %q is in CrashLoopBackOff", c.name)
	}
	if n := c.restarts(); n > 0 {
		statement += fmt.Sprintf(" after %s", count(n, "restart"))
		proof = append(proof, at(c.status.At("restartCount")))
	}
	if last := c.lastRun(); last.exists() {
		statement += fmt.Sprintf("; its last run ended with exit code %d", last.exitCode)
		proof = append(proof, at(last.place.At("exitCode")))
		if last.reason != "" && last.reason != "Error" {
			statement += " (" + last.reason + ")"
			proof = append(proof, at(last.place.At("reason")))
		}
	}
	if reason == "" {
		reason = c.lastRun().reason
	}
	return symptom{
		kind: containerDying, object: pod, container: &c, reason: reason, since: notReadySince(pod), affected: 1,
		link: link{pod.ref, statement, proof},
	}
}

// terminated judges a container whose state is terminated: between two runs, or for good.
func (q *inquiry) terminated(pod *Object, c container) (symptom, bool) {
	last := c.lastRun()
	restarts := pod.At("spec", "restartPolicy").Str()
	if last.exitCode == 0 && (c.init || restarts == "Never" || restarts == "OnFailure") {
		return symptom{}, false
	}
	if c.init && condition(pod, "Initialized").At("status").Str() == "True" {
		return symptom{}, false
	}
	if last.lost() {
		return symptom{}, false
	}
	s := q.dying(pod, c, "")
	s.statement = fmt.Sprintf("container %q ended with exit code %d", c.name, last.exitCode)
	if last.reason != "" && last.reason != "Error" {
		s.statement += " (" + last.reason + ")"
	}
	return s, true
}

// runningContainer judges a container that runs: it may have died moments ago, or not be ready.
func (q *inquiry) runningContainer(pod *Object, c container) []symptom {
	last, up := c.lastRun(), q.now.Sub(c.runningSince())
	if last.exists() {
		if q.stillDying(pod, c, last, up) {
			return []symptom{q.dying(pod, c, "", at(last.place.At("finishedAt")))}
		}
		if last.exitCode != 0 {
			q.setAside("crash/"+pod.ref.String()+"/"+c.name, note{
				subject:   pod.ref,
				statement: fmt.Sprintf("container %q ended with exit code %d at %s", c.name, last.exitCode, clock(last.finished)),
				reason:    fmt.Sprintf("history: it has been running for %s since, longer than that lasted", span(up)),
				proof:     []cite{at(last.place.At("exitCode")), at(c.status.At("state", "running", "startedAt"))},
			})
		}
	}
	if c.init {
		if up > initGrace {
			return []symptom{{kind: containerNotReady, object: pod, container: &c, reason: "Init", since: c.runningSince(), affected: 1, link: link{
				pod.ref,
				fmt.Sprintf("init container %q has been running for %s", c.name, span(up)),
				[]cite{at(c.status.At("state", "running", "startedAt"))},
			}}}
		}
		return nil
	}
	if c.ready() {
		return nil
	}
	if grace := probeGrace(c.spec); up < grace && c.restarts() == 0 {
		q.setAside("starting/"+pod.ref.String()+"/"+c.name, note{
			subject:   pod.ref,
			statement: fmt.Sprintf("container %q is not ready %s after its start", c.name, span(up)),
			reason:    fmt.Sprintf("start-up: its probes allow %s", span(grace)),
			proof:     []cite{at(c.status.At("state", "running", "startedAt"))},
		})
		return nil
	}
	return []symptom{{kind: containerNotReady, object: pod, container: &c, reason: "Unhealthy", since: notReadySince(pod), affected: 1, link: link{
		pod.ref,
		fmt.Sprintf("container %q runs and is not ready", c.name),
		[]cite{at(c.status.At("ready")), at(c.status.At("state", "running", "startedAt"))},
	}}}
}

// stillDying tells a container that ends again and again from one that ended once: an error counts
// only while its effect lasts, that is until the container has outlived its last run.
func (q *inquiry) stillDying(pod *Object, c container, last run, up time.Duration) bool {
	if last.lost() {
		return false
	}
	killed := q.probeKill(pod, c, last)
	if last.exitCode == 0 && killed == nil && !(c.restarts() > 1 && stoppedInTime(c)) {
		return false
	}
	limit := 2*last.lasted() + 30*time.Second
	if last.reason == "OOMKilled" {
		limit = max(limit, recentCrash)
	}
	if !c.ready() {
		limit = max(limit, 5*time.Minute)
	}
	most := time.Hour
	if c.restarts() >= 3 || last.reason == "OOMKilled" && raises(q.revisions(q.top(pod)), c.name) >= 2 {
		most = 24 * time.Hour // it is known to come back
	}
	return up < min(limit, most)
}

// probeGrace is how long a container may be unready after its start without being at fault.
func probeGrace(spec Value) time.Duration {
	total := 10 * time.Second
	for _, kind := range []string{"startupProbe", "readinessProbe"} {
		p := spec.At(kind)
		if !p.Exists() {
			continue
		}
		seconds := p.At("initialDelaySeconds").IntOr(0) + p.At("periodSeconds").IntOr(10)*p.At("failureThreshold").IntOr(3)
		total += time.Duration(min(max(seconds, 0), 3600)) * time.Second
	}
	return total
}

// probeKill returns the kubelet's event about a failed probe over which it killed the container, if
// that was the end of the given run.
func (q *inquiry) probeKill(pod *Object, c container, last run) *Object {
	for _, ev := range q.snap.EventsOf(pod.ref) {
		if ev.At("reason").Str() != "Killing" || !aboutContainer(ev, c) {
			continue
		}
		text := eventText(ev).Str()
		if !strings.Contains(text, "failed liveness probe") && !strings.Contains(text, "failed startup probe") {
			continue
		}
		if seen := lastSeen(ev); last.finished.IsZero() || !seen.Before(last.finished.Add(-10*time.Minute)) {
			return ev
		}
	}
	// Of the two events of a kill the one about the probe is repeated and so kept longer.
	if last.exitCode != 137 && last.exitCode != 143 && last.exitCode != 0 || last.reason == "OOMKilled" || !c.spec.At("livenessProbe").Exists() {
		return nil
	}
	for _, ev := range q.snap.EventsOf(pod.ref) {
		if ev.At("reason").Str() == "Unhealthy" && aboutContainer(ev, c) && strings.HasPrefix(eventText(ev).Str(), "Liveness probe failed") &&
			!last.finished.IsZero() && lastSeen(ev).Sub(last.finished).Abs() < 10*time.Minute {
			return ev
		}
	}
	return nil
}

// stoppedInTime reports whether a container that has a liveness probe ended as one that is asked to stop does, no sooner than
// that probe can have it stopped: no event need be left to say so.
func stoppedInTime(c container) bool {
	last, p := c.lastRun(), c.spec.At("livenessProbe")
	if c.init || !p.Exists() || !last.exists() || last.exitCode != 0 && last.exitCode != 143 {
		return false
	}
	seconds := p.At("initialDelaySeconds").IntOr(0) + p.At("periodSeconds").IntOr(10)*(p.At("failureThreshold").IntOr(3)-1)
	return last.lasted() > 0 && last.lasted() >= time.Duration(min(max(seconds, 1), 3600))*time.Second
}

// aboutContainer reports whether an event's field path names the container; an event without a
// field path may be about any.
func aboutContainer(ev *Object, c container) bool {
	path := ev.At("involvedObject", "fieldPath").Str()
	if path == "" {
		path = ev.At("regarding", "fieldPath").Str()
	}
	return path == "" || strings.HasSuffix(path, "{"+c.name+"}")
}

func (q *inquiry) unscheduledPod(pod *Object) []symptom {
	scheduled := condition(pod, "PodScheduled")
	s := symptom{
		kind: podUnscheduled, object: pod, reason: scheduled.At("reason").Str(), text: scheduled.At("message"), affected: 1,
		since: scheduled.At("lastTransitionTime").Time(), link: link{subject: pod.ref, statement: "Pod is not assigned to a node"},
	}
	s.proof = []cite{at(pod.At("spec", "nodeName"))}
	if scheduled.Exists() {
		s.proof = []cite{at(scheduled.At("status"))}
		if s.reason != "" {
			s.statement += ": " + s.reason
			s.proof = append(s.proof, at(scheduled.At("reason")))
		}
		if s.text.Exists() {
			s.proof = append(s.proof, at(s.text))
		}
	}
	if s.text.Exists() {
		return q.waitingSince(s)
	}
	if ev := q.lastEvent(pod, "FailedScheduling"); ev != nil {
		s.text = eventText(ev)
		s.proof = append(s.proof, at(s.text))
	}
	return q.waitingSince(s)
}

// waitingSince dates a Pod without a node by its creation when its condition has no time.
func (q *inquiry) waitingSince(s symptom) []symptom {
	if s.since.IsZero() {
		s.since = s.object.Created()
	}
	return []symptom{s}
}

// notStarting judges a Pod on a node whose containers all wait to be created.
func (q *inquiry) notStarting(pod *Object) []symptom {
	since := condition(pod, "PodScheduled").At("lastTransitionTime").Time()
	if since.IsZero() {
		since = pod.At("status", "startTime").Time()
	}
	s := symptom{
		kind: podNotStarting, object: pod, reason: "ContainerCreating", since: since, affected: 1,
		link: link{pod.ref, "Pod is on a node and none of its containers has been created", []cite{at(pod.At("status", "phase"))}},
	}
	for _, reason := range []string{"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "Failed"} {
		if ev := q.lastEvent(pod, reason); ev != nil && ev.At("type").Str() == "Warning" {
			s.reason, s.text = reason, eventText(ev)
			s.statement += ": " + reason
			s.proof = append(s.proof, at(s.text))
			break
		}
	}
	if since.IsZero() || q.now.Sub(since) > startGrace || q.missingVolumeSource(pod) {
		return []symptom{s}
	}
	return nil
}

// missingVolumeSource reports whether a volume names something that is known not to exist.
func (q *inquiry) missingVolumeSource(pod *Object) bool {
	for _, r := range podReferences(pod.At("spec")) {
		if r.volume != "" && !r.optional && q.snap.Knows(r.ref(pod)) == Absent {
			return true
		}
	}
	return false
}

// failedPod judges a Pod in phase Failed.
func (q *inquiry) failedPod(pod *Object) []symptom {
	reason := pod.At("status", "reason").Str()
	if owner, ok := pod.Owner(); ok && owner.Kind != "Job" {
		q.setAside("failed/"+pod.ref.String(), note{
			subject: pod.ref, statement: strings.TrimSpace("Pod has ended in phase Failed " + reason),
			reason: "history: its controller replaces it; what counts is whether the replacement is well",
			proof:  []cite{at(pod.At("status", "phase"))},
		})
		return nil
	}
	var out []symptom
	for _, c := range containersOf(pod) {
		if t := c.status.At("state", "terminated"); t.Exists() && t.At("exitCode").IntOr(0) != 0 {
			if s, bad := q.terminated(pod, c); bad {
				out = append(out, s)
			}
		}
	}
	if len(out) > 0 && reason == "" {
		return out
	}
	s := symptom{
		kind: podFailed, object: pod, reason: reason, text: pod.At("status", "message"), affected: 1,
		link: link{pod.ref, strings.TrimSpace("Pod has failed " + reason), []cite{at(pod.At("status", "phase"))}},
	}
	if reason != "" {
		s.proof = append(s.proof, at(pod.At("status", "reason")))
	}
	return []symptom{s}
}

// lastEvent returns the most recent event of a reason about the object, or nil.
func (q *inquiry) lastEvent(o *Object, reason string) *Object {
	events := q.snap.EventsOf(o.ref)
	for _, event := range slices.Backward(events) {
		if event.At("reason").Str() == reason && sameIncarnation(event, o) {
			return event
		}
	}
	return nil
}

// sameIncarnation reports whether an event is about this object and not about an earlier one of
// the same name.
func sameIncarnation(ev, o *Object) bool {
	uid := about(ev).UID
	return uid == "" || o.ref.UID == "" || uid == o.ref.UID
}
