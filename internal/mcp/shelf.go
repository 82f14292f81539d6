package mcp

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
)

// analysis is a case that tools read, and the ids of its evidence.
type analysis struct {
	id      string
	reading Reading
	view    *reason.View

	mu     sync.Mutex
	ledger *reason.Ledger
	handed int // pieces of evidence, at most as many as the ledger holds beyond the engine's
}

// render writes what a tool found, and tells which of its texts look like orders.
func (a *analysis) render(o reason.Output, limit int) (text string, suspicious []incident.Suspicion, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.handed >= maxHandedOut {
		return "", nil, incident.Errorf(incident.KindTooLarge, "read analysis "+a.id, "it has handed out %d pieces of evidence: analyze again", a.handed)
	}
	text, ids := reason.Render(o, a.ledger, limit)
	a.handed += len(ids)
	for _, id := range ids {
		if e, ok := a.ledger.Find(id); ok {
			suspicious = suspect(suspicious, e)
		}
	}
	return text, suspicious, nil
}

// find returns the evidence with an id.
func (a *analysis) find(id string) (incident.Evidence, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ledger.Find(id)
}

// maxSuspicions bounds what is reported of one result.
const maxSuspicions = 10

func suspect(list []incident.Suspicion, e incident.Evidence) []incident.Suspicion {
	if e.Absent || len(list) == maxSuspicions {
		return list
	}
	if rule := reason.Suspect(e.Value); rule != "" {
		list = append(list, incident.Suspicion{Evidence: e.ID, Place: say(e.Ref.String()+" "+e.Path, 300), Rule: rule})
	}
	return list
}

// everyNamespace is what tools take for all of them.
const everyNamespace = "*"

// covers reports whether an analysis can tell anything about a namespace.
func (a *analysis) covers(namespace string) bool {
	if namespace == "" || namespace == everyNamespace || a.reading.Case.Incident.Resource.Same(diagnose.WholeCluster) {
		return true
	}
	c := a.view.Now().Contents()
	return slices.ContainsFunc(c.Reads, func(r diagnose.Read) bool { return r.Namespace == namespace }) ||
		slices.ContainsFunc(c.Objects, func(o *diagnose.Object) bool { return o.Ref().Namespace == namespace })
}

// shelf keeps the last analyses.
type shelf struct {
	source  Source
	catalog reason.Catalog
	history reason.History
	reading chan struct{} // holds one token: who has it may read

	mu   sync.Mutex
	kept []*analysis // oldest first
	last int
}

func newShelf(o Options) shelf {
	return shelf{source: o.Source, catalog: o.Catalog, history: o.History, reading: make(chan struct{}, 1)}
}

// read answers a question anew. One does so at a time: a cluster is asked gently, and memory is bounded.
func (s *shelf) read(ctx context.Context, q Question) (*analysis, error) {
	release, err := s.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return s.readNow(ctx, q)
}

// turn waits until nobody else reads.
func (s *shelf) turn(ctx context.Context) (release func(), err error) {
	select {
	case s.reading <- struct{}{}:
		return func() { <-s.reading }, nil
	case <-ctx.Done():
		return nil, incident.Errorf(incident.KindTimeout, analyzeName, "others are reading: %w", ctx.Err())
	}
}

func (s *shelf) readNow(ctx context.Context, q Question) (*analysis, error) {
	reading, err := s.source.Read(ctx, q)
	if err != nil {
		return nil, err
	}
	view := reason.NewView(reading.Case, nil)
	view.Catalog, view.History = s.catalog, s.history
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	a := &analysis{id: "a" + strconv.Itoa(s.last), reading: reading, view: view, ledger: reason.NewLedger(reading.Case.Result.Evidence)}
	s.kept = append(s.kept, a)
	if len(s.kept) > KeptAnalyses {
		s.kept = slices.Delete(s.kept, 0, len(s.kept)-KeptAnalyses)
	}
	return a, nil
}

// get returns the analysis with an id; KindNotFound when it is not kept.
func (s *shelf) get(id string) (*analysis, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, a := range s.kept {
		if a.id == id {
			return a, nil
		}
		ids = append(ids, a.id)
	}
	if len(ids) == 0 {
		return nil, incident.Errorf(incident.KindNotFound, "find the analysis", "there is none yet: call analyze")
	}
	return nil, incident.Errorf(incident.KindNotFound, "find the analysis", "there is no %q; there are %s", say(id, 40), strings.Join(ids, ", "))
}

// latest returns the last analysis that covers a namespace; nil when none does.
func (s *shelf) latest(namespace string) *analysis {
	s.mu.Lock()
	kept := slices.Clone(s.kept)
	s.mu.Unlock()
	for _, a := range slices.Backward(kept) {
		if a.covers(namespace) {
			return a
		}
	}
	return nil
}

// choose returns the analysis with an id, without one the latest that covers a namespace, which is read when
// there is none.
func (s *shelf) choose(ctx context.Context, id, namespace string) (*analysis, error) {
	if id != "" {
		return s.get(id)
	}
	if a := s.latest(namespace); a != nil {
		return a, nil
	}
	release, err := s.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if a := s.latest(namespace); a != nil { // somebody else has read it meanwhile
		return a, nil
	}
	if namespace == everyNamespace {
		return s.readNow(ctx, Question{AllNamespaces: true})
	}
	return s.readNow(ctx, Question{Namespace: namespace})
}
