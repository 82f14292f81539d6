package diagnose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// KeptApart ends at a workload whose Pods must keep apart, or be spread, in a way that leaves no node for a further one.
func (catalogue) KeptApart() rule {
	return rule{
		explains: []symptomKind{podUnscheduled},
		why: func(q *inquiry, s symptom) []answer {
			p := q.placementOf(s)
			nodes := p.because[obstacleApart]
			target := q.owner(s.object)
			c := &cause{class: ClassAntiAffinity, target: target, direct: proven, timing: timingUnrelated, params: map[string]string{}}
			if len(nodes) == 0 {
				return apartByMessage(q, s, c)
			}
			first := nodes[0].apart
			if first.kind == "affinity" {
				c.class = ClassNodeSelectorMismatch
			}
			c.detail = first.kind + " " + first.key
			c.params["TOPOLOGY_KEY"] = first.key
			var proof []cite
			kinds := []string{}
			for i, f := range nodes {
				if !slices.Contains(kinds, f.apart.kind) {
					kinds = append(kinds, f.apart.kind)
				}
				if i < 5 {
					proof = append(proof, f.apart.proof...)
				}
			}
			statement := fmt.Sprintf("%s leaves no node for another Pod: of %s that would take it, each is ruled out; on %s %s",
				strings.Join(kinds, " and "), count(len(nodes), "node"), nodes[0].node.ref.Name, first.what)
			if domains, replicas := domainsOf(p, first.key), s.replicas(q); first.kind == "anti-affinity" && first.other != nil && replicas.number > int64(domains) {
				statement = fmt.Sprintf("the Pods keep apart by %s, of which there %s %d; %d Pods are wanted; %s", first.key, verb(int64(domains)), domains, replicas.number, first.what)
				proof = append([]cite{replicas.cite}, proof...)
				c.params["DOMAINS"] = strconv.Itoa(domains)
			}
			c.last = link{target, statement, proof}
			c.summary = fmt.Sprintf("%s cannot be scheduled: %s.", target, statement)
			if !q.podsKnownOn() && first.kind != "anti-affinity" {
				c.direct, c.depends = stated, []string{"Pod"}
			}
			return []answer{{cause: q.scheduling(s, c)}}
		},
	}
}

// replicas is how many Pods the workload of the symptom's Pod wants.
func (s symptom) replicas(q *inquiry) tally {
	w := q.top(s.object)
	n := w.At("spec", "replicas")
	return tally{n.IntOr(1), at(n)}
}

// domainsOf counts the values of a topology key among the nodes that the Pod means and that take such Pods.
func domainsOf(p placement, key string) int {
	seen := map[string]bool{}
	for _, f := range p.nodes {
		if v, ok := f.node.Labels()[key]; ok && f.selected() && len(f.taints) == 0 {
			seen[v] = true
		}
	}
	return len(seen)
}

// apartByMessage takes the scheduler's word when no node could be judged.
func apartByMessage(q *inquiry, s symptom, c *cause) []answer {
	spec := s.object.At("spec")
	for _, kind := range []struct {
		phrase string
		rule   Value
	}{
		{"didn't match pod anti-affinity rules", spec.At("affinity", "podAntiAffinity", requiredNow)},
		{"didn't satisfy existing pods anti-affinity rules", spec},
		{"didn't match pod topology spread constraints", spec.At("topologySpreadConstraints")},
	} {
		if !kind.rule.Exists() || !q.schedulerSaysOnly(s, kind.phrase) {
			continue
		}
		c.direct, c.depends = reported, []string{"Node"}
		c.last = link{c.target, "how the Pods are to keep apart leaves no node for another one: " + quote(s.text.Str()), []cite{at(kind.rule)}}
		c.summary = fmt.Sprintf("%s cannot be scheduled: its anti-affinity or topology spread leaves no node for another Pod.", c.target)
		return []answer{{cause: q.scheduling(s, c)}}
	}
	return nil
}

// HostPortConflict ends at a workload that asks for a port of the node which another Pod has on every node that would do.
func (catalogue) HostPortConflict() rule {
	return rule{
		explains: []symptomKind{podUnscheduled},
		why: func(q *inquiry, s symptom) []answer {
			nodes := q.placementOf(s).because[obstaclePort]
			target := q.owner(s.object)
			c := &cause{class: ClassHostPortConflict, target: target, direct: proven, timing: timingUnrelated, params: map[string]string{}}
			if len(nodes) == 0 {
				ports := hostPorts(s.object.At("spec"))
				if len(ports) == 0 || !q.schedulerSaysOnly(s, "didn't have free ports for the requested pod ports") {
					return nil
				}
				c.direct, c.depends = reported, []string{"Node"}
				c.detail, c.params["PORT"] = ports[0].String(), ports[0].place.Text()
				c.last = link{target, fmt.Sprintf("each Pod asks for port %s of its node, and no node has it free", ports[0]), []cite{at(ports[0].place)}}
				c.summary = fmt.Sprintf("%s cannot be scheduled: host port %s is taken.", target, ports[0])
				return []answer{{cause: q.scheduling(s, c)}}
			}
			t := nodes[0].port
			c.detail, c.params["PORT"], c.params["NODE_NAME"] = t.want.String(), t.want.place.Text(), nodes[0].node.ref.Name
			holder := q.owner(t.holder)
			c.last = link{target, fmt.Sprintf("each Pod asks for port %s of its node; on %s %s has it", t.want, nodes[0].node.ref.Name, t.holder.ref), []cite{at(t.want.place), at(t.have.place)}}
			if len(nodes) > 1 {
				c.last.statement += "; so it is on " + count(len(nodes)-1, "more node")
			}
			for i, f := range nodes {
				if i < 5 {
					c.last.proof = append(c.last.proof, at(f.port.holder.At("spec", "nodeName")))
				}
			}
			c.summary = fmt.Sprintf("%s cannot be scheduled: host port %s is taken by %s on every node that would do.", target, t.want, holder)
			c.factors = append(c.factors, fmt.Sprintf("%s has the port.", holder))
			return []answer{{cause: q.scheduling(s, c)}}
		},
	}
}

// hostPort is a port of the node that a container asks for.
type hostPort struct {
	number       int64
	ip, protocol string
	place        Value
}

func (p hostPort) String() string { return fmt.Sprintf("%d/%s", p.number, p.protocol) }

func (p hostPort) clashes(o hostPort) bool {
	return p.number == o.number && p.protocol == o.protocol && (p.ip == o.ip || p.ip == "" || o.ip == "")
}

func hostPorts(spec Value) []hostPort {
	var out []hostPort
	for _, list := range []string{"containers", "initContainers"} {
		for _, c := range spec.At(list).Items() {
			if list == "initContainers" && c.At("restartPolicy").Str() != "Always" {
				continue
			}
			for _, p := range c.At("ports").Items() {
				place := p.At("hostPort")
				if spec.At("hostNetwork").Bool() && !place.Exists() {
					place = p.At("containerPort")
				}
				n := place.IntOr(0)
				if n == 0 {
					continue
				}
				ip := p.At("hostIP").Str()
				if ip == "0.0.0.0" || ip == "::" {
					ip = ""
				}
				out = append(out, hostPort{n, ip, orElse(p.At("protocol").Str(), "TCP"), place})
			}
		}
	}
	return out
}

// taken is a host port that a Pod asks for and another one has.
type taken struct {
	want, have hostPort
	holder     *Object
}

// portTaken returns the first host port of a Pod that is taken on a node; nil when none is.
func (q *inquiry) portTaken(pod, node *Object) *taken {
	want := hostPorts(pod.At("spec"))
	if len(want) == 0 {
		return nil
	}
	for _, other := range q.snap.OnNode(node.ref.Name) {
		if other == pod || isDone(other) {
			continue
		}
		for _, have := range hostPorts(other.At("spec")) {
			for _, w := range want {
				if w.clashes(have) {
					return &taken{w, have, other}
				}
			}
		}
	}
	return nil
}
