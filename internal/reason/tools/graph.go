package tools

import (
	"context"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
)

const maxRelations = 40

func owners() (reason.Tool, error) {
	return reason.NewTool("owners", "The owner chain of an object, and the Pods below it.", func(ctx context.Context, v *reason.View, in object) (reason.Output, error) {
		var out reason.Output
		o := find(ctx, v, in, &out)
		if o == nil {
			return out, nil
		}
		snap := v.Now()
		below := o
		for _, ref := range snap.Owners(o.Ref()) {
			conclude(&out, citePresent(snap, &out, below.At("metadata", "ownerReferences")), "%s is owned by %s", below.Ref(), ref)
			if below = snap.Object(ref); below == nil {
				break
			}
		}
		for i, pod := range snap.Pods(o.Ref()) {
			if i == maxRows {
				break
			}
			citePresent(snap, &out, pod.At("status", "phase"))
		}
		return out, nil
	})
}

func neighbours() (reason.Tool, error) {
	return reason.NewTool("neighbours", "What an object is related to: owners, nodes, Services, ConfigMaps, Secrets, claims, policies, routes.",
		func(ctx context.Context, v *reason.View, in object) (reason.Output, error) {
			var out reason.Output
			o := find(ctx, v, in, &out)
			if o == nil {
				return out, nil
			}
			relate(v.Now(), v.Now().Relations(o.Ref()), &out)
			return out, nil
		})
}

func relate(snap *diagnose.Snapshot, relations []diagnose.Relation, out *reason.Output) {
	for i, r := range relations {
		if i == maxRelations {
			out.Omitted += len(relations) - i
			return
		}
		missing := ""
		if snap.Object(r.To) == nil && snap.Knows(r.To) == diagnose.Absent {
			missing = ", which does not exist"
		}
		conclude(out, cite(snap, out, r.Place), "%s %s %s%s", r.From, r.Name, r.To, missing)
	}
}

func path() (reason.Tool, error) {
	type in struct {
		From object `json:"from"`
		To   object `json:"to"`
	}
	return reason.NewTool("path", "How two objects are related: a shortest way.", func(ctx context.Context, v *reason.View, in in) (reason.Output, error) {
		var out reason.Output
		from, to := find(ctx, v, in.From, &out), find(ctx, v, in.To, &out)
		if from == nil {
			return out, nil
		}
		target := in.To.ref(v)
		if to != nil {
			target = to.Ref()
		}
		steps := v.Now().Path(from.Ref(), target)
		if len(steps) == 0 && !from.Ref().Same(target) {
			out.Note("no way of at most six steps was read")
		}
		relate(v.Now(), steps, &out)
		return out, nil
	})
}

func rollout() (reason.Tool, error) {
	return reason.NewTool("rollout", "What the newest revision of a Deployment, StatefulSet or DaemonSet changed.", func(ctx context.Context, v *reason.View, in object) (reason.Output, error) {
		var out reason.Output
		o := find(ctx, v, in, &out)
		if o == nil {
			return out, nil
		}
		snap := v.Now()
		r, ok := snap.LastRollout(o)
		if !ok {
			out.Note("no two revisions of it were read")
			return out, nil
		}
		made := citePresent(snap, &out, r.Current.At("metadata", "creationTimestamp"))
		conclude(&out, made, "the newest revision is %s, the one before %s; %d fields differ", r.Current.Ref(), r.Previous.Ref(), len(r.Changes))
		for _, c := range r.Changes {
			what := "changed"
			switch {
			case !c.From.Exists():
				what = "added"
			case !c.To.Exists():
				what = "removed"
			}
			conclude(&out, citePresent(snap, &out, c.From, c.To), "%s was %s", c.Field, what)
		}
		return out, nil
	})
}

func previous() (reason.Tool, error) {
	return reason.NewTool("previous", "Earlier analyses of an object, and what was executed for this incident.", func(ctx context.Context, v *reason.View, in object) (reason.Output, error) {
		var out reason.Output
		if r := v.Incident.Recovery; r != nil {
			for _, e := range r.Previous {
				conclude(&out, nil, "execution %s of workflow %s failed at step %d: %s", e.Ref, e.Workflow.ID, e.Failure.StepIndex, e.Failure.Reason)
			}
		}
		if v.History == nil {
			out.Note("earlier analyses cannot be read here")
			return out, nil
		}
		earlier, err := v.History.Previous(ctx, in.ref(v), 5)
		if err != nil {
			return out, incident.Errorf(incident.KindOf(err), "previous", "earlier analyses cannot be read now")
		}
		for _, e := range earlier {
			conclude(&out, nil, "%s: %s at %s, confidence %.2f, workflow %q, a person was asked: %v", e.At.UTC().Format("2006-01-02T15:04Z"), e.Class, e.Target, e.Confidence, e.WorkflowID, e.Reviewed)
		}
		out.Note("%d earlier analyses", len(earlier))
		return out, nil
	})
}
