package investigate

import (
	"context"
	"reflect"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// The steps are told in order, with the finding, under the request of the investigation.
func TestWatch(t *testing.T) {
	c, in := told(t, scenarioOOM)
	st := newStorage(t)
	var steps []string
	var data []any
	p, err := New(Options{Observer: c, Catalog: st, Bundles: st, Audit: st, Encode: encode, Watch: func(ctx context.Context, step string, d any) {
		if incident.RequestOf(ctx).Key != "k" {
			t.Errorf("%s: request %+v", step, incident.RequestOf(ctx))
		}
		steps, data = append(steps, step), append(data, d)
	}})
	if err != nil {
		t.Fatal(err)
	}
	inv, err := p.Investigate(incident.WithRequest(t.Context(), incident.Request{Key: "k"}), in)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{StepObserved, StepDiagnosed}; !reflect.DeepEqual(steps, want) {
		t.Fatalf("steps %q, want %q", steps, want)
	}
	got, ok := data[1].(Diagnosed)
	if !ok || got.Verdict != diagnose.VerdictCause || got.Class != string(inv.CauseClass) || got.Confidence <= 0 {
		t.Errorf("diagnosed %+v", data[1])
	}
}
