package anthropic_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
	"kubernaut.ai/kubernaut/internal/reason/anthropic"
)

func ask(t *testing.T, answer string, req reason.Request) (reason.Response, map[string]any, error) {
	t.Helper()
	var got map[string]any
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/messages" || r.Header.Get("X-Api-Key") != "k" || r.Header.Get("Anthropic-Version") == "" {
			t.Errorf("path %s, headers %v", r.URL.Path, r.Header)
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	m := anthropic.New(anthropic.Options{HTTP: server.Client(), Endpoint: server.URL + "/v1", Name: "m", Key: "k"})
	resp, err := m.Turn(context.Background(), req)
	return resp, got, err
}

func TestRequestAndAnswer(t *testing.T) {
	resp, got, err := ask(t, `{"model":"m-2","stop_reason":"tool_use","content":[{"type":"text","text":"I look"},{"type":"tool_use","id":"t1","name":"list","input":{"kind":"Pod"}}],
		"usage":{"input_tokens":7,"cache_read_input_tokens":100,"output_tokens":5}}`, reason.Request{
		System: "be brief", MaxOutput: 400, Only: "submit",
		Messages: []reason.Message{
			{Role: reason.RoleUser, Text: "case"},
			{Role: reason.RoleModel, Calls: []reason.Call{{ID: "a", Name: "list", Arguments: json.RawMessage(`"no object"`)}}},
			{Role: reason.RoleTool, Results: []reason.CallResult{{CallID: "a", Content: "{}", Failed: true}}},
			{Role: reason.RoleUser, Text: "go on"},
		},
		Tools: []reason.Definition{{Name: "list", Schema: json.RawMessage(`{"type":"object"}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := reason.Response{
		Model: "m-2", Text: "I look", Stop: reason.StopCalls, Usage: reason.Usage{Input: 107, Cached: 100, Output: 5},
		Calls: []reason.Call{{ID: "t1", Name: "list", Arguments: json.RawMessage(`{"kind":"Pod"}`)}},
	}
	if diff := cmp.Diff(want, resp); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	// Roles take turns, so that the result and what the user says after it are one message; arguments are an object.
	wantMessages := []any{
		map[string]any{"role": "user", "content": []any{map[string]any{"type": "text", "text": "case"}}},
		map[string]any{"role": "assistant", "content": []any{map[string]any{"type": "tool_use", "id": "a", "name": "list", "input": map[string]any{"text": `"no object"`}}}},
		map[string]any{"role": "user", "content": []any{
			map[string]any{"type": "tool_result", "tool_use_id": "a", "content": "{}", "is_error": true},
			map[string]any{"type": "text", "text": "go on"},
		}},
	}
	if diff := cmp.Diff(wantMessages, got["messages"]); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if got["max_tokens"] != 400.0 || got["temperature"] != nil || cmp.Diff(map[string]any{"type": "tool", "name": "submit"}, got["tool_choice"]) != "" {
		t.Errorf("request = %v", got)
	}
}

func TestEnds(t *testing.T) {
	req := reason.Request{MaxOutput: 10, Messages: []reason.Message{{Role: reason.RoleUser, Text: "case"}}}
	for answer, want := range map[string]reason.StopReason{
		`{"stop_reason":"end_turn","content":[{"type":"text","text":"x"}]}`: reason.StopEnd,
		`{"stop_reason":"max_tokens","content":[]}`:                         reason.StopMaxOutput,
		`{"stop_reason":"refusal","content":[]}`:                            reason.StopRefused,
	} {
		if resp, _, err := ask(t, answer, req); err != nil || resp.Stop != want {
			t.Errorf("%s: %+v, %v, want %s", answer, resp, err, want)
		}
	}
	if _, _, err := ask(t, `{"ok":true}`, req); incident.KindOf(err) != incident.KindMalformed {
		t.Errorf("an answer of another kind: %v", err)
	}
}
