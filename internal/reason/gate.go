package reason

import (
	"math"
	"slices"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// opinion is what a submission comes to.
type opinion struct {
	stance      incident.Stance
	explanation []incident.Claim
	dropped     int
	cause       string // where it is not the engine's
	target      string
	// factor is what the engine's confidence is multiplied by: at most 1.
	factor float64
	// confidence is that in the explanation.
	confidence float64
	review     bool
	choice     string // a workflow other than the first; empty when the first stays
	noneSuits  bool
}

// Numbers of the gate.
const (
	// raise is the part of what is missing to sure that a model which agrees adds at most, to the confidence
	// in the explanation.
	raise = 0.3
	// doubt is what a model that disagrees takes from the confidence at most; half as much without a cause of its own.
	doubt = 0.3
	// disputed is the share of recorded claims from which a model that disagrees has a person asked.
	disputed = 0.5
	// surest is the confidence that no explanation exceeds.
	surest = 0.97
)

// gate weighs submissions of one case.
type gate struct {
	c      Case
	snap   *diagnose.Snapshot // with what was read live
	ledger *Ledger
	stated []statement // what the engine and the tools conclude
}

// weigh resolves every sentence of a submission, and holds what is left against the engine.
func (g *gate) weigh(sub Submission, suspicious bool) opinion {
	o := opinion{factor: 1, confidence: g.c.Result.Confidence, stance: incident.StanceSilent}
	supported, recorded := 0, 0
	var cited []incident.Evidence // recorded, of supported claims
	for _, s := range sub.Cause {
		claim, drop, evidence := g.claim(s)
		if drop {
			o.dropped++
			continue
		}
		o.explanation = append(o.explanation, claim)
		if !claim.Supported {
			continue
		}
		supported++
		if len(evidence) > 0 {
			recorded++
			cited = append(cited, evidence...)
		}
	}
	share := 0.0
	if len(sub.Cause) > 0 {
		share = float64(recorded) / float64(len(sub.Cause))
	}
	o.cause, o.target = g.differs(sub)
	switch {
	case suspicious:
		o.stance = incident.StanceDiscarded
		return o
	case supported == 0:
		return o
	case g.same(sub):
		o.stance = incident.StanceAgrees
		if c := o.confidence; c > 0 && c < surest {
			o.confidence = round(c + raise*(surest-c)*share)
		}
		g.choose(sub, share, &o)
		return o
	case recorded == 0 || !g.grounded(sub, cited):
		return o
	case g.c.Result.Verdict == diagnose.VerdictUndecidable:
		o.stance = incident.StanceSuggests // a person is asked already
		return o
	}
	o.stance = incident.StanceDisagrees
	weight := doubt
	if sub.Verdict != string(diagnose.VerdictCause) {
		weight /= 2
	}
	o.factor = 1 - weight*share
	o.confidence = round(o.confidence * o.factor)
	o.review = share >= disputed
	return o
}

// same reports whether a submission says what the engine says.
func (g *gate) same(sub Submission) bool {
	switch g.c.Result.Verdict {
	case diagnose.VerdictCause:
		return sub.Candidate == "c1"
	case diagnose.VerdictHealthy:
		return sub.Verdict == string(diagnose.VerdictHealthy)
	}
	return sub.Verdict == "undecided"
}

// differs says which cause and target a submission names instead of the engine's.
func (g *gate) differs(sub Submission) (cause, target string) {
	if g.same(sub) {
		return "", ""
	}
	if sub.Candidate == choiceOther {
		return choiceOther, Visible(clip(sub.Target, 300))
	}
	for _, c := range candidates(g.c.Result) {
		if c.id == sub.Candidate {
			return string(c.cause.Class), c.cause.Target.String()
		}
	}
	return sub.Verdict, ""
}

// grounded reports whether what a submission blames is in what it cites: of another candidate of the engine's
// an object of its chain, of an object of its own that object. A submission without a cause needs none.
func (g *gate) grounded(sub Submission, cited []incident.Evidence) bool {
	if sub.Verdict != string(diagnose.VerdictCause) {
		return true
	}
	var blamed []incident.Ref
	if sub.Candidate == choiceOther {
		blamed = []incident.Ref{refOf(sub.Target)}
	}
	for _, c := range candidates(g.c.Result) {
		if c.id == sub.Candidate {
			blamed = append(blamed, c.cause.Target)
			for _, l := range c.cause.Chain {
				blamed = append(blamed, l.Subject)
			}
		}
	}
	return slices.ContainsFunc(cited, func(e incident.Evidence) bool { return slices.ContainsFunc(blamed, e.Ref.Same) })
}

// choose takes the model's choice of a workflow where it is as safe as the first: made for the cause when that
// is, and with no greater risk.
func (g *gate) choose(sub Submission, share float64, o *opinion) {
	options := g.c.Options
	if len(options) == 0 || share < disputed {
		return
	}
	if sub.Workflow == choiceNone {
		o.noneSuits, o.review = true, true
		return
	}
	first := options[0]
	for _, other := range options[1:] {
		if other.Workflow.ID == sub.Workflow && (other.MadeFor || !first.MadeFor) && riskOf(other) <= riskOf(first) {
			o.choice = sub.Workflow
		}
	}
}

func riskOf(o Option) int {
	switch o.Risk {
	case "low":
		return 0
	case "medium":
		return 1
	}
	return 2
}

// round keeps three decimals, as the engine does.
func round(f float64) float64 { return math.Round(f*1000) / 1000 }

// claim resolves one sentence. recorded is the evidence of a supported one that is not written text.
func (g *gate) claim(s Sentence) (c incident.Claim, drop bool, recorded []incident.Evidence) {
	c.Text = Visible(s.Text)
	if notToSay(c.Text) {
		return c, true, nil
	}
	var evidence []incident.Evidence
	for _, id := range s.Evidence {
		e, ok := g.ledger.Find(id)
		if ok && !slices.Contains(c.Evidence, id) && diagnose.Verify(g.snap, []incident.Evidence{e}) == nil {
			c.Evidence = append(c.Evidence, id)
			evidence = append(evidence, e)
		}
	}
	if len(evidence) == 0 {
		c.Why = "it cites no evidence that holds"
		return c, false, nil
	}
	if c.Why = g.lacks(c.Text, evidence); c.Why != "" {
		return c, false, nil
	}
	c.Supported = true
	for _, e := range evidence {
		if diagnose.Recorded(e) {
			recorded = append(recorded, e)
		}
	}
	if g.lacks(c.Text, recorded) != "" { // text carries it, and something recorded stands beside it
		recorded = nil
	}
	return c, false, recorded
}
