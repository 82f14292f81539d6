package diagnose

import (
	"slices"
	"strconv"

	"kubernaut.ai/kubernaut/internal/incident"
)

// cite is a piece of evidence that has no id yet.
type cite struct {
	kind            incident.EvidenceKind
	ref             incident.Ref
	resourceVersion string
	path            string
	value           string
	absent          bool
	unread          bool // nothing is there, and nothing shows that it was read
}

// at cites what is found at a place; when nothing is there, that nothing is there.
func at(v Value) cite {
	c := cite{kind: incident.EvidenceObject, ref: v.object.ref, resourceVersion: v.object.resourceVersion, path: v.Path(), value: v.Text(), absent: !v.ok}
	c.unread = !v.Known()
	if v.object.ref.Kind == "Event" {
		c.kind = incident.EvidenceEvent
	}
	if isMetric(v.object.ref) {
		c.kind = incident.EvidenceMetric
	}
	return c
}

// restsOnUnread reports whether the answer claims that something is absent which may merely not have been read.
func (a answer) restsOnUnread() bool {
	unread := func(l link) bool { return slices.ContainsFunc(l.proof, func(c cite) bool { return c.unread }) }
	if slices.ContainsFunc(a.via, unread) {
		return true
	}
	return a.cause != nil && unread(a.cause.last) || a.next != nil && unread(a.next.link)
}

// event cites the message of an event.
func event(ev *Object) cite { return at(eventText(ev)) }

// exists cites an object's presence by its name.
func exists(o *Object) cite { return at(o.At("metadata", "name")) }

// gone cites that an object was asked for and is not there. Knows(ref) must be Absent.
func gone(ref incident.Ref) cite {
	ref.UID = ""
	return cite{kind: incident.EvidenceObject, ref: ref, absent: true}
}

// logLine cites one line of an excerpt.
func logLine(l *Log, i int) cite {
	run := "current"
	if l.Previous {
		run = "previous"
	}
	return cite{kind: incident.EvidenceLog, ref: l.Pod, path: l.Container + "/" + run + "/" + strconv.Itoa(i), value: l.Lines[i]}
}

// ledger gives evidence its ids, in the order of first use.
type ledger struct {
	snap *Snapshot
	ids  map[cite]string
	list []incident.Evidence
}

func newLedger(snap *Snapshot) *ledger { return &ledger{snap: snap, ids: map[cite]string{}} }

func (l *ledger) enter(cites []cite) []string {
	if len(cites) == 0 {
		return nil
	}
	ids := make([]string, 0, len(cites))
	seen := map[string]bool{}
	for _, c := range cites {
		if c.unread {
			continue
		}
		id, ok := l.ids[c]
		if !ok {
			id = "e" + strconv.Itoa(len(l.list)+1)
			l.ids[c] = id
			l.list = append(l.list, incident.Evidence{
				ID: id, Kind: c.kind, Ref: c.ref, ResourceVersion: c.resourceVersion, Path: c.path, Value: c.value,
				Absent: c.absent, ObservedAt: l.snap.ObservedAt(), SHA256: incident.HashValue(c.value),
			})
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}
