package investigate

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/incident"
)

func mockIncident(signalType string) incident.Incident {
	return incident.Incident{
		ID: "ai-1", RemediationID: "rr-1", SignalType: signalType,
		Resource: incident.Ref{Kind: "Pod", Namespace: "shop", Name: "cart-1"},
	}
}

func mockAnswer(t *testing.T, in incident.Incident) (incident.Investigation, *storage) {
	t.Helper()
	st := &storage{}
	inv, err := NewMock(st, func() time.Time { return noon }).Investigate(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if len(inv.Warnings) < 2 || !strings.HasPrefix(inv.Warnings[0], "MOCK_MODE:") || !strings.HasPrefix(inv.Warnings[1], "MOCK_MODE:") {
		t.Errorf("warnings %q, want two that start with MOCK_MODE:", inv.Warnings)
	}
	if inv.IncidentID != "ai-1" || !inv.CompletedAt.Equal(noon) || !inv.TargetInOwnerChain {
		t.Errorf("incident %q, completed %s, target in owner chain %v", inv.IncidentID, inv.CompletedAt, inv.TargetInOwnerChain)
	}
	return inv, st
}

// The rows of the contract's table, word for word.
var mockRows = []struct {
	signalTypes []string
	workflow    string
	severity    incident.Severity
	confidence  float64
	factors     []string
	parameters  map[string]string
}{
	{
		[]string{"OOMKilled", "oomkilled", "OOMKILLED"},
		"oomkill-increase-memory-v1", "critical", 0.92,
		[]string{"memory_pressure", "traffic_spike", "insufficient_limits"},
		map[string]string{"NAMESPACE": "shop", "MEMORY_LIMIT": "1Gi", "RESTART_POLICY": "Always"},
	},
	{
		[]string{"CrashLoopBackOff", "crashloopbackoff"},
		"crashloop-config-fix-v1", "high", 0.88,
		[]string{"missing_config", "env_var_error", "secret_not_mounted"},
		map[string]string{"NAMESPACE": "shop", "CONFIG_MAP": "app-config", "RESTART_DELAY": "30s"},
	},
	{
		[]string{"NodeNotReady"},
		"node-drain-reboot-v1", "critical", 0.90,
		[]string{"disk_pressure", "kernel_panic", "kubelet_unhealthy"},
		map[string]string{"NODE_NAME": "cart-1", "GRACE_PERIOD": "300", "FORCE_DRAIN": "false"},
	},
	{
		[]string{"ImagePullBackOff"},
		"image-fix-v1", "high", 0.85,
		[]string{"registry_auth_failed", "image_not_found", "rate_limited"},
		map[string]string{"NAMESPACE": "shop", "IMAGE_PULL_SECRET": "registry-creds"},
	},
	{
		[]string{"Evicted"},
		"eviction-recovery-v1", "high", 0.87,
		[]string{"node_memory_pressure", "ephemeral_storage_full", "priority_preemption"},
		map[string]string{"NAMESPACE": "shop", "RESOURCE_REQUESTS": "increase"},
	},
	{
		[]string{"FailedScheduling"},
		"scheduling-fix-v1", "medium", 0.82,
		[]string{"insufficient_cpu", "insufficient_memory", "node_selector_mismatch"},
		map[string]string{"NAMESPACE": "shop", "REDUCE_REQUESTS": "true"},
	},
	{
		[]string{"", "Anything", "MOCK_UNHEARD_OF"},
		"generic-restart-v1", "medium", 0.75,
		[]string{"unknown_issue", "requires_investigation"},
		map[string]string{"NAMESPACE": "shop", "ACTION": "restart"},
	},
}

func TestMockIncidentRows(t *testing.T) {
	for _, row := range mockRows {
		for _, signalType := range append(row.signalTypes, map[bool][]string{true: {"MOCK_NOT_REPRODUCIBLE"}}[row.workflow == "generic-restart-v1"]...) {
			t.Run(signalType, func(t *testing.T) {
				inv, st := mockAnswer(t, mockIncident(signalType))
				if inv.NeedsHumanReview || inv.HumanReviewReason != "" || len(inv.Attempts) != 0 || len(inv.Warnings) != 2 {
					t.Errorf("review %v %q, attempts %v, warnings %q", inv.NeedsHumanReview, inv.HumanReviewReason, inv.Attempts, inv.Warnings)
				}
				want := &incident.SelectedWorkflow{
					ID: "mock-" + row.workflow, Version: "1.0.0", ContainerImage: "kubernaut/mock-workflow-" + row.workflow + ":v1.0.0",
					Confidence: row.confidence, Parameters: row.parameters,
				}
				if diff := cmp.Diff(want, inv.Workflow, cmpopts.IgnoreFields(incident.SelectedWorkflow{}, "Title", "Rationale")); diff != "" {
					t.Errorf("workflow (-want +got):\n%s", diff)
				}
				if inv.Workflow.Title == "" || inv.Workflow.Rationale == "" || inv.Analysis == "" || inv.RootCause.Summary == "" {
					t.Error("a text is empty")
				}
				if inv.Confidence != row.confidence || inv.RootCause.Severity != row.severity {
					t.Errorf("confidence %v, severity %s; want %v, %s", inv.Confidence, inv.RootCause.Severity, row.confidence, row.severity)
				}
				if diff := cmp.Diff(row.factors, inv.RootCause.Factors); diff != "" {
					t.Errorf("factors (-want +got):\n%s", diff)
				}
				second := []incident.Alternative{{WorkflowID: "mock-alternative-workflow-v1", Confidence: hundredths(row.confidence - 0.15)}}
				if diff := cmp.Diff(second, inv.Alternatives, cmpopts.IgnoreFields(incident.Alternative{}, "Rationale")); diff != "" {
					t.Errorf("alternatives (-want +got):\n%s", diff)
				}
				wantMockAudit(t, st, audit.TypeLLMRequest, audit.TypeLLMResponse, audit.TypeWorkflowValidation)
			})
		}
	}
}

func wantMockAudit(t *testing.T, st *storage, types ...string) {
	t.Helper()
	if diff := cmp.Diff(types, st.types()); diff != "" {
		t.Errorf("audit events (-want +got):\n%s", diff)
		return
	}
	var request struct {
		Model    string   `json:"model"`
		Toolsets []string `json:"toolsets_enabled"`
	}
	if err := json.Unmarshal(st.events[0].Data, &request); err != nil {
		t.Fatal(err)
	}
	if request.Model != "mock://test-model" || len(request.Toolsets) != 1 || request.Toolsets[0] != "mock" {
		t.Errorf("model %q, toolsets %q", request.Model, request.Toolsets)
	}
	for _, e := range st.events {
		if e.CorrelationID != "rr-1" || e.Category != "analysis" || len(e.Validate(noon)) > 0 {
			t.Errorf("event %+v", e)
		}
	}
}

func TestMockIncidentEdges(t *testing.T) {
	for _, tt := range []struct {
		signalType   string
		reason       incident.ReviewReason
		confidence   float64
		workflow     string
		image        string
		alternatives []float64
		attempts     int
	}{
		{signalType: "MOCK_NO_WORKFLOW_FOUND", reason: "no_matching_workflows"},
		{signalType: "mock_no_workflow_found", reason: "no_matching_workflows"},
		{
			signalType: "MOCK_LOW_CONFIDENCE", reason: "low_confidence", confidence: 0.45, workflow: "mock-low-confidence-workflow-v1",
			image: "kubernaut/mock-workflow-low-confidence:v1.0.0", alternatives: []float64{0.42, 0.40},
		},
		{signalType: "MOCK_MAX_RETRIES_EXHAUSTED", reason: "llm_parsing_error", attempts: 3},
	} {
		t.Run(tt.signalType, func(t *testing.T) {
			inv, st := mockAnswer(t, mockIncident(tt.signalType))
			if !inv.NeedsHumanReview || inv.HumanReviewReason != tt.reason || inv.Confidence != tt.confidence {
				t.Errorf("review %v %q, confidence %v; want %q, %v", inv.NeedsHumanReview, inv.HumanReviewReason, inv.Confidence, tt.reason, tt.confidence)
			}
			switch {
			case tt.workflow == "" && inv.Workflow != nil:
				t.Errorf("workflow %+v, want none", inv.Workflow)
			case tt.workflow != "" && (inv.Workflow == nil || inv.Workflow.ID != tt.workflow || inv.Workflow.ContainerImage != tt.image):
				t.Errorf("workflow %+v, want %s with image %s", inv.Workflow, tt.workflow, tt.image)
			}
			var alternatives []float64
			for i, a := range inv.Alternatives {
				alternatives = append(alternatives, a.Confidence)
				if want := fmt.Sprintf("mock-alternative-%d-v1", i+1); a.WorkflowID != want {
					t.Errorf("alternative %s, want %s", a.WorkflowID, want)
				}
			}
			if diff := cmp.Diff(tt.alternatives, alternatives); diff != "" {
				t.Errorf("confidence of alternatives (-want +got):\n%s", diff)
			}
			if len(inv.Attempts) != tt.attempts {
				t.Errorf("%d attempts, want %d", len(inv.Attempts), tt.attempts)
			}
			for i, a := range inv.Attempts {
				if want := fmt.Sprintf("mock-retry-workflow-%d-v1", i+1); a.Valid || a.Attempt != i+1 || a.WorkflowID != want || len(a.Errors) == 0 {
					t.Errorf("attempt %+v, want an invalid one of %s", a, want)
				}
			}
			wantMockAudit(t, st, audit.TypeLLMRequest, audit.TypeLLMResponse, audit.TypeWorkflowValidation)
		})
	}
}

func mockRecovery(signalType string) incident.Incident {
	in := mockIncident(signalType)
	in.Recovery = &incident.Recovery{Attempt: 1, Previous: []incident.Execution{{Workflow: incident.SelectedWorkflow{ID: "w-0"}}, {Workflow: incident.SelectedWorkflow{ID: "w-1"}}}}
	return in
}

func TestMockRecoveryRows(t *testing.T) {
	for _, row := range mockRows {
		for _, signalType := range append(row.signalTypes, map[bool][]string{true: {"MOCK_MAX_RETRIES_EXHAUSTED"}}[row.workflow == "generic-restart-v1"]...) {
			t.Run(signalType, func(t *testing.T) {
				inv, st := mockAnswer(t, mockRecovery(signalType))
				confidence := hundredths(row.confidence - 0.05)
				want := &incident.SelectedWorkflow{
					ID: "mock-" + row.workflow + "-recovery", Version: "1.0.0", Confidence: confidence,
					ContainerImage: "kubernaut/mock-workflow-" + row.workflow + "-recovery:v1.0.0",
					Parameters:     map[string]string{"NAMESPACE": "shop", "RECOVERY_MODE": "true", "PREVIOUS_WORKFLOW": "w-1"},
				}
				if diff := cmp.Diff(want, inv.Workflow, cmpopts.IgnoreFields(incident.SelectedWorkflow{}, "Title", "Rationale")); diff != "" {
					t.Errorf("workflow (-want +got):\n%s", diff)
				}
				signal := strings.ToLower(signalType)
				if signal == "" {
					signal = "unknown"
				}
				strategies := []incident.RecoveryStrategy{{
					ActionType: "recovery_" + signal + "_v1", Confidence: confidence, Risk: "medium",
					Prerequisites: []string{"verify_resource_state", "check_cluster_capacity"},
				}}
				if diff := cmp.Diff(strategies, inv.Recovery.Strategies, cmpopts.IgnoreFields(incident.RecoveryStrategy{}, "Rationale")); diff != "" {
					t.Errorf("strategies (-want +got):\n%s", diff)
				}
				if !inv.Recovery.CanRecover || !inv.Recovery.Assessed || inv.NeedsHumanReview || inv.Confidence != confidence {
					t.Errorf("recovery %+v, review %v, confidence %v", inv.Recovery, inv.NeedsHumanReview, inv.Confidence)
				}
				wantMockAudit(t, st, audit.TypeLLMRequest, audit.TypeLLMResponse)
			})
		}
	}
	t.Run("without a resource", func(t *testing.T) {
		in := mockRecovery("OOMKilled")
		in.Resource = incident.Ref{}
		inv, _ := mockAnswer(t, in)
		if inv.RootCause.Target != nil || strings.Contains(inv.Analysis, "  ") {
			t.Errorf("target %v, analysis %q", inv.RootCause.Target, inv.Analysis)
		}
	})
	t.Run("without a previous execution", func(t *testing.T) {
		in := mockIncident("OOMKilled")
		in.Recovery = &incident.Recovery{}
		inv, _ := mockAnswer(t, in)
		if got := inv.Workflow.Parameters["PREVIOUS_WORKFLOW"]; got != "unknown-workflow" {
			t.Errorf("PREVIOUS_WORKFLOW %q", got)
		}
	})
}

func TestMockRecoveryEdges(t *testing.T) {
	for _, tt := range []struct {
		signalType              string
		canRecover, review      bool
		reason                  incident.ReviewReason
		confidence              float64
		workflow                string
		strategies              []string
		understood, changedSome bool
	}{
		{signalType: "MOCK_NO_WORKFLOW_FOUND", canRecover: true, review: true, reason: "no_matching_workflows", understood: true},
		{
			signalType: "MOCK_LOW_CONFIDENCE", canRecover: true, review: true, reason: "low_confidence", confidence: 0.35,
			workflow: "mock-low-confidence-recovery-v1", strategies: []string{"cautious_recovery_v1 0.35 high", "alternative_recovery_v1 0.32 high"},
		},
		{signalType: "mock_not_reproducible", confidence: 0.95, understood: true, changedSome: true},
	} {
		t.Run(tt.signalType, func(t *testing.T) {
			inv, st := mockAnswer(t, mockRecovery(tt.signalType))
			r := inv.Recovery
			if r.CanRecover != tt.canRecover || inv.NeedsHumanReview != tt.review || inv.HumanReviewReason != tt.reason || inv.Confidence != tt.confidence {
				t.Errorf("can recover %v, review %v %q, confidence %v", r.CanRecover, inv.NeedsHumanReview, inv.HumanReviewReason, inv.Confidence)
			}
			if r.FailureUnderstood != tt.understood || r.StateChanged != tt.changedSome {
				t.Errorf("understood %v, changed %v; want %v, %v", r.FailureUnderstood, r.StateChanged, tt.understood, tt.changedSome)
			}
			var workflow string
			if inv.Workflow != nil {
				workflow = inv.Workflow.ID
			}
			if workflow != tt.workflow {
				t.Errorf("workflow %q, want %q", workflow, tt.workflow)
			}
			var strategies []string
			for _, s := range r.Strategies {
				strategies = append(strategies, fmt.Sprintf("%s %v %s", s.ActionType, s.Confidence, s.Risk))
			}
			if diff := cmp.Diff(tt.strategies, strategies); diff != "" {
				t.Errorf("strategies (-want +got):\n%s", diff)
			}
			wantMockAudit(t, st, audit.TypeLLMRequest, audit.TypeLLMResponse)
		})
	}
}

func TestMockNeedsItsAuditTrail(t *testing.T) {
	st := &storage{auditErr: incident.Errorf(incident.KindUnavailable, "record", "spool full")}
	_, err := NewMock(st, nil).Investigate(t.Context(), mockIncident("OOMKilled"))
	if incident.KindOf(err) != incident.KindUnavailable {
		t.Errorf("error %v, want KindUnavailable", err)
	}
}
