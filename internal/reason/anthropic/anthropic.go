// Package anthropic speaks Anthropic's messages protocol, which its gateways understand too.
package anthropic

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
	"kubernaut.ai/kubernaut/internal/reason/post"
)

// version is the one of the protocol, which the vendor asks for by date.
const version = "2023-06-01"

// Options configure a Model. HTTP, Endpoint and Name are required.
type Options struct {
	HTTP        *http.Client
	Endpoint    string // base address, for example https://api.anthropic.com; /v1/messages is added
	Name        string // of the model
	Key         string // sent as x-api-key; empty sends none
	Header      map[string]string
	Temperature *float64 // nil leaves it to the vendor
}

// Model implements reason.Model. It is safe for concurrent use.
type Model struct {
	post        post.Client
	name        string
	temperature *float64
}

// New makes a Model. It talks to nobody.
func New(o Options) *Model {
	header := map[string]string{"anthropic-version": version}
	if o.Key != "" {
		header["x-api-key"] = o.Key
	}
	maps.Copy(header, o.Header)
	base := strings.TrimSuffix(strings.TrimRight(o.Endpoint, "/"), "/v1")
	return &Model{
		post: post.Client{HTTP: o.HTTP, URL: base + "/v1/messages", Header: header, Secret: o.Key, Op: "ask " + o.Name},
		name: o.Name, temperature: o.Temperature,
	}
}

type request struct {
	Model       string    `json:"model"`
	MaxTokens   int       `json:"max_tokens"`
	System      []block   `json:"system,omitempty"`
	Messages    []message `json:"messages"`
	Tools       []tool    `json:"tools,omitempty"`
	ToolChoice  any       `json:"tool_choice,omitempty"`
	Temperature *float64  `json:"temperature,omitempty"`
}

type message struct {
	Role    string  `json:"role"`
	Content []block `json:"content"`
}

// block is a part of a message; which fields are set depends on Type.
type block struct {
	Type      string          `json:"type"`
	Text      string          `json:"text,omitempty"`
	ID        string          `json:"id,omitempty"`
	Name      string          `json:"name,omitempty"`
	Input     json.RawMessage `json:"input,omitempty"`
	ToolUseID string          `json:"tool_use_id,omitempty"`
	Content   string          `json:"content,omitempty"`
	IsError   bool            `json:"is_error,omitempty"`
	Cache     *cache          `json:"cache_control,omitempty"`
}

// cache marks the end of a part that the vendor may keep, to read it for less the next time.
type cache struct {
	Type string `json:"type"`
}

type tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	InputSchema json.RawMessage `json:"input_schema"`
}

type answer struct {
	Model      string  `json:"model"`
	StopReason string  `json:"stop_reason"`
	Content    []block `json:"content"`
	Usage      *struct {
		Input      int `json:"input_tokens"`
		CacheRead  int `json:"cache_read_input_tokens"`
		CacheWrite int `json:"cache_creation_input_tokens"`
		Output     int `json:"output_tokens"`
	} `json:"usage"`
}

// Turn implements reason.Model.
func (m *Model) Turn(ctx context.Context, req reason.Request) (reason.Response, error) {
	var a answer
	if err := m.post.JSON(ctx, m.request(req), &a); err != nil {
		return reason.Response{}, err
	}
	if a.StopReason == "" && len(a.Content) == 0 {
		return reason.Response{}, incident.Errorf(incident.KindMalformed, m.post.Op, "the answer has neither content nor a reason to stop")
	}
	out := reason.Response{Model: a.Model}
	if a.Usage != nil {
		out.Usage = reason.Usage{Input: a.Usage.Input + a.Usage.CacheRead + a.Usage.CacheWrite, Cached: a.Usage.CacheRead, Output: a.Usage.Output}
	}
	var text []string
	for _, b := range a.Content {
		switch b.Type {
		case "text":
			text = append(text, b.Text)
		case "tool_use":
			out.Calls = append(out.Calls, reason.Call{ID: b.ID, Name: b.Name, Arguments: b.Input})
		}
	}
	out.Text = strings.Join(text, "\n")
	switch {
	case a.StopReason == "refusal":
		out.Stop = reason.StopRefused
	case a.StopReason == "max_tokens":
		out.Stop = reason.StopMaxOutput
	case len(out.Calls) > 0:
		out.Stop = reason.StopCalls
	default:
		out.Stop = reason.StopEnd
	}
	return out, nil
}

func (m *Model) request(req reason.Request) request {
	r := request{Model: m.name, MaxTokens: req.MaxOutput, Temperature: m.temperature}
	if req.System != "" {
		// Tools and instructions are the same in every turn.
		r.System = []block{{Type: "text", Text: req.System, Cache: &cache{"ephemeral"}}}
	}
	for _, said := range req.Messages {
		var out message
		switch said.Role {
		case reason.RoleUser:
			out = message{"user", []block{{Type: "text", Text: said.Text}}}
		case reason.RoleModel:
			out.Role = "assistant"
			if strings.TrimSpace(said.Text) != "" {
				out.Content = append(out.Content, block{Type: "text", Text: said.Text})
			}
			for _, c := range said.Calls {
				out.Content = append(out.Content, block{Type: "tool_use", ID: c.ID, Name: c.Name, Input: object(c.Arguments)})
			}
		case reason.RoleTool:
			out.Role = "user"
			for _, result := range said.Results {
				out.Content = append(out.Content, block{Type: "tool_result", ToolUseID: result.CallID, Content: result.Content, IsError: result.Failed})
			}
		}
		if len(out.Content) == 0 { // the protocol takes no empty message
			out.Content = []block{{Type: "text", Text: "(nothing)"}}
		}
		if n := len(r.Messages); n > 0 && r.Messages[n-1].Role == out.Role { // roles take turns
			r.Messages[n-1].Content = append(r.Messages[n-1].Content, out.Content...)
			continue
		}
		r.Messages = append(r.Messages, out)
	}
	for _, d := range req.Tools {
		r.Tools = append(r.Tools, tool{d.Name, d.Description, d.Schema})
	}
	if req.Only != "" {
		r.ToolChoice = map[string]string{"type": "tool", "name": req.Only}
	}
	return r
}

// object gives arguments back as the object that the protocol wants, also those that were none.
func object(arguments json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(arguments, &fields) == nil && fields != nil {
		return arguments
	}
	text, err := json.Marshal(map[string]string{"text": string(arguments)})
	if err != nil {
		return json.RawMessage("{}")
	}
	return text
}
