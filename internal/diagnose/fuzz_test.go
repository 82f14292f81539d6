package diagnose_test

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Whatever objects a bundle holds, the engine answers, within its bounds, with evidence that verifies.
func FuzzRun(f *testing.F) {
	for i, s := range load(f) {
		if i%8 != 0 {
			continue
		}
		c := snapshot(f, s, scenario.Variant{}).Contents()
		var trees []map[string]any
		for _, o := range append(c.Objects, c.Events...) {
			trees = append(trees, o.Tree())
		}
		raw, err := json.Marshal(trees)
		if err != nil {
			f.Fatal(err)
		}
		if len(raw) > 12<<10 { // large inputs leave a fuzzer little to do in its time
			continue
		}
		f.Add(raw, s.Header.Incident.Kind, s.Header.Incident.Namespace, s.Header.Incident.Name)
	}
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, raw []byte, kind, namespace, name string) {
		var trees []map[string]any
		if json.Unmarshal(raw, &trees) != nil {
			return
		}
		c := diagnose.Contents{ObservedAt: now, Reads: []diagnose.Read{{APIVersion: "v1", Kind: "Pod"}, {APIVersion: "v1", Kind: "Node"}, {APIVersion: "v1", Kind: "Secret"}}}
		for _, tree := range trees {
			o, err := diagnose.NewObject(tree, false)
			if err != nil {
				continue
			}
			if o.Ref().Kind == "Event" {
				c.Events = append(c.Events, o)
			} else {
				c.Objects = append(c.Objects, o)
			}
		}
		snap := diagnose.NewSnapshot(c)
		for _, ref := range []incident.Ref{{Kind: kind, Namespace: namespace, Name: name}, diagnose.WholeCluster} {
			r := diagnose.Run(snap, incident.Incident{Resource: ref})
			if err := diagnose.Verify(snap, r.Evidence); err != nil {
				t.Errorf("evidence does not verify: %v", err)
			}
			if len(r.Others) > 10 || len(r.Noise) > 20 || len(r.Symptoms) > 12 || r.Confidence < 0 || r.Confidence > 1 {
				t.Errorf("out of bounds: %d others, %d notes, %d symptoms, confidence %v", len(r.Others), len(r.Noise), len(r.Symptoms), r.Confidence)
			}
		}
	})
}

// Inquiries on one snapshot at the same time do not disturb each other.
func TestConcurrentRuns(t *testing.T) {
	for i, s := range load(t) {
		if i%6 != 0 {
			continue
		}
		snap := snapshot(t, s, scenario.Variant{})
		want := dump(t, diagnose.Run(snap, s.Input()))
		got := make([]string, 8)
		var wg sync.WaitGroup
		for j := range got {
			wg.Go(func() { got[j] = dump(t, diagnose.Run(snap, s.Input())) })
		}
		wg.Wait()
		for _, g := range got {
			if g != want {
				t.Errorf("%s: a concurrent run gives another result", s.Name)
			}
		}
	}
}
