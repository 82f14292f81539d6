package tools_test

import (
	"os"
	"sync"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/reason"
	"kubernaut.ai/kubernaut/internal/reason/tools"
)

var load = sync.OnceValues(func() ([]*scenario.Scenario, error) {
	return scenario.Load(os.DirFS("../../../test/scenarios"), "open")
})

// told returns the case of a scenario.
func told(t testing.TB, name string) reason.Case {
	t.Helper()
	all, err := load()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name {
			snap, err := s.Snapshot(scenario.Variant{})
			if err != nil {
				t.Fatal(err)
			}
			return reason.Case{Incident: s.Input(), Snapshot: snap, Result: diagnose.Run(snap, s.Input())}
		}
	}
	t.Fatalf("no scenario %s", name)
	return reason.Case{}
}

func registry(t testing.TB) reason.Registry {
	t.Helper()
	r, err := tools.All()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTry(t *testing.T) {
	r := registry(t)
	n := 0
	for _, tool := range r.Tools() {
		n += reason.CountTokens(string(tool.Schema)) + reason.CountTokens(tool.Description)
		t.Log(tool.Name, string(tool.Schema))
	}
	t.Log("tokens", n)
	c := told(t, "oom-limit")
	v := reason.NewView(c, nil)
	for _, call := range [][2]string{{"describe", `{"kind":"` + c.Incident.Resource.Kind + `","name":"` + c.Incident.Resource.Name + `"}`}, {"list", `{"kind":"Pod"}`}, {"neighbours", `{"kind":"` + c.Incident.Resource.Kind + `","name":"` + c.Incident.Resource.Name + `"}`},
		{"rollout", `{"kind":"Deployment","name":"` + c.Incident.Resource.Name + `"}`}, {"events", `{}`}, {"owners", `{"kind":"Deployment","name":"` + c.Incident.Resource.Name + `"}`}} {
		out, err := r.Call(t.Context(), v, call[0], []byte(call[1]))
		text, _ := reason.Render(out, reason.NewLedger(c.Result.Evidence), 6<<10)
		t.Log(call, err, reason.CountTokens(text), text)
	}
}
