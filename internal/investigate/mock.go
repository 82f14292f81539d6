package investigate

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/incident"
)

// mockModel is the name of the model in the audit events of a mock.
const mockModel = "mock://test-model"

// Mock answers from fixed tables, chosen by the signal type, for tests of what comes after an
// investigation. It reads no cluster and no catalog; audit events are written as for a real one.
type Mock struct {
	audit Recorder
	now   func() time.Time
}

// NewMock makes a mock.
func NewMock(to Recorder, clock func() time.Time) *Mock {
	if clock == nil {
		clock = time.Now
	}
	return &Mock{audit: to, now: clock}
}

// mockScenario is one row of the table.
type mockScenario struct {
	signalType string
	workflow   string // id without "mock-"
	title      string
	severity   incident.Severity
	confidence float64
	summary    string
	factors    []string
	// parameters hold %NAMESPACE% and %NAME% for those of the resource.
	parameters map[string]string
}

var mockScenarios = []mockScenario{
	{
		"OOMKilled", "oomkill-increase-memory-v1", "OOMKill Recovery - Increase Memory Limits", incident.SeverityCritical, 0.92,
		"Container exceeded its memory limit and was killed",
		[]string{"memory_pressure", "traffic_spike", "insufficient_limits"},
		map[string]string{"NAMESPACE": "%NAMESPACE%", "MEMORY_LIMIT": "1Gi", "RESTART_POLICY": "Always"},
	},
	{
		"CrashLoopBackOff", "crashloop-config-fix-v1", "CrashLoop Recovery - Fix Configuration", incident.SeverityHigh, 0.88,
		"Container fails at start because of its configuration",
		[]string{"missing_config", "env_var_error", "secret_not_mounted"},
		map[string]string{"NAMESPACE": "%NAMESPACE%", "CONFIG_MAP": "app-config", "RESTART_DELAY": "30s"},
	},
	{
		"NodeNotReady", "node-drain-reboot-v1", "Node Recovery - Drain and Reboot", incident.SeverityCritical, 0.90,
		"Node does not report",
		[]string{"disk_pressure", "kernel_panic", "kubelet_unhealthy"},
		map[string]string{"NODE_NAME": "%NAME%", "GRACE_PERIOD": "300", "FORCE_DRAIN": "false"},
	},
	{
		"ImagePullBackOff", "image-fix-v1", "Image Recovery - Fix the Pull Secret", incident.SeverityHigh, 0.85,
		"Image cannot be pulled",
		[]string{"registry_auth_failed", "image_not_found", "rate_limited"},
		map[string]string{"NAMESPACE": "%NAMESPACE%", "IMAGE_PULL_SECRET": "registry-creds"},
	},
	{
		"Evicted", "eviction-recovery-v1", "Eviction Recovery - Adjust Requests", incident.SeverityHigh, 0.87,
		"Pod was evicted from its node",
		[]string{"node_memory_pressure", "ephemeral_storage_full", "priority_preemption"},
		map[string]string{"NAMESPACE": "%NAMESPACE%", "RESOURCE_REQUESTS": "increase"},
	},
	{
		"FailedScheduling", "scheduling-fix-v1", "Scheduling Recovery - Reduce Requests", incident.SeverityMedium, 0.82,
		"No node takes the Pod",
		[]string{"insufficient_cpu", "insufficient_memory", "node_selector_mismatch"},
		map[string]string{"NAMESPACE": "%NAMESPACE%", "REDUCE_REQUESTS": "true"},
	},
}

var mockDefault = mockScenario{
	"", "generic-restart-v1", "Generic Recovery - Restart", incident.SeverityMedium, 0.75,
	"Cause is not known",
	[]string{"unknown_issue", "requires_investigation"},
	map[string]string{"NAMESPACE": "%NAMESPACE%", "ACTION": "restart"},
}

// Signal types that bring about an edge case, compared without regard to case.
const (
	mockNoWorkflow      = "MOCK_NO_WORKFLOW_FOUND"
	mockLowConfidence   = "MOCK_LOW_CONFIDENCE"
	mockMaxRetries      = "MOCK_MAX_RETRIES_EXHAUSTED"
	mockNotReproducible = "MOCK_NOT_REPRODUCIBLE"
)

// Investigate answers from the tables.
func (m *Mock) Investigate(ctx context.Context, in incident.Incident) (incident.Investigation, error) {
	now := m.now().UTC()
	inv := m.incident(in, now)
	if in.Recovery != nil {
		inv = m.recovery(in)
	}
	inv.IncidentID, inv.CompletedAt = in.ID, now
	inv.Warnings = append([]string{
		"MOCK_MODE: this answer is from a fixed table; no cluster was read and no model was asked",
		"MOCK_MODE: the workflow is not from the catalog and was not validated",
	}, inv.Warnings...)

	prompt := fmt.Sprintf("mock investigation of %s on %s", in.SignalType, subject(in))
	events := []audit.Payload{
		audit.LLMRequest{IncidentID: in.ID, Model: mockModel, Prompt: prompt, Toolsets: []string{"mock"}},
		audit.LLMResponse{IncidentID: in.ID, Analysis: inv.Analysis},
	}
	if in.Recovery == nil {
		last := audit.WorkflowValidation{
			IncidentID: in.ID, Attempt: 1, MaxAttempts: 1, Valid: !inv.NeedsHumanReview, ReviewReason: inv.HumanReviewReason,
		}
		if n := len(inv.Attempts); n > 0 {
			a := inv.Attempts[n-1]
			last.Attempt, last.MaxAttempts, last.Errors, last.WorkflowID = a.Attempt, n, a.Errors, a.WorkflowID
		}
		if inv.Workflow != nil {
			last.WorkflowID = inv.Workflow.ID
		}
		events = append(events, last)
	}
	if err := record(ctx, m.audit, in, now, events); err != nil {
		return incident.Investigation{}, err
	}
	return inv, nil
}

// mockRow returns the row for a signal type: an equal one, else one that is equal but for case,
// else the default. As no two rows differ by case alone, one comparison does.
func mockRow(signalType string) mockScenario {
	for _, s := range mockScenarios {
		if strings.EqualFold(s.signalType, signalType) {
			return s
		}
	}
	return mockDefault
}

func (s mockScenario) id() string { return "mock-" + s.workflow }

func (s mockScenario) image() string { return "kubernaut/mock-workflow-" + s.workflow + ":v1.0.0" }

func (s mockScenario) filled(in incident.Incident) map[string]string {
	fill := strings.NewReplacer("%NAMESPACE%", in.Resource.Namespace, "%NAME%", in.Resource.Name)
	out := make(map[string]string, len(s.parameters))
	for name, v := range s.parameters {
		out[name] = fill.Replace(v)
	}
	return out
}

func (s mockScenario) rootCause(in incident.Incident) incident.RootCause {
	c := incident.RootCause{
		Summary: s.summary + ": " + subject(in), Severity: s.severity, SignalType: in.SignalType,
		Factors: append([]string(nil), s.factors...),
	}
	if target := in.Resource; target.Kind != "" && target.Name != "" {
		c.Target = &target
	}
	return c
}

// subject names the resource; a recovery may be asked for without one.
func subject(in incident.Incident) string {
	if in.Resource.Kind == "" || in.Resource.Name == "" {
		return "an unnamed resource"
	}
	return in.Resource.String()
}

// incident is the table of the incident endpoint.
func (m *Mock) incident(in incident.Incident, now time.Time) incident.Investigation {
	s := mockRow(in.SignalType)
	inv := incident.Investigation{
		Analysis:  fmt.Sprintf("Mock analysis of %s on %s: %s.", nonEmpty(in.SignalType, "an unknown signal"), subject(in), s.summary),
		RootCause: s.rootCause(in), TargetInOwnerChain: true,
	}
	switch strings.ToUpper(in.SignalType) {
	case mockNoWorkflow:
		inv.NeedsHumanReview, inv.HumanReviewReason = true, incident.ReviewNoMatchingWorkflows
		inv.Warnings = []string{"No workflows matched the mock signal."}
	case mockLowConfidence:
		inv.Confidence = 0.45
		inv.Workflow = &incident.SelectedWorkflow{
			ID: "mock-low-confidence-workflow-v1", Title: "Low Confidence Workflow", Version: "1.0.0",
			ContainerImage: "kubernaut/mock-workflow-low-confidence:v1.0.0", Confidence: 0.45,
			Rationale: "Mock workflow of low confidence.", Parameters: map[string]string{"NAMESPACE": in.Resource.Namespace},
		}
		inv.Alternatives = []incident.Alternative{
			{WorkflowID: "mock-alternative-1-v1", Confidence: 0.42, Rationale: "Mock alternative."},
			{WorkflowID: "mock-alternative-2-v1", Confidence: 0.40, Rationale: "Mock alternative."},
		}
		inv.NeedsHumanReview, inv.HumanReviewReason = true, incident.ReviewLowConfidence
		inv.Warnings = []string{"The confidence 0.45 is below 0.70."}
	case mockMaxRetries:
		inv.NeedsHumanReview, inv.HumanReviewReason = true, incident.ReviewParsingError
		for n := 1; n <= 3; n++ {
			inv.Attempts = append(inv.Attempts, incident.ValidationAttempt{
				Attempt: n, WorkflowID: fmt.Sprintf("mock-retry-workflow-%d-v1", n), At: now,
				Errors: []string{fmt.Sprintf("mock validation error of attempt %d", n)},
			})
		}
		inv.Warnings = []string{"The mock answer could not be parsed in 3 attempts."}
	default:
		inv.Confidence = s.confidence
		inv.Workflow = &incident.SelectedWorkflow{
			ID: s.id(), Title: s.title, Version: "1.0.0", ContainerImage: s.image(), Confidence: s.confidence,
			Rationale: "Mock workflow for " + nonEmpty(s.signalType, "any signal") + ".", Parameters: s.filled(in),
		}
		inv.Alternatives = []incident.Alternative{{
			WorkflowID: "mock-alternative-workflow-v1", Confidence: hundredths(s.confidence - 0.15), Rationale: "Mock alternative.",
		}}
	}
	return inv
}

// recovery is the table of the recovery endpoint.
func (m *Mock) recovery(in incident.Incident) incident.Investigation {
	s := mockRow(in.SignalType)
	inv := incident.Investigation{
		Analysis:  fmt.Sprintf("Mock recovery analysis of %s on %s: %s.", nonEmpty(in.SignalType, "an unknown signal"), subject(in), s.summary),
		RootCause: s.rootCause(in), TargetInOwnerChain: true,
	}
	rec := &incident.RecoveryAssessment{
		CanRecover: true, Assessed: true, FailureUnderstood: true,
		FailureReason: "Mock assessment of the previous execution.", CurrentSignalType: in.SignalType,
	}
	inv.Recovery = rec
	previous := "unknown-workflow"
	if n := len(in.Recovery.Previous); n > 0 && in.Recovery.Previous[n-1].Workflow.ID != "" {
		previous = in.Recovery.Previous[n-1].Workflow.ID
	}
	parameters := map[string]string{"NAMESPACE": in.Resource.Namespace, "RECOVERY_MODE": "true", "PREVIOUS_WORKFLOW": previous}
	prerequisites := []string{"verify_resource_state", "check_cluster_capacity"}
	switch strings.ToUpper(in.SignalType) {
	case mockNoWorkflow:
		inv.NeedsHumanReview, inv.HumanReviewReason = true, incident.ReviewNoMatchingWorkflows
		inv.Warnings = []string{"No workflows matched the mock signal."}
	case mockLowConfidence:
		inv.Confidence = 0.35
		inv.NeedsHumanReview, inv.HumanReviewReason = true, incident.ReviewLowConfidence
		inv.Warnings = []string{"The confidence 0.35 is below 0.70."}
		rec.FailureUnderstood = false
		rec.Strategies = []incident.RecoveryStrategy{
			{ActionType: "cautious_recovery_v1", Confidence: 0.35, Rationale: "Mock strategy.", Risk: "high", Prerequisites: prerequisites},
			{ActionType: "alternative_recovery_v1", Confidence: 0.32, Rationale: "Mock strategy.", Risk: "high", Prerequisites: prerequisites},
		}
		inv.Workflow = &incident.SelectedWorkflow{
			ID: "mock-low-confidence-recovery-v1", Title: "Low Confidence Recovery", Version: "1.0.0",
			ContainerImage: "kubernaut/mock-workflow-low-confidence-recovery:v1.0.0", Confidence: 0.35,
			Rationale: "Mock recovery of low confidence.", Parameters: parameters,
		}
	case mockNotReproducible:
		inv.Confidence = 0.95
		rec.CanRecover, rec.StateChanged, rec.CurrentSignalType = false, true, ""
		inv.Warnings = []string{"The signal cannot be reproduced: the problem resolved itself."}
	default:
		inv.Confidence = hundredths(s.confidence - 0.05)
		rec.Strategies = []incident.RecoveryStrategy{{
			ActionType: "recovery_" + strings.ToLower(nonEmpty(in.SignalType, "unknown")) + "_v1", Confidence: inv.Confidence,
			Rationale: "Mock strategy.", Risk: "medium", Prerequisites: prerequisites,
		}}
		inv.Workflow = &incident.SelectedWorkflow{
			ID: s.id() + "-recovery", Title: s.title + " - Recovery", Version: "1.0.0",
			ContainerImage: "kubernaut/mock-workflow-" + s.workflow + "-recovery:v1.0.0", Confidence: inv.Confidence,
			Rationale: "Mock recovery for " + nonEmpty(s.signalType, "any signal") + ".", Parameters: parameters,
		}
	}
	return inv
}

// hundredths rounds to two decimals, so that 0.92 - 0.15 is 0.77.
func hundredths(f float64) float64 { return math.Round(f*100) / 100 }

func nonEmpty(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
