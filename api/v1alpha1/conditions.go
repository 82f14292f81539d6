package v1alpha1

// Finalizer keeps a deleted AIAnalysis until its deletion is in the audit trail.
const Finalizer = "kubernaut.ai/finalizer"

// The conditions of an AIAnalysis. A finished analysis has all four.
const (
	// ConditionInvestigationComplete is True when the investigation answered, whatever the answer.
	ConditionInvestigationComplete = "InvestigationComplete"
	// ConditionAnalysisComplete is True when the analysis came to a decision, or to the finding that
	// there is nothing to decide.
	ConditionAnalysisComplete = "AnalysisComplete"
	// ConditionWorkflowResolved is True when a workflow was chosen and nothing found speaks against it.
	ConditionWorkflowResolved = "WorkflowResolved"
	// ConditionApprovalRequired is True when a person must approve the chosen workflow.
	ConditionApprovalRequired = "ApprovalRequired"
)

// ConditionPolicyStale is True on an analysis that an earlier approval policy decided, because the
// policy file as it was at the time was refused. Else the condition is not there.
const ConditionPolicyStale = "PolicyStale"

// ReasonPolicyRefused is the reason of ConditionPolicyStale.
const ReasonPolicyRefused = "PolicyRefused"

// Reasons of ConditionInvestigationComplete.
const (
	ReasonInvestigationSucceeded = "InvestigationSucceeded" // True
	ReasonInvestigationFailed    = "InvestigationFailed"    // False: no answer, and none will come
	ReasonInvestigationRetrying  = "InvestigationRetrying"  // False: no answer yet, another attempt follows
)

// Reasons of ConditionAnalysisComplete.
const (
	ReasonAnalysisSucceeded = "AnalysisSucceeded" // True
	ReasonAnalysisFailed    = "AnalysisFailed"    // False
)

// Reasons of ConditionWorkflowResolved.
const (
	ReasonWorkflowSelected         = "WorkflowSelected"         // True
	ReasonNoWorkflowNeeded         = "NoWorkflowNeeded"         // False: the problem is gone
	ReasonWorkflowResolutionFailed = "WorkflowResolutionFailed" // False; also a Reason of the status
)

// Reasons of ConditionApprovalRequired.
const (
	ReasonPolicyRequiresApproval = "PolicyRequiresApproval" // True
	ReasonLowConfidence          = "LowConfidence"          // True: the policy matched on confidence
	ReasonPolicyDegraded         = "PolicyDegraded"         // True: the policy could not be evaluated
	ReasonAutoApproved           = "AutoApproved"           // False
	ReasonNothingToApprove       = "NothingToApprove"       // False: there is no workflow that may run
)

// The reasons of AIAnalysisStatus.Reason, beside ReasonWorkflowResolutionFailed.
const (
	// ReasonAnalysisCompleted: Completed, with a workflow and a decision.
	ReasonAnalysisCompleted = "AnalysisCompleted"
	// ReasonWorkflowNotNeeded: Completed, and there is nothing to do.
	ReasonWorkflowNotNeeded = "WorkflowNotNeeded"
	// ReasonTransientError: not finished; the last call failed and is going to be repeated.
	ReasonTransientError = "TransientError"
	// ReasonAPIError: Failed; the investigation could not be had.
	ReasonAPIError = "APIError"
	// ReasonRecoveryNotPossible: Failed; no remedy is left for a recovery.
	ReasonRecoveryNotPossible = "RecoveryNotPossible"
	// ReasonNoWorkflowSelected: Failed; the investigation named no workflow and did not say why.
	ReasonNoWorkflowSelected = "NoWorkflowSelected"
	// ReasonRegoEvaluationError: Failed; the approval policy gave no answer, not even the safe one.
	ReasonRegoEvaluationError = "RegoEvaluationError"
)

// SubReason refines the reason of a status.
// +kubebuilder:validation:Enum=WorkflowNotFound;ImageMismatch;ParameterValidationFailed;NoMatchingWorkflows;LowConfidence;LLMParsingError;ValidationError;TransientError;PermanentError;InvestigationInconclusive;ProblemResolved;MaxRetriesExceeded;NoRecoveryStrategy;SignalNotReproducible;Timeout;AuthenticationError;AuthorizationError;ConfigurationError;MalformedResponse;PolicyEvaluationFailed;AutoApproved;ApprovalRequired
type SubReason string

// With ReasonWorkflowResolutionFailed: why a person must look.
const (
	SubReasonWorkflowNotFound          SubReason = "WorkflowNotFound"
	SubReasonImageMismatch             SubReason = "ImageMismatch"
	SubReasonParameterValidationFailed SubReason = "ParameterValidationFailed"
	SubReasonNoMatchingWorkflows       SubReason = "NoMatchingWorkflows"
	SubReasonLowConfidence             SubReason = "LowConfidence"
	SubReasonLLMParsingError           SubReason = "LLMParsingError"
	// SubReasonValidationError: the answer breaks a bound that cannot be mended by cutting text.
	SubReasonValidationError           SubReason = "ValidationError"
	SubReasonInvestigationInconclusive SubReason = "InvestigationInconclusive" // also with ReasonNoWorkflowSelected
	SubReasonSignalNotReproducible     SubReason = "SignalNotReproducible"
)

// With ReasonAPIError: why there is no investigation.
const (
	SubReasonMaxRetriesExceeded  SubReason = "MaxRetriesExceeded"  // every attempt failed, the last for a passing reason
	SubReasonTimeout             SubReason = "Timeout"             // the overall deadline passed
	SubReasonPermanentError      SubReason = "PermanentError"      // the request was refused, HTTP 400 or 422
	SubReasonAuthenticationError SubReason = "AuthenticationError" // HTTP 401
	SubReasonAuthorizationError  SubReason = "AuthorizationError"  // HTTP 403
	SubReasonConfigurationError  SubReason = "ConfigurationError"  // HTTP 404: the URL is wrong
	SubReasonMalformedResponse   SubReason = "MalformedResponse"   // an answer that breaks the contract
)

// With the other reasons.
const (
	SubReasonTransientError         SubReason = "TransientError"         // with ReasonTransientError
	SubReasonProblemResolved        SubReason = "ProblemResolved"        // with ReasonWorkflowNotNeeded
	SubReasonNoRecoveryStrategy     SubReason = "NoRecoveryStrategy"     // with ReasonRecoveryNotPossible
	SubReasonPolicyEvaluationFailed SubReason = "PolicyEvaluationFailed" // with ReasonRegoEvaluationError
	SubReasonAutoApproved           SubReason = "AutoApproved"           // with ReasonAnalysisCompleted: the workflow may run
	SubReasonApprovalRequired       SubReason = "ApprovalRequired"       // with ReasonAnalysisCompleted: a person must approve
)

// Reasons of the Kubernetes events about an AIAnalysis.
const (
	EventAIAnalysisCreated     = "AIAnalysisCreated"     // Pending → Investigating
	EventInvestigationComplete = "InvestigationComplete" // Investigating → Analyzing
	EventAnalysisCompleted     = "AnalysisCompleted"     // → Completed, nothing to approve
	EventApprovalRequired      = "ApprovalRequired"      // → Completed, a person must approve
	EventHumanReviewRequired   = "HumanReviewRequired"   // → Failed, a person must look
	EventAnalysisFailed        = "AnalysisFailed"        // → Failed
	EventRetryScheduled        = "RetryScheduled"        // the investigation is going to be asked for again
	EventAuditSpooled          = "AuditSpooled"          // finished while Data Storage could not be reached
)
