package reason

import "context"

// ProgressKind says what has happened in an investigation.
type ProgressKind string

const (
	ProgressStarted   ProgressKind = "started"
	ProgressTurn      ProgressKind = "turn"      // the model is asked
	ProgressAnswered  ProgressKind = "answered"  // the model has answered
	ProgressTool      ProgressKind = "tool"      // a tool has run
	ProgressSubmitted ProgressKind = "submitted" // an accepted diagnosis
	ProgressRejected  ProgressKind = "rejected"  // a diagnosis with faults
	ProgressFinished  ProgressKind = "finished"
)

// Progress is one step of an investigation, for people to watch. It holds no text of the cluster.
type Progress struct {
	Kind    ProgressKind `json:"kind"`
	Turn    int          `json:"turn"` // from 1; 0 before the first
	Tool    string       `json:"tool,omitempty"`
	Failed  bool         `json:"failed,omitempty"`
	Attempt int          `json:"attempt,omitempty"` // of a submission, from 1
	Detail  string       `json:"detail,omitempty"`  // in our words
	// InputTokens, OutputTokens and Cost are the totals so far.
	InputTokens  int     `json:"inputTokens"`
	OutputTokens int     `json:"outputTokens"`
	Cost         float64 `json:"costUSD"`
}

// Watch is told what happens, in order, from one goroutine per investigation. It must not block. The
// context is that of the investigation and carries its incident.Request.
type Watch func(ctx context.Context, p Progress)
