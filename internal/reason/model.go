package reason

import (
	"context"
	"encoding/json"
)

// Model is a language model. Implementations translate one vendor's protocol and nothing else: they do
// not retry, do not log what they are told, and keep no conversation. They are safe for concurrent use.
type Model interface {
	// Turn answers a conversation. It returns soon after ctx ended. Errors are *incident.Error:
	//
	//	KindUnavailable, KindNetwork, KindTimeout  trying again can help
	//	KindRateLimited                            the same, after RetryAfter
	//	KindTooLarge                               the conversation is longer than the model takes
	//	KindUnauthorized, KindForbidden            the key is not accepted, or not for this model
	//	KindInvalid                                the vendor calls the request wrong
	//	KindMalformed                              the answer breaks the vendor's protocol, or was cut off
	//	KindInternal                               anything else
	//
	// A model that refuses to answer is no error but [StopRefused].
	Turn(ctx context.Context, req Request) (Response, error)
}

// Request is one turn: the whole conversation so far, and what the model may do.
type Request struct {
	System   string
	Messages []Message
	Tools    []Definition
	// Only is the name of the one tool that the model must call; empty when it is free.
	Only string
	// MaxOutput bounds the answer, in tokens.
	MaxOutput int
}

// Role says whose message it is.
type Role string

const (
	RoleUser  Role = "user"
	RoleModel Role = "model"
	RoleTool  Role = "tool" // results of the calls of the message before
)

// Message is one entry of a conversation. Text is set for RoleUser and RoleModel, Calls for RoleModel only,
// Results for RoleTool only: one for each call of the message before, in its order.
type Message struct {
	Role    Role         `json:"role"`
	Text    string       `json:"text,omitempty"`
	Calls   []Call       `json:"calls,omitempty"`
	Results []CallResult `json:"results,omitempty"`
}

// Call is a model's wish to have a tool run.
type Call struct {
	ID        string          `json:"id"` // unique in its message
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"` // as the model gave them: not always JSON, and then a JSON string of them
}

// CallResult answers a Call.
type CallResult struct {
	CallID  string `json:"callId"`
	Content string `json:"content"` // JSON
	Failed  bool   `json:"failed,omitempty"`
}

// Definition is a tool as a model sees it.
type Definition struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"schema"` // JSON schema of the arguments, an object
}

// StopReason says why a model stopped.
type StopReason string

const (
	StopEnd       StopReason = "end"        // it had no more to say
	StopCalls     StopReason = "calls"      // it waits for its calls
	StopMaxOutput StopReason = "max_output" // MaxOutput was reached
	StopRefused   StopReason = "refused"    // the model, or a filter of its vendor, declines
)

// Response is a model's answer to a Request.
type Response struct {
	Text  string     `json:"text,omitempty"`
	Calls []Call     `json:"calls,omitempty"`
	Stop  StopReason `json:"stop"`
	Usage Usage      `json:"usage"`
	// Model is the model that answered, as the vendor names it; empty when the vendor does not say.
	Model string `json:"model,omitempty"`
}

// Usage counts the tokens of one turn as the vendor does. All are zero when it does not say.
type Usage struct {
	Input  int `json:"input"`  // all of the conversation, Cached included
	Cached int `json:"cached"` // the part of Input that the vendor had seen before, and bills for less
	Output int `json:"output"`
}
