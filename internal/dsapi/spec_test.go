package dsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"pgregory.net/rapid"

	"kubernaut.ai/kubernaut/internal/dsapi/internal/gen"
	"kubernaut.ai/kubernaut/internal/incident"
)

func loadSpec(t *testing.T) *openapi3.T {
	t.Helper()
	spec, err := gen.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Validate(t.Context()); err != nil {
		t.Fatalf("the specification is not valid: %v", err)
	}
	return spec
}

// emptyStore is a catalog and a trail with nothing in them. It takes what it is given.
type emptyStore struct{}

var errNone = incident.Errorf(incident.KindNotFound, "get", "there is none")

func (emptyStore) AppendEvents(_ context.Context, events []incident.AuditEvent) ([]incident.StoredEvent, error) {
	return make([]incident.StoredEvent, len(events)), nil
}

func (emptyStore) Event(context.Context, string) (incident.StoredEvent, error) {
	return incident.StoredEvent{}, errNone
}

func (emptyStore) Events(context.Context, incident.EventQuery) (incident.EventPage, error) {
	return incident.EventPage{}, nil
}

func (emptyStore) VerifyChain(context.Context, string) (incident.ChainReport, error) {
	return incident.ChainReport{}, errNone
}

func (emptyStore) AddNotification(context.Context, incident.Notification) (incident.StoredNotification, error) {
	return incident.StoredNotification{}, nil
}

func (emptyStore) CreateWorkflow(_ context.Context, w incident.Workflow) (incident.Workflow, error) {
	return w, nil
}

func (emptyStore) Workflow(context.Context, string) (incident.Workflow, error) {
	return incident.Workflow{}, errNone
}

func (emptyStore) WorkflowVersions(context.Context, string) ([]incident.Workflow, error) {
	return nil, nil
}

func (emptyStore) Workflows(context.Context, incident.WorkflowFilter) (incident.WorkflowPage, error) {
	return incident.WorkflowPage{}, nil
}

func (emptyStore) ChangeWorkflow(context.Context, string, incident.WorkflowChange) (incident.Workflow, error) {
	return incident.Workflow{}, errNone
}

func (emptyStore) SearchWorkflows(context.Context, incident.WorkflowQuery) (incident.WorkflowSearch, error) {
	return incident.WorkflowSearch{}, nil
}
func (emptyStore) PutBundle(context.Context, string, []byte) (bool, error) { return true, nil }
func (emptyStore) Bundle(context.Context, string) ([]byte, error)          { return nil, errNone }
func (emptyStore) Ping(context.Context) error                              { return nil }

// TestSpecification walks every operation: its default answer is a Problem, it is served, and what
// is served for an empty and for a plausible request follows the specification.
func TestSpecification(t *testing.T) {
	spec := loadSpec(t)
	server, err := NewServer(Options{Store: emptyStore{}, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprintln(w, "up 1")
	})})
	if err != nil {
		t.Fatal(err)
	}
	spec.Servers = nil
	router, err := gorillamux.NewRouter(spec)
	if err != nil {
		t.Fatal(err)
	}
	operations := 0
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			operations++
			t.Run(op.OperationID, func(t *testing.T) {
				fallback := op.Responses.Default()
				if fallback == nil || fallback.Value.Content["application/problem+json"] == nil ||
					fallback.Value.Content["application/problem+json"].Schema.Ref != "#/components/schemas/Problem" {
					t.Error("the default answer is not a Problem")
				}
				for status, response := range op.Responses.Map() {
					if status >= "400" && status != "503" && response.Value.Content["application/problem+json"] == nil {
						t.Errorf("answer %s is not a Problem", status)
					}
				}
				for _, body := range []string{"", plausible(op)} {
					url := strings.NewReplacer("{workflow_id}", "00000000-0000-0000-0000-000000000000", "{workflow_name}", "x",
						"{digest}", "sha256:"+strings.Repeat("0", 64)).Replace(path)
					checkAnswer(t, server, router, method, url, body)
				}
			})
		}
	}
	if operations < 20 {
		t.Errorf("the specification has %d operations", operations)
	}
}

// plausible is a body that follows the request's schema.
func plausible(op *openapi3.Operation) string {
	labels := `{"signal_type":"s","severity":"low","component":"c","environment":"e","priority":"P1"}`
	event := `{"version":"1","event_type":"t","event_timestamp":"2026-01-01T00:00:00Z","event_category":"analysis",` +
		`"event_action":"a","event_outcome":"success","correlation_id":"c","event_data":{}}`
	return map[string]string{
		"createAuditEvent":       event,
		"createAuditEventsBatch": "[" + event + "]",
		"createNotificationAudit": `{"remediation_id":"r","notification_id":"n","recipient":"x","channel":"slack","message_summary":"m",` +
			`"status":"sent","sent_at":"2026-01-01T00:00:00Z"}`,
		"createWorkflow": `{"workflow_name":"w","version":"1","name":"n","description":"d","content":"c","content_hash":"` +
			incident.ContentDigest("c") + `","labels":` + labels + `,"execution_engine":"tekton","status":"active"}`,
		"searchWorkflows": `{"filters":` + labels + `}`,
		"updateWorkflow":  `{"status":"active"}`,
		"disableWorkflow": `{"reason":"r"}`,
		"putBundle":       "x",
	}[op.OperationID]
}

// checkAnswer sends a request and holds the answer to the specification.
func checkAnswer(t *testing.T, server http.Handler, router routers.Router, method, url, body string) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	server.ServeHTTP(recorder, request)
	if recorder.Code == http.StatusNotFound && strings.Contains(recorder.Body.String(), "nothing at this path") || recorder.Code == http.StatusMethodNotAllowed {
		t.Fatalf("%s %s is not served: %d %s", method, url, recorder.Code, recorder.Body)
	}
	route, params, err := router.FindRoute(request)
	if err != nil {
		t.Fatal(err)
	}
	err = openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: request, PathParams: params, Route: route},
		Status:                 recorder.Code,
		Header:                 recorder.Header(),
		Body:                   readCloser{recorder.Body},
		Options:                &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	if err != nil {
		t.Errorf("%s %s with %q answers %d %s, which the specification does not allow: %v", method, url, body, recorder.Code, recorder.Body, err)
	}
}

type readCloser struct{ *bytes.Buffer }

func (readCloser) Close() error { return nil }

func TestCategoriesAreThoseOfTheDomain(t *testing.T) {
	var inSpec []string
	for _, v := range loadSpec(t).Components.Schemas["EventCategory"].Value.Enum {
		inSpec = append(inSpec, v.(string))
	}
	if want := incident.EventCategories(); !slices.Equal(inSpec, want) {
		t.Errorf("categories of the specification are %q, those of the domain %q", inSpec, want)
	}
}

// TestBatchRulesAreThoseOfTheSpecification holds incident.AuditEvent.Validate, which checks the
// events of a batch, to the schema that checks a single one.
func TestBatchRulesAreThoseOfTheSpecification(t *testing.T) {
	schema := loadSpec(t).Components.Schemas["AuditEventRequest"].Value
	now := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	text := func(bounds ...int) *rapid.Generator[any] {
		lengths := append([]int{0, 1, 36}, bounds...)
		return rapid.Custom(func(t *rapid.T) any {
			n := rapid.SampledFrom(lengths).Draw(t, "length") + rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "more")
			return strings.Repeat(rapid.SampledFrom([]string{"a", "é", "😀"}).Draw(t, "rune"), n)
		})
	}
	fields := map[string]*rapid.Generator[any]{
		"event_id":        rapid.SampledFrom([]any{"0195948a-76ee-7000-8000-00000000000A", "0195948a76ee7000800000000000000a", "", "x"}),
		"version":         text(20),
		"event_type":      text(100),
		"event_timestamp": rapid.SampledFrom([]any{"2026-03-14T15:09:26Z", "2026-03-14T15:09:26.123456789+01:00", "2026-03-14 15:09:26Z", "2026-03-14", ""}),
		"event_category":  rapid.SampledFrom([]any{"analysis", "workflow_catalog", "other", ""}),
		"event_action":    text(50),
		"event_outcome":   rapid.SampledFrom([]any{"success", "failure", "pending", "Success", ""}),
		"correlation_id":  text(255),
		"event_data":      rapid.SampledFrom([]any{map[string]any{"a": 1.0}, map[string]any{}, []any{}, "x", nil}),
		"actor_type":      text(50),
		"actor_id":        text(255),
		"resource_type":   text(100),
		"resource_id":     text(255),
		"parent_event_id": rapid.SampledFrom([]any{"0195948a-76ee-7000-8000-00000000000a", "", "x", nil}),
		"namespace":       text(253),
		"cluster_name":    text(255),
		"severity":        text(20),
		"duration_ms":     rapid.SampledFrom([]any{0.0, 7.0, -1.0, nil}),
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(t *rapid.T) {
		event := map[string]any{
			"version": "1.0", "event_type": "t", "event_timestamp": "2026-03-14T15:09:26Z", "event_category": "analysis",
			"event_action": "a", "event_outcome": "success", "correlation_id": "c", "event_data": map[string]any{},
		}
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			name := rapid.SampledFrom(names).Draw(t, "field")
			if rapid.IntRange(0, 5).Draw(t, "keep") == 0 {
				delete(event, name)
			} else {
				event[name] = fields[name].Draw(t, name)
			}
		}
		specErr := schema.VisitJSON(event, openapi3.MultiErrors(), openapi3.EnableFormatValidation())
		body, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		var wire gen.AuditEventRequest
		err = json.Unmarshal(body, &wire)
		var faults incident.FieldErrors
		if err == nil {
			var e incident.AuditEvent
			e, faults = eventFromWire(wire)
			faults = append(faults, e.Validate(now)...)
		}
		if refused := err != nil || len(faults) > 0; refused != (specErr != nil) {
			t.Fatalf("%s\nspecification: %v\nbatch: %v, %v", body, specErr, err, faults)
		}
	})
}
