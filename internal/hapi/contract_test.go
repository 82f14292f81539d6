package hapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/internal/hapi"
	"kubernaut.ai/kubernaut/internal/hapi/wire"
	"kubernaut.ai/kubernaut/internal/incident"
)

const document = "../../api/openapi/holmesgpt-api.yaml"

func spec(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := wire.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background(), openapi3.DisableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// The generated code is that of the document, but for what concerns Go alone.
func TestGeneratedCodeIsCurrent(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := wire.GetSpecJSON()
	if err != nil {
		t.Fatal(err)
	}
	var want, got map[string]any
	if err := yaml.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(embedded, &got); err != nil {
		t.Fatal(err)
	}
	withoutExtensions(got)
	diff(t, "document and embedded copy; run go generate ./internal/hapi/wire", want, got)
}

func withoutExtensions(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			if strings.HasPrefix(key, "x-") {
				delete(v, key)
				continue
			}
			withoutExtensions(child)
		}
	case []any:
		for _, child := range v {
			withoutExtensions(child)
		}
	}
}

// Every operation says what its errors look like, and unknown fields are never forbidden.
func TestEveryOperationHasProblems(t *testing.T) {
	doc := spec(t)
	seen := 0
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			seen++
			at := method + " " + path
			if op.OperationID == "" || op.Summary == "" {
				t.Errorf("%s has no operationId or no summary", at)
			}
			if op.Responses.Default() == nil {
				t.Errorf("%s has no default response", at)
			}
			for status, r := range op.Responses.Map() {
				if status[0] == '2' || r.Value.Content["application/json"] != nil {
					continue
				}
				media := r.Value.Content["application/problem+json"]
				if media == nil || media.Schema.Ref != "#/components/schemas/Problem" {
					t.Errorf("%s: response %s is no Problem", at, status)
				}
			}
		}
	}
	if seen != 6 {
		t.Errorf("%d operations, want 6", seen)
	}
	for name, schema := range doc.Components.Schemas {
		if schema.Value.AdditionalProperties.Has != nil && !*schema.Value.AdditionalProperties.Has {
			t.Errorf("schema %s forbids unknown fields", name)
		}
	}
}

// Optional fields of requests may be null, all of them.
func TestOptionalRequestFieldsAreNullable(t *testing.T) {
	doc := spec(t)
	for _, name := range []string{"IncidentRequest", "RecoveryRequest", "PreviousExecution", "OriginalRCA", "ExecutedWorkflow", "ExecutionFailure", "EnrichmentResults", "DetectedLabels", "Owner"} {
		schema := doc.Components.Schemas[name].Value
		for field, property := range schema.Properties {
			if !slices.Contains(schema.Required, field) && !property.Value.Nullable {
				t.Errorf("%s.%s is optional and not nullable", name, field)
			}
		}
	}
}

// What the server answers is what the document says, for every operation and for any investigation.
func TestAnswersFollowTheDocument(t *testing.T) {
	doc := spec(t)
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{}
	s := serve(t, hapi.Options{Investigator: f, Settings: map[string]any{"a": 1}, MaxBodyBytes: 8 << 20})
	check := func(method, path string, body []byte) (*http.Response, error) {
		req, err := http.NewRequest(method, s.url+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		plain, err := http.NewRequest(method, path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		plain.Header = req.Header
		route, params, err := router.FindRoute(plain)
		if err != nil {
			return nil, err
		}
		return resp, openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: plain, PathParams: params, Route: route},
			Status:                 resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(text)),
			Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
		})
	}
	for _, path := range []string{hapi.PathHealth, hapi.PathReady, hapi.PathConfig} {
		if resp, err := check("GET", path, nil); err != nil || resp.StatusCode != 200 {
			t.Errorf("GET %s: %v", path, err)
		}
	}
	s.BeginShutdown()
	if resp, err := check("GET", hapi.PathReady, nil); err != nil || resp.StatusCode != 503 {
		t.Errorf("GET %s while shutting down: %v", hapi.PathReady, err)
	}
	s = serve(t, hapi.Options{Investigator: f, MaxBodyBytes: 8 << 20})
	rapid.Check(t, func(t *rapid.T) {
		inv := investigations.Draw(t, "investigation")
		inv.HumanReviewReason = incident.ReviewReason(rapid.SampledFrom([]string{"", "low_confidence", "signal_not_reproducible"}).Draw(t, "reason"))
		f.answer = func(_ context.Context, in incident.Incident) (incident.Investigation, error) {
			inv.IncidentID = in.ID
			return inv, nil
		}
		for path, body := range map[string]string{hapi.PathIncident: incidentBody, hapi.PathRecovery: `{"incident_id":"a","remediation_id":"r"}`} {
			if resp, err := check("POST", path, []byte(body)); err != nil || resp.StatusCode != 200 {
				t.Fatalf("POST %s: %v", path, err)
			}
			if resp, err := check("POST", path, []byte(`{}`)); err != nil || resp.StatusCode != 400 {
				t.Fatalf("POST %s, bad: %v", path, err)
			}
		}
	})
	http.DefaultClient.CloseIdleConnections()
}

// Clients of the contract find every key in every answer, also the empty ones.
func TestAnswersNameEveryField(t *testing.T) {
	s := serve(t, hapi.Options{Investigator: &fake{answer: func(_ context.Context, in incident.Incident) (incident.Investigation, error) {
		return incident.Investigation{IncidentID: in.ID}, nil
	}}})
	for path, tt := range map[string]struct{ body, schema string }{
		hapi.PathIncident: {incidentBody, "IncidentResponse"},
		hapi.PathRecovery: {`{"incident_id":"a","remediation_id":"r"}`, "RecoveryResponse"},
	} {
		_, text := send(t, "POST", s.url+path, tt.body)
		var got map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		for field, property := range spec(t).Components.Schemas[tt.schema].Value.Properties {
			raw, ok := got[field]
			if !ok && field != "reasoning" { // no older client knows of models
				t.Errorf("%s: no key %s", path, field)
			}
			if property.Value.Type.Is("array") && string(raw) == "null" {
				t.Errorf("%s: %s is null, want []", path, field)
			}
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(false, []byte(incidentBody))
	f.Add(true, []byte(`{"incident_id":"a","remediation_id":"r","recovery_attempt_number":2,"previous_executions":[null,{"workflow_execution_ref":"w",
		"original_rca":{"summary":"s","signal_type":"t","severity":"u"},"selected_workflow":{"workflow_id":"i","version":"v","container_image":"c","rationale":"r"},
		"failure":{"failed_step_index":1,"failed_step_name":"n","reason":"r","message":"m","failed_at":"never","execution_time":"1s"}}]}`))
	f.Add(true, []byte(`{"incident_id":"a","remediation_id":"r","enrichment_results":{"detectedLabels":{"failedDetections":["stateful"]},"ownerChain":[{"kind":"k","name":"n"}]}}`))
	f.Add(false, []byte(`{"`))
	fk := &fake{}
	s, err := hapi.New(hapi.Options{Investigator: fk, StateDir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, recovery bool, body []byte) {
		path := hapi.PathIncident
		if recovery {
			path = hapi.PathRecovery
		}
		fk.mu.Lock()
		fk.asked, fk.under = nil, nil
		fk.mu.Unlock()
		req := httptest.NewRequest("POST", path, bytes.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, req)
		switch text := rec.Body.String(); rec.Code {
		case 200:
			if fk.count() != 1 || fk.asked[0].RemediationID == "" || (fk.asked[0].Recovery != nil) != recovery {
				t.Fatalf("answered without a proper investigation: %+v", fk.asked)
			}
		case 400, 413:
			if fk.count() != 0 {
				t.Fatal("a refused request was investigated")
			}
			var p problemDoc
			if err := json.Unmarshal([]byte(text), &p); err != nil || len(p.Errors) == 0 && rec.Code == 400 {
				t.Fatalf("no problem with its faults: %s", text)
			}
		default:
			t.Fatalf("status %d: %s", rec.Code, text)
		}
	})
}

// BenchmarkRequest measures what the service adds to an investigation that takes no time. "keyed"
// includes the sync of the kept answer to disk, "replayed" is an answer from disk.
func BenchmarkRequest(b *testing.B) {
	for _, mode := range []string{"plain", "keyed", "replayed"} {
		b.Run(mode, func(b *testing.B) {
			s := serve(b, hapi.Options{MaxAnswers: 1000})
			in := oomKill()
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				key := ""
				switch i++; mode {
				case "keyed":
					key = fmt.Sprintf("%d", i)
				case "replayed":
					key = "same"
				}
				if _, err := s.client.Investigate(b.Context(), key, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
