package plan

import (
	"context"
	"time"
)

// Plan is what a run does for a cluster.
type Plan struct {
	// Suite and Cluster name what is tested and where.
	Suite, Cluster string
	// Phases are run by their order in After; the order of the list is that of the report.
	Phases []Phase
}

// Phase is one step of a plan.
type Phase struct {
	// Name is a word, unique in the plan.
	Name string
	// After are the phases that must have succeeded before; phases without a path between them run side by side.
	After []string
	// Inputs returns a digest of everything the outcome depends on. Nil: the phase has no checkpoint and always runs.
	Inputs func(ctx context.Context) (string, error)
	// Verify checks that what an earlier run of this phase claims still holds; an error says what does not. Nil, with
	// Inputs set: an equal digest is enough.
	Verify func(ctx context.Context, f *Facts) error
	// Run does it. It returns when ctx ends.
	Run func(ctx context.Context, t *Task) error
	// Deadline is how long it may take, Stall how long it may go without a word. Zero: without limit.
	Deadline, Stall time.Duration
	// Finally says that it runs whatever happened before, under a context that outlives an interrupt.
	Finally bool
}
