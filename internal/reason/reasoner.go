package reason

import (
	"context"
	"slices"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Options configure a Reasoner. Model, Provider and Name are required.
type Options struct {
	Model    Model
	Provider string // as configured, for people and metrics
	Name     string // the model's
	Tools    Registry
	Budget   Budget
	Prices   Prices

	Catalog Catalog // nil: the tools know no more of workflows than the case
	History History // nil: there are no earlier analyses
	Live    Live    // nil: nothing is read beyond the snapshot

	// Redact replaces secrets in the text of an incident, which no snapshot has redacted; nil leaves it.
	Redact func(text string) string
	Watch  Watch
	Clock  func() time.Time
}

// Reasoner asks one model about cases. It is safe for concurrent use.
type Reasoner struct {
	o       Options
	prompts prompts
}

// New makes a Reasoner. Errors are *incident.Error of KindInvalid.
func New(o Options) (*Reasoner, error) {
	if o.Model == nil || o.Provider == "" || o.Name == "" {
		return nil, incident.Errorf(incident.KindInvalid, "new reasoner", "Model, Provider and Name are required")
	}
	for _, price := range []float64{o.Prices.Input, o.Prices.Cached, o.Prices.Output} {
		if !(price >= 0) {
			return nil, incident.Errorf(incident.KindInvalid, "new reasoner", "a price is negative")
		}
	}
	var err error
	if o.Budget, err = o.Budget.WithDefaults(); err != nil {
		return nil, err
	}
	if o.Redact == nil {
		o.Redact = func(text string) string { return text }
	}
	if o.Watch == nil {
		o.Watch = func(context.Context, Progress) {}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	var definitions []Definition
	for _, t := range o.Tools.tools {
		definitions = append(definitions, t.Definition)
	}
	p, err := readPrompts(definitions)
	if err != nil {
		return nil, incident.Errorf(incident.KindInternal, "new reasoner", "%w", err)
	}
	return &Reasoner{o, p}, nil
}

// Outcome is what a model's investigation comes to. The zero Factor does not occur: without an opinion that
// counts it is 1.
type Outcome struct {
	incident.Reasoning
	// Choice is a workflow of the case's options that is to be taken instead of the first; empty when the
	// first stays. It is made for the cause if the first is, and its risk is no greater.
	Choice string
	// Factor is what the confidence in the finding is to be multiplied by: at most 1.
	Factor float64
	// Review is set when a person must look; Warnings say why, for people.
	Review   bool
	Warnings []string
	// Evidence is what the explanation cites and the engine does not.
	Evidence []incident.Evidence
	// Attempts are the submissions, each with its faults.
	Attempts []incident.ValidationAttempt
	// Transcript is all that was said.
	Transcript Transcript
	// Extended is the snapshot with what was read live; nil when nothing was.
	Extended *diagnose.Snapshot
	// Err is why there is no opinion; nil when there is one.
	Err error
}

// Refine asks the model about a case and weighs what it answers. It never fails: whatever happens, the
// outcome leaves the deterministic finding standing, and says so. It returns when the model is done, when a
// limit of the budget is reached, or soon after ctx ended; nothing that it started is left running then.
func (r *Reasoner) Refine(ctx context.Context, c Case) Outcome {
	began := r.o.Clock()
	ctx, cancel := context.WithTimeout(ctx, r.o.Budget.WallClock)
	defer cancel()
	s := newSession(r, c)
	s.progress(ctx, Progress{Kind: ProgressStarted})
	s.run(ctx)
	out := s.outcome()
	out.Usage.DurationMS = max(r.o.Clock().Sub(began).Milliseconds(), 0)
	s.progress(ctx, Progress{Kind: ProgressFinished, Detail: string(out.Stance)})
	return out
}

// Replay weighs a recorded investigation again, without its model: the recorded answers are played to
// the same tools and the same gate. It errs with KindMalformed when the transcript is of another format.
// The outcome differs from the recorded one where the case, the tools or the gate do.
func (r *Reasoner) Replay(ctx context.Context, t Transcript, c Case) (Outcome, error) {
	if t.Format != transcriptFormat {
		return Outcome{}, incident.Errorf(incident.KindMalformed, "replay a transcript", "format is %q, this program reads %q", t.Format, transcriptFormat)
	}
	again := *r
	again.o.Model, again.o.Provider, again.o.Name = newPlayed(t), t.Provider, t.Model
	again.o.Budget.WallClock = max(again.o.Budget.WallClock, time.Minute)
	return again.Refine(ctx, c), nil
}

// played answers as a transcript does, turn by turn.
type played struct {
	answers chan Entry
}

func newPlayed(t Transcript) *played {
	answers := slices.DeleteFunc(slices.Clone(t.Entries), func(e Entry) bool { return e.Response == nil && e.Error == "" })
	p := &played{make(chan Entry, len(answers))}
	for _, e := range answers {
		p.answers <- e
	}
	return p
}

// Turn implements Model.
func (p *played) Turn(ctx context.Context, _ Request) (Response, error) {
	select {
	case e := <-p.answers:
		if e.Response == nil {
			return Response{}, incident.Errorf(incident.KindUnavailable, "replay a transcript", "the model gave no answer here: %s", e.Error)
		}
		return *e.Response, ctx.Err()
	default:
		return Response{}, incident.Errorf(incident.KindUnavailable, "replay a transcript", "the transcript ends here")
	}
}
