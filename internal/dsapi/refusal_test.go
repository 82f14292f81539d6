package dsapi_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/dsapi"
	"kubernaut.ai/kubernaut/internal/incident"
)

// marker is a value that no answer may repeat.
const marker = "s3cr3t-value"

func TestBadRequests(t *testing.T) {
	s := newServer(t, func(o *dsapi.Options) { o.MaxBodyBytes, o.MaxBatchEvents = 10000, 3 })
	event := func(changes object) object { return with(eventBody(), changes) }
	workflow := func(changes object) object { return with(workflowBody(), changes) }
	filters := func(changes object) object {
		return object{"filters": with(searchBody()["filters"].(object), changes)}
	}
	parameters := func(p ...any) object {
		return workflow(object{"parameters": object{"schema": object{"parameters": p}}})
	}
	const events, batch, workflows, search = "/api/v1/audit/events", "/api/v1/audit/events/batch", "/api/v1/workflows", "/api/v1/workflows/search"
	tests := []struct {
		name, method, path string
		body               any
		status             int
		field              string // that field_errors names; "" for none
	}{
		{"no body", "POST", events, nil, 400, "body"},
		{"not JSON", "POST", events, `{"version":"` + marker, 400, "body"},
		{"no object", "POST", events, `"` + marker + `"`, 400, "body"},
		{"required field", "POST", events, event(object{"event_type": nil}), 400, "event_type"},
		{"too long", "POST", events, event(object{"version": marker + marker}), 400, "version"},
		{"not in the enumeration", "POST", events, event(object{"event_category": marker}), 400, "event_category"},
		{"no date", "POST", events, event(object{"event_timestamp": marker}), 400, "event_timestamp"},
		{"no such date", "POST", events, event(object{"event_timestamp": "2026-02-31T00:00:00Z"}), 400, "event_timestamp"},
		{"future", "POST", events, event(object{"event_timestamp": "2026-03-14T15:14:27Z"}), 400, "event_timestamp"},
		{"data is an array", "POST", events, event(object{"event_data": []any{marker}}), 400, "event_data"},
		{"data is text", "POST", events, event(object{"event_data": marker}), 400, "event_data"},
		{"data is null", "POST", events, strings.Replace(`{"event_data":null}`, "{", `{"version":"1",`, 1), 400, "event_data"},
		{"data repeats a name", "POST", events, `{"version":"1.0","event_type":"a","event_timestamp":"2026-03-14T15:00:00Z","event_category":"analysis","event_action":"a","event_outcome":"success","correlation_id":"c","event_data":{"` + marker + `":1,"` + marker + `":2}}`, 400, "event_data"},
		{"wrong type", "POST", events, event(object{"correlation_id": 5}), 400, "correlation_id"},
		{"id is no UUID", "POST", events, event(object{"event_id": marker}), 400, "event_id"},
		{"parent is not stored", "POST", events, event(object{"parent_event_id": uuid.NewString()}), 400, "parent_event_id"},
		{"negative duration", "POST", events, event(object{"duration_ms": -1}), 400, "duration_ms"},
		{"too large", "POST", events, event(object{"event_data": object{"x": strings.Repeat("x", 10000)}}), 413, ""},

		{"batch of nothing", "POST", batch, []any{}, 400, ""},
		{"batch is an object", "POST", batch, event(nil), 400, "body"},
		{"batch is cut", "POST", batch, `[{"version":"` + marker, 400, "body"},
		{"batch without body", "POST", batch, nil, 400, "body"},
		{"batch with a bad event", "POST", batch, []any{event(nil), event(object{"event_outcome": marker})}, 400, "[1].event_outcome"},
		{"batch with a wrong type", "POST", batch, []any{event(nil), event(nil), event(object{"version": []any{marker}})}, 400, "[2].version"},
		{"batch with a bad date", "POST", batch, []any{event(nil), event(object{"event_timestamp": marker})}, 400, "[1].event_timestamp"},
		{"batch with null", "POST", batch, []any{nil}, 400, "[0].event_timestamp"},
		{"batch of too many", "POST", batch, []any{event(nil), event(nil), event(nil), event(nil)}, 413, ""},
		{"batch too large", "POST", batch, []any{event(object{"event_data": object{"x": strings.Repeat("x", 10000)}})}, 413, ""},

		{"limit is no number", "GET", events + "?limit=" + marker, nil, 400, "limit"},
		{"limit of 0", "GET", events + "?limit=0", nil, 400, "limit"},
		{"limit of 1001", "GET", events + "?limit=1001", nil, 400, "limit"},
		{"negative offset", "GET", events + "?offset=-1", nil, 400, "offset"},
		{"unknown outcome", "GET", events + "?event_outcome=" + marker, nil, 400, "event_outcome"},
		{"since is no time", "GET", events + "?since=" + marker, nil, 400, "since"},
		{"until is in no form", "GET", events + "?until=12", nil, 400, "until"},
		{"NUL in a query", "GET", events + "?correlation_id=" + marker + "%00", nil, 400, ""},
		{"verify without id", "GET", "/api/v1/audit/verify", nil, 400, "correlation_id"},
		{"verify with an empty id", "GET", "/api/v1/audit/verify?correlation_id=", nil, 400, "correlation_id"},

		{"wrong hash", "POST", workflows, workflow(object{"content": marker}), 400, "content_hash"},
		{"short hash", "POST", workflows, workflow(object{"content_hash": marker}), 400, "content_hash"},
		{"no label", "POST", workflows, workflow(object{"labels": object{"signal_type": marker}}), 400, "labels.severity"},
		{"unknown severity", "POST", workflows, workflow(object{"labels": with(workflowBody()["labels"].(object), object{"severity": marker})}), 400, "labels.severity"},
		{"unknown tool", "POST", workflows, workflow(object{"detected_labels": object{"gitOpsTool": marker}}), 400, "detected_labels.gitOpsTool"},
		{"maintainer", "POST", workflows, workflow(object{"maintainer": marker}), 400, "maintainer"},
		{"digest", "POST", workflows, workflow(object{"container_digest": marker}), 400, "container_digest"},
		{"success rate", "POST", workflows, workflow(object{"expected_success_rate": 1.5}), 400, "expected_success_rate"},
		{"parameters in another form", "POST", workflows, workflow(object{"parameters": object{"x": marker}}), 400, "parameters"},
		{"parameter name", "POST", workflows, parameters(object{"name": "a-" + marker, "type": "string"}), 400, "parameters.schema.parameters[0].name"},
		{"parameter twice", "POST", workflows, parameters(object{"name": "A", "type": "string"}, object{"name": "A", "type": "int"}), 400, "parameters.schema.parameters[1].name"},
		{"parameter type", "POST", workflows, parameters(object{"name": "A", "type": marker}), 400, "parameters.schema.parameters[0].type"},
		{"empty range", "POST", workflows, parameters(object{"name": "A", "type": "int", "minimum": 2, "maximum": 1}), 400, "parameters.schema.parameters[0].minimum"},
		{"range of a string", "POST", workflows, parameters(object{"name": "A", "type": "string", "minimum": 2}), 400, "parameters.schema.parameters[0].minimum"},
		{"bad pattern", "POST", workflows, parameters(object{"name": "A", "type": "string", "pattern": "("}), 400, "parameters.schema.parameters[0].pattern"},
		{"enum of another type", "POST", workflows, parameters(object{"name": "A", "type": "int", "enum": []any{marker}}), 400, "parameters.schema.parameters[0].enum"},
		{"default out of range", "POST", workflows, parameters(object{"name": "A", "type": "int", "maximum": 1, "default": 2}), 400, "parameters.schema.parameters[0].default"},

		{"search without filters", "POST", search, object{"top_k": 1}, 400, "filters"},
		{"search without a label", "POST", search, filters(object{"component": nil}), 400, "filters.component"},
		{"search for any priority", "POST", search, filters(object{"priority": "*"}), 400, "filters.priority"},
		{"search for too many", "POST", search, with(searchBody(), object{"top_k": 101}), 400, "top_k"},
		{"search with a wrong score", "POST", search, with(searchBody(), object{"min_score": 2}), 400, "min_score"},
		{"long custom label", "POST", search, filters(object{"custom_labels": object{"k": []any{strings.Repeat("x", 101)}}}), 400, "filters.custom_labels.k.0"},

		{"unknown path", "GET", "/" + marker[:0] + "api/v2/x", nil, 404, ""},
		{"unknown method", "DELETE", events, nil, 405, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := s.send(t, tt.method, tt.path, tt.body)
			slug := map[int]string{400: "validation-error", 404: "not-found", 405: "method-not-allowed", 413: "payload-too-large"}[tt.status]
			p := wantProblem(t, a, tt.status, slug)
			fields, _ := p["field_errors"].(object)
			if _, ok := fields[tt.field]; tt.field != "" && !ok {
				t.Errorf("field_errors = %v, want %s among them", fields, tt.field)
			}
			if bytes.Contains(a.body, []byte(marker)) {
				t.Errorf("the answer repeats a received value: %s", a.body)
			}
		})
	}
	if page := s.send(t, "GET", events, nil).json(t); page["pagination"].(object)["total"] != 0.0 {
		t.Errorf("something was stored of bad requests: %v", page)
	}
	metrics := s.send(t, "GET", "/metrics", nil)
	for _, want := range []string{
		`datastorage_validation_failures_total{field="event_category",reason="invalid"} 1`,
		`datastorage_validation_failures_total{field="event_type",reason="missing"} `,
		`datastorage_http_request_duration_seconds_count{code="400",route="POST /api/v1/audit/events/batch"} `,
		`datastorage_audit_traces_total{service="analysis",status="failure"} `,
	} {
		if !bytes.Contains(metrics.body, []byte(want)) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if bytes.Contains(metrics.body, []byte(marker)) {
		t.Error("a metric's label holds a received value")
	}
}

// brokenStore fails, and panics when it is asked for a bundle.
type brokenStore struct {
	dsapi.Store
	err error
}

func (b brokenStore) Ping(context.Context) error { return b.err }
func (b brokenStore) AppendEvents(context.Context, []incident.AuditEvent) ([]incident.StoredEvent, error) {
	return nil, b.err
}

func (b brokenStore) Events(ctx context.Context, _ incident.EventQuery) (incident.EventPage, error) {
	<-ctx.Done()
	return incident.EventPage{}, incident.Errorf(incident.KindTimeout, "query", "%w", ctx.Err())
}
func (b brokenStore) Bundle(context.Context, string) ([]byte, error) { panic(marker) }

func TestFailuresTellNothing(t *testing.T) {
	secret := errors.New("dial tcp " + marker + ":5432: user=" + marker)
	for _, tt := range []struct {
		kind   incident.ErrorKind
		status int
		slug   string
	}{
		{incident.KindUnavailable, 503, "service-unavailable"},
		{incident.KindTimeout, 504, "timeout"},
		{incident.KindInternal, 500, "internal-error"},
		{"", 500, "internal-error"},
	} {
		err := secret
		if tt.kind != "" {
			err = incident.Errorf(tt.kind, "append", "%w", secret)
		}
		s := newServer(t, func(o *dsapi.Options) { o.Store, o.RequestTimeout = brokenStore{err: err}, 50*time.Millisecond })
		answers := map[string]answer{
			"write":  s.send(t, "POST", "/api/v1/audit/events", eventBody()),
			"batch":  s.send(t, "POST", "/api/v1/audit/events/batch", []any{eventBody()}),
			"query":  s.send(t, "GET", "/api/v1/audit/events", nil),
			"panic":  s.send(t, "GET", "/api/v1/bundles/sha256:"+strings.Repeat("0", 64), nil),
			"health": s.send(t, "GET", "/health", nil),
			"ready":  s.send(t, "GET", "/health/ready", nil),
		}
		wantProblem(t, answers["write"], tt.status, tt.slug)
		wantProblem(t, answers["batch"], tt.status, tt.slug)
		wantProblem(t, answers["query"], 504, "timeout")
		wantProblem(t, answers["panic"], 500, "internal-error")
		if tt.status == 503 && answers["write"].header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
		if got, want := answers["health"].json(t), (object{"status": "unhealthy", "database": "unreachable"}); answers["health"].status != 503 || !cmp.Equal(want, got) {
			t.Errorf("/health = %d %v, want 503 %v", answers["health"].status, got, want)
		}
		if got, want := answers["ready"].json(t), (object{"status": "not_ready", "reason": "database_unreachable"}); answers["ready"].status != 503 || !cmp.Equal(want, got) {
			t.Errorf("/health/ready = %d %v, want 503 %v", answers["ready"].status, got, want)
		}
		for name, a := range answers {
			if bytes.Contains(a.body, []byte(marker)) {
				t.Errorf("%s tells details of the database: %s", name, a.body)
			}
		}
	}
}
