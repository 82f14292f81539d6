package incident

import "time"

// ReviewReason says why an investigation must be looked at by a person.
type ReviewReason string

const (
	ReviewWorkflowNotFound    ReviewReason = "workflow_not_found"
	ReviewImageMismatch       ReviewReason = "image_mismatch"
	ReviewParameterValidation ReviewReason = "parameter_validation_failed"
	ReviewNoMatchingWorkflows ReviewReason = "no_matching_workflows"
	ReviewLowConfidence       ReviewReason = "low_confidence"
	ReviewParsingError        ReviewReason = "llm_parsing_error"
	ReviewInconclusive        ReviewReason = "investigation_inconclusive"
	ReviewNotReproducible     ReviewReason = "signal_not_reproducible"
)

// RootCause is the cause as the status and the wire carry it.
type RootCause struct {
	Summary    string
	Severity   Severity
	SignalType string
	Factors    []string
	Target     *Ref // the object to act on; nil when no cause was found
}

// ValidationAttempt records one check of a proposed workflow.
type ValidationAttempt struct {
	Attempt    int // from 1
	WorkflowID string
	Valid      bool
	Errors     []string
	At         time.Time
}

// RecoveryAssessment is what an investigation says about the previous execution.
type RecoveryAssessment struct {
	CanRecover        bool
	Assessed          bool // false when nothing was said about the previous attempt
	FailureUnderstood bool
	FailureReason     string
	StateChanged      bool
	CurrentSignalType string
	Strategies        []RecoveryStrategy // best first
}

// RecoveryStrategy is one way to recover.
type RecoveryStrategy struct {
	ActionType    string
	Confidence    float64 // 0 to 1
	Rationale     string
	Risk          string // low, medium or high
	Prerequisites []string
}

// Investigation is the answer to an Incident.
type Investigation struct {
	IncidentID string
	Analysis   string // the whole finding in sentences
	RootCause  RootCause

	// Workflow is nil when none was chosen.
	Workflow     *SelectedWorkflow
	Alternatives []Alternative
	Candidates   []Candidate

	// Confidence is from 0 to 1: in the chosen workflow, or, when there is none, in the finding
	// (so that "nothing is wrong" can be said with confidence).
	Confidence float64

	NeedsHumanReview  bool
	HumanReviewReason ReviewReason

	TargetInOwnerChain bool
	Warnings           []string
	Attempts           []ValidationAttempt

	CauseClass   CauseClass // empty when nothing was found
	Chain        []Link
	Evidence     []Evidence
	Gaps         []Gap
	BundleDigest string // "sha256:<hex>" of the stored bundle; empty when none was stored

	// Reasoning is what a model added; nil when none was asked.
	Reasoning *Reasoning

	// Recovery is set only in answers to a recovery incident.
	Recovery *RecoveryAssessment

	CompletedAt time.Time
}

// Decision is what the approval policy said.
type Decision struct {
	ApprovalRequired bool
	Reason           string
	Rules            []string // the policy rules that matched
	Rule             string   // the one of them that gave the reason; empty when the policy does not tell
	PolicyName       string
	PolicyHash       string // lower-case hex SHA-256 of the policy's text
	// Degraded is set when the policy could not be evaluated and the safe answer was given instead.
	Degraded bool
}
