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
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kubernaut.ai/kubernaut/internal/dsapi"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/store"
	"kubernaut.ai/kubernaut/internal/store/storetest"
)

// now is the time of every server here.
var now = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

type server struct {
	*dsapi.Server
	http  *httptest.Server
	store *store.Store
}

// newServer serves over a real store, changed by the options.
func newServer(t testing.TB, change ...func(*dsapi.Options)) server {
	t.Helper()
	clock := func() time.Time { return now }
	st, err := store.Open(t.Context(), store.Options{Driver: store.SQLite, Path: filepath.Join(t.TempDir(), "test.db"), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	registry := prometheus.NewRegistry()
	o := dsapi.Options{
		Store: st, Clock: clock, Registerer: registry, Metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
	}
	for _, c := range change {
		c(&o)
	}
	s, err := dsapi.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return server{Server: s, http: h, store: st}
}

// answer is what came back for a request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(a.body, &m); err != nil {
		t.Fatalf("answer %d is no JSON object: %v: %s", a.status, err, a.body)
	}
	return m
}

// send sends a body: a string as it is, anything else as JSON.
func (s server) send(t testing.TB, method, path string, body any) answer {
	t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, s.http.URL+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := s.http.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, text}
}

// wantProblem fails the test unless a is a problem of this status and slug.
func wantProblem(t testing.TB, a answer, status int, slug string) map[string]any {
	t.Helper()
	if a.status != status || a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("answer = %d %s: %s\nwant problem %d %s", a.status, a.header.Get("Content-Type"), a.body, status, slug)
	}
	p := a.json(t)
	if p["type"] != "https://kubernaut.ai/problems/"+slug || p["status"] != float64(status) || p["title"] == "" || p["instance"] == "" {
		t.Errorf("problem = %s, want type %s", a.body, slug)
	}
	return p
}

type object = map[string]any

// with returns a copy of o with some members changed; nil removes one.
func with(o object, changes object) object {
	c := object{}
	for k, v := range o {
		c[k] = v
	}
	for k, v := range changes {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func eventBody() object {
	return object{
		"version": "1.0", "event_type": "aianalysis.phase.transition", "event_timestamp": "2026-03-14T15:00:00Z",
		"event_category": "analysis", "event_action": "transition", "event_outcome": "success", "correlation_id": "rr-1",
		"event_data": object{"old_phase": "Pending", "new_phase": "Investigating"},
	}
}

func workflowBody() object {
	w := storetest.Workflow("fix-oom", "1.0.0")
	return object{
		"workflow_name": w.Name, "version": w.Version, "name": w.Title, "description": w.Description, "content": w.Content,
		"content_hash": w.ContentHash, "execution_engine": "tekton", "status": "active",
		"labels": object{"signal_type": "OOMKilled", "severity": "critical", "component": "pod", "environment": "production", "priority": "P0"},
	}
}

func searchBody() object {
	return object{"filters": workflowBody()["labels"], "remediation_id": "rr-search"}
}

func TestAuditWriteAndQuery(t *testing.T) {
	s := newServer(t)
	one := s.send(t, "POST", "/api/v1/audit/events", with(eventBody(), object{"unknown": 1, "namespace": nil}))
	if one.status != http.StatusCreated {
		t.Fatalf("write: %d %s", one.status, one.body)
	}
	created := one.json(t)
	if !incident.ValidUUID(fmt.Sprint(created["event_id"])) || created["event_timestamp"] != "2026-03-14T15:00:00Z" || created["message"] == "" {
		t.Errorf("write answers %s", one.body)
	}
	id := uuid.NewString()
	child := with(eventBody(), object{
		"event_id": id, "parent_event_id": created["event_id"], "duration_ms": 12, "event_timestamp": "2026-03-14T16:00:01.5+01:00",
		"namespace": "shop", "event_category": "aiagent",
	})
	batch := s.send(t, "POST", "/api/v1/audit/events/batch", []any{child, with(eventBody(), object{"correlation_id": "rr-2"})})
	if batch.status != http.StatusCreated || len(batch.json(t)["event_ids"].([]any)) != 2 || batch.json(t)["event_ids"].([]any)[0] != id {
		t.Fatalf("batch: %d %s", batch.status, batch.body)
	}
	for _, again := range []any{child, child} {
		if a := s.send(t, "POST", "/api/v1/audit/events", again); a.status != http.StatusCreated || a.json(t)["event_id"] != id {
			t.Errorf("the same event again: %d %s", a.status, a.body)
		}
	}
	wantProblem(t, s.send(t, "POST", "/api/v1/audit/events", with(child, object{"event_action": "other"})), 409, "conflict")

	page := s.send(t, "GET", "/api/v1/audit/events?correlation_id=rr-1&since=24h", nil).json(t)
	if diff := cmp.Diff(object{"limit": 50.0, "offset": 0.0, "total": 2.0, "has_more": false}, page["pagination"]); diff != "" {
		t.Errorf("pagination (-want +got):\n%s", diff)
	}
	got := page["data"].([]any)[0].(object)
	want := object{
		"event_id": id, "event_timestamp": "2026-03-14T15:00:01.5Z", "event_date": "2026-03-14", "event_type": "aianalysis.phase.transition",
		"version": "1.0", "event_category": "aiagent", "event_action": "transition", "event_outcome": "success", "correlation_id": "rr-1",
		"parent_event_id": created["event_id"], "parent_event_date": "2026-03-14", "resource_type": "aiagent", "resource_id": "rr-1",
		"namespace": "shop", "cluster_name": "", "severity": "info", "duration_ms": 12.0, "error_code": "", "error_message": "",
		"actor_id": "aiagent-service", "actor_type": "service", "retention_days": 0.0, "is_sensitive": false,
		"event_data": object{"old_phase": "Pending", "new_phase": "Investigating"}, "sequence": 2.0,
		"prev_hash": got["prev_hash"], "hash": got["hash"], "stored_at": "2026-03-14T15:09:26Z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	first := page["data"].([]any)[1].(object)
	if first["hash"] != got["prev_hash"] || first["prev_hash"] != "" || len(first["hash"].(string)) != 64 || first["duration_ms"] != nil {
		t.Errorf("first event = %v, the second follows %v", first, got["prev_hash"])
	}
	empty := s.send(t, "GET", "/api/v1/audit/events?correlation_id=none", nil)
	if empty.status != 200 || !bytes.Contains(empty.body, []byte(`"data":[]`)) {
		t.Errorf("empty answer = %d %s", empty.status, empty.body)
	}
	report := s.send(t, "GET", "/api/v1/audit/verify?correlation_id=rr-1", nil).json(t)
	if diff := cmp.Diff(object{"correlation_id": "rr-1", "events": 2.0, "valid": true, "head": got["hash"]}, report); diff != "" {
		t.Errorf("verify (-want +got):\n%s", diff)
	}
	wantProblem(t, s.send(t, "GET", "/api/v1/audit/verify?correlation_id=none", nil), 404, "not-found")
}

func TestNotificationAudit(t *testing.T) {
	s := newServer(t)
	body := object{
		"remediation_id": "rr-1", "notification_id": "n-1", "recipient": "#ops", "channel": "slack", "message_summary": "down",
		"status": "sent", "sent_at": "2026-03-14T15:00:00Z", "escalation_level": 1,
	}
	a := s.send(t, "POST", "/api/v1/audit/notifications", body)
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	want := with(body, object{"id": 1.0, "escalation_level": 1.0, "created_at": "2026-03-14T15:09:26Z", "updated_at": "2026-03-14T15:09:26Z"})
	if diff := cmp.Diff(want, a.json(t)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	wantProblem(t, s.send(t, "POST", "/api/v1/audit/notifications", body), 409, "conflict")
	wantProblem(t, s.send(t, "POST", "/api/v1/audit/notifications", with(body, object{"channel": "email", "notification_id": "n-2"})), 400, "validation-error")
}

func TestWorkflows(t *testing.T) {
	s := newServer(t)
	a := s.send(t, "POST", "/api/v1/workflows", with(workflowBody(), object{
		"parameters": object{"schema": object{"parameters": []any{
			object{"name": "REPLICAS", "type": "integer", "minimum": 1, "maximum": 9, "enum": []any{1, 3}, "default": 3, "extra": true},
		}}},
		"custom_labels": object{"team": []any{"a"}}, "detected_labels": object{"gitOpsManaged": true, "gitOpsTool": "argocd", "stateful": false},
	}))
	if a.status != http.StatusCreated {
		t.Fatalf("create: %d %s", a.status, a.body)
	}
	w := a.json(t)
	id := w["workflow_id"].(string)
	want := with(workflowBody(), object{
		"workflow_id": id, "is_latest_version": true, "custom_labels": object{"team": []any{"a"}},
		"detected_labels":  object{"gitOpsManaged": true, "gitOpsTool": "argocd"},
		"total_executions": 0.0, "successful_executions": 0.0, "created_at": "2026-03-14T15:09:26Z", "updated_at": "2026-03-14T15:09:26Z",
		"parameters": object{"schema": object{"parameters": []any{
			object{"name": "REPLICAS", "type": "int", "minimum": 1.0, "maximum": 9.0, "enum": []any{"1", "3"}, "default": "3"},
		}}},
	})
	if diff := cmp.Diff(want, w); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	wantProblem(t, s.send(t, "POST", "/api/v1/workflows", workflowBody()), 409, "conflict")
	if got := s.send(t, "GET", "/api/v1/workflows/"+id, nil).json(t); !cmp.Equal(w, got) {
		t.Errorf("get (-created +got):\n%s", cmp.Diff(w, got))
	}
	for _, unknown := range []string{"00000000-0000-0000-0000-000000000000", "fix-oom", "%00", "%ff", strings.Repeat("x", 255)} {
		for _, r := range []struct {
			method, suffix string
			body           any
		}{{"GET", "", nil}, {"PATCH", "", object{"status": "active"}}, {"PATCH", "/disable", object{}}} {
			a := s.send(t, r.method, "/api/v1/workflows/"+unknown+r.suffix, r.body)
			if strings.HasPrefix(unknown, "%") {
				wantProblem(t, a, 400, "validation-error")
			} else {
				wantProblem(t, a, 404, "not-found")
			}
		}
	}
	list := s.send(t, "GET", "/api/v1/workflows?status=active&limit=1", nil).json(t)
	if list["total"] != 1.0 || list["limit"] != 1.0 || list["offset"] != 0.0 || len(list["workflows"].([]any)) != 1 {
		t.Errorf("list = %v", list)
	}
	for name, total := range map[string]float64{"fix-oom": 1, "no%20such": 0} {
		versions := s.send(t, "GET", "/api/v1/workflows/by-name/"+name+"/versions", nil)
		if got := versions.json(t); versions.status != 200 || got["total"] != total || len(got["versions"].([]any)) != int(total) {
			t.Errorf("versions of %s = %d %s", name, versions.status, versions.body)
		}
	}

	found := s.send(t, "POST", "/api/v1/workflows/search", searchBody())
	wantMatch := object{
		"workflow_id": id, "title": w["name"], "description": w["description"], "signal_type": "OOMKilled", "confidence": 1.0,
		"label_boost": 0.0, "label_penalty": 0.0, "final_score": 1.0, "rank": 1.0, "custom_labels": w["custom_labels"],
		"detected_labels": w["detected_labels"],
	}
	wantFound := object{"workflows": []any{wantMatch}, "total_results": 1.0, "filters": workflowBody()["labels"]}
	if diff := cmp.Diff(wantFound, found.json(t)); diff != "" {
		t.Errorf("search (-want +got):\n%s", diff)
	}

	p := wantProblem(t, s.send(t, "PATCH", "/api/v1/workflows/"+id, object{"description": "new", "labels": object{}}), 400, "immutable-field-violation")
	if !strings.Contains(p["detail"].(string), "description, labels") {
		t.Errorf("detail = %v, want it to name the fields", p["detail"])
	}
	disabled := s.send(t, "PATCH", "/api/v1/workflows/"+id+"/disable", nil)
	if got := disabled.json(t); got["status"] != "disabled" || got["disabled_at"] != "2026-03-14T15:09:26Z" {
		t.Errorf("disable without a body: %d %s", disabled.status, disabled.body)
	}
	none := s.send(t, "POST", "/api/v1/workflows/search", searchBody())
	if !bytes.Contains(none.body, []byte(`"workflows":[]`)) || none.json(t)["total_results"] != 0.0 {
		t.Errorf("search without a match = %s", none.body)
	}
	changed := s.send(t, "PATCH", "/api/v1/workflows/"+id, object{"status": "archived", "disabled_by": "jane", "disabled_reason": "old"}).json(t)
	if changed["status"] != "archived" || changed["status_reason"] != "old" || changed["updated_by"] != "jane" {
		t.Errorf("changed = %v", changed)
	}
	wantProblem(t, s.send(t, "PATCH", "/api/v1/workflows/"+id, object{"status": "active"}), 409, "conflict")
}

func TestBundles(t *testing.T) {
	s := newServer(t, func(o *dsapi.Options) { o.MaxBundleBytes = 100 })
	const body, digest = `{"a":1}`, "sha256:015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
	path := "/api/v1/bundles/" + digest
	wantProblem(t, s.send(t, "GET", path, nil), 404, "not-found")
	for _, status := range []int{201, 200} {
		a := s.send(t, "PUT", path, body)
		if want := (object{"digest": digest, "size": 7.0}); a.status != status || !cmp.Equal(want, a.json(t)) {
			t.Errorf("put: %d %s, want %d", a.status, a.body, status)
		}
	}
	got := s.send(t, "GET", path, nil)
	if got.status != 200 || string(got.body) != body || got.header.Get("ETag") != `"`+digest+`"` || got.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("get: %d %v %s", got.status, got.header, got.body)
	}
	wantProblem(t, s.send(t, "PUT", path, "other"), 400, "validation-error")
	wantProblem(t, s.send(t, "PUT", "/api/v1/bundles/sha256:abc", body), 400, "validation-error")
	wantProblem(t, s.send(t, "GET", "/api/v1/bundles/sha256:abc", nil), 400, "validation-error")
	wantProblem(t, s.send(t, "PUT", path, strings.Repeat("x", 101)), 413, "payload-too-large")
}

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

func TestHealth(t *testing.T) {
	s := newServer(t)
	want := func(path string, status int, body object) {
		t.Helper()
		a := s.send(t, "GET", path, nil)
		if a.status != status || !cmp.Equal(body, a.json(t)) || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s = %d %s %s, want %d %v", path, a.status, a.header.Get("Content-Type"), a.body, status, body)
		}
	}
	want("/health", 200, object{"status": "healthy", "database": "connected"})
	want("/health/ready", 200, object{"status": "ready"})
	want("/readyz", 200, object{"status": "ready"})
	want("/health/live", 200, object{"status": "alive"})
	want("/healthz", 200, object{"status": "alive"})
	s.Drain()
	want("/health/ready", 503, object{"status": "not_ready", "reason": "shutting_down"})
	want("/readyz", 503, object{"status": "not_ready", "reason": "shutting_down"})
	want("/healthz", 200, object{"status": "alive"})
	if a := s.send(t, "POST", "/api/v1/audit/events", eventBody()); a.status != 201 {
		t.Errorf("a draining server answers %d, want it to go on", a.status)
	}
}

func TestNewServerChecksOptions(t *testing.T) {
	if _, err := dsapi.NewServer(dsapi.Options{}); err == nil {
		t.Error("NewServer without a store succeeds")
	}
	if _, err := dsapi.NewServer(dsapi.Options{Store: brokenStore{}, MaxBatchEvents: -1}); err == nil {
		t.Error("NewServer with a negative bound succeeds")
	}
}
