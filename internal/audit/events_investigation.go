package audit

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"kubernaut.ai/kubernaut/internal/incident"
)

// previewLength is how many characters of a prompt, an analysis or a tool's result a preview shows.
const previewLength = 500

// LLMRequest says what a model was asked. Of the prompt itself only its length and its beginning
// are recorded.
type LLMRequest struct {
	IncidentID string
	Call       int    // from 0, within one request
	Provider   string // empty when it is not told
	Model      string
	Prompt     string
	PromptHash string // of the instructions and tool definitions: lower-case hex SHA-256
	MaxTokens  *int
	// InputTokens is how long the whole conversation is, by estimate; 0 when it is not told.
	InputTokens int
	Toolsets    []string
	MCPServers  []string
}

func (p LLMRequest) facts() facts {
	return facts{
		eventType: TypeLLMRequest, action: "llm_request_sent", outcome: incident.OutcomeSuccess,
		identity: []string{strconv.Itoa(p.Call)},
	}
}

func (p LLMRequest) data(id string) any {
	return struct {
		EventID       string   `json:"event_id"`
		IncidentID    string   `json:"incident_id"`
		Provider      string   `json:"provider,omitempty"`
		Model         string   `json:"model"`
		PromptLength  int      `json:"prompt_length"`
		PromptPreview string   `json:"prompt_preview"`
		PromptHash    string   `json:"prompt_hash,omitempty"`
		InputTokens   int      `json:"input_tokens_estimated,omitempty"`
		MaxTokens     *int     `json:"max_tokens"`
		Toolsets      []string `json:"toolsets_enabled"`
		MCPServers    []string `json:"mcp_servers"`
	}{
		id, clip(p.IncidentID, maxLabel), clip(p.Provider, maxLabel), clip(p.Model, maxLabel), utf8.RuneCountInString(p.Prompt), preview(p.Prompt),
		clip(p.PromptHash, maxLabel), p.InputTokens,
		p.MaxTokens, clipAll(p.Toolsets, maxLabel), clipAll(p.MCPServers, maxLabel),
	}
}

// LLMResponse says what a model answered.
type LLMResponse struct {
	IncidentID string
	Call       int // the call that it answers
	Analysis   string
	TokensUsed *int
	ToolCalls  int
	// InputTokens and OutputTokens are the parts of TokensUsed, and Cost is what they cost in US dollars; 0 when
	// it is not told.
	InputTokens, OutputTokens int
	Cost                      float64
	Stop                      string // why it stopped; empty when it is not told
	Error                     string // why there is no answer; empty when there is one
}

func (p LLMResponse) facts() facts {
	f := facts{
		eventType: TypeLLMResponse, action: "llm_response_received", outcome: incident.OutcomeSuccess,
		identity: []string{strconv.Itoa(p.Call)},
	}
	if p.Analysis == "" || p.Error != "" {
		f.outcome, f.severity = incident.OutcomeFailure, "warning"
	}
	return f
}

func (p LLMResponse) data(id string) any {
	return struct {
		EventID         string   `json:"event_id"`
		IncidentID      string   `json:"incident_id"`
		HasAnalysis     bool     `json:"has_analysis"`
		AnalysisLength  int      `json:"analysis_length"`
		AnalysisPreview string   `json:"analysis_preview"`
		TokensUsed      *int     `json:"tokens_used"`
		ToolCallCount   int      `json:"tool_call_count"`
		InputTokens     int      `json:"input_tokens,omitempty"`
		OutputTokens    int      `json:"output_tokens,omitempty"`
		Cost            *float64 `json:"cost_usd,omitempty"`
		Stop            string   `json:"stop_reason,omitempty"`
		Error           string   `json:"error_message,omitempty"`
	}{
		id, clip(p.IncidentID, maxLabel), p.Analysis != "", utf8.RuneCountInString(p.Analysis), preview(p.Analysis),
		p.TokensUsed, p.ToolCalls, p.InputTokens, p.OutputTokens, cost(p.Cost), clip(p.Stop, maxLabel), clip(p.Error, maxText),
	}
}

// LLMToolCall says that a tool was run for a model, and what it returned.
type LLMToolCall struct {
	IncidentID string
	Index      int // from 0, within one request
	Tool       string
	Arguments  json.RawMessage // what the model gave, JSON or not; nil for none
	Result     string
	Err        error // nil when the tool succeeded
}

func (p LLMToolCall) facts() facts {
	f := facts{
		eventType: TypeLLMToolCall, action: "tool_invoked", outcome: incident.OutcomeSuccess,
		identity: []string{strconv.Itoa(p.Index), p.Tool},
	}
	if p.Err != nil {
		f.outcome, f.severity = incident.OutcomeFailure, "warning"
	}
	return f
}

func (p LLMToolCall) data(id string) any {
	return struct {
		EventID       string `json:"event_id"`
		IncidentID    string `json:"incident_id"`
		Index         int    `json:"tool_call_index"`
		Tool          string `json:"tool_name"`
		Arguments     any    `json:"tool_arguments"`
		Result        string `json:"tool_result"`
		ResultPreview string `json:"tool_result_preview"`
		ErrorMessage  string `json:"error_message,omitempty"`
	}{
		id, clip(p.IncidentID, maxLabel), p.Index, clip(p.Tool, maxLabel), foreignJSON(p.Arguments),
		clip(p.Result, maxLongText), preview(p.Result), errorText(p.Err),
	}
}

// WorkflowValidation says how one check of a proposed workflow ended.
type WorkflowValidation struct {
	IncidentID   string
	Attempt      int // from 1
	MaxAttempts  int
	Valid        bool
	Errors       []string
	WorkflowID   string
	WorkflowName string                // the id again when the name is not known
	ReviewReason incident.ReviewReason // set when the attempts are exhausted
	Source       string                // who proposed it, "model"; empty for the catalog's own order
}

func (p WorkflowValidation) final() bool { return p.Attempt >= p.MaxAttempts }

func (p WorkflowValidation) facts() facts {
	f := facts{
		eventType: TypeWorkflowValidation, action: "validation_executed", outcome: incident.OutcomeSuccess,
		identity: []string{strconv.Itoa(p.Attempt), p.WorkflowID, strconv.FormatBool(p.Valid)},
	}
	if p.Source != "" {
		f.identity = append(f.identity, p.Source)
	}
	switch {
	case p.Valid:
	case p.final():
		f.outcome, f.severity = incident.OutcomeFailure, "warning"
	default:
		f.outcome = incident.OutcomePending
	}
	return f
}

func (p WorkflowValidation) data(id string) any {
	name := p.WorkflowName
	if name == "" {
		name = p.WorkflowID
	}
	return struct {
		EventID          string   `json:"event_id"`
		IncidentID       string   `json:"incident_id"`
		Attempt          int      `json:"attempt"`
		MaxAttempts      int      `json:"max_attempts"`
		IsValid          bool     `json:"is_valid"`
		Errors           []string `json:"errors"`
		ValidationErrors string   `json:"validation_errors"`
		WorkflowID       string   `json:"workflow_id"`
		WorkflowName     string   `json:"workflow_name"`
		ReviewReason     *string  `json:"human_review_reason"`
		IsFinal          bool     `json:"is_final_attempt"`
		Source           string   `json:"source,omitempty"`
	}{
		id, clip(p.IncidentID, maxLabel), p.Attempt, p.MaxAttempts, p.Valid,
		clipAll(p.Errors, maxText), clip(join(p.Errors, "; "), maxText), clip(p.WorkflowID, maxLabel),
		clip(name, maxLabel), optional(string(p.ReviewReason)), p.final(), clip(p.Source, maxLabel),
	}
}

// InvestigationCompleted says what an investigation found and how far that is backed by evidence.
type InvestigationCompleted struct {
	Investigation incident.Investigation
	Engine        string // what decided: "deterministic", "mock" or a model's name
	RequestHash   string // lower-case hex SHA-256 of the request's body
	Duration      time.Duration
	// Err is why there is no investigation; nil when there is one.
	Err error
}

func (p InvestigationCompleted) facts() facts {
	in := &p.Investigation
	f := facts{
		eventType: TypeInvestigationComplete, action: "investigation_completed",
		outcome: incident.OutcomeSuccess, duration: &p.Duration,
		identity: []string{p.RequestHash, in.BundleDigest, string(in.CauseClass), p.workflow(), string(incident.KindOf(p.Err))},
	}
	if p.Err != nil {
		f.outcome, f.severity = incident.OutcomeFailure, "warning"
	}
	return f
}

func (p InvestigationCompleted) workflow() string {
	if p.Investigation.Workflow == nil {
		return ""
	}
	return p.Investigation.Workflow.ID
}

func (p InvestigationCompleted) data(id string) any {
	in := &p.Investigation
	gapsTouchingCause := 0
	for _, g := range in.Gaps {
		if g.TouchesCause {
			gapsTouchingCause++
		}
	}
	target := ""
	if in.RootCause.Target != nil {
		target = in.RootCause.Target.String()
	}
	return struct {
		EventID           string     `json:"event_id"`
		IncidentID        string     `json:"incident_id"`
		Engine            string     `json:"engine"`
		CauseClass        string     `json:"cause_class"`
		RootCause         string     `json:"root_cause"`
		Severity          string     `json:"severity"`
		Target            string     `json:"target_resource,omitempty"`
		Confidence        *float64   `json:"confidence"`
		WorkflowID        string     `json:"workflow_id,omitempty"`
		Candidates        int        `json:"candidate_count"`
		Links             int        `json:"chain_length"`
		Evidence          int        `json:"evidence_count"`
		Gaps              int        `json:"gap_count"`
		GapsTouchingCause int        `json:"gaps_touching_cause"`
		NeedsHumanReview  bool       `json:"needs_human_review"`
		ReviewReason      *string    `json:"human_review_reason"`
		Warnings          []string   `json:"warnings"`
		BundleDigest      string     `json:"bundle_digest,omitempty"`
		RequestHash       string     `json:"request_hash,omitempty"`
		DurationMS        int64      `json:"duration_ms"`
		ErrorKind         string     `json:"error_kind,omitempty"`
		ErrorMessage      string     `json:"error_message,omitempty"`
		Reasoning         *modelPart `json:"reasoning,omitempty"`
	}{
		id, clip(in.IncidentID, maxLabel), clip(p.Engine, maxLabel), clip(string(in.CauseClass), maxLabel),
		clip(in.RootCause.Summary, maxText), clip(string(in.RootCause.Severity), maxLabel), clip(target, maxLabel),
		finite(&in.Confidence), clip(p.workflow(), maxLabel), len(in.Candidates), len(in.Chain), len(in.Evidence),
		len(in.Gaps), gapsTouchingCause, in.NeedsHumanReview, optional(string(in.HumanReviewReason)),
		clipAll(in.Warnings, maxText), clip(in.BundleDigest, maxLabel), clip(p.RequestHash, maxLabel),
		p.Duration.Milliseconds(), string(incident.KindOf(p.Err)), errorText(p.Err), partOf(in.Reasoning),
	}
}

// modelPart says what a model's part in an investigation came to.
type modelPart struct {
	Provider   string              `json:"provider"`
	Model      string              `json:"model"`
	PromptHash string              `json:"prompt_hash"`
	Stance     incident.Stance     `json:"stance"`
	Stopped    string              `json:"stopped,omitempty"`
	Confidence *float64            `json:"confidence"`
	Suspicions []string            `json:"suspicions,omitempty"` // places of text that gives orders
	Usage      incident.ModelUsage `json:"usage"`
}

func partOf(r *incident.Reasoning) *modelPart {
	if r == nil {
		return nil
	}
	p := &modelPart{
		Provider: clip(r.Provider, maxLabel), Model: clip(r.Model, maxLabel), PromptHash: clip(r.PromptHash, maxLabel), Stance: r.Stance,
		Stopped: clip(r.Stopped, maxLabel), Confidence: finite(&r.Confidence), Usage: r.Usage,
	}
	for _, s := range r.Suspicions {
		p.Suspicions = append(p.Suspicions, s.Place+": "+s.Rule)
	}
	p.Suspicions = clipAll(p.Suspicions, maxLabel)
	return p
}

// cost returns nil for what was free, or is not told.
func cost(usd float64) *float64 {
	if usd == 0 {
		return nil
	}
	return finite(&usd)
}
