package diagnose

import (
	"fmt"
	"slices"

	"kubernaut.ai/kubernaut/internal/incident"
)

// pinned is a claim of a Pod whose volumes can be used on some nodes only.
type pinned struct {
	claim   *Object
	volumes []*Object // the one that is bound, or those that the claim could be bound to
}

// pinsOf returns the claims of a Pod that tie it to nodes.
func (q *inquiry) pinsOf(pod *Object) []pinned {
	var out []pinned
	for _, r := range podReferences(pod.At("spec")) {
		if r.kind != "PersistentVolumeClaim" {
			continue
		}
		pvc := q.snap.Object(r.ref(pod))
		if pvc == nil {
			continue
		}
		p := pinned{claim: pvc}
		if name := pvc.At("spec", "volumeName").Str(); name != "" {
			if pv := q.snap.Object(incident.Ref{APIVersion: "v1", Kind: "PersistentVolume", Name: name}); pv != nil {
				p.volumes = append(p.volumes, pv)
			}
		} else if class := q.classOf(pvc); class != nil && class.At("provisioner").Str() == noProvisioner {
			for _, pv := range q.snap.Kind("PersistentVolume", "") {
				if len(q.misfits(pv, pvc)) == 0 {
					p.volumes = append(p.volumes, pv)
				}
			}
		}
		if len(p.volumes) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// offNode returns the claim that keeps a Pod off a node: none of its volumes can be used there; nil when there is none.
func offNode(pins []pinned, node *Object) *pinned {
	for i, p := range pins {
		reached := false
		for _, pv := range p.volumes {
			reached = reached || usableOn(pv, node)
		}
		if !reached {
			return &pins[i]
		}
	}
	return nil
}

// usableOn evaluates a volume's node affinity, and the zone and region of its labels.
func usableOn(pv, node *Object) bool {
	labels := node.Labels()
	for _, r := range zonesOf(pv) {
		if _, ok := labels[r.key]; ok && !r.holds(labels) {
			return false
		}
	}
	terms := pv.At("spec", "nodeAffinity", "required", "nodeSelectorTerms").Items()
	for _, t := range terms {
		all := true
		for _, e := range t.At("matchExpressions").Items() {
			all = all && requirementOf(e).holds(labels)
		}
		for _, e := range t.At("matchFields").Items() {
			all = all && requirementOf(e).holds(map[string]string{"metadata.name": node.ref.Name})
		}
		if all {
			return true
		}
	}
	return len(terms) == 0
}

func requirementOf(e Value) requirement {
	r := requirement{key: e.At("key").Str(), operator: e.At("operator").Str(), place: e}
	for _, v := range e.At("values").Items() {
		r.values = append(r.values, v.Str())
	}
	return r
}

// zonesOf returns what a volume's own topology labels ask of a node.
func zonesOf(pv *Object) []requirement {
	var out []requirement
	for _, key := range []string{"topology.kubernetes.io/zone", "topology.kubernetes.io/region"} {
		if v := pv.At("metadata", "labels", key); v.Str() != "" {
			out = append(out, requirement{key, "In", []string{v.Str()}, v})
		}
	}
	return out
}

// whereUsable says for people, and cites, on which nodes a volume can be used.
func whereUsable(pv *Object) (string, []cite) {
	if terms := pv.At("spec", "nodeAffinity", "required", "nodeSelectorTerms"); terms.Len() > 0 {
		for _, list := range []string{"matchExpressions", "matchFields"} {
			if e := terms.Items()[0].At(list).Items(); len(e) > 0 {
				return requirementOf(e[0]).String(), []cite{at(terms)}
			}
		}
	}
	for _, r := range zonesOf(pv) {
		return r.String(), []cite{at(r.place)}
	}
	return "no node", []cite{at(pv.At("spec", "nodeAffinity"))}
}

// VolumeNodeAffinity ends at a claim whose volume can be used only on nodes that the Pod may not or cannot use.
func (catalogue) VolumeNodeAffinity() rule {
	return rule{
		explains: []symptomKind{podUnscheduled},
		why: func(q *inquiry, s symptom) []answer {
			p := q.placementOf(s)
			nodes := p.because[obstacleVolume]
			if len(nodes) == 0 {
				return volumeNodeByMessage(q, s)
			}
			pin := nodes[0].pin
			pv := pin.volumes[0]
			where, proof := whereUsable(pv)
			c := volumeNodeCause(pin.claim)
			c.params["PV_NAME"], c.params["NODE_NAME"] = pv.ref.Name, nodes[0].node.ref.Name
			c.last.proof = append([]cite{at(pin.claim.At("spec", "volumeName"))}, proof...)
			c.last.statement = fmt.Sprintf("volume %q can be used only where %s", pv.ref.Name, where)
			rest := "no node is like that"
			for _, f := range p.nodes {
				if f.pin != nil {
					continue
				}
				switch {
				case !f.selected():
					rest = fmt.Sprintf("node %s is, and the Pods require %s", f.node.ref.Name, f.failing[0])
					c.last.proof = append(c.last.proof, at(f.failing[0].place))
				case len(f.short) > 0:
					rest = fmt.Sprintf("node %s is, and has too little %s left", f.node.ref.Name, f.short[0].resource)
					c.last.proof = append(c.last.proof, at(f.short[0].place))
				}
				break
			}
			c.last.statement += "; " + rest
			for i, f := range nodes {
				if i < 3 {
					c.last.proof = append(c.last.proof, at(f.node.At("metadata", "labels")))
				}
			}
			c.summary = fmt.Sprintf("%s cannot be scheduled: %s.", q.owner(s.object), c.last.statement)
			return []answer{{via: []link{{s.subject, fmt.Sprintf("the Pod uses claim %q", pin.claim.ref.Name), []cite{exists(pin.claim)}}}, cause: q.scheduling(s, c)}}
		},
	}
}

func volumeNodeCause(claim *Object) *cause {
	c := claimCause(symptom{link: link{subject: claim.ref}}, ClassVolumeNodeAffinity)
	c.direct, c.depends = proven, []string{"PersistentVolume", "Node"}
	c.last.subject = claim.ref
	return c
}

// volumeNodeByMessage takes the scheduler's word when neither the node nor the volume could be judged.
func volumeNodeByMessage(q *inquiry, s symptom) []answer {
	const elsewhere = "didn't match Pod's node affinity/selector" // the nodes that the Pod means are those that its volume is not on
	if !slices.ContainsFunc([]string{"volume node affinity conflict", "no available volume zone", "didn't match PersistentVolume's node affinity"}, func(phrase string) bool {
		return q.schedulerSaysOnly(s, phrase, elsewhere)
	}) {
		return nil
	}
	for _, r := range podReferences(s.object.At("spec")) {
		if pvc := q.snap.Object(r.ref(s.object)); r.kind == "PersistentVolumeClaim" && pvc != nil {
			c := volumeNodeCause(pvc)
			c.direct = reported
			c.last.statement, c.last.proof = "its volume can be used only on nodes that do not take the Pod: "+quote(s.text.Str()), []cite{exists(pvc)}
			c.summary = fmt.Sprintf("%s cannot be scheduled: the volume of %s is tied to other nodes.", q.owner(s.object), pvc.ref)
			return []answer{{cause: q.scheduling(s, c)}}
		}
	}
	return nil
}

// VolumeMultiAttach ends at a claim of one node at a time whose volume another node still has.
func (catalogue) VolumeMultiAttach() rule {
	return rule{
		explains: []symptomKind{podNotStarting},
		why: func(q *inquiry, s symptom) []answer {
			node := s.object.At("spec", "nodeName").Str()
			message, said := says(q.messagesAbout(s), "Multi-Attach error for volume")
			for _, r := range podReferences(s.object.At("spec")) {
				pvc := q.snap.Object(r.ref(s.object))
				if r.kind != "PersistentVolumeClaim" || pvc == nil || !singleNode(pvc) {
					continue
				}
				volume := pvc.At("spec", "volumeName")
				other := q.attachedElsewhere(volume.Str(), node)
				holder := q.holderElsewhere(pvc, node)
				if !said && (other == nil || holder == nil) || said && other == nil && holder == nil && len(q.claimsOf([]*Object{s.object})) > 1 {
					continue
				}
				c := claimCause(symptom{link: link{subject: pvc.ref}}, ClassVolumeMultiAttach)
				c.signals, c.depends = []string{"FailedAttachVolume", "PVCPending"}, []string{"Pod"}
				c.params["PV_NAME"], c.direct = volume.Str(), stated
				c.last = link{pvc.ref, "the claim's volume may be attached to one node at a time, and another node has it", []cite{at(pvc.At("spec", "accessModes"))}}
				if said {
					c.last.proof = append(c.last.proof, at(message))
				}
				if other != nil {
					c.direct = proven
					c.last.statement += ": it is attached to node " + other.At("spec", "nodeName").Str()
					c.last.proof = append(c.last.proof, at(other.At("spec", "nodeName")), at(other.At("status", "attached")))
					c.params["NODE_NAME"] = other.At("spec", "nodeName").Str()
				}
				if holder != nil {
					if said {
						c.direct = proven
					}
					c.last.statement += fmt.Sprintf("; %s on node %s uses it", holder.ref, holder.At("spec", "nodeName").Str())
					c.last.proof = append(c.last.proof, at(holder.At("spec", "nodeName")))
					c.params["NODE_NAME"] = holder.At("spec", "nodeName").Str()
					if holder.Deleting() {
						c.factors = append(c.factors, fmt.Sprintf("%s is being deleted and has not gone.", holder.ref))
					}
				}
				if w := q.top(s.object); w.ref.Kind == "Deployment" && w.At("spec", "strategy", "type").Str() != "Recreate" {
					c.factors = append(c.factors, fmt.Sprintf("%s starts a new Pod before it ends the old one (strategy RollingUpdate).", w.ref))
				}
				c.summary = fmt.Sprintf("%s cannot start its Pod: %s.", q.owner(s.object), c.last.statement)
				c.wanted = []wanted{{"the event FailedAttachVolume of " + s.subject.String(), said}}
				return []answer{{via: []link{{s.subject, r.use(), []cite{at(r.name)}}}, cause: c}}
			}
			return nil
		},
	}
}

// singleNode reports whether a claim's volume can be attached to one node only.
func singleNode(pvc *Object) bool {
	modes := pvc.At("spec", "accessModes").Items()
	for _, m := range modes {
		if m.Str() != "ReadWriteOnce" && m.Str() != "ReadWriteOncePod" {
			return false
		}
	}
	return len(modes) > 0
}

// attachedElsewhere returns the attachment of a volume to another node, or nil.
func (q *inquiry) attachedElsewhere(volume, node string) *Object {
	for _, a := range q.snap.Kind("VolumeAttachment", "") {
		if volume != "" && a.At("spec", "source", "persistentVolumeName").Str() == volume && a.At("spec", "nodeName").Str() != node && a.At("status", "attached").Bool() {
			return a
		}
	}
	return nil
}

// holderElsewhere returns another Pod that uses a claim on another node, or nil.
func (q *inquiry) holderElsewhere(pvc *Object, node string) *Object {
	for _, p := range q.snap.UsersOf(pvc.ref) {
		if on := p.At("spec", "nodeName").Str(); on != "" && on != node && !isDone(p) {
			return p
		}
	}
	return nil
}
