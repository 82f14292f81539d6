package scenario_test

import (
	"math"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
)

func TestRight(t *testing.T) {
	want := scenario.Answer{Verdict: diagnose.VerdictCause, Class: "oom-limit", Target: "Deployment shop/web"}
	anywhere := want
	anywhere.Target = ""
	for _, row := range []struct {
		name        string
		want, got   scenario.Answer
		class, both bool
	}{
		{"the same", want, want, true, true},
		{"another target", want, scenario.Answer{Verdict: want.Verdict, Class: want.Class, Target: "Pod shop/web-1"}, true, false},
		{"no target is asked for", anywhere, want, true, true},
		{"another class", want, scenario.Answer{Verdict: want.Verdict, Class: "bad-rollout", Target: want.Target}, false, false},
		{"no cause", want, scenario.Answer{Verdict: diagnose.VerdictUndecidable}, false, false},
	} {
		if class, both := row.want.SameClass(row.got), row.want.Right(row.got); class != row.class || both != row.both {
			t.Errorf("%s: got %v, %v, want %v, %v", row.name, class, both, row.class, row.both)
		}
	}
}

func TestReliability(t *testing.T) {
	claims := []scenario.Claim{
		{Confidence: 0.95, Right: true}, {Confidence: 0.95}, {Confidence: 0.55, Right: true}, {Confidence: 1, Right: true},
	}
	r := scenario.Reliable(claims)
	near := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	near("mean", r.Mean, 0.8625)
	near("right", r.Right, 0.75)
	near("Brier", r.Brier, (0.0025+0.9025+0.2025+0)/4)
	// The bin from 0.9 has 2.9 of confidence and 2 right ones, that from 0.5 has 0.55 and 1.
	near("error", r.Error, (0.9+0.45)/4)
	if got := scenario.Reliable(nil); got.Number != 0 || got.Error != 0 {
		t.Errorf("of nothing: %+v", got)
	}
}
