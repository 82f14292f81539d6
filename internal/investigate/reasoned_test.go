package investigate

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
	"kubernaut.ai/kubernaut/internal/reason/tools"
)

// scripted is a model that answers turn by turn; the last answer stands.
type scripted []func(ctx context.Context) (reason.Response, error)

func (s scripted) Turn(ctx context.Context, req reason.Request) (reason.Response, error) {
	turn := 0
	for _, m := range req.Messages {
		if m.Role == reason.RoleModel {
			turn++
		}
	}
	return s[min(turn, len(s)-1)](ctx)
}

func says(calls ...reason.Call) func(context.Context) (reason.Response, error) {
	return func(context.Context) (reason.Response, error) {
		return reason.Response{Calls: calls, Stop: reason.StopCalls, Usage: reason.Usage{Input: 1000, Output: 100}}, nil
	}
}

func asks(id, name, arguments string) reason.Call {
	return reason.Call{ID: id, Name: name, Arguments: json.RawMessage(arguments)}
}

// with returns a pipeline over the scenario's cluster with a model, and its storage.
func with(t *testing.T, c *cluster, m reason.Model) (*Pipeline, *storage) {
	t.Helper()
	st := newStorage(t)
	registry, err := tools.All()
	if err != nil {
		t.Fatal(err)
	}
	r, err := reason.New(reason.Options{Model: m, Provider: "test", Name: "scripted", Tools: registry, Catalog: st, Prices: reason.Prices{Input: 1, Output: 2}, Clock: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Options{Observer: c, Catalog: st, Bundles: st, Audit: st, Encode: encode, Reasoner: r, Clock: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return p, st
}

// without returns what is answered without a model.
func without(t *testing.T, c *cluster, in incident.Incident) incident.Investigation {
	t.Helper()
	inv, err := pipeline(t, c, newStorage(t)).Investigate(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

const oomSubmission = `{"verdict":"cause","candidate":"c1","workflow":"id-of-raise-memory-limit","cause":[
	{"text":"The container was OOMKilled.","evidence":["e6"]},
	{"text":"The moon was full.","evidence":[]},
	{"text":"Please approve this now.","evidence":["e6"]}]}`

func TestModelExplains(t *testing.T) {
	c, in := told(t, scenarioOOM)
	p, st := with(t, c, scripted{
		says(asks("1", "describe", `{"kind":"Deployment","name":"web"}`), asks("2", "nothing", `{}`)),
		says(asks("3", "submit_diagnosis", `{"verdict":"cause"}`)),
		says(asks("4", "submit_diagnosis", oomSubmission)),
	})
	inv, err := p.Investigate(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	r := inv.Reasoning
	if r == nil || r.Stance != incident.StanceAgrees || r.Confidence <= 0 || r.Usage.Turns != 3 || r.Usage.ToolCalls != 2 || r.Usage.Cost == 0 || r.Dropped != 1 {
		t.Fatalf("reasoning %+v", r)
	}
	if len(r.Explanation) != 2 || !r.Explanation[0].Supported || r.Explanation[1].Supported {
		t.Errorf("explanation %+v", r.Explanation)
	}
	for _, want := range []string{"In the words of the model scripted", "OOMKilled. [e6]", "hypothesis"} {
		if !strings.Contains(inv.Analysis, want) {
			t.Errorf("the analysis lacks %q:\n%s", want, inv.Analysis)
		}
	}
	if strings.Contains(inv.Analysis, "approve") {
		t.Error("the analysis asks for approval")
	}
	n := len(inv.Attempts)
	if n < 3 || inv.Attempts[n-2].Valid || len(inv.Attempts[n-2].Errors) == 0 || !inv.Attempts[n-1].Valid || inv.Attempts[n-1].Attempt != n {
		t.Errorf("attempts %+v", inv.Attempts)
	}
	// All but the model's part is as without it.
	plain := without(t, c, in)
	bare := inv
	bare.Reasoning, bare.Attempts, bare.Analysis = nil, inv.Attempts[:n-2], plain.Analysis
	if diff := cmp.Diff(plain, bare); diff != "" {
		t.Errorf("the model changed more than its part (-without +with):\n%s", diff)
	}
	want := []string{
		audit.TypeWorkflowValidation,
		audit.TypeLLMRequest, audit.TypeLLMResponse, audit.TypeLLMToolCall, audit.TypeLLMToolCall,
		audit.TypeLLMRequest, audit.TypeLLMResponse, audit.TypeWorkflowValidation,
		audit.TypeLLMRequest, audit.TypeLLMResponse, audit.TypeWorkflowValidation,
		audit.TypeInvestigationComplete,
	}
	if diff := cmp.Diff(want, st.types()[len(plain.Attempts)-1:]); diff != "" {
		t.Errorf("audit events (-want +got):\n%s", diff)
	}
	ids := map[string]bool{}
	for _, e := range st.events {
		if ids[e.ID] {
			t.Errorf("two events have the id %s", e.ID)
		}
		ids[e.ID] = true
		if faults := e.Validate(noon); len(faults) > 0 {
			t.Errorf("the store would refuse %s: %v", e.Type, faults)
		}
	}
	last := string(st.events[len(st.events)-1].Data)
	for _, want := range []string{`"stance":"agrees"`, r.PromptHash, `"costUSD":`, `"engine":"deterministic"`} {
		if !strings.Contains(last, want) {
			t.Errorf("the last event lacks %s: %s", want, last)
		}
	}
}

func TestModelTroubleLeavesTheAnswer(t *testing.T) {
	c, in := told(t, scenarioOOM)
	plain := without(t, c, in)
	for name, m := range map[string]scripted{
		"down": {func(context.Context) (reason.Response, error) {
			return reason.Response{}, incident.Errorf(incident.KindUnavailable, "ask", "down")
		}},
		"garbage": {says(asks("1", "submit_diagnosis", `nonsense`))},
		"endless": {says(asks("1", "list", `{"kind":"Pod"}`))},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := with(t, c, m)
			inv, err := p.Investigate(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if inv.Reasoning == nil || inv.Reasoning.Stance != incident.StanceAbsent {
				t.Errorf("reasoning %+v", inv.Reasoning)
			}
			if n := len(inv.Warnings) - len(plain.Warnings); n != 1 || !strings.Contains(inv.Warnings[len(inv.Warnings)-1], "without it") {
				t.Errorf("%d more warnings: %q", n, inv.Warnings)
			}
			inv.Reasoning, inv.Warnings, inv.Attempts = nil, plain.Warnings, plain.Attempts
			if diff := cmp.Diff(plain, inv); diff != "" {
				t.Errorf("the answer differs (-without +with):\n%s", diff)
			}
		})
	}
	t.Run("no time", func(t *testing.T) {
		p, _ := with(t, c, scripted{func(context.Context) (reason.Response, error) {
			t.Error("the model was asked")
			return reason.Response{}, nil
		}})
		ctx, cancel := context.WithTimeout(t.Context(), afterModel)
		defer cancel()
		inv, err := p.Investigate(ctx, in)
		if err != nil || inv.Workflow == nil || !strings.Contains(inv.Warnings[len(inv.Warnings)-1], "was not asked") {
			t.Errorf("warnings %q, %v", inv.Warnings, err)
		}
	})
}

// A model's doubt that rests on what components recorded makes the answer stricter, and shows both causes.
func TestModelDisagrees(t *testing.T) {
	c, in := told(t, scenarioOOM)
	p, _ := with(t, c, scripted{says(asks("1", "submit_diagnosis", `{"verdict":"cause","candidate":"other","target":"Deployment shop/web","workflow":"none",
		"cause":[{"text":"Deployment web wants 3 replicas.","evidence":["e1"]}]}`))})
	inv, err := p.Investigate(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	plain := without(t, c, in)
	if inv.Reasoning.Stance != incident.StanceDisagrees || inv.Reasoning.Target != "Deployment shop/web" {
		t.Fatalf("reasoning %+v", inv.Reasoning)
	}
	if inv.Confidence >= plain.Confidence || inv.Workflow.Confidence >= plain.Workflow.Confidence || !inv.NeedsHumanReview {
		t.Errorf("confidence %v of %v, review %v", inv.Confidence, plain.Confidence, inv.NeedsHumanReview)
	}
	if inv.Workflow.ID != plain.Workflow.ID || *inv.RootCause.Target != *plain.RootCause.Target || inv.CauseClass != plain.CauseClass {
		t.Errorf("the finding itself changed: %+v", inv)
	}
	if !slices.ContainsFunc(inv.Warnings, func(w string) bool {
		return strings.Contains(w, "disagrees") && strings.Contains(w, "Deployment shop/web")
	}) {
		t.Errorf("warnings %q", inv.Warnings)
	}
}

// Whatever an outcome holds, the answer gets no less strict for it.
func TestNeverLooser(t *testing.T) {
	for _, name := range []string{scenarioOOM, scenarioUncertain, scenarioHealthy, scenarioUndecidable} {
		c, in := told(t, name)
		plain := without(t, c, in)
		for _, factor := range []float64{-1, 0, 0.5, 1, 7} {
			for _, choice := range []string{"", "id-of-delete-everything"} {
				p, err := New(Options{
					Observer: c, Catalog: newStorage(t), Bundles: newStorage(t), Audit: newStorage(t), Encode: encode, Clock: func() time.Time { return noon },
					Reasoner: lying{reason.Outcome{Factor: factor, Choice: choice, Reasoning: incident.Reasoning{Confidence: 1, Stance: incident.StanceAgrees}}},
				})
				if err != nil {
					t.Fatal(err)
				}
				inv, err := p.Investigate(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				if inv.Confidence > plain.Confidence || plain.NeedsHumanReview && !inv.NeedsHumanReview || plain.HumanReviewReason != "" && inv.HumanReviewReason != plain.HumanReviewReason {
					t.Errorf("%s: factor %v: confidence %v of %v, review %v of %v", name, factor, inv.Confidence, plain.Confidence, inv.NeedsHumanReview, plain.NeedsHumanReview)
				}
				if (inv.Workflow == nil) != (plain.Workflow == nil) || inv.Workflow != nil && (inv.Workflow.ID != plain.Workflow.ID || inv.Workflow.Confidence > plain.Workflow.Confidence) {
					t.Errorf("%s: workflow %+v, without the model %+v", name, inv.Workflow, plain.Workflow)
				}
			}
		}
	}
}

type lying struct{ reason.Outcome }

func (l lying) Refine(context.Context, reason.Case) reason.Outcome { return l.Outcome }
