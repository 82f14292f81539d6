package scenario

import (
	"fmt"
	"math"
	"slices"

	"kubernaut.ai/kubernaut/internal/diagnose"
)

// Answer is the part of a result that is compared with what is expected.
type Answer struct {
	Verdict    diagnose.Verdict `json:"verdict"`
	Class      string           `json:"class,omitempty"`
	Target     string           `json:"target,omitempty"` // as incident.Ref.String
	Others     []string         `json:"others,omitempty"` // classes
	Confidence float64          `json:"confidence"`
}

// AnswerOf returns the part of a result that is compared.
func AnswerOf(r diagnose.Result) Answer {
	a := Answer{Verdict: r.Verdict, Confidence: r.Confidence}
	if r.Cause != nil {
		a.Class, a.Target = string(r.Cause.Class), r.Cause.Target.String()
	}
	for _, o := range r.Others {
		a.Others = append(a.Others, string(o.Class))
	}
	return a
}

func (a Answer) String() string {
	text := string(a.Verdict)
	if a.Class != "" {
		text = a.Class + " " + a.Target
	}
	if len(a.Others) > 0 {
		text += fmt.Sprintf(" (beside it %v)", a.Others)
	}
	return text
}

// Names reports whether a class is among those that the answer names.
func (a Answer) Names(class string) bool { return a.Class == class || slices.Contains(a.Others, class) }

// Want returns the expected answer. Its Others must be among those of an answer.
func (s *Scenario) Want() Answer {
	return Answer{Verdict: s.Expect.Verdict, Class: s.Expect.Class, Target: s.Expect.Target, Others: s.Expect.Others}
}

// SameClass reports whether two answers give the same verdict and the same class of cause.
func (a Answer) SameClass(got Answer) bool { return a.Verdict == got.Verdict && a.Class == got.Class }

// Right reports whether got is what a expects: verdict and class, and the target where a has one.
func (a Answer) Right(got Answer) bool {
	return a.SameClass(got) && (a.Target == "" || a.Target == got.Target)
}

// Claim is one answer that names a cause, or says that nothing is wrong, with whether that is so.
type Claim struct {
	Confidence float64
	Right      bool
}

// Bin is a row of a reliability table: the claims whose confidence lies in [Low, High).
type Bin struct {
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Number     int     `json:"number"`
	Confidence float64 `json:"confidence"` // mean
	Right      float64 `json:"right"`      // share
}

// Reliability says how far a confidence can be believed.
type Reliability struct {
	Number int     `json:"number"`
	Mean   float64 `json:"mean"`  // confidence
	Right  float64 `json:"right"` // share
	// Brier is the mean square of what confidence and truth (0 or 1) differ by. Error is the expected calibration error:
	// the mean over all claims of what confidence and share differ by in their bin of a tenth.
	Brier float64 `json:"brier"`
	Error float64 `json:"expectedCalibrationError"`
	Bins  []Bin   `json:"bins"`
}

// Reliable returns how far the claims can be believed.
func Reliable(claims []Claim) Reliability {
	r := Reliability{Number: len(claims)}
	if r.Number == 0 {
		return r
	}
	const bins = 10
	r.Bins = make([]Bin, bins)
	for i := range r.Bins {
		r.Bins[i].Low, r.Bins[i].High = float64(i)/bins, float64(i+1)/bins
	}
	for _, c := range claims {
		truth := 0.0
		if c.Right {
			truth = 1
		}
		b := &r.Bins[min(int(c.Confidence*bins), bins-1)]
		b.Number++
		b.Confidence += c.Confidence
		b.Right += truth
		r.Mean += c.Confidence
		r.Right += truth
		r.Brier += (c.Confidence - truth) * (c.Confidence - truth)
	}
	n := float64(r.Number)
	for i := range r.Bins {
		b := &r.Bins[i]
		if b.Number == 0 {
			continue
		}
		r.Error += math.Abs(b.Confidence-b.Right) / n
		b.Confidence /= float64(b.Number)
		b.Right /= float64(b.Number)
	}
	r.Mean, r.Right, r.Brier = r.Mean/n, r.Right/n, r.Brier/n
	return r
}
