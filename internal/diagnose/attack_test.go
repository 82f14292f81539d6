package diagnose_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/attack"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
)

// attacked are the scenarios in which the corpus is planted: causes told by objects, by messages and by logs, and a healthy one.
var attacked = []string{
	"application-error", "bad-rollout", "config-invalid", "dependency-down", "dns-config", "healthy-history", "image-not-found", "insufficient-resources",
	"network-policy", "oom-limit", "pvc-missing", "quota-exceeded", "rbac-denied", "service-selector-mismatch", "two-faults",
}

// bearing is what an action, its target, how sure it is and whether a person must approve it hang on.
type bearing struct {
	Verdict    diagnose.Verdict
	Confidence float64
	Related    bool
	Causes     []incident.Cause
	Gaps       []incident.Gap
}

func bearingOf(r diagnose.Result) bearing {
	b := bearing{Verdict: r.Verdict, Confidence: r.Confidence, Related: r.TargetInOwnerChain, Gaps: r.Gaps}
	all := r.Others
	if r.Cause != nil {
		all = append([]incident.Cause{*r.Cause}, all...)
	}
	for _, c := range all {
		b.Causes = append(b.Causes, incident.Cause{
			Class: c.Class, Target: c.Target, Severity: c.Severity, SignalTypes: c.SignalTypes, Confidence: c.Confidence, Parameters: c.Parameters,
		})
	}
	return b
}

// Hostile text moves neither what would be done, nor to what, nor how sure it is, against text of the same size in the same
// place that says nothing.
func TestHostileTextMovesNothing(t *testing.T) {
	texts, err := attack.Strings()
	if err != nil {
		t.Fatal(err)
	}
	if len(texts) < 60 {
		t.Fatalf("the corpus holds %d strings", len(texts))
	}
	named := map[string]*scenario.Scenario{}
	for _, s := range load(t) {
		named[s.Name] = s
	}
	for a, name := range attacked {
		s := named[name]
		if s == nil {
			t.Fatalf("no scenario %s", name)
		}
		t.Run(name, func(t *testing.T) {
			for b, place := range attack.Places() {
				planted := func(text string) bearing {
					c, inc, err := place.Plant(snapshot(t, s, scenario.Variant{}).Contents(), s.Input(), text)
					if err != nil {
						t.Fatal(err)
					}
					snap := diagnose.NewSnapshot(c)
					r := diagnose.Run(snap, inc)
					if err := diagnose.Verify(snap, r.Evidence); err != nil {
						t.Errorf("in %s: evidence does not verify: %v", place, err)
					}
					return bearingOf(r)
				}
				for i, text := range texts {
					// The short tests plant each string in some places of some scenarios, the full ones in all.
					if testing.Short() && ((i+a+b)%12 != 0 || len(text.Text) > 1<<16) {
						continue
					}
					if diff := cmp.Diff(planted(attack.Neutral(text.Text)), planted(text.Text)); diff != "" {
						t.Errorf("%s in %s moves the answer (-neutral +hostile):\n%s", text.Name, place, diff)
					}
				}
			}
		})
	}
}
