package scenarios

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
)

// outcome makes one whose answers are the classes, on the targets of their names; "" is the healthy verdict.
func outcome(name, want, got, expired, mended string) Outcome {
	answer := func(class string) scenario.Answer {
		if class == "" {
			return scenario.Answer{Verdict: diagnose.VerdictHealthy}
		}
		return scenario.Answer{Verdict: diagnose.VerdictCause, Class: class, Target: "Pod a/" + class}
	}
	o := Outcome{Set: Probe, Name: name, Want: answer(want), Got: answer(got), WantHealthy: diagnose.VerdictHealthy}
	e, h := answer(expired), answer(mended)
	o.Healthy = &h
	if want != "" {
		o.Expired = &e
	}
	return o
}

func TestTally(t *testing.T) {
	elsewhere := outcome("elsewhere", "x", "x", "x", "")
	elsewhere.Got.Target = "Pod b/x"
	twin := outcome("twin", "x", "x", "", "")
	twin.Twin = &scenario.Answer{}
	twin.Want.Others, twin.Missing = []string{"y", "z"}, []string{"z"}
	blamed := outcome("blamed", "", "y", "", "y")
	beside := outcome("beside", "x", "x", "x", "")
	beside.Healthy.Others = []string{"y"}
	unsure := outcome("unsure", "x", "x", "x", "")
	unsure.Healthy.Verdict = diagnose.VerdictUndecidable
	for _, tt := range []struct {
		o    Outcome
		want Tally
	}{
		{outcome("right", "x", "x", "x", ""), Tally{Class: 1, Right: 1, Expired: 1, ExpiredRight: 1, Healthy: 1}},
		{outcome("another", "x", "y", "y", "y"), Tally{Expired: 1, ExpiredFalse: 1, Healthy: 1, FalseCauses: 1}},
		{outcome("unseen", "x", "", "", ""), Tally{Expired: 1, Healthy: 1}},
		{elsewhere, Tally{Class: 1, Expired: 1, ExpiredRight: 1, Healthy: 1}},
		{twin, Tally{Class: 1, Right: 1, Twins: 1, Expired: 1, Healthy: 1, Beside: 2, BesideFound: 1}},
		{outcome("well", "", "", "", ""), Tally{Class: 1, Right: 1, Healthy: 1}},
		{blamed, Tally{Healthy: 1, FalseCauses: 1}},
		{beside, Tally{Class: 1, Right: 1, Expired: 1, ExpiredRight: 1, Healthy: 1, FalseCauses: 1}},
		{unsure, Tally{Class: 1, Right: 1, Expired: 1, ExpiredRight: 1, Healthy: 1, NotHealthy: 1}},
	} {
		tt.want.Group, tt.want.Number = "g", 1
		if got := tally("g", []Outcome{tt.o}); got != tt.want {
			t.Errorf("%s: tally\ngot  %+v\nwant %+v", tt.o.Name, got, tt.want)
		}
	}
}

func TestAimsOfATally(t *testing.T) {
	good := Tally{Group: Open, Number: 100, Right: 97, Twins: 10, TwinsAgree: 10, Expired: 100, ExpiredRight: 85}
	for _, tt := range []struct {
		name   string
		change func(*Tally)
		unmet  string // the end of the name of the only aim that is not met
	}{
		{"all met", func(*Tally) {}, ""},
		{"one too few", func(c *Tally) { c.Right = 96 }, "class and target"},
		{"enough for holdout", func(c *Tally) { c.Group, c.Right = Holdout, 95 }, ""},
		{"too few for holdout", func(c *Tally) { c.Group, c.Right = Holdout, 94 }, "class and target"},
		{"a twin", func(c *Tally) { c.TwinsAgree = 9 }, "renamed twins agree"},
		{"events", func(c *Tally) { c.ExpiredRight = 84 }, "right without events"},
		{"a false cause", func(c *Tally) { c.FalseCauses = 1 }, "false causes where nothing is wrong"},
		{"evidence", func(c *Tally) { c.Unproven = 1 }, "references that do not resolve"},
	} {
		c := good
		tt.change(&c)
		var unmet []string
		for _, a := range Aims(c) {
			if !a.Met {
				unmet = append(unmet, a.Name)
			}
		}
		switch {
		case tt.unmet == "" && len(unmet) == 0, tt.unmet != "" && len(unmet) == 1 && strings.HasSuffix(unmet[0], tt.unmet):
		default:
			t.Errorf("%s: not met are %q, want %q", tt.name, unmet, tt.unmet)
		}
	}
}

func TestCommand(t *testing.T) {
	run := func(args ...string) (status int, stdout, stderr string) {
		var out, errs bytes.Buffer
		status = Main(append([]string{"-dir", "testdata"}, args...), &out, &errs)
		return status, out.String(), errs.String()
	}
	if status, out, errs := run("-v", Probe); status != 1 || !strings.Contains(out, "probe/mislabelled: want oom-limit Deployment bank/teller; got ") {
		t.Errorf("-v probe: status %d, want 1, and the scenario that fails\n%s%s", status, out, errs)
	}
	if status, out, errs := run(Probe); status != 1 || strings.Contains(out, "mislabelled") || !strings.Contains(out, "NOT MET") {
		t.Errorf("probe: status %d, want 1, and no names\n%s%s", status, out, errs)
	}
	if status, out, _ := run("-v", Probe, Holdout); status != 1 || strings.Contains(out, "holdout/") || !strings.Contains(out, "probe/mislabelled") {
		t.Errorf("-v probe holdout: status %d, want 1, and nothing of holdout\n%s", status, out)
	}
	if status, out, _ := run("-v", Holdout); status != 1 || !strings.Contains(out, "holdout/mislabelled") {
		t.Errorf("-v holdout: status %d, want 1, and the scenario that fails\n%s", status, out)
	}
	status, out, _ := run("-o", "json", "-v", Probe)
	var r Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != 1 || len(r.Sets) != 1 || r.Sets[0].Number != 1 || len(r.Outcomes) != 1 {
		t.Errorf("-o json: status %d, %v\n%s", status, err, out)
	}
	for _, args := range [][]string{{"-o", "yaml"}, {"other"}, {"-unknown"}, {Open}} {
		if status, _, errs := run(args...); status != 2 || errs == "" {
			t.Errorf("%q: status %d, want 2; said %q", args, status, errs)
		}
	}
	if status, out, errs := run("-calibrate", "-o", "json"); status != 1 || !json.Valid([]byte(out)) {
		t.Errorf("-calibrate: status %d\n%s%s", status, out, errs)
	}
}

// A fit finds by how much claims are too sure, and leaves true ones alone.
func TestFit(t *testing.T) {
	claims := func(confidence float64, rightOf100 int) (out []scenario.Claim) {
		for i := range 100 {
			out = append(out, scenario.Claim{Confidence: confidence, Right: i < rightOf100})
		}
		return out
	}
	for _, tt := range []struct {
		name        string
		claims      []scenario.Claim
		says, given float64
	}{
		{"true", append(claims(0.9, 90), claims(0.6, 60)...), 0.9, 0.9},
		{"too sure", append(claims(0.9, 70), claims(0.6, 40)...), 0.7, 0.9},
		{"not sure enough", append(claims(0.6, 90), claims(0.8, 97)...), 0.9, 0.6},
	} {
		shift, slope := fit(tt.claims)
		if got := sigmoid(shift + slope*logit(tt.given)); math.Abs(got-tt.says) > 0.03 {
			t.Errorf("%s: for %v the fit says %v, want %v", tt.name, tt.given, got, tt.says)
		}
	}
	if shift, slope := fit(claims(0.9, 100)); math.IsNaN(shift) || math.IsNaN(slope) || math.IsInf(shift, 0) {
		t.Errorf("all right: the fit is %v, %v", shift, slope)
	}
}
