package reason_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
)

const oom = "oom-limit"

// untouched checks that an outcome leaves the finding as it is, and says once that there is no opinion.
func untouched(t *testing.T, c reason.Case, out reason.Outcome) {
	t.Helper()
	if out.Factor != 1 || out.Choice != "" || out.Review || out.Confidence != c.Result.Confidence {
		t.Errorf("it moved the finding: factor %v, choice %q, review %v, confidence %v of %v", out.Factor, out.Choice, out.Review, out.Confidence, c.Result.Confidence)
	}
	if out.Stance != incident.StanceAbsent || len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "without it") {
		t.Errorf("stance %s, warnings %q, want one that says that the model gave nothing", out.Stance, out.Warnings)
	}
}

// A model that fails in any way leaves the finding, costs no more than the budget, and is told about once.
func TestBadModels(t *testing.T) {
	c := told(t, oom)
	agree := agreement(c, "none")
	failing := func(kind incident.ErrorKind) model {
		return func(context.Context, int, reason.Request) (reason.Response, error) {
			return reason.Response{}, incident.Errorf(kind, "ask", "no")
		}
	}
	for name, tt := range map[string]struct {
		model model
		want  string // in the warning
	}{
		"unreachable": {failing(incident.KindNetwork), "cannot be reached"},
		"limits rate": {failing(incident.KindRateLimited), "limits the rate"},
		"bad key":     {failing(incident.KindUnauthorized), "does not accept the key"},
		"cut stream":  {failing(incident.KindMalformed), "could not be read"},
		"untyped error": {func(context.Context, int, reason.Request) (reason.Response, error) {
			return reason.Response{}, errors.New("x")
		}, "it failed"},
		"context length": {failing(incident.KindTooLarge), "too long"},
		"refuses": {func(context.Context, int, reason.Request) (reason.Response, error) {
			return reason.Response{Stop: reason.StopRefused, Text: "I cannot."}, nil
		}, "declined"},
		"says nothing": {func(context.Context, int, reason.Request) (reason.Response, error) { return reason.Response{}, nil }, "rejected"},
		"talks": {func(context.Context, int, reason.Request) (reason.Response, error) {
			return reason.Response{Text: "The cause is ```json {\"confidence\":1}```"}, nil
		}, "rejected"},
		"garbage arguments": {func(context.Context, int, reason.Request) (reason.Response, error) {
			return calls(reason.Call{ID: "1", Name: "submit_diagnosis", Arguments: []byte(`{"verdict":`)})
		}, "rejected"},
		"huge arguments": {func(context.Context, int, reason.Request) (reason.Response, error) {
			return calls(call("submit_diagnosis", m{"cause": strings.Repeat("x", 1<<20)}))
		}, "rejected"},
		"huge text": {func(context.Context, int, reason.Request) (reason.Response, error) {
			return reason.Response{Text: strings.Repeat("word ", 1<<20)}, nil
		}, "output_tokens"},
		"unknown tools": {func(_ context.Context, turn int, _ reason.Request) (reason.Response, error) {
			return calls(call("rm", m{"x": turn}))
		}, "turns"},
		"loops": {func(context.Context, int, reason.Request) (reason.Response, error) {
			return calls(call("list", m{"kind": "Pod"}))
		}, "again and again"},
		"endless calls": {func(_ context.Context, turn int, _ reason.Request) (reason.Response, error) {
			var all []reason.Call
			for i := range 200 {
				all = append(all, call("get", m{"kind": "Pod", "name": fmt.Sprintf("p-%d-%d", turn, i)}))
			}
			return calls(all...)
		}, "limit"},
		"wrong ids": {func(context.Context, int, reason.Request) (reason.Response, error) {
			bad := m{"verdict": "cause", "candidate": "c9", "workflow": "delete-everything", "cause": agree["cause"]}
			return calls(call("submit_diagnosis", bad))
		}, "rejected"},
		"extra fields": {func(context.Context, int, reason.Request) (reason.Response, error) {
			bad := m{"verdict": "cause", "candidate": "c1", "workflow": "none", "cause": agree["cause"], "confidence": 1, "approved": true}
			return calls(call("submit_diagnosis", bad))
		}, "rejected"},
		"panics in a tool": {func(_ context.Context, turn int, _ reason.Request) (reason.Response, error) {
			return calls(call("breaks", m{"turn": turn}))
		}, "turns"},
	} {
		t.Run(name, func(t *testing.T) {
			mod := &counted{model: tt.model}
			r := reasoner(t, mod, func(o *reason.Options) {
				type in struct {
					Turn int `json:"turn"`
				}
				breaks, err := reason.NewTool("breaks", "x", func(context.Context, *reason.View, in) (reason.Output, error) { panic("broken") })
				if err != nil {
					t.Fatal(err)
				}
				o.Tools, err = reason.NewRegistry(append(o.Tools.Tools(), breaks)...)
				if err != nil {
					t.Fatal(err)
				}
			})
			out := r.Refine(t.Context(), c)
			untouched(t, c, out)
			if !strings.Contains(out.Warnings[0], tt.want) {
				t.Errorf("warning %q does not say %q", out.Warnings[0], tt.want)
			}
			if mod.turns > 8 || out.Usage.ToolCalls > 8*16 || out.Usage.InputTokens > 60_000 || out.Usage.Cost > 0.5+20*15e-6*1e4 {
				t.Errorf("%d turns, usage %+v: beyond the budget", mod.turns, out.Usage)
			}
			for _, a := range out.Attempts {
				if a.Valid || len(a.Errors) == 0 || a.At.IsZero() {
					t.Errorf("attempt %+v", a)
				}
			}
		})
	}
}

// A model that is silent for ten minutes costs no more than the time it has, and leaves nothing running.
func TestSilence(t *testing.T) {
	c := told(t, oom)
	for name, tt := range map[string]struct {
		deadline time.Duration // of the caller; 0 for none
		want     time.Duration
	}{
		"the budget's": {want: 20 * time.Second}, // of one turn
		"the caller's": {deadline: 3 * time.Second, want: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := reasoner(t, model(func(ctx context.Context, _ int, _ reason.Request) (reason.Response, error) {
				select {
				case <-ctx.Done():
					return reason.Response{}, ctx.Err()
				case <-time.After(10 * time.Minute):
					return reason.Response{}, nil
				}
			}), nil)
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				began := time.Now()
				out := r.Refine(ctx, c)
				if took := time.Since(began); took != tt.want {
					t.Errorf("it took %s, want %s", took, tt.want)
				}
				untouched(t, c, out)
			})
		})
	}
}

func TestCancellation(t *testing.T) {
	c := told(t, oom)
	ctx, cancel := context.WithCancel(t.Context())
	var running atomic.Int32
	slow, err := reason.NewTool("slow", "x", func(ctx context.Context, _ *reason.View, _ struct{}) (reason.Output, error) {
		running.Add(1)
		defer running.Add(-1)
		cancel()
		<-ctx.Done()
		return reason.Output{}, ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	mod := &counted{model: func(ctx context.Context, turn int, _ reason.Request) (reason.Response, error) {
		if err := ctx.Err(); err != nil {
			return reason.Response{}, err
		}
		return calls(call("slow", m{}), call("describe", m{"kind": "Node", "name": fmt.Sprint(turn)}))
	}}
	out := reasoner(t, mod, func(o *reason.Options) {
		if o.Tools, err = reason.NewRegistry(append(o.Tools.Tools(), slow)...); err != nil {
			t.Fatal(err)
		}
	}).Refine(ctx, c)
	untouched(t, c, out)
	if n := running.Load(); n != 0 {
		t.Errorf("%d tools still run", n)
	}
	if mod.turns > 2 {
		t.Errorf("the model was asked %d times", mod.turns)
	}
}

// Calls of one turn run side by side, and their results stand in the calls' order, whichever ended first.
func TestParallel(t *testing.T) {
	c := told(t, oom)
	type in struct {
		N int `json:"n"`
	}
	gate := make(chan struct{})
	var waiting atomic.Int32
	meet, err := reason.NewTool("meet", "x", func(ctx context.Context, _ *reason.View, in in) (reason.Output, error) {
		if waiting.Add(1) == 4 {
			close(gate)
		}
		select {
		case <-gate:
		case <-ctx.Done():
			return reason.Output{}, ctx.Err()
		}
		var out reason.Output
		out.Note("number %d", in.N)
		return out, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mod := &counted{model: func(_ context.Context, turn int, _ reason.Request) (reason.Response, error) {
		if turn == 1 {
			return calls(call("meet", m{"n": 1}), call("meet", m{"n": 2}), call("meet", m{"n": 3}), call("meet", m{"n": 4}))
		}
		return calls(call("submit_diagnosis", agreement(c, "none")))
	}}
	reasoner(t, mod, func(o *reason.Options) {
		if o.Tools, err = reason.NewRegistry(meet); err != nil {
			t.Fatal(err)
		}
	}).Refine(t.Context(), c)
	results := mod.requests[1].Messages[2].Results
	for i, r := range results {
		if want := fmt.Sprintf(`{"notes":["number %d"]}`, i+1); r.Content != want {
			t.Errorf("result %d is %s, want %s", i, r.Content, want)
		}
	}
	if len(results) != 4 {
		t.Errorf("%d results", len(results))
	}
}

// A rejected submission is sent back with all its faults, in the same conversation.
func TestCorrection(t *testing.T) {
	c := told(t, oom)
	first := agreement(c, c.Options[0].Workflow.ID)
	first["verdict"], first["candidate"] = "healthy", "c1"
	first["cause"] = []m{{"text": "It is so.", "evidence": []string{"e900"}}}
	mod := &counted{model: func(_ context.Context, turn int, _ reason.Request) (reason.Response, error) {
		switch turn {
		case 1:
			return calls(call("submit_diagnosis", first))
		case 2:
			return reason.Response{Text: "I have said it."}, nil
		}
		return calls(call("submit_diagnosis", agreement(c, c.Options[0].Workflow.ID)))
	}}
	var steps []string
	out := reasoner(t, mod, func(o *reason.Options) {
		o.Watch = func(_ context.Context, p reason.Progress) { steps = append(steps, string(p.Kind)) }
	}).Refine(t.Context(), c)
	if out.Stance != incident.StanceAgrees || out.Err != nil {
		t.Errorf("stance %s, error %v", out.Stance, out.Err)
	}
	var got []bool
	for i, a := range out.Attempts {
		got = append(got, a.Valid)
		if a.Attempt != i+1 {
			t.Errorf("attempt %d has number %d", i, a.Attempt)
		}
	}
	if !slices.Equal(got, []bool{false, false, true}) {
		t.Errorf("attempts %+v", out.Attempts)
	}
	told := mod.requests[1].Messages[2].Results[0].Content
	for _, want := range append(slices.Clone(out.Attempts[0].Errors), "e900", `"attemptsLeft":2`) {
		text, _ := json.Marshal(want)
		if !strings.Contains(told, strings.Trim(string(text), `"`)) && !strings.Contains(told, want) {
			t.Errorf("the model was told %s, which lacks %q", told, want)
		}
	}
	if len(out.Attempts[0].Errors) != 3 {
		t.Errorf("faults %q, want those of verdict, workflow and evidence", out.Attempts[0].Errors)
	}
	for i, req := range mod.requests[1:] {
		if diff := cmp.Diff(mod.requests[i].Messages, req.Messages[:len(mod.requests[i].Messages)]); diff != "" {
			t.Errorf("turn %d is another conversation:\n%s", i+2, diff)
		}
	}
	want := []string{"started", "turn", "answered", "rejected", "turn", "answered", "rejected", "turn", "answered", "submitted", "finished"}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

// Three rejections end it; what of them evidence supports is kept as explanation and moves nothing.
func TestBestSoFar(t *testing.T) {
	c := told(t, oom)
	sub := agreement(c, "none")
	cause := sub["cause"].([]m)
	sub["cause"] = append(cause, m{"text": "The disk of node n9 is full.", "evidence": []string{"e77"}})
	mod := &counted{model: func(context.Context, int, reason.Request) (reason.Response, error) {
		return calls(call("submit_diagnosis", sub))
	}}
	out := reasoner(t, mod, nil).Refine(t.Context(), c)
	if mod.turns != reason.MaxAttempts || len(out.Attempts) != reason.MaxAttempts {
		t.Errorf("%d turns, %d attempts", mod.turns, len(out.Attempts))
	}
	if out.Stance != incident.StanceSilent || len(out.Explanation) != len(cause) || out.Factor != 1 || out.Review || out.Confidence != c.Result.Confidence {
		t.Errorf("stance %s, explanation %+v, factor %v", out.Stance, out.Explanation, out.Factor)
	}
	if len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "stopped") {
		t.Errorf("warnings %q", out.Warnings)
	}
}

// Whatever limit is reached, the turn before it may only submit, so that what was read is not lost.
func TestLastTurn(t *testing.T) {
	c := told(t, oom)
	for name, budget := range map[string]reason.Budget{
		"turns":      {Turns: 3},
		"tool calls": {ToolCalls: 3},
		"input":      {InputTokens: 17_000},
		"cost":       {Cost: 0.06},
	} {
		t.Run(name, func(t *testing.T) {
			mod := &counted{model: func(_ context.Context, turn int, req reason.Request) (reason.Response, error) {
				if req.Only == "submit_diagnosis" {
					return calls(call("submit_diagnosis", agreement(c, "none")))
				}
				return calls(call("get", m{"kind": "Node", "name": fmt.Sprint(turn)}), call("list", m{"kind": "Pod", "namespace": fmt.Sprint(turn)}))
			}}
			out := reasoner(t, mod, func(o *reason.Options) { o.Budget = budget }).Refine(t.Context(), c)
			if out.Stance != incident.StanceAgrees || out.Stopped != "" {
				t.Errorf("stance %s, stopped %q after %d turns: %+v", out.Stance, out.Stopped, mod.turns, out.Usage)
			}
			if budget.InputTokens > 0 && out.Usage.InputTokens > budget.InputTokens || budget.Cost > 0 && out.Usage.Cost > budget.Cost {
				t.Errorf("usage %+v is beyond %+v", out.Usage, budget)
			}
			last := mod.requests[len(mod.requests)-1]
			if text := last.Messages[len(last.Messages)-1].Text; !strings.Contains(text, "last turn") {
				t.Errorf("the last turn is not announced: %q", text)
			}
		})
	}
}

// A conversation that is too long for the model is shortened once.
func TestTooLong(t *testing.T) {
	c := told(t, oom)
	mod := &counted{model: func(_ context.Context, turn int, _ reason.Request) (reason.Response, error) {
		switch turn {
		case 1:
			return calls(call("list", m{"kind": "Pod"}))
		case 2:
			return calls(call("list", m{"kind": "Node"}))
		case 3:
			return reason.Response{}, incident.Errorf(incident.KindTooLarge, "ask", "too long")
		}
		return calls(call("submit_diagnosis", agreement(c, "none")))
	}}
	out := reasoner(t, mod, nil).Refine(t.Context(), c)
	if out.Stance != incident.StanceAgrees {
		t.Fatalf("stance %s, error %v", out.Stance, out.Err)
	}
	shortened := mod.requests[3].Messages
	if got := shortened[2].Results[0].Content; !strings.Contains(got, "left out") {
		t.Errorf("the first result is still %s", got)
	}
	if got := shortened[4].Results[0].Content; strings.Contains(got, "left out") {
		t.Error("the latest result was left out too")
	}
}

// Tokens that the vendor counts are charged, at the model's prices; else they are estimated, and that is said.
func TestUsage(t *testing.T) {
	c := told(t, oom)
	submit := func(u reason.Usage) model {
		return func(context.Context, int, reason.Request) (reason.Response, error) {
			r, _ := calls(call("submit_diagnosis", agreement(c, "none")))
			r.Usage, r.Model = u, "scripted-2026"
			return r, nil
		}
	}
	prices := func(o *reason.Options) { o.Prices = reason.Prices{Input: 2, Cached: 1, Output: 10} }
	out := reasoner(t, submit(reason.Usage{Input: 5000, Cached: 4000, Output: 200}), prices).Refine(t.Context(), c)
	want := incident.ModelUsage{Turns: 1, InputTokens: 5000, CachedTokens: 4000, OutputTokens: 200, Cost: (1000*2 + 4000*1 + 200*10) / 1e6}
	got := out.Usage
	got.DurationMS = 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	if out.Model != "scripted-2026" || out.Provider != "test" || len(out.PromptHash) != 64 {
		t.Errorf("model %q of %q, prompts %q", out.Model, out.Provider, out.PromptHash)
	}
	out = reasoner(t, submit(reason.Usage{}), prices).Refine(t.Context(), c)
	if !out.Usage.Estimated || out.Usage.InputTokens < 3000 || out.Usage.OutputTokens < 100 || out.Usage.Cost == 0 {
		t.Errorf("usage %+v is no estimate", out.Usage)
	}
}

// A transcript repeats the investigation without its model.
func TestReplay(t *testing.T) {
	c := told(t, oom)
	r := reasoner(t, &counted{model: good(c)}, nil)
	out := r.Refine(t.Context(), c)
	text, err := json.Marshal(out.Transcript)
	if err != nil {
		t.Fatal(err)
	}
	var recorded reason.Transcript
	if err := json.Unmarshal(text, &recorded); err != nil {
		t.Fatal(err)
	}
	again, err := r.Replay(t.Context(), recorded, c)
	if err != nil {
		t.Fatal(err)
	}
	again.Usage, out.Usage = incident.ModelUsage{}, incident.ModelUsage{}
	if diff := cmp.Diff(out.Reasoning, again.Reasoning); diff != "" {
		t.Errorf("replayed (-first +again):\n%s", diff)
	}
	recorded.Format = "other"
	if _, err := r.Replay(t.Context(), recorded, c); incident.KindOf(err) != incident.KindMalformed {
		t.Errorf("another format: %v", err)
	}
}

// Nothing of a cluster is in the instructions, and everything of it is JSON.
func TestDataIsNoInstruction(t *testing.T) {
	a, b := told(t, oom), told(t, "bad-rollout-hostile-text")
	var system []string
	for _, c := range []reason.Case{a, b} {
		mod := &counted{model: good(c)}
		reasoner(t, mod, nil).Refine(t.Context(), c)
		for _, req := range mod.requests {
			system = append(system, req.System)
			for _, msg := range req.Messages {
				if msg.Role == reason.RoleUser && !json.Valid([]byte(msg.Text)) && !strings.Contains(msg.Text, "submit_diagnosis") {
					t.Errorf("a user message is no JSON: %s", msg.Text)
				}
				for _, r := range msg.Results {
					if !json.Valid([]byte(r.Content)) {
						t.Errorf("a result is no JSON: %s", r.Content)
					}
					if strings.ContainsAny(r.Content, "<>\u202e\u200b") {
						t.Errorf("a result can break out of what surrounds it: %s", r.Content)
					}
				}
			}
		}
	}
	if slices.ContainsFunc(system, func(s string) bool { return s != system[0] }) {
		t.Error("the instructions depend on the case")
	}
}

func TestNewRefuses(t *testing.T) {
	good := reason.Options{Model: model(nil), Provider: "p", Name: "n"}
	for name, change := range map[string]func(*reason.Options){
		"no model":        func(o *reason.Options) { o.Model = nil },
		"no name":         func(o *reason.Options) { o.Name = "" },
		"negative budget": func(o *reason.Options) { o.Budget.Turns = -1 },
		"negative price":  func(o *reason.Options) { o.Prices.Output = -1 },
	} {
		o := good
		change(&o)
		if _, err := reason.New(o); incident.KindOf(err) != incident.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := reason.New(good); err != nil {
		t.Error(err)
	}
	if _, err := reason.NewRegistry(registry(t).Tools()[0], registry(t).Tools()[0]); incident.KindOf(err) != incident.KindInvalid {
		t.Errorf("two tools of one name: %v", err)
	}
}

// The loop itself takes little beside the model.
func BenchmarkTurn(b *testing.B) {
	c := told(b, oom)
	r := reasoner(b, model(func(ctx context.Context, _ int, req reason.Request) (reason.Response, error) {
		return good(c)(ctx, 1+len(req.Messages)/2, req)
	}), nil)
	for b.Loop() {
		if out := r.Refine(b.Context(), c); out.Stance != incident.StanceAgrees {
			b.Fatal(out.Stance, out.Err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(3*b.N)/1000, "ms/turn")
}
