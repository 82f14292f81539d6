package reason_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
	"kubernaut.ai/kubernaut/internal/reason/tools"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var load = sync.OnceValues(func() ([]*scenario.Scenario, error) {
	return scenario.Load(os.DirFS("../../test/scenarios"), "open")
})

// caseOf returns the case of a scenario.
func caseOf(t testing.TB, s *scenario.Scenario) reason.Case {
	t.Helper()
	snap, err := s.Snapshot(scenario.Variant{})
	if err != nil {
		t.Fatal(err)
	}
	return reason.Case{Incident: s.Input(), Snapshot: snap, Result: diagnose.Run(snap, s.Input())}
}

// told returns the case of the scenario of that name, with two workflows.
func told(t testing.TB, name string) reason.Case {
	t.Helper()
	all, err := load()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name {
			c := caseOf(t, s)
			options(&c)
			return c
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

// model answers as a function of the conversation.
type model func(ctx context.Context, turn int, req reason.Request) (reason.Response, error)

// Turn implements reason.Model for a model that does not look at the turn's number.
func (f model) Turn(ctx context.Context, req reason.Request) (reason.Response, error) {
	return f(ctx, 0, req)
}

// counted numbers the turns of a model.
type counted struct {
	model
	mu       sync.Mutex
	turns    int
	requests []reason.Request
}

func (c *counted) Turn(ctx context.Context, req reason.Request) (reason.Response, error) {
	c.mu.Lock()
	c.turns++
	turn := c.turns
	req.Messages = slices.Clone(req.Messages)
	c.requests = append(c.requests, req)
	c.mu.Unlock()
	return c.model(ctx, turn, req)
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
