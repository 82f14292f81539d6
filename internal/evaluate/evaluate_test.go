package evaluate_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/evaluate"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// load reads a few of the open scenarios.
var load = sync.OnceValues(func() ([]*scenario.Scenario, error) {
	few := fstest.MapFS{}
	for _, name := range []string{
		"oom-limit", "oom-growth", "bad-rollout", "image-not-found", "configmap-key-missing", "dns-down", "node-selector-mismatch", "port-conflict", "quota-exceeded",
		"service-selector-mismatch", "probe-failing", "env-missing",
	} {
		body, err := os.ReadFile("../../test/scenarios/open/" + name + ".yaml")
		if err != nil {
			return nil, err
		}
		few[name+".yaml"] = &fstest.MapFile{Data: body}
	}
	return scenario.Load(few, ".")
})

// subjects are some of the open scenarios.
func subjects(t *testing.T, n int) []evaluate.Subject {
	t.Helper()
	all, err := load()
	if err != nil {
		t.Fatal(err)
	}
	var out []evaluate.Subject
	for _, s := range all {
		if s.Expect.Verdict == diagnose.VerdictCause && len(out) < n {
			out = append(out, evaluate.Subject{Set: "open", Scenario: s})
		}
	}
	return out
}

func shelf(t *testing.T) *catalog.Shelf {
	t.Helper()
	s, err := catalog.NewShelf(nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// judge is a reasoner: a function of the case and of how often it was asked about it before.
type judge struct {
	says func(_ reason.Case, before int) reason.Outcome
	mu   sync.Mutex
	seen map[string]int
}

func (j *judge) Refine(_ context.Context, c reason.Case) reason.Outcome {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.seen == nil {
		j.seen = map[string]int{}
	}
	j.seen[c.Incident.ID]++
	return j.says(c, j.seen[c.Incident.ID]-1)
}

// The engine alone is counted as every test of scenarios counts it, and says the same each time.
func TestRunWithoutModel(t *testing.T) {
	of := subjects(t, 12)
	var told []int
	trials, err := evaluate.Run(t.Context(), evaluate.Options{Subjects: of, Catalog: shelf(t), Runs: 2, Parallel: 3, Done: func(n, _ int) { told = append(told, n) }})
	if err != nil {
		t.Fatal(err)
	}
	for i, tr := range trials {
		if tr.Name != of[i/2].Name || tr.Run != i%2+1 || tr.Model != nil {
			t.Errorf("trial %d is %s, run %d, model %v", i, tr.Name, tr.Run, tr.Model)
		}
	}
	if len(told) != 24 || !slices.IsSorted(told) {
		t.Errorf("progress = %v", told)
	}
	r := evaluate.ReportOf(trials)
	if r.Scenarios != 12 || r.Runs != 2 || r.Engine.Answers != 24 || r.Engine.Right < 22 || r.Engine.Varying != 0 || r.Model != nil || r.Engine.Causes.Number != 24 {
		t.Errorf("report: %d scenarios, %d runs, engine %+v, model %v", r.Scenarios, r.Runs, r.Engine, r.Model)
	}
}

// A model that agrees on the first run and doubts on the second varies, costs confidence, and moves no finding.
func TestRunWithModel(t *testing.T) {
	j := &judge{says: func(_ reason.Case, before int) reason.Outcome {
		out := reason.Outcome{Factor: 1, Reasoning: incident.Reasoning{
			Stance: incident.StanceAgrees, Confidence: 0.97, Usage: incident.ModelUsage{Turns: 2, InputTokens: 1000, OutputTokens: 100, Cost: 0.01},
			Explanation: []incident.Claim{{Supported: true}, {Supported: true}, {Why: "it is a guess"}}, Dropped: 1,
		}}
		if before > 0 {
			out.Stance, out.Cause, out.Factor, out.Review, out.Confidence = incident.StanceDisagrees, "healthy", 0.5, true, 0.4
		}
		return out
	}}
	trials, err := evaluate.Run(t.Context(), evaluate.Options{Subjects: subjects(t, 6), Catalog: shelf(t), Reasoner: j, Runs: 2, Clock: stepped(time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	r := evaluate.ReportOf(trials)
	m := r.Model
	if m == nil || m.Answers != 12 || m.Right != r.Engine.Right || m.Class != r.Engine.Class {
		t.Fatalf("the model moved findings: engine %+v, model %+v", r.Engine, m)
	}
	if m.Varying != 6 || r.Engine.Varying != 0 || m.Held.Varying != 6 {
		t.Errorf("varying: engine %d, model %d, held %d; want 0, 6, 6", r.Engine.Varying, m.Varying, m.Held.Varying)
	}
	if m.Causes.Mean >= r.Engine.Causes.Mean || m.Held.Right != 6 || m.Held.Healthy.Number != 6 || m.Held.Healthy.Right != 0 {
		t.Errorf("confidence: engine %v, model %v; held %+v", r.Engine.Causes.Mean, m.Causes.Mean, m.Held)
	}
	if m.Stances[incident.StanceAgrees] != 6 || m.Stances[incident.StanceDisagrees] != 6 || m.Helped != 0 || m.Misled != 6 || m.Reviews != 6 {
		t.Errorf("stances %v, helped %d, misled %d, reviews %d", m.Stances, m.Helped, m.Misled, m.Reviews)
	}
	if m.Sentences != 48 || m.Supported != 24 || m.Dropped != 12 || m.Grounding() != 0.5 {
		t.Errorf("sentences %d, supported %d, dropped %d, grounding %v", m.Sentences, m.Supported, m.Dropped, m.Grounding())
	}
	if m.Usage.InputTokens != 12_000 || m.Usage.Turns != 24 || m.MedianTokens != 1100 || m.MostCost != 0.01 || m.Usage.Cost < 0.119 {
		t.Errorf("usage %+v, median %d, most $%v", m.Usage, m.MedianTokens, m.MostCost)
	}
	if r.Engine.Median != time.Millisecond || m.Median != 2*time.Millisecond || m.Held.Longest != time.Millisecond {
		t.Errorf("latency: engine %s, both %s, model %s", r.Engine.Median, m.Median, m.Held.Longest)
	}
	if d := r.Differing(); len(d) != 6 || d[0].Model.Held.Verdict != diagnose.VerdictHealthy {
		t.Errorf("%d trials differ", len(d))
	}
	for _, want := range []string{"What the model itself", "6/12 (50.0 %)", "24/48 (50.0 %)", "12000", "the engine"} {
		if text := flat(r.Tables()); !strings.Contains(strings.ToLower(text), strings.ToLower(want)) {
			t.Errorf("the tables do not say %q:\n%s", want, text)
		}
	}
}

// stepped is a clock that goes on by step each time it is read.
func stepped(step time.Duration) func() time.Time {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	return func() time.Time {
		now = now.Add(step)
		return now
	}
}

func flat(tables []evaluate.Table) string {
	var b strings.Builder
	for _, table := range tables {
		b.WriteString(table.Title + "\n")
		for _, row := range table.Rows {
			b.WriteString(strings.Join(row, " | ") + "\n")
		}
	}
	return b.String()
}

// What each stance makes of the answer, and what the model is taken to hold.
func TestOpinions(t *testing.T) {
	for _, row := range []struct {
		name string
		out  reason.Outcome
		held *scenario.Answer // the target of the engine is filled in where it is "engine"
		kind string
	}{
		{"agrees", outcome(incident.StanceAgrees, "", ""), &scenario.Answer{Verdict: diagnose.VerdictCause, Class: "engine", Target: "engine"}, ""},
		{"another cause", outcome(incident.StanceDisagrees, "oom-growth", "Pod a/b"), &scenario.Answer{Verdict: diagnose.VerdictCause, Class: "oom-growth", Target: "Pod a/b"}, ""},
		{"nothing is wrong", outcome(incident.StanceDisagrees, "healthy", ""), &scenario.Answer{Verdict: diagnose.VerdictHealthy}, ""},
		{"cannot tell", outcome(incident.StanceDisagrees, "undecided", ""), &scenario.Answer{Verdict: diagnose.VerdictUndecidable}, ""},
		{"silent", outcome(incident.StanceSilent, "oom-growth", "Pod a/b"), nil, ""},
		{"discarded", outcome(incident.StanceDiscarded, "", ""), nil, ""},
		{"absent", reason.Outcome{Factor: 1, Reasoning: incident.Reasoning{Stance: incident.StanceAbsent}, Err: incident.Errorf(incident.KindRateLimited, "ask", "slow down")}, nil, string(incident.KindRateLimited)},
	} {
		j := &judge{says: func(reason.Case, int) reason.Outcome { return row.out }}
		trials, err := evaluate.Run(t.Context(), evaluate.Options{Subjects: subjects(t, 1), Catalog: shelf(t), Reasoner: j})
		if err != nil {
			t.Fatal(err)
		}
		got, engine := trials[0].Model, trials[0].Engine
		if row.held != nil && row.held.Class == "engine" {
			row.held.Class, row.held.Target = engine.Class, engine.Target
		}
		if (got.Held == nil) != (row.held == nil) || got.Held != nil && got.Held.String() != row.held.String() {
			t.Errorf("%s: the model holds %v, want %v", row.name, got.Held, row.held)
		}
		if got.Answer.String() != engine.String() || got.Answer.Confidence != engine.Confidence || got.Failure != row.kind {
			t.Errorf("%s: answer %s (%v), the engine's is %s (%v); failure %q", row.name, got.Answer, got.Answer.Confidence, engine, engine.Confidence, got.Failure)
		}
	}
}

func outcome(s incident.Stance, cause, target string) reason.Outcome {
	return reason.Outcome{Factor: 1, Reasoning: incident.Reasoning{Stance: s, Cause: cause, Target: target}}
}

// The end of the context ends a run, whoever is being asked.
func TestRunEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := 0
	j := &judge{says: func(reason.Case, int) reason.Outcome {
		if asked++; asked == 3 {
			cancel()
		}
		return outcome(incident.StanceSilent, "", "")
	}}
	trials, err := evaluate.Run(ctx, evaluate.Options{Subjects: subjects(t, 8), Catalog: shelf(t), Reasoner: j})
	if !errors.Is(err, context.Canceled) || trials != nil || asked > 4 {
		t.Errorf("got %d trials, error %v, asked %d times", len(trials), err, asked)
	}
}
