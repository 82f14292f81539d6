package v1alpha1

// ConfidenceLevel is a confidence in words: high from 0.8, medium from 0.6, else low.
// +kubebuilder:validation:Enum=low;medium;high
type ConfidenceLevel string

const (
	ConfidenceLow    ConfidenceLevel = "low"
	ConfidenceMedium ConfidenceLevel = "medium"
	ConfidenceHigh   ConfidenceLevel = "high"
)

// ApprovalContext is what a person needs to decide whether a workflow may run.
type ApprovalContext struct {
	// +kubebuilder:validation:MaxLength=4096
	Reason string `json:"reason"`
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	ConfidenceScore float64         `json:"confidenceScore"`
	ConfidenceLevel ConfidenceLevel `json:"confidenceLevel"`
	// +kubebuilder:validation:MaxLength=4096
	InvestigationSummary string `json:"investigationSummary"`
	// +optional
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MaxLength=1024
	EvidenceCollected []string `json:"evidenceCollected,omitempty"`
	// RecommendedActions is never null.
	// +kubebuilder:validation:MaxItems=20
	RecommendedActions []RecommendedAction `json:"recommendedActions"`
	// +optional
	// +kubebuilder:validation:MaxItems=20
	AlternativesConsidered []AlternativeApproach `json:"alternativesConsidered,omitempty"`
	// +kubebuilder:validation:MaxLength=4096
	WhyApprovalRequired string `json:"whyApprovalRequired"`
	// +optional
	PolicyEvaluation *PolicyEvaluation `json:"policyEvaluation,omitempty"`
}

// RecommendedAction is something that a person could let happen.
type RecommendedAction struct {
	// +kubebuilder:validation:MaxLength=253
	Action string `json:"action"`
	// +kubebuilder:validation:MaxLength=4096
	Rationale string `json:"rationale"`
}

// AlternativeApproach is another remedy and what speaks for and against it.
type AlternativeApproach struct {
	// +kubebuilder:validation:MaxLength=253
	Approach string `json:"approach"`
	// +kubebuilder:validation:MaxLength=1024
	ProsCons string `json:"prosCons"`
}

// PolicyEvaluation is how the policy came to ask for approval.
type PolicyEvaluation struct {
	// +kubebuilder:validation:MaxLength=253
	PolicyName string `json:"policyName"`
	// +optional
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MaxLength=253
	MatchedRules []string `json:"matchedRules,omitempty"`
	// Decision is manual_review_required or degraded_mode.
	// +kubebuilder:validation:MaxLength=64
	Decision string `json:"decision"`
}

// The values of PolicyEvaluation.Decision.
const (
	PolicyDecisionManualReview = "manual_review_required"
	PolicyDecisionDegraded     = "degraded_mode"
)

// Policy identifies the policy that decided and the rules that matched.
type Policy struct {
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// Hash is the lower-case hex SHA-256 of the policy's text.
	// +kubebuilder:validation:MaxLength=64
	Hash string `json:"hash"`
	// Rule is the rule that gave the reason. It is empty when the policy does not tell.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Rule string `json:"rule,omitempty"`
	// Rules are all rules that matched.
	// +optional
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MaxLength=253
	Rules []string `json:"rules,omitempty"`
}
