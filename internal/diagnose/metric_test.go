package diagnose_test

import (
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
)

// What Prometheus measured of a container that may use little CPU and whose probe times out decides whether that is why.
func TestThrottlingIsMeasured(t *testing.T) {
	for _, tt := range []struct {
		name   string
		share  any
		class  incident.CauseClass
		metric bool
	}{
		{"held back", 0.62, diagnose.ClassCPUThrottled, true},
		{"held back always", int64(1), diagnose.ClassCPUThrottled, true},
		{"not held back", 0.01, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, s := range load(t) {
				if s.Expect.Class != string(diagnose.ClassCPUThrottled) {
					continue
				}
				c := snapshot(t, s, scenario.Variant{}).Contents()
				kept := c.Objects[:0:0]
				for _, o := range c.Objects {
					if o.Ref().Kind != "PodMetrics" {
						kept = append(kept, o)
					}
					if o.Ref().Kind == "Pod" {
						ref := diagnose.MetricRef(o.Ref().Namespace, o.Ref().Name, o.At("spec", "containers").Items()[0].At("name").Str(), diagnose.MeasureThrottled)
						m, err := diagnose.NewObject(map[string]any{
							"apiVersion": ref.APIVersion, "kind": ref.Kind, "metadata": map[string]any{"namespace": ref.Namespace, "name": ref.Name}, "latest": tt.share,
						}, false)
						if err != nil {
							t.Fatal(err)
						}
						kept = append(kept, m)
					}
				}
				c.Objects = kept
				snap := diagnose.NewSnapshot(c)
				r := diagnose.Run(snap, s.Input())
				if err := diagnose.Verify(snap, r.Evidence); err != nil {
					t.Error(err)
				}
				is := r.Cause != nil && r.Cause.Class == diagnose.ClassCPUThrottled
				if is != (tt.class != "") {
					t.Errorf("%s: got %s", s.Name, r.Summary)
				}
				cited := false
				for _, e := range r.Evidence {
					cited = cited || e.Kind == incident.EvidenceMetric && strings.HasSuffix(e.Ref.Name, string(diagnose.MeasureThrottled))
				}
				if cited != tt.metric {
					t.Errorf("%s: a measurement is cited: %v, want %v", s.Name, cited, tt.metric)
				}
			}
		})
	}
}
