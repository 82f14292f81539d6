package tools_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
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

// ask calls a tool and returns what a model reads. Every piece of evidence in it must hold.
func ask(t *testing.T, v *reason.View, name, arguments string) string {
	t.Helper()
	out, err := registry(t).Call(t.Context(), v, name, json.RawMessage(arguments))
	if err != nil {
		return err.Error()
	}
	ledger := reason.NewLedger(v.Result.Evidence)
	before := len(v.Result.Evidence)
	const limit = 6 << 10
	text, _ := reason.Render(out, ledger, limit)
	if len(text) > limit || !json.Valid([]byte(text)) {
		t.Errorf("%s: %d bytes, or no JSON: %s", name, len(text), text)
	}
	if err := diagnose.Verify(v.Now(), ledger.Beyond(before)); err != nil {
		t.Errorf("%s gives evidence that does not hold: %v", name, err)
	}
	return text
}

func TestTools(t *testing.T) {
	for _, tt := range []struct {
		scenario, tool, arguments string
		want                      []string
	}{
		{"oom-limit", "describe", `{"kind":"Deployment","name":"web"}`, []string{"/spec/replicas", "registry.example.com/shop/web:1.4.0", "MinimumReplicasUnavailable", `"128Mi"`}},
		{"oom-limit", "describe", `{"kind":"Deployment","name":"nothing"}`, []string{"Deployment shop/nothing does not exist", "(absent)"}},
		{"oom-limit", "describe", `{"kind":"Widget","name":"w"}`, []string{"was not read"}},
		{"oom-limit", "get", `{"kind":"Deployment","name":"web","path":"/spec/template/spec/containers/0/resources/limits"}`, []string{"/spec/template/spec/containers/0/resources/limits/memory", "128Mi"}},
		{"oom-limit", "get", `{"kind":"Deployment","name":"web","path":"/spec/paused"}`, []string{"(absent)"}},
		{"oom-limit", "list", `{"kind":"Pod","unwell":true}`, []string{"OOMKilled", "3 of 3 objects"}},
		{"oom-limit", "list", `{"kind":"Pod","labels":"no=such"}`, []string{"0 objects"}},
		{"oom-limit", "list", `{"kind":"Pod","labels":"nonsense"}`, []string{"k=v"}},
		{"oom-limit", "events", `{"kind":"Pod"}`, []string{"Back-off restarting failed container", "3 events"}},
		{"oom-limit", "owners", `{"kind":"Pod","name":"web-7c9d5f-p0"}`, []string{"is owned by ReplicaSet shop/web-7c9d5f", "is owned by Deployment shop/web"}},
		{"oom-limit", "neighbours", `{"kind":"Pod","name":"web-7c9d5f-p0"}`, []string{"runs on Node", "Service shop/web selects"}},
		{"oom-limit", "path", `{"from":{"kind":"Service","name":"web"},"to":{"kind":"Deployment","name":"web"}}`, []string{"selects"}},
		{"oom-limit", "rollout", `{"kind":"Deployment","name":"web"}`, []string{"no two revisions"}},
		{"bad-rollout", "rollout", `{"kind":"Deployment","name":"web"}`, []string{"containers[server].image was changed", "web:1.4.0", "web:1.5.0"}},
		{"oom-limit", "fit_nodes", `{"pod":"web-7c9d5f-p0"}`, []string{"nodes that were read would take it"}},
		{"oom-limit", "fit_selector", `{"labels":"app.kubernetes.io/name=web"}`, []string{"3 Pods match"}},
		{"oom-limit", "fit_quota", `{"wish":{"pods":"1"}}`, []string{"no ResourceQuota"}},
		{"oom-limit", "fit_quota", `{"wish":{"pods":"many"}}`, []string{"no quantity"}},
		{"oom-limit", "fit_network", `{"from":{"kind":"Pod","name":"web-7c9d5f-p0"},"to":{"kind":"Pod","name":"web-7c9d5f-p1"},"port":8080}`, []string{"let through"}},
		{"oom-limit", "workflows", `{}`, []string{"0 were considered"}},
		{"oom-limit", "previous", `{"kind":"Deployment","name":"web"}`, []string{"cannot be read here"}},
		{"oom-limit", "logs", `{"pod":"nothing"}`, []string{"was not read"}},
		{"oom-limit", "logs", `{"pod":"x","regex":"("}`, []string{"regex"}},
		{"oom-limit", "get", `{"kind":"Pod"}`, []string{"name"}},
		{"oom-limit", "get", `{"kind":"Pod","name":"x","shell":"rm"}`, []string{"shell"}},
		{"oom-limit", "rm", `{}`, []string{"there is none of that name", "describe"}},
	} {
		t.Run(tt.tool+" "+tt.arguments, func(t *testing.T) {
			got := ask(t, reason.NewView(told(t, tt.scenario), nil), tt.tool, tt.arguments)
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("%s of %s says %s, want it to say %q", tt.tool, tt.scenario, got, want)
				}
			}
		})
	}
}

// Whatever a tool is asked about in whichever scenario, it gives evidence that holds, within its bounds.
func TestToolsOnScenarios(t *testing.T) {
	all, err := load()
	if err != nil {
		t.Fatal(err)
	}
	step := 4 // scenarios of one class stand side by side
	if testing.Short() {
		step = 20
	}
	for i, s := range all {
		if i%step != 0 {
			continue
		}
		c := told(t, s.Name)
		v := reason.NewView(c, nil)
		for k, o := range c.Snapshot.Contents().Objects {
			ref := o.Ref()
			arguments, err := json.Marshal(map[string]any{"kind": ref.Kind, "namespace": ref.Namespace, "name": ref.Name})
			if err != nil {
				t.Fatal(err)
			}
			for _, tool := range []string{"describe", "get", "neighbours", "owners", "rollout"} {
				if k%5 == i%5 || tool == "describe" {
					ask(t, v, tool, string(arguments))
				}
			}
			if ref.Kind == "Pod" && k%3 == 0 {
				pod, _ := json.Marshal(map[string]any{"pod": ref.Name, "namespace": ref.Namespace}) // strings always have a JSON form
				ask(t, v, "logs", string(pod))
				ask(t, v, "fit_nodes", string(pod))
			}
		}
	}
}

func TestSecretsAreNotTold(t *testing.T) {
	base := told(t, "oom-limit")
	contents := base.Snapshot.Contents()
	secret, err := diagnose.NewObject(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": map[string]any{"name": "db", "namespace": "shop", "annotations": map[string]any{"hint": "hunter2"}},
		"data": map[string]any{"password": "aHVudGVyMg=="}, "stringData": map[string]any{"pin": "hunter2"},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	contents.Objects = append(slices.Clone(contents.Objects), secret)
	base.Snapshot = diagnose.NewSnapshot(contents)
	v := reason.NewView(base, nil)
	for _, arguments := range []string{
		`{"kind":"Secret","name":"db"}`, `{"kind":"Secret","name":"db","path":"/data"}`, `{"kind":"Secret","name":"db","path":"/data/password"}`,
		`{"kind":"Secret","name":"db","path":"/stringData/pin"}`, `{"kind":"Secret","name":"db","path":"/metadata/annotations"}`,
	} {
		got := ask(t, v, "get", arguments)
		if strings.Contains(got, "hunter2") || strings.Contains(got, "aHVudGVyMg") {
			t.Errorf("get %s tells %s", arguments, got)
		}
	}
	for _, tool := range []string{"describe", "neighbours"} {
		if got := ask(t, v, tool, `{"kind":"Secret","name":"db"}`); strings.Contains(got, "hunter2") || strings.Contains(got, "aHVudGVyMg") {
			t.Errorf("%s tells %s", tool, got)
		}
	}
	if got := ask(t, v, "describe", `{"kind":"Secret","name":"db"}`); !strings.Contains(got, "password, pin") {
		t.Errorf("the keys are missing: %s", got)
	}
}

// Lines that are alike stand once, with their number; what is asked for is found.
func TestLogs(t *testing.T) {
	c := told(t, "oom-limit")
	contents := c.Snapshot.Contents()
	var lines []string
	for i := range 300 {
		lines = append(lines, fmt.Sprintf("2026-11-20T11:59:%02dZ INFO request %d took %dms", i%60, i, i*7))
	}
	lines = append(lines, "panic: nil map", "goroutine 1 [running]:")
	contents.Logs = append(slices.Clone(contents.Logs), diagnose.Log{Pod: incident.Ref{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "web-7c9d5f-p0"}, Container: "server", Lines: lines, Truncated: true})
	c.Snapshot = diagnose.NewSnapshot(contents)
	v := reason.NewView(c, nil)
	for arguments, want := range map[string][]string{
		`{"pod":"web-7c9d5f-p0"}`:                                      {"(and 299 more like it)", "panic: nil map", "302 of 302 lines match", "earlier lines were not read"},
		`{"pod":"web-7c9d5f-p0","contains":"panic"}`:                   {"server/current/300", "1 of 302 lines match"},
		`{"pod":"web-7c9d5f-p0","regex":"^go.*\\[running"}`:            {"goroutine 1 [running]", "1 of 302"},
		`{"pod":"web-7c9d5f-p0","every":true,"lines":2}`:               {"panic", "goroutine", `"omitted":300`},
		`{"pod":"web-7c9d5f-p0","previous":true,"container":"server"}`: {"was not read"},
	} {
		got := ask(t, v, "logs", arguments)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("logs %s says %s, want it to say %q", arguments, got, w)
			}
		}
	}
}

// What the snapshot lacks is read live, within a bound, and then it is evidence of the extended snapshot.
func TestLive(t *testing.T) {
	c := told(t, "oom-limit")
	l := &live{t: t}
	v := reason.NewView(c, l)
	if got := ask(t, v, "describe", `{"kind":"Widget","name":"w"}`); !strings.Contains(got, "Broken") {
		t.Errorf("the live object is missing: %s", got)
	}
	if v.Extended() == nil || len(v.Extended().Contents().Objects) != len(c.Snapshot.Contents().Objects)+1 {
		t.Error("the snapshot was not extended by one object")
	}
	asked := l.asked
	for i := range 100 {
		ask(t, v, "describe", fmt.Sprintf(`{"kind":"Widget","name":"other-%d"}`, i))
	}
	if n := l.asked - asked; n > 20 {
		t.Errorf("%d further reads", n)
	}
}

type live struct {
	t     *testing.T
	asked int
}

func (l *live) Read(_ context.Context, q reason.Question) (diagnose.Contents, error) {
	l.asked++
	if q.Ref.Name != "w" {
		return diagnose.Contents{}, incident.Errorf(incident.KindForbidden, "read", "no")
	}
	o, err := diagnose.NewObject(map[string]any{
		"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"name": "w", "namespace": q.Ref.Namespace},
		"status": map[string]any{"phase": "Broken"},
	}, false)
	if err != nil {
		l.t.Fatal(err)
	}
	return diagnose.Contents{Objects: []*diagnose.Object{o}, Reads: []diagnose.Read{{APIVersion: "example.com/v1", Kind: "Widget", Namespace: q.Ref.Namespace, Name: "w", Found: 1}}}, nil
}

func TestEarlierAnalyses(t *testing.T) {
	v := reason.NewView(told(t, "oom-limit"), nil)
	v.History = past{{Class: "oom-limit", Target: "Deployment shop/web", WorkflowID: "raise", Confidence: 0.9, Reviewed: true}}
	if got := ask(t, v, "previous", `{"kind":"Deployment","name":"web"}`); !strings.Contains(got, "oom-limit at Deployment shop/web") || !strings.Contains(got, "1 earlier analyses") {
		t.Errorf("previous says %s", got)
	}
}

type past []reason.Earlier

func (p past) Previous(context.Context, incident.Ref, int) ([]reason.Earlier, error) { return p, nil }
