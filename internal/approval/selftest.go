package approval

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"kubernaut.ai/kubernaut/internal/incident"
)

// selfTest runs a policy on known inputs and refuses it when it approves by itself what no policy
// may, or when it fails on a complete input and would ask a person for everything.
func (p *policy) selfTest(ctx context.Context, timeout time.Duration) error {
	harmless := knownInput()
	production := knownInput()
	production.Environment = "production"
	production.TargetInOwnerChain = new(bool)
	tests := []struct {
		what     string
		input    ast.Value
		complete bool // it must not fail
		person   bool // a person must be asked
	}{
		{what: "an empty input", input: ast.NewObject(), person: true},
		{what: "an input of nulls", input: nulls(), person: true},
		{what: "an input without values", input: Input{}.document(), person: true},
		{what: "production with an unvalidated target", input: production.document(), complete: true, person: true},
		{what: "staging with a validated target", input: harmless.document(), complete: true},
	}
	refuse := func(r Refusal, format string, args ...any) error {
		return &PolicyError{Refusal: r, File: p.file, Rule: requireApproval, Err: fmt.Errorf(format, args...)}
	}
	for _, tt := range tests {
		out, err := p.run(ctx, tt.input, max(timeout, selfTestTimeout))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if tooLong := (errTooLong{}); err != nil && (tt.complete || errors.As(err, &tooLong)) {
			message, line := failure(err)
			return &PolicyError{
				Refusal: Failing, File: p.file, Line: line, Rule: ruleAt(p.module, line),
				Err: fmt.Errorf("fails for %s: %s", tt.what, message),
			}
		}
		if err != nil {
			continue // asks a person
		}
		required, problem := boolean(out.required)
		if problem != "" && out.required != nil && tt.complete {
			return refuse(WrongType, "%s for %s", problem, tt.what)
		}
		if !required && tt.person {
			return refuse(FailsOpen, "is false for %s, so that remediation would run by itself; "+
				"make true its default and false depend on conditions that must be met", tt.what)
		}
	}
	return nil
}

// selfTestTimeout is generous: a machine that is busy while a policy is loaded is no reason to
// refuse it.
const selfTestTimeout = time.Second

// knownInput is a complete input of a harmless kind.
func knownInput() Input {
	confidence, inChain := 0.95, true
	return Input{
		SignalType:         "OOMKilled",
		Severity:           "warning",
		Environment:        "staging",
		BusinessPriority:   "P2",
		TargetResource:     incident.Ref{Kind: "Deployment", Name: "api", Namespace: "shop"},
		DetectedLabels:     &incident.DetectedLabels{},
		Confidence:         &confidence,
		TargetInOwnerChain: &inChain,
		WorkflowID:         "restart",
		RootCauseSeverity:  incident.SeverityMedium,
	}
}

// nulls is an input document in which every key is null.
func nulls() ast.Value {
	keys := Input{}.document().(ast.Object).Keys()
	pairs := make([][2]*ast.Term, len(keys))
	for i, key := range keys {
		pairs[i] = [2]*ast.Term{key, ast.InternedNullTerm}
	}
	return ast.NewObject(pairs...)
}
