package plan

import (
	"io"
	"log/slog"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// Options are how to run a plan. The zero value of each field works, except that Dir must be given.
type Options struct {
	// Dir is the cluster's directory: it gets state.json and runs/<run id>/.
	Dir string
	// RunID names the run; empty: NewRunID makes one.
	RunID string
	// Out gets a line for each event, Observe the events themselves, one at a time. Nil: nothing is told.
	Out     io.Writer
	Observe func(Event)
	// Clock tells the time for the report; nil: time.Now.
	Clock func() time.Time
	// CPU tells how much processor time this process has used, its children's not counted; nil: it is not measured.
	CPU func() time.Duration
	// Probes decide between the causes of one text; nil: none are asked.
	Probes failure.Probes
	// Budget is how many retries a run may have in all; zero: 5, negative: none.
	Budget int
	// Resume takes over from the checkpoint what still holds.
	Resume bool
	// Only runs one phase, and verifies those before it; Until ends after one. Those that run finally then do so only if not
	// all succeeded. Empty: all phases run.
	Only, Until string
	// Logger gets what nobody else would hear of, such as a checkpoint that cannot be read; nil: nothing.
	Logger *slog.Logger
	// OnInterrupt is called once when the context ends, before the phases that run are waited for.
	OnInterrupt func()
	// Abort, when closed, ends the phases that run finally, too.
	Abort <-chan struct{}
}
