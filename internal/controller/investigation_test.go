package controller

import (
	"math"
	"time"

	"pgregory.net/rapid"

	"kubernaut.ai/kubernaut/internal/incident"
)

// anyInvestigation draws investigations as a hostile or broken service might send them.
func anyInvestigation() *rapid.Generator[incident.Investigation] {
	return rapid.Custom(func(t *rapid.T) incident.Investigation {
		inv := incident.Investigation{
			IncidentID:         anyText().Draw(t, "id"),
			Analysis:           anyText().Draw(t, "analysis"),
			RootCause:          anyRootCause().Draw(t, "root cause"),
			Alternatives:       many(anyAlternative(), 25).Draw(t, "alternatives"),
			Candidates:         many(anyCandidate(), 60).Draw(t, "candidates"),
			Confidence:         anyNumber().Draw(t, "confidence"),
			NeedsHumanReview:   rapid.Bool().Draw(t, "review"),
			HumanReviewReason:  anyOf(incident.ReviewWorkflowNotFound, incident.ReviewNotReproducible, "", "something_new").Draw(t, "review reason"),
			TargetInOwnerChain: rapid.Bool().Draw(t, "in chain"),
			Warnings:           many(anyText(), 60).Draw(t, "warnings"),
			Attempts:           many(anyAttempt(), 25).Draw(t, "attempts"),
			CauseClass:         incident.CauseClass(anyText().Draw(t, "class")),
			Chain:              many(anyLink(), 40).Draw(t, "chain"),
			Evidence:           many(anyEvidence(), 120).Draw(t, "evidence"),
			Gaps:               many(anyGap(), 60).Draw(t, "gaps"),
			BundleDigest:       anyText().Draw(t, "bundle"),
			CompletedAt:        anyTime().Draw(t, "completed"),
		}
		if rapid.Bool().Draw(t, "has workflow") {
			wf := anyWorkflow().Draw(t, "workflow")
			inv.Workflow = &wf
		}
		if rapid.Bool().Draw(t, "has reasoning") {
			inv.Reasoning = anyReasoning().Draw(t, "reasoning")
		}
		if rapid.Bool().Draw(t, "has recovery") {
			inv.Recovery = &incident.RecoveryAssessment{
				CanRecover: rapid.Bool().Draw(t, "can recover"), Assessed: rapid.Bool().Draw(t, "assessed"),
				FailureUnderstood: rapid.Bool().Draw(t, "understood"), FailureReason: anyText().Draw(t, "failure"),
				StateChanged: rapid.Bool().Draw(t, "changed"), CurrentSignalType: anyText().Draw(t, "signal"),
			}
		}
		return inv
	})
}

func anyReasoning() *rapid.Generator[*incident.Reasoning] {
	return rapid.Custom(func(t *rapid.T) *incident.Reasoning {
		claim := rapid.Custom(func(t *rapid.T) incident.Claim {
			return incident.Claim{Text: anyText().Draw(t, "text"), Evidence: many(anyText(), 40).Draw(t, "evidence"), Supported: rapid.Bool().Draw(t, "supported")}
		})
		suspicion := rapid.Custom(func(t *rapid.T) incident.Suspicion {
			return incident.Suspicion{Place: anyText().Draw(t, "place"), Rule: anyText().Draw(t, "rule")}
		})
		return &incident.Reasoning{
			Provider: anyText().Draw(t, "provider"), Model: anyText().Draw(t, "model"), PromptHash: anyText().Draw(t, "hash"),
			Stance: anyOf(incident.StanceAgrees, incident.StanceAbsent, "something_new").Draw(t, "stance"), Stopped: anyText().Draw(t, "stopped"),
			Explanation: many(claim, 60).Draw(t, "explanation"), Suspicions: many(suspicion, 60).Draw(t, "suspicions"),
			Confidence: anyNumber().Draw(t, "confidence"),
			Usage:      incident.ModelUsage{Turns: rapid.Int().Draw(t, "turns"), InputTokens: rapid.Int().Draw(t, "input"), Cost: anyNumber().Draw(t, "cost")},
		}
	})
}

// anyText draws short, empty, foreign, broken and overlong texts.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringN(0, 40, -1),
		rapid.Just(""),
		rapid.Custom(func(t *rapid.T) string { // overlong, of runes that are long in UTF-8 or in JSON
			unit := anyOf("a", "ü", "漢", "😀", "<", "\"", "\x00", "\xff", "\u2028").Draw(t, "unit")
			n := anyOf(63, 64, 65, 128, 129, 253, 254, 317, 318, 1023, 1024, 1025, 4095, 4096, 4097, 20_000).Draw(t, "length")
			b := make([]byte, 0, n*len(unit))
			for range n {
				b = append(b, unit...)
			}
			return string(b)
		}),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 60), func(b []byte) string { return string(b) }),
	)
}

func anyNumber() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.Float64Range(0, 1),
		anyOf(math.NaN(), math.Inf(1), math.Inf(-1), -0.1, 0, 1, 1.0000001, 0.7, 0.6999, 1e300),
	)
}

func anyTime() *rapid.Generator[time.Time] {
	return rapid.OneOf(
		rapid.Just(time.Time{}),
		rapid.Map(rapid.Int64Range(0, 4e9), func(s int64) time.Time { return time.Unix(s, 5) }),
		anyOf(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)),
	)
}

func anyOf[T any](values ...T) *rapid.Generator[T] { return rapid.SampledFrom(values) }

func many[T any](g *rapid.Generator[T], limit int) *rapid.Generator[[]T] {
	return rapid.Custom(func(t *rapid.T) []T {
		// One element drawn, repeated: large lists without large test data.
		n := anyOf(0, 1, 2, limit-1, limit).Draw(t, "count")
		if n == 0 {
			return nil
		}
		distinct := rapid.SliceOfN(g, 1, 2).Draw(t, "elements")
		out := make([]T, n)
		for i := range out {
			out[i] = distinct[i%len(distinct)]
		}
		return out
	})
}

func anyRef() *rapid.Generator[incident.Ref] {
	return rapid.Custom(func(t *rapid.T) incident.Ref {
		return incident.Ref{
			APIVersion: anyText().Draw(t, "api"), Kind: anyText().Draw(t, "kind"), Namespace: anyText().Draw(t, "namespace"),
			Name: anyText().Draw(t, "name"), UID: anyText().Draw(t, "uid"),
		}
	})
}

func anyRootCause() *rapid.Generator[incident.RootCause] {
	return rapid.Custom(func(t *rapid.T) incident.RootCause {
		rc := incident.RootCause{
			Summary:    anyText().Draw(t, "summary"),
			Severity:   anyOf(incident.SeverityCritical, incident.SeverityUnknown, "", "catastrophic").Draw(t, "severity"),
			SignalType: anyText().Draw(t, "signal"),
			Factors:    many(anyText(), 60).Draw(t, "factors"),
		}
		if rapid.Bool().Draw(t, "has target") {
			ref := anyRef().Draw(t, "target")
			rc.Target = &ref
		}
		return rc
	})
}

func anyAlternative() *rapid.Generator[incident.Alternative] {
	return rapid.Custom(func(t *rapid.T) incident.Alternative {
		return incident.Alternative{
			WorkflowID: anyText().Draw(t, "id"), ContainerImage: anyText().Draw(t, "image"),
			Confidence: anyNumber().Draw(t, "confidence"), Rationale: anyText().Draw(t, "rationale"),
		}
	})
}

func anyCandidate() *rapid.Generator[incident.Candidate] {
	return rapid.Custom(func(t *rapid.T) incident.Candidate {
		return incident.Candidate{
			WorkflowID: anyText().Draw(t, "id"), Title: anyText().Draw(t, "title"), Chosen: rapid.Bool().Draw(t, "chosen"),
			Score: anyNumber().Draw(t, "score"), Reason: anyText().Draw(t, "reason"),
		}
	})
}

func anyAttempt() *rapid.Generator[incident.ValidationAttempt] {
	return rapid.Custom(func(t *rapid.T) incident.ValidationAttempt {
		return incident.ValidationAttempt{
			Attempt: anyOf(-1, 0, 1, 3, 4, 1000).Draw(t, "attempt"), WorkflowID: anyText().Draw(t, "id"),
			Valid: rapid.Bool().Draw(t, "valid"), Errors: many(anyText(), 25).Draw(t, "errors"), At: anyTime().Draw(t, "at"),
		}
	})
}

func anyLink() *rapid.Generator[incident.Link] {
	return rapid.Custom(func(t *rapid.T) incident.Link {
		return incident.Link{
			Subject: anyRef().Draw(t, "subject"), Statement: anyText().Draw(t, "statement"),
			Evidence: many(anyText(), 40).Draw(t, "evidence"),
		}
	})
}

func anyEvidence() *rapid.Generator[incident.Evidence] {
	return rapid.Custom(func(t *rapid.T) incident.Evidence {
		return incident.Evidence{
			ID: anyText().Draw(t, "id"), Kind: anyOf(incident.EvidenceLog, "rumour", "").Draw(t, "kind"), Ref: anyRef().Draw(t, "ref"),
			ResourceVersion: anyText().Draw(t, "version"), Path: anyText().Draw(t, "path"), Value: anyText().Draw(t, "value"),
			Absent: rapid.Bool().Draw(t, "absent"), ObservedAt: anyTime().Draw(t, "at"), SHA256: anyText().Draw(t, "hash"),
		}
	})
}

func anyGap() *rapid.Generator[incident.Gap] {
	return rapid.Custom(func(t *rapid.T) incident.Gap {
		return incident.Gap{
			Kind: anyOf(incident.GapForbidden, incident.GapNotAsked, "lost", "").Draw(t, "kind"), What: anyText().Draw(t, "what"),
			Reason: anyText().Draw(t, "reason"), TouchesCause: rapid.Bool().Draw(t, "touches"),
		}
	})
}

func anyWorkflow() *rapid.Generator[incident.SelectedWorkflow] {
	return rapid.Custom(func(t *rapid.T) incident.SelectedWorkflow {
		wf := incident.SelectedWorkflow{
			ID: anyText().Draw(t, "id"), Title: anyText().Draw(t, "title"), Version: anyText().Draw(t, "version"),
			ContainerImage: anyText().Draw(t, "image"), ContainerDigest: anyText().Draw(t, "digest"),
			Confidence: anyNumber().Draw(t, "confidence"), Rationale: anyText().Draw(t, "rationale"),
		}
		if n := anyOf(0, 1, 64, 65).Draw(t, "parameters"); n > 0 {
			value := anyText().Draw(t, "value")
			wf.Parameters = make(map[string]string, n)
			for i := range n {
				wf.Parameters[string(rune('A'+i))] = value
			}
		}
		return wf
	})
}
