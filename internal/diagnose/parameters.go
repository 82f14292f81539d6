package diagnose

import (
	"maps"
	"strconv"

	"kubernaut.ai/kubernaut/internal/incident"
)

// parameters adds to a cause's own parameters those that its chain gives: the workload, a Pod that
// shows the symptom, the container, and what the last rollout changed.
func (q *inquiry) parameters(e explanation) map[string]string {
	out := map[string]string{}
	set := func(key, value string) {
		if value != "" {
			out[key] = value
		}
	}
	var pod, workload *Object
	for _, l := range e.chain {
		o := q.snap.Object(l.subject)
		if o == nil {
			continue
		}
		if o.ref.Kind == "Pod" && (pod == nil || e.leaf.object == o) {
			pod = o
		}
		if workloadKinds[o.ref.Kind] {
			workload = q.top(o)
		}
	}
	if pod != nil {
		set("POD_NAME", pod.ref.Name)
		workload = q.top(pod)
	}
	// What is to be acted on is the target, which need not be the workload that shows the symptom.
	if w := q.snap.Object(e.cause.target); w != nil && workloadKinds[w.ref.Kind] && q.top(w) != workload {
		pod, workload = nil, q.top(w)
		delete(out, "POD_NAME")
	}
	set("NAMESPACE", e.cause.target.Namespace)
	if workload != nil {
		if out["NAMESPACE"] == "" && e.cause.target.Kind != "Node" {
			set("NAMESPACE", workload.ref.Namespace)
		}
		set("WORKLOAD_KIND", workload.ref.Kind)
		set("WORKLOAD_NAME", workload.ref.Name)
		if n, ok := workload.At("spec", "replicas").Int(); ok {
			set("REPLICAS", strconv.FormatInt(n, 10))
		}
	}
	if c := e.leaf.container; c != nil && pod != nil {
		set("CONTAINER", c.name)
		if u, ok := q.lastUpdate(pod); ok && !q.newRevisionWorks(u, e.leaf) {
			q.updateParameters(u, c.name, set)
		}
	}
	maps.Copy(out, e.cause.params)
	return out
}

func (q *inquiry) updateParameters(u update, containerName string, set func(key, value string)) {
	if u.current.number > 0 && u.previous.number > 0 {
		set("REVISION", strconv.FormatInt(u.current.number, 10))
		set("PREVIOUS_REVISION", strconv.FormatInt(u.previous.number, 10))
	}
	for _, ch := range u.changes {
		if ch.field == "containers["+containerName+"].image" || ch.field == "initContainers["+containerName+"].image" {
			set("IMAGE", ch.to.Str())
			set("PREVIOUS_IMAGE", ch.from.Str())
		}
	}
}

// owner returns the workload above a Pod, to be acted on, as a reference.
func (q *inquiry) owner(o *Object) incident.Ref { return q.top(o).ref }
