package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Phase is where an analysis stands: Pending → Investigating → Analyzing → Completed or Failed. A new
// resource is Pending. Investigating may also end at once. Completed and Failed are final.
// +kubebuilder:validation:Enum=Pending;Investigating;Analyzing;Completed;Failed
type Phase string

const (
	// PhasePending waits for a free investigation slot.
	PhasePending Phase = "Pending"
	// PhaseInvestigating waits for the answer to the investigation, or for its next attempt.
	PhaseInvestigating Phase = "Investigating"
	// PhaseAnalyzing has an answer and asks the approval policy.
	PhaseAnalyzing Phase = "Analyzing"
	// PhaseCompleted has a decision, or nothing to decide because the problem is gone.
	PhaseCompleted Phase = "Completed"
	// PhaseFailed has no workflow that may run: a person must look.
	PhaseFailed Phase = "Failed"
)

// Terminal reports whether the phase is final.
func (p Phase) Terminal() bool { return p == PhaseCompleted || p == PhaseFailed }

// AIAnalysisStatus is the result of an analysis and its progress. Its parts are atomic: the controller
// alone writes them, each as a whole, and the API server then has little to remember about who owns what.
type AIAnalysisStatus struct {
	Phase Phase `json:"phase"`

	// ObservedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Message says in a sentence what happened.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message,omitempty"`

	// Reason is one of the Reason constants of this package.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Reason string `json:"reason,omitempty"`

	// SubReason refines Reason.
	// +optional
	SubReason SubReason `json:"subReason,omitempty"`

	// StartedAt is when the controller accepted the analysis; the overall deadline counts from it.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`

	// CompletedAt is when the analysis became Completed or Failed.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`

	// RootCause is the summary of the root cause.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	RootCause string `json:"rootCause,omitempty"`

	// +optional
	// +structType=atomic
	RootCauseAnalysis *RootCauseAnalysis `json:"rootCauseAnalysis,omitempty"`

	// CauseClass names the class of the root cause, for example "oom-limit".
	// +optional
	// +kubebuilder:validation:MaxLength=128
	CauseClass string `json:"causeClass,omitempty"`

	// CausalChain leads from the symptom (first) to the cause (last).
	// +optional
	// +kubebuilder:validation:MaxItems=32
	CausalChain []CausalLink `json:"causalChain,omitempty"`

	// Evidence is what was read from the cluster in support of the causal chain.
	// +optional
	// +kubebuilder:validation:MaxItems=100
	Evidence []Evidence `json:"evidence,omitempty"`

	// Gaps are what could not be read and could have mattered.
	// +optional
	// +kubebuilder:validation:MaxItems=50
	Gaps []Gap `json:"gaps,omitempty"`

	// SelectedWorkflow is the remedy that was chosen. In a Failed analysis it is what was proposed
	// and must not be run.
	// +optional
	// +structType=atomic
	SelectedWorkflow *SelectedWorkflow `json:"selectedWorkflow,omitempty"`

	// AlternativeWorkflows are sensible second choices. They are informational.
	// +optional
	// +kubebuilder:validation:MaxItems=20
	AlternativeWorkflows []AlternativeWorkflow `json:"alternativeWorkflows,omitempty"`

	// Candidates are the workflows that were considered, each with the reason for or against it.
	// +optional
	// +kubebuilder:validation:MaxItems=50
	Candidates []Candidate `json:"candidates,omitempty"`

	// ApprovalRequired says that a person must approve before the workflow runs.
	ApprovalRequired bool `json:"approvalRequired"`

	// ApprovalReason is the policy's reason, also when it approves by itself.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	ApprovalReason string `json:"approvalReason,omitempty"`

	// ApprovalContext is what a person needs to decide. It is set when ApprovalRequired is.
	// +optional
	// +structType=atomic
	ApprovalContext *ApprovalContext `json:"approvalContext,omitempty"`

	// Policy is the policy that decided.
	// +optional
	// +structType=atomic
	Policy *Policy `json:"policy,omitempty"`

	// InvestigationID is the id under which the investigation was answered.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	InvestigationID string `json:"investigationId,omitempty"`

	// InvestigationTime is how long the successful call for the investigation took, in whole
	// seconds, rounded up.
	// +optional
	// +kubebuilder:validation:Minimum=0
	InvestigationTime int64 `json:"investigationTime,omitempty"`

	// TotalAnalysisTime is the time from StartedAt to CompletedAt, in whole seconds, rounded up.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TotalAnalysisTime int64 `json:"totalAnalysisTime,omitempty"`

	// TargetInOwnerChain says whether the object to act on is the signal's resource or one of its
	// owners. It is absent until the investigation has answered.
	// +optional
	TargetInOwnerChain *bool `json:"targetInOwnerChain,omitempty"`

	// +optional
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MaxLength=1024
	Warnings []string `json:"warnings,omitempty"`

	// ValidationAttemptsHistory are the checks of proposed workflows, oldest first.
	// +optional
	// +kubebuilder:validation:MaxItems=20
	ValidationAttemptsHistory []ValidationAttempt `json:"validationAttemptsHistory,omitempty"`

	// DegradedMode says that the policy could not be evaluated and that the safe answer, approval by
	// a person, was given instead.
	// +optional
	DegradedMode bool `json:"degradedMode,omitempty"`

	// ConsecutiveFailures counts the failed calls for the investigation since the last success.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ConsecutiveFailures int32 `json:"consecutiveFailures,omitempty"`

	// Attempt is the number of the investigation that is running or comes next, from 1. A call whose
	// outcome is not known, because it timed out or broke off, is repeated under the same number, so
	// that the answering side can join the two.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Attempt int32 `json:"attempt,omitempty"`

	// NextAttemptAt is when the investigation will be asked for again after a failure.
	// +optional
	NextAttemptAt *metav1.MicroTime `json:"nextAttemptAt,omitempty"`

	// RecoveryStatus is what was found out about the previous execution.
	// +optional
	// +structType=atomic
	RecoveryStatus *RecoveryStatus `json:"recoveryStatus,omitempty"`

	// Bundle is the stored evidence bundle; replaying it gives the same verdict.
	// +optional
	// +structType=atomic
	Bundle *Bundle `json:"bundle,omitempty"`

	// Reasoning is what a language model added; absent when none was asked.
	// +optional
	// +structType=atomic
	Reasoning *Reasoning `json:"reasoning,omitempty"`

	// AuditState says where the audit events of a finished analysis were when the status was written.
	// +optional
	AuditState AuditState `json:"auditState,omitempty"`

	// Conditions are the Condition constants of this package.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Severity of a root cause; unknown when it could not be told.
// +kubebuilder:validation:Enum=critical;high;medium;low;unknown
type Severity string

// RootCauseAnalysis is the root cause.
type RootCauseAnalysis struct {
	// +kubebuilder:validation:MaxLength=4096
	Summary  string   `json:"summary"`
	Severity Severity `json:"severity"`
	// SignalType is the signal under which the cause is catalogued. It can differ from the signal
	// that was reported.
	// +kubebuilder:validation:MaxLength=253
	SignalType string `json:"signalType"`
	// +optional
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MaxLength=1024
	ContributingFactors []string `json:"contributingFactors,omitempty"`
	// Target is the object to act on.
	// +optional
	Target *ObjectRef `json:"target,omitempty"`
}

// ObjectRef names a Kubernetes object.
type ObjectRef struct {
	// +optional
	// +kubebuilder:validation:MaxLength=317
	APIVersion string `json:"apiVersion,omitempty"`
	// +kubebuilder:validation:MaxLength=253
	Kind string `json:"kind"`
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Namespace string `json:"namespace,omitempty"`
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +optional
	// +kubebuilder:validation:MaxLength=128
	UID string `json:"uid,omitempty"`
}

// CausalLink is one step of a causal chain.
type CausalLink struct {
	Subject ObjectRef `json:"subject"`
	// +kubebuilder:validation:MaxLength=1024
	Statement string `json:"statement"`
	// Evidence holds ids of Evidence items, in the status or, where a long list was cut, in the bundle
	// only. A link without any is a hypothesis.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=64
	Evidence []string `json:"evidence,omitempty"`
}

// EvidenceKind is the sort of thing that was read.
// +kubebuilder:validation:Enum=object;event;log;metric
type EvidenceKind string

// Evidence is one value that was read from the cluster. The stored bundle holds what it was read
// from, so that it can be checked again.
type Evidence struct {
	// +kubebuilder:validation:MaxLength=64
	ID   string       `json:"id"`
	Kind EvidenceKind `json:"kind"`
	Ref  ObjectRef    `json:"ref"`
	// +optional
	// +kubebuilder:validation:MaxLength=128
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// Path selects the value: a JSON pointer into an object or event, or container/current|previous/line
	// of a log.
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path"`
	// Value is the text that was read. A long one is cut and ends in "…"; SHA256 is that of the whole.
	// +kubebuilder:validation:MaxLength=1024
	Value string `json:"value"`
	// Absent says that Path, or the object itself, was asked for and was not there.
	// +optional
	Absent     bool        `json:"absent,omitempty"`
	ObservedAt metav1.Time `json:"observedAt"`
	// SHA256 is the lower-case hex hash of the whole value.
	// +kubebuilder:validation:MaxLength=64
	SHA256 string `json:"sha256"`
}

// GapKind says why something was not read: not allowed, no longer kept, the read failed, or it was
// not asked for.
// +kubebuilder:validation:Enum=forbidden;expired;failed;notAsked
type GapKind string

// Gap is something that was not read.
type Gap struct {
	Kind GapKind `json:"kind"`
	// +kubebuilder:validation:MaxLength=512
	What string `json:"what"`
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
	// TouchesCause is set when the reading could have changed the root cause.
	// +optional
	TouchesCause bool `json:"touchesCause,omitempty"`
}

// SelectedWorkflow is a workflow with its parameters.
type SelectedWorkflow struct {
	// +kubebuilder:validation:MaxLength=253
	WorkflowID string `json:"workflowId"`
	// +kubebuilder:validation:MaxLength=128
	Version string `json:"version"`
	// +kubebuilder:validation:MaxLength=1024
	ContainerImage string `json:"containerImage"`
	// +optional
	// +kubebuilder:validation:MaxLength=256
	ContainerDigest string `json:"containerDigest,omitempty"`
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	Confidence float64 `json:"confidence"`
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Parameters map[string]string `json:"parameters,omitempty"`
	// +kubebuilder:validation:MaxLength=4096
	Rationale string `json:"rationale"`
}

// AlternativeWorkflow is a workflow that would be a sensible second choice.
type AlternativeWorkflow struct {
	// +kubebuilder:validation:MaxLength=253
	WorkflowID string `json:"workflowId"`
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	ContainerImage string `json:"containerImage,omitempty"`
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	Confidence float64 `json:"confidence"`
	// +kubebuilder:validation:MaxLength=1024
	Rationale string `json:"rationale"`
}

// Candidate is a workflow that was considered.
type Candidate struct {
	// +kubebuilder:validation:MaxLength=253
	WorkflowID string `json:"workflowId"`
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Title string `json:"title,omitempty"`
	// +optional
	Chosen bool `json:"chosen,omitempty"`
	// Score is how well the workflow fits, 1 for a perfect match.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	Score float64 `json:"score"`
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
}

// ValidationAttempt is one check of a proposed workflow.
type ValidationAttempt struct {
	// +kubebuilder:validation:Minimum=1
	Attempt int `json:"attempt"`
	// +kubebuilder:validation:MaxLength=253
	WorkflowID string `json:"workflowId"`
	IsValid    bool   `json:"isValid"`
	// +optional
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MaxLength=1024
	Errors    []string    `json:"errors,omitempty"`
	Timestamp metav1.Time `json:"timestamp"`
}

// RecoveryStatus is what an investigation says about the execution before it.
type RecoveryStatus struct {
	// +optional
	PreviousAttemptAssessment *PreviousAttemptAssessment `json:"previousAttemptAssessment,omitempty"`
	StateChanged              bool                       `json:"stateChanged"`
	// +optional
	// +kubebuilder:validation:MaxLength=253
	CurrentSignalType string `json:"currentSignalType,omitempty"`
}

// PreviousAttemptAssessment says why the previous execution failed.
type PreviousAttemptAssessment struct {
	FailureUnderstood bool `json:"failureUnderstood"`
	// +kubebuilder:validation:MaxLength=4096
	FailureReasonAnalysis string `json:"failureReasonAnalysis"`
}

// Bundle names a stored evidence bundle.
type Bundle struct {
	// Digest is "sha256:" and 64 hex digits.
	// +kubebuilder:validation:MaxLength=128
	Digest string `json:"digest"`
}

// AuditState says where audit events are.
// +kubebuilder:validation:Enum=Recorded;Spooled;Incomplete
type AuditState string

const (
	// AuditRecorded means that every event of the analysis was in Data Storage before the status was
	// written.
	AuditRecorded AuditState = "Recorded"
	// AuditSpooled means that Data Storage could not be reached in time. The events are durable in
	// the controller's spool and are delivered when it can be reached again.
	AuditSpooled AuditState = "Spooled"
	// AuditIncomplete means that Data Storage refused an event of this remediation. It is kept in the
	// controller's spool directory, in rejected.jsonl.
	AuditIncomplete AuditState = "Incomplete"
)

// Reasoning is what a language model said of a finding, and what it cost to ask. It explains; no
// decision is made by it, other than that a person must look.
type Reasoning struct {
	// +kubebuilder:validation:MaxLength=128
	Provider string `json:"provider"`
	// +kubebuilder:validation:MaxLength=253
	Model string `json:"model"`
	// Stance is the model's opinion held against the finding: agrees, disagrees, suggests, silent,
	// discarded (what it read tried to give orders) or absent (it gave no answer).
	// +kubebuilder:validation:MaxLength=128
	Stance string `json:"stance"`
	// Confidence is that in the explanation. No policy decides by it.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	Confidence float64 `json:"confidence"`
	// PromptHash is the SHA-256 of the instructions and tool definitions.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	PromptHash string `json:"promptHash,omitempty"`
	// Explanation is the cause in the model's words, sentence by sentence.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	Explanation []ReasonedClaim `json:"explanation,omitempty"`
	// Suspicions are the places of text that tries to give orders to whoever reads it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MaxLength=512
	Suspicions []string `json:"suspicions,omitempty"`
	// Stopped says what ended the model's work early.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Stopped string `json:"stopped,omitempty"`
	// +kubebuilder:validation:Minimum=0
	Turns int32 `json:"turns"`
	// +kubebuilder:validation:Minimum=0
	InputTokens int32 `json:"inputTokens"`
	// +kubebuilder:validation:Minimum=0
	OutputTokens int32 `json:"outputTokens"`
	// CostUSD is what the configured prices make of the tokens.
	// +kubebuilder:validation:Minimum=0
	CostUSD float64 `json:"costUSD"`
}

// ReasonedClaim is a sentence of a model: a hypothesis unless evidence supports it.
type ReasonedClaim struct {
	// +kubebuilder:validation:MaxLength=1024
	Text string `json:"text"`
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MaxLength=128
	Evidence  []string `json:"evidence,omitempty"`
	Supported bool     `json:"supported"`
}
