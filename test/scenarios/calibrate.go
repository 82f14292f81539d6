package scenarios

import (
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"math"
	"text/tabwriter"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
)

// MaxCalibrationError is the largest expected calibration error that the reported half may have.
const MaxCalibrationError = 0.08

// Calibration is what Calibrate measures. Which half a scenario is in follows from its name alone.
type Calibration struct {
	// Fitted is the half that a fit may use, Reported the other one, of which every figure is meant that is published.
	Fitted   scenario.Reliability `json:"fitted"`
	Reported scenario.Reliability `json:"reported"`
	// Healthy is the confidence with which the reported half says that nothing is wrong.
	Healthy scenario.Reliability `json:"healthy"`
	// Silent counts the answers of the reported half that claim nothing.
	Silent int `json:"silent"`
	// Shift and Slope would have fitted the first half best: logit(p') = Shift + Slope·logit(p). Shifted is what they make
	// of the other one. Far from 0 and 1 they say which way the constants of the confidence are off.
	Shift   float64              `json:"shift"`
	Slope   float64              `json:"slope"`
	Shifted scenario.Reliability `json:"shifted"`
}

// Met reports whether the confidence of the reported half is as true as it must be.
func (c Calibration) Met() bool {
	return c.Reported.Number > 0 && c.Reported.Error <= MaxCalibrationError
}

// variants are the readings in which each scenario is asked about.
func variants() []scenario.Variant {
	return []scenario.Variant{{}, {NoEvents: true}, {NoLogs: true}, {NoEvents: true, NoLogs: true}}
}

// Calibrate asks about every scenario of Probe and Holdout: as it is, without events, without logs, without both, and
// with the fault mended. It errs when a file cannot be read.
func Calibrate(fsys fs.FS) (Calibration, error) {
	var c Calibration
	var fitted, reported, healthy []scenario.Claim
	for _, set := range []string{Probe, Holdout} {
		all, err := scenario.Load(fsys, set)
		if err != nil {
			return c, err
		}
		for _, s := range all {
			want := s.Want()
			for _, v := range variants() {
				got, err := ask(s, v)
				if err != nil {
					return c, fmt.Errorf("%s/%s: %w", set, s.Name, err)
				}
				claim := scenario.Claim{Confidence: got.Confidence, Right: want.Right(got)}
				switch {
				case forFit(s.Name):
					if got.Verdict == diagnose.VerdictCause {
						fitted = append(fitted, claim)
					}
				case got.Verdict == diagnose.VerdictCause:
					reported = append(reported, claim)
				case got.Verdict == diagnose.VerdictHealthy:
					healthy = append(healthy, claim)
				default:
					c.Silent++
				}
			}
			if s.Healthy == nil || forFit(s.Name) {
				continue
			}
			got, err := ask(s, scenario.Variant{Healthy: true})
			if err != nil {
				return c, fmt.Errorf("%s/%s: %w", set, s.Name, err)
			}
			if got.Verdict == diagnose.VerdictHealthy {
				healthy = append(healthy, scenario.Claim{Confidence: got.Confidence, Right: s.Healthy.Verdict == "" || s.Healthy.Verdict == diagnose.VerdictHealthy})
			}
		}
	}
	c.Fitted, c.Reported, c.Healthy = scenario.Reliable(fitted), scenario.Reliable(reported), scenario.Reliable(healthy)
	c.Shift, c.Slope = fit(fitted)
	shifted := make([]scenario.Claim, len(reported))
	for i, r := range reported {
		shifted[i] = scenario.Claim{Confidence: sigmoid(c.Shift + c.Slope*logit(r.Confidence)), Right: r.Right}
	}
	c.Shifted = scenario.Reliable(shifted)
	return c, nil
}

// forFit splits the scenarios in two halves.
func forFit(name string) bool {
	h := fnv.New32a()
	h.Write([]byte(name)) // never fails
	return h.Sum32()%2 == 0
}

// fit finds the shift and the slope under which the claims are likeliest, by Newton's method with a weak pull towards
// 0 and 1, which keeps them finite when all claims are right.
func fit(claims []scenario.Claim) (shift, slope float64) {
	const pull = 1
	slope = 1
	for range 50 {
		g0, g1 := pull*shift, pull*(slope-1)
		h00, h01, h11 := float64(pull), 0.0, float64(pull)
		for _, c := range claims {
			x := logit(c.Confidence)
			p := sigmoid(shift + slope*x)
			d, w := p, p*(1-p)
			if c.Right {
				d = p - 1
			}
			g0, g1 = g0+d, g1+d*x
			h00, h01, h11 = h00+w, h01+w*x, h11+w*x*x
		}
		det := h00*h11 - h01*h01
		d0, d1 := (h11*g0-h01*g1)/det, (h00*g1-h01*g0)/det
		// Half steps where whole ones would overshoot.
		scale := min(1, 2/(math.Abs(d0)+math.Abs(d1)+1e-12))
		shift, slope = shift-scale*d0, slope-scale*d1
	}
	return shift, slope
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func logit(p float64) float64 {
	p = min(max(p, 0.001), 0.999)
	return math.Log(p / (1 - p))
}

// print writes the tables.
func (c Calibration) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "CONFIDENCE\tCLAIMS\tMEAN\tRIGHT\n")
	for _, b := range c.Reported.Bins {
		if b.Number > 0 {
			fmt.Fprintf(t, "%.1f to %.1f\t%d\t%.3f\t%.3f\n", b.Low, b.High, b.Number, b.Confidence, b.Right)
		}
	}
	fmt.Fprintf(t, "\n\tCLAIMS\tMEAN\tRIGHT\tBRIER\tECE\n")
	for _, r := range []struct {
		name string
		r    scenario.Reliability
	}{
		{"causes, reported half", c.Reported},
		{"causes, half for fits", c.Fitted},
		{"causes, reported half, as the fit would shift it", c.Shifted},
		{"nothing is wrong, reported half", c.Healthy},
	} {
		fmt.Fprintf(t, "%s\t%d\t%.3f\t%.3f\t%.3f\t%.3f\n", r.name, r.r.Number, r.r.Mean, r.r.Right, r.r.Brier, r.r.Error)
	}
	met := "met"
	if !c.Met() {
		met = "NOT MET"
	}
	fmt.Fprintf(t, "\nthe fit: logit(p') = %.2f + %.2f logit(p)\tanswers that claim nothing: %d\taim: ECE at most %.2f, %s\n", c.Shift, c.Slope, c.Silent, MaxCalibrationError, met)
	return t.Flush()
}
