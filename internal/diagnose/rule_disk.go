package diagnose

import (
	"fmt"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// mount is a volume of a Pod as one container sees it.
type mount struct {
	path, name string
	place      Value // the mount
	volume     Value // the volume
}

func mountsOf(pod *Object, c container) []mount {
	volumes := map[string]Value{}
	for _, v := range pod.At("spec", "volumes").Items() {
		volumes[v.At("name").Str()] = v
	}
	var out []mount
	for _, m := range c.spec.At("volumeMounts").Items() {
		name := m.At("name").Str()
		if v, ok := volumes[name]; ok && m.At("mountPath").Str() != "" {
			out = append(out, mount{strings.TrimSuffix(m.At("mountPath").Str(), "/"), name, m, v})
		}
	}
	return out
}

// writable reports whether a volume is of a kind that a program can write to and fill.
func (m mount) writable() bool {
	return m.volume.At("persistentVolumeClaim").Exists() || m.volume.At("emptyDir").Exists() || m.volume.At("ephemeral").Exists() || m.volume.At("hostPath").Exists()
}

// mountNamed returns the mount whose path a line names, the longest one; nil when it names none.
func mountNamed(line string, mounts []mount) *mount {
	var best *mount
	for i, m := range mounts {
		if m.path == "" || best != nil && len(best.path) >= len(m.path) {
			continue
		}
		for rest := line; ; {
			at := strings.Index(rest, m.path)
			if at < 0 {
				break
			}
			end := at + len(m.path)
			if (at == 0 || !isPathByte(rest[at-1])) && (end == len(rest) || rest[end] == '/' || !isPathByte(rest[end])) {
				best = &mounts[i]
				break
			}
			rest = rest[end:]
		}
	}
	return best
}

func isPathByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '/' || c == '-' || c == '_' || c == '.'
}

// DiskFull ends at a volume that is full: the program says that no space is left where the volume is mounted, or the
// kubelet evicted the Pod for using more than an emptyDir, or the Pod, may hold.
func (catalogue) DiskFull() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady, podFailed, workloadShort},
		why: func(q *inquiry, s symptom) []answer {
			switch s.kind {
			case podFailed:
				return filledOwn(q, s, s.object)
			case workloadShort:
				for _, p := range q.snap.podsOf(s.subject) {
					if out := filledOwn(q, s, p); out != nil && q.evictedLately(p) {
						return out
					}
				}
				return nil
			}
			mounts := mountsOf(s.object, *s.container)
			for _, line := range q.tail(s) {
				lower := strings.ToLower(line.text)
				if !strings.Contains(lower, "no space left on device") && !strings.Contains(lower, "enospc") && !strings.Contains(lower, "disk quota exceeded") {
					continue
				}
				m, direct := mountNamed(line.text, mounts), stated
				if m == nil {
					m, direct = soleVolume(mounts), reported
				}
				if m == nil || !m.writable() {
					continue
				}
				return []answer{{cause: fullVolume(q, s, *m, line, direct)}}
			}
			return nil
		},
	}
}

// soleVolume returns the one claim that is mounted, else the one writable volume; nil when there are several.
func soleVolume(mounts []mount) *mount {
	var claim, other *mount
	claims, others := 0, 0
	for i, m := range mounts {
		switch {
		case m.volume.At("persistentVolumeClaim").Exists():
			claim = &mounts[i]
			claims++
		case m.writable():
			other = &mounts[i]
			others++
		}
	}
	switch {
	case claims == 1:
		return claim
	case claims == 0 && others == 1:
		return other
	}
	return nil
}

func fullVolume(q *inquiry, s symptom, m mount, line spoken, direct directness) *cause {
	target := q.owner(s.object)
	c := &cause{
		class: ClassDiskFull, target: target, detail: m.name, direct: direct, timing: timingUnrelated, signals: []string{"DiskFull", "CrashLoopBackOff"},
		depends: []string{"Log"}, params: map[string]string{},
		last: link{target, fmt.Sprintf("volume %q, mounted at %s, has no space left", m.name, m.path), []cite{line.cite, at(m.place.At("mountPath"))}},
	}
	if name := m.volume.At("persistentVolumeClaim", "claimName"); name.Exists() {
		c.target = incident.Ref{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: s.subject.Namespace, Name: name.Str()}
		c.params["PVC_NAME"] = name.Str()
		c.last.proof = append(c.last.proof, at(name))
		if pvc := q.snap.Object(c.target); pvc != nil {
			c.target = pvc.ref
			if size := pvc.At("spec", "resources", "requests", "storage"); size.Exists() {
				c.last.statement += fmt.Sprintf("; its claim asks for %s", size.Text())
				c.last.proof = append(c.last.proof, at(size))
				c.params["STORAGE_SIZE"] = size.Text()
			}
			if class := q.classOf(pvc); class != nil {
				c.factors = append(c.factors, fmt.Sprintf("StorageClass %q lets volumes grow: %t.", class.ref.Name, class.At("allowVolumeExpansion").Bool()))
			}
		}
		c.last.subject = c.target
	} else if size := m.volume.At("emptyDir", "sizeLimit"); size.Exists() {
		c.last.statement += fmt.Sprintf("; it may hold %s", size.Text())
		c.last.proof = append(c.last.proof, at(size))
	}
	c.summary = fmt.Sprintf("Container %q of %s fails because volume %q is full.", s.container.name, target, m.name)
	return c
}

// filledOwn ends at the workload of a Pod that was evicted for filling its own emptyDir, or its own share of the node's disk.
func filledOwn(q *inquiry, s symptom, pod *Object) []answer {
	if !isEvicted(pod) || !overOwnBound(pod) {
		return nil
	}
	message := pod.At("status", "message")
	target := q.owner(pod)
	c := &cause{
		class: ClassDiskFull, target: target, direct: stated, timing: timingUnrelated, signals: []string{"DiskFull", "ReplicasUnavailable"}, params: map[string]string{},
		last:    link{target, "its Pods use more disk than they may: " + quote(message.Str()), []cite{at(message)}},
		summary: fmt.Sprintf("Pods of %s are evicted because they use more disk than they may.", target),
	}
	for _, v := range pod.At("spec", "volumes").Items() {
		if size := v.At("emptyDir", "sizeLimit"); size.Exists() && strings.Contains(message.Str(), `"`+v.At("name").Str()+`"`) {
			c.direct, c.detail = proven, v.At("name").Str()
			c.last.proof = append(c.last.proof, at(size))
		}
	}
	var via []link
	if s.kind == workloadShort {
		via = []link{{pod.ref, "the kubelet evicted the Pod", []cite{at(pod.At("status", "reason"))}}}
	}
	return []answer{{via: via, cause: c}}
}

// VolumePermission ends at a workload whose container may not use what is mounted into it.
func (catalogue) VolumePermission() rule {
	return rule{
		explains: []symptomKind{containerDying, containerNotReady},
		why: func(q *inquiry, s symptom) []answer {
			mounts := mountsOf(s.object, *s.container)
			for _, line := range q.tail(s) {
				lower := strings.ToLower(line.text)
				denied := strings.Contains(lower, "permission denied") || strings.Contains(lower, "eacces") || strings.Contains(lower, "operation not permitted")
				readOnly := strings.Contains(lower, "read-only file system") || strings.Contains(lower, "erofs")
				m := mountNamed(line.text, mounts)
				if !denied && !readOnly || m == nil {
					continue
				}
				target := q.owner(s.object)
				c := &cause{
					class: ClassVolumePermission, target: target, detail: m.name, direct: stated, timing: timingUnrelated,
					signals: []string{"VolumePermission", "CrashLoopBackOff"}, depends: []string{"Log"}, params: map[string]string{},
					last: link{target, fmt.Sprintf("container %q may not use volume %q at %s", s.container.name, m.name, m.path), []cite{line.cite, at(m.place.At("mountPath"))}},
				}
				if ro := m.place.At("readOnly"); readOnly && ro.Bool() {
					c.direct = proven
					c.last.statement += ", which is mounted read-only"
					c.last.proof = append(c.last.proof, at(ro))
				}
				if denied && m.writable() {
					q.userAndGroup(s, c)
				}
				c.summary = fmt.Sprintf("Container %q of %s fails: it may not use volume %q, mounted at %s.", s.container.name, target, m.name, m.path)
				return []answer{{cause: c}}
			}
			return nil
		},
	}
}

// userAndGroup adds as which user a container runs, and whether its volumes are given to its group.
func (q *inquiry) userAndGroup(s symptom, c *cause) {
	pod := s.object.At("spec", "securityContext")
	user := s.container.spec.At("securityContext", "runAsUser")
	if !user.Exists() {
		user = pod.At("runAsUser")
	}
	if user.Exists() {
		c.last.statement += fmt.Sprintf(", as user %s", user.Text())
		c.last.proof = append(c.last.proof, at(user))
	}
	if group := pod.At("fsGroup"); !group.Exists() && group.Known() {
		c.last.statement += "; the Pod gives its volumes to no group (fsGroup)"
		c.last.proof = append(c.last.proof, at(group))
		if n, ok := user.Int(); ok && n != 0 {
			c.direct = proven
		}
	}
}
