package reason

import (
	"context"
	"slices"
	"sync"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Case is what a model is asked about: an incident, what was read, what the engine made of it, and the
// workflows that may be chosen. Nothing in it is changed.
type Case struct {
	Incident incident.Incident
	Snapshot *diagnose.Snapshot
	Result   diagnose.Result
	// Options are the workflows that selection found admissible, best first; the first is the choice
	// without a model.
	Options []Option
	// Candidates are all that selection considered.
	Candidates []incident.Candidate
}

// Option is an admissible workflow.
type Option struct {
	Workflow incident.SelectedWorkflow // with its parameters filled and its confidence
	Risk     string                    // low, medium or high
	MadeFor  bool                      // it lists the cause's class
}

// Live answers what a snapshot does not. What it returns is bounded, and redacted with the same rules.
type Live interface {
	// Read errs with an *incident.Error when nothing could be read. That something does not exist is no
	// error: Contents.Reads says that it was asked for.
	Read(ctx context.Context, q Question) (diagnose.Contents, error)
}

// Question asks for one object, for the list of a kind when Ref has no name, for the events about Ref, or
// for a container's log.
type Question struct {
	Ref    incident.Ref
	Events bool
	Log    *diagnose.LogNeed
}

// Catalog reads a workflow as the catalog has it; KindNotFound when it has none with that id.
type Catalog interface {
	Workflow(ctx context.Context, id string) (incident.Workflow, error)
}

// History finds earlier analyses of an object, newest first, at most limit.
type History interface {
	Previous(ctx context.Context, target incident.Ref, limit int) ([]Earlier, error)
}

// Earlier is one analysis of the past.
type Earlier struct {
	At         time.Time
	Class      incident.CauseClass
	Summary    string
	Target     string
	WorkflowID string
	Confidence float64
	Reviewed   bool // a person was asked
}

// View is what tools read: a bounded, redacted, read-only picture of one case. It is safe for concurrent
// use.
type View struct {
	Case
	Catalog Catalog // nil when there is none
	History History // nil when there is none

	live Live
	mu   sync.Mutex
	snap *diagnose.Snapshot
	more bool
	asks int
}

// NewView returns the view of a case. live may be nil: then the snapshot is all there is.
func NewView(c Case, live Live) *View { return &View{Case: c, live: live, snap: c.Snapshot} }

// Now returns what has been read so far: the case's snapshot, with what was read live added.
func (v *View) Now() *diagnose.Snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.snap
}

// Extended returns the snapshot with what was read live, or nil when nothing was.
func (v *View) Extended() *diagnose.Snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.more {
		return nil
	}
	return v.snap
}

// maxAsks bounds the live reads of one case.
const maxAsks = 20

// Ask reads what the snapshot lacks, once live reading is possible; it reports whether the snapshot knows
// more now.
func (v *View) Ask(ctx context.Context, q Question) bool {
	v.mu.Lock()
	possible := v.live != nil && v.asks < maxAsks
	if possible {
		v.asks++
	}
	v.mu.Unlock()
	if !possible {
		return false
	}
	read, err := v.live.Read(ctx, q)
	if err != nil || len(read.Objects)+len(read.Events)+len(read.Logs)+len(read.Reads) == 0 {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.snap, v.more = merge(v.snap, read), true
	return true
}

// merge adds to a snapshot what it does not hold. What it holds stays as it was read: evidence points at it.
func merge(snap *diagnose.Snapshot, read diagnose.Contents) *diagnose.Snapshot {
	have := snap.Contents()
	c := diagnose.Contents{
		ObservedAt: have.ObservedAt, Cluster: have.Cluster, Redactions: have.Redactions + read.Redactions,
		Objects: slices.Clone(have.Objects), Events: slices.Clone(have.Events), Logs: slices.Clone(have.Logs),
		Reads: append(slices.Clone(have.Reads), read.Reads...), Gaps: append(slices.Clone(have.Gaps), read.Gaps...),
	}
	known := map[incident.Ref]bool{}
	for _, e := range have.Events {
		known[e.Ref()] = true
	}
	for _, o := range read.Objects {
		if snap.Object(o.Ref()) == nil {
			c.Objects = append(c.Objects, o)
		}
	}
	for _, e := range read.Events {
		if !known[e.Ref()] {
			c.Events = append(c.Events, e)
		}
	}
	for _, l := range read.Logs {
		if snap.Log(l.Pod, l.Container, l.Previous) == nil {
			c.Logs = append(c.Logs, l)
		}
	}
	return diagnose.NewSnapshot(c)
}

// Find returns an object, reading it when it is not in the snapshot and it is not known either that it is
// absent.
func (v *View) Find(ctx context.Context, ref incident.Ref) (*diagnose.Object, diagnose.Knowledge) {
	snap := v.Now()
	if snap.Knows(ref) == diagnose.Unknown && v.Ask(ctx, Question{Ref: ref}) {
		snap = v.Now()
	}
	return snap.Object(ref), snap.Knows(ref)
}
