package tools

import (
	"cmp"
	"context"
	"strings"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
)

func fitSelector() (reason.Tool, error) {
	type in struct {
		Namespace string `json:"namespace,omitempty" jsonschema:"default: that of the incident"`
		Labels    string `json:"labels" jsonschema:"as k=v,k=v"`
	}
	return reason.NewTool("fit_selector", "Which Pods a label selector would select, and which it misses by one label.", func(_ context.Context, v *reason.View, in in) (reason.Output, error) {
		var out reason.Output
		selector, err := parseLabels(in.Labels)
		if err != nil || len(selector) == 0 {
			return out, incident.Errorf(incident.KindInvalid, "read labels", "they are not of the form k=v,k=v")
		}
		snap, ns := v.Now(), cmp.Or(in.Namespace, home(v))
		hit := 0
		for _, pod := range snap.Kind("Pod", ns) {
			miss, key := 0, ""
			for k, want := range selector {
				if pod.Labels()[k] != want {
					miss, key = miss+1, k
				}
			}
			switch {
			case miss == 0:
				if hit++; hit <= maxRows {
					citePresent(snap, &out, pod.At("status", "phase"))
				}
			case miss == 1 && len(selector) > 1 && len(out.Findings) < maxRows/2:
				conclude(&out, cite(snap, &out, pod.At("metadata", "labels", key)), "%s misses by label %s alone", pod.Ref(), key)
			}
		}
		out.Note("%d Pods match", hit)
		if !snap.Listed("Pod", ns) {
			out.Note("not all Pods there were read")
		}
		return out, nil
	})
}

func fitQuota() (reason.Tool, error) {
	type in struct {
		Namespace string            `json:"namespace,omitempty" jsonschema:"default: that of the incident"`
		Wish      map[string]string `json:"wish" jsonschema:"quantities by the names of quotas, for example pods, requests.cpu, limits.memory"`
	}
	return reason.NewTool("fit_quota", "Whether the ResourceQuotas of a namespace would let more in.", func(_ context.Context, v *reason.View, in in) (reason.Output, error) {
		var out reason.Output
		ns := cmp.Or(in.Namespace, home(v))
		if len(in.Wish) > 20 {
			return out, incident.Errorf(incident.KindInvalid, "fit_quota", "at most 20 resources")
		}
		fits, err := v.Now().FitQuotas(ns, in.Wish)
		if err != nil {
			return out, incident.Errorf(incident.KindInvalid, "fit_quota", "%w", err)
		}
		for _, f := range fits {
			if len(f.Obstacles) == 0 {
				conclude(&out, citePresent(v.Now(), &out, f.Quota.At("metadata", "name")), "%s would let it in", f.Quota.Ref())
			}
			obstacles(v.Now(), f.Quota.Ref(), f.Obstacles, &out)
		}
		if len(fits) == 0 {
			out.Note("no ResourceQuota was read there")
		}
		if !v.Now().Listed("ResourceQuota", ns) {
			out.Note("the ResourceQuotas there were not all read")
		}
		return out, nil
	})
}

func obstacles(snap *diagnose.Snapshot, what incident.Ref, list []diagnose.Obstacle, out *reason.Output) {
	for _, o := range list {
		conclude(out, cite(snap, out, o.Place), "%s: %s", what, o.Reason)
	}
}

func fitNodes() (reason.Tool, error) {
	type in struct {
		Pod       string `json:"pod"`
		Namespace string `json:"namespace,omitempty" jsonschema:"default: that of the incident"`
	}
	return reason.NewTool("fit_nodes", "Which nodes would take a Pod, and what keeps it off the others: selector, affinity, taints, readiness, resources, volumes.",
		func(ctx context.Context, v *reason.View, in in) (reason.Output, error) {
			var out reason.Output
			pod := find(ctx, v, object{"Pod", in.Namespace, in.Pod}, &out)
			if pod == nil {
				return out, nil
			}
			snap := v.Now()
			var takers []string
			kept := map[string]int{}
			fits := snap.FitNodes(pod)
			for _, f := range fits {
				if len(f.Obstacles) == 0 {
					takers = append(takers, f.Node.Ref().Name)
					continue
				}
				var reasons []string
				for _, o := range f.Obstacles {
					reasons = append(reasons, o.Reason)
				}
				// Nodes of a cluster are alike: one of each sort is shown.
				if key := template(strings.Join(reasons, "; ")); kept[key] < 2 && len(out.Findings) < maxRows {
					kept[key]++
					obstacles(snap, f.Node.Ref(), f.Obstacles, &out)
				} else {
					out.Omitted++
				}
			}
			out.Note("%d of %d nodes that were read would take it: %s", len(takers), len(fits), strings.Join(takers[:min(len(takers), 10)], ", "))
			out.Note("host ports and the places of other Pods are not judged")
			if !snap.Listed("Pod", "") {
				out.Note("not all Pods of the cluster were read: less may be free than it seems")
			}
			return out, nil
		})
}

func fitNetwork() (reason.Tool, error) {
	type in struct {
		From     object `json:"from" jsonschema:"a Pod"`
		To       object `json:"to" jsonschema:"a Pod"`
		Port     int64  `json:"port"`
		Protocol string `json:"protocol,omitempty" jsonschema:"TCP, UDP or SCTP; default TCP"`
	}
	return reason.NewTool("fit_network", "Whether NetworkPolicies let a Pod connect to a port of another.", func(ctx context.Context, v *reason.View, in in) (reason.Output, error) {
		var out reason.Output
		in.From.Kind, in.To.Kind = "Pod", "Pod"
		from, to := find(ctx, v, in.From, &out), find(ctx, v, in.To, &out)
		if from == nil || to == nil {
			return out, nil
		}
		snap := v.Now()
		p := snap.Connect(from, to, in.Port, cmp.Or(strings.ToUpper(in.Protocol), "TCP"))
		for _, o := range p.Obstacles {
			conclude(&out, cite(snap, &out, o.Place), "%s", o.Reason)
		}
		switch {
		case !p.Known:
			out.Note("not all that decides was read")
		case p.Allowed:
			out.Note("it is let through; %d policies select one of the two", len(p.Policies))
		}
		return out, nil
	})
}

func workflows() (reason.Tool, error) {
	type in struct {
		ID string `json:"id,omitempty" jsonschema:"of one workflow; default: all that were considered, with the reason for or against each"`
	}
	return reason.NewTool("workflows", "The remediation workflows that were considered, or one with its parameters.", func(ctx context.Context, v *reason.View, in in) (reason.Output, error) {
		var out reason.Output
		if in.ID == "" {
			for i, c := range v.Candidates {
				if i == maxRows {
					out.Omitted += len(v.Candidates) - i
					break
				}
				conclude(&out, nil, "%s (%s): %s", c.WorkflowID, c.Title, c.Reason)
			}
			out.Note("%d were considered, %d may be chosen", len(v.Candidates), len(v.Options))
			return out, nil
		}
		for _, o := range v.Options {
			if o.Workflow.ID == in.ID {
				for _, name := range sorted(o.Workflow.Parameters) {
					conclude(&out, nil, "it would be called with %s=%s", name, o.Workflow.Parameters[name])
				}
			}
		}
		if v.Catalog == nil {
			out.Note("the catalog cannot be read here")
			return out, nil
		}
		w, err := v.Catalog.Workflow(ctx, in.ID)
		if err != nil {
			return out, incident.Errorf(incident.KindOf(err), "workflows", "that workflow cannot be read")
		}
		conclude(&out, nil, "%s %s: %s", w.Title, w.Version, w.Description)
		for _, p := range w.Parameters {
			conclude(&out, nil, "parameter %s (%s, required: %v): %s", p.Name, p.Type, p.Required, p.Description)
		}
		return out, nil
	})
}
