package dsapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
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
	c := maps.Clone(o)
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
	for _, counts := range []object{{"total_executions": 1}, {"successful_executions": 1}, {"total_executions": 1, "successful_executions": 2}, {"total_executions": -1, "successful_executions": 0}} {
		wantProblem(t, s.send(t, "PATCH", "/api/v1/workflows/"+id, counts), 400, "validation-error")
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
