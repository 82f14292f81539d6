package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// noProvisioner is the provisioner of a class whose volumes people make.
const noProvisioner = "kubernetes.io/no-provisioner"

// misfit is one respect in which a PersistentVolume does not fit a claim.
type misfit struct {
	what  string // for people
	taken bool   // the volume belongs to another claim
	proof []cite
}

// misfits returns why a volume cannot be bound to a claim; none when it can.
func (q *inquiry) misfits(pv, pvc *Object) []misfit {
	var out []misfit
	spec, wants := pv.At("spec"), pvc.At("spec")
	if ref := spec.At("claimRef"); ref.Exists() {
		same := ref.At("name").Str() == pvc.ref.Name && ref.At("namespace").Str() == pvc.ref.Namespace
		uid := ref.At("uid")
		switch {
		case !same:
			owner := incident.Ref{Kind: "PersistentVolumeClaim", Namespace: ref.At("namespace").Str(), Name: ref.At("name").Str()}
			out = append(out, misfit{fmt.Sprintf("it belongs to %s", owner), true, []cite{at(ref.At("name")), at(ref.At("namespace"))}})
		case uid.Exists() && pvc.ref.UID != "" && uid.Str() != pvc.ref.UID:
			out = append(out, misfit{"it is still reserved for an earlier claim of the same name", true, []cite{at(uid), at(pvc.At("metadata", "uid"))}})
		}
	} else if phase := pv.At("status", "phase"); phase.Str() == "Released" || phase.Str() == "Failed" {
		out = append(out, misfit{fmt.Sprintf("it is %s", phase.Str()), true, []cite{at(phase)}})
	}
	if class := spec.At("storageClassName"); class.Str() != q.className(pvc) && class.Known() && wants.At("storageClassName").Known() {
		out = append(out, misfit{
			fmt.Sprintf("its class is %q, and the claim asks for %q", class.Str(), q.className(pvc)), false,
			[]cite{at(class), at(wants.At("storageClassName"))},
		})
	}
	if has, want := spec.At("volumeMode"), wants.At("volumeMode"); orElse(has.Str(), "Filesystem") != orElse(want.Str(), "Filesystem") {
		out = append(out, misfit{
			fmt.Sprintf("its volume mode is %s, and the claim asks for %s", orElse(has.Str(), "Filesystem"), orElse(want.Str(), "Filesystem")), false,
			[]cite{at(has), at(want)},
		})
	}
	for _, mode := range wants.At("accessModes").Items() {
		if modes := spec.At("accessModes"); !slices.ContainsFunc(modes.Items(), func(m Value) bool { return m.Str() == mode.Str() }) {
			out = append(out, misfit{fmt.Sprintf("it does not offer access mode %s, which the claim asks for", mode.Str()), false, []cite{at(modes), at(mode)}})
		}
	}
	size, need := spec.At("capacity", "storage"), wants.At("resources", "requests", "storage")
	if n, known := milli(size); known {
		if m, asked := milli(need); asked && m > n {
			out = append(out, misfit{fmt.Sprintf("it has %s, and the claim asks for %s", size.Text(), need.Text()), false, []cite{at(size), at(need)}})
		}
	}
	if selector := wants.At("selector"); selector.Exists() && !matches(selector, pv.Labels()) {
		out = append(out, misfit{"its labels do not match the claim's selector", false, []cite{at(selector), at(pv.At("metadata", "labels"))}})
	}
	return out
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// className is the class that a claim asks for: the default one when it leaves the class open.
func (q *inquiry) className(pvc *Object) string {
	if name := pvc.At("spec", "storageClassName"); name.Exists() {
		return name.Str()
	}
	if def := q.defaultClass(); def != nil {
		return def.ref.Name
	}
	return ""
}

// matches evaluates a label selector with matchLabels and matchExpressions. An empty one matches all.
func matches(selector Value, labels map[string]string) bool {
	if !selects(selector.At("matchLabels").StrMap(), labels) {
		return false
	}
	for _, e := range selector.At("matchExpressions").Items() {
		r := requirement{key: e.At("key").Str(), operator: e.At("operator").Str()}
		for _, v := range e.At("values").Items() {
			r.values = append(r.values, v.Str())
		}
		if !r.holds(labels) {
			return false
		}
	}
	return true
}

// isMade reports whether people made a volume, and no provisioner; or one that a provisioner made is free again, which its
// maker never leaves it.
func isMade(pv *Object) bool {
	by, owner := pv.At("metadata", "annotations", "pv.kubernetes.io/provisioned-by"), pv.At("spec", "claimRef")
	return by.Known() && (!by.Exists() || !owner.Exists() && owner.Known() && pv.At("status", "phase").Str() == "Available")
}

// mismatch is the volume that comes nearest to a claim, and what keeps them apart.
type mismatch struct {
	volume *Object // nil when the one that the claim names does not exist
	why    []misfit
	of     int // volumes that were looked at
}

// staticMismatch judges a claim that must be served by a volume that exists: it names one, selects one, or has no
// provisioner. It returns nil when a volume fits, when a provisioner can make one, and when there is none to compare.
func (q *inquiry) staticMismatch(pvc *Object) *mismatch {
	if name := pvc.At("spec", "volumeName"); name.Str() != "" {
		ref := incident.Ref{APIVersion: "v1", Kind: "PersistentVolume", Name: name.Str()}
		pv := q.snap.Object(ref)
		switch {
		case pv != nil:
			if why := q.misfits(pv, pvc); len(why) > 0 {
				return &mismatch{pv, why, 1}
			}
		case q.snap.Knows(ref) == Absent:
			return &mismatch{nil, []misfit{{fmt.Sprintf("volume %q, which the claim names, does not exist", name.Str()), false, []cite{at(name), gone(ref)}}}, 0}
		}
		return nil
	}
	class := q.classOf(pvc)
	if class != nil && class.At("provisioner").Str() != noProvisioner && !pvc.At("spec", "selector").Exists() {
		return nil
	}
	name := q.className(pvc)
	var ofClass, all []*mismatch
	for _, pv := range q.snap.Kind("PersistentVolume", "") {
		why := q.misfits(pv, pvc)
		if len(why) == 0 {
			return nil
		}
		if m := (&mismatch{volume: pv, why: why}); isMade(pv) {
			all = append(all, m)
			if pv.At("spec", "storageClassName").Str() == name {
				ofClass = append(ofClass, m)
			}
		}
	}
	among := ofClass
	if len(among) == 0 && (name == "" && pvc.At("spec", "storageClassName").Exists() || class != nil && class.At("provisioner").Str() == noProvisioner) {
		among = all
	}
	if len(among) == 0 {
		return nil
	}
	near := slices.MinFunc(among, func(a, b *mismatch) int {
		return cmp.Or(compareBool(a.taken(), b.taken()), cmp.Compare(len(a.why), len(b.why)), cmp.Compare(a.volume.ref.Name, b.volume.ref.Name))
	})
	if near.taken() && !pvc.At("spec", "storageClassName").Exists() {
		return nil // the claim wants what a default class would give
	}
	near.of = len(among)
	return near
}

func (m *mismatch) taken() bool {
	return slices.ContainsFunc(m.why, func(w misfit) bool { return w.taken })
}

// VolumeMismatch ends at a claim that no PersistentVolume fits, or whose volume belongs to another.
func (catalogue) VolumeMismatch() rule {
	return rule{
		explains: []symptomKind{claimUnbound},
		why: func(q *inquiry, s symptom) []answer {
			m := q.staticMismatch(s.object)
			if m == nil {
				return unsupportedMode(q, s)
			}
			c := claimCause(s, ClassPVMismatch)
			c.direct, c.depends = proven, []string{"PersistentVolume"}
			var why []string
			for _, w := range m.why {
				why = append(why, w.what)
				c.last.proof = append(c.last.proof, w.proof...)
			}
			c.last.subject = s.subject
			switch {
			case m.volume == nil:
				c.last.statement = why[0]
			case m.of > 1:
				c.last.statement = fmt.Sprintf("none of %d PersistentVolumes fits the claim; nearest is %q: %s", m.of, m.volume.ref.Name, strings.Join(why, "; "))
			default:
				c.last.statement = fmt.Sprintf("PersistentVolume %q does not fit the claim: %s", m.volume.ref.Name, strings.Join(why, "; "))
			}
			if m.volume != nil {
				c.detail, c.params["PV_NAME"] = m.volume.ref.Name, m.volume.ref.Name
			}
			c.summary = fmt.Sprintf("%s cannot be bound: %s.", s.subject, c.last.statement)
			return []answer{{cause: c}}
		},
	}
}

// unsupportedMode ends at a claim whose provisioner refuses the access mode that it asks for, when no volume of its
// class has that mode either.
func unsupportedMode(q *inquiry, s symptom) []answer {
	failed, class := q.lastEvent(s.object, "ProvisioningFailed"), q.classOf(s.object)
	if failed == nil || class == nil || !strings.Contains(strings.ToLower(eventText(failed).Str()), "access mode") {
		return nil
	}
	for _, mode := range s.object.At("spec", "accessModes").Items() {
		if mode.Str() == "ReadWriteOnce" || q.offered(mode.Str(), class.ref.Name) {
			continue
		}
		c := claimCause(s, ClassPVMismatch)
		c.direct, c.params["STORAGE_CLASS"] = stated, class.ref.Name
		c.last = link{s.subject, fmt.Sprintf("the claim asks for access mode %s, which provisioner %q of class %q refuses: %s", mode.Str(),
			class.At("provisioner").Str(), class.ref.Name, quote(eventText(failed).Str())), []cite{at(mode), event(failed), at(class.At("provisioner"))}}
		c.summary = fmt.Sprintf("%s asks for access mode %s, which StorageClass %q cannot give.", s.subject, mode.Str(), class.ref.Name)
		return []answer{{cause: c}}
	}
	return nil
}

// offered reports whether some volume of a class has an access mode.
func (q *inquiry) offered(mode, class string) bool {
	for _, pv := range q.snap.Kind("PersistentVolume", "") {
		if pv.At("spec", "storageClassName").Str() == class &&
			slices.ContainsFunc(pv.At("spec", "accessModes").Items(), func(m Value) bool { return m.Str() == mode }) {
			return true
		}
	}
	return false
}
