package controller

import (
	"context"
	"fmt"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/approval"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Evaluator decides whether a workflow needs a person's approval. *approval.Evaluator is one.
type Evaluator interface {
	Evaluate(ctx context.Context, in approval.Input) (incident.Decision, error)
	// Status tells which policy is in force, and why that is not the one in the file.
	Status() approval.Status
}

// evaluate asks the policy. A policy that does not answer in time gave no answer: a person must
// approve. The error is that of ctx.
func (r *Reconciler) evaluate(ctx context.Context, a *v1alpha1.AIAnalysis) (*verdict, error) {
	limit := r.settings.timeoutsFor(&a.Spec).analyzing
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	begin := r.clock()
	d, err := r.evaluator.Evaluate(bounded, policyInput(a))
	policy := r.evaluator.Status()
	v := &verdict{decision: d, err: err, stale: policy.Err, took: r.clock().Sub(begin)}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case bounded.Err() != nil:
		v.err = nil
		v.decision = incident.Decision{
			ApprovalRequired: true,
			Degraded:         true,
			Reason:           fmt.Sprintf("The approval policy did not answer within %s, so a person must approve.", limit),
			PolicyName:       approval.PolicyName,
			PolicyHash:       policy.Hash,
		}
	}
	return v, nil
}
