package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AIAnalysis asks for the analysis of one Kubernetes incident. The controller fills the status with
// the root cause and its evidence, the workflow that was chosen and the others that were not, and
// the policy's decision whether a person must approve.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=aianalyses,singular=aianalysis,scope=Namespaced,shortName=aia,categories=kubernaut
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Confidence",type=number,JSONPath=`.status.selectedWorkflow.confidence`
// +kubebuilder:printcolumn:name="ApprovalRequired",type=boolean,JSONPath=`.status.approvalRequired`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.reason`
// +kubebuilder:printcolumn:name="Signal",type=string,priority=1,JSONPath=`.spec.analysisRequest.signalContext.signalType`
// +kubebuilder:printcolumn:name="Environment",type=string,priority=1,JSONPath=`.spec.analysisRequest.signalContext.environment`
// +kubebuilder:printcolumn:name="Cause",type=string,priority=1,JSONPath=`.status.causeClass`
// +kubebuilder:printcolumn:name="Workflow",type=string,priority=1,JSONPath=`.status.selectedWorkflow.workflowId`
type AIAnalysis struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says what to analyse. It cannot be changed after creation: an analysis describes one
	// moment, and its audit trail must stay true. Create a new AIAnalysis instead. What never changes
	// in part need not be owned in part: it is atomic for server-side apply.
	// +structType=atomic
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable after creation; create a new AIAnalysis instead"
	Spec AIAnalysisSpec `json:"spec"`

	// Status of a new resource is Pending.
	// +optional
	// +kubebuilder:default={phase: Pending, approvalRequired: false}
	Status AIAnalysisStatus `json:"status,omitempty"`
}

// AIAnalysisList is a list of AIAnalysis.
//
// +kubebuilder:object:root=true
type AIAnalysisList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AIAnalysis `json:"items"`
}

// AIAnalysisSpec is one incident and what is known of its surroundings.
type AIAnalysisSpec struct {
	// RemediationRequestRef names the RemediationRequest that this analysis is for. It may be empty.
	RemediationRequestRef corev1.ObjectReference `json:"remediationRequestRef"`

	// RemediationID correlates everything that is done about one incident. It is the correlation id
	// of the audit trail.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	RemediationID string `json:"remediationId"`

	AnalysisRequest AnalysisRequest `json:"analysisRequest"`

	// IsRecoveryAttempt is set when an earlier execution failed and another remedy is wanted.
	// +optional
	IsRecoveryAttempt bool `json:"isRecoveryAttempt,omitempty"`

	// RecoveryAttemptNumber counts the attempts at recovery, from 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	RecoveryAttemptNumber int `json:"recoveryAttemptNumber,omitempty"`

	// PreviousExecutions are the executions that failed, oldest first.
	// +optional
	// +kubebuilder:validation:MaxItems=20
	PreviousExecutions []PreviousExecution `json:"previousExecutions,omitempty"`

	// TimeoutConfig overrides the controller's timeouts for this analysis.
	// +optional
	TimeoutConfig *TimeoutConfig `json:"timeoutConfig,omitempty"`
}

// AnalysisRequest is the signal to analyse.
type AnalysisRequest struct {
	SignalContext SignalContext `json:"signalContext"`

	// AnalysisTypes are the kinds of analysis that are wanted, for example "investigation",
	// "root-cause" and "workflow-selection". They are informational.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=128
	AnalysisTypes []string `json:"analysisTypes"`
}

// SignalContext is a signal about one resource, with its surroundings.
type SignalContext struct {
	// Fingerprint identifies signals that repeat.
	// +kubebuilder:validation:MaxLength=64
	Fingerprint string `json:"fingerprint"`

	// +kubebuilder:validation:Enum=critical;warning;info
	Severity string `json:"severity"`

	// SignalType is for example OOMKilled, CrashLoopBackOff, or the name of an alert.
	// +kubebuilder:validation:MaxLength=253
	SignalType string `json:"signalType"`

	// Environment is for example production or staging.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Environment string `json:"environment"`

	// BusinessPriority is for example P0.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	BusinessPriority string `json:"businessPriority"`

	TargetResource TargetResource `json:"targetResource"`

	EnrichmentResults EnrichmentResults `json:"enrichmentResults"`
}

// TargetResource names the resource that the signal is about. Namespace is empty for a
// cluster-scoped resource.
type TargetResource struct {
	// +kubebuilder:validation:MaxLength=253
	Kind string `json:"kind"`
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +kubebuilder:validation:MaxLength=253
	Namespace string `json:"namespace"`
}

// TimeoutConfig overrides timeouts. Values are Go durations, for example "90s". A value that is
// empty means the controller's own; one that is malformed or not positive does too, and the status
// carries a warning.
type TimeoutConfig struct {
	// InvestigatingTimeout bounds one call for an investigation.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	InvestigatingTimeout string `json:"investigatingTimeout,omitempty"`

	// AnalyzingTimeout bounds the evaluation of the approval policy.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	AnalyzingTimeout string `json:"analyzingTimeout,omitempty"`
}

// PreviousExecution is one workflow execution that failed.
type PreviousExecution struct {
	// WorkflowExecutionRef is the name of the workflow execution.
	// +kubebuilder:validation:MaxLength=253
	WorkflowExecutionRef string `json:"workflowExecutionRef"`

	// OriginalRCA is the root cause that was found at the time.
	OriginalRCA OriginalRCA `json:"originalRCA"`

	// SelectedWorkflow is the workflow that was executed.
	SelectedWorkflow PreviousWorkflow `json:"selectedWorkflow"`

	Failure ExecutionFailure `json:"failure"`
}

// OriginalRCA is the root cause that an earlier analysis found.
type OriginalRCA struct {
	// +kubebuilder:validation:MaxLength=4096
	Summary string `json:"summary"`
	// +kubebuilder:validation:MaxLength=253
	SignalType string `json:"signalType"`
	// +kubebuilder:validation:MaxLength=64
	Severity string `json:"severity"`
	// +optional
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MaxLength=1024
	ContributingFactors []string `json:"contributingFactors,omitempty"`
}

// PreviousWorkflow is the workflow of an earlier execution.
type PreviousWorkflow struct {
	// +kubebuilder:validation:MaxLength=253
	WorkflowID string `json:"workflowId"`
	// +kubebuilder:validation:MaxLength=128
	Version string `json:"version"`
	// +kubebuilder:validation:MaxLength=1024
	ContainerImage string `json:"containerImage"`
	// +kubebuilder:validation:MaxLength=4096
	Rationale string `json:"rationale"`
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Parameters map[string]string `json:"parameters,omitempty"`
}

// ExecutionFailure says where and how an execution failed.
type ExecutionFailure struct {
	// FailedStepIndex counts from 0.
	FailedStepIndex int `json:"failedStepIndex"`
	// +kubebuilder:validation:MaxLength=253
	FailedStepName string `json:"failedStepName"`
	// Reason is a Kubernetes reason code, for example OOMKilled or DeadlineExceeded.
	// +kubebuilder:validation:MaxLength=128
	Reason string `json:"reason"`
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message"`
	// +optional
	ExitCode *int32 `json:"exitCode,omitempty"`
	// FailedAt is when the execution failed.
	FailedAt metav1.Time `json:"failedAt"`
	// ExecutionTime is how long the execution ran, for example "2m34s".
	// +kubebuilder:validation:MaxLength=64
	ExecutionTime string `json:"executionTime"`
}
