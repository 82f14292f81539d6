package incident

import "time"

// WorkflowStatus is where a catalogued workflow version stands.
type WorkflowStatus string

const (
	WorkflowActive     WorkflowStatus = "active"
	WorkflowDisabled   WorkflowStatus = "disabled"
	WorkflowDeprecated WorkflowStatus = "deprecated"
	WorkflowArchived   WorkflowStatus = "archived"
)

// LabelCauses is the custom label under which a workflow lists the cause classes that it remedies.
// A workflow without it may be considered for any cause of its signal type, at a lower score.
const LabelCauses = "kubernaut.ai/cause"

// Wildcard, in a workflow's label, matches any value.
const Wildcard = "*"

// Workflow is one version of a remediation workflow in the catalog.
type Workflow struct {
	ID          string // UUID, given by the catalog
	Name        string // workflow_name: unique together with Version
	Version     string
	Title       string // the human name
	Description string
	Owner       string
	Maintainer  string
	Content     string // the workflow document, as registered
	ContentHash string // lower-case hex SHA-256 of Content

	Parameters      []Parameter
	ExecutionEngine string
	ContainerImage  string
	ContainerDigest string

	Labels         WorkflowLabels
	CustomLabels   map[string][]string
	DetectedLabels WorkflowTraits

	Status         WorkflowStatus
	StatusReason   string
	DisabledAt     *time.Time
	DisabledBy     string
	DisabledReason string

	IsLatest          bool
	PreviousVersion   string
	DeprecationNotice string
	VersionNotes      string
	ChangeSummary     string
	ApprovedBy        string
	ApprovedAt        *time.Time

	ExpectedSuccessRate     *float64
	ExpectedDurationSeconds *int
	ActualSuccessRate       *float64
	TotalExecutions         int
	SuccessfulExecutions    int

	CreatedAt time.Time
	UpdatedAt time.Time
	CreatedBy string
	UpdatedBy string
}

// WorkflowLabels are the mandatory labels. Every one but SignalType may be Wildcard.
type WorkflowLabels struct {
	SignalType  string
	Severity    string
	Component   string
	Environment string
	Priority    string
}

// WorkflowTraits are the detected labels that a workflow is made for. A zero field says nothing
// about that trait; GitOpsTool and ServiceMesh may be Wildcard.
type WorkflowTraits struct {
	FailedDetections []string
	GitOpsManaged    bool
	GitOpsTool       string
	PDBProtected     bool
	HPAEnabled       bool
	Stateful         bool
	HelmManaged      bool
	NetworkIsolated  bool
	ServiceMesh      string
}

// Parameter is one entry of a workflow's parameter schema. The JSON names are those of the wire
// contract ({"schema":{"parameters":[…]}}).
type Parameter struct {
	Name        string   `json:"name"` // UPPER_SNAKE_CASE
	Type        string   `json:"type"` // string, int, float, bool
	Description string   `json:"description,omitempty"`
	Required    bool     `json:"required,omitempty"`
	Default     string   `json:"default,omitempty"`
	Pattern     string   `json:"pattern,omitempty"` // RE2, must match the whole value
	MinLength   *int     `json:"min_length,omitempty"`
	MaxLength   *int     `json:"max_length,omitempty"`
	Minimum     *float64 `json:"minimum,omitempty"`
	Maximum     *float64 `json:"maximum,omitempty"`
	Enum        []string `json:"enum,omitempty"`
}

// WorkflowQuery asks the catalog for workflows. The five labels are required.
type WorkflowQuery struct {
	Labels          WorkflowLabels
	CustomLabels    map[string][]string
	DetectedLabels  WorkflowTraits
	TopK            int     // 1 to 100; 0 means 10
	MinScore        float64 // 0 to 1
	IncludeDisabled bool
	RemediationID   string // for the audit trail only
}

// WorkflowMatch is one row of a search result, best first.
type WorkflowMatch struct {
	WorkflowID      string
	Title           string
	Description     string
	SignalType      string
	ContainerImage  string
	ContainerDigest string
	// Score is from 0 to 1 and is 1 for a perfect match.
	Score          float64
	LabelBoost     float64
	LabelPenalty   float64
	Rank           int // from 1
	CustomLabels   map[string][]string
	DetectedLabels WorkflowTraits
}

// SelectedWorkflow is the workflow that was chosen, with its parameters filled and validated.
type SelectedWorkflow struct {
	ID              string
	Title           string
	Version         string
	ContainerImage  string
	ContainerDigest string
	Confidence      float64 // 0 to 1
	Rationale       string
	Parameters      map[string]string
}

// Alternative is a workflow that was not chosen but would be a sensible second choice.
type Alternative struct {
	WorkflowID     string
	ContainerImage string
	Confidence     float64
	Rationale      string
}

// Candidate is a workflow that was considered, with the reason for or against it.
type Candidate struct {
	WorkflowID string  `json:"workflowId"`
	Title      string  `json:"title"`
	Chosen     bool    `json:"chosen"`
	Score      float64 `json:"score"` // 0 to 1
	Reason     string  `json:"reason"`
}
