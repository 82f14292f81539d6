package evaluate

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Report is what trials come to.
type Report struct {
	Scenarios int `json:"scenarios"`
	Runs      int `json:"runs"` // of each
	// Engine is the answer without a model, and Model the one with it: what the user gets of each.
	Engine Score   `json:"engine"`
	Model  *Asked  `json:"model,omitempty"`
	Trials []Trial `json:"trials"`
}

// Score counts answers.
type Score struct {
	Answers int `json:"answers"`
	Class   int `json:"class"` // verdict and class right
	Right   int `json:"right"` // and target
	// FalseCauses counts causes that are named where nothing is wrong.
	FalseCauses int `json:"falseCauses"`
	// Varying counts the scenarios whose answers differ between runs.
	Varying int `json:"varying"`
	// Causes is how far the confidence in a cause can be believed, Healthy that in that nothing is wrong.
	Causes  scenario.Reliability `json:"causes"`
	Healthy scenario.Reliability `json:"healthy"`
	Median  time.Duration        `json:"medianNanoseconds"`
	Longest time.Duration        `json:"longestNanoseconds"`
}

// Asked counts what a model made of the trials. Its Score is of what the user gets; a model moves no finding, so that
// only confidence, spread and time can differ from the engine's. What the model itself holds is in Held.
type Asked struct {
	Score
	// Held counts the model's own opinions that count.
	Held Score `json:"held"`
	// Helped counts opinions that are right where the engine is wrong, Misled those that are wrong where it is right.
	Helped  int                     `json:"helped"`
	Misled  int                     `json:"misled"`
	Stances map[incident.Stance]int `json:"stances"`
	// Stopped counts by limit what ended early, Failures by kind of error what gave no answer.
	Stopped  map[string]int `json:"stopped,omitempty"`
	Failures map[string]int `json:"failures,omitempty"`
	// Sentences are all that the model submitted; Supported those that evidence carries, Dropped those that were not
	// its to say. The others are shown as hypotheses.
	Sentences int                 `json:"sentences"`
	Supported int                 `json:"supported"`
	Dropped   int                 `json:"dropped"`
	Choices   int                 `json:"choices"` // another workflow is preferred
	Reviews   int                 `json:"reviews"` // a person must look because of the model
	Usage     incident.ModelUsage `json:"usage"`   // of all; DurationMS too
	// MedianTokens and MostTokens are those of one answer, in and out.
	MedianTokens int     `json:"medianTokens"`
	MostTokens   int     `json:"mostTokens"`
	MostCost     float64 `json:"mostCostUSD"`
}

// Grounding is the share of the model's sentences that evidence carries; 0 without any.
func (a Asked) Grounding() float64 { return share(a.Supported, a.Sentences) }

func share(part, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(part) / float64(of)
}

// ReportOf counts trials.
func ReportOf(trials []Trial) Report {
	r := Report{Trials: trials}
	var engine, got, opinions tally
	var asked Asked
	var tokens []int
	asked.Stances, asked.Stopped, asked.Failures = map[incident.Stance]int{}, map[string]int{}, map[string]int{}
	for _, t := range trials {
		r.Runs = max(r.Runs, t.Run)
		engine.add(t, t.Engine, t.EngineTook, "")
		m := t.Model
		if m == nil {
			continue
		}
		got.add(t, m.Answer, m.Took+t.EngineTook, m.key())
		if m.Held != nil {
			opinions.add(t, *m.Held, m.Took, m.key())
			before, now := t.Want.Right(t.Engine), t.Want.Right(*m.Held)
			asked.Helped += one(now && !before)
			asked.Misled += one(before && !now)
		}
		asked.count(*m)
		tokens = append(tokens, m.Usage.InputTokens+m.Usage.OutputTokens)
	}
	r.Engine, r.Scenarios = engine.score(), len(engine.answers)
	if len(tokens) == 0 {
		return r
	}
	slices.Sort(tokens)
	asked.MedianTokens, asked.MostTokens = tokens[len(tokens)/2], tokens[len(tokens)-1]
	asked.Score, asked.Held = got.score(), opinions.score()
	r.Model = &asked
	return r
}

// key tells apart what a model says in words of its own from what it says otherwise.
func (o Opinion) key() string {
	key := string(o.Stance) + " " + o.Workflow
	if o.Held != nil {
		key += " " + o.Held.String()
	}
	return key
}

func (a *Asked) count(o Opinion) {
	a.Stances[o.Stance]++
	if o.Stopped != "" {
		a.Stopped[o.Stopped]++
	}
	if o.Failure != "" {
		a.Failures[o.Failure]++
	}
	a.Sentences += o.Sentences + o.Dropped
	a.Supported += o.Supported
	a.Dropped += o.Dropped
	a.Choices += one(o.Workflow != "")
	a.Reviews += one(o.Review)
	a.MostCost = max(a.MostCost, o.Usage.Cost)
	u := &a.Usage
	u.Turns += o.Usage.Turns
	u.ToolCalls += o.Usage.ToolCalls
	u.InputTokens += o.Usage.InputTokens
	u.CachedTokens += o.Usage.CachedTokens
	u.OutputTokens += o.Usage.OutputTokens
	u.Cost += o.Usage.Cost
	u.DurationMS += o.Usage.DurationMS
	u.Estimated = u.Estimated || o.Usage.Estimated
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// tally collects answers.
type tally struct {
	s               Score
	causes, healthy []scenario.Claim
	took            []time.Duration
	answers         map[string][]string // different ones, by scenario
}

func (c *tally) add(t Trial, got scenario.Answer, took time.Duration, key string) {
	right := t.Want.Right(got)
	c.s.Answers++
	c.s.Class += one(t.Want.SameClass(got))
	c.s.Right += one(right)
	c.s.FalseCauses += one(t.Want.Verdict == diagnose.VerdictHealthy && got.Verdict == diagnose.VerdictCause)
	claim := scenario.Claim{Confidence: got.Confidence, Right: right}
	switch got.Verdict {
	case diagnose.VerdictCause:
		c.causes = append(c.causes, claim)
	case diagnose.VerdictHealthy:
		c.healthy = append(c.healthy, claim)
	}
	c.took = append(c.took, took)
	if c.answers == nil {
		c.answers = map[string][]string{}
	}
	name, answer := t.Set+"/"+t.Name, got.String()+" "+key
	if !slices.Contains(c.answers[name], answer) {
		c.answers[name] = append(c.answers[name], answer)
	}
}

func (c *tally) score() Score {
	s := c.s
	s.Causes, s.Healthy = scenario.Reliable(c.causes), scenario.Reliable(c.healthy)
	for _, different := range c.answers {
		s.Varying += one(len(different) > 1)
	}
	if slices.Sort(c.took); len(c.took) > 0 {
		s.Median, s.Longest = c.took[len(c.took)/2], c.took[len(c.took)-1]
	}
	return s
}

// Differing returns the trials of which a model holds something else than the engine found, those where it is
// right first.
func (r Report) Differing() []Trial {
	out := slices.DeleteFunc(slices.Clone(r.Trials), func(t Trial) bool {
		return t.Model == nil || t.Model.Held == nil || t.Model.Stance == incident.StanceAgrees
	})
	slices.SortStableFunc(out, func(a, b Trial) int {
		return cmp.Compare(one(b.Want.Right(*b.Model.Held)), one(a.Want.Right(*a.Model.Held)))
	})
	return out
}

// stances are all, in the order in which they are printed.
func stances() []incident.Stance {
	return []incident.Stance{
		incident.StanceAgrees, incident.StanceDisagrees, incident.StanceSuggests, incident.StanceSilent, incident.StanceDiscarded, incident.StanceAbsent,
	}
}

func sortedKeys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }
