package catalog

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"kubernaut.ai/kubernaut/internal/incident"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// oom is a cause as the engine gives it, with the evidence that the workflows below need.
func oom() incident.Cause {
	return incident.Cause{
		Class: "oom-limit", Target: incident.Ref{Kind: "Deployment", Namespace: "shop", Name: "cart"},
		Severity: incident.SeverityHigh, SignalTypes: []string{"OOMKilled", "CrashLoopBackOff"}, Confidence: 0.95,
		Parameters: map[string]string{"NAMESPACE": "shop", "WORKLOAD_NAME": "cart", "MEMORY_LIMIT": "512Mi"},
	}
}

func signal() incident.Incident {
	return incident.Incident{
		ID: "a", RemediationID: "r", SignalType: "OOMKilled", Severity: "critical", Environment: "staging", Priority: "P1",
		Resource: incident.Ref{Kind: "Pod", Namespace: "shop", Name: "cart-1"},
	}
}

// entry is a workflow that fits oom; each change makes it another.
func entry(id string, change ...func(*Entry)) Entry {
	w := incident.Workflow{
		ID: id, Name: "name-" + id, Title: "Title " + id, Version: "1.0.0", ContainerImage: "image-" + id, ContainerDigest: "",
		Labels:       incident.WorkflowLabels{SignalType: "OOMKilled", Severity: "*", Component: "*", Environment: "*", Priority: "*"},
		CustomLabels: map[string][]string{incident.LabelCauses: {"oom-limit"}, LabelChanges: {ChangesDeclared}, LabelRisk: {"low"}},
		Status:       incident.WorkflowActive,
		Parameters: []incident.Parameter{
			{Name: "NAMESPACE", Type: "string", Required: true},
			{Name: "MEMORY_LIMIT", Type: "string", Required: true, Pattern: "[0-9]+Mi"},
			{Name: "MODE", Type: "string", Default: "rolling", Enum: []string{"rolling", "recreate"}},
		},
	}
	e := Entry{Match: incident.WorkflowMatch{WorkflowID: id, Title: w.Title, Score: 1, ContainerImage: w.ContainerImage}, Workflow: &w}
	for _, c := range change {
		c(&e)
	}
	return e
}

func label(key string, values ...string) func(*Entry) {
	return func(e *Entry) { e.Workflow.CustomLabels[key] = values }
}

func TestSelectChoosesAndFills(t *testing.T) {
	sel := Select(oom(), signal(), []Entry{
		entry("generic", func(e *Entry) { delete(e.Workflow.CustomLabels, incident.LabelCauses) }),
		entry("best"),
		entry("risky", label(LabelRisk, "high")),
	}, at)
	if len(sel.Options) != 3 || sel.Options[0].Selected.ID != "best" || sel.Options[1].Selected.ID != "risky" || sel.Options[2].Selected.ID != "generic" {
		t.Fatalf("options %+v, want best, risky, generic", sel.Options)
	}
	best := sel.Options[0]
	want := map[string]string{"NAMESPACE": "shop", "MEMORY_LIMIT": "512Mi", "MODE": "rolling"}
	if diff := cmp.Diff(want, best.Selected.Parameters); diff != "" {
		t.Errorf("parameters (-want +got): WORKLOAD_NAME is not declared and must be left out:\n%s", diff)
	}
	if !best.MadeFor || sel.Options[2].MadeFor {
		t.Errorf("made for the cause: best %v, generic %v; want true, false", best.MadeFor, sel.Options[2].MadeFor)
	}
	if c := best.Selected.Confidence; c < 0.9 || c > 0.95 {
		t.Errorf("confidence of a workflow that fits well is %.3f, want just below the cause's 0.95", c)
	}
	if c := sel.Options[2].Selected.Confidence; c >= 0.8 {
		t.Errorf("confidence of a workflow that lists no cause is %.3f, want below 0.8", c)
	}
	if sel.Review != "" {
		t.Errorf("review %q with an option", sel.Review)
	}
	var chosen []string
	for _, c := range sel.Candidates {
		if c.Chosen {
			chosen = append(chosen, c.WorkflowID)
		}
		if c.Reason == "" || c.Score < 0 || c.Score > 1 {
			t.Errorf("candidate %s has reason %q, score %v", c.WorkflowID, c.Reason, c.Score)
		}
	}
	if !slices.Equal(chosen, []string{"best"}) || sel.Candidates[0].WorkflowID != "best" {
		t.Errorf("chosen %v, first candidate %s; want best for both", chosen, sel.Candidates[0].WorkflowID)
	}
	attempt := []incident.ValidationAttempt{
		{Attempt: 1, WorkflowID: "best", Valid: true, At: at},
		{Attempt: 2, WorkflowID: "risky", Valid: true, At: at},
		{Attempt: 3, WorkflowID: "generic", Valid: true, At: at},
	}
	if diff := cmp.Diff(attempt, sel.Attempts, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

func TestSelectConstraints(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Entry)
		in     func(*incident.Incident)
		cause  func(*incident.Cause)
		fits   bool
		reason string // part of the candidate's reason when it does not fit
		review incident.ReviewReason
	}{
		{name: "fits", fits: true},
		{
			name: "disabled", change: func(e *Entry) { e.Workflow.Status = incident.WorkflowDisabled },
			reason: "is disabled in the catalog", review: incident.ReviewNoMatchingWorkflows,
		},
		{
			name: "another cause", change: label(incident.LabelCauses, "bad-rollout", "probe-failing"),
			reason: "remedies bad-rollout, probe-failing; the cause is oom-limit", review: incident.ReviewNoMatchingWorkflows,
		},
		{name: "one of its causes", change: label(incident.LabelCauses, "bad-rollout", "oom-limit"), fits: true},
		{
			name: "another component", change: func(e *Entry) { e.Workflow.Labels.Component = "node" },
			reason: "is for component node; this is deployment", review: incident.ReviewNoMatchingWorkflows,
		},
		{name: "the component", change: func(e *Entry) { e.Workflow.Labels.Component = "deployment" }, fits: true},
		{
			name: "component of a ReplicaSet", change: func(e *Entry) { e.Workflow.Labels.Component = "deployment" },
			cause: func(c *incident.Cause) { c.Target.Kind = "ReplicaSet" }, fits: true,
		},
		{
			name: "another environment", change: func(e *Entry) { e.Workflow.Labels.Environment = "production" },
			reason: "is for environment production; this is staging", review: incident.ReviewNoMatchingWorkflows,
		},
		{
			name: "another severity", change: func(e *Entry) { e.Workflow.Labels.Severity = "low" },
			reason: "is for severity low; this is high", review: incident.ReviewNoMatchingWorkflows,
		},
		{
			name: "another priority", change: func(e *Entry) { e.Workflow.Labels.Priority = "P3" },
			reason: "is for priority P3; this is P1", review: incident.ReviewNoMatchingWorkflows,
		},
		{
			name: "priority from severity", change: func(e *Entry) { e.Workflow.Labels.Priority = "P1" },
			in: func(in *incident.Incident) { in.Priority = "whatever" }, fits: true,
		},
		{
			name: "GitOps and a direct change", in: func(in *incident.Incident) {
				in.DetectedLabels.GitOpsManaged, in.DetectedLabels.GitOpsTool = true, "argocd"
			},
			reason: "would change Deployment shop/cart directly, which is managed by argocd", review: incident.ReviewNoMatchingWorkflows,
		},
		{
			name: "GitOps and a workflow that does not say what it changes", change: label(LabelChanges),
			in:     func(in *incident.Incident) { in.DetectedLabels.GitOpsManaged = true },
			reason: "would change Deployment shop/cart directly", review: incident.ReviewNoMatchingWorkflows,
		},
		{
			name: "GitOps and a restart", change: label(LabelChanges, ChangesRuntime),
			in: func(in *incident.Incident) { in.DetectedLabels.GitOpsManaged = true }, fits: true,
		},
		{
			name: "GitOps and a change at the source",
			change: func(e *Entry) {
				e.Workflow.CustomLabels[LabelChanges] = []string{ChangesSource}
				e.Workflow.DetectedLabels = incident.WorkflowTraits{GitOpsManaged: true, GitOpsTool: "*"}
			},
			in: func(in *incident.Incident) {
				in.DetectedLabels.GitOpsManaged, in.DetectedLabels.GitOpsTool = true, "flux"
			}, fits: true,
		},
		{
			name: "another GitOps tool",
			change: func(e *Entry) {
				e.Workflow.CustomLabels[LabelChanges] = []string{ChangesSource}
				e.Workflow.DetectedLabels = incident.WorkflowTraits{GitOpsManaged: true, GitOpsTool: "argocd"}
			},
			in: func(in *incident.Incident) {
				in.DetectedLabels.GitOpsManaged, in.DetectedLabels.GitOpsTool = true, "flux"
			},
			reason: "is made for argocd", review: incident.ReviewNoMatchingWorkflows,
		},
		{
			name:   "made for GitOps where there is none",
			change: func(e *Entry) { e.Workflow.DetectedLabels.GitOpsManaged = true },
			reason: "is made for objects under GitOps", review: incident.ReviewNoMatchingWorkflows,
		},
		{
			name: "GitOps that could not be detected", change: func(e *Entry) { e.Workflow.DetectedLabels.GitOpsManaged = true },
			in: func(in *incident.Incident) {
				in.DetectedLabels = incident.DetectedLabels{GitOpsManaged: true, FailedDetections: []string{"gitOpsManaged"}}
			},
			reason: "is made for objects under GitOps", review: incident.ReviewNoMatchingWorkflows,
		},
		{
			name: "Helm and a direct change", in: func(in *incident.Incident) { in.DetectedLabels.HelmManaged = true },
			reason: "which a Helm release manages", review: incident.ReviewNoMatchingWorkflows,
		},
		{
			name: "Helm manages the workload and not the node", in: func(in *incident.Incident) { in.DetectedLabels.HelmManaged = true },
			cause: func(c *incident.Cause) { c.Target = incident.Ref{Kind: "Node", Name: "n1"} }, fits: true,
		},
		{
			name: "gone from the catalog", change: func(e *Entry) { e.Workflow = nil },
			reason: "is not in the catalog any more", review: incident.ReviewWorkflowNotFound,
		},
		{
			name: "another image", change: func(e *Entry) { e.Match.ContainerImage = "evil" },
			reason: "image mismatch", review: incident.ReviewImageMismatch,
		},
		{
			name: "another digest", change: func(e *Entry) { e.Match.ContainerDigest = "sha256:x" },
			reason: "image mismatch", review: incident.ReviewImageMismatch,
		},
		{
			name: "parameter that evidence does not give", cause: func(c *incident.Cause) { delete(c.Parameters, "MEMORY_LIMIT") },
			reason: "MEMORY_LIMIT: required, and neither evidence nor a default gives it", review: incident.ReviewParameterValidation,
		},
		{
			name: "parameter that breaks its rule", cause: func(c *incident.Cause) { c.Parameters["MEMORY_LIMIT"] = "512Mi; rm -rf /" },
			reason: "MEMORY_LIMIT: must match the pattern", review: incident.ReviewParameterValidation,
		},
		{
			name: "value outside of the enum", cause: func(c *incident.Cause) { c.Parameters["MODE"] = "violent" },
			reason: "MODE: must be one of", review: incident.ReviewParameterValidation,
		},
		{
			name: "repeats the last execution", in: recovery(incident.SelectedWorkflow{ID: "w", Parameters: map[string]string{"NAMESPACE": "shop", "MEMORY_LIMIT": "512Mi", "MODE": "rolling"}}),
			reason: "was executed before with the same parameters (we-1) and failed", review: incident.ReviewNoMatchingWorkflows,
		},
		{
			name: "repeats an older execution", in: recovery(
				incident.SelectedWorkflow{ID: "w", Parameters: map[string]string{"NAMESPACE": "shop", "MEMORY_LIMIT": "512Mi"}},
				incident.SelectedWorkflow{ID: "other"}),
			reason: "was executed before with the same parameters (we-1)", review: incident.ReviewNoMatchingWorkflows,
		},
		{
			name: "repeats under another id", in: recovery(incident.SelectedWorkflow{ID: "old-id", ContainerImage: "image-w", Parameters: map[string]string{"NAMESPACE": "shop", "MEMORY_LIMIT": "512Mi"}}),
			reason: "was executed before with the same parameters", review: incident.ReviewNoMatchingWorkflows,
		},
		{
			name: "executed with parameters that nobody wrote down", in: recovery(incident.SelectedWorkflow{ID: "w"}),
			reason: "with parameters that were not recorded", review: incident.ReviewNoMatchingWorkflows,
		},
		{
			name: "executed before with other parameters", in: recovery(incident.SelectedWorkflow{ID: "w", Parameters: map[string]string{"NAMESPACE": "shop", "MEMORY_LIMIT": "256Mi"}}),
			fits: true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, in, cause := entry("w"), signal(), oom()
			if tt.change != nil {
				tt.change(&e)
			}
			if tt.in != nil {
				tt.in(&in)
			}
			if tt.cause != nil {
				tt.cause(&cause)
			}
			sel := Select(cause, in, []Entry{e}, at)
			if fits := len(sel.Options) == 1; fits != tt.fits || len(sel.Candidates) != 1 {
				t.Fatalf("fits %v, want %v; candidates %+v", fits, tt.fits, sel.Candidates)
			}
			if sel.Review != tt.review {
				t.Errorf("review %q, want %q", sel.Review, tt.review)
			}
			if !strings.Contains(sel.Candidates[0].Reason, tt.reason) {
				t.Errorf("reason %q does not say %q", sel.Candidates[0].Reason, tt.reason)
			}
		})
	}
}

func recovery(previous ...incident.SelectedWorkflow) func(*incident.Incident) {
	return func(in *incident.Incident) {
		in.Recovery = &incident.Recovery{Attempt: len(previous)}
		for i, w := range previous {
			in.Recovery.Previous = append(in.Recovery.Previous, incident.Execution{Ref: fmt.Sprintf("we-%d", i+1), Workflow: w})
		}
	}
}

func TestSelectTakesTheNextWhenTheFirstFailsValidation(t *testing.T) {
	sel := Select(oom(), signal(), []Entry{
		entry("best", func(e *Entry) {
			e.Workflow.Labels.Component = "deployment" // a better fit
			e.Workflow.Parameters = append(e.Workflow.Parameters, incident.Parameter{Name: "UNKNOWN", Type: "string", Required: true})
		}),
		entry("second"),
	}, at)
	if len(sel.Options) != 1 || sel.Options[0].Selected.ID != "second" || sel.Review != "" {
		t.Fatalf("options %+v, review %q; want second", sel.Options, sel.Review)
	}
	want := []incident.ValidationAttempt{
		{Attempt: 1, WorkflowID: "best", Errors: []string{"UNKNOWN: required, and neither evidence nor a default gives it"}, At: at},
		{Attempt: 2, WorkflowID: "second", Valid: true, At: at},
	}
	if diff := cmp.Diff(want, sel.Attempts, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

func TestSelectWithoutWorkflows(t *testing.T) {
	sel := Select(oom(), signal(), nil, at)
	if len(sel.Options)+len(sel.Candidates)+len(sel.Attempts) != 0 || sel.Review != incident.ReviewNoMatchingWorkflows {
		t.Errorf("selection %+v, want none with %s", sel, incident.ReviewNoMatchingWorkflows)
	}
}

// Whatever is offered, in whatever order: the same selection, no option that breaks a rule of its
// workflow, no repetition, no confidence above the cause's.
func TestSelectProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cause, in := oom(), signal()
		cause.Confidence = rapid.Float64Range(0, 1).Draw(t, "confidence")
		cause.Parameters["MEMORY_LIMIT"] = rapid.SampledFrom([]string{"512Mi", "1Gi", "", "x"}).Draw(t, "limit")
		in.DetectedLabels.HelmManaged = rapid.Bool().Draw(t, "helm")
		if rapid.Bool().Draw(t, "recovery") {
			recovery(incident.SelectedWorkflow{ID: "w1", Parameters: map[string]string{"NAMESPACE": "shop", "MEMORY_LIMIT": "512Mi"}})(&in)
		}
		var entries []Entry
		for i := range rapid.IntRange(0, 8).Draw(t, "entries") {
			e := entry(fmt.Sprintf("w%d", i), func(e *Entry) {
				e.Match.Score = rapid.Float64Range(-1, 2).Draw(t, "score")
				e.Workflow.CustomLabels[LabelRisk] = []string{rapid.SampledFrom([]string{"low", "medium", "high", "?"}).Draw(t, "risk")}
				e.Workflow.CustomLabels[LabelChanges] = []string{rapid.SampledFrom([]string{"declared", "runtime", "source"}).Draw(t, "changes")}
				e.Workflow.CustomLabels[incident.LabelCauses] = []string{rapid.SampledFrom([]string{"oom-limit", "bad-rollout"}).Draw(t, "cause")}
			})
			if rapid.IntRange(0, 9).Draw(t, "gone") == 0 {
				e.Workflow = nil
			}
			entries = append(entries, e)
		}
		sel := Select(cause, in, entries, at)
		shuffled := slices.Clone(entries)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if diff := cmp.Diff(sel, Select(cause, in, shuffled, at), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("the order of the entries shows (-given +shuffled):\n%s", diff)
		}
		if (len(sel.Options) == 0) == (sel.Review == "") {
			t.Fatalf("%d options and review %q", len(sel.Options), sel.Review)
		}
		if len(sel.Candidates) != len(entries) {
			t.Fatalf("%d candidates of %d entries", len(sel.Candidates), len(entries))
		}
		for _, o := range sel.Options {
			if c := o.Selected.Confidence; math.IsNaN(c) || c < 0 || c > cause.Confidence {
				t.Fatalf("confidence %v, cause %v", c, cause.Confidence)
			}
			i := slices.IndexFunc(entries, func(e Entry) bool { return e.Match.WorkflowID == o.Selected.ID })
			w := entries[i].Workflow
			for _, p := range w.Parameters {
				v, ok := o.Selected.Parameters[p.Name]
				if (!ok && p.Required) || (ok && p.Check(v) != nil) {
					t.Fatalf("parameter %s of an option is %q", p.Name, v)
				}
			}
			if in.DetectedLabels.HelmManaged && w.CustomLabels[LabelChanges][0] == ChangesDeclared {
				t.Fatalf("%s changes a Helm-managed object directly", w.ID)
			}
			if in.Recovery != nil && w.ID == "w1" && o.Selected.Parameters["MEMORY_LIMIT"] == "512Mi" {
				t.Fatal("an execution is repeated")
			}
		}
	})
}

func TestQuery(t *testing.T) {
	in := signal()
	in.CustomLabels = map[string][]string{"team": {"a"}, strings.Repeat("k", 64): {"x"}, "long": {strings.Repeat("v", 101)}}
	in.DetectedLabels = incident.DetectedLabels{
		GitOpsManaged: true, GitOpsTool: "argocd", Stateful: true, HPAEnabled: true, ServiceMesh: "unheard-of", FailedDetections: []string{"hpaEnabled"},
	}
	want := incident.WorkflowQuery{
		Labels:         incident.WorkflowLabels{SignalType: "OOMKilled", Severity: "high", Component: "deployment", Environment: "staging", Priority: "P1"},
		CustomLabels:   map[string][]string{"team": {"a"}, incident.LabelCauses: {"oom-limit"}},
		DetectedLabels: incident.WorkflowTraits{GitOpsManaged: true, GitOpsTool: "argocd", Stateful: true},
		TopK:           20, RemediationID: "r",
	}
	if diff := cmp.Diff(want, Query(oom(), in, "OOMKilled")); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}

	t.Run("of a cause elsewhere", func(t *testing.T) {
		cause := oom()
		cause.Target, cause.Severity = incident.Ref{Kind: "Node", Name: "n"}, incident.SeverityUnknown
		in := in
		in.Priority, in.Environment = "", ""
		got := Query(cause, in, "NodeNotReady")
		labels := incident.WorkflowLabels{SignalType: "NodeNotReady", Severity: "critical", Component: "node", Environment: "unknown", Priority: "P0"}
		if got.Labels != labels {
			t.Errorf("labels %+v, want %+v", got.Labels, labels)
		}
		if diff := cmp.Diff(incident.WorkflowTraits{}, got.DetectedLabels); diff != "" {
			t.Errorf("the traits are those of the workload, not of the node:\n%s", diff)
		}
	})
}

func TestSignalTypes(t *testing.T) {
	in := signal()
	in.SignalType = "crashloopbackoff"
	if diff := cmp.Diff([]string{"OOMKilled", "CrashLoopBackOff"}, SignalTypes(oom(), in)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	in.SignalType = "KubePodCrashLooping"
	if diff := cmp.Diff([]string{"OOMKilled", "CrashLoopBackOff", "KubePodCrashLooping"}, SignalTypes(oom(), in)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func BenchmarkSelect(b *testing.B) {
	var entries []Entry
	for i := range 20 {
		entries = append(entries, entry(fmt.Sprintf("w%02d", i)))
	}
	cause, in := oom(), signal()
	b.ReportAllocs()
	for b.Loop() {
		if len(Select(cause, in, entries, at).Options) == 0 {
			b.Fatal("nothing was selected")
		}
	}
}
