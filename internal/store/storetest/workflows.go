package storetest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/incident"
)

func testWorkflowComesBack(t *testing.T, s *subject) {
	in := Workflow("fix-oom", "1.2.3")
	in.Owner, in.Maintainer, in.StatusReason, in.CreatedBy = "sre", "sre@example.com", "new", "jane"
	in.ContentHash = strings.ToUpper(in.ContentHash)
	in.ContainerDigest = "sha256:" + strings.Repeat("a", 64)
	in.ContainerImage = "registry.example.com/fix-oom@" + in.ContainerDigest
	in.PreviousVersion, in.DeprecationNotice, in.VersionNotes, in.ChangeSummary = "1.2.2", "soon", "notes", "changes"
	in.ApprovedBy, in.ApprovedAt = "joe", new(s.clock().Add(-time.Hour).Truncate(time.Microsecond))
	in.ExpectedSuccessRate, in.ExpectedDurationSeconds = new(0.95), new(120)
	in.CustomLabels = map[string][]string{"team": {`a"b`, `c\d`, "e'f"}, incident.LabelCauses: {"oom-limit"}}
	in.DetectedLabels = incident.WorkflowTraits{
		GitOpsManaged: true, GitOpsTool: "*", PDBProtected: true, HPAEnabled: true, Stateful: true, HelmManaged: true,
		NetworkIsolated: true, ServiceMesh: "istio",
	}
	in.Parameters = []incident.Parameter{
		{Name: "MEMORY_LIMIT", Type: "string", Description: "new limit", Required: true, Pattern: `^\d+Mi$`, MinLength: new(3), MaxLength: new(10)},
		{Name: "REPLICAS", Type: "int", Minimum: new(1.0), Maximum: new(9.0), Default: "3", Enum: []string{"1", "3"}},
	}
	created := s.mustCreate(t, in)

	want := in
	want.ContentHash = strings.ToLower(in.ContentHash)
	want.ID, want.IsLatest = created.ID, true
	want.CreatedAt = s.clock().Truncate(time.Microsecond)
	want.UpdatedAt = want.CreatedAt
	if !incident.ValidUUID(created.ID) {
		t.Errorf("id = %q, want a UUID", created.ID)
	}
	if diff := cmp.Diff(want, created); diff != "" {
		t.Errorf("CreateWorkflow (-want +got):\n%s", diff)
	}
	got, err := s.Workflow(t.Context(), strings.ToUpper(created.ID))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(created, got); diff != "" {
		t.Errorf("Workflow (-created +got):\n%s", diff)
	}
	_, err = s.CreateWorkflow(t.Context(), in)
	wantKind(t, err, incident.KindConflict, created.ID)
	_, err = s.Workflow(t.Context(), "00000000-0000-0000-0000-000000000000")
	wantKind(t, err, incident.KindNotFound)
}

func testInvalidWorkflow(t *testing.T, s *subject) {
	_, err := s.CreateWorkflow(t.Context(), incident.Workflow{})
	wantFields(t, err, "workflow_name", "version", "name", "content", "content_hash", "execution_engine", "labels.signal_type",
		"labels.component", "labels.environment", "labels.severity", "labels.priority", "status")
	wrong := Workflow("fix-oom", "1.0.0")
	wrong.Content += "# edited"
	_, err = s.CreateWorkflow(t.Context(), wrong)
	wantFields(t, err, "content_hash")
	wantKind(t, err, incident.KindInvalid, incident.ContentDigest(wrong.Content), wrong.ContentHash)
	wrong = Workflow("fix-oom", "1.0.0")
	wrong.Parameters = []incident.Parameter{{Name: "A", Type: "int", Minimum: new(5.0), Maximum: new(1.0)}}
	_, err = s.CreateWorkflow(t.Context(), wrong)
	wantFields(t, err, "parameters.schema.parameters[0].minimum")
	if page, err := s.Workflows(t.Context(), incident.WorkflowFilter{}); err != nil || page.Total != 0 {
		t.Errorf("%d workflows of invalid requests, %v, want 0", page.Total, err)
	}
}

// latest returns the version of the name that a search finds.
func (s *subject) latest(t *testing.T, name string) string {
	t.Helper()
	versions, err := s.WorkflowVersions(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var latest []string
	for _, v := range versions {
		if v.IsLatest {
			latest = append(latest, v.Version)
		}
	}
	if len(latest) != 1 {
		t.Fatalf("latest versions of %s are %q, want exactly one", name, latest)
	}
	return latest[0]
}

func testLatest(t *testing.T, s *subject) {
	ids := make(map[string]string)
	for _, v := range []struct{ version, latest string }{
		{"1.0.0", "1.0.0"},
		{"1.10.0", "1.10.0"},
		{"1.9.0", "1.10.0"}, // a later registration of an earlier version
		{"1.11.0-rc.1", "1.11.0-rc.1"},
	} {
		ids[v.version] = s.mustCreate(t, Workflow("fix-oom", v.version)).ID
		s.step(time.Second)
		if got := s.latest(t, "fix-oom"); got != v.latest {
			t.Errorf("after registering %s the latest is %s, want %s", v.version, got, v.latest)
		}
	}
	s.mustCreate(t, Workflow("other", "0.1"))
	versions, err := s.WorkflowVersions(t.Context(), "fix-oom")
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, v := range versions {
		order = append(order, v.Version)
	}
	if want := []string{"1.11.0-rc.1", "1.10.0", "1.9.0", "1.0.0"}; !slices.Equal(order, want) {
		t.Errorf("versions in order %q, want %q", order, want)
	}
	for _, c := range []struct {
		version string
		status  incident.WorkflowStatus
		latest  string
	}{
		{"1.11.0-rc.1", incident.WorkflowDisabled, "1.10.0"},
		{"1.9.0", incident.WorkflowDisabled, "1.10.0"},
		{"1.10.0", incident.WorkflowDeprecated, "1.0.0"},
		{"1.9.0", incident.WorkflowActive, "1.9.0"},
		{"1.9.0", incident.WorkflowArchived, "1.0.0"},
		{"1.0.0", incident.WorkflowDisabled, "1.11.0-rc.1"}, // none is active
		{"1.10.0", incident.WorkflowActive, "1.10.0"},
	} {
		if _, err := s.ChangeWorkflow(t.Context(), ids[c.version], incident.WorkflowChange{Status: c.status}); err != nil {
			t.Fatal(err)
		}
		if got := s.latest(t, "fix-oom"); got != c.latest {
			t.Errorf("with %s made %s the latest is %s, want %s", c.version, c.status, got, c.latest)
		}
	}
	if none, err := s.WorkflowVersions(t.Context(), "no such"); err != nil || len(none) != 0 {
		t.Errorf("versions of an unknown name = %v, %v, want none", none, err)
	}
}

func testStatusChanges(t *testing.T, s *subject) {
	w := s.mustCreate(t, Workflow("fix-oom", "1.0.0"))
	s.step(time.Minute)
	change := func(status incident.WorkflowStatus) (incident.Workflow, error) {
		return s.ChangeWorkflow(t.Context(), w.ID, incident.WorkflowChange{Status: status, By: "jane", Reason: "because"})
	}
	disabled, err := change(incident.WorkflowDisabled)
	if err != nil {
		t.Fatal(err)
	}
	want := w
	want.Status, want.StatusReason, want.DisabledBy, want.DisabledReason, want.UpdatedBy =
		incident.WorkflowDisabled, "because", "jane", "because", "jane"
	want.UpdatedAt = s.clock().Truncate(time.Microsecond)
	want.DisabledAt = new(want.UpdatedAt)
	if diff := cmp.Diff(want, disabled); diff != "" {
		t.Errorf("disabled (-want +got):\n%s", diff)
	}
	s.step(time.Minute)
	for _, same := range []incident.WorkflowStatus{"", incident.WorkflowDisabled} {
		got, err := change(same)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(disabled, got); diff != "" {
			t.Errorf("change to %q of a disabled version changes it (-before +after):\n%s", same, diff)
		}
	}
	active, err := change(incident.WorkflowActive)
	if err != nil || active.Status != incident.WorkflowActive || active.DisabledAt != nil || active.DisabledBy != "" {
		t.Errorf("made active: %+v, %v", active, err)
	}
	if _, err := change(incident.WorkflowArchived); err != nil {
		t.Fatal(err)
	}
	_, err = change(incident.WorkflowActive)
	wantKind(t, err, incident.KindConflict)
	_, err = change("paused")
	wantFields(t, err, "status")
	_, err = s.ChangeWorkflow(t.Context(), "00000000-0000-0000-0000-000000000000", incident.WorkflowChange{Status: incident.WorkflowActive})
	wantKind(t, err, incident.KindNotFound)
}

func testExecutions(t *testing.T, s *subject) {
	w := s.mustCreate(t, Workflow("fix-oom", "1.0.0"))
	s.step(time.Minute)
	count := func(total, successful int) (incident.Workflow, error) {
		return s.ChangeWorkflow(t.Context(), w.ID, incident.WorkflowChange{
			By: "engine", Executions: &incident.WorkflowExecutions{Total: total, Successful: successful},
		})
	}
	counted, err := count(8, 6)
	if err != nil {
		t.Fatal(err)
	}
	want := w
	want.TotalExecutions, want.SuccessfulExecutions, want.ActualSuccessRate = 8, 6, new(0.75)
	want.UpdatedAt, want.UpdatedBy = s.clock().Truncate(time.Microsecond), "engine"
	if diff := cmp.Diff(want, counted); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	s.step(time.Minute)
	if again, err := count(8, 6); err != nil || !cmp.Equal(counted, again) {
		t.Errorf("the same counts again: %v\n%s", err, cmp.Diff(counted, again))
	}
	report, err := s.VerifyChain(t.Context(), w.ID)
	if err != nil || !report.Valid || report.Events != 2 {
		t.Errorf("audit trail %+v, %v; want creation and one update", report, err)
	}
	both, err := s.ChangeWorkflow(t.Context(), w.ID, incident.WorkflowChange{
		Status: incident.WorkflowArchived, Executions: &incident.WorkflowExecutions{},
	})
	if err != nil || both.Status != incident.WorkflowArchived || both.TotalExecutions != 0 || both.ActualSuccessRate != nil {
		t.Errorf("status and counts at once: %+v, %v", both, err)
	}
	if late, err := count(9, 6); err != nil || late.TotalExecutions != 9 {
		t.Errorf("an execution that ends after its workflow was archived: %+v, %v", late, err)
	}
	_, err = count(-1, 0)
	wantFields(t, err, "total_executions", "successful_executions")
	_, err = count(1_000_000_001, 0)
	wantFields(t, err, "total_executions")
	_, err = count(1, 2)
	wantFields(t, err, "successful_executions")
}

func testWorkflowList(t *testing.T, s *subject) {
	for i := range 12 {
		w := Workflow("w", fmt.Sprint(i))
		if i%3 == 0 {
			w.Labels.Environment, w.Labels.Priority, w.Labels.Component, w.Status = "staging", "*", "node", incident.WorkflowDeprecated
		}
		s.mustCreate(t, w)
		s.step(time.Second)
	}
	for _, tt := range []struct {
		name   string
		filter incident.WorkflowFilter
		want   int64
	}{
		{"all", incident.WorkflowFilter{}, 12},
		{"status", incident.WorkflowFilter{Status: incident.WorkflowDeprecated}, 4},
		{"environment", incident.WorkflowFilter{Environment: "staging"}, 4},
		{"priority", incident.WorkflowFilter{Priority: "P0"}, 8},
		{"component and status", incident.WorkflowFilter{Component: "node", Status: incident.WorkflowActive}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			page, err := s.Workflows(t.Context(), tt.filter)
			if err != nil || page.Total != tt.want || len(page.Workflows) != int(tt.want) || page.Limit != 100 {
				t.Errorf("%d workflows, total %d, limit %d, %v, want %d", len(page.Workflows), page.Total, page.Limit, err, tt.want)
			}
		})
	}
	page, err := s.Workflows(t.Context(), incident.WorkflowFilter{Limit: 2, Offset: 3})
	if err != nil || len(page.Workflows) != 2 || page.Workflows[0].Version != "8" || page.Workflows[1].Version != "7" || page.Total != 12 {
		t.Errorf("page = %+v, %v, want versions 8 and 7 of 12 (newest first)", page, err)
	}
	_, err = s.Workflows(t.Context(), incident.WorkflowFilter{Limit: 1001})
	wantFields(t, err, "limit")
}

// found returns the titles of the matches, best first.
func (s *subject) found(t *testing.T, q incident.WorkflowQuery) []string {
	t.Helper()
	result, err := s.SearchWorkflows(t.Context(), q)
	if err != nil {
		t.Fatalf("SearchWorkflows(%+v): %v", q, err)
	}
	titles := []string{}
	for i, m := range result.Matches {
		titles = append(titles, strings.TrimPrefix(m.Title, "Title of "))
		if m.Rank != i+1 {
			t.Errorf("rank of match %d = %d", i, m.Rank)
		}
	}
	return titles
}

func testSearchLabels(t *testing.T, s *subject) {
	add := func(name string, change func(w *incident.Workflow)) incident.Workflow {
		w := Workflow(name, "1")
		change(&w)
		s.step(time.Second)
		return s.mustCreate(t, w)
	}
	add("exact", func(*incident.Workflow) {})
	add("any-component", func(w *incident.Workflow) { w.Labels.Component = "*" })
	add("any-environment", func(w *incident.Workflow) { w.Labels.Environment = "*" })
	add("any-priority", func(w *incident.Workflow) { w.Labels.Priority = "*" })
	add("any-severity", func(w *incident.Workflow) { w.Labels.Severity = "*" })
	add("anything", func(w *incident.Workflow) {
		w.Labels.Severity, w.Labels.Component, w.Labels.Environment, w.Labels.Priority = "*", "*", "*", "*"
	})
	add("other-signal", func(w *incident.Workflow) { w.Labels.SignalType = "CrashLoopBackOff" })
	add("other-severity", func(w *incident.Workflow) { w.Labels.Severity = "low" })
	disabled := add("disabled", func(*incident.Workflow) {})
	if _, err := s.ChangeWorkflow(t.Context(), disabled.ID, incident.WorkflowChange{Status: incident.WorkflowDisabled}); err != nil {
		t.Fatal(err)
	}
	add("lower-case", func(w *incident.Workflow) { w.Labels.SignalType = "oomkilled" })

	all := []string{"lower-case", "exact", "any-severity", "any-priority", "any-environment", "any-component", "anything"}
	tests := []struct {
		name   string
		change func(q *incident.WorkflowQuery)
		want   []string
	}{
		{"all labels, exact ones first, then newest", func(*incident.WorkflowQuery) {}, all},
		{"signal type in another case", func(q *incident.WorkflowQuery) { q.Labels.SignalType = "OOMKILLED" }, all},
		{"other environment", func(q *incident.WorkflowQuery) { q.Labels.Environment = "staging" }, []string{"any-environment", "anything"}},
		{"other component and priority", func(q *incident.WorkflowQuery) { q.Labels.Component, q.Labels.Priority = "node", "P3" }, []string{"anything"}},
		{"other signal", func(q *incident.WorkflowQuery) { q.Labels.SignalType = "CrashLoopBackOff" }, []string{"other-signal"}},
		{"unknown signal", func(q *incident.WorkflowQuery) { q.Labels.SignalType = "x' OR 1=1 --" }, []string{}},
		{"disabled too", func(q *incident.WorkflowQuery) { q.IncludeDisabled, q.TopK = true, 3 }, []string{"lower-case", "disabled", "exact"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := Query()
			tt.change(&q)
			if got := s.found(t, q); !slices.Equal(got, tt.want) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
	q := Query()
	q.TopK = 2
	if r, err := s.SearchWorkflows(t.Context(), q); err != nil || len(r.Matches) != 2 || r.Total != 7 {
		t.Errorf("top 2: %d matches of %d, %v, want 2 of 7", len(r.Matches), r.Total, err)
	}
	_, err := s.SearchWorkflows(t.Context(), incident.WorkflowQuery{TopK: 101, MinScore: math.NaN()})
	wantFields(t, err, "filters.signal_type", "filters.severity", "filters.component", "filters.environment",
		"filters.priority", "top_k", "min_score")
}

func testSearchScores(t *testing.T, s *subject) {
	add := func(name string, traits incident.WorkflowTraits, custom map[string][]string) {
		w := Workflow(name, "1")
		w.DetectedLabels, w.CustomLabels = traits, custom
		s.mustCreate(t, w)
		s.step(time.Second)
	}
	add("plain", incident.WorkflowTraits{}, nil)
	add("gitops", incident.WorkflowTraits{GitOpsManaged: true, GitOpsTool: "argocd"}, nil)
	add("any-tool", incident.WorkflowTraits{GitOpsManaged: true, GitOpsTool: "*", ServiceMesh: "*"}, nil)
	add("labelled", incident.WorkflowTraits{PDBProtected: true, Stateful: true}, map[string][]string{"team": {"a", "b"}, "zone": {"*"}})

	type scores map[string]float64
	tests := []struct {
		name   string
		traits incident.WorkflowTraits
		custom map[string][]string
		want   scores
	}{
		{"nothing asked for", incident.WorkflowTraits{}, nil, scores{"plain": 1, "gitops": 1, "any-tool": 1, "labelled": 1}},
		{
			"failed detections are not asked for",
			incident.WorkflowTraits{GitOpsManaged: true, GitOpsTool: "flux", FailedDetections: []string{"gitOpsManaged"}},
			nil,
			scores{"plain": 1, "gitops": 1, "any-tool": 1, "labelled": 1},
		},
		{
			"GitOps",
			incident.WorkflowTraits{GitOpsManaged: true, GitOpsTool: "argocd"},
			nil,
			scores{"gitops": 1, "any-tool": 0.65 / 0.7, "plain": 0.3 / 0.7, "labelled": 0.3 / 0.7},
		},
		{
			"another tool",
			incident.WorkflowTraits{GitOpsTool: "flux"},
			nil,
			scores{"any-tool": 0.55 / 0.6, "plain": 0.4 / 0.6, "gitops": 0.4 / 0.6, "labelled": 0.4 / 0.6},
		},
		{
			"any tool",
			incident.WorkflowTraits{GitOpsTool: "*"},
			nil,
			scores{"gitops": 1, "any-tool": 1, "plain": 0.5 / 0.55, "labelled": 0.5 / 0.55},
		},
		{
			"any mesh",
			incident.WorkflowTraits{ServiceMesh: "*"},
			nil,
			scores{"any-tool": 1, "plain": 0.5 / 0.525, "gitops": 0.5 / 0.525, "labelled": 0.5 / 0.525},
		},
		{
			"custom labels",
			incident.WorkflowTraits{},
			map[string][]string{"team": {"a", "c"}, "zone": {"eu"}},
			scores{"labelled": 0.575 / 0.65, "plain": 0.5 / 0.65, "gitops": 0.5 / 0.65, "any-tool": 0.5 / 0.65},
		},
		{
			"all traits",
			incident.WorkflowTraits{PDBProtected: true, HPAEnabled: true, Stateful: true, HelmManaged: true, NetworkIsolated: true, ServiceMesh: "istio"},
			nil,
			scores{"labelled": 0.57 / 0.69, "any-tool": 0.525 / 0.69, "plain": 0.5 / 0.69, "gitops": 0.5 / 0.69},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := Query()
			q.DetectedLabels, q.CustomLabels = tt.traits, tt.custom
			result, err := s.SearchWorkflows(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			got, last := scores{}, 1.0
			for _, m := range result.Matches {
				got[strings.TrimPrefix(m.Title, "Title of ")] = m.Score
				if m.Score > last {
					t.Errorf("%s with score %g comes after one with %g", m.Title, m.Score, last)
				}
				last = m.Score
			}
			for name, want := range tt.want {
				if math.Abs(got[name]-want) > 1e-12 {
					t.Errorf("score of %s = %v, want %v", name, got[name], want)
				}
			}
			q.MinScore = 1
			perfect, err := s.SearchWorkflows(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range perfect.Matches {
				if m.Score != 1 {
					t.Errorf("min_score 1 lets %s through with %v", m.Title, m.Score)
				}
			}
		})
	}
}

func testSearchAnyText(t *testing.T, s *subject) {
	w := Workflow("odd", "1")
	odd := []string{`"`, `\`, `'; DROP TABLE workflows; --`, "%_", "{}", "\U0001f600"}
	w.CustomLabels = map[string][]string{`k"\'`: odd}
	s.mustCreate(t, w)
	q := Query()
	q.CustomLabels = map[string][]string{`k"\'`: odd}
	q.MinScore = 1
	if got := s.found(t, q); !slices.Equal(got, []string{"odd"}) {
		t.Errorf("found %q, want the workflow with the same odd labels, at score 1", got)
	}
}

func testCatalogAudit(t *testing.T, s *subject) {
	w := s.mustCreate(t, Workflow("fix-oom", "1"))
	if _, err := s.ChangeWorkflow(t.Context(), w.ID, incident.WorkflowChange{Status: incident.WorkflowDisabled, By: "jane"}); err != nil {
		t.Fatal(err)
	}
	s.mustVerify(t, w.ID, 2)
	s.mustCreate(t, Workflow("fix-oom-2", "1"))
	q := Query()
	q.TopK, q.RemediationID = 1, "rr-7"
	if got := s.found(t, q); len(got) != 1 {
		t.Fatalf("found %q", got)
	}
	s.mustVerify(t, "rr-7", 1)
	page, err := s.Events(t.Context(), incident.EventQuery{CorrelationID: "rr-7"})
	if err != nil {
		t.Fatal(err)
	}
	e := page.Events[0]
	var data struct {
		Query struct {
			TopK    int            `json:"top_k"`
			Filters map[string]any `json:"filters"`
		} `json:"query"`
		Results struct {
			TotalFound int `json:"total_found"`
			Returned   int `json:"returned"`
			Workflows  []struct {
				ID      string `json:"workflow_id"`
				Scoring struct {
					Confidence float64 `json:"confidence"`
				} `json:"scoring"`
			} `json:"workflows"`
		} `json:"results"`
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	if e.Type != "workflow.catalog.search_completed" || e.Category != "workflow" || e.ResourceType != "workflow_catalog" ||
		len(e.ResourceID) != 16 || data.Query.TopK != 1 || data.Query.Filters["signal_type"] != "OOMKilled" ||
		data.Results.TotalFound != 1 || data.Results.Returned != 1 || data.Results.Workflows[0].Scoring.Confidence != 1 {
		t.Errorf("search event = %+v with data %s", e, e.Data)
	}
	q.RemediationID = ""
	s.found(t, q)
	s.mustVerify(t, e.ResourceID, 1)
}
