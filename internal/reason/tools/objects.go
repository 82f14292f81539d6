package tools

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
)

// Bounds of one answer.
const (
	maxLeaves = 60
	maxRows   = 40
	maxEvents = 12
)

func get() (reason.Tool, error) {
	type in struct {
		object
		Path string `json:"path,omitempty" jsonschema:"JSON pointer, for example /spec/template/spec/containers/0; default: the whole object"`
	}
	return reason.NewTool("get", "The fields of an object, or those below a path.", func(ctx context.Context, v *reason.View, in in) (reason.Output, error) {
		var out reason.Output
		o := find(ctx, v, in.object, &out)
		if o == nil {
			return out, nil
		}
		at := o.Pointer(in.Path)
		if !at.Exists() {
			if len(cite(v.Now(), &out, at)) == 0 {
				out.Note("it was not read what stands there")
			}
			return out, nil
		}
		if keys(o, &out) {
			return out, nil
		}
		leaves(at, func(leaf diagnose.Value) bool {
			if len(out.Facts) >= maxLeaves {
				out.Omitted++
			} else {
				cite(v.Now(), &out, leaf)
			}
			return true
		})
		return out, nil
	})
}

// keys tells of a Secret what may be told.
func keys(o *diagnose.Object, out *reason.Output) bool {
	if o.Ref().Kind != "Secret" {
		return false
	}
	out.Note("values of Secrets are not read")
	if names := append(o.At("data").Keys(), o.At("stringData").Keys()...); len(names) > 0 {
		out.Note("its keys: %s", strings.Join(names, ", "))
	} else {
		out.Note("its keys were not read")
	}
	return true
}

// noise are places that say nothing about a fault.
var noise = []string{"/metadata/managedFields", "/metadata/uid", "/metadata/resourceVersion", "/metadata/selfLink", "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration", "/apiVersion", "/kind"}

// leaves walks the scalars below a value, in the order of its keys.
func leaves(v diagnose.Value, each func(diagnose.Value) bool) bool {
	if slices.Contains(noise, v.Path()) {
		return true
	}
	if items := v.Items(); len(items) > 0 {
		for _, item := range items {
			if !leaves(item, each) {
				return false
			}
		}
		return true
	}
	if names := v.Keys(); len(names) > 0 {
		for _, name := range names {
			if !leaves(v.At(name), each) {
				return false
			}
		}
		return true
	}
	return each(v)
}

func describe() (reason.Tool, error) {
	return reason.NewTool("describe", "What matters of an object: its state, conditions, containers, latest events and owners.",
		func(ctx context.Context, v *reason.View, in object) (reason.Output, error) {
			var out reason.Output
			o := find(ctx, v, in, &out)
			if o == nil {
				return out, nil
			}
			snap := v.Now()
			citePresent(snap, &out, o.At("metadata", "creationTimestamp"), o.At("metadata", "deletionTimestamp"), o.At("metadata", "finalizers"))
			citePresent(snap, &out, state(o)...)
			if !keys(o, &out) {
				citePresent(snap, &out, settings(o)...)
				for _, c := range o.At("status", "conditions").Items() {
					citePresent(snap, &out, c.At("type"), c.At("status"), c.At("reason"), c.At("message"))
				}
			}
			for _, ref := range snap.Owners(o.Ref()) {
				out.Note("owned by %s", ref)
			}
			recent(snap, &out, snap.EventsOf(o.Ref()), 5)
			if o.Partial() {
				out.Note("only its metadata was read")
			}
			return out, nil
		})
}

// state is where an object says how it is.
func state(o *diagnose.Object) []diagnose.Value {
	status, spec := o.At("status"), o.At("spec")
	out := []diagnose.Value{status.At("phase"), status.At("reason"), status.At("message")}
	switch o.Ref().Kind {
	case "Pod":
		out = append(out, spec.At("nodeName"))
		for _, list := range []string{"initContainerStatuses", "containerStatuses"} {
			for _, c := range status.At(list).Items() {
				out = append(out, c.At("name"), c.At("ready"), c.At("restartCount"))
				for _, s := range []string{"state", "lastState"} {
					for _, kind := range []string{"waiting", "terminated"} {
						at := c.At(s, kind)
						out = append(out, at.At("reason"), at.At("message"), at.At("exitCode"), at.At("finishedAt"))
					}
				}
			}
		}
	case "Node":
		out = append(out, spec.At("unschedulable"))
		for _, t := range spec.At("taints").Items() {
			out = append(out, t.At("key"), t.At("value"), t.At("effect"))
		}
	case "Event":
		out = append(out, diagnose.EventMessage(o), o.At("reason"), o.At("type"))
	default:
		out = append(out, spec.At("replicas"), status.At("replicas"), status.At("readyReplicas"), status.At("updatedReplicas"), status.At("availableReplicas"),
			status.At("desiredNumberScheduled"), status.At("numberReady"), status.At("active"), status.At("succeeded"), status.At("failed"), spec.At("suspend"))
	}
	return out
}

// settings are what of a spec most faults turn on.
func settings(o *diagnose.Object) []diagnose.Value {
	spec := o.At("spec")
	var out []diagnose.Value
	pod := spec
	for _, p := range [][]string{{"template", "spec"}, {"jobTemplate", "spec", "template", "spec"}} {
		if t := spec.At(p...); t.Exists() {
			pod = t
		}
	}
	for _, list := range []string{"initContainers", "containers"} {
		for _, c := range pod.At(list).Items() {
			out = append(out, c.At("name"), c.At("image"))
			for _, kind := range []string{"requests", "limits"} {
				at := c.At("resources", kind)
				for _, name := range at.Keys() {
					out = append(out, at.At(name))
				}
			}
			for _, p := range c.At("ports").Items() {
				out = append(out, p.At("containerPort"))
			}
		}
	}
	every := func(v diagnose.Value) {
		leaves(v, func(leaf diagnose.Value) bool {
			out = append(out, leaf)
			return len(out) < maxLeaves
		})
	}
	switch o.Ref().Kind {
	case "Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob":
		every(pod.At("nodeSelector"))
		out = append(out, pod.At("serviceAccountName"), pod.At("priorityClassName"))
	case "ConfigMap":
		every(o.At("data"))
	case "Node":
		every(o.At("status", "allocatable"))
	default:
		every(spec)
	}
	return out
}

func list() (reason.Tool, error) {
	type in struct {
		Kind      string `json:"kind"`
		Namespace string `json:"namespace,omitempty" jsonschema:"default: that of the incident; * for all"`
		Labels    string `json:"labels,omitempty" jsonschema:"only objects with all of these: k=v,k=v"`
		Unwell    bool   `json:"unwell,omitempty" jsonschema:"only objects that say that something is wrong"`
	}
	return reason.NewTool("list", "The objects of a kind, with their state.", func(ctx context.Context, v *reason.View, in in) (reason.Output, error) {
		var out reason.Output
		labels, err := parseLabels(in.Labels)
		if err != nil {
			return out, err
		}
		ns := cmp.Or(in.Namespace, home(v), "*") // a whole cluster has no home
		if unscoped[in.Kind] {
			ns = ""
		}
		scope := ns
		if ns == "*" {
			scope = ""
		}
		if !v.Now().Listed(in.Kind, scope) {
			v.Ask(ctx, reason.Question{Ref: incident.Ref{Kind: in.Kind, Namespace: scope}})
		}
		snap := v.Now()
		rows, all := 0, 0
		for _, o := range snap.Contents().Objects {
			ref := o.Ref()
			if ref.Kind != in.Kind || ns != "*" && ref.Namespace != ns || !has(o.Labels(), labels) {
				continue
			}
			all++
			if in.Unwell && !unwell(o) {
				continue
			}
			if rows++; rows > maxRows {
				out.Omitted++
				continue
			}
			facts := citePresent(snap, &out, brief(o)...)
			if len(facts) == 0 {
				cite(snap, &out, o.At("metadata", "name"))
			}
		}
		if in.Unwell {
			out.Note("%d of %d objects say that something is wrong", rows, all)
		} else {
			out.Note("%d objects", all)
		}
		if !snap.Listed(in.Kind, scope) {
			out.Note("not all objects of that kind were read there")
		}
		return out, nil
	})
}

// brief is state in few values.
func brief(o *diagnose.Object) []diagnose.Value {
	status := o.At("status")
	switch o.Ref().Kind {
	case "Pod":
		out := []diagnose.Value{status.At("phase")}
		for _, c := range status.At("containerStatuses").Items() {
			if !c.At("ready").Bool() {
				out = append(out, c.At("ready"), c.At("state", "waiting", "reason"), c.At("state", "terminated", "reason"), c.At("lastState", "terminated", "reason"), c.At("restartCount"))
			}
		}
		return out
	case "Node":
		out := []diagnose.Value{o.At("spec", "unschedulable")}
		for _, c := range status.At("conditions").Items() {
			if c.At("type").Str() == "Ready" {
				out = append(out, c.At("status"))
			}
		}
		return out
	case "Service":
		return []diagnose.Value{o.At("spec", "type"), o.At("spec", "clusterIP")}
	}
	return []diagnose.Value{
		status.At("phase"), o.At("spec", "replicas"), status.At("readyReplicas"), status.At("desiredNumberScheduled"), status.At("numberReady"),
		status.At("active"), status.At("failed"), o.At("spec", "suspend"),
	}
}

// unwell reports whether an object itself says that something is wrong.
func unwell(o *diagnose.Object) bool {
	status := o.At("status")
	if o.Deleting() {
		return true
	}
	for _, c := range status.At("containerStatuses").Items() {
		if !c.At("ready").Bool() && status.At("phase").Str() != "Succeeded" {
			return true
		}
	}
	for _, c := range status.At("conditions").Items() {
		good := "True"
		switch kind := c.At("type").Str(); {
		case strings.HasSuffix(kind, "Pressure"), strings.HasSuffix(kind, "Unavailable"), strings.HasSuffix(kind, "Failure"), kind == "Failed", kind == "ScalingLimited", kind == "DisruptionTarget", kind == "Suspended":
			good = "False"
		}
		if s := c.At("status").Str(); s != good && s != "" && status.At("phase").Str() != "Succeeded" {
			return true
		}
	}
	switch status.At("phase").Str() {
	case "Pending", "Failed", "Lost", "Unknown":
		return true
	}
	want, ok := o.At("spec", "replicas").Int()
	return ok && status.Exists() && status.At("readyReplicas").IntOr(0) < want && o.Ref().Kind != "ReplicaSet"
}

func parseLabels(text string) (map[string]string, error) {
	out := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		if !ok || k == "" {
			return nil, incident.Errorf(incident.KindInvalid, "read labels", "they are not of the form k=v,k=v")
		}
		out[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	return out, nil
}

func has(labels, want map[string]string) bool {
	for k, v := range want {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func events() (reason.Tool, error) {
	type in struct {
		Kind      string `json:"kind,omitempty" jsonschema:"default: events about any object"`
		Namespace string `json:"namespace,omitempty" jsonschema:"default: that of the incident"`
		Name      string `json:"name,omitempty"`
		Warnings  bool   `json:"warnings,omitempty" jsonschema:"only warnings"`
	}
	return reason.NewTool("events", "The latest events about an object, a kind or a namespace, alike ones once.", func(ctx context.Context, v *reason.View, in in) (reason.Output, error) {
		var out reason.Output
		ref := object{in.Kind, in.Namespace, in.Name}.ref(v)
		if len(v.Now().EventsOf(ref)) == 0 && in.Name != "" {
			v.Ask(ctx, reason.Question{Ref: ref, Events: true})
		}
		snap := v.Now()
		var matching []*diagnose.Object
		for _, ev := range snap.Contents().Events {
			about := diagnose.About(ev)
			switch {
			case in.Warnings && ev.At("type").Str() != "Warning",
				in.Kind != "" && about.Kind != in.Kind, in.Name != "" && about.Name != in.Name, about.Namespace != ref.Namespace:
				continue
			}
			matching = append(matching, ev)
		}
		recent(snap, &out, matching, maxEvents)
		out.Note("%d events", len(matching))
		for _, g := range snap.Contents().Gaps {
			if g.Subject.Kind == "Event" {
				out.Note("%s: %s", g.What, g.Reason)
			}
		}
		return out, nil
	})
}

// recent cites the latest events, of those that say the same about one object the latest.
func recent(snap *diagnose.Snapshot, out *reason.Output, events []*diagnose.Object, limit int) {
	type key struct{ about, reason, text string }
	seen := map[key]bool{}
	for _, ev := range diagnose.LastSeen(events) {
		k := key{diagnose.About(ev).String(), ev.At("reason").Str(), template(diagnose.EventMessage(ev).Str())}
		if seen[k] {
			continue
		}
		seen[k] = true
		if len(seen) > limit {
			out.Omitted++
			continue
		}
		citePresent(snap, out, ev.At("reason"), diagnose.EventMessage(ev), ev.At("count"), ev.At("lastTimestamp"))
	}
}
