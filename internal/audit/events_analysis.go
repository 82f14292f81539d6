package audit

import (
	"strconv"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// The endpoints of the investigation API, as events name them.
const (
	EndpointIncident = "/api/v1/incident/analyze"
	EndpointRecovery = "/api/v1/recovery/analyze"
)

// AnalysisStarted says that the controller took up an analysis.
type AnalysisStarted struct {
	SignalType      string
	Severity        string
	Environment     string
	Priority        string
	Fingerprint     string
	Target          incident.Ref
	AnalysisTypes   []string
	RecoveryAttempt int // 0 for a first analysis
}

func (AnalysisStarted) facts() facts {
	return facts{eventType: TypeAnalysisStarted, action: "analysis_started", outcome: incident.OutcomePending}
}

func (p AnalysisStarted) data(string) any {
	return struct {
		SignalType      string   `json:"signal_type"`
		Severity        string   `json:"severity"`
		Environment     string   `json:"environment"`
		Priority        string   `json:"business_priority"`
		Fingerprint     string   `json:"fingerprint,omitempty"`
		Target          string   `json:"target_resource"`
		AnalysisTypes   []string `json:"analysis_types"`
		IsRecovery      bool     `json:"is_recovery_attempt"`
		RecoveryAttempt int      `json:"recovery_attempt_number,omitempty"`
	}{
		clip(p.SignalType, maxLabel), clip(p.Severity, maxLabel), clip(p.Environment, maxLabel),
		clip(p.Priority, maxLabel), clip(p.Fingerprint, maxLabel), clip(p.Target.String(), maxLabel),
		clipAll(p.AnalysisTypes, maxLabel), p.RecoveryAttempt > 0, p.RecoveryAttempt,
	}
}

// PhaseTransition says that an analysis went from one phase to the next.
type PhaseTransition struct {
	Old, New string
}

func (p PhaseTransition) facts() facts {
	return facts{
		eventType: TypePhaseTransition, action: "phase_transition", outcome: incident.OutcomeSuccess,
		identity: []string{p.Old, p.New},
	}
}

func (p PhaseTransition) data(string) any {
	return struct {
		Old string `json:"old_phase"`
		New string `json:"new_phase"`
	}{clip(p.Old, maxLabel), clip(p.New, maxLabel)}
}

// InvestigationCall says how one call to the investigation API ended.
type InvestigationCall struct {
	Recovery     bool // which endpoint was called
	Status       int  // HTTP status of the answer; 0 when there was none
	Duration     time.Duration
	Attempt      int    // from 1
	RequestHash  string // lower-case hex SHA-256 of the request's body
	BundleDigest string
	// Err is nil when the call gave an investigation. An answer of status 200 that could not be
	// understood has an Err.
	Err error
}

func (p InvestigationCall) facts() facts {
	f := facts{
		eventType: TypeInvestigationCall, action: "holmesgpt_call", outcome: incident.OutcomeSuccess,
		duration: &p.Duration,
		// A resumed attempt may end in another way than it did before the crash. Both happened.
		identity: []string{strconv.Itoa(p.Attempt), strconv.Itoa(p.Status), string(incident.KindOf(p.Err))},
	}
	if p.Err != nil || p.Status >= 400 || p.Status == 0 {
		f.outcome, f.severity = incident.OutcomeFailure, "warning"
	}
	return f
}

func (p InvestigationCall) data(string) any {
	endpoint := EndpointIncident
	if p.Recovery {
		endpoint = EndpointRecovery
	}
	return struct {
		Endpoint     string `json:"endpoint"`
		Status       int    `json:"http_status_code"`
		DurationMS   int64  `json:"duration_ms"`
		Attempt      int    `json:"attempt"`
		RequestHash  string `json:"request_hash,omitempty"`
		BundleDigest string `json:"bundle_digest,omitempty"`
		ErrorKind    string `json:"error_kind,omitempty"`
		ErrorMessage string `json:"error_message,omitempty"`
	}{
		endpoint, p.Status, p.Duration.Milliseconds(), p.Attempt, clip(p.RequestHash, maxLabel),
		clip(p.BundleDigest, maxLabel), string(incident.KindOf(p.Err)), errorText(p.Err),
	}
}

// PolicyEvaluation says what the approval policy answered.
type PolicyEvaluation struct {
	Decision incident.Decision
	Duration time.Duration
	Err      error // why there is no decision; nil when there is one
}

func (p PolicyEvaluation) facts() facts {
	f := facts{
		eventType: TypePolicyEvaluation, action: "policy_evaluation", outcome: incident.OutcomeSuccess,
		duration: &p.Duration,
		identity: []string{p.outcome(), p.Decision.PolicyHash},
	}
	if p.Err != nil {
		f.outcome, f.severity = incident.OutcomeFailure, "error"
	}
	return f
}

func (p PolicyEvaluation) outcome() string {
	switch {
	case p.Err != nil:
		return "error"
	case p.Decision.ApprovalRequired:
		return "requires_approval"
	}
	return "approved"
}

func (p PolicyEvaluation) data(string) any {
	return struct {
		Outcome      string   `json:"outcome"`
		Degraded     bool     `json:"degraded"`
		DurationMS   int64    `json:"duration_ms"`
		Reason       string   `json:"reason"`
		PolicyName   string   `json:"policy_name,omitempty"`
		PolicyHash   string   `json:"policy_hash,omitempty"`
		Rules        []string `json:"matched_rules"`
		ErrorMessage string   `json:"error_message,omitempty"`
	}{
		p.outcome(), p.Decision.Degraded, p.Duration.Milliseconds(), clip(p.Decision.Reason, maxText),
		clip(p.Decision.PolicyName, maxLabel), clip(p.Decision.PolicyHash, maxLabel),
		clipAll(p.Decision.Rules, maxLabel), errorText(p.Err),
	}
}

// ApprovalDecision says whether a person must approve the workflow.
type ApprovalDecision struct {
	Decision    incident.Decision
	Environment string
	Confidence  *float64 // nil when there is no workflow
	WorkflowID  string
}

func (p ApprovalDecision) facts() facts {
	return facts{
		eventType: TypeApprovalDecision, action: "approval_decision", outcome: incident.OutcomeSuccess,
		identity: []string{p.decision(), p.WorkflowID, p.Decision.PolicyHash},
	}
}

func (p ApprovalDecision) decision() string {
	if p.Decision.ApprovalRequired {
		return "requires_approval"
	}
	return "auto_approved"
}

func (p ApprovalDecision) data(string) any {
	reason := clip(p.Decision.Reason, maxText)
	return struct {
		ApprovalRequired bool     `json:"approval_required"`
		ApprovalReason   string   `json:"approval_reason"`
		AutoApproved     bool     `json:"auto_approved"`
		Decision         string   `json:"decision"`
		Reason           string   `json:"reason"`
		Environment      string   `json:"environment"`
		Confidence       *float64 `json:"confidence,omitempty"`
		WorkflowID       string   `json:"workflow_id,omitempty"`
		Degraded         bool     `json:"degraded"`
		PolicyHash       string   `json:"policy_hash,omitempty"`
		Rules            []string `json:"matched_rules"`
	}{
		p.Decision.ApprovalRequired, reason, !p.Decision.ApprovalRequired, p.decision(), reason,
		clip(p.Environment, maxLabel), finite(p.Confidence), clip(p.WorkflowID, maxLabel),
		p.Decision.Degraded, clip(p.Decision.PolicyHash, maxLabel), clipAll(p.Decision.Rules, maxLabel),
	}
}

// HumanReviewRequired says that an analysis ended without a workflow that may run, so that a person
// must look at it.
type HumanReviewRequired struct {
	Reason       string // of the status
	SubReason    string
	ReviewReason incident.ReviewReason // as the investigation gave it; may be empty
	Message      string
	Confidence   *float64
	WorkflowID   string
	BundleDigest string
}

func (p HumanReviewRequired) facts() facts {
	return facts{
		eventType: TypeHumanReviewRequired, action: "human_review_required",
		outcome: incident.OutcomePending, severity: "warning",
		identity: []string{p.Reason, p.SubReason, string(p.ReviewReason)},
	}
}

func (p HumanReviewRequired) data(string) any {
	return struct {
		Reason       string   `json:"reason"`
		SubReason    string   `json:"sub_reason,omitempty"`
		ReviewReason string   `json:"human_review_reason,omitempty"`
		Message      string   `json:"message,omitempty"`
		Confidence   *float64 `json:"confidence,omitempty"`
		WorkflowID   string   `json:"workflow_id,omitempty"`
		BundleDigest string   `json:"bundle_digest,omitempty"`
	}{
		clip(p.Reason, maxLabel), clip(p.SubReason, maxLabel), clip(string(p.ReviewReason), maxLabel),
		clip(p.Message, maxText), finite(p.Confidence), clip(p.WorkflowID, maxLabel),
		clip(p.BundleDigest, maxLabel),
	}
}

// AnalysisCompleted says that an analysis reached its last phase.
type AnalysisCompleted struct {
	Phase              string // Completed or Failed
	ApprovalRequired   bool
	ApprovalReason     string
	DegradedMode       bool
	WarningsCount      int
	Confidence         *float64 // nil when there is no workflow
	WorkflowID         string
	TargetInOwnerChain *bool
	Reason             string
	SubReason          string
	Attempts           int // calls to the investigation API
	PolicyHash         string
	BundleDigest       string
	Duration           time.Duration // from the start of the analysis; 0 when not known
}

func (p AnalysisCompleted) facts() facts {
	f := facts{
		eventType: TypeAnalysisCompleted, action: "analysis_complete", outcome: incident.OutcomeSuccess,
		// An analysis that is ended again after a crash, by another policy, ends in another way.
		identity: []string{p.Phase, p.Reason, p.SubReason, p.WorkflowID, strconv.FormatBool(p.ApprovalRequired), p.PolicyHash},
	}
	if p.Phase == "Failed" {
		f.outcome, f.severity = incident.OutcomeFailure, "warning"
	}
	if p.Duration > 0 {
		f.duration = &p.Duration
	}
	return f
}

func (p AnalysisCompleted) data(string) any {
	return struct {
		Phase              string   `json:"phase"`
		ApprovalRequired   bool     `json:"approval_required"`
		ApprovalReason     string   `json:"approval_reason,omitempty"`
		DegradedMode       bool     `json:"degraded_mode"`
		WarningsCount      int      `json:"warnings_count"`
		Confidence         *float64 `json:"confidence,omitempty"`
		WorkflowID         string   `json:"workflow_id,omitempty"`
		TargetInOwnerChain *bool    `json:"target_in_owner_chain,omitempty"`
		Reason             string   `json:"reason,omitempty"`
		SubReason          string   `json:"sub_reason,omitempty"`
		Attempts           int      `json:"attempts,omitempty"`
		PolicyHash         string   `json:"policy_hash,omitempty"`
		BundleDigest       string   `json:"bundle_digest,omitempty"`
	}{
		clip(p.Phase, maxLabel), p.ApprovalRequired, clip(p.ApprovalReason, maxText), p.DegradedMode,
		p.WarningsCount, finite(p.Confidence), clip(p.WorkflowID, maxLabel), p.TargetInOwnerChain,
		clip(p.Reason, maxLabel), clip(p.SubReason, maxLabel), p.Attempts,
		clip(p.PolicyHash, maxLabel), clip(p.BundleDigest, maxLabel),
	}
}

// ErrorOccurred says that a step of an analysis failed, whether or not it is tried again.
type ErrorOccurred struct {
	Phase   string
	Attempt int   // from 1; 0 when the step is not counted
	Err     error // never nil
	// Final is set when the analysis fails because of this error.
	Final bool
}

func (p ErrorOccurred) facts() facts {
	return facts{
		eventType: TypeErrorOccurred, action: "error", outcome: incident.OutcomeFailure, severity: "error",
		identity: []string{
			p.Phase, strconv.Itoa(p.Attempt), string(incident.KindOf(p.Err)), strconv.FormatBool(p.Final),
		},
	}
}

func (p ErrorOccurred) data(string) any {
	text := errorText(p.Err)
	return struct {
		Phase        string `json:"phase"`
		Error        string `json:"error"`
		ErrorMessage string `json:"error_message"`
		ErrorKind    string `json:"error_kind"`
		Attempt      int    `json:"attempt,omitempty"`
		Final        bool   `json:"final"`
	}{clip(p.Phase, maxLabel), text, text, string(incident.KindOf(p.Err)), p.Attempt, p.Final}
}

// AnalysisDeleted says that an AIAnalysis was deleted, in the phase that it had.
type AnalysisDeleted struct {
	Phase string
}

func (AnalysisDeleted) facts() facts {
	return facts{eventType: TypeAnalysisDeleted, action: "analysis_deleted", outcome: incident.OutcomeSuccess}
}

func (p AnalysisDeleted) data(string) any {
	return struct {
		Phase string `json:"phase"`
	}{clip(p.Phase, maxLabel)}
}
