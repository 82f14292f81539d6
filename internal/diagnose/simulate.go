package diagnose

import (
	"fmt"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Obstacle is one reason why something would not work, and the place that shows it. The Place is nowhere when
// no one place does.
type Obstacle struct {
	Reason string
	Place  Value
}

// NodeFit says whether a node would take a Pod.
type NodeFit struct {
	Node      *Object
	Obstacles []Obstacle // none when it would
}

// FitNodes judges every node that was read for a Pod: labels, taints, readiness, cordons, pressure, volumes and
// free resources. It does not judge host ports and the places of other Pods.
func (s *Snapshot) FitNodes(pod *Object) []NodeFit {
	q := newInquiry(s, incident.Incident{Resource: pod.ref})
	var out []NodeFit
	for _, f := range q.fits(pod) {
		fit := NodeFit{Node: f.node}
		add := func(place Value, format string, args ...any) {
			fit.Obstacles = append(fit.Obstacles, Obstacle{fmt.Sprintf(format, args...), place})
		}
		for _, r := range f.failing {
			add(f.node.At("metadata", "labels", r.key), "its labels do not satisfy %s", r)
		}
		if f.cordoned {
			add(f.node.At("spec", "unschedulable"), "it is cordoned")
		}
		if f.unready {
			add(condition(f.node, "Ready").At("status"), "it is not ready")
		}
		for _, t := range append(f.taints, f.pressure...) {
			add(t, "its taint %s is not tolerated", taintText(t))
		}
		for _, short := range f.short {
			add(short.place, "%s: %s is asked for, %s of %s is free", short.resource, quantity(short.resource, short.need),
				quantity(short.resource, short.free), quantity(short.resource, short.all))
		}
		if f.pin != nil {
			add(Value{}, "a volume of the Pod cannot be used there")
		}
		out = append(out, fit)
	}
	return out
}

// QuotaFit says whether a ResourceQuota lets something in.
type QuotaFit struct {
	Quota     *Object
	Obstacles []Obstacle
}

// FitQuotas holds a wish against every ResourceQuota of a namespace. The wish has resource names as quotas have
// them (pods, requests.cpu, limits.memory) with quantities. The error names a quantity that is none.
func (s *Snapshot) FitQuotas(namespace string, wish map[string]string) ([]QuotaFit, error) {
	want := map[string]int64{}
	for name, text := range wish {
		n, ok := milli(Value{raw: text, ok: true})
		if !ok || n < 0 {
			return nil, fmt.Errorf("%s is no quantity", name)
		}
		want[name] = n
		if short, ok := strings.CutPrefix(name, "requests."); ok && (short == "cpu" || short == "memory") {
			want[short] = n // a quota may name requests without saying so
		}
	}
	var out []QuotaFit
	for _, quota := range s.Kind("ResourceQuota", namespace) {
		fit := QuotaFit{Quota: quota}
		hard := quota.At("status", "hard")
		if !hard.Exists() {
			hard = quota.At("spec", "hard")
		}
		for _, name := range sortedKeys(want) {
			all, ok := milli(hard.At(name))
			if !ok {
				continue
			}
			used, _ := milli(quota.At("status", "used", name))
			if need := add(used, want[name]); need > all {
				fit.Obstacles = append(fit.Obstacles, Obstacle{
					fmt.Sprintf("%s: %s in use and %s asked for exceed %s", name, quantity(name, used), quantity(name, want[name]), quantity(name, all)), hard.At(name),
				})
			}
		}
		out = append(out, fit)
	}
	return out, nil
}

// Passage says whether NetworkPolicies let a connection through.
type Passage struct {
	Allowed bool
	// Known is false when something that decides was not read.
	Known bool
	// Obstacles are the policies that do not allow it, each with the place of its rules; set when not Allowed.
	Obstacles []Obstacle
	// Policies isolate one of the two ends.
	Policies []*Object
}

// Connect holds a connection between two Pods, on a port of the second, against the NetworkPolicies that were
// read, at both ends.
func (s *Snapshot) Connect(from, to *Object, port int64, protocol string) Passage {
	q := newInquiry(s, incident.Incident{})
	out := Passage{Allowed: true, Known: s.Listed("NetworkPolicy", from.ref.Namespace) && s.Listed("NetworkPolicy", to.ref.Namespace)}
	client, server := podParty(from), podParty(to)
	for _, end := range []struct {
		d         direction
		of, other party
		what      string
	}{{egress(), client, server, "traffic out of " + from.ref.String()}, {ingress(), server, client, "traffic into " + to.ref.String()}} {
		policies := q.isolating(end.d, end.of)
		out.Policies = append(out.Policies, policies...)
		if len(policies) == 0 {
			continue
		}
		passes := false
		var against []Obstacle
		for _, p := range policies {
			v, place := q.judge(p, end.d, end.other, server, port, protocol)
			switch v {
			case allowed:
				passes = true
			case undecided:
				out.Known = false
			case otherPort:
				against = append(against, Obstacle{fmt.Sprintf("%s allows %s on other ports only", p.ref, end.what), place})
			case otherPeer:
				against = append(against, Obstacle{fmt.Sprintf("%s allows %s with other peers only", p.ref, end.what), place})
			default:
				against = append(against, Obstacle{fmt.Sprintf("%s has no rule that allows %s", p.ref, end.what), place})
			}
		}
		if !passes {
			out.Allowed = false
			out.Obstacles = append(out.Obstacles, against...)
		}
	}
	return out
}
