package reason

import (
	"fmt"
	"slices"

	"kubernaut.ai/kubernaut/internal/incident"
)

// outcome puts together what the investigation came to.
func (s *session) outcome() Outcome {
	out := Outcome{
		Reasoning: incident.Reasoning{
			Provider: s.r.o.Provider, Model: s.model, PromptHash: s.r.prompts.hash, Stance: incident.StanceAbsent, Stopped: s.stopped,
			Confidence: s.c.Result.Confidence, Usage: s.meter.total, Suspicions: s.watch.found,
		},
		Factor: 1, Attempts: s.attempts, Extended: s.view.Extended(), Err: s.err,
		Transcript: Transcript{
			Format: transcriptFormat, Provider: s.r.o.Provider, Model: s.model, PromptHash: s.r.prompts.hash, System: s.r.prompts.system, Entries: s.entries,
		},
	}
	suspicious := len(s.watch.found) > 0
	switch {
	case s.accepted != nil:
		s.apply(&out, s.gate.weigh(*s.accepted, suspicious))
	case s.partial != nil:
		// What was never accepted explains, as far as evidence supports it, and moves nothing.
		o := s.gate.weigh(*s.partial, suspicious)
		out.Explanation = slices.DeleteFunc(o.explanation, func(c incident.Claim) bool { return !c.Supported })
		out.Dropped = o.dropped + len(o.explanation) - len(out.Explanation)
		if len(out.Explanation) > 0 {
			out.Stance = incident.StanceSilent
		}
	}
	if suspicious {
		if out.Stance != incident.StanceAbsent {
			out.Stance = incident.StanceDiscarded
		}
		out.Explanation, out.Cause, out.Target = nil, "", ""
	}
	out.Evidence = s.cited(out.Explanation)
	out.warn()
	return out
}

func (s *session) apply(out *Outcome, o opinion) {
	out.Stance, out.Explanation, out.Dropped = o.stance, o.explanation, o.dropped
	out.Cause, out.Target, out.Confidence = o.cause, o.target, o.confidence
	out.Factor, out.Review, out.Choice = o.factor, o.review, o.choice
	if o.noneSuits {
		out.Warnings = append(out.Warnings, "The model agrees with the cause, and holds that no workflow that was offered suits; a person must look.")
	}
}

// cited returns the evidence of an explanation that is not the engine's.
func (s *session) cited(explanation []incident.Claim) []incident.Evidence {
	var out []incident.Evidence
	for _, e := range s.ledger.Beyond(s.engine) {
		if slices.ContainsFunc(explanation, func(c incident.Claim) bool { return slices.Contains(c.Evidence, e.ID) }) {
			out = append(out, e)
		}
	}
	return out
}

// warn says for people what they must know about the model's part: one warning for each thing that went
// wrong.
func (o *Outcome) warn() {
	add := func(format string, args ...any) { o.Warnings = append(o.Warnings, fmt.Sprintf(format, args...)) }
	if n := len(o.Suspicions); n > 0 {
		first := o.Suspicions[0]
		add("Text in what was read tries to give orders to its reader (%s: %s%s). It was not followed, and the model's opinion was not counted.",
			first.Place, first.Rule, more(n-1))
	}
	switch o.Stance {
	case incident.StanceAbsent:
		why := o.Stopped
		if why == "" {
			why = reasonOf(o.Err)
		}
		add("The model gave no diagnosis (%s): this is the finding without it.", why)
	case incident.StanceSilent:
		if o.Stopped != "" {
			add("The model was stopped (%s): this is the finding without its opinion, with what evidence supports of its explanation.", o.Stopped)
		} else {
			add("What the model says is not carried by what components recorded: it does not count.")
		}
	case incident.StanceDisagrees:
		add("The model disagrees: it holds the cause to be %s. The engine's finding stands, with less confidence.", o.held())
	case incident.StanceSuggests:
		add("The engine did not decide; the model suggests %s.", o.held())
	}
}

func (o *Outcome) held() string {
	if o.Target != "" {
		return o.Cause + " (" + o.Target + ")"
	}
	return o.Cause
}

func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; and %d more places", n)
}

// reasonOf says in our words why the model gave nothing.
func reasonOf(err error) string {
	switch incident.KindOf(err) {
	case incident.KindRateLimited:
		return "its provider limits the rate"
	case incident.KindTimeout:
		return "it did not answer in time"
	case incident.KindTooLarge:
		return "the conversation is too long for it"
	case incident.KindUnauthorized:
		return "its provider does not accept the key"
	case incident.KindForbidden:
		return "it declined, or may not be used"
	case incident.KindNetwork, incident.KindUnavailable:
		return "it cannot be reached"
	case incident.KindMalformed:
		return "its answer could not be read"
	case incident.KindInvalid:
		return "its provider calls the request wrong"
	}
	return "it failed"
}
