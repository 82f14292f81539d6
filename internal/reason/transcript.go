package reason

import (
	"encoding/json"
	"time"
)

// transcriptFormat names the layout of a transcript. A reader refuses any other.
const transcriptFormat = "kubernaut.ai/transcript/v1"

// Transcript is all that was said in one investigation, as JSON stores it. With the case it is enough to
// repeat the investigation without the model.
type Transcript struct {
	Format     string  `json:"format"`
	Provider   string  `json:"provider"`
	Model      string  `json:"model"`
	PromptHash string  `json:"promptHash"`
	System     string  `json:"system"`
	Entries    []Entry `json:"entries"`
}

// Entry is one step. Exactly one of Request, Response, Result, Verdict and Error is set.
type Entry struct {
	At       time.Time   `json:"at"`
	Turn     int         `json:"turn"`
	Request  *Asked      `json:"request,omitempty"`
	Response *Response   `json:"response,omitempty"`
	Result   *ToolAnswer `json:"result,omitempty"`
	Verdict  *Judgement  `json:"verdict,omitempty"`
	Error    string      `json:"error,omitempty"`   // why the model gave no answer
	Cost     float64     `json:"costUSD,omitempty"` // of a response, or of a request that had none
}

// Asked is a request to the model: what is new in it.
type Asked struct {
	Messages  []Message `json:"messages"` // those that were added since the request before
	Only      string    `json:"only,omitempty"`
	MaxOutput int       `json:"maxOutput"`
	Estimated int       `json:"estimatedInputTokens"` // of the whole conversation
}

// ToolAnswer is what a tool said to a call.
type ToolAnswer struct {
	Index      int             `json:"index"` // of the call, from 0 in the investigation
	CallID     string          `json:"callId"`
	Tool       string          `json:"tool"`
	Arguments  json.RawMessage `json:"arguments"`
	Content    string          `json:"content"`
	Failed     bool            `json:"failed,omitempty"`
	DurationMS int64           `json:"durationMs"`
}

// Judgement is what the gate said to a submission.
type Judgement struct {
	Attempt    int      `json:"attempt"` // from 1
	Accepted   bool     `json:"accepted"`
	WorkflowID string   `json:"workflowId,omitempty"`
	Faults     []string `json:"faults,omitempty"`
}
