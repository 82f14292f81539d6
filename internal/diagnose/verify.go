package diagnose

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Verify re-reads every piece of evidence from the snapshot and returns all that do not hold,
// joined; nil when all do. A piece holds when its place exists at the same resource version, the
// text found there equals Value, and SHA256 is its hash; a piece that claims an absence holds when
// the snapshot shows that it was asked for and is not there.
func Verify(snap *Snapshot, evidence []incident.Evidence) error {
	var errs []error
	for _, e := range evidence {
		if err := verifyOne(snap, e); err != nil {
			errs = append(errs, fmt.Errorf("evidence %s (%s %s %s): %w", e.ID, e.Kind, e.Ref, e.Path, err))
		}
	}
	return errors.Join(errs...)
}

func verifyOne(snap *Snapshot, e incident.Evidence) error {
	if got := incident.HashValue(e.Value); got != e.SHA256 {
		return fmt.Errorf("sha256 of the value is %s, not %s", got, e.SHA256)
	}
	switch e.Kind {
	case incident.EvidenceObject, incident.EvidenceMetric:
		return verifyObject(snap, snap.Object(e.Ref), e)
	case incident.EvidenceEvent:
		return verifyObject(snap, snap.eventKey[keyOf(e.Ref)], e)
	case incident.EvidenceLog:
		return verifyLog(snap, e)
	}
	return fmt.Errorf("kind %q cannot be verified", e.Kind)
}

func verifyObject(snap *Snapshot, o *Object, e incident.Evidence) error {
	if o == nil {
		if !e.Absent {
			return errors.New("the snapshot does not hold it")
		}
		if e.Path != "" || e.Value != "" {
			return errors.New("the absence of an object has neither path nor value")
		}
		if snap.Knows(e.Ref) != Absent {
			return errors.New("it is not in the snapshot, but nothing shows that it was asked for")
		}
		return nil
	}
	if e.ResourceVersion != "" && e.ResourceVersion != o.resourceVersion {
		return fmt.Errorf("resource version is %q, not %q", o.resourceVersion, e.ResourceVersion)
	}
	raw, ok := resolve(o.tree, e.Path)
	if e.Absent {
		if ok {
			return errors.New("claimed absent, but it is there")
		}
		if !o.Covers(e.Path) {
			return errors.New("claimed absent, but what is there was not read")
		}
		if e.Value != "" {
			return errors.New("an absent place has no value")
		}
		return nil
	}
	if !ok {
		return errors.New("the path selects nothing")
	}
	if got := textOf(raw); got != e.Value {
		return fmt.Errorf("value is %q, not %q", got, e.Value)
	}
	return nil
}

func verifyLog(snap *Snapshot, e incident.Evidence) error {
	container, rest, _ := strings.Cut(e.Path, "/")
	run, line, _ := strings.Cut(rest, "/")
	if run != "current" && run != "previous" {
		return fmt.Errorf("path %q is not <container>/current/<line> or <container>/previous/<line>", e.Path)
	}
	i, err := strconv.Atoi(line)
	if err != nil {
		return fmt.Errorf("path %q has no line number", e.Path)
	}
	log := snap.Log(e.Ref, container, run == "previous")
	if log == nil || i < 0 || i >= len(log.Lines) {
		return errors.New("the snapshot does not hold that line")
	}
	if e.Absent {
		return errors.New("claimed absent, but it is there")
	}
	if log.Lines[i] != e.Value {
		return fmt.Errorf("line is %q, not %q", log.Lines[i], e.Value)
	}
	return nil
}
