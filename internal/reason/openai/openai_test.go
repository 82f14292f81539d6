package openai_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
	"kubernaut.ai/kubernaut/internal/reason/openai"
	"kubernaut.ai/kubernaut/internal/reason/post"
)

const key = "sk-test-0123456789"

// vendor serves one handler and returns a Model that asks it.
func vendor(t *testing.T, change func(*openai.Options), handler http.HandlerFunc) *openai.Model {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	temperature := 0.2
	o := openai.Options{
		HTTP: &http.Client{CheckRedirect: post.NoRedirect}, Endpoint: server.URL + "/v1/", Name: "m", Key: key, Temperature: &temperature,
	}
	if change != nil {
		change(&o)
	}
	return openai.New(o)
}

// conversation has every kind of message.
func conversation() reason.Request {
	return reason.Request{
		System: "be brief", MaxOutput: 500, Only: "submit",
		Messages: []reason.Message{
			{Role: reason.RoleUser, Text: "case"},
			{Role: reason.RoleModel, Calls: []reason.Call{{ID: "a", Name: "list", Arguments: json.RawMessage(`{"kind":"Pod"}`)}}},
			{Role: reason.RoleTool, Results: []reason.CallResult{{CallID: "a", Content: "{}"}}},
		},
		Tools: []reason.Definition{{Name: "list", Description: "lists", Schema: json.RawMessage(`{"type":"object"}`)}},
	}
}

func TestRequestAndAnswer(t *testing.T) {
	var got map[string]any
	m := vendor(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/chat/completions" || r.Header.Get("Authorization") != "Bearer "+key {
			t.Errorf("path %s, authorization %q", r.URL.Path, r.Header.Get("Authorization"))
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, `{"model":"m-2026","choices":[{"finish_reason":"tool_calls","message":{"content":null,"tool_calls":[
			{"id":"x","function":{"name":"submit","arguments":"{\"a\":1}"}},{"function":{"name":"list","arguments":"not json"}},{"id":"z","function":{"name":"list","arguments":{"b":2}}}]}}],
			"usage":{"prompt_tokens":10,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":3}}}`)
	})
	resp, err := m.Turn(context.Background(), conversation())
	if err != nil {
		t.Fatal(err)
	}
	want := reason.Response{
		Model: "m-2026", Stop: reason.StopCalls, Usage: reason.Usage{Input: 10, Cached: 3, Output: 4},
		Calls: []reason.Call{
			{ID: "x", Name: "submit", Arguments: json.RawMessage(`{"a":1}`)},
			{ID: "call-2", Name: "list", Arguments: json.RawMessage(`"not json"`)},
			{ID: "z", Name: "list", Arguments: json.RawMessage(`{"b":2}`)},
		},
	}
	if diff := cmp.Diff(want, resp); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	wantRequest := map[string]any{
		"model": "m", "max_completion_tokens": 500.0, "temperature": 0.2,
		"messages": []any{
			map[string]any{"role": "system", "content": "be brief"},
			map[string]any{"role": "user", "content": "case"},
			map[string]any{"role": "assistant", "content": nil, "tool_calls": []any{
				map[string]any{"id": "a", "type": "function", "function": map[string]any{"name": "list", "arguments": `{"kind":"Pod"}`}},
			}},
			map[string]any{"role": "tool", "tool_call_id": "a", "content": "{}"},
		},
		"tools":       []any{map[string]any{"type": "function", "function": map[string]any{"name": "list", "description": "lists", "parameters": map[string]any{"type": "object"}}}},
		"tool_choice": map[string]any{"type": "function", "function": map[string]any{"name": "submit"}},
	}
	if diff := cmp.Diff(wantRequest, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestAzure(t *testing.T) {
	m := vendor(t, func(o *openai.Options) {
		o.AzureVersion, o.Endpoint = "2026-01-01", strings.TrimSuffix(o.Endpoint, "/v1/")
		o.Header = map[string]string{"X-Team": "sre"}
	}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/openai/deployments/m/chat/completions?api-version=2026-01-01" || r.Header.Get("Api-Key") != key || r.Header.Get("X-Team") != "sre" || r.Header.Get("Authorization") != "" {
			t.Errorf("url %s, headers %v", r.URL, r.Header)
		}
		_, _ = io.WriteString(w, `{"choices":[{"finish_reason":"stop","message":{"content":"hello"}}]}`)
	})
	resp, err := m.Turn(context.Background(), conversation())
	if err != nil || resp.Text != "hello" || resp.Stop != reason.StopEnd || resp.Usage != (reason.Usage{}) {
		t.Errorf("answer = %+v, %v", resp, err)
	}
}

// A server that knows only the older parameter, and one that takes no temperature, are asked as they want; and not
// asked wrongly twice.
func TestParametersAdapt(t *testing.T) {
	requests := 0
	m := vendor(t, nil, func(w http.ResponseWriter, r *http.Request) {
		requests++
		var got map[string]any
		_ = json.NewDecoder(r.Body).Decode(&got)
		for _, param := range []string{"max_completion_tokens", "temperature"} {
			if got[param] != nil {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"error":{"message":"Unsupported parameter","param":"`+param+`","code":"unsupported_parameter"}}`)
				return
			}
		}
		if got["max_tokens"] != 500.0 {
			t.Errorf("max_tokens = %v", got["max_tokens"])
		}
		_, _ = io.WriteString(w, `{"choices":[{"finish_reason":"length","message":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}}]}`)
	})
	for range 2 {
		resp, err := m.Turn(context.Background(), conversation())
		if err != nil || resp.Text != "ab" || resp.Stop != reason.StopMaxOutput {
			t.Fatalf("answer = %+v, %v", resp, err)
		}
	}
	if requests != 4 {
		t.Errorf("%d requests, want 4: two to learn, one for each turn", requests)
	}
}

func TestErrors(t *testing.T) {
	for _, row := range []struct {
		name   string
		status int
		header map[string]string
		body   string
		want   incident.ErrorKind
		after  time.Duration
		says   string
	}{
		{"key", 401, nil, `{"error":{"message":"Incorrect API key provided: sk-te***89."}}`, incident.KindUnauthorized, 0, "check the key"},
		{"key in full", 401, nil, `{"error":{"message":"bad ` + key + `"}}`, incident.KindUnauthorized, 0, "[key]"},
		{"not allowed", 403, nil, `{}`, incident.KindForbidden, 0, "check what the key may use"},
		{"unknown model", 404, nil, `{"error":"model not found, try pulling it first"}`, incident.KindInvalid, 0, "try pulling it"},
		{"too long by code", 400, nil, `{"error":{"code":"context_length_exceeded","message":"m"}}`, incident.KindTooLarge, 0, "m"},
		{"too long by text", 400, nil, `{"error":{"message":"This model's maximum context length is 8192 tokens"}}`, incident.KindTooLarge, 0, "8192"},
		{"wrong", 400, nil, `{"error":{"message":"messages: bad"}}`, incident.KindInvalid, 0, "messages: bad"},
		{"limited", 429, map[string]string{"Retry-After": "7"}, `{"error":{"message":"slow down"}}`, incident.KindRateLimited, 7 * time.Second, "slow down"},
		{"limited by the other header", 429, map[string]string{"X-Ratelimit-Reset-Tokens": "1m3s"}, `{}`, incident.KindRateLimited, 63 * time.Second, ""},
		{"nothing left to spend", 429, nil, `{"error":{"code":"insufficient_quota","message":"quota"}}`, incident.KindForbidden, 0, "spend"},
		{"down", 503, map[string]string{"Retry-After": "1"}, `<html>upstream`, incident.KindUnavailable, time.Second, "upstream"},
		{"overloaded", 529, nil, `{"error":{"message":"overloaded"}}`, incident.KindUnavailable, 0, "overloaded"},
		{"redirect", 302, map[string]string{"Location": "http://192.0.2.1/"}, ``, incident.KindInvalid, 0, "redirects"},
		{"garbage", 200, nil, `{{{`, incident.KindMalformed, 0, "not the JSON"},
		{"nothing in it", 200, nil, `{"choices":[]}`, incident.KindMalformed, 0, "no choice"},
		{"too much", 200, nil, `"` + strings.Repeat("x", 5<<20) + `"`, incident.KindMalformed, 0, "longer than"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := vendor(t, nil, func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range row.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(row.status)
				_, _ = io.WriteString(w, row.body)
			})
			_, err := m.Turn(context.Background(), conversation())
			var e *incident.Error
			if !errors.As(err, &e) || e.Kind != row.want || e.RetryAfter != row.after || !strings.Contains(e.Error(), row.says) {
				t.Errorf("error = %#v %v, want %s after %s that says %q", e, err, row.want, row.after, row.says)
			}
			if err != nil && (strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "sk-te")) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	m := openai.New(openai.Options{HTTP: http.DefaultClient, Endpoint: gone.URL, Name: "m", Key: key})
	if _, err := m.Turn(context.Background(), conversation()); incident.KindOf(err) != incident.KindNetwork {
		t.Errorf("refused connection: %v", err)
	}
	silent := vendor(t, nil, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // until it is read, the server does not notice that the client is gone
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := silent.Turn(ctx, conversation()); incident.KindOf(err) != incident.KindTimeout {
		t.Errorf("silence: %v", err)
	}
	cut := vendor(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"choices":[`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	if _, err := cut.Turn(context.Background(), conversation()); incident.KindOf(err) != incident.KindMalformed {
		t.Errorf("half an answer: %v", err)
	}
}
