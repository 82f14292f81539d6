// Package openai speaks the chat completions protocol, which OpenAI, Azure, vLLM, Ollama, LM Studio, OpenRouter
// and most gateways understand.
//
// It is a client of our own: the vendor's SDK adds 19 MB to a program for the two structs that are used of it.
package openai

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"

	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
	"kubernaut.ai/kubernaut/internal/reason/post"
)

// Options configure a Model. HTTP, Endpoint and Name are required.
type Options struct {
	HTTP     *http.Client
	Endpoint string // base address, for example https://api.openai.com/v1; the rest of the path is added
	Name     string // of the model; with Azure of the deployment
	Key      string // sent as a bearer token, with Azure as api-key; empty sends none
	// AzureVersion is the api-version of Azure OpenAI; not empty means that Endpoint is a resource of Azure.
	AzureVersion string
	Header       map[string]string // further headers, for gateways; they win over ours
	Temperature  *float64          // nil leaves it to the vendor
}

// Model implements reason.Model. It is safe for concurrent use.
type Model struct {
	post        post.Client
	name        string
	temperature *float64
	// Vendors differ in two parameters. What one refuses is not sent to it again.
	oldLimit      atomic.Bool // max_tokens instead of max_completion_tokens
	noTemperature atomic.Bool
}

// New makes a Model. It talks to nobody.
func New(o Options) *Model {
	m := &Model{name: o.Name, temperature: o.Temperature}
	base := strings.TrimRight(o.Endpoint, "/")
	header := map[string]string{}
	url := base + "/chat/completions"
	switch {
	case o.AzureVersion != "":
		url = fmt.Sprintf("%s/openai/deployments/%s/chat/completions?api-version=%s", base, o.Name, o.AzureVersion)
		if o.Key != "" {
			header["api-key"] = o.Key
		}
	case o.Key != "":
		header["Authorization"] = "Bearer " + o.Key
	}
	maps.Copy(header, o.Header)
	m.post = post.Client{HTTP: o.HTTP, URL: url, Header: header, Secret: o.Key, Op: "ask " + o.Name}
	return m
}

type request struct {
	Model               string    `json:"model"`
	Messages            []message `json:"messages"`
	Tools               []tool    `json:"tools,omitempty"`
	ToolChoice          any       `json:"tool_choice,omitempty"`
	MaxTokens           int       `json:"max_tokens,omitempty"`
	MaxCompletionTokens int       `json:"max_completion_tokens,omitempty"`
	Temperature         *float64  `json:"temperature,omitempty"`
}

type message struct {
	Role       string  `json:"role"`
	Content    *string `json:"content"` // null in a message that is nothing but calls
	ToolCalls  []call  `json:"tool_calls,omitempty"`
	ToolCallID string  `json:"tool_call_id,omitempty"`
}

type call struct {
	ID       string   `json:"id"`
	Type     string   `json:"type"`
	Function function `json:"function"`
}

type function struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type tool struct {
	Type     string     `json:"type"`
	Function definition `json:"function"`
}

type definition struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
}

type answer struct {
	Model   string `json:"model"`
	Choices []struct {
		FinishReason string `json:"finish_reason"`
		Message      struct {
			Content   json.RawMessage `json:"content"`
			Refusal   string          `json:"refusal"`
			ToolCalls []struct {
				ID       string `json:"id"`
				Function struct {
					Name      string          `json:"name"`
					Arguments json.RawMessage `json:"arguments"`
				} `json:"function"`
			} `json:"tool_calls"`
		} `json:"message"`
	} `json:"choices"`
	Usage struct {
		PromptTokens     int `json:"prompt_tokens"`
		CompletionTokens int `json:"completion_tokens"`
		PromptDetails    struct {
			CachedTokens int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	} `json:"usage"`
}

// Turn implements reason.Model.
func (m *Model) Turn(ctx context.Context, req reason.Request) (reason.Response, error) {
	var a answer
	err := m.post.JSON(ctx, m.request(req), &a)
	for range 2 { // at most one parameter after the other
		if err == nil || !m.adapt(err) {
			break
		}
		err = m.post.JSON(ctx, m.request(req), &a)
	}
	if err != nil {
		return reason.Response{}, err
	}
	return m.response(a)
}

// adapt reports whether a refusal names a parameter that can be sent otherwise, which it then is from now on.
func (m *Model) adapt(err error) bool {
	var refused *post.Refused
	if incident.KindOf(err) != incident.KindInvalid || !errors.As(err, &refused) {
		return false
	}
	names := func(param string) bool {
		return refused.Fault.Param == param || refused.Fault.Param == "" && strings.Contains(refused.Fault.Message, param)
	}
	switch {
	case names("max_completion_tokens"):
		return m.oldLimit.CompareAndSwap(false, true)
	case names("max_tokens"):
		return m.oldLimit.CompareAndSwap(true, false)
	case names("temperature"):
		return m.temperature != nil && m.noTemperature.CompareAndSwap(false, true)
	}
	return false
}

func (m *Model) request(req reason.Request) request {
	r := request{Model: m.name}
	if m.oldLimit.Load() {
		r.MaxTokens = req.MaxOutput
	} else {
		r.MaxCompletionTokens = req.MaxOutput
	}
	if !m.noTemperature.Load() {
		r.Temperature = m.temperature
	}
	if req.System != "" {
		r.Messages = append(r.Messages, message{Role: "system", Content: &req.System})
	}
	for _, said := range req.Messages {
		switch said.Role {
		case reason.RoleUser:
			r.Messages = append(r.Messages, message{Role: "user", Content: &said.Text})
		case reason.RoleModel:
			out := message{Role: "assistant"}
			if said.Text != "" || len(said.Calls) == 0 {
				out.Content = &said.Text
			}
			for _, c := range said.Calls {
				out.ToolCalls = append(out.ToolCalls, call{c.ID, "function", function{c.Name, string(c.Arguments)}})
			}
			r.Messages = append(r.Messages, out)
		case reason.RoleTool:
			for _, result := range said.Results {
				r.Messages = append(r.Messages, message{Role: "tool", ToolCallID: result.CallID, Content: &result.Content})
			}
		}
	}
	for _, d := range req.Tools {
		r.Tools = append(r.Tools, tool{"function", definition{d.Name, d.Description, d.Schema}})
	}
	if req.Only != "" {
		r.ToolChoice = map[string]any{"type": "function", "function": map[string]string{"name": req.Only}}
	}
	return r
}

func (m *Model) response(a answer) (reason.Response, error) {
	if len(a.Choices) == 0 {
		return reason.Response{}, incident.Errorf(incident.KindMalformed, m.post.Op, "the answer has no choice in it")
	}
	choice := a.Choices[0]
	out := reason.Response{
		Model: a.Model, Text: text(choice.Message.Content),
		Usage: reason.Usage{Input: a.Usage.PromptTokens, Cached: a.Usage.PromptDetails.CachedTokens, Output: a.Usage.CompletionTokens},
	}
	for i, c := range choice.Message.ToolCalls {
		id := c.ID
		if id == "" { // some local servers give none
			id = fmt.Sprintf("call-%d", i+1)
		}
		out.Calls = append(out.Calls, reason.Call{ID: id, Name: c.Function.Name, Arguments: arguments(c.Function.Arguments)})
	}
	switch {
	case choice.FinishReason == "content_filter", choice.Message.Refusal != "":
		out.Stop = reason.StopRefused
	case choice.FinishReason == "length":
		out.Stop = reason.StopMaxOutput
	case len(out.Calls) > 0:
		out.Stop = reason.StopCalls
	default:
		out.Stop = reason.StopEnd
	}
	return out, nil
}

// text reads content, which is text, null, or parts of which some are text.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var parts []struct {
		Text string `json:"text"`
	}
	_ = json.Unmarshal(raw, &parts) // anything else is no text
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

// arguments are JSON in a string; some servers send the JSON itself. What is no JSON stays the string it is.
func arguments(raw json.RawMessage) json.RawMessage {
	var inner string
	if json.Unmarshal(raw, &inner) != nil {
		return raw
	}
	switch {
	case strings.TrimSpace(inner) == "":
		return json.RawMessage("{}")
	case json.Valid([]byte(inner)):
		return json.RawMessage(inner)
	}
	return raw
}
