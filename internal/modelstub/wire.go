package modelstub

import (
	"encoding/json"
	"fmt"
	"strings"

	"kubernaut.ai/kubernaut/internal/reason"
)

type openaiWire struct{}

func (openaiWire) read(body []byte) (Conversation, error) {
	var r struct {
		Model    string `json:"model"`
		Stream   bool   `json:"stream"`
		Messages []struct {
			Role       string `json:"role"`
			Content    string `json:"content"`
			ToolCallID string `json:"tool_call_id"`
			ToolCalls  []struct {
				ID       string `json:"id"`
				Function struct {
					Name      string `json:"name"`
					Arguments string `json:"arguments"`
				} `json:"function"`
			} `json:"tool_calls"`
		} `json:"messages"`
		Tools []struct {
			Function struct {
				Name        string          `json:"name"`
				Description string          `json:"description"`
				Parameters  json.RawMessage `json:"parameters"`
			} `json:"function"`
		} `json:"tools"`
		ToolChoice          json.RawMessage `json:"tool_choice"`
		MaxTokens           int             `json:"max_tokens"`
		MaxCompletionTokens int             `json:"max_completion_tokens"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return Conversation{}, fmt.Errorf("the request is not chat completions' JSON: %w", err)
	}
	if r.Stream {
		return Conversation{}, fmt.Errorf("stream is not played; send the request without it")
	}
	c := Conversation{Model: r.Model, MaxOutput: max(r.MaxTokens, r.MaxCompletionTokens)}
	known := map[string]bool{}
	for i, m := range r.Messages {
		switch m.Role {
		case "system", "developer":
			c.System += m.Content
		case "user":
			c.Messages = append(c.Messages, reason.Message{Role: reason.RoleUser, Text: m.Content})
		case "assistant":
			out := reason.Message{Role: reason.RoleModel, Text: m.Content}
			for _, k := range m.ToolCalls {
				known[k.ID] = true
				out.Calls = append(out.Calls, reason.Call{ID: k.ID, Name: k.Function.Name, Arguments: json.RawMessage(k.Function.Arguments)})
			}
			c.Messages = append(c.Messages, out)
		case "tool":
			if !known[m.ToolCallID] {
				return c, fmt.Errorf("messages[%d].tool_call_id: %q answers no call before it", i, m.ToolCallID)
			}
			c.Messages = withResult(c.Messages, reason.CallResult{CallID: m.ToolCallID, Content: m.Content})
		default:
			return c, fmt.Errorf("messages[%d].role: %q is none", i, m.Role)
		}
	}
	for _, t := range r.Tools {
		c.Tools = append(c.Tools, reason.Definition{Name: t.Function.Name, Description: t.Function.Description, Schema: t.Function.Parameters})
	}
	var choice struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if json.Unmarshal(r.ToolChoice, &choice) == nil {
		c.Only = choice.Function.Name
	}
	return c, nil
}

// withResult adds a result to the tool message that ends a conversation, or begins one.
func withResult(messages []reason.Message, r reason.CallResult) []reason.Message {
	if n := len(messages); n > 0 && messages[n-1].Role == reason.RoleTool {
		messages[n-1].Results = append(messages[n-1].Results, r)
		return messages
	}
	return append(messages, reason.Message{Role: reason.RoleTool, Results: []reason.CallResult{r}})
}

type object = map[string]any

func (openaiWire) answer(c Conversation, r Reply) any {
	message := object{"role": "assistant", "content": r.Text}
	finish := "stop"
	if len(r.Calls) > 0 {
		var calls []object
		for _, k := range r.Calls {
			calls = append(calls, object{"id": k.ID, "type": "function", "function": object{"name": k.Name, "arguments": string(k.Arguments)}})
		}
		message["tool_calls"], finish = calls, "tool_calls"
	}
	if r.Refuses {
		message["refusal"] = "I cannot help with that."
	}
	out := object{"id": "chatcmpl-stub", "object": "chat.completion", "model": c.Model, "choices": []object{{"index": 0, "message": message, "finish_reason": finish}}}
	if !r.Uncounted {
		input, output := usage(c, r)
		out["usage"] = object{"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}
	}
	return out
}

func (openaiWire) fault(status int, message string) any {
	return object{"error": object{"message": message, "type": fmt.Sprintf("http_%d", status), "param": nil, "code": nil}}
}

type anthropicWire struct{}

func (anthropicWire) read(body []byte) (Conversation, error) {
	type block struct {
		Type      string          `json:"type"`
		Text      string          `json:"text"`
		ID        string          `json:"id"`
		Name      string          `json:"name"`
		Input     json.RawMessage `json:"input"`
		ToolUseID string          `json:"tool_use_id"`
		Content   string          `json:"content"`
		IsError   bool            `json:"is_error"`
	}
	var r struct {
		Model     string  `json:"model"`
		Stream    bool    `json:"stream"`
		MaxTokens int     `json:"max_tokens"`
		System    []block `json:"system"`
		Messages  []struct {
			Role    string  `json:"role"`
			Content []block `json:"content"`
		} `json:"messages"`
		Tools []struct {
			Name        string          `json:"name"`
			Description string          `json:"description"`
			InputSchema json.RawMessage `json:"input_schema"`
		} `json:"tools"`
		ToolChoice struct {
			Name string `json:"name"`
		} `json:"tool_choice"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return Conversation{}, fmt.Errorf("the request is not the messages protocol's JSON: %w", err)
	}
	switch {
	case r.Stream:
		return Conversation{}, fmt.Errorf("stream is not played; send the request without it")
	case r.MaxTokens <= 0:
		return Conversation{}, fmt.Errorf("max_tokens: it is required")
	}
	c := Conversation{Model: r.Model, MaxOutput: r.MaxTokens, Only: r.ToolChoice.Name}
	for _, b := range r.System {
		c.System += b.Text
	}
	known := map[string]bool{}
	for i, m := range r.Messages {
		if i > 0 && r.Messages[i-1].Role == m.Role {
			return c, fmt.Errorf("messages[%d].role: roles must take turns", i)
		}
		out := reason.Message{Role: reason.RoleUser}
		if m.Role == "assistant" {
			out.Role = reason.RoleModel
		}
		var results []reason.CallResult
		for k, b := range m.Content {
			switch b.Type {
			case "text":
				out.Text = strings.TrimSpace(out.Text + "\n" + b.Text)
			case "tool_use":
				known[b.ID] = true
				out.Calls = append(out.Calls, reason.Call{ID: b.ID, Name: b.Name, Arguments: b.Input})
			case "tool_result":
				if !known[b.ToolUseID] {
					return c, fmt.Errorf("messages[%d].content[%d].tool_use_id: %q answers no call before it", i, k, b.ToolUseID)
				}
				results = append(results, reason.CallResult{CallID: b.ToolUseID, Content: b.Content, Failed: b.IsError})
			}
		}
		if len(results) > 0 {
			c.Messages = append(c.Messages, reason.Message{Role: reason.RoleTool, Results: results})
		}
		if len(results) == 0 || out.Text != "" {
			c.Messages = append(c.Messages, out)
		}
	}
	for _, t := range r.Tools {
		c.Tools = append(c.Tools, reason.Definition{Name: t.Name, Description: t.Description, Schema: t.InputSchema})
	}
	return c, nil
}

func (anthropicWire) answer(c Conversation, r Reply) any {
	content := []object{}
	if r.Text != "" {
		content = append(content, object{"type": "text", "text": r.Text})
	}
	stop := "end_turn"
	for _, k := range r.Calls {
		arguments := k.Arguments
		if !json.Valid(arguments) {
			arguments, _ = json.Marshal(object{"text": string(arguments)}) // a map of text always has a JSON form
		}
		content, stop = append(content, object{"type": "tool_use", "id": k.ID, "name": k.Name, "input": arguments}), "tool_use"
	}
	if r.Refuses {
		stop = "refusal"
	}
	out := object{"id": "msg_stub", "type": "message", "role": "assistant", "model": c.Model, "content": content, "stop_reason": stop}
	if !r.Uncounted {
		input, output := usage(c, r)
		out["usage"] = object{"input_tokens": input, "output_tokens": output}
	}
	return out
}

func (anthropicWire) fault(status int, message string) any {
	return object{"type": "error", "error": object{"type": fmt.Sprintf("http_%d", status), "message": message}}
}
