package reason_test

import (
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Every scenario of the engine is told to a model that looks around and agrees: it is understood, whole, and
// cheap. The one whose text gives orders is noticed.
func TestScenarios(t *testing.T) {
	all, err := load()
	if err != nil {
		t.Fatal(err)
	}
	worst, at := 0, ""
	for _, s := range all {
		c := caseOf(t, s)
		if c.Result.Verdict != diagnose.VerdictCause {
			continue
		}
		options(&c)
		out := reasoner(t, &counted{model: good(c)}, nil).Refine(t.Context(), c)
		want := incident.StanceAgrees
		if strings.Contains(s.Name, "hostile") {
			want = incident.StanceDiscarded
		}
		if out.Stance != want || out.Factor != 1 || out.Review || out.Choice != "" || out.Err != nil || out.Stopped != "" {
			t.Errorf("%s: stance %s, want %s; factor %v, review %v, suspicions %+v, attempts %+v, error %v", s.Name, out.Stance, want, out.Factor, out.Review, out.Suspicions, out.Attempts, out.Err)
		}
		if want == incident.StanceAgrees && (out.Confidence < c.Result.Confidence || out.Confidence > 0.97) {
			t.Errorf("%s: agreement made %v of %v", s.Name, out.Confidence, c.Result.Confidence)
		}
		for _, claim := range out.Explanation {
			if !claim.Supported {
				t.Errorf("%s: the engine's own %q is a hypothesis: %s", s.Name, claim.Text, claim.Why)
			}
		}
		if out.Dropped > 0 {
			t.Errorf("%s: %d of the engine's own sentences were dropped", s.Name, out.Dropped)
		}
		if total := out.Usage.InputTokens + out.Usage.OutputTokens; total > worst {
			worst, at = total, s.Name
		}
	}
	if worst == 0 || worst >= 30_000 {
		t.Errorf("%s costs %d tokens by CountTokens, want fewer than 30,000", at, worst)
	}
	t.Logf("the most expensive is %s: %d tokens in three turns", at, worst)
}
