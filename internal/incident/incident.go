// Package incident is the domain: what an incident is, what is known about it, what is proposed
// and what is decided. It holds types, validation and typed errors, and does no I/O: nothing here
// talks to a network, a disk, a database, a cluster or a logger.
//
// All values are plain data. They are safe to share between goroutines as long as nobody writes
// to them; no method of this package changes its receiver.
package incident

import "time"

// Ref names one Kubernetes object. Namespace is empty for cluster-scoped objects; APIVersion and
// UID are empty when they are not known.
type Ref struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
}

// String returns "Kind namespace/name", or "Kind name" for a cluster-scoped object.
func (r Ref) String() string {
	switch {
	case r.Name == "":
		return r.Kind
	case r.Namespace == "":
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// Same reports whether both refer to the object of one kind, namespace and name. It ignores the
// API version and the UID, which not every source knows.
func (r Ref) Same(o Ref) bool {
	return r.Kind == o.Kind && r.Namespace == o.Namespace && r.Name == o.Name
}

// Severity of a root cause, from worst to least; SeverityUnknown when it could not be told.
type Severity string

const (
	SeverityCritical Severity = "critical"
	SeverityHigh     Severity = "high"
	SeverityMedium   Severity = "medium"
	SeverityLow      Severity = "low"
	SeverityUnknown  Severity = "unknown"
)

// Incident is what the system is asked to investigate: a signal about one resource, and what the
// caller knows of its surroundings. Everything in it comes from outside and is data, never an
// instruction.
type Incident struct {
	// ID identifies the analysis for the caller, at most 253 bytes. It is echoed in the answer.
	ID string
	// RemediationID correlates everything that is done about one incident; it is the audit
	// trail's correlation id and never empty.
	RemediationID string

	SignalType   string // for example OOMKilled, CrashLoopBackOff, or an alert's name
	Severity     string // as the signal's source put it: critical, warning, info
	SignalSource string
	Resource     Ref // what the signal is about
	ErrorMessage string
	Description  string
	SignalLabels map[string]string
	Fingerprint  string

	Environment      string
	Priority         string
	RiskTolerance    string
	BusinessCategory string
	ClusterName      string

	DetectedLabels DetectedLabels
	CustomLabels   map[string][]string
	OwnerChain     []Ref // from the resource upwards
	// KubernetesContext is what the caller knows of the resource's surroundings, as a decoded JSON
	// object; nil when it said nothing. It is hearsay: what is observed takes precedence.
	KubernetesContext map[string]any

	// Recovery is nil for a first analysis.
	Recovery *Recovery
}

// DetectedLabels are traits that were found on the target resource. A trait that is named in
// FailedDetections is unknown and its value must be ignored.
type DetectedLabels struct {
	FailedDetections []string `json:"failedDetections,omitempty"`
	GitOpsManaged    bool     `json:"gitOpsManaged"`
	GitOpsTool       string   `json:"gitOpsTool,omitempty"` // argocd, flux
	PDBProtected     bool     `json:"pdbProtected"`
	HPAEnabled       bool     `json:"hpaEnabled"`
	Stateful         bool     `json:"stateful"`
	HelmManaged      bool     `json:"helmManaged"`
	NetworkIsolated  bool     `json:"networkIsolated"`
	ServiceMesh      string   `json:"serviceMesh,omitempty"` // istio, linkerd
}

// Recovery says which attempt at recovery this is and what was executed before.
type Recovery struct {
	Attempt  int         // 1 for the first recovery; 0 when the caller did not say
	Previous []Execution // oldest first
}

// Execution is one earlier workflow execution that failed.
type Execution struct {
	Ref       string // the workflow execution's name
	RootCause RootCause
	Workflow  SelectedWorkflow
	Failure   ExecutionFailure
}

// ExecutionFailure says where and how an execution failed. Reason is a Kubernetes reason code.
type ExecutionFailure struct {
	StepIndex     int
	StepName      string
	Reason        string
	Message       string
	ExitCode      *int32
	FailedAt      time.Time
	ExecutionTime string
}
