package hapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/hapi"
	"kubernaut.ai/kubernaut/internal/incident"
)

// stub serves one answer to everything.
func stub(t *testing.T, handle http.HandlerFunc) *hapi.Client {
	t.Helper()
	h := httptest.NewServer(handle)
	t.Cleanup(h.Close)
	c, err := hapi.NewClient(h.URL+"/", h.Client())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func reply(status int, contentType, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

const minimal = `{"incident_id":"ai-1","analysis":"text","root_cause_analysis":{},"confidence":0.5,"timestamp":"2025-12-20T10:00:00.123456Z"}`

func TestClientErrors(t *testing.T) {
	const problemJSON, plainJSON = "application/problem+json", "application/json"
	with := func(old, fresh string) string { return strings.Replace(minimal, old, fresh, 1) }
	for _, tt := range []struct {
		name       string
		handle     http.HandlerFunc
		kind       incident.ErrorKind
		status     int
		retryAfter time.Duration
		text       string
	}{
		{"400", reply(400, problemJSON, `{"detail":"/severity: is missing"}`), incident.KindInvalid, 400, 0, "/severity: is missing"},
		{"422 problem", reply(422, problemJSON, `{"detail":"key reused"}`), incident.KindInvalid, 422, 0, "key reused"},
		{"422 text", reply(422, "text/plain", "no good\nreally"), incident.KindInvalid, 422, 0, "no good really"},
		{"401", reply(401, plainJSON, `{"detail":"who"}`), incident.KindUnauthorized, 401, 0, "who"},
		{"403", reply(403, plainJSON, `{}`), incident.KindForbidden, 403, 0, "{}"},
		{"404", reply(404, "text/plain", ""), incident.KindNotFound, 404, 0, "Not Found"},
		{"405", reply(405, "text/plain", ""), incident.KindInvalid, 405, 0, ""},
		{"408", reply(408, "text/plain", ""), incident.KindTimeout, 408, 0, ""},
		{"409", reply(409, problemJSON, `{}`), incident.KindConflict, 409, 0, ""},
		{"413", reply(413, problemJSON, `{}`), incident.KindTooLarge, 413, 0, ""},
		{"418", reply(418, "text/html", "<h1>tea</h1>"), incident.KindInvalid, 418, 0, "tea"},
		{"429", reply(429, problemJSON, `{}`, "Retry-After", "7"), incident.KindRateLimited, 429, 7 * time.Second, ""},
		{"429 with a date", reply(429, problemJSON, `{}`, "Retry-After", "Wed, 21 Oct 2026 07:28:30 GMT", "Date", "Wed, 21 Oct 2026 07:28:00 GMT"), incident.KindRateLimited, 429, 30 * time.Second, ""},
		{"429 with a date that is past", reply(429, problemJSON, `{}`, "Retry-After", "Wed, 21 Oct 2026 07:27:30 GMT", "Date", "Wed, 21 Oct 2026 07:28:00 GMT"), incident.KindRateLimited, 429, 0, ""},
		{"429 for ever", reply(429, problemJSON, `{}`, "Retry-After", "9223372036854775807"), incident.KindRateLimited, 429, 24 * time.Hour, ""},
		{"429 with nonsense", reply(429, problemJSON, `{}`, "Retry-After", "soon"), incident.KindRateLimited, 429, 0, ""},
		{"429 negative", reply(429, problemJSON, `{}`, "Retry-After", "-5"), incident.KindRateLimited, 429, 0, ""},
		{"500", reply(500, problemJSON, `{"detail":"bang"}`), incident.KindUnavailable, 500, 0, "bang"},
		{"502", reply(502, "text/html", strings.Repeat("x", 1<<20)), incident.KindUnavailable, 502, 0, "xxx"},
		{"503", reply(503, problemJSON, `{}`, "Retry-After", "1"), incident.KindUnavailable, 503, time.Second, ""},
		{"504", reply(504, problemJSON, `{}`), incident.KindTimeout, 504, 0, ""},
		{"599", reply(599, problemJSON, `{}`), incident.KindUnavailable, 599, 0, ""},
		{"204", reply(204, plainJSON, ""), incident.KindMalformed, 204, 0, "status"},
		{"202", reply(202, plainJSON, minimal), incident.KindMalformed, 202, 0, "status"},
		{"redirect", reply(302, plainJSON, minimal, "Location", "http://elsewhere.invalid/"), incident.KindMalformed, 302, 0, "status"},

		{"text for JSON", reply(200, "text/plain", minimal), incident.KindMalformed, 200, 0, "content type"},
		{"no content type", reply(200, "", minimal), incident.KindMalformed, 200, 0, "content type"},
		{"garbage", reply(200, plainJSON, "<html>"), incident.KindMalformed, 200, 0, ""},
		{"empty", reply(200, plainJSON, ""), incident.KindMalformed, 200, 0, ""},
		{"array", reply(200, plainJSON, "[]"), incident.KindMalformed, 200, 0, ""},
		{"null", reply(200, plainJSON, "null"), incident.KindMalformed, 200, 0, "missing"},
		{"half JSON", reply(200, plainJSON, minimal[:len(minimal)/2]), incident.KindMalformed, 200, 0, ""},
		{"nothing required", reply(200, plainJSON, "{}"), incident.KindMalformed, 200, 0, "missing: incident_id, analysis, root_cause_analysis, confidence, timestamp"},
		{"required null", reply(200, plainJSON, with("0.5", "null")), incident.KindMalformed, 200, 0, "missing: confidence"},
		{"confidence above 1", reply(200, plainJSON, with("0.5", "1.01")), incident.KindMalformed, 200, 0, "confidence is 1.01"},
		{"confidence below 0", reply(200, plainJSON, with("0.5", "-0.01")), incident.KindMalformed, 200, 0, "confidence"},
		{"confidence as text", reply(200, plainJSON, with("0.5", `"high"`)), incident.KindMalformed, 200, 0, ""},
		{"workflow confidence", reply(200, plainJSON, with("{}", `{},"selected_workflow":{"workflow_id":"w","confidence":7}`)), incident.KindMalformed, 200, 0, "confidence of the workflow"},
		{"workflow without id", reply(200, plainJSON, with("{}", `{},"selected_workflow":{"confidence":0.7}`)), incident.KindMalformed, 200, 0, "workflow_id"},
		{"alternative confidence", reply(200, plainJSON, with("{}", `{},"alternative_workflows":[{"workflow_id":"w","confidence":2,"rationale":""}]`)), incident.KindMalformed, 200, 0, "alternative 0"},
		{"attempt 0", reply(200, plainJSON, with("{}", `{},"validation_attempts_history":[{"attempt":0,"is_valid":true,"timestamp":""}]`)), incident.KindMalformed, 200, 0, "attempt"},
		{"too large", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", plainJSON)
			for range 17 {
				_, _ = w.Write([]byte(strings.Repeat(" ", 1<<20)))
			}
		}, incident.KindMalformed, 200, 0, "more than"},

		{"half a body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", plainJSON)
			w.Header().Set("Content-Length", fmt.Sprint(len(minimal)))
			_, _ = w.Write([]byte(minimal[:50]))
		}, incident.KindNetwork, 0, 0, "cut off after 50 bytes"},
		{"no answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, incident.KindNetwork, 0, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := stub(t, tt.handle).Investigate(t.Context(), "k", oomKill())
			e := wantKind(t, err, tt.kind)
			if e.Status != tt.status || e.RetryAfter != tt.retryAfter {
				t.Errorf("status %d, Retry-After %s; want %d, %s", e.Status, e.RetryAfter, tt.status, tt.retryAfter)
			}
			if !strings.Contains(e.Error(), tt.text) || len(e.Error()) > 3<<10 || strings.Contains(e.Error(), "\n") {
				t.Errorf("error %.200q is not one short line with %q", e.Error(), tt.text)
			}
		})
	}
	t.Run("recovery", func(t *testing.T) {
		_, err := stub(t, reply(200, plainJSON, minimal)).Investigate(t.Context(), "", failedRecovery())
		e := wantKind(t, err, incident.KindMalformed)
		if !strings.Contains(e.Error(), "missing: can_recover, analysis_confidence") {
			t.Errorf("error %q", e)
		}
	})
	t.Run("strategy of unknown risk", func(t *testing.T) {
		_, err := stub(t, reply(200, plainJSON, `{"incident_id":"a","can_recover":true,"analysis_confidence":1,
			"strategies":[{"action_type":"x","confidence":1,"rationale":"","estimated_risk":"none"}]}`)).Investigate(t.Context(), "", failedRecovery())
		wantKind(t, err, incident.KindMalformed)
	})
}

func TestClientConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	_ = l.Close()
	c, err := hapi.NewClient(closed, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Investigate(t.Context(), "", oomKill())
	wantKind(t, err, incident.KindNetwork)
	wantKind(t, c.Ready(t.Context()), incident.KindNetwork)

	c = stub(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the caller leaves
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = c.Investigate(ctx, "", oomKill())
	wantKind(t, err, incident.KindTimeout)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v does not say that the deadline passed", err)
	}
	wantKind(t, stub(t, reply(500, "text/plain", "x")).Ready(t.Context()), incident.KindUnavailable)

	for _, bad := range []string{"", "holmesgpt-api:8080", "ftp://x", "http://", "://"} {
		if _, err := hapi.NewClient(bad, nil); incident.KindOf(err) != incident.KindInvalid {
			t.Errorf("base URL %q: error %v, want KindInvalid", bad, err)
		}
	}
}

// Answers as the service that this one replaces gives them.
func TestClientReadsOlderServers(t *testing.T) {
	t.Run("incident", func(t *testing.T) {
		got, err := stub(t, reply(200, "application/json; charset=utf-8", `{
			"incident_id": "ai-1", "analysis": "text", "confidence": 0.9, "timestamp": "yesterday", "unknown": {},
			"root_cause_analysis": {"summary": "s", "severity": "unknown", "contributing_factors": ["a"], "affectedResource": {"kind": "Pod", "name": "p", "namespace": "n"}},
			"selected_workflow": {"workflow_id": "w", "version": "1", "containerImage": "img", "confidence": 0.9, "rationale": "r",
				"parameters": {"TEXT": "t", "NUMBER": 12345678901234567890, "FLAG": true, "LIST": ["a"], "NOTHING": null}},
			"needs_human_review": true, "human_review_reason": "a_new_reason", "warnings": null,
			"alternative_workflows": [{"workflow_id": "w2", "container_image": null, "confidence": 0.5, "rationale": "x"}],
			"validation_attempts_history": [{"attempt": 1, "workflow_id": null, "is_valid": false, "errors": ["e"], "timestamp": "2025-12-20T10:00:00Z"}]
		}`)).Investigate(t.Context(), "", oomKill())
		if err != nil {
			t.Fatal(err)
		}
		diff(t, "investigation", incident.Investigation{
			IncidentID: "ai-1", Analysis: "text", Confidence: 0.9,
			RootCause: incident.RootCause{Summary: "s", Severity: "unknown", Factors: []string{"a"}, Target: &incident.Ref{Kind: "Pod", Name: "p", Namespace: "n"}},
			Workflow: &incident.SelectedWorkflow{
				ID: "w", Version: "1", ContainerImage: "img", Confidence: 0.9, Rationale: "r",
				Parameters: map[string]string{"TEXT": "t", "NUMBER": "12345678901234567890", "FLAG": "true", "LIST": `["a"]`, "NOTHING": "null"},
			},
			NeedsHumanReview: true, HumanReviewReason: "a_new_reason", TargetInOwnerChain: true,
			Alternatives: []incident.Alternative{{WorkflowID: "w2", Confidence: 0.5, Rationale: "x"}},
			Attempts:     []incident.ValidationAttempt{{Attempt: 1, Errors: []string{"e"}, At: time.Date(2025, 12, 20, 10, 0, 0, 0, time.UTC)}},
		}, got)
	})
	for name, analysis := range map[string]string{
		"recovery, inside": `{"previous_attempt_assessment": {"failure_understood": true, "failure_reason_analysis": "f", "state_changed": true, "current_signal_type": "Evicted"},
			"current_rca": {"summary": "s", "severity": "high", "signal_type": "Evicted", "contributing_factors": ["a"]}}`,
		"recovery, at the top": `{"previous_attempt_assessment": {"failure_understood": true, "failure_reason_analysis": "f"}, "state_changed": true,
			"current_signal_type": "Evicted", "current_rca": {"summary": "s", "severity": "high", "signal_type": "Evicted", "contributing_factors": ["a"]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := stub(t, reply(200, "application/json", `{"incident_id": "ai-1", "can_recover": true, "analysis_confidence": 0.8, "strategies": [],
				"metadata": {"analysis_time_ms": 2000}, "selected_workflow": null, "needs_human_review": true, "human_review_reason": "signal_not_reproducible",
				"recovery_analysis": `+analysis+`}`)).Investigate(t.Context(), "", failedRecovery())
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "investigation", incident.Investigation{
				IncidentID: "ai-1", Confidence: 0.8, NeedsHumanReview: true, HumanReviewReason: incident.ReviewNotReproducible,
				RootCause: incident.RootCause{Summary: "s", Severity: "high", SignalType: "Evicted", Factors: []string{"a"}},
				Recovery: &incident.RecoveryAssessment{
					CanRecover: true, Assessed: true, FailureUnderstood: true, FailureReason: "f", StateChanged: true, CurrentSignalType: "Evicted",
				},
			}, got)
		})
	}
}

func TestRequestHashIsThatOfTheBody(t *testing.T) {
	f := &fake{}
	s := serve(t, hapi.Options{Investigator: f})
	for _, in := range []incident.Incident{oomKill(), failedRecovery()} {
		if _, err := s.client.Investigate(t.Context(), "", in); err != nil {
			t.Fatal(err)
		}
		if got, want := f.under[len(f.under)-1].Hash, hapi.RequestHash(in); got != want || len(want) != 64 {
			t.Errorf("the server hashed %q, the client %q", got, want)
		}
	}
}

func TestImageKeyIsWrittenInBothSpellings(t *testing.T) {
	s := serve(t, hapi.Options{})
	for path, body := range map[string]string{hapi.PathIncident: incidentBody, hapi.PathRecovery: `{"incident_id":"a","remediation_id":"r"}`} {
		_, text := send(t, "POST", s.url+path, body)
		var answer struct {
			Workflow map[string]any `json:"selected_workflow"`
		}
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"container_image", "containerImage"} {
			if answer.Workflow[key] != "image" {
				t.Errorf("%s: %s is %v, want image", path, key, answer.Workflow[key])
			}
		}
	}
}
