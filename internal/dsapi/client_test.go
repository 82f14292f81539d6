package dsapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/dsapi"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/store/storetest"
)

func newClient(t testing.TB, url string) *dsapi.Client {
	t.Helper()
	c, err := dsapi.NewClient(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantKind(t testing.TB, err error, kind incident.ErrorKind) {
	t.Helper()
	if got := incident.KindOf(err); got != kind {
		t.Errorf("error = %v of kind %q, want kind %q", err, got, kind)
	}
}

func TestClientEvents(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s.http.URL+"/")
	ctx := t.Context()
	duration := int64(7)
	full := storetest.Event("rr-1", now.Add(-time.Minute))
	full.ActorType, full.ActorID, full.ResourceType, full.ResourceID = "user", "jane", "Pod", "shop/cart"
	full.Namespace, full.ClusterName, full.Severity, full.DurationMS = "shop", "eu", "high", &duration
	bare := storetest.Event("rr-1", now)
	bare.ParentID = full.ID
	for range 2 { // the second time nothing is stored
		if err := c.WriteEvents(ctx, []incident.AuditEvent{full, bare}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.WriteEvents(ctx, nil); err != nil {
		t.Errorf("WriteEvents of none = %v", err)
	}
	page, err := c.QueryEvents(ctx, dsapi.EventQuery{
		CorrelationID: "rr-1", Type: full.Type, Category: "analysis", Outcome: incident.OutcomeSuccess, Severity: "high",
		Since: now.Add(-time.Hour), Until: now, Limit: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := s.store.Event(ctx, full.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := dsapi.EventPage{Events: []incident.StoredEvent{stored}, Limit: 10, Total: 1}
	if diff := cmp.Diff(want, page); diff != "" {
		t.Errorf("QueryEvents (-want +got):\n%s", diff)
	}
	report, err := c.VerifyChain(ctx, "rr-1")
	if err != nil || !report.Valid || report.Events != 2 || report.CorrelationID != "rr-1" {
		t.Errorf("VerifyChain = %+v, %v", report, err)
	}
	_, err = c.VerifyChain(ctx, "no such")
	wantKind(t, err, incident.KindNotFound)
	full.Action = "other"
	wantKind(t, c.WriteEvents(ctx, []incident.AuditEvent{full}), incident.KindConflict)
	bad := storetest.Event("rr-1", now)
	bad.Outcome = "maybe"
	wantKind(t, c.WriteEvents(ctx, []incident.AuditEvent{bad}), incident.KindInvalid)
	bad.Data = []byte("{")
	wantKind(t, c.WriteEvents(ctx, []incident.AuditEvent{bad}), incident.KindInvalid)
	many := make([]incident.AuditEvent, 5001)
	for i := range many {
		many[i] = storetest.Event("rr-1", now)
	}
	wantKind(t, c.WriteEvents(ctx, many), incident.KindTooLarge)
	if err := c.WriteEvents(ctx, many[:5000]); err != nil {
		t.Errorf("WriteEvents of 5000 = %v", err)
	}
	if err := c.Ready(ctx); err != nil {
		t.Errorf("Ready = %v", err)
	}
	s.Drain()
	err = c.Ready(ctx)
	wantKind(t, err, incident.KindUnavailable)
	if !strings.Contains(err.Error(), "shutting_down") {
		t.Errorf("Ready of a draining server = %v, want it to say why", err)
	}
}

func TestClientWorkflows(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s.http.URL)
	ctx := t.Context()
	least, most, rate, seconds := 1, 9.0, 0.5, 60
	at := now.Add(-time.Hour)
	in := storetest.Workflow("fix/oom ü", "1.0.0")
	in.Owner, in.Maintainer, in.ContainerImage, in.CreatedBy = "sre", "sre@example.com", "registry.example.com/a:1", "jane"
	in.ApprovedBy, in.ApprovedAt, in.ExpectedSuccessRate, in.ExpectedDurationSeconds = "joe", &at, &rate, &seconds
	in.CustomLabels = map[string][]string{incident.LabelCauses: {"oom-limit"}}
	in.DetectedLabels = incident.WorkflowTraits{GitOpsManaged: true, GitOpsTool: "*", ServiceMesh: "istio", PDBProtected: true}
	in.Parameters = []incident.Parameter{
		{Name: "NAMESPACE", Type: "string", Required: true, MinLength: &least, Pattern: "^[a-z]+$", Description: "where"},
		{Name: "FACTOR", Type: "float", Maximum: &most, Default: "1.5"},
	}
	created, err := c.CreateWorkflow(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := s.store.Workflow(ctx, created.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(stored, created); diff != "" {
		t.Errorf("CreateWorkflow (-stored +got):\n%s", diff)
	}
	if diff := cmp.Diff(in.Parameters, created.Parameters); diff != "" {
		t.Errorf("parameters (-sent +got):\n%s", diff)
	}
	_, err = c.CreateWorkflow(ctx, in)
	wantKind(t, err, incident.KindConflict)
	got, err := c.Workflow(ctx, created.ID)
	if err != nil || !cmp.Equal(created, got) {
		t.Errorf("Workflow = %+v, %v", got, err)
	}
	for _, unknown := range []string{uuid.NewString(), "fix-oom", "", "../audit/events"} {
		_, err := c.Workflow(ctx, unknown)
		wantKind(t, err, incident.KindNotFound)
	}
	q := storetest.Query()
	q.DetectedLabels, q.CustomLabels, q.TopK = in.DetectedLabels, in.CustomLabels, 5
	q.DetectedLabels.GitOpsTool = "flux"
	direct, err := s.store.SearchWorkflows(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	matches, err := c.SearchWorkflows(ctx, q)
	if err != nil || len(matches) != 1 {
		t.Fatalf("SearchWorkflows = %+v, %v", matches, err)
	}
	if diff := cmp.Diff(direct.Matches, matches); diff != "" {
		t.Errorf("SearchWorkflows (-store +client):\n%s", diff)
	}
	page, err := c.ListWorkflows(ctx, incident.WorkflowFilter{Status: incident.WorkflowActive, Environment: "production", Limit: 3})
	if want := (incident.WorkflowPage{Workflows: []incident.Workflow{created}, Limit: 3, Total: 1}); err != nil || !cmp.Equal(want, page) {
		t.Errorf("ListWorkflows = %v\n%s", err, cmp.Diff(want, page))
	}
	versions, err := c.WorkflowVersions(ctx, in.Name)
	if err != nil || !cmp.Equal([]incident.Workflow{created}, versions) {
		t.Errorf("WorkflowVersions = %+v, %v", versions, err)
	}
	counted, err := c.ChangeWorkflow(ctx, created.ID, incident.WorkflowChange{Executions: &incident.WorkflowExecutions{Total: 4, Successful: 3}})
	if err != nil || counted.TotalExecutions != 4 || counted.SuccessfulExecutions != 3 || counted.ActualSuccessRate == nil || *counted.ActualSuccessRate != 0.75 {
		t.Errorf("ChangeWorkflow of the counts = %+v, %v", counted, err)
	}
	changed, err := c.ChangeWorkflow(ctx, created.ID, incident.WorkflowChange{Status: incident.WorkflowDisabled, By: "jane", Reason: "broken"})
	if err != nil || changed.DisabledBy != "jane" || changed.DisabledReason != "broken" || changed.DisabledAt == nil {
		t.Errorf("ChangeWorkflow = %+v, %v", changed, err)
	}
	_, err = c.ChangeWorkflow(ctx, uuid.NewString(), incident.WorkflowChange{Status: incident.WorkflowActive})
	wantKind(t, err, incident.KindNotFound)
}

func TestClientBundles(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s.http.URL)
	body, digest := []byte(`{"a":1}`), "sha256:015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
	_, err := c.Bundle(t.Context(), digest)
	wantKind(t, err, incident.KindNotFound)
	for range 2 {
		if err := c.PutBundle(t.Context(), digest, body); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Bundle(t.Context(), digest)
	if err != nil || string(got) != string(body) {
		t.Errorf("Bundle = %q, %v", got, err)
	}
	wantKind(t, c.PutBundle(t.Context(), digest, []byte("other")), incident.KindInvalid)
}

// TestClientErrors calls servers that do everything but what they should.
func TestClientErrors(t *testing.T) {
	problem := func(status int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"type":"x","title":"Title %d","status":%d,"detail":"the detail"}`, status, status)
		}
	}
	text := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		kind    incident.ErrorKind
		status  int
		retry   time.Duration
		detail  string
	}{
		{"400", problem(400), incident.KindInvalid, 400, 0, "the detail"},
		{"401", problem(401), incident.KindUnauthorized, 401, 0, "Title 401"},
		{"403", problem(403), incident.KindForbidden, 403, 0, ""},
		{"404", problem(404), incident.KindNotFound, 404, 0, ""},
		{"409", problem(409), incident.KindConflict, 409, 0, ""},
		{"413", problem(413), incident.KindTooLarge, 413, 0, ""},
		{"422", problem(422), incident.KindInvalid, 422, 0, ""},
		{"429 with seconds", problem(429, "Retry-After", "7"), incident.KindRateLimited, 429, 7 * time.Second, ""},
		{"429 for ever", problem(429, "Retry-After", "999999999999999"), incident.KindRateLimited, 429, time.Hour, ""},
		{"503 in the past", problem(503, "Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"), incident.KindUnavailable, 503, 0, ""},
		{"503 of a proxy", text(503, "text/html", "<html>"), incident.KindUnavailable, 503, 0, "Service Unavailable"},
		{"500", problem(500), incident.KindInternal, 500, 0, ""},
		{"502", text(502, "text/plain", "bad gateway"), incident.KindNetwork, 502, 0, ""},
		{"504", problem(504), incident.KindTimeout, 504, 0, ""},
		{"507", problem(507), incident.KindUnavailable, 507, 0, ""},
		{"200 instead of 201", text(200, "application/json", `{"event_ids":["a"],"message":""}`), incident.KindMalformed, 200, 0, ""},
		{"garbage", text(201, "application/json", "<html>"), incident.KindMalformed, 0, 0, ""},
		{"cut JSON", text(201, "application/json", `{"event_ids":["a"`), incident.KindMalformed, 0, 0, ""},
		{"fewer ids", text(201, "application/json", `{"event_ids":[],"message":""}`), incident.KindMalformed, 0, 0, "0 of 1"},
		{"half a body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(201)
			_, _ = w.Write([]byte(`{"event_ids":`))
		}, incident.KindNetwork, 0, 0, ""},
		{"connection cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, incident.KindNetwork, 0, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(tt.handler)
			defer s.Close()
			err := newClient(t, s.URL).WriteEvents(t.Context(), []incident.AuditEvent{storetest.Event("rr-1", now)})
			wantKind(t, err, tt.kind)
			known, ok := errors.AsType[*incident.Error](err)
			if !ok || known.Status != tt.status || known.RetryAfter != tt.retry || !strings.Contains(err.Error(), tt.detail) {
				t.Errorf("error = %#v, want status %d, retry after %v, text %q", err, tt.status, tt.retry, tt.detail)
			}
		})
	}
}

func TestClientBoundsAnswers(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, 1<<20)
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	_, err := newClient(t, s.URL).Bundle(t.Context(), "sha256:"+strings.Repeat("0", 64))
	wantKind(t, err, incident.KindMalformed)
}

func TestClientDeadlines(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	wantKind(t, newClient(t, s.URL).Ready(ctx), incident.KindTimeout)
	impatient, err := dsapi.NewClient(s.URL, &http.Client{Timeout: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, impatient.Ready(t.Context()), incident.KindTimeout)
	gone := httptest.NewServer(nil)
	gone.Close()
	wantKind(t, newClient(t, gone.URL).Ready(t.Context()), incident.KindNetwork)
}

func TestNewClientChecksURL(t *testing.T) {
	for _, bad := range []string{"", "datastorage:8080", "ftp://x", "http://", "://"} {
		if _, err := dsapi.NewClient(bad, nil); err == nil {
			t.Errorf("NewClient(%q) succeeds", bad)
		}
	}
}

// BenchmarkHTTPBatch writes batches of 1000 events through client and server into SQLite.
func BenchmarkHTTPBatch(b *testing.B) {
	s := newServer(b)
	c := newClient(b, s.http.URL)
	n := 0
	for b.Loop() {
		b.StopTimer()
		events := make([]incident.AuditEvent, 1000)
		for i := range events {
			events[i] = storetest.Event(fmt.Sprintf("rr-%d", (n+i)/7), now)
		}
		b.StartTimer()
		if err := c.WriteEvents(b.Context(), events); err != nil {
			b.Fatal(err)
		}
		n += len(events)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkHTTPSingles posts single events over 16 connections.
func BenchmarkHTTPSingles(b *testing.B) {
	s := newServer(b)
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer hc.CloseIdleConnections()
	body, err := json.Marshal(eventBody())
	if err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := hc.Post(s.http.URL+"/api/v1/audit/events", "application/json", bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
			if r.StatusCode != http.StatusCreated {
				b.Error(r.Status)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
