package catalog_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/incident"
)

func TestShelf(t *testing.T) {
	labels := incident.WorkflowLabels{SignalType: "OOMKilled", Severity: "high", Component: "deployment", Environment: "staging", Priority: "P1"}
	every := incident.WorkflowLabels{SignalType: "oomkilled", Severity: "*", Component: "*", Environment: "*", Priority: "*"}
	other := labels
	other.Component = "pod"
	causes := func(c ...string) map[string][]string { return map[string][]string{incident.LabelCauses: c} }
	shelf, err := catalog.NewShelf([]incident.Workflow{
		{ID: "exact", Labels: labels, Status: incident.WorkflowActive},
		{ID: "wild", Labels: every, Status: incident.WorkflowActive},
		{ID: "made-for-it", Labels: every, Status: incident.WorkflowActive, CustomLabels: causes("oom-limit")},
		{ID: "for-pods", Labels: other, Status: incident.WorkflowActive, CustomLabels: causes("oom-limit")},
		{ID: "disabled", Labels: labels, Status: incident.WorkflowDisabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name  string
		query incident.WorkflowQuery
		want  []string
	}{
		{"fewer wildcards first", incident.WorkflowQuery{Labels: labels}, []string{"exact", "made-for-it", "wild"}},
		{"what is asked for first", incident.WorkflowQuery{Labels: labels, CustomLabels: causes("oom-limit")}, []string{"made-for-it", "exact", "wild"}},
		{"at least a score", incident.WorkflowQuery{Labels: labels, CustomLabels: causes("oom-limit"), MinScore: 0.99}, []string{"made-for-it"}},
		{"no more than asked for", incident.WorkflowQuery{Labels: labels, TopK: 1}, []string{"exact"}},
		{"disabled ones too", incident.WorkflowQuery{Labels: labels, IncludeDisabled: true}, []string{"disabled", "exact", "made-for-it", "wild"}},
		{"another signal", incident.WorkflowQuery{Labels: incident.WorkflowLabels{SignalType: "x", Severity: "high", Component: "pod", Environment: "a", Priority: "P0"}}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			matches, err := shelf.SearchWorkflows(t.Context(), row.query)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i, m := range matches {
				got = append(got, m.WorkflowID)
				if m.Rank != i+1 {
					t.Errorf("%s has rank %d at place %d", m.WorkflowID, m.Rank, i+1)
				}
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("matches (-want +got):\n%s", diff)
			}
		})
	}
	if w, err := shelf.Workflow(t.Context(), "wild"); err != nil || w.ID != "wild" {
		t.Errorf("Workflow = %+v, %v", w, err)
	}
	if _, err := shelf.Workflow(t.Context(), "nothing"); incident.KindOf(err) != incident.KindNotFound {
		t.Errorf("a workflow that is not there: %v", err)
	}
	for name, list := range map[string][]incident.Workflow{"no id": {{Name: "a"}}, "one id for two": {{ID: "a"}, {ID: "a"}}} {
		if _, err := catalog.NewShelf(list); incident.KindOf(err) != incident.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSteps(t *testing.T) {
	w := incident.Workflow{Content: `
apiVersion: kubernaut.ai/v1alpha1
kind: RemediationWorkflow
metadata: {name: scale, version: 1.0.0}
spec:
  title: Scale
  description: Scale it.
  image: example.com/scale:1
  labels: {signalType: ScaledToZero}
  causes: [scaled-to-zero]
  changes: declared
  risk: low
  parameters:
    - {name: NAME, type: string, required: true, description: The name.}
    - {name: REPLICAS, type: int, required: true, description: How many.}
  steps:
    - kubectl scale deploy/$(NAME) --replicas=$(REPLICAS)
`}
	for _, row := range []struct {
		name       string
		parameters map[string]string
		want       []string
	}{
		{"filled", map[string]string{"NAME": "web-1.a", "REPLICAS": "3"}, []string{"kubectl scale deploy/web-1.a --replicas=3"}},
		{"what a shell would act on", map[string]string{"NAME": "web;rm -rf ~", "REPLICAS": "3"}, nil},
		{"a substitution", map[string]string{"NAME": "$(id)", "REPLICAS": "3"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, catalog.Steps(w, row.parameters)); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
	if got := catalog.Steps(incident.Workflow{Content: "no document"}, nil); got != nil {
		t.Errorf("steps of what is no document: %v", got)
	}
}
