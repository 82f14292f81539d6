package infrastructure_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/test/infrastructure"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/replay"
)

// engines are diagnosis engines by what they do. The one without a name sees nothing wrong.
func engines() map[string]infrastructure.Diagnoser {
	web := incident.Ref{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "kubernaut-system", Name: "web"}
	answers := func(r diagnose.Result) infrastructure.Diagnoser {
		return func(context.Context, *rest.Config, incident.Incident) (diagnose.Result, error) { return r, nil }
	}
	cause := diagnose.Result{
		Verdict: diagnose.VerdictCause, Confidence: 0.9,
		Cause: &incident.Cause{
			Class: "application-error", Target: web, Summary: "The program ends with code 1.", Confidence: 0.9,
			Chain: []incident.Link{{Subject: web, Statement: "no Pod is ready", Evidence: []string{"e1"}}},
		},
		Evidence: []incident.Evidence{{ID: "e1", Kind: "object", Ref: web, Path: "/status/availableReplicas", Value: "0"}},
	}
	return map[string]infrastructure.Diagnoser{
		"": answers(diagnose.Result{Verdict: diagnose.VerdictHealthy, Summary: "Nothing is wrong."}),
		"undecided": answers(diagnose.Result{
			Verdict: diagnose.VerdictUndecidable, Summary: "What could be read does not decide.", ReadNext: []string{"kubectl -n kubernaut-system logs deploy/web"},
		}),
		"cause": answers(cause),
		"cause in the cluster": func(_ context.Context, _ *rest.Config, in incident.Incident) (diagnose.Result, error) {
			if in.Resource.Same(diagnose.WholeCluster) {
				return cause, nil
			}
			return diagnose.Result{Verdict: diagnose.VerdictHealthy}, nil
		},
		"errs": func(context.Context, *rest.Config, incident.Incident) (diagnose.Result, error) {
			return diagnose.Result{}, errors.New("no route to the cluster")
		},
		"panics": func(context.Context, *rest.Config, incident.Incident) (diagnose.Result, error) {
			panic("a rule is wrong")
		},
		"hangs": func(context.Context, *rest.Config, incident.Incident) (diagnose.Result, error) { select {} },
	}
}

// The engine is asked about a run that failed once there was a cluster. Whatever it does, the class and the exit code stay.
func TestReplayDiagnosis(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the harness many times")
	}
	s := newStage(t)
	crashes := scenario{pods: crashing("cannot start")}
	specs := scenario{steps: []replay.Step{{Call: `^ginkgo`, Exit: 1, Stdout: "[FAIL] Recovery escalates after three attempts\nTest Suite Failed\n"}}}
	build := scenario{steps: says(goCall, 1, "internal/controller/decide.go:41:12: undefined: fmt.NewReader")}
	for _, row := range []struct {
		engine string
		scenario
		page []string // what it says of the engine; nil: nothing
	}{
		{"", crashes, []string{"**healthy: Nothing is wrong."}},
		{"cause", crashes, []string{
			"**application-error of Deployment kubernaut-system/web, confidence 0.90: The program ends with code 1.",
			"1. Deployment kubernaut-system/web: no Pod is ready [e1]", "e1 object Deployment kubernaut-system/web /status/availableReplicas: 0",
		}},
		{"cause in the cluster", crashes, []string{"**application-error of"}},
		{"cause in the cluster", specs, []string{"**healthy"}}, // what specifications staged there is no cause of their failure
		{"undecided", specs, []string{"**undecidable: What could be read does not decide.", "What to read next:\n\n- kubectl -n kubernaut-system logs deploy/web"}},
		{"errs", crashes, []string{"**no answer: no route to the cluster."}},
		{"panics", crashes, []string{"**no answer: the engine panicked: a rule is wrong."}},
		{"hangs", crashes, []string{"**no answer: it has not answered"}},
		{"cause", build, nil},
		{"real", crashes, []string{"of Deployment kubernaut-system/web, confidence"}},
	} {
		t.Run(row.engine, func(t *testing.T) {
			m := s.machine(t, row.scenario)
			code := m.run(order{Command: "run", Engine: row.engine})
			result := m.result()
			if f, _ := result.Cause(); code != product || f.Class != failure.Permanent || f.ExitCode() != code {
				t.Errorf("exit code %d, class %s; want %d and %s", code, f.Class, product, failure.Permanent)
			}
			page := m.report(result)
			if got := strings.Contains(page, "## What the diagnosis engine says"); got != (row.page != nil) {
				t.Errorf("a section about it: %v", got)
			}
			for _, want := range row.page {
				if !strings.Contains(page, want) {
					t.Errorf("the page lacks %q", want)
				}
			}
			if t.Failed() {
				t.Log(page + m.transcript())
			}
			var twin struct {
				Diagnosis *struct {
					Result *diagnose.Result
					Why    string
				}
			}
			text, err := os.ReadFile(filepath.Join(result.Dir, "report.json"))
			if err == nil {
				err = json.Unmarshal(text, &twin)
			}
			if err != nil || (twin.Diagnosis != nil) != (row.page != nil) || twin.Diagnosis != nil && (twin.Diagnosis.Result == nil) == (twin.Diagnosis.Why == "") {
				t.Errorf("the twin: %+v, %v", twin.Diagnosis, err)
			}
		})
	}
}
