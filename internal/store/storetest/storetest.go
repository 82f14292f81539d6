// Package storetest is the conformance suite of stores: what holds for every one of them, whatever
// keeps its data.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Store is what the suite tests.
type Store interface {
	AppendEvents(ctx context.Context, events []incident.AuditEvent) ([]incident.StoredEvent, error)
	Event(ctx context.Context, id string) (incident.StoredEvent, error)
	Events(ctx context.Context, q incident.EventQuery) (incident.EventPage, error)
	VerifyChain(ctx context.Context, correlationID string) (incident.ChainReport, error)

	CreateWorkflow(ctx context.Context, w incident.Workflow) (incident.Workflow, error)
	Workflow(ctx context.Context, id string) (incident.Workflow, error)
	WorkflowVersions(ctx context.Context, name string) ([]incident.Workflow, error)
	Workflows(ctx context.Context, f incident.WorkflowFilter) (incident.WorkflowPage, error)
	ChangeWorkflow(ctx context.Context, id string, c incident.WorkflowChange) (incident.Workflow, error)
	SearchWorkflows(ctx context.Context, q incident.WorkflowQuery) (incident.WorkflowSearch, error)

	PutBundle(ctx context.Context, digest string, body []byte) (bool, error)
	Bundle(ctx context.Context, digest string) ([]byte, error)
	AddNotification(ctx context.Context, n incident.Notification) (incident.StoredNotification, error)
	Ping(ctx context.Context) error
}

// Run runs the suite. open returns an empty store that takes the time from clock.
func Run(t *testing.T, open func(t *testing.T, clock func() time.Time) Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s *subject)
	}{
		{"EventsComeBackAsWritten", testEventsComeBack},
		{"EventsAreIdempotent", testIdempotence},
		{"InvalidEventsAreRefusedTogether", testInvalidEvents},
		{"ChainsCountFromOne", testChains},
		{"ConcurrentWritersMakeValidChains", testConcurrentWriters},
		{"ConflictFailsAlone", testConflictFailsAlone},
		{"QueriesFilterAndPage", testQueries},
		{"ParentsAreDated", testParents},
		{"WorkflowsComeBackAsWritten", testWorkflowComesBack},
		{"InvalidWorkflowsAreRefused", testInvalidWorkflow},
		{"LatestFollowsVersionAndStatus", testLatest},
		{"StatusChanges", testStatusChanges},
		{"ExecutionsAreCounted", testExecutions},
		{"ListFiltersAndPages", testWorkflowList},
		{"SearchMatchesLabels", testSearchLabels},
		{"SearchScores", testSearchScores},
		{"SearchTakesAnyText", testSearchAnyText},
		{"CatalogIsAudited", testCatalogAudit},
		{"Bundles", testBundles},
		{"Notifications", testNotifications},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &subject{now: time.Date(2026, 3, 14, 15, 9, 26, 535897932, time.UTC)}
			s.Store = open(t, s.clock)
			if err := s.Ping(t.Context()); err != nil {
				t.Fatalf("Ping: %v", err)
			}
			test.run(t, s)
		})
	}
}

// subject is the store under test and its clock.
type subject struct {
	Store
	mu  sync.Mutex
	now time.Time
}

func (s *subject) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *subject) step(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// Event returns a valid event with only what is required.
func Event(correlationID string, at time.Time) incident.AuditEvent {
	return incident.AuditEvent{
		ID: uuid.NewString(), Version: "1.0", Type: "aianalysis.phase.transition", Timestamp: at, Category: "analysis",
		Action: "transition", Outcome: incident.OutcomeSuccess, CorrelationID: correlationID,
		Data: json.RawMessage(`{"old_phase":"Pending","new_phase":"Investigating"}`),
	}
}

// Workflow returns a valid workflow.
func Workflow(name, version string) incident.Workflow {
	content := fmt.Sprintf("name: %s\nversion: %s\n", name, version)
	return incident.Workflow{
		Name: name, Version: version, Title: "Title of " + name, Description: "What it does", Content: content,
		ContentHash: incident.ContentDigest(content), ExecutionEngine: "tekton", Status: incident.WorkflowActive,
		Labels: incident.WorkflowLabels{
			SignalType: "OOMKilled", Severity: "critical", Component: "pod", Environment: "production", Priority: "P0",
		},
	}
}

// Query returns the query that Workflow matches.
func Query() incident.WorkflowQuery {
	return incident.WorkflowQuery{Labels: Workflow("", "").Labels, TopK: 100}
}

func (s *subject) mustAppend(t *testing.T, events ...incident.AuditEvent) []incident.StoredEvent {
	t.Helper()
	stored, err := s.AppendEvents(t.Context(), events)
	if err != nil {
		t.Fatalf("AppendEvents: %v", err)
	}
	return stored
}

func (s *subject) mustCreate(t *testing.T, w incident.Workflow) incident.Workflow {
	t.Helper()
	created, err := s.CreateWorkflow(t.Context(), w)
	if err != nil {
		t.Fatalf("CreateWorkflow(%s %s): %v", w.Name, w.Version, err)
	}
	return created
}

// total is the number of events in the store.
func (s *subject) total(t *testing.T, q incident.EventQuery) int64 {
	t.Helper()
	page, err := s.Events(t.Context(), q)
	if err != nil {
		t.Fatalf("Events(%+v): %v", q, err)
	}
	return page.Total
}

func (s *subject) mustVerify(t *testing.T, correlationID string, events int64) incident.ChainReport {
	t.Helper()
	report, err := s.VerifyChain(t.Context(), correlationID)
	if err != nil {
		t.Fatalf("VerifyChain(%s): %v", correlationID, err)
	}
	if !report.Valid || report.Events != events {
		t.Fatalf("VerifyChain(%s) = %+v, want %d valid events", correlationID, report, events)
	}
	return report
}

// wantKind fails the test unless err has the kind, and names what, which the error must contain.
func wantKind(t *testing.T, err error, kind incident.ErrorKind, what ...string) {
	t.Helper()
	if got := incident.KindOf(err); got != kind {
		t.Fatalf("error = %v of kind %q, want kind %q", err, got, kind)
	}
	for _, text := range what {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error = %v, want it to name %q", err, text)
		}
	}
}

// wantFields fails the test unless err holds exactly these fields.
func wantFields(t *testing.T, err error, fields ...string) {
	t.Helper()
	wantKind(t, err, incident.KindInvalid)
	var faults incident.FieldErrors
	if !errors.As(err, &faults) {
		t.Fatalf("error = %v of type %T, want it to hold incident.FieldErrors", err, err)
	}
	var got []string
	for _, f := range faults {
		got = append(got, f.Field)
	}
	if strings.Join(got, " ") != strings.Join(fields, " ") {
		t.Errorf("faults in %q, want %q", got, fields)
	}
}
