package cli

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/incident"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) *metav1.Time { return &metav1.Time{Time: noon.Add(d)} }

// analysis is an AIAnalysis in namespace shop with the given status.
func analysis(name string, status v1alpha1.AIAnalysisStatus) *v1alpha1.AIAnalysis {
	return &v1alpha1.AIAnalysis{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: *at(-90 * time.Second)},
		Spec: v1alpha1.AIAnalysisSpec{
			RemediationID: "rem-" + name,
			AnalysisRequest: v1alpha1.AnalysisRequest{SignalContext: v1alpha1.SignalContext{
				SignalType: "OOMKilled", Severity: "critical", Environment: "staging", BusinessPriority: "P1",
				TargetResource: v1alpha1.TargetResource{Kind: "Deployment", Namespace: "shop", Name: "cart"},
			}},
		},
		Status: status,
	}
}

var deployment = v1alpha1.ObjectRef{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "cart"}

func completed() v1alpha1.AIAnalysisStatus {
	pod := v1alpha1.ObjectRef{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "cart-1"}
	return v1alpha1.AIAnalysisStatus{
		Phase: v1alpha1.PhaseCompleted, Reason: v1alpha1.ReasonAnalysisCompleted, StartedAt: at(-80 * time.Second), CompletedAt: at(-79 * time.Second),
		TotalAnalysisTime: 1,
		CauseClass:        "oom-limit",
		RootCauseAnalysis: &v1alpha1.RootCauseAnalysis{
			Summary: "Container cart of Deployment shop/cart is killed because it needs more memory than its limit of 128Mi allows.", Severity: "high",
			SignalType: "OOMKilled", Target: &deployment, ContributingFactors: []string{"The limit was lowered in revision 7."},
		},
		CausalChain: []v1alpha1.CausalLink{
			{Subject: deployment, Statement: "0 of 2 replicas are available", Evidence: []string{"e1"}},
			{Subject: pod, Statement: "container cart was killed at its memory limit, with exit code 137, again and again", Evidence: []string{"e2", "e3"}},
			{Subject: deployment, Statement: "the working set grew with the session cache"},
		},
		Evidence: []v1alpha1.Evidence{
			{ID: "e1", Kind: "object", Ref: deployment, Path: "/status/availableReplicas", Absent: true},
			{ID: "e2", Kind: "object", Ref: pod, Path: "/status/containerStatuses/0/lastState/terminated/reason", Value: "OOMKilled"},
			{ID: "e3", Kind: "log", Ref: pod, Path: "cart/previous/0", Value: "\x1b[2Jforged\nline"},
		},
		SelectedWorkflow: &v1alpha1.SelectedWorkflow{
			WorkflowID: "6e1f1d1c-9d35-4c1b-8a7a-2f7c2c0b4e55", Version: "1.0.0", Confidence: 0.93,
			Parameters: map[string]string{"MEMORY_LIMIT": "256Mi", "CONTAINER": "cart"}, Rationale: "It remedies oom-limit.",
		},
		Candidates: []v1alpha1.Candidate{
			{WorkflowID: "6e1f1d1c-9d35-4c1b-8a7a-2f7c2c0b4e55", Title: "Raise memory limit", Chosen: true, Score: 0.93, Reason: "It remedies oom-limit."},
			{WorkflowID: "x", Title: "Restart workload", Score: 0.4, Reason: "A restart does not remove the cause."},
		},
		ApprovalReason: "Auto-approved: staging is a non-production environment",
		Policy:         &v1alpha1.Policy{Name: "aianalysis.approval", Hash: strings.Repeat("ab12", 16), Rules: []string{"automatic"}},
		Gaps:           []v1alpha1.Gap{{Kind: "forbidden", What: "Secrets in namespace shop", Reason: "not allowed", TouchesCause: true}},
		Bundle:         &v1alpha1.Bundle{Digest: "sha256:" + strings.Repeat("0f", 32)},
		AuditState:     v1alpha1.AuditRecorded,
	}
}

func TestReport(t *testing.T) {
	healthy := v1alpha1.AIAnalysisStatus{
		Phase: v1alpha1.PhaseCompleted, Reason: v1alpha1.ReasonWorkflowNotNeeded, SubReason: v1alpha1.SubReasonProblemResolved,
		Message: "All 2 replicas of Deployment shop/cart are ready, and nothing that was read says otherwise.", AuditState: v1alpha1.AuditRecorded,
	}
	failed := completed()
	failed.Phase, failed.Reason, failed.SubReason = v1alpha1.PhaseFailed, v1alpha1.ReasonWorkflowResolutionFailed, v1alpha1.SubReasonLowConfidence
	failed.ApprovalReason, failed.Policy, failed.AuditState = "", nil, v1alpha1.AuditSpooled
	failed.Warnings = []string{"confidence 0.41 is below the threshold of 0.7"}
	person := completed()
	person.ApprovalRequired, person.ApprovalReason, person.DegradedMode = true, "Production environment requires a person's approval", true
	running := v1alpha1.AIAnalysisStatus{
		Phase: v1alpha1.PhaseInvestigating, Reason: v1alpha1.ReasonTransientError, SubReason: v1alpha1.SubReasonTransientError,
		Message: "The investigation API answered 503; attempt 2 follows in 2s.",
	}
	for _, row := range []struct {
		name   string
		status v1alpha1.AIAnalysisStatus
		extras extras
	}{
		{"completed", completed(), extras{took: 412 * time.Millisecond, chain: &incident.ChainReport{Events: 9, Valid: true, Head: strings.Repeat("cd34", 16)}}},
		{"broken-chain", person, extras{chain: &incident.ChainReport{Events: 9, BrokenAt: 4, Problem: "hash does not match"}}},
		{"healthy", healthy, extras{}},
		{"failed", failed, extras{}},
		{"running", running, extras{}},
		{"new", v1alpha1.AIAnalysisStatus{}, extras{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var b strings.Builder
			narrow := look{size: func() (int, int) { return 80, 0 }}
			if err := writeReport(&b, narrow, analysis(row.name, row.status), detail{evidence: true}, row.extras); err != nil {
				t.Fatal(err)
			}
			golden(t, "report-"+row.name+".golden", b.String())
		})
	}
}

func TestReportInColor(t *testing.T) {
	var b strings.Builder
	l := look{color: true, tty: true, size: func() (int, int) { return 80, 24 }}
	if err := writeReport(&b, l, analysis("x", completed()), detail{}, extras{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "\x1b[32mCompleted\x1b[0m") {
		t.Errorf("a completed phase is not green:\n%s", b.String())
	}
	if strings.Contains(b.String(), "\x1b[2J") {
		t.Errorf("an escape sequence of a log came through:\n%q", b.String())
	}
}

// What a model said is shown beside the finding, each sentence with what carries it.
func TestReportOfReasoning(t *testing.T) {
	r := &report{look: look{size: func() (int, int) { return 200, 0 }}}
	r.reasoning(&v1alpha1.Reasoning{
		Provider: "openai", Model: "m", Stance: "discarded", Turns: 3, InputTokens: 9000, OutputTokens: 700, CostUSD: 0.0375,
		Explanation: []v1alpha1.ReasonedClaim{{Text: "The limit is 128Mi.", Evidence: []string{"e7"}, Supported: true}, {Text: "The cache grew."}},
		Suspicions:  []string{"asks for an action: Pod shop/cart log line 3"}, Stopped: "the budget's limit cost was reached",
	})
	for _, want := range []string{
		"m by openai: discarded", "The limit is 128Mi. [e7]", "The cache grew. [hypothesis]", "gives orders: asks for an action", "stopped early",
		"3 turns, 9000 tokens in, 700 out, $0.0375",
	} {
		if !strings.Contains(r.b.String(), want) {
			t.Errorf("%q is not in:\n%s", want, r.b.String())
		}
	}
}
