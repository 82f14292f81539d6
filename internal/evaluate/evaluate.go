// Package evaluate measures what a language model adds to the engine: it puts scenarios, of which the right answer is
// known, to both, several times if wanted, and counts side by side how often each is right, whether its words rest on
// evidence, whether its confidence can be believed, how far its answers vary, and what they cost.
//
// It runs the same steps as an investigation (diagnosis, choice of a workflow, refinement), without what stores and
// records, and the model sees of a cluster what the scenario holds.
package evaluate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/investigate"
	"kubernaut.ai/kubernaut/internal/reason"
)

// Subject is a scenario that is put to the engine and the model.
type Subject struct {
	Set string // for people
	*scenario.Scenario
}

// Options say what Run does. Subjects and Catalog are required.
type Options struct {
	Subjects []Subject
	Catalog  investigate.Catalog
	Reasoner investigate.Reasoner // nil measures the engine alone
	Runs     int                  // of each subject; less than 1 is 1
	Parallel int                  // subjects at once; less than 1 is 1
	Clock    func() time.Time     // nil: time.Now
	// Done is told after each run, from one goroutine at a time; nil: nobody is.
	Done func(finished, all int)
}

// Trial is one subject put once to the engine, and to the model where there is one.
type Trial struct {
	Set    string          `json:"set"`
	Name   string          `json:"name"`
	Run    int             `json:"run"` // from 1
	Want   scenario.Answer `json:"want"`
	Engine scenario.Answer `json:"engine"`
	// EngineTook is the time of the diagnosis and of the choice of a workflow.
	EngineTook time.Duration `json:"engineTookNanoseconds"`
	Model      *Opinion      `json:"model,omitempty"`
}

// Opinion is what a model makes of a trial.
type Opinion struct {
	// Answer is what the user gets: the engine's finding, with the confidence that the model leaves of it.
	Answer scenario.Answer `json:"answer"`
	// Held is what the model itself takes for the answer; nil where it has no opinion that counts. Its Confidence is
	// that in the explanation.
	Held      *scenario.Answer    `json:"held,omitempty"`
	Stance    incident.Stance     `json:"stance"`
	Workflow  string              `json:"workflow,omitempty"` // that it prefers to the first; an id
	Review    bool                `json:"review,omitempty"`
	Sentences int                 `json:"sentences"` // that it was let to say
	Supported int                 `json:"supported"` // of these
	Dropped   int                 `json:"dropped,omitempty"`
	Stopped   string              `json:"stopped,omitempty"`
	Failure   string              `json:"failure,omitempty"` // why there is no answer of it
	Usage     incident.ModelUsage `json:"usage"`
	Took      time.Duration       `json:"tookNanoseconds"`
}

// Run puts every subject to the engine and the model, Runs times, and returns the trials, ordered by subject and run,
// whatever Parallel is. It errs when a subject cannot be read, with the errors of the engine and the catalog, and
// when ctx ends. A model that fails is no error but a result.
func Run(ctx context.Context, o Options) ([]Trial, error) {
	runs, clock := max(o.Runs, 1), o.Clock
	if clock == nil {
		clock = time.Now
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	trials := make([]Trial, len(o.Subjects)*runs)
	next := make(chan int)
	var workers sync.WaitGroup
	var mu sync.Mutex
	finished := 0
	for range max(o.Parallel, 1) {
		workers.Go(func() {
			for i := range next {
				t, err := try(ctx, o, o.Subjects[i/runs], clock)
				if err != nil {
					cancel(err)
					continue
				}
				t.Run = i%runs + 1
				mu.Lock()
				trials[i] = t
				finished++
				if o.Done != nil {
					o.Done(finished, len(trials))
				}
				mu.Unlock()
			}
		})
	}
feed:
	for i := range trials {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return trials, nil
}

// try puts a subject to the engine and the model once.
func try(ctx context.Context, o Options, s Subject, clock func() time.Time) (Trial, error) {
	t := Trial{Set: s.Set, Name: s.Name, Want: s.Want()}
	snapshot, err := s.Snapshot(scenario.Variant{})
	if err != nil {
		return t, fmt.Errorf("%s/%s: %w", s.Set, s.Name, err)
	}
	in := s.Input()
	began := clock()
	result, err := investigate.Diagnose(snapshot, in)
	if err != nil {
		return t, fmt.Errorf("%s/%s: %w", s.Set, s.Name, err)
	}
	chosen, err := investigate.Choose(ctx, o.Catalog, snapshot, result, &in, snapshot.ObservedAt())
	if err != nil {
		return t, fmt.Errorf("%s/%s: %w", s.Set, s.Name, err)
	}
	t.EngineTook = clock().Sub(began)
	t.Engine = scenario.AnswerOf(result)
	if o.Reasoner == nil {
		return t, nil
	}
	c := reason.Case{Incident: in, Snapshot: snapshot, Result: result, Candidates: chosen.Candidates}
	for _, w := range chosen.Options {
		c.Options = append(c.Options, reason.Option{Workflow: w.Selected, Risk: w.Risk, MadeFor: w.MadeFor})
	}
	began = clock()
	out := o.Reasoner.Refine(ctx, c)
	t.Model = opinionOf(out, t.Engine)
	t.Model.Took = clock().Sub(began)
	return t, ctx.Err()
}

func opinionOf(out reason.Outcome, engine scenario.Answer) *Opinion {
	o := &Opinion{
		Answer: engine, Held: held(out, engine), Stance: out.Stance, Workflow: out.Choice, Review: out.Review,
		Sentences: len(out.Explanation), Dropped: out.Dropped, Stopped: out.Stopped, Usage: out.Usage,
	}
	o.Answer.Confidence *= min(max(out.Factor, 0), 1)
	for _, c := range out.Explanation {
		if c.Supported {
			o.Supported++
		}
	}
	if out.Err != nil {
		o.Failure = string(incident.KindOf(out.Err))
	}
	return o
}

// held is what a model takes for the answer, where its opinion counts.
func held(out reason.Outcome, engine scenario.Answer) *scenario.Answer {
	a := scenario.Answer{Confidence: out.Confidence}
	switch out.Stance {
	case incident.StanceAgrees:
		a.Verdict, a.Class, a.Target = engine.Verdict, engine.Class, engine.Target
	case incident.StanceDisagrees, incident.StanceSuggests:
		switch out.Cause {
		case string(diagnose.VerdictHealthy):
			a.Verdict = diagnose.VerdictHealthy
		case undecided:
			a.Verdict = diagnose.VerdictUndecidable
		default:
			a.Verdict, a.Class, a.Target = diagnose.VerdictCause, out.Cause, out.Target
		}
	default:
		return nil
	}
	return &a
}

// undecided is the verdict of a model that names no cause.
const undecided = "undecided"
