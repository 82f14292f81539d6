package plan

import (
	"context"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// Unit is the smallest thing that is retried: one image on one node, one build, one apply.
type Unit struct {
	// Do does it; attempt counts from 1. What runs under ctx counts as progress when it speaks.
	Do func(ctx context.Context, attempt int) error
	// Evidence saves into dir what shows why an attempt failed. It runs after every failed attempt, before anything is cleaned.
	Evidence func(ctx context.Context, dir string)
	// Cleanup does what the finding's remedy says before a retry, and says whether it changed something that can be
	// measured: without that, what is stale or used up is not retried. It does not run when no retry is allowed.
	Cleanup func(ctx context.Context, f failure.Finding) (changed bool, err error)
	// Deadline is how long one attempt may take, Stall how long it may go without a word. Zero: without limit.
	Deadline, Stall time.Duration
}

// NamedUnit is a unit of several in a phase.
type NamedUnit struct {
	Name string
	Unit
}
