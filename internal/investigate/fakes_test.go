package investigate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"

	starter "kubernaut.ai/kubernaut/deploy/catalog"
)

// cluster is an observer of what it was given.
type cluster struct {
	snapshot *diagnose.Snapshot
	err      error // of the next observation
}

func (c *cluster) Observe(context.Context, incident.Incident) (*diagnose.Snapshot, error) {
	return c.snapshot, c.err
}

// storage is a Data Storage in memory: catalog, bundles, audit trail, each with a knob for failure.
type storage struct {
	workflows []incident.Workflow

	searchErr, workflowErr, bundleErr, auditErr error

	mu      sync.Mutex
	queries []incident.WorkflowQuery
	bundles map[string][]byte
	events  []incident.AuditEvent
}

// starterWorkflows reads the starter catalog once: there is much of it.
var starterWorkflows = sync.OnceValues(func() ([]incident.Workflow, error) {
	documents, err := starter.Documents()
	if err != nil {
		return nil, err
	}
	dir := fstest.MapFS{}
	for name, text := range documents {
		dir[name] = &fstest.MapFile{Data: text}
	}
	workflows, err := catalog.Load(dir)
	for i := range workflows {
		workflows[i].ID = "id-of-" + workflows[i].Name
	}
	return workflows, err
})

// newStorage has the starter catalog.
func newStorage(t testing.TB) *storage {
	t.Helper()
	workflows, err := starterWorkflows()
	if err != nil {
		t.Fatal(err)
	}
	return &storage{workflows: workflows, bundles: map[string][]byte{}}
}

func (s *storage) SearchWorkflows(_ context.Context, q incident.WorkflowQuery) ([]incident.WorkflowMatch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = append(s.queries, q)
	if s.searchErr != nil {
		return nil, s.searchErr
	}
	matches := func(has, want string) bool { return has == incident.Wildcard || has == want }
	var out []incident.WorkflowMatch
	for _, w := range s.workflows {
		l := w.Labels
		if !strings.EqualFold(l.SignalType, q.Labels.SignalType) || !matches(l.Severity, q.Labels.Severity) ||
			!matches(l.Component, q.Labels.Component) || !matches(l.Environment, q.Labels.Environment) || !matches(l.Priority, q.Labels.Priority) {
			continue
		}
		score := 0.9
		if slices.ContainsFunc(q.CustomLabels[incident.LabelCauses], func(c string) bool { return slices.Contains(w.CustomLabels[incident.LabelCauses], c) }) {
			score = 1
		}
		out = append(out, incident.WorkflowMatch{
			WorkflowID: w.ID, Title: w.Title, SignalType: l.SignalType, ContainerImage: w.ContainerImage, ContainerDigest: w.ContainerDigest, Score: score,
		})
	}
	slices.SortStableFunc(out, func(a, b incident.WorkflowMatch) int { return int(100 * (b.Score - a.Score)) })
	return out[:min(len(out), q.TopK)], nil
}

func (s *storage) Workflow(_ context.Context, id string) (incident.Workflow, error) {
	if s.workflowErr != nil {
		return incident.Workflow{}, s.workflowErr
	}
	for _, w := range s.workflows {
		if w.ID == id {
			return w, nil
		}
	}
	return incident.Workflow{}, incident.Errorf(incident.KindNotFound, "get workflow", "none with this id")
}

func (s *storage) PutBundle(_ context.Context, digest string, body []byte) error {
	if s.bundleErr != nil {
		return s.bundleErr
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bundles[digest] = body
	return nil
}

func (s *storage) RecordAll(_ context.Context, events ...incident.AuditEvent) error {
	if s.auditErr != nil {
		return s.auditErr
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, events...)
	return nil
}

func (s *storage) types() []string {
	var out []string
	for _, e := range s.events {
		out = append(out, e.Type)
	}
	return out
}

// encode stands in for the bundle format, which is not this package's.
func encode(*diagnose.Snapshot) ([]byte, string, error) {
	body := []byte("bundle")
	sum := sha256.Sum256(body)
	return body, "sha256:" + hex.EncodeToString(sum[:]), nil
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func pipeline(t testing.TB, c *cluster, s *storage) *Pipeline {
	t.Helper()
	p, err := New(Options{Observer: c, Catalog: s, Bundles: s, Audit: s, Encode: encode, Clock: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
