package diagnose_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
)

var loadOnce = sync.OnceValues(func() ([]*scenario.Scenario, error) { return scenario.Load(os.DirFS("../../test/scenarios"), "open") })

// load returns all scenarios, which tests must not change.
func load(t testing.TB) []*scenario.Scenario {
	t.Helper()
	all, err := loadOnce()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no scenarios")
	}
	return all
}

func snapshot(t testing.TB, s *scenario.Scenario, v scenario.Variant) *diagnose.Snapshot {
	t.Helper()
	snap, err := s.Snapshot(v)
	if err != nil {
		t.Fatalf("%s: %v", s.Name, err)
	}
	return snap
}

func run(t testing.TB, s *scenario.Scenario, v scenario.Variant) diagnose.Result {
	t.Helper()
	snap := snapshot(t, s, v)
	r := diagnose.Run(snap, s.Input())
	if err := diagnose.Verify(snap, r.Evidence); err != nil {
		t.Errorf("evidence does not verify: %v", err)
	}
	checkReferences(t, r)
	return r
}

// checkReferences checks that every cited id is there and that every link of a cause has evidence.
func checkReferences(t testing.TB, r diagnose.Result) {
	t.Helper()
	ids := map[string]bool{}
	for _, e := range r.Evidence {
		ids[e.ID] = true
	}
	check := func(where string, cited []string) {
		for _, id := range cited {
			if !ids[id] {
				t.Errorf("%s cites %s, which is not in the evidence", where, id)
			}
		}
	}
	causes := slices.Clone(r.Others)
	if r.Cause != nil {
		causes = append(causes, *r.Cause)
	}
	for _, c := range causes {
		for _, l := range c.Chain {
			check(l.Statement, l.Evidence)
			if l.Hypothesis() {
				t.Errorf("cause %s: link %q has no evidence", c.Class, l.Statement)
			}
		}
	}
	for _, n := range r.Noise {
		check(n.Statement, n.Evidence)
	}
	for _, l := range r.Symptoms {
		check(l.Statement, l.Evidence)
	}
}

func dump(t testing.TB, r diagnose.Result) string {
	t.Helper()
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestScenarios(t *testing.T) {
	for _, s := range load(t) {
		t.Run(s.Name, func(t *testing.T) {
			r := run(t, s, scenario.Variant{})
			compare(t, s, r)
			if t.Failed() {
				t.Logf("got:\n%s", dump(t, r))
			}
		})
	}
}

// compare checks a result against what a scenario expects.
func compare(t *testing.T, s *scenario.Scenario, r diagnose.Result) {
	t.Helper()
	want := s.Expect
	if r.Verdict != want.Verdict {
		t.Errorf("verdict = %s, want %s", r.Verdict, want.Verdict)
	}
	for _, class := range want.MustNot {
		if r.Cause != nil && string(r.Cause.Class) == class || slices.ContainsFunc(r.Others, func(c incident.Cause) bool { return string(c.Class) == class }) {
			t.Errorf("class %s was named, it must not be", class)
		}
	}
	for _, part := range want.Noise {
		if !slices.ContainsFunc(r.Noise, func(n diagnose.Note) bool { return strings.Contains(n.Statement+"; "+n.Reason, part) }) {
			t.Errorf("no note with %q", part)
		}
	}
	if want.MinConfidence > 0 && r.Confidence < want.MinConfidence {
		t.Errorf("confidence = %v, want at least %v", r.Confidence, want.MinConfidence)
	}
	if want.MaxConfidence > 0 && r.Confidence > want.MaxConfidence {
		t.Errorf("confidence = %v, want at most %v", r.Confidence, want.MaxConfidence)
	}
	if r.Cause == nil {
		if want.Class != "" {
			t.Errorf("no cause, want %s", want.Class)
		}
		return
	}
	c := r.Cause
	if string(c.Class) != want.Class {
		t.Errorf("class = %s, want %s", c.Class, want.Class)
	}
	if want.Target != "" && c.Target.String() != want.Target {
		t.Errorf("target = %s, want %s", c.Target, want.Target)
	}
	if !r.TargetInOwnerChain {
		t.Errorf("target %s is not related to %s", c.Target, r.Subject)
	}
	if want.Severity != "" && string(c.Severity) != want.Severity {
		t.Errorf("severity = %s, want %s", c.Severity, want.Severity)
	}
	if want.Signal != "" && c.SignalTypes[0] != want.Signal {
		t.Errorf("signal = %s, want %s", c.SignalTypes[0], want.Signal)
	}
	for k, v := range want.Parameters {
		if c.Parameters[k] != v {
			t.Errorf("parameter %s = %q, want %q", k, c.Parameters[k], v)
		}
	}
	if want.Chain != nil {
		var got []string
		for _, l := range c.Chain {
			got = append(got, l.Subject.String())
		}
		if diff := cmp.Diff(want.Chain, got); diff != "" {
			t.Errorf("chain (-want +got):\n%s", diff)
		}
	}
	for _, part := range want.Factors {
		if !slices.ContainsFunc(c.Factors, func(f string) bool { return strings.Contains(f, part) }) {
			t.Errorf("no factor with %q", part)
		}
	}
	for _, class := range want.Others {
		if !slices.ContainsFunc(r.Others, func(o incident.Cause) bool { return string(o.Class) == class }) {
			t.Errorf("%s is not among the others", class)
		}
	}
	if want.TouchingGaps != nil {
		got := []string{}
		for _, g := range r.Gaps {
			if g.TouchesCause {
				got = append(got, g.What)
			}
		}
		if diff := cmp.Diff(want.TouchingGaps, got); diff != "" {
			t.Errorf("gaps that touch the cause (-want +got):\n%s", diff)
		}
	}
}

// The same fault under other names is the same verdict.
func TestRenamedTwins(t *testing.T) {
	for _, s := range load(t) {
		if len(s.Names) == 0 {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			twin, err := s.Renamed()
			if err != nil {
				t.Fatal(err)
			}
			if twin.Header.Incident.Name == s.Header.Incident.Name {
				t.Fatalf("the twin has the same name %s", s.Header.Incident.Name)
			}
			r, original := run(t, twin, scenario.Variant{}), run(t, s, scenario.Variant{})
			// Suggestions by nearness of names may differ, and with them factors.
			twin.Expect.Factors = nil
			for k := range twin.Expect.Parameters {
				if strings.HasPrefix(k, "SUGGESTED_") {
					delete(twin.Expect.Parameters, k)
				}
			}
			compare(t, twin, r)
			if r.Confidence != original.Confidence {
				t.Errorf("confidence = %v, the original's is %v", r.Confidence, original.Confidence)
			}
			if t.Failed() {
				t.Logf("got:\n%s", dump(t, r))
			}
		})
	}
}

// With the fault mended and all its history kept, nothing is wrong.
func TestHealthyTwins(t *testing.T) {
	for _, s := range load(t) {
		if s.Healthy == nil {
			if s.Expect.Verdict == diagnose.VerdictCause {
				t.Errorf("%s has no healthy twin", s.Name)
			}
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			want := s.Healthy.Verdict
			if want == "" {
				want = diagnose.VerdictHealthy
			}
			r := run(t, s, scenario.Variant{Healthy: true})
			if r.Verdict != want || len(r.Others) > 0 && want == diagnose.VerdictHealthy {
				t.Errorf("verdict = %s with %d other causes, want %s\n%s", r.Verdict, len(r.Others), want, dump(t, r))
			}
		})
	}
}

// Without events the cause is the same, and never surer.
func TestEventsExpired(t *testing.T) {
	for _, s := range load(t) {
		if s.NeedsEvents || s.Expect.Verdict != diagnose.VerdictCause {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			with, without := run(t, s, scenario.Variant{}), run(t, s, scenario.Variant{NoEvents: true})
			if without.Cause == nil || without.Cause.Class != with.Cause.Class || !without.Cause.Target.Same(with.Cause.Target) {
				t.Errorf("without events: %s\n%s", without.Summary, dump(t, without))
				return
			}
			if without.Confidence > with.Confidence {
				t.Errorf("confidence without events = %v, with events %v", without.Confidence, with.Confidence)
			}
		})
	}
}

// Neither the order of collection nor the run shows in the result.
func TestDeterminism(t *testing.T) {
	runs := 20
	if testing.Short() {
		runs = 3
	}
	for _, s := range load(t) {
		t.Run(s.Name, func(t *testing.T) {
			want := dump(t, diagnose.Run(snapshot(t, s, scenario.Variant{}), s.Input()))
			rng := rand.New(rand.NewPCG(1, 2))
			for range runs {
				got := dump(t, diagnose.Run(snapshot(t, s, scenario.Variant{Shuffle: rng.Shuffle}), s.Input()))
				if got != want {
					t.Fatalf("runs differ:\n%s", cmp.Diff(want, got))
				}
			}
		})
	}
}
