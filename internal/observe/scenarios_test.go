package observe_test

import (
	"fmt"
	"os"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
)

// The verdict on what is read live equals that on the whole cluster: whatever a rule reads, the reader delivers.
func TestLiveDeliversWhatRulesRead(t *testing.T) {
	all, err := scenario.Load(os.DirFS("../../test/scenarios"), "open")
	if err != nil || len(all) == 0 {
		t.Fatalf("%d scenarios, %v", len(all), err)
	}
	for _, s := range all {
		for _, healthy := range []bool{false, true} {
			if healthy && s.Healthy == nil {
				continue
			}
			t.Run(fmt.Sprintf("%s/healthy=%v", s.Name, healthy), func(t *testing.T) {
				t.Parallel()
				whole, err := s.Snapshot(scenario.Variant{Healthy: healthy})
				if err != nil {
					t.Fatal(err)
				}
				in := s.Input()
				want := diagnose.Run(whole, in)
				live := newMirror(t, whole).observe(in)
				if got := diagnose.Run(live, in); verdict(got) != verdict(want) {
					t.Errorf("live %s\nwhole %s\nlive reads %+v\ngaps %+v", verdict(got), verdict(want), live.Contents().Reads, live.Contents().Gaps)
				}
			})
		}
	}
}

func verdict(r diagnose.Result) string {
	if r.Cause == nil {
		return string(r.Verdict)
	}
	return fmt.Sprintf("%s: %s at %s", r.Verdict, r.Cause.Class, r.Cause.Target)
}
