package hapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kubernaut.ai/kubernaut/internal/hapi"
	"kubernaut.ai/kubernaut/internal/incident"
)

// problemDoc is what every error looks like.
type problemDoc struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Instance  string `json:"instance"`
	RequestID string `json:"request_id"`
	Errors    []struct {
		Field  string `json:"field"`
		Detail string `json:"detail"`
	} `json:"errors"`
}

// wantProblem checks the form of an error and returns it.
func wantProblem(t *testing.T, resp *http.Response, body string, status int, slug string) problemDoc {
	t.Helper()
	if resp.StatusCode != status {
		t.Fatalf("status %d, want %d; body %s", resp.StatusCode, status, body)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q, want application/problem+json", ct)
	}
	var p problemDoc
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
	if p.Type != "https://kubernaut.ai/problems/"+slug || p.Status != status || p.Title == "" || p.Detail == "" {
		t.Errorf("problem %+v, want type %s, status %d, a title and a detail", p, slug, status)
	}
	if p.Instance != resp.Request.URL.Path {
		t.Errorf("instance %q, want %q", p.Instance, resp.Request.URL.Path)
	}
	if p.RequestID == "" || p.RequestID != resp.Header.Get("X-Request-ID") {
		t.Errorf("request_id %q, header %q; want both set and equal", p.RequestID, resp.Header.Get("X-Request-ID"))
	}
	return p
}

func TestBadRequests(t *testing.T) {
	f := &fake{}
	s := serve(t, hapi.Options{Investigator: f, MaxBodyBytes: 4 << 10})
	with := func(old, fresh string) string { return strings.Replace(incidentBody, old, fresh, 1) }
	for _, tt := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		slug                     string
		fields                   []string // of the faults
	}{
		{
			name: "every fault at once", path: hapi.PathIncident,
			body:   `{"incident_id":1,"remediation_id":"","signal_type":"x","enrichment_results":{"detectedLabels":{"failedDetections":["nonsense"]}}}`,
			status: 400, slug: "validation-error",
			fields: []string{
				"/incident_id", "/remediation_id", "/severity", "/signal_source", "/resource_namespace", "/resource_kind", "/resource_name",
				"/error_message", "/environment", "/priority", "/risk_tolerance", "/business_category", "/cluster_name",
				"/enrichment_results/detectedLabels/failedDetections/0",
			},
		},
		{name: "empty remediation id", path: hapi.PathIncident, body: with(`"rr-1"`, `""`), status: 400, slug: "validation-error", fields: []string{"/remediation_id"}},
		{name: "null for a required field", path: hapi.PathIncident, body: with(`"OOMKilled"`, `null`), status: 400, slug: "validation-error", fields: []string{"/signal_type"}},
		{name: "number that is no integer", path: hapi.PathIncident, body: with(`{`, `{"occurrence_count":1.5,`), status: 400, slug: "validation-error", fields: []string{"/occurrence_count"}},
		{name: "number out of range", path: hapi.PathIncident, body: with(`{`, `{"occurrence_count":1e30,`), status: 400, slug: "validation-error", fields: []string{"/occurrence_count"}},
		{name: "recovery without ids", path: hapi.PathRecovery, body: `{}`, status: 400, slug: "validation-error", fields: []string{"/incident_id", "/remediation_id"}},
		{
			name: "attempt 0", path: hapi.PathRecovery, body: `{"incident_id":"a","remediation_id":"r","recovery_attempt_number":0}`,
			status: 400, slug: "validation-error", fields: []string{"/recovery_attempt_number"},
		},
		{name: "not JSON", path: hapi.PathIncident, body: `{"incident_id": top secret}`, status: 400, slug: "validation-error", fields: []string{""}},
		{name: "more than JSON", path: hapi.PathIncident, body: incidentBody + `{}`, status: 400, slug: "validation-error", fields: []string{""}},
		{name: "array", path: hapi.PathIncident, body: `[]`, status: 400, slug: "validation-error", fields: []string{""}},
		{name: "empty", path: hapi.PathIncident, body: ``, status: 400, slug: "validation-error", fields: []string{""}},
		{name: "other content type", path: hapi.PathIncident, body: incidentBody, header: []string{"Content-Type", "text/plain"}, status: 400, slug: "validation-error", fields: []string{"header:Content-Type"}},
		{name: "no content type", path: hapi.PathIncident, body: incidentBody, header: []string{"Content-Type", ""}, status: 400, slug: "validation-error", fields: []string{"header:Content-Type"}},
		{
			name: "key too long", path: hapi.PathIncident, body: incidentBody, header: []string{"Idempotency-Key", strings.Repeat("k", 201)},
			status: 400, slug: "validation-error", fields: []string{"header:Idempotency-Key"},
		},
		{
			name: "key with a space", path: hapi.PathIncident, body: incidentBody, header: []string{"Idempotency-Key", "a b"},
			status: 400, slug: "validation-error", fields: []string{"header:Idempotency-Key"},
		},
		{name: "too large", path: hapi.PathIncident, body: with(`"rr-1"`, `"`+strings.Repeat("r", 4<<10)+`"`), status: 413, slug: "payload-too-large"},
		{name: "wrong method", method: "GET", path: hapi.PathIncident, status: 405, slug: "method-not-allowed"},
		{name: "wrong method", method: "DELETE", path: hapi.PathHealth, status: 405, slug: "method-not-allowed"},
		{name: "not mounted", path: "/api/v1/postexec/analyze", body: `{}`, status: 404, slug: "not-found"},
		{name: "not mounted, without a body", path: "/api/v1/postexec/analyze", header: []string{"Content-Type", ""}, status: 404, slug: "not-found"},
		{name: "unknown path", method: "GET", path: "/nonsense", status: 404, slug: "not-found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.method == "" {
				tt.method = http.MethodPost
			}
			resp, body := send(t, tt.method, s.url+tt.path, tt.body, tt.header...)
			p := wantProblem(t, resp, body, tt.status, tt.slug)
			var fields []string
			for _, e := range p.Errors {
				fields = append(fields, e.Field)
				if !strings.Contains(p.Detail, e.Detail) {
					t.Errorf("detail %q leaves out %q", p.Detail, e.Detail)
				}
			}
			slices.Sort(fields)
			slices.Sort(tt.fields)
			diff(t, "fields with a fault", tt.fields, fields)
			for _, received := range []string{"nonsense", "top secret", "kkkk", "rrrr", "1.5", "1e30"} {
				if strings.Contains(strings.ReplaceAll(body, tt.path, ""), received) {
					t.Errorf("the answer repeats the received %q: %s", received, body)
				}
			}
		})
	}
	if f.count() != 0 {
		t.Errorf("%d bad requests were investigated", f.count())
	}
}

func TestRequestID(t *testing.T) {
	f := &fake{}
	s := serve(t, hapi.Options{Investigator: f})
	for _, tt := range []struct {
		name, sent string
		kept       bool
	}{
		{"given", "req-42", true},
		{"absent", "", false},
		{"not printable", "a b", false},
		{"too long", strings.Repeat("i", 129), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, _ := send(t, "POST", s.url+hapi.PathIncident, incidentBody, "X-Request-ID", tt.sent, "Idempotency-Key", "key-"+strings.ReplaceAll(tt.name, " ", "-"))
			got := resp.Header.Get("X-Request-ID")
			if got == "" || (got == tt.sent) != tt.kept {
				t.Errorf("X-Request-ID %q for %q", got, tt.sent)
			}
			r := f.under[len(f.under)-1]
			if r.ID != got || r.Key != "key-"+strings.ReplaceAll(tt.name, " ", "-") || len(r.Hash) != 64 {
				t.Errorf("the investigator saw request %+v; the answer has id %q", r, got)
			}
		})
	}
}

func TestUnknownFieldsAndNullsAreAccepted(t *testing.T) {
	f := &fake{}
	s := serve(t, hapi.Options{Investigator: f})
	body := strings.Replace(incidentBody, "{", `{"unknown":{"a":[1]},"description":null,"is_duplicate":null,"occurrence_count":null,
		"signal_labels":null,"affected_resources":null,"owner_chain":null,"storm_type":null,"fingerprint":null,
		"enrichment_results":{"kubernetesContext":null,"detectedLabels":{"failedDetections":null,"gitOpsManaged":null,"gitOpsTool":null},
		"customLabels":null,"ownerChain":null,"enrichmentQuality":null,"more":1},`, 1)
	if resp, text := send(t, "POST", s.url+hapi.PathIncident, body); resp.StatusCode != 200 {
		t.Fatalf("status %d: %s", resp.StatusCode, text)
	}
	diff(t, "incident", oomKill(), f.asked[0])
}

func TestRecoveryDefaults(t *testing.T) {
	f := &fake{}
	s := serve(t, hapi.Options{Investigator: f})
	if resp, text := send(t, "POST", s.url+hapi.PathRecovery, `{"incident_id":"a","remediation_id":"r","previous_execution":null,"environment":null}`); resp.StatusCode != 200 {
		t.Fatalf("status %d: %s", resp.StatusCode, text)
	}
	diff(t, "incident", incident.Incident{
		ID: "a", RemediationID: "r", Environment: "unknown", Priority: "P2", RiskTolerance: "medium", BusinessCategory: "standard",
		Recovery: &incident.Recovery{},
	}, f.asked[0])
}

// An execution counts wherever it is told, and once.
func TestPreviousExecutions(t *testing.T) {
	execution := func(ref string) string {
		return `{"workflow_execution_ref":"` + ref + `","original_rca":{"summary":"s","signal_type":"OOMKilled","severity":"high"},
			"selected_workflow":{"workflow_id":"w","version":"1","container_image":"i","rationale":"r"},
			"failure":{"failed_step_index":0,"failed_step_name":"n","reason":"Error","message":"m","failed_at":"2026-01-02T03:04:05Z","execution_time":"1s"}}`
	}
	f := &fake{}
	s := serve(t, hapi.Options{Investigator: f})
	for _, tt := range []struct {
		name, body string
		want       []string
	}{
		{"the last alone", `"previous_execution":` + execution("we-1"), []string{"we-1"}},
		{"all", `"previous_executions":[` + execution("we-1") + `,` + execution("we-2") + `]`, []string{"we-1", "we-2"}},
		{"all, and the last again", `"previous_executions":[` + execution("we-1") + `,` + execution("we-2") + `],"previous_execution":` + execution("we-2"), []string{"we-1", "we-2"}},
		{"the last apart from the others", `"previous_executions":[` + execution("we-1") + `],"previous_execution":` + execution("we-2"), []string{"we-1", "we-2"}},
		{"nulls", `"previous_executions":null,"previous_execution":null`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if resp, text := send(t, "POST", s.url+hapi.PathRecovery, `{"incident_id":"a","remediation_id":"r",`+tt.body+`}`); resp.StatusCode != 200 {
				t.Fatalf("status %d: %s", resp.StatusCode, text)
			}
			var refs []string
			for _, e := range f.asked[len(f.asked)-1].Recovery.Previous {
				refs = append(refs, e.Ref)
			}
			diff(t, "executions", tt.want, refs)
		})
	}
}

func TestErrorsOfInvestigations(t *testing.T) {
	limited := incident.Errorf(incident.KindRateLimited, "search", "slow down")
	limited.RetryAfter = 1500 * time.Millisecond
	for _, tt := range []struct {
		name       string
		err        error
		panic      any
		answer     func(*incident.Investigation)
		status     int
		slug       string
		retryAfter string
		hidden     string
	}{
		{name: "incident is wrong", err: incident.Errorf(incident.KindInvalid, "observe", "no resource"), status: 400, slug: "validation-error"},
		{name: "dependency unavailable", err: incident.Errorf(incident.KindUnavailable, "search", "down"), status: 503, slug: "service-unavailable"},
		{name: "dependency limits", err: limited, status: 429, slug: "too-many-requests", retryAfter: "2"},
		{name: "dependency refuses us", err: incident.Errorf(incident.KindForbidden, "list", "no"), status: 502, slug: "bad-gateway"},
		{name: "dependency does not know us", err: incident.Errorf(incident.KindUnauthorized, "list", "no"), status: 502, slug: "bad-gateway"},
		{name: "dependency has not", err: incident.Errorf(incident.KindNotFound, "get", "no"), status: 502, slug: "bad-gateway"},
		{name: "network", err: incident.Errorf(incident.KindNetwork, "dial", "refused"), status: 502, slug: "bad-gateway"},
		{name: "timeout", err: incident.Errorf(incident.KindTimeout, "read", "late"), status: 504, slug: "gateway-timeout"},
		{name: "internal", err: incident.Errorf(incident.KindInternal, "verify", "password=hunter2"), status: 500, slug: "internal-error", hidden: "hunter2"},
		{name: "foreign", err: errors.New("password=hunter2"), status: 500, slug: "internal-error", hidden: "hunter2"},
		{name: "panic", panic: "password=hunter2", status: 500, slug: "internal-error", hidden: "hunter2"},
		{name: "confidence out of range", answer: func(inv *incident.Investigation) { inv.Confidence = 1.5 }, status: 500, slug: "internal-error"},
		{name: "other incident", answer: func(inv *incident.Investigation) { inv.IncidentID = "other" }, status: 500, slug: "internal-error"},
	} {
		for _, key := range []string{"", "key"} {
			t.Run(tt.name+"/"+key, func(t *testing.T) {
				f := &fake{answer: func(_ context.Context, in incident.Incident) (incident.Investigation, error) {
					if tt.panic != nil {
						panic(tt.panic)
					}
					inv := finding(in)
					if tt.answer != nil {
						tt.answer(&inv)
					}
					return inv, tt.err
				}}
				s := serve(t, hapi.Options{Investigator: f})
				for range 2 { // failures are not kept
					resp, body := send(t, "POST", s.url+hapi.PathIncident, incidentBody, "Idempotency-Key", key)
					wantProblem(t, resp, body, tt.status, tt.slug)
					if got := resp.Header.Get("Retry-After"); got != tt.retryAfter {
						t.Errorf("Retry-After %q, want %q", got, tt.retryAfter)
					}
					if tt.hidden != "" && strings.Contains(body, tt.hidden) {
						t.Errorf("the answer shows %q: %s", tt.hidden, body)
					}
				}
				if f.count() != 2 {
					t.Errorf("investigated %d times, want 2", f.count())
				}
			})
		}
	}
}

func TestInvestigationDeadline(t *testing.T) {
	f := &fake{answer: func(ctx context.Context, _ incident.Incident) (incident.Investigation, error) {
		<-ctx.Done()
		return incident.Investigation{}, ctx.Err()
	}}
	s := serve(t, hapi.Options{Investigator: f, InvestigationTimeout: 20 * time.Millisecond})
	for _, key := range []string{"", "key"} {
		_, err := s.client.Investigate(t.Context(), key, oomKill())
		if e := wantKind(t, err, incident.KindTimeout); e.Status != 504 || e.RetryAfter <= 0 {
			t.Errorf("key %q: status %d, Retry-After %s; want 504 and more than 0", key, e.Status, e.RetryAfter)
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	release, started := make(chan struct{}), make(chan struct{}, 10)
	f := &fake{answer: func(_ context.Context, in incident.Incident) (incident.Investigation, error) {
		started <- struct{}{}
		<-release
		return finding(in), nil
	}}
	reg := prometheus.NewRegistry()
	s := serve(t, hapi.Options{Investigator: f, MaxConcurrent: 1, MaxQueued: 1, Registry: reg})
	results := make(chan error, 2)
	ask := func(key string) {
		_, err := s.client.Investigate(context.Background(), key, oomKill())
		results <- err
	}
	go ask("runs")
	<-started
	go ask("waits")
	waitFor(t, func() bool { return gauge(t, reg, "holmesgpt_api_investigations_queued") == 1 })

	for _, key := range []string{"", "third"} {
		_, err := s.client.Investigate(t.Context(), key, oomKill())
		if e := wantKind(t, err, incident.KindRateLimited); e.Status != 429 || e.RetryAfter <= 0 {
			t.Errorf("key %q: status %d, Retry-After %s; want 429 and more than 0", key, e.Status, e.RetryAfter)
		}
	}
	close(release)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if _, err := s.client.Investigate(t.Context(), "third", oomKill()); err != nil {
		t.Errorf("after the rush: %v", err)
	}
}

// waitFor waits until a condition holds, which it will.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the condition did not come about")
		}
	}
}

func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestHealthReadyConfig(t *testing.T) {
	var down atomic.Pointer[string]
	probe := func(name string) hapi.Check {
		return hapi.Check{Name: name, Probe: func(context.Context) error {
			if d := down.Load(); d != nil && *d == name {
				return incident.Errorf(incident.KindNetwork, "ping", "dial tcp secret-host: refused")
			}
			return nil
		}}
	}
	now := time.Now()
	var clock atomic.Int64
	s := serve(t, hapi.Options{
		Checks: []hapi.Check{probe("kubernetes"), probe("data_storage")}, Version: "v1.2.3",
		Clock: func() time.Time { return now.Add(time.Duration(clock.Load())) },
		LLM:   hapi.LLM{Provider: "mock"}, Mock: true, Settings: map[string]any{"logging": map[string]any{"level": "info"}},
	})
	get := func(path string) (int, map[string]any) {
		resp, body := send(t, "GET", s.url+path, "")
		var m map[string]any
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return resp.StatusCode, m
	}
	up := map[string]any{"status": "up"}
	for _, path := range []string{"/ready", "/readyz"} {
		status, got := get(path)
		if status != 200 {
			t.Errorf("%s: status %d, want 200", path, status)
		}
		diff(t, path, map[string]any{"status": "ready", "dependencies": map[string]any{"kubernetes": up, "data_storage": up}}, got)
	}
	if err := s.client.Ready(t.Context()); err != nil {
		t.Errorf("client: %v", err)
	}

	name := "data_storage"
	down.Store(&name)
	clock.Add(int64(time.Minute))
	status, got := get("/ready")
	if status != 503 {
		t.Errorf("status %d, want 503", status)
	}
	diff(t, "/ready", map[string]any{"status": "not_ready", "dependencies": map[string]any{
		"kubernetes": up, "data_storage": map[string]any{"status": "down", "error": "Network"},
	}}, got)
	e := wantKind(t, s.client.Ready(t.Context()), incident.KindUnavailable)
	if !strings.Contains(e.Error(), "down: data_storage") {
		t.Errorf("client error %q does not name what is down", e)
	}

	for _, path := range []string{"/health", "/healthz"} { // a dependency that is down is no reason to be restarted
		status, got = get(path)
		if status != 200 || got["status"] != "healthy" || got["service"] != "holmesgpt-api" || got["version"] != "v1.2.3" {
			t.Errorf("%s: %d %v", path, status, got)
		}
	}
	if got["features"].(map[string]any)["postexec_analysis"] != false {
		t.Errorf("features %v promise what is not served", got["features"])
	}
	_, got = get("/config")
	diff(t, "/config", map[string]any{
		"llm":         map[string]any{"provider": "mock", "model": nil, "endpoint": nil},
		"environment": nil, "dev_mode": false, "mock_mode": true, "settings": map[string]any{"logging": map[string]any{"level": "info"}},
	}, got)

	s.BeginShutdown()
	status, got = get("/ready")
	if status != 503 || got["status"] != "shutting_down" || got["reason"] == "" {
		t.Errorf("after BeginShutdown: %d %v", status, got)
	}
}

func TestMetrics(t *testing.T) {
	s := serve(t, hapi.Options{})
	if _, err := s.client.Investigate(t.Context(), "k", oomKill()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Investigate(t.Context(), "k", oomKill()); err != nil {
		t.Fatal(err)
	}
	for i := range 50 { // made-up paths and methods make no new series
		send(t, fmt.Sprintf("M%d", i), s.url+fmt.Sprintf("/made/up/%d", i), "")
	}
	_, text := send(t, "GET", s.url+"/metrics", "")
	for _, want := range []string{
		`holmesgpt_api_http_requests_total{endpoint="/api/v1/incident/analyze",method="POST",status="200"} 2`,
		`holmesgpt_api_http_requests_total{endpoint="other",method="other",status="404"} 50`,
		`holmesgpt_api_http_request_duration_seconds_count{endpoint="/api/v1/incident/analyze",method="POST"} 2`,
		`holmesgpt_api_active_requests{endpoint="/metrics",method="GET"} 1`,
		`holmesgpt_api_investigations_total{endpoint="/api/v1/incident/analyze",method="POST",status="success"} 1`,
		`holmesgpt_api_investigations_total{endpoint="/api/v1/recovery/analyze",method="POST",status="error"} 0`,
		`holmesgpt_api_investigations_duration_seconds_bucket{endpoint="/api/v1/incident/analyze",method="POST",le="120"} 1`,
		`holmesgpt_api_rfc7807_errors_total{error_type="not-found",status_code="404"} 50`,
		`holmesgpt_api_investigations_replayed_total{endpoint="/api/v1/incident/analyze"} 1`,
		`holmesgpt_api_answers_stored 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	if n := strings.Count(text, "made/up"); n > 0 {
		t.Errorf("%d series carry a made-up path", n)
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	for name, o := range map[string]hapi.Options{
		"no investigator": {StateDir: t.TempDir()},
		"no state":        {Investigator: &fake{}},
		"negative bound":  {Investigator: &fake{}, StateDir: t.TempDir(), MaxConcurrent: -1},
	} {
		if _, err := hapi.New(o); incident.KindOf(err) != incident.KindInvalid {
			t.Errorf("%s: error %v, want KindInvalid", name, err)
		}
	}
}
