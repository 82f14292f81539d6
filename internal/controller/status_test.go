package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Whatever an investigation says, the status that is written of it, and every status that follows,
// is one that the API server takes.
func TestStatusIsNeverRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inv := anyInvestigation().Draw(t, "investigation")
		a := running(rapid.Bool().Draw(t, "recovery"))
		a.Status.Warnings = []string{"from before"}
		f := facts{now: testTime, analysis: a, answer: &answer{investigation: inv, took: time.Second}}
		next := DefaultSettings().decide(f).status
		checkStored(t, next)
		if next.Phase != v1alpha1.PhaseAnalyzing {
			return
		}

		a.Status = *next
		decision := incident.Decision{
			ApprovalRequired: rapid.Bool().Draw(t, "approval"), Reason: anyText().Draw(t, "why"), Degraded: rapid.Bool().Draw(t, "degraded"),
			Rules: many(anyText(), 60).Draw(t, "rules"), PolicyName: anyText().Draw(t, "policy"), PolicyHash: anyText().Draw(t, "hash"),
		}
		f = facts{now: testTime, analysis: a, verdict: &verdict{decision: decision}}
		final := DefaultSettings().decide(f).status
		checkStored(t, final)
		if inv.Workflow != nil && final.SelectedWorkflow != nil {
			checkIdentity(t, final.SelectedWorkflow, inv.Workflow)
		}
	})
}

// checkIdentity fails the test when what would be run is not exactly what was proposed.
func checkIdentity(t tb, got *v1alpha1.SelectedWorkflow, want *incident.SelectedWorkflow) {
	t.Helper()
	if got.WorkflowID != want.ID || got.Version != want.Version || got.ContainerImage != want.ContainerImage ||
		got.ContainerDigest != want.ContainerDigest {
		t.Errorf("the workflow was changed: got %+v, want %+v", got, want)
	}
	if len(got.Parameters) != len(want.Parameters) {
		t.Errorf("got %d parameters, want %d", len(got.Parameters), len(want.Parameters))
	}
	for name, value := range want.Parameters {
		if got.Parameters[name] != value {
			t.Errorf("parameter %s was changed", name)
		}
	}
}

// largest returns an investigation that says more than any status holds.
func largest() incident.Investigation {
	long := strings.Repeat("<", 20_000) // six bytes each in JSON
	ref := incident.Ref{APIVersion: long, Kind: long, Namespace: long, Name: long, UID: long}
	return incident.Investigation{
		IncidentID: long, Analysis: long, Confidence: 0.9,
		RootCause: incident.RootCause{Summary: long, SignalType: long, Factors: repeat(long, 60), Target: &ref},
		Warnings:  repeat(long, 60), Chain: repeat(incident.Link{Subject: ref, Statement: long, Evidence: repeat("e1", 40)}, 40),
		Evidence:     repeat(incident.Evidence{ID: "e1", Ref: ref, Path: long, Value: long, SHA256: long}, 120),
		Gaps:         append(repeat(incident.Gap{What: long, Reason: long}, 60), incident.Gap{What: "the one", TouchesCause: true}),
		Candidates:   repeat(incident.Candidate{WorkflowID: long, Title: long, Reason: long}, 60),
		Alternatives: repeat(incident.Alternative{WorkflowID: long, Rationale: long}, 30),
		Attempts:     repeat(incident.ValidationAttempt{Attempt: 9, Errors: repeat(long, 30)}, 30),
		Workflow: &incident.SelectedWorkflow{
			ID: strings.Repeat("<", maxName), Version: "1", Confidence: 0.9, Rationale: long,
			Parameters: map[string]string{"A": strings.Repeat("<", maxParameterBytes/6-10)},
		},
	}
}

// The largest status that the bounds allow is still small enough, and keeps what decides.
func TestFitKeepsWhatDecides(t *testing.T) {
	inv := largest()
	a := running(false)
	next := DefaultSettings().decide(facts{now: testTime, analysis: a, answer: &answer{investigation: inv}}).status
	checkStored(t, next)
	a.Status = *next
	v := &verdict{decision: incident.Decision{ApprovalRequired: true, Reason: inv.Analysis, Rules: repeat(inv.Analysis, 60)}}
	next = DefaultSettings().decide(facts{now: testTime, analysis: a, verdict: v}).status
	checkStored(t, next)

	checkIdentity(t, next.SelectedWorkflow, inv.Workflow)
	if len(next.Gaps) == 0 || !next.Gaps[0].TouchesCause {
		t.Errorf("the gap that touches the cause is gone: got %d gaps", len(next.Gaps))
	}
	if len(next.Warnings) == 0 || !strings.Contains(strings.Join(next.Warnings, "\n"), "too large") {
		t.Errorf("no warning says that the status was shortened: %d warnings", len(next.Warnings))
	}
}

func repeat[T any](v T, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func TestDescribe(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123, time.UTC)
	inv := incident.Investigation{
		IncidentID: "shop/web", Confidence: 0.9,
		RootCause: incident.RootCause{
			Summary: "memory limit below the working set", Severity: incident.SeverityCritical, SignalType: "OOMKilled",
			Factors: []string{"traffic"}, Target: &incident.Ref{Kind: "Deployment", Namespace: "shop", Name: "web"},
		},
		Workflow: &incident.SelectedWorkflow{
			ID: "w1", Version: "1.0.0", ContainerImage: "img", ContainerDigest: "sha256:0", Confidence: 0.9,
			Rationale: "raises the limit", Parameters: map[string]string{"MEMORY_LIMIT": "1Gi"},
		},
		Alternatives:       []incident.Alternative{{WorkflowID: "w2", Confidence: 1.5, Rationale: "restart"}},
		Candidates:         []incident.Candidate{{WorkflowID: "w1", Chosen: true, Score: 1, Reason: "fits"}},
		TargetInOwnerChain: true, Warnings: []string{"one"},
		Attempts:   []incident.ValidationAttempt{{Attempt: 0, WorkflowID: "w0", Errors: []string{"no such workflow"}, At: at}},
		CauseClass: "oom-limit",
		Chain:      []incident.Link{{Subject: incident.Ref{Kind: "Pod", Namespace: "shop", Name: "web-1"}, Statement: "was killed", Evidence: []string{"e1"}}},
		Evidence: []incident.Evidence{{
			ID: "e1", Kind: incident.EvidenceObject, Ref: incident.Ref{Kind: "Pod", Name: "web-1"}, Path: "/status", Value: "137",
			ObservedAt: at, SHA256: incident.HashValue("137"),
		}},
		Gaps:         []incident.Gap{{Kind: "odd", What: "logs", Reason: "gone"}, {Kind: incident.GapExpired, What: "events", TouchesCause: true}},
		BundleDigest: "sha256:1",
		Recovery:     &incident.RecoveryAssessment{CanRecover: true, Assessed: true, FailureUnderstood: true, FailureReason: "too small", StateChanged: true, CurrentSignalType: "X"},
	}
	yes := true
	stamp := metav1.NewTime(at.Truncate(time.Second))
	want := v1alpha1.AIAnalysisStatus{
		InvestigationID: "shop/web", RootCause: "memory limit below the working set", CauseClass: "oom-limit",
		RootCauseAnalysis: &v1alpha1.RootCauseAnalysis{
			Summary: "memory limit below the working set", Severity: "critical", SignalType: "OOMKilled", ContributingFactors: []string{"traffic"},
			Target: &v1alpha1.ObjectRef{Kind: "Deployment", Namespace: "shop", Name: "web"},
		},
		SelectedWorkflow: &v1alpha1.SelectedWorkflow{
			WorkflowID: "w1", Version: "1.0.0", ContainerImage: "img", ContainerDigest: "sha256:0",
			Confidence: 0.9, Rationale: "raises the limit", Parameters: map[string]string{"MEMORY_LIMIT": "1Gi"},
		},
		AlternativeWorkflows: []v1alpha1.AlternativeWorkflow{{WorkflowID: "w2", Confidence: 1, Rationale: "restart"}},
		Candidates:           []v1alpha1.Candidate{{WorkflowID: "w1", Chosen: true, Score: 1, Reason: "fits"}},
		TargetInOwnerChain:   &yes,
		Warnings:             []string{"The confidence of an alternative workflow was 1.5, which is not from 0 to 1; 1 is shown", "before", "one"},
		ValidationAttemptsHistory: []v1alpha1.ValidationAttempt{
			{Attempt: 1, WorkflowID: "w0", Errors: []string{"no such workflow"}, Timestamp: stamp},
		},
		CausalChain: []v1alpha1.CausalLink{{Subject: v1alpha1.ObjectRef{Kind: "Pod", Namespace: "shop", Name: "web-1"}, Statement: "was killed", Evidence: []string{"e1"}}},
		Evidence: []v1alpha1.Evidence{{
			ID: "e1", Kind: "object", Ref: v1alpha1.ObjectRef{Kind: "Pod", Name: "web-1"}, Path: "/status", Value: "137",
			ObservedAt: stamp, SHA256: incident.HashValue("137"),
		}},
		Gaps:   []v1alpha1.Gap{{Kind: "expired", What: "events", TouchesCause: true}, {Kind: "failed", What: "logs", Reason: "gone"}},
		Bundle: &v1alpha1.Bundle{Digest: "sha256:1"},
		RecoveryStatus: &v1alpha1.RecoveryStatus{
			PreviousAttemptAssessment: &v1alpha1.PreviousAttemptAssessment{FailureUnderstood: true, FailureReasonAnalysis: "too small"},
			StateChanged:              true, CurrentSignalType: "X",
		},
	}
	got := v1alpha1.AIAnalysisStatus{Warnings: []string{"before"}}
	if err := describe(&got, inv); err != nil {
		t.Fatalf("describe: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status differs (-want +got):\n%s", diff)
	}
}

func TestCheckWorkflow(t *testing.T) {
	params := func(n, size int) map[string]string {
		m := make(map[string]string)
		for i := range n {
			m[string(rune('A'+i))] = strings.Repeat("x", size)
		}
		return m
	}
	for name, tt := range map[string]struct {
		workflow incident.SelectedWorkflow
		want     string
	}{
		"plain":               {incident.SelectedWorkflow{ID: "w"}, ""},
		"no id":               {incident.SelectedWorkflow{}, "no id"},
		"long id":             {incident.SelectedWorkflow{ID: strings.Repeat("w", maxName+1)}, "id has more"},
		"control characters":  {incident.SelectedWorkflow{ID: "w\x00"}, "id has more"},
		"long image":          {incident.SelectedWorkflow{ID: "w", ContainerImage: strings.Repeat("i", maxImage+1)}, "image has more"},
		"many parameters":     {incident.SelectedWorkflow{ID: "w", Parameters: params(maxParameter+1, 1)}, "65 parameters"},
		"large parameters":    {incident.SelectedWorkflow{ID: "w", Parameters: params(2, maxParameterBytes/2-7)}, "bytes"},
		"parameters in bound": {incident.SelectedWorkflow{ID: "w", Parameters: params(2, maxParameterBytes/2-8)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkWorkflow(tt.workflow)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got error %v, want none", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestReasoningIsCopied(t *testing.T) {
	var next v1alpha1.AIAnalysisStatus
	err := describe(&next, incident.Investigation{Reasoning: &incident.Reasoning{
		Provider: "openai", Model: "m", Stance: incident.StanceDiscarded, Confidence: 0.4,
		Explanation: []incident.Claim{{Text: "The limit is 128Mi.", Evidence: []string{"e7"}, Supported: true}},
		Suspicions:  []incident.Suspicion{{Place: "Pod shop/cart log line 3", Rule: "asks for an action"}},
		Usage:       incident.ModelUsage{Turns: 3, InputTokens: 9000, OutputTokens: 700, Cost: 0.0375},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := &v1alpha1.Reasoning{
		Provider: "openai", Model: "m", Stance: "discarded", Confidence: 0.4,
		Explanation: []v1alpha1.ReasonedClaim{{Text: "The limit is 128Mi.", Evidence: []string{"e7"}, Supported: true}},
		Suspicions:  []string{"asks for an action: Pod shop/cart log line 3"},
		Turns:       3, InputTokens: 9000, OutputTokens: 700, CostUSD: 0.0375,
	}
	if diff := cmp.Diff(want, next.Reasoning); diff != "" {
		t.Errorf("reasoning (-want +got):\n%s", diff)
	}
}
