package storetest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/gowebpki/jcs"

	"kubernaut.ai/kubernaut/internal/incident"
)

func testEventsComeBack(t *testing.T, s *subject) {
	bare := Event("rr-1", s.clock())
	bare.ID = ""
	duration := int64(0)
	full := incident.AuditEvent{
		ID: strings.ToUpper(uuid.NewString()), Version: strings.Repeat("v", 20), Type: strings.Repeat("t", 100),
		Timestamp: time.Date(1999, 12, 31, 23, 59, 59, 123456789, time.FixedZone("", 3600)), Category: "workflow_catalog",
		Action: strings.Repeat("ä", 50), Outcome: incident.OutcomePending, CorrelationID: strings.Repeat("c", 255),
		ActorType: "user", ActorID: "jane", ResourceType: "Pod", ResourceID: "shop/\"cart\"\\x", ParentID: uuid.NewString(),
		Namespace: "shop", ClusterName: "eu-1", Severity: "critical", DurationMS: &duration,
		Data: json.RawMessage(` { "z" : 1.0, "a" : ["\u00e9", 1e3, null], "b" : "\u0000" } `),
	}
	stored := s.mustAppend(t, bare, full)

	if !incident.ValidUUID(stored[0].ID) || stored[0].ID[14] != '7' {
		t.Errorf("id given by the store = %q, want a UUID of version 7", stored[0].ID)
	}
	wantBare := bare
	wantBare.ID = stored[0].ID
	wantBare.ActorType, wantBare.ActorID, wantBare.ResourceType, wantBare.ResourceID, wantBare.Severity =
		"service", "analysis-service", "analysis", "rr-1", "info"
	wantBare.Data = json.RawMessage(`{"new_phase":"Investigating","old_phase":"Pending"}`)
	wantFull := full
	wantFull.ID = strings.ToLower(full.ID)
	wantFull.Timestamp = full.Timestamp.UTC()
	wantFull.Data = json.RawMessage(`{"a":["é",1000,null],"b":"\u0000","z":1}`)
	for i, want := range []incident.AuditEvent{wantBare, wantFull} {
		if diff := cmp.Diff(want, stored[i].AuditEvent); diff != "" {
			t.Errorf("event %d as stored (-want +got):\n%s", i, diff)
		}
		got, err := s.Event(t.Context(), strings.ToUpper(want.ID))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(stored[i], got); diff != "" {
			t.Errorf("event %d as read (-stored +read):\n%s", i, diff)
		}
	}
	_, err := s.Event(t.Context(), uuid.NewString())
	wantKind(t, err, incident.KindNotFound)
}

func testIdempotence(t *testing.T, s *subject) {
	a, b, c := Event("rr-1", s.clock()), Event("rr-1", s.clock()), Event("rr-1", s.clock())
	first := s.mustAppend(t, a, b)
	s.step(time.Hour)
	// The same again, in another order, spelling and company, and twice in one batch.
	a.ID = strings.ToUpper(a.ID)
	a.Data = json.RawMessage(`{"new_phase":"Investigating", "old_phase":"Pending"}`)
	a.Severity = "info" // the default, spelled out
	again := s.mustAppend(t, b, c, a, c)
	for i, want := range []incident.StoredEvent{first[1], again[1], first[0], again[1]} {
		if diff := cmp.Diff(want, again[i]); diff != "" {
			t.Errorf("event %d of the repetition (-want +got):\n%s", i, diff)
		}
	}
	s.mustVerify(t, "rr-1", 3)

	changed := b
	changed.Action = "changed"
	_, err := s.AppendEvents(t.Context(), []incident.AuditEvent{Event("rr-1", s.clock()), changed})
	wantKind(t, err, incident.KindConflict, b.ID)
	moved := b
	moved.CorrelationID = "rr-2"
	_, err = s.AppendEvents(t.Context(), []incident.AuditEvent{moved})
	wantKind(t, err, incident.KindConflict, b.ID)
	x, y := Event("rr-3", s.clock()), Event("rr-3", s.clock())
	y.ID, y.Action = x.ID, "other"
	_, err = s.AppendEvents(t.Context(), []incident.AuditEvent{x, y})
	wantKind(t, err, incident.KindConflict, x.ID)
	if got := s.total(t, incident.EventQuery{}); got != 3 {
		t.Errorf("%d events after conflicts, want 3", got)
	}
}

func testInvalidEvents(t *testing.T, s *subject) {
	bad := func(change func(e *incident.AuditEvent)) incident.AuditEvent {
		e := Event("rr-1", s.clock())
		change(&e)
		return e
	}
	tests := []struct {
		name   string
		event  incident.AuditEvent
		fields []string
	}{
		{"id", bad(func(e *incident.AuditEvent) { e.ID = "1" }), []string{"event_id"}},
		{"version", bad(func(e *incident.AuditEvent) { e.Version = strings.Repeat("1", 21) }), []string{"version"}},
		{"type", bad(func(e *incident.AuditEvent) { e.Type = "" }), []string{"event_type"}},
		{"future", bad(func(e *incident.AuditEvent) { e.Timestamp = s.clock().Add(5*time.Minute + 1) }), []string{"event_timestamp"}},
		{"no time", bad(func(e *incident.AuditEvent) { e.Timestamp = time.Time{} }), []string{"event_timestamp"}},
		{"category", bad(func(e *incident.AuditEvent) { e.Category = "secret" }), []string{"event_category"}},
		{"action", bad(func(e *incident.AuditEvent) { e.Action = strings.Repeat("a", 51) }), []string{"event_action"}},
		{"outcome", bad(func(e *incident.AuditEvent) { e.Outcome = "maybe" }), []string{"event_outcome"}},
		{"correlation", bad(func(e *incident.AuditEvent) { e.CorrelationID = "a\x00b" }), []string{"correlation_id"}},
		{"actor", bad(func(e *incident.AuditEvent) { e.ActorType = "\xff" }), []string{"actor_type"}},
		{"parent", bad(func(e *incident.AuditEvent) { e.ParentID = "parent" }), []string{"parent_event_id"}},
		{"data is an array", bad(func(e *incident.AuditEvent) { e.Data = json.RawMessage(`[]`) }), []string{"event_data"}},
		{"data is cut", bad(func(e *incident.AuditEvent) { e.Data = json.RawMessage(`{"a":`) }), []string{"event_data"}},
		{"data repeats a name", bad(func(e *incident.AuditEvent) { e.Data = json.RawMessage(`{"a":1,"a":2}`) }), []string{"event_data"}},
		{"data has too large a number", bad(func(e *incident.AuditEvent) { e.Data = json.RawMessage(`{"a":1e999}`) }), []string{"event_data"}},
		{"no data", bad(func(e *incident.AuditEvent) { e.Data = nil }), []string{"event_data"}},
		{"several", bad(func(e *incident.AuditEvent) { e.Type, e.Outcome = "", "" }), []string{"event_type", "event_outcome"}},
	}
	for _, tt := range tests {
		_, err := s.AppendEvents(t.Context(), []incident.AuditEvent{tt.event})
		t.Run(tt.name, func(t *testing.T) { wantFields(t, err, tt.fields...) })
	}
	_, err := s.AppendEvents(t.Context(), []incident.AuditEvent{Event("rr-1", s.clock()), tests[0].event, tests[16].event})
	wantFields(t, err, "[1].event_id", "[2].event_type", "[2].event_outcome")
	if got := s.total(t, incident.EventQuery{}); got != 0 {
		t.Errorf("%d events stored of invalid requests, want 0", got)
	}
	s.mustAppend(t, bad(func(e *incident.AuditEvent) { e.Timestamp = s.clock().Add(5 * time.Minute) }))
}

func testChains(t *testing.T, s *subject) {
	_, err := s.VerifyChain(t.Context(), "rr-1")
	wantKind(t, err, incident.KindNotFound)
	var one []incident.StoredEvent
	for range 3 {
		stored := s.mustAppend(t, Event("rr-1", s.clock()), Event("rr-2", s.clock()), Event("rr-1", s.clock()))
		one = append(one, stored[0], stored[2])
		s.step(time.Second)
	}
	prev := ""
	for i, e := range one {
		if e.Sequence != int64(i+1) || e.PrevHash != prev {
			t.Errorf("event %d has sequence %d and previous hash %q, want %d and %q", i, e.Sequence, e.PrevHash, i+1, prev)
		}
		if got := independentHash(t, e); got != e.Hash {
			t.Errorf("hash of event %d = %s, but recomputed from its members it is %s", i, e.Hash, got)
		}
		prev = e.Hash
	}
	if report := s.mustVerify(t, "rr-1", 6); report.Head != prev {
		t.Errorf("head = %s, want %s", report.Head, prev)
	}
	s.mustVerify(t, "rr-2", 3)
}

// independentHash recomputes a hash as the API documents it, with another canonicalizer.
func independentHash(t *testing.T, e incident.StoredEvent) string {
	t.Helper()
	members := map[string]any{
		"actor_id": e.ActorID, "actor_type": e.ActorType, "correlation_id": e.CorrelationID, "event_action": e.Action,
		"event_category": e.Category, "event_data": e.Data, "event_id": e.ID, "event_outcome": e.Outcome,
		"event_timestamp": e.Timestamp, "event_type": e.Type, "prev_hash": e.PrevHash, "resource_id": e.ResourceID,
		"resource_type": e.ResourceType, "sequence": e.Sequence, "severity": e.Severity, "stored_at": e.StoredAt,
		"version": e.Version,
	}
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = jcs.Transform(text); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func testConcurrentWriters(t *testing.T, s *subject) {
	const writers, rounds, chains = 32, 20, 3
	var wg sync.WaitGroup
	errs := make(chan error, writers)
	for w := range writers {
		wg.Go(func() {
			for r := range rounds {
				batch := make([]incident.AuditEvent, 1+(w+r)%3)
				for i := range batch {
					batch[i] = Event(fmt.Sprintf("rr-%d", (w+r+i)%chains), s.clock())
				}
				_, err := s.AppendEvents(t.Context(), batch)
				if err == nil && r%5 == 0 { // a client that did not see the answer
					_, err = s.AppendEvents(t.Context(), batch)
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
	want := 0
	for w := range writers {
		for r := range rounds {
			want += 1 + (w+r)%3
		}
	}
	var got int64
	for c := range chains {
		report, err := s.VerifyChain(t.Context(), fmt.Sprintf("rr-%d", c))
		if err != nil || !report.Valid {
			t.Fatalf("VerifyChain = %+v, %v", report, err)
		}
		got += report.Events
	}
	if got != int64(want) {
		t.Errorf("%d events stored, want %d", got, want)
	}
}

func testConflictFailsAlone(t *testing.T, s *subject) {
	known := Event("rr-1", s.clock())
	s.mustAppend(t, known)
	const writers = 16
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			e := Event("rr-1", s.clock())
			if w%2 == 0 {
				e.ID, e.Action = known.ID, "changed"
			}
			_, errs[w] = s.AppendEvents(t.Context(), []incident.AuditEvent{e})
		})
	}
	wg.Wait()
	for w, err := range errs {
		if w%2 == 0 {
			wantKind(t, err, incident.KindConflict)
		} else if err != nil {
			t.Errorf("writer %d, which had no conflict: %v", w, err)
		}
	}
	s.mustVerify(t, "rr-1", 1+writers/2)
}

func testQueries(t *testing.T, s *subject) {
	start := s.clock()
	for i := range 60 {
		e := Event(fmt.Sprintf("rr-%d", i%2), start.Add(time.Duration(i/2)*time.Minute-time.Hour))
		e.ID = fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		if i%3 == 0 {
			e.Type, e.Category, e.Outcome, e.Severity = "llm_request", "workflow", incident.OutcomeFailure, "high"
		}
		s.mustAppend(t, e)
	}
	tests := []struct {
		name  string
		query incident.EventQuery
		total int64
	}{
		{"all", incident.EventQuery{}, 60},
		{"correlation", incident.EventQuery{CorrelationID: "rr-1"}, 30},
		{"type", incident.EventQuery{Type: "llm_request"}, 20},
		{"category", incident.EventQuery{Category: "workflow"}, 20},
		{"outcome", incident.EventQuery{Outcome: incident.OutcomeSuccess}, 40},
		{"severity", incident.EventQuery{Severity: "high"}, 20},
		{"combined", incident.EventQuery{CorrelationID: "rr-0", Severity: "high"}, 10},
		{"since, inclusive", incident.EventQuery{Since: start.Add(-50 * time.Minute)}, 40},
		{"until, inclusive", incident.EventQuery{Until: start.Add(-50 * time.Minute)}, 22},
		{"nothing", incident.EventQuery{CorrelationID: "rr-0' OR '1'='1"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			page, err := s.Events(t.Context(), tt.query)
			if err != nil {
				t.Fatal(err)
			}
			if page.Total != tt.total || len(page.Events) != min(int(tt.total), 50) || page.Limit != 50 || page.HasMore() != (tt.total > 50) {
				t.Errorf("total %d, %d events, limit %d, more %v, want total %d", page.Total, len(page.Events), page.Limit, page.HasMore(), tt.total)
			}
		})
	}
	var ids []string
	for offset := 0; ; offset += 7 {
		page, err := s.Events(t.Context(), incident.EventQuery{Limit: 7, Offset: offset})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			ids = append(ids, e.ID)
		}
		if !page.HasMore() {
			break
		}
	}
	for i, id := range ids {
		if want := fmt.Sprintf("00000000-0000-4000-8000-%012d", 59-i); id != want {
			t.Fatalf("event %d of all pages is %s, want %s (newest first, then by id)", i, id, want)
		}
	}
	if len(ids) != 60 {
		t.Errorf("pages hold %d events, want 60", len(ids))
	}
	_, err := s.Events(t.Context(), incident.EventQuery{Limit: 1001, Offset: -1})
	wantFields(t, err, "limit", "offset")
}

func testParents(t *testing.T, s *subject) {
	parent := Event("rr-1", s.clock().Add(-48*time.Hour))
	child, orphan := Event("rr-1", s.clock()), Event("rr-1", s.clock())
	child.ParentID, orphan.ParentID = parent.ID, uuid.NewString()
	s.mustAppend(t, parent, child, orphan)
	page, err := s.Events(t.Context(), incident.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Events {
		want := time.Time{}
		if e.ID == child.ID {
			want = parent.Timestamp.Truncate(time.Microsecond)
		}
		if !e.ParentAt.Equal(want) {
			t.Errorf("ParentAt of %s = %v, want %v", e.ID, e.ParentAt, want)
		}
	}
}

func testBundles(t *testing.T, s *subject) {
	body := []byte{0, 1, 2, '\'', 0xff, '{', '}'}
	sum := sha256.Sum256(body)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	_, err := s.Bundle(t.Context(), digest)
	wantKind(t, err, incident.KindNotFound)
	for _, want := range []bool{true, false} {
		created, err := s.PutBundle(t.Context(), digest, body)
		if err != nil || created != want {
			t.Errorf("PutBundle = %v, %v, want %v", created, err, want)
		}
	}
	got, err := s.Bundle(t.Context(), digest)
	if err != nil || string(got) != string(body) {
		t.Errorf("Bundle = %v, %v, want %v", got, err, body)
	}
	for _, wrong := range []string{"", "sha256:", "sha256:" + strings.Repeat("0", 64), strings.ToUpper(digest)} {
		_, err = s.PutBundle(t.Context(), wrong, body)
		wantFields(t, err, "digest")
	}
}

func testNotifications(t *testing.T, s *subject) {
	n := incident.Notification{
		ID: "n-1", RemediationID: "rr-1", Recipient: "#ops", Channel: "slack", Summary: "it's down", Status: "sent", SentAt: s.clock(),
	}
	stored, err := s.AddNotification(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	want := n
	want.SentAt = n.SentAt.Truncate(time.Microsecond)
	if diff := cmp.Diff(want, stored.Notification); diff != "" || stored.Number == 0 || stored.CreatedAt.IsZero() {
		t.Errorf("stored %+v (-want +got):\n%s", stored, diff)
	}
	_, err = s.AddNotification(t.Context(), n)
	wantKind(t, err, incident.KindConflict)
	n.ID = "n-2"
	if again, err := s.AddNotification(t.Context(), n); err != nil || again.Number <= stored.Number {
		t.Errorf("second record = %+v, %v, want a greater number than %d", again, err, stored.Number)
	}
}
