package scenarios

import (
	"os"
	"strings"
	"testing"
)

// floors are what has been reached of the aims and must not be lost: shares of scenarios whose cause is named with its
// target, with events and without, and of renamed twins that agree. Nothing is blamed where nothing is wrong, and every
// reference resolves. What is still to be reached, make scenarios tells.
var floors = map[string]struct{ right, expired, twins float64 }{
	Open:    {0.99, 0.94, 1},
	Probe:   {0.97, 0.94, 1},
	Holdout: {0.91, 0.85, 1},
}

// What was reached is kept. For holdout no more is said than the numbers: rules are not to be mended by it.
func TestScenarios(t *testing.T) {
	for _, set := range Sets() {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			outcomes, err := Measure(os.DirFS("."), set)
			if err != nil {
				t.Fatal(err)
			}
			c, floor := tally(set, outcomes), floors[set]
			if got := share(c.Right, c.Number); got < floor.right {
				t.Errorf("class and target are right in %d of %d, want a share of %v", c.Right, c.Number, floor.right)
			}
			if got := share(c.ExpiredRight, c.Expired); got < floor.expired {
				t.Errorf("without events %d of %d are right, want a share of %v", c.ExpiredRight, c.Expired, floor.expired)
			}
			if got := share(c.TwinsAgree, c.Twins); got < floor.twins {
				t.Errorf("%d of %d renamed twins agree, want a share of %v", c.TwinsAgree, c.Twins, floor.twins)
			}
			if c.FalseCauses > 0 {
				t.Errorf("something is blamed in %d scenarios where nothing is wrong, want none", c.FalseCauses)
			}
			if c.Unproven > 0 {
				t.Errorf("references do not resolve in %d scenarios, want none", c.Unproven)
			}
			if t.Failed() && set != Holdout {
				var text strings.Builder
				failures(&text, outcomes)
				t.Log("\n" + text.String())
			}
		})
	}
}

// A confidence can be believed, in the half of the scenarios that no fit may use.
func TestCalibration(t *testing.T) {
	if testing.Short() {
		t.Skip("it diagnoses every scenario in every variant")
	}
	c, err := Calibrate(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if c.Reported.Number < 100 || c.Fitted.Number < 100 {
		t.Fatalf("%d and %d claims are too few to say anything", c.Reported.Number, c.Fitted.Number)
	}
	if c.Reported.Error > MaxCalibrationError {
		t.Errorf("the expected calibration error is %.3f, want at most %v", c.Reported.Error, MaxCalibrationError)
	}
}
