package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kubernaut.ai/kubernaut/internal/incident"
)

var (
	testSubject  = Analysis("8f1c", 1, "shop", "ai-1", "rem-1")
	testRequest  = Request("8f1c/1/1", "ai-1", "rem-1")
	testDecision = incident.Decision{
		ApprovalRequired: true, Reason: "production", Rules: []string{"production"}, PolicyName: "aianalysis.approval", PolicyHash: "ab12",
	}
	autoDecision = incident.Decision{Reason: "all conditions hold", PolicyHash: "ab12"}
)

// The wire contract of each event: what dashboards and older clients read.
func TestEventsOnTheWire(t *testing.T) {
	upstream := &incident.Error{Kind: incident.KindUnavailable, Op: "investigate", Status: 503, Err: errors.New("busy")}
	for _, tt := range []struct {
		name     string
		payload  Payload
		typ      string
		action   string
		outcome  incident.Outcome
		severity string
		duration int64 // -1 for none
		data     string
	}{
		{
			name: "started", duration: -1,
			payload: AnalysisStarted{
				SignalType: "OOMKilled", Severity: "critical", Environment: "production", Priority: "P0", Fingerprint: "f",
				Target: incident.Ref{Kind: "Pod", Namespace: "shop", Name: "cart"}, AnalysisTypes: []string{"investigation"}, RecoveryAttempt: 2,
			},
			typ: "aianalysis.analysis.started", action: "analysis_started", outcome: "pending", severity: "info",
			data: `{"signal_type":"OOMKilled","severity":"critical","environment":"production","business_priority":"P0","fingerprint":"f",
				"target_resource":"Pod shop/cart","analysis_types":["investigation"],"is_recovery_attempt":true,"recovery_attempt_number":2}`,
		},
		{
			name: "transition", duration: -1,
			payload: PhaseTransition{Old: "Pending", New: "Investigating"},
			typ:     "aianalysis.phase.transition", action: "phase_transition", outcome: "success", severity: "info",
			data: `{"old_phase":"Pending","new_phase":"Investigating"}`,
		},
		{
			name: "call", duration: 1500,
			payload: InvestigationCall{Status: 200, Duration: 1500 * time.Millisecond, Attempt: 1, RequestHash: "h", BundleDigest: "sha256:d"},
			typ:     "aianalysis.holmesgpt.call", action: "holmesgpt_call", outcome: "success", severity: "info",
			data: `{"endpoint":"/api/v1/incident/analyze","http_status_code":200,"duration_ms":1500,"attempt":1,"request_hash":"h","bundle_digest":"sha256:d"}`,
		},
		{
			name: "recovery call that failed", duration: 3,
			payload: InvestigationCall{Recovery: true, Status: 503, Duration: 3 * time.Millisecond, Attempt: 2, Err: upstream},
			typ:     "aianalysis.holmesgpt.call", action: "holmesgpt_call", outcome: "failure", severity: "warning",
			data: `{"endpoint":"/api/v1/recovery/analyze","http_status_code":503,"duration_ms":3,"attempt":2,"error_kind":"Transient",
				"error_message":"investigate: HTTP 503: busy"}`,
		},
		{
			name: "call without an answer", duration: 0,
			payload: InvestigationCall{Attempt: 1, Err: errDown},
			typ:     "aianalysis.holmesgpt.call", action: "holmesgpt_call", outcome: "failure", severity: "warning",
			data: `{"endpoint":"/api/v1/incident/analyze","http_status_code":0,"duration_ms":0,"attempt":1,"error_kind":"Network",
				"error_message":"write: connection refused"}`,
		},
		{
			name: "call with a broken answer", duration: 0,
			payload: InvestigationCall{Attempt: 1, Status: 200, Err: errMalformed},
			typ:     "aianalysis.holmesgpt.call", action: "holmesgpt_call", outcome: "failure", severity: "warning",
			data: `{"endpoint":"/api/v1/incident/analyze","http_status_code":200,"duration_ms":0,"attempt":1,"error_kind":"Malformed",
				"error_message":"write: the answer is no JSON"}`,
		},
		{
			name: "policy wants a person", duration: 2,
			payload: PolicyEvaluation{Decision: testDecision, Duration: 2 * time.Millisecond},
			typ:     "aianalysis.rego.evaluation", action: "policy_evaluation", outcome: "success", severity: "info",
			data: `{"outcome":"requires_approval","degraded":false,"duration_ms":2,"reason":"production","policy_name":"aianalysis.approval",
				"policy_hash":"ab12","matched_rules":["production"]}`,
		},
		{
			name: "policy approves", duration: 2,
			payload: PolicyEvaluation{Decision: autoDecision, Duration: 2 * time.Millisecond},
			typ:     "aianalysis.rego.evaluation", action: "policy_evaluation", outcome: "success", severity: "info",
			data: `{"outcome":"approved","degraded":false,"duration_ms":2,"reason":"all conditions hold","policy_hash":"ab12","matched_rules":[]}`,
		},
		{
			name: "policy fails", duration: 2,
			payload: PolicyEvaluation{Duration: 2 * time.Millisecond, Err: errors.New("undefined")},
			typ:     "aianalysis.rego.evaluation", action: "policy_evaluation", outcome: "failure", severity: "error",
			data: `{"outcome":"error","degraded":false,"duration_ms":2,"reason":"","matched_rules":[],"error_message":"undefined"}`,
		},
		{
			name: "approval", duration: -1,
			payload: ApprovalDecision{Decision: testDecision, Environment: "production", Confidence: new(0.9), WorkflowID: "w"},
			typ:     "aianalysis.approval.decision", action: "approval_decision", outcome: "success", severity: "info",
			data: `{"approval_required":true,"approval_reason":"production","auto_approved":false,"decision":"requires_approval",
				"reason":"production","environment":"production","confidence":0.9,"workflow_id":"w","degraded":false,"policy_hash":"ab12",
				"matched_rules":["production"]}`,
		},
		{
			name: "no approval", duration: -1,
			payload: ApprovalDecision{Decision: autoDecision, Environment: "staging"},
			typ:     "aianalysis.approval.decision", action: "approval_decision", outcome: "success", severity: "info",
			data: `{"approval_required":false,"approval_reason":"all conditions hold","auto_approved":true,"decision":"auto_approved",
				"reason":"all conditions hold","environment":"staging","degraded":false,"policy_hash":"ab12","matched_rules":[]}`,
		},
		{
			name: "human review", duration: -1,
			payload: HumanReviewRequired{
				Reason: "WorkflowResolutionFailed", SubReason: "LowConfidence", ReviewReason: incident.ReviewLowConfidence,
				Message: "m", Confidence: new(0.4), WorkflowID: "w", BundleDigest: "sha256:d",
			},
			typ: "aianalysis.human_review.required", action: "human_review_required", outcome: "pending", severity: "warning",
			data: `{"reason":"WorkflowResolutionFailed","sub_reason":"LowConfidence","human_review_reason":"low_confidence","message":"m",
				"confidence":0.4,"workflow_id":"w","bundle_digest":"sha256:d"}`,
		},
		{
			name: "completed", duration: 2500,
			payload: AnalysisCompleted{
				Phase: "Completed", ApprovalRequired: true, ApprovalReason: "production", WarningsCount: 1, Confidence: new(0.9),
				WorkflowID: "w", TargetInOwnerChain: new(false), Attempts: 1, PolicyHash: "ab12", BundleDigest: "sha256:d", Duration: 2500 * time.Millisecond,
			},
			typ: "aianalysis.analysis.completed", action: "analysis_complete", outcome: "success", severity: "info",
			data: `{"phase":"Completed","approval_required":true,"approval_reason":"production","degraded_mode":false,"warnings_count":1,
				"confidence":0.9,"workflow_id":"w","target_in_owner_chain":false,"attempts":1,"policy_hash":"ab12","bundle_digest":"sha256:d"}`,
		},
		{
			name: "failed", duration: -1,
			payload: AnalysisCompleted{Phase: "Failed", Reason: "APIError", SubReason: "MaxRetriesExceeded", DegradedMode: true},
			typ:     "aianalysis.analysis.completed", action: "analysis_complete", outcome: "failure", severity: "warning",
			data: `{"phase":"Failed","approval_required":false,"degraded_mode":true,"warnings_count":0,"reason":"APIError","sub_reason":"MaxRetriesExceeded"}`,
		},
		{
			name: "error", duration: -1,
			payload: ErrorOccurred{Phase: "Investigating", Attempt: 5, Err: upstream, Final: true},
			typ:     "aianalysis.error.occurred", action: "error", outcome: "failure", severity: "error",
			data: `{"phase":"Investigating","error":"investigate: HTTP 503: busy","error_message":"investigate: HTTP 503: busy",
				"error_kind":"Transient","attempt":5,"final":true}`,
		},
		{
			name: "deleted", duration: -1,
			payload: AnalysisDeleted{Phase: "Completed"},
			typ:     "aianalysis.analysis.deleted", action: "analysis_deleted", outcome: "success", severity: "info",
			data: `{"phase":"Completed"}`,
		},
		{
			name: "model asked", duration: -1,
			payload: LLMRequest{IncidentID: "i", Model: "m", Prompt: strings.Repeat("é", 600), Toolsets: []string{"k8s"}},
			typ:     "llm_request", action: "llm_request_sent", outcome: "success", severity: "info",
			data: `{"event_id":"ID","incident_id":"i","model":"m","prompt_length":600,"prompt_preview":"` + strings.Repeat("é", 500) + `",
				"max_tokens":null,"toolsets_enabled":["k8s"],"mcp_servers":[]}`,
		},
		{
			name: "model answered", duration: -1,
			payload: LLMResponse{IncidentID: "i", Analysis: "text", TokensUsed: new(7), ToolCalls: 2},
			typ:     "llm_response", action: "llm_response_received", outcome: "success", severity: "info",
			data: `{"event_id":"ID","incident_id":"i","has_analysis":true,"analysis_length":4,"analysis_preview":"text","tokens_used":7,"tool_call_count":2}`,
		},
		{
			name: "model said nothing", duration: -1,
			payload: LLMResponse{IncidentID: "i"},
			typ:     "llm_response", action: "llm_response_received", outcome: "failure", severity: "warning",
			data: `{"event_id":"ID","incident_id":"i","has_analysis":false,"analysis_length":0,"analysis_preview":"","tokens_used":null,"tool_call_count":0}`,
		},
		{
			name: "tool", duration: -1,
			payload: LLMToolCall{IncidentID: "i", Index: 3, Tool: "search", Arguments: json.RawMessage(`{"q":"x","q":"y"}`), Result: "r"},
			typ:     "llm_tool_call", action: "tool_invoked", outcome: "success", severity: "info",
			data: `{"event_id":"ID","incident_id":"i","tool_call_index":3,"tool_name":"search","tool_arguments":{"q":"y"},"tool_result":"r","tool_result_preview":"r"}`,
		},
		{
			name: "tool with broken arguments", duration: -1,
			payload: LLMToolCall{Tool: "t", Arguments: json.RawMessage(`{"q":`), Err: errors.New("no")},
			typ:     "llm_tool_call", action: "tool_invoked", outcome: "failure", severity: "warning",
			data: `{"event_id":"ID","incident_id":"","tool_call_index":0,"tool_name":"t","tool_arguments":"{\"q\":","tool_result":"",
				"tool_result_preview":"","error_message":"no"}`,
		},
		{
			name: "valid workflow", duration: -1,
			payload: WorkflowValidation{IncidentID: "i", Attempt: 1, MaxAttempts: 3, Valid: true, WorkflowID: "w"},
			typ:     "workflow_validation_attempt", action: "validation_executed", outcome: "success", severity: "info",
			data: `{"event_id":"ID","incident_id":"i","attempt":1,"max_attempts":3,"is_valid":true,"errors":[],"validation_errors":"",
				"workflow_id":"w","workflow_name":"w","human_review_reason":null,"is_final_attempt":false}`,
		},
		{
			name: "invalid workflow", duration: -1,
			payload: WorkflowValidation{Attempt: 2, MaxAttempts: 3, Errors: []string{"a", "b"}, WorkflowID: "w", WorkflowName: "n"},
			typ:     "workflow_validation_attempt", action: "validation_executed", outcome: "pending", severity: "info",
			data: `{"event_id":"ID","incident_id":"","attempt":2,"max_attempts":3,"is_valid":false,"errors":["a","b"],"validation_errors":"a; b",
				"workflow_id":"w","workflow_name":"n","human_review_reason":null,"is_final_attempt":false}`,
		},
		{
			name: "invalid to the last", duration: -1,
			payload: WorkflowValidation{Attempt: 3, MaxAttempts: 3, ReviewReason: incident.ReviewParameterValidation},
			typ:     "workflow_validation_attempt", action: "validation_executed", outcome: "failure", severity: "warning",
			data: `{"event_id":"ID","incident_id":"","attempt":3,"max_attempts":3,"is_valid":false,"errors":[],"validation_errors":"",
				"workflow_id":"","workflow_name":"","human_review_reason":"parameter_validation_failed","is_final_attempt":true}`,
		},
		{
			name: "investigation", duration: 40,
			payload: InvestigationCompleted{
				Investigation: incident.Investigation{
					IncidentID: "i", CauseClass: "oom-limit", Confidence: 0.95, BundleDigest: "sha256:d",
					RootCause:  incident.RootCause{Summary: "s", Severity: incident.SeverityHigh, Target: &incident.Ref{Kind: "Deployment", Namespace: "shop", Name: "cart"}},
					Workflow:   &incident.SelectedWorkflow{ID: "w"},
					Candidates: make([]incident.Candidate, 2), Chain: make([]incident.Link, 3), Evidence: make([]incident.Evidence, 4),
					Gaps: []incident.Gap{{TouchesCause: true}, {}},
				},
				Engine: "deterministic", RequestHash: "h", Duration: 40 * time.Millisecond,
			},
			typ: "investigation.completed", action: "investigation_completed", outcome: "success", severity: "info",
			data: `{"event_id":"ID","incident_id":"i","engine":"deterministic","cause_class":"oom-limit","root_cause":"s","severity":"high",
				"target_resource":"Deployment shop/cart","confidence":0.95,"workflow_id":"w","candidate_count":2,"chain_length":3,
				"evidence_count":4,"gap_count":2,"gaps_touching_cause":1,"needs_human_review":false,"human_review_reason":null,
				"warnings":[],"bundle_digest":"sha256:d","request_hash":"h","duration_ms":40}`,
		},
		{
			name: "investigation that failed", duration: 0,
			payload: InvestigationCompleted{Investigation: incident.Investigation{Confidence: math.NaN()}, Engine: "mock", Err: errDown},
			typ:     "investigation.completed", action: "investigation_completed", outcome: "failure", severity: "warning",
			data: `{"event_id":"ID","incident_id":"","engine":"mock","cause_class":"","root_cause":"","severity":"","confidence":null,
				"candidate_count":0,"chain_length":0,"evidence_count":0,"gap_count":0,"gaps_touching_cause":0,"needs_human_review":false,
				"human_review_reason":null,"warnings":[],"duration_ms":0,"error_kind":"Network","error_message":"write: connection refused"}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := testSubject
			if !strings.HasPrefix(tt.typ, "aianalysis.") {
				s = testRequest
			}
			got := New(s, testTime, tt.payload)
			want := incident.AuditEvent{
				ID: got.ID, Version: "1.0", Type: tt.typ, Timestamp: testTime, Category: "analysis", Action: tt.action, Outcome: tt.outcome,
				CorrelationID: "rem-1", ActorType: "service", ActorID: s.Actor, ResourceType: s.ResourceType, ResourceID: "ai-1",
				Namespace: s.Namespace, Severity: tt.severity, Data: got.Data,
			}
			if tt.duration >= 0 {
				want.DurationMS = &tt.duration
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("envelope (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(decode(t, strings.ReplaceAll(tt.data, `"ID"`, fmt.Sprintf("%q", got.ID))), decode(t, string(got.Data))); diff != "" {
				t.Errorf("data (-want +got):\n%s", diff)
			}
			if _, _, err := prepare(got, testTime); err != nil {
				t.Errorf("not recordable: %v", err)
			}
		})
	}
}

func decode(t *testing.T, text string) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// An event that is emitted again has the id that it had; another has another.
func TestEventIDs(t *testing.T) {
	call := InvestigationCall{Attempt: 1, Status: 200, Duration: time.Second}
	base := New(testSubject, testTime, call).ID
	slower := call
	slower.Duration = time.Minute
	if got := New(testSubject, testTime.Add(time.Hour), slower).ID; got != base {
		t.Errorf("the same call at another time: got id %s, want %s", got, base)
	}
	second, failed, recovery := call, call, testSubject
	second.Attempt = 2
	failed.Status, failed.Err = 503, errDown
	recovery.Key = EventID("another")
	for name, e := range map[string]incident.AuditEvent{
		"second attempt":      New(testSubject, testTime, second),
		"other end":           New(testSubject, testTime, failed),
		"other subject":       New(recovery, testTime, call),
		"other generation":    New(Analysis("8f1c", 2, "shop", "ai-1", "rem-1"), testTime, call),
		"other type":          New(testSubject, testTime, AnalysisDeleted{}),
		"subject with no key": New(Subject{CorrelationID: "c"}, testTime, call),
	} {
		if e.ID == base || !incident.ValidUUID(e.ID) {
			t.Errorf("%s: id %s, want another than %s", name, e.ID, base)
		}
	}
	if a, b := New(Subject{}, testTime, call), New(Subject{}, testTime, call); a.ID == b.ID {
		t.Error("events of a subject without a key share an id")
	}
	// Stored ids depend on this one never changing.
	if got, want := EventID("a", "bc"), "f429fc33-a76e-5fc6-aaa7-4cef45c32433"; got != want {
		t.Errorf(`EventID("a", "bc") is %s, want %s`, got, want)
	}
}

func TestEventIDsDependOnEveryPart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.StringN(0, 5, 10), 0, 4)
		a, b := parts.Draw(t, "a"), parts.Draw(t, "b")
		if same := fmt.Sprintf("%q", a) == fmt.Sprintf("%q", b); (EventID(a...) == EventID(b...)) != same {
			t.Errorf("EventID(%q) and EventID(%q): want the same id: %v", a, b, same)
		}
	})
}

// Whatever text comes from outside, the event can be recorded, and is small.
func TestEventsAreAlwaysRecordable(t *testing.T) {
	wild := rapid.Custom(func(t *rapid.T) string {
		s := rapid.OneOf(rapid.String(), rapid.Just("\x00"), rapid.Just("\xff\xfe"), rapid.Just("\"\\\u2028<"), rapid.Just("é")).Draw(t, "s")
		return strings.Repeat(s, rapid.SampledFrom([]int{1, 1, 100, 5000, 50_000}).Draw(t, "times"))
	})
	list := rapid.Custom(func(t *rapid.T) []string {
		one := wild.Draw(t, "item")
		out := make([]string, rapid.SampledFrom([]int{0, 1, 99, 101, 3000}).Draw(t, "items"))
		for i := range out {
			out[i] = one
		}
		return out
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, l := wild.Draw(t, "a"), wild.Draw(t, "b"), list.Draw(t, "list")
		confidence := rapid.Float64().Draw(t, "confidence")
		decision := incident.Decision{Reason: a, Rules: l, PolicyName: b, PolicyHash: a}
		err := errors.New(a)
		payload := rapid.SampledFrom([]Payload{
			AnalysisStarted{SignalType: a, Severity: b, Environment: a, Priority: b, Fingerprint: a, Target: incident.Ref{Kind: a, Name: b}, AnalysisTypes: l},
			PhaseTransition{Old: a, New: b},
			InvestigationCall{RequestHash: a, BundleDigest: b, Err: err},
			PolicyEvaluation{Decision: decision, Err: err},
			ApprovalDecision{Decision: decision, Environment: a, Confidence: &confidence, WorkflowID: b},
			HumanReviewRequired{Reason: a, SubReason: b, ReviewReason: incident.ReviewReason(a), Message: b, Confidence: &confidence, WorkflowID: a},
			AnalysisCompleted{Phase: a, ApprovalReason: b, Confidence: &confidence, WorkflowID: a, Reason: b, SubReason: a},
			ErrorOccurred{Phase: a, Err: err},
			AnalysisDeleted{Phase: a},
			LLMRequest{IncidentID: a, Model: b, Prompt: a, Toolsets: l, MCPServers: l},
			LLMResponse{IncidentID: a, Analysis: b},
			LLMToolCall{IncidentID: a, Tool: b, Arguments: json.RawMessage(a), Result: b, Err: err},
			WorkflowValidation{IncidentID: a, Errors: l, WorkflowID: a, WorkflowName: b, ReviewReason: incident.ReviewReason(a)},
			InvestigationCompleted{Engine: a, RequestHash: b, Err: err, Investigation: incident.Investigation{
				IncidentID: a, CauseClass: incident.CauseClass(b), Confidence: confidence, Warnings: l, BundleDigest: a,
				RootCause: incident.RootCause{Summary: a, Severity: incident.Severity(b), Target: &incident.Ref{Kind: a, Name: b}},
				Workflow:  &incident.SelectedWorkflow{ID: a},
			}},
		}).Draw(t, "payload")
		s := Subject{Actor: a, ResourceType: b, ResourceID: a, Namespace: b, ClusterName: a, CorrelationID: "c" + a, Key: b}
		_, text, prepareErr := prepare(New(s, testTime, payload), testTime)
		if prepareErr != nil {
			t.Fatal(prepareErr)
		}
		e, decodeErr := decodeEvent(text)
		if decodeErr != nil {
			t.Fatal(decodeErr)
		}
		if len(e.Data) > maxData || !utf8.Valid(text) || strings.Contains(string(text), `\u0000`) {
			t.Errorf("%T: %d bytes of data, valid UTF-8 %v", payload, len(e.Data), utf8.Valid(text))
		}
		if faults := e.Validate(testTime); len(faults) > 0 {
			t.Error(faults)
		}
	})
}

func TestBoundData(t *testing.T) {
	big := strings.Repeat("x", maxData)
	manyKeys := make(map[string]int)
	for i := range 20_000 {
		manyKeys[fmt.Sprint("key", i)] = i
	}
	marshal := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, tt := range []struct {
		name  string
		data  string
		check func(map[string]any) bool
	}{
		{"fits", `{"a": 1}`, func(m map[string]any) bool { return m["a"] == 1.0 && len(m) == 1 }},
		{"long text", marshal(map[string]any{"a": big, "n": 12}), func(m map[string]any) bool {
			a := m["a"].(string)
			return strings.HasPrefix(a, "xxx") && strings.Contains(a, "…[truncated ") && m["n"] == 12.0 && m[truncatedKey] == true
		}},
		{"long list", marshal(map[string]any{"a": make([]string, 30_000)}), func(m map[string]any) bool {
			a := m["a"].([]any)
			return a[len(a)-1] == fmt.Sprintf("…[truncated %d items]", 30_000-len(a)+1) && m[truncatedKey] == true
		}},
		{"nested", marshal(map[string]any{"a": []any{map[string]any{"b": big}}, "c": "kept"}), func(m map[string]any) bool {
			return m["c"] == "kept" && m[truncatedKey] == true
		}},
		{"many keys", marshal(manyKeys), func(m map[string]any) bool { return m[truncatedKey] == true && m["payload_bytes"] != nil }},
		{"NUL", `{"a":"x\u0000y","z":"\\u0000"}`, func(m map[string]any) bool {
			return m["a"] == "x\uFFFDy" && m["z"] == `\u0000` && m[truncatedKey] == nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := boundData(json.RawMessage(tt.data))
			if len(got) > maxData {
				t.Errorf("%d bytes, want at most %d", len(got), maxData)
			}
			if m := decode(t, string(got)); !tt.check(m) {
				t.Errorf("got %.300s", got)
			}
		})
	}
}

func TestForeignJSON(t *testing.T) {
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	for _, tt := range []struct{ in, want string }{
		{``, `{}`},
		{`{"a":[1,true,null]}`, `{"a":[1,true,null]}`},
		{`{"a":1,"a":2}`, `{"a":2}`},
		{`1e999`, `"1e999"`},
		{`"\ud800"`, `"�"`},
		{deep, `"` + deep + `"`},
		{`nonsense`, `"nonsense"`},
	} {
		got, err := json.Marshal(foreignJSON(json.RawMessage(tt.in)))
		if err != nil || string(got) != tt.want {
			t.Errorf("%.50s: got %s, %v; want %s", tt.in, got, err, tt.want)
		}
	}
}
