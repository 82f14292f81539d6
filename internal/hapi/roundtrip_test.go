package hapi_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"kubernaut.ai/kubernaut/internal/hapi"
	"kubernaut.ai/kubernaut/internal/incident"
)

// What is asked and what is answered goes over the wire unchanged, whatever it is.
func TestRoundTrip(t *testing.T) {
	f := &fake{}
	s := serve(t, hapi.Options{Investigator: f, MaxBodyBytes: 16 << 20})
	rapid.Check(t, func(t *rapid.T) {
		in := incidents.Draw(t, "incident")
		want := investigations.Draw(t, "investigation")
		want.IncidentID = in.ID
		if in.Recovery == nil {
			want.Recovery = nil
		} else if want.Recovery == nil {
			want.Recovery = &incident.RecoveryAssessment{CanRecover: true}
		}
		f.answer = func(context.Context, incident.Incident) (incident.Investigation, error) { return want, nil }
		got, err := s.client.Investigate(context.Background(), "", in)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(in, f.asked[len(f.asked)-1], cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("incident (-sent +received):\n%s", d)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("investigation (-sent +received):\n%s", d)
		}
	})
}

var (
	text    = rapid.StringN(0, 20, 40)
	word    = rapid.StringMatching(`[A-Za-z0-9.-]{1,12}`)
	texts   = rapid.SliceOfN(text, 0, 3)
	unit    = rapid.Float64Range(0, 1)
	textMap = rapid.MapOfN(word, text, 0, 3)
	refs    = rapid.Custom(func(t *rapid.T) incident.Ref {
		return incident.Ref{
			APIVersion: text.Draw(t, "apiVersion"), Kind: word.Draw(t, "kind"), Namespace: text.Draw(t, "namespace"),
			Name: word.Draw(t, "name"), UID: text.Draw(t, "uid"),
		}
	})
	times = rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "µs")).UTC()
	})
	rootCauses = rapid.Custom(func(t *rapid.T) incident.RootCause {
		return incident.RootCause{
			Summary: text.Draw(t, "summary"), Severity: incident.Severity(word.Draw(t, "severity")), SignalType: text.Draw(t, "signalType"),
			Factors: texts.Draw(t, "factors"), Target: rapid.Ptr(refs, true).Draw(t, "target"),
		}
	})
	workflows = rapid.Custom(func(t *rapid.T) incident.SelectedWorkflow {
		return incident.SelectedWorkflow{
			ID: word.Draw(t, "id"), Title: text.Draw(t, "title"), Version: text.Draw(t, "version"), ContainerImage: text.Draw(t, "image"),
			ContainerDigest: text.Draw(t, "digest"), Confidence: unit.Draw(t, "confidence"), Rationale: text.Draw(t, "rationale"),
			Parameters: textMap.Draw(t, "parameters"),
		}
	})
	executions = rapid.Custom(func(t *rapid.T) incident.Execution {
		return incident.Execution{
			Ref: text.Draw(t, "ref"), RootCause: rootCauses.Draw(t, "rootCause"), Workflow: workflows.Draw(t, "workflow"),
			Failure: incident.ExecutionFailure{
				StepIndex: rapid.IntRange(0, 1000).Draw(t, "step"), StepName: text.Draw(t, "stepName"), Reason: text.Draw(t, "reason"),
				Message: text.Draw(t, "message"), ExitCode: rapid.Ptr(rapid.Int32(), true).Draw(t, "exitCode"),
				FailedAt: times.Draw(t, "failedAt"), ExecutionTime: text.Draw(t, "executionTime"),
			},
		}
	})
	traits = []string{"gitOpsManaged", "gitOpsTool", "pdbProtected", "hpaEnabled", "stateful", "helmManaged", "networkIsolated", "serviceMesh"}

	incidents = rapid.Custom(func(t *rapid.T) incident.Incident {
		in := incident.Incident{
			ID: text.Draw(t, "id"), RemediationID: word.Draw(t, "remediationId"), SignalType: text.Draw(t, "signalType"),
			Severity: text.Draw(t, "severity"), SignalSource: text.Draw(t, "signalSource"), Resource: refs.Draw(t, "resource"),
			ErrorMessage: text.Draw(t, "errorMessage"), Description: text.Draw(t, "description"), SignalLabels: textMap.Draw(t, "signalLabels"),
			Fingerprint: text.Draw(t, "fingerprint"), Environment: text.Draw(t, "environment"), Priority: text.Draw(t, "priority"),
			RiskTolerance: text.Draw(t, "riskTolerance"), BusinessCategory: text.Draw(t, "businessCategory"), ClusterName: text.Draw(t, "clusterName"),
			DetectedLabels: incident.DetectedLabels{
				FailedDetections: rapid.SliceOfN(rapid.SampledFrom(traits), 0, 3).Draw(t, "failedDetections"),
				GitOpsManaged:    rapid.Bool().Draw(t, "gitOps"), GitOpsTool: text.Draw(t, "gitOpsTool"), PDBProtected: rapid.Bool().Draw(t, "pdb"),
				HPAEnabled: rapid.Bool().Draw(t, "hpa"), Stateful: rapid.Bool().Draw(t, "stateful"), HelmManaged: rapid.Bool().Draw(t, "helm"),
				NetworkIsolated: rapid.Bool().Draw(t, "isolated"), ServiceMesh: text.Draw(t, "mesh"),
			},
			CustomLabels: rapid.MapOfN(word, texts, 0, 3).Draw(t, "customLabels"), OwnerChain: rapid.SliceOfN(refs, 0, 3).Draw(t, "ownerChain"),
		}
		if rapid.Bool().Draw(t, "recovery") {
			in.Recovery = &incident.Recovery{
				Attempt: rapid.IntRange(0, 10).Draw(t, "attempt"), Previous: rapid.SliceOfN(executions, 0, 3).Draw(t, "previous"),
			}
		}
		return in
	})

	links = rapid.Custom(func(t *rapid.T) incident.Link {
		return incident.Link{Subject: refs.Draw(t, "subject"), Statement: text.Draw(t, "statement"), Evidence: texts.Draw(t, "evidence")}
	})
	evidence = rapid.Custom(func(t *rapid.T) incident.Evidence {
		value := text.Draw(t, "value")
		return incident.Evidence{
			ID: word.Draw(t, "id"), Kind: rapid.SampledFrom([]incident.EvidenceKind{"object", "event", "log", "metric"}).Draw(t, "kind"),
			Ref: refs.Draw(t, "ref"), ResourceVersion: text.Draw(t, "resourceVersion"), Path: text.Draw(t, "path"), Value: value,
			Absent: rapid.Bool().Draw(t, "absent"), ObservedAt: times.Draw(t, "observedAt"), SHA256: incident.HashValue(value),
		}
	})
	gaps = rapid.Custom(func(t *rapid.T) incident.Gap {
		return incident.Gap{
			Kind: rapid.SampledFrom([]incident.GapKind{"forbidden", "expired", "failed", "notAsked"}).Draw(t, "kind"),
			What: text.Draw(t, "what"), Reason: text.Draw(t, "reason"), TouchesCause: rapid.Bool().Draw(t, "touches"),
		}
	})
	candidates = rapid.Custom(func(t *rapid.T) incident.Candidate {
		return incident.Candidate{
			WorkflowID: word.Draw(t, "id"), Title: text.Draw(t, "title"), Chosen: rapid.Bool().Draw(t, "chosen"), Score: unit.Draw(t, "score"),
			Reason: text.Draw(t, "reason"),
		}
	})
	alternatives = rapid.Custom(func(t *rapid.T) incident.Alternative {
		return incident.Alternative{
			WorkflowID: word.Draw(t, "id"), ContainerImage: text.Draw(t, "image"), Confidence: unit.Draw(t, "confidence"), Rationale: text.Draw(t, "rationale"),
		}
	})
	attempts = rapid.Custom(func(t *rapid.T) incident.ValidationAttempt {
		return incident.ValidationAttempt{
			Attempt: rapid.IntRange(1, 9).Draw(t, "attempt"), WorkflowID: text.Draw(t, "id"), Valid: rapid.Bool().Draw(t, "valid"),
			Errors: texts.Draw(t, "errors"), At: times.Draw(t, "at"),
		}
	})
	strategies = rapid.Custom(func(t *rapid.T) incident.RecoveryStrategy {
		return incident.RecoveryStrategy{
			ActionType: word.Draw(t, "action"), Confidence: unit.Draw(t, "confidence"), Rationale: text.Draw(t, "rationale"),
			Risk: rapid.SampledFrom([]string{"low", "medium", "high"}).Draw(t, "risk"), Prerequisites: texts.Draw(t, "prerequisites"),
		}
	})
	assessments = rapid.Custom(func(t *rapid.T) incident.RecoveryAssessment {
		a := incident.RecoveryAssessment{CanRecover: rapid.Bool().Draw(t, "can"), Strategies: rapid.SliceOfN(strategies, 0, 3).Draw(t, "strategies")}
		if rapid.Bool().Draw(t, "assessed") {
			a.Assessed, a.FailureUnderstood, a.FailureReason = true, rapid.Bool().Draw(t, "understood"), text.Draw(t, "reason")
			a.StateChanged, a.CurrentSignalType = rapid.Bool().Draw(t, "changed"), text.Draw(t, "signal")
		}
		return a
	})

	investigations = rapid.Custom(func(t *rapid.T) incident.Investigation {
		return incident.Investigation{
			Analysis: text.Draw(t, "analysis"), RootCause: rootCauses.Draw(t, "rootCause"), Workflow: rapid.Ptr(workflows, true).Draw(t, "workflow"),
			Alternatives: rapid.SliceOfN(alternatives, 0, 3).Draw(t, "alternatives"), Candidates: rapid.SliceOfN(candidates, 0, 3).Draw(t, "candidates"),
			Confidence: unit.Draw(t, "confidence"), NeedsHumanReview: rapid.Bool().Draw(t, "review"),
			HumanReviewReason:  incident.ReviewReason(rapid.SampledFrom([]string{"", "low_confidence", "something_new"}).Draw(t, "reason")),
			TargetInOwnerChain: rapid.Bool().Draw(t, "inChain"), Warnings: texts.Draw(t, "warnings"), Attempts: rapid.SliceOfN(attempts, 0, 3).Draw(t, "attempts"),
			CauseClass: incident.CauseClass(text.Draw(t, "class")), Chain: rapid.SliceOfN(links, 0, 3).Draw(t, "chain"),
			Evidence: rapid.SliceOfN(evidence, 0, 3).Draw(t, "evidence"), Gaps: rapid.SliceOfN(gaps, 0, 3).Draw(t, "gaps"),
			BundleDigest: text.Draw(t, "digest"), Reasoning: rapid.Ptr(reasonings, true).Draw(t, "reasoning"), Recovery: rapid.Ptr(assessments, true).Draw(t, "assessment"), CompletedAt: times.Draw(t, "completedAt"),
		}
	})
)

var reasonings = rapid.Custom(func(t *rapid.T) incident.Reasoning {
	return incident.Reasoning{
		Provider: text.Draw(t, "provider"), Model: text.Draw(t, "model"), PromptHash: incident.HashValue(text.Draw(t, "prompts")),
		Stance: incident.StanceDisagrees, Stopped: text.Draw(t, "stopped"), Cause: text.Draw(t, "cause"), Target: text.Draw(t, "target"),
		Explanation: []incident.Claim{{Text: text.Draw(t, "claim"), Evidence: texts.Draw(t, "cited"), Supported: rapid.Bool().Draw(t, "supported"), Why: text.Draw(t, "why")}},
		Confidence:  unit.Draw(t, "confidence"), Dropped: rapid.IntRange(0, 9).Draw(t, "dropped"),
		Suspicions: []incident.Suspicion{{Evidence: word.Draw(t, "evidence"), Place: text.Draw(t, "place"), Rule: text.Draw(t, "rule")}},
		Usage:      incident.ModelUsage{Turns: 1, InputTokens: 2, OutputTokens: 3, Cost: unit.Draw(t, "cost"), DurationMS: 4},
	}
})
