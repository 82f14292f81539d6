// Package scenarios measures the diagnosis engine on faulted clusters that are kept as data: how often it names the
// cause that was written down before it ran, whether names show, what is left without events, what it blames where
// nothing is wrong, how long it takes, and how far its confidence can be believed.
package scenarios

import (
	"fmt"
	"io/fs"
	"slices"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
)

// Open, Probe and Holdout are the sets of scenarios, each a directory. Rules are written on Open and mended by general
// means on Probe; Holdout is looked at by nobody who writes rules.
const (
	Open    = "open"
	Probe   = "probe"
	Holdout = "holdout"
)

// Sets returns all sets.
func Sets() []string { return []string{Open, Probe, Holdout} }

// Outcome is what became of one scenario and its variants.
type Outcome struct {
	Set  string          `json:"set"`
	Name string          `json:"name"`
	Want scenario.Answer `json:"want"` // Others must be among the answer's
	Got  scenario.Answer `json:"got"`
	// Forbidden are classes that were named and must not be, and Missing those that should stand beside the cause.
	Forbidden []string `json:"forbidden,omitempty"`
	Missing   []string `json:"missing,omitempty"`
	// Unproven says why a reference to evidence does not resolve.
	Unproven string `json:"unproven,omitempty"`
	// Twin is the answer under other names, and TwinAgrees says that it is the same one; nil where there is no twin.
	Twin       *scenario.Answer `json:"twin,omitempty"`
	TwinAgrees bool             `json:"twinAgrees"`
	// Expired is the answer without events; nil where the scenario has no cause.
	Expired *scenario.Answer `json:"expired,omitempty"`
	// Healthy is the answer with the fault mended, or that of a scenario without fault.
	Healthy *scenario.Answer `json:"healthy,omitempty"`
	// WantHealthy is the verdict that is right then.
	WantHealthy diagnose.Verdict `json:"wantHealthy,omitempty"`
	Took        time.Duration    `json:"tookNanoseconds"`
}

// Group is the row of a table in which the outcome is counted: the class, or the verdict where there is no cause.
func (o Outcome) Group() string {
	if o.Want.Class != "" {
		return o.Want.Class
	}
	return string(o.Want.Verdict)
}

// ClassRight reports whether the verdict and the class of the cause are the expected ones.
func (o Outcome) ClassRight() bool { return o.Want.SameClass(o.Got) }

// Right reports whether the target is, too.
func (o Outcome) Right() bool { return o.Want.Right(o.Got) }

// ExpiredRight reports whether the cause is named without events.
func (o Outcome) ExpiredRight() bool { return o.Expired != nil && o.Want.Right(*o.Expired) }

// ExpiredFalse reports whether another cause is named without events.
func (o Outcome) ExpiredFalse() bool {
	return o.Expired != nil && o.Expired.Verdict == diagnose.VerdictCause && !o.ExpiredRight()
}

// FalseCause reports whether something is blamed although nothing is wrong.
func (o Outcome) FalseCause() bool {
	if o.Healthy == nil || o.WantHealthy == diagnose.VerdictCause {
		return false
	}
	return o.Healthy.Verdict == diagnose.VerdictCause || len(o.Healthy.Others) > 0
}

// HealthyRight reports whether that nothing is wrong was said, or what else is right then.
func (o Outcome) HealthyRight() bool {
	return o.Healthy == nil || o.Healthy.Verdict == o.WantHealthy && !o.FalseCause()
}

// Measure runs the engine on every scenario of a set and on its variants. It errs when there is none or a file cannot be read.
func Measure(fsys fs.FS, set string) ([]Outcome, error) {
	all, err := scenario.Load(fsys, set)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the set %s has no scenarios", set)
	}
	out := make([]Outcome, 0, len(all))
	for _, s := range all {
		o, err := measure(s)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", set, s.Name, err)
		}
		o.Set = set
		out = append(out, o)
	}
	return out, nil
}

func measure(s *scenario.Scenario) (Outcome, error) {
	o := Outcome{Name: s.Name, Want: s.Want()}
	snap, err := s.Snapshot(scenario.Variant{})
	if err != nil {
		return o, err
	}
	start := time.Now()
	result := diagnose.Run(snap, s.Input())
	o.Took = time.Since(start)
	o.Got = scenario.AnswerOf(result)
	if err := diagnose.Verify(snap, result.Evidence); err != nil {
		o.Unproven = err.Error()
	}
	for _, class := range s.Expect.MustNot {
		if o.Got.Names(class) {
			o.Forbidden = append(o.Forbidden, class)
		}
	}
	for _, class := range s.Expect.Others {
		if !slices.Contains(o.Got.Others, class) {
			o.Missing = append(o.Missing, class)
		}
	}
	if len(s.Names) > 0 {
		twin, err := s.Renamed()
		if err != nil {
			return o, fmt.Errorf("the renamed twin: %w", err)
		}
		a, err := ask(twin, scenario.Variant{})
		if err != nil {
			return o, fmt.Errorf("the renamed twin: %w", err)
		}
		o.Twin = &a
		o.TwinAgrees = o.Got.SameClass(a) && s.Rename(o.Got.Target) == a.Target && slices.Equal(o.Got.Others, a.Others) && o.Got.Confidence == a.Confidence
	}
	if o.Want.Verdict == diagnose.VerdictCause {
		a, err := ask(s, scenario.Variant{NoEvents: true})
		if err != nil {
			return o, err
		}
		o.Expired = &a
	}
	return o, healthy(s, &o)
}

func healthy(s *scenario.Scenario, o *Outcome) error {
	switch {
	case s.Healthy != nil:
		a, err := ask(s, scenario.Variant{Healthy: true})
		if err != nil {
			return fmt.Errorf("the healthy twin: %w", err)
		}
		o.Healthy, o.WantHealthy = &a, s.Healthy.Verdict
		if o.WantHealthy == "" {
			o.WantHealthy = diagnose.VerdictHealthy
		}
	case o.Want.Verdict == diagnose.VerdictHealthy:
		o.Healthy, o.WantHealthy = &o.Got, diagnose.VerdictHealthy
	}
	return nil
}

func ask(s *scenario.Scenario, v scenario.Variant) (scenario.Answer, error) {
	snap, err := s.Snapshot(v)
	if err != nil {
		return scenario.Answer{}, err
	}
	return scenario.AnswerOf(diagnose.Run(snap, s.Input())), nil
}
