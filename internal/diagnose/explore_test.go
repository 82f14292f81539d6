package diagnose_test

import (
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Every relation of every scenario can be cited, is seen from both ends where both are there, and leads where it says.
func TestRelations(t *testing.T) {
	names := map[string]int{}
	for _, s := range load(t) {
		snap := snapshot(t, s, scenario.Variant{})
		for _, o := range snap.Contents().Objects {
			for _, r := range snap.Relations(o.Ref()) {
				names[r.Name]++
				e, ok := snap.Cite(r.Place)
				if !ok {
					t.Errorf("%s: %s %s %s cannot be cited", s.Name, r.From, r.Name, r.To)
					continue
				}
				e.ID = "x"
				if err := diagnose.Verify(snap, []incident.Evidence{e}); err != nil {
					t.Errorf("%s: %s %s %s: %v", s.Name, r.From, r.Name, r.To, err)
				}
				if !r.From.Same(o.Ref()) && !r.To.Same(o.Ref()) {
					t.Errorf("%s: %s %s %s is none of %s", s.Name, r.From, r.Name, r.To, o.Ref())
				}
				other := r.To
				if other.Same(o.Ref()) {
					other = r.From
				}
				if snap.Object(other) == nil {
					continue
				}
				if way := snap.Path(o.Ref(), other); len(way) != 1 && !other.Same(o.Ref()) {
					t.Errorf("%s: the way from %s to its neighbour %s has %d steps", s.Name, o.Ref(), other, len(way))
				}
			}
		}
	}
	for _, want := range []string{"is owned by", "runs on", "names", "selects", "restricts", "protects", "scales", "is bound to", "routes to"} {
		if names[want] == 0 {
			t.Errorf("no scenario shows a relation %q: %v", want, names)
		}
	}
}

// What the simulations say agrees with what the cluster did.
func TestSimulations(t *testing.T) {
	scheduled, kept := 0, 0
	for _, s := range load(t) {
		snap := snapshot(t, s, scenario.Variant{})
		for _, pod := range snap.Kind("Pod", s.Input().Resource.Namespace) {
			fits := snap.FitNodes(pod)
			takers := 0
			for _, f := range fits {
				if len(f.Obstacles) == 0 {
					takers++
				}
				for _, o := range f.Obstacles {
					if e, ok := snap.Cite(o.Place); ok && diagnose.Verify(snap, []incident.Evidence{e}) != nil {
						t.Errorf("%s: %s: %s does not hold", s.Name, f.Node.Ref(), o.Reason)
					}
				}
			}
			class := ""
			if r := s.Expect; len(fits) > 0 {
				class = r.Class
			}
			switch class {
			case "node-selector-mismatch", "untolerated-taint", "insufficient-resources":
				if pod.At("spec", "nodeName").Str() == "" && strings.Contains(pod.Ref().Name, s.Input().Resource.Name) {
					kept++
					if takers > 0 {
						t.Errorf("%s: %d nodes would take %s, which was not scheduled", s.Name, takers, pod.Ref())
					}
				}
			default:
				scheduled++
			}
		}
	}
	if kept == 0 || scheduled == 0 {
		t.Errorf("%d Pods kept out, %d others", kept, scheduled)
	}
	for _, s := range load(t) {
		if s.Expect.Class != "quota-exceeded" {
			continue
		}
		snap := snapshot(t, s, scenario.Variant{})
		fits, err := snap.FitQuotas(s.Input().Resource.Namespace, map[string]string{"pods": "1000000", "requests.cpu": "1000000", "requests.memory": "1000000Gi", "limits.cpu": "1000000", "limits.memory": "1000000Gi"})
		if err != nil || len(fits) == 0 {
			t.Errorf("%s: %v, %v", s.Name, fits, err)
		}
	}
	if _, err := snapshot(t, load(t)[0], scenario.Variant{}).FitQuotas("x", map[string]string{"pods": "many"}); err == nil {
		t.Error("a quantity that is none is taken")
	}
}
