package tools_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// model answers as a function of the conversation.
type model func(ctx context.Context, turn int, req reason.Request) (reason.Response, error)

// counted numbers the turns of a model.
type counted struct {
	model
	turns    int
	requests []reason.Request
}

func (c *counted) Turn(ctx context.Context, req reason.Request) (reason.Response, error) {
	c.turns++
	req.Messages = slices.Clone(req.Messages)
	c.requests = append(c.requests, req)
	return c.model(ctx, c.turns, req)
}

func call(name string, arguments any) reason.Call {
	raw, err := json.Marshal(arguments)
	if err != nil {
		panic(err)
	}
	return reason.Call{ID: fmt.Sprintf("%s-%d", name, len(raw)), Name: name, Arguments: raw}
}

func calls(c ...reason.Call) (reason.Response, error) {
	return reason.Response{Calls: c, Stop: reason.StopCalls}, nil
}

type m = map[string]any

// options are two workflows for a case.
func options(c *reason.Case) {
	for i, risk := range []string{"medium", "low"} {
		id := fmt.Sprintf("0000000%d-1111-4222-8333-444455556666", i)
		c.Options = append(c.Options, reason.Option{
			Workflow: incident.SelectedWorkflow{ID: id, Title: fmt.Sprintf("Remedy number %d", i), Confidence: 0.9, Rationale: "It remedies it."}, Risk: risk, MadeFor: true,
		})
		c.Candidates = append(c.Candidates, incident.Candidate{WorkflowID: id, Title: fmt.Sprintf("Remedy number %d", i), Reason: "For."})
	}
}

// agreement is a submission that says what the engine says, in its own links' words.
func agreement(c reason.Case, workflow string) m {
	var cause []m
	for _, l := range c.Result.Cause.Chain {
		cause = append(cause, m{"text": fmt.Sprintf("%s: %s.", l.Subject, strings.TrimRight(clip(l.Statement, 250), ".")), "evidence": l.Evidence[:min(len(l.Evidence), 8)]})
	}
	return m{"verdict": "cause", "candidate": "c1", "cause": cause, "workflow": workflow}
}

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}

func reasoner(t testing.TB, mod reason.Model, change func(*reason.Options)) *reason.Reasoner {
	t.Helper()
	o := reason.Options{Model: mod, Provider: "test", Name: "scripted", Tools: registry(t), Prices: reason.Prices{Input: 3, Output: 15}}
	if change != nil {
		change(&o)
	}
	r, err := reason.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// good looks around as a model would, then agrees.
func good(c reason.Case) model {
	return func(_ context.Context, turn int, _ reason.Request) (reason.Response, error) {
		target := m{"kind": c.Result.Cause.Target.Kind, "namespace": c.Result.Cause.Target.Namespace, "name": c.Result.Cause.Target.Name}
		switch turn {
		case 1:
			return calls(call("describe", target), call("neighbours", target), call("events", m{"warnings": true}))
		case 2:
			return calls(call("rollout", target), call("list", m{"kind": "Pod", "unwell": true}))
		}
		workflow := "none"
		if len(c.Options) > 0 {
			workflow = c.Options[0].Workflow.ID
		}
		return calls(call("submit_diagnosis", agreement(c, workflow)))
	}
}

// Every scenario of the engine is told to a model that looks around and agrees: it is understood, whole, and
// cheap. The one whose text gives orders is noticed.
func TestScenarios(t *testing.T) {
	all, err := load()
	if err != nil {
		t.Fatal(err)
	}
	worst, at := 0, ""
	for _, s := range all {
		c := told(t, s.Name)
		if c.Result.Verdict != diagnose.VerdictCause {
			continue
		}
		options(&c)
		out := reasoner(t, &counted{model: good(c)}, nil).Refine(t.Context(), c)
		want := incident.StanceAgrees
		if strings.Contains(s.Name, "hostile") {
			want = incident.StanceDiscarded
		}
		if out.Stance != want || out.Factor != 1 || out.Review || out.Choice != "" || out.Err != nil || out.Stopped != "" {
			t.Errorf("%s: stance %s, want %s; factor %v, review %v, suspicions %+v, attempts %+v, error %v", s.Name, out.Stance, want, out.Factor, out.Review, out.Suspicions, out.Attempts, out.Err)
		}
		if want == incident.StanceAgrees && (out.Confidence < c.Result.Confidence || out.Confidence > 0.97) {
			t.Errorf("%s: agreement made %v of %v", s.Name, out.Confidence, c.Result.Confidence)
		}
		for _, claim := range out.Explanation {
			if !claim.Supported {
				t.Errorf("%s: the engine's own %q is a hypothesis: %s", s.Name, claim.Text, claim.Why)
			}
		}
		if out.Dropped > 0 {
			t.Errorf("%s: %d of the engine's own sentences were dropped", s.Name, out.Dropped)
		}
		if total := out.Usage.InputTokens + out.Usage.OutputTokens; total > worst {
			worst, at = total, s.Name
		}
	}
	if worst == 0 || worst >= 30_000 {
		t.Errorf("%s costs %d tokens by CountTokens, want fewer than 30,000", at, worst)
	}
	t.Logf("the most expensive is %s: %d tokens in three turns", at, worst)
}
