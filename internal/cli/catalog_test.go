package cli

import (
	"cmp"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	builtincatalog "kubernaut.ai/kubernaut/deploy/catalog"
	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/store"
)

// The catalog in memory answers every scenario's search as Data Storage does, so that analyze proposes what the
// services would.
func TestBuiltinCatalogAnswersAsTheStore(t *testing.T) {
	st, err := store.Open(t.Context(), store.Options{Driver: store.SQLite, Path: filepath.Join(t.TempDir(), "data.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	documents, err := builtincatalog.Documents()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		w, err := catalog.ParseDocument(name, documents[name])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.CreateWorkflow(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	shelf, asked := workflows(t), map[string]bool{}
	for _, s := range openScenarios(t) {
		r := scenarioReading(t, s, scenario.Variant{})
		result := diagnose.Run(r.snapshot, r.incident)
		if result.Cause == nil || asked[string(result.Cause.Class)] {
			continue
		}
		asked[string(result.Cause.Class)] = true
		for _, signal := range catalog.SignalTypes(*result.Cause, r.incident) {
			q := catalog.Query(*result.Cause, r.incident, signal)
			want, err := st.SearchWorkflows(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			got, err := shelf.SearchWorkflows(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(byID(want.Matches), byID(got)); diff != "" {
				t.Errorf("%s under %s (-store +memory):\n%s", s.Name, signal, diff)
			}
		}
	}
	if len(asked) < 30 {
		t.Errorf("only %d classes were asked about", len(asked))
	}
}

// byID orders matches so that ties, which the store breaks by age, do not show.
func byID(matches []incident.WorkflowMatch) []incident.WorkflowMatch {
	out := slices.Clone(matches)
	for i := range out {
		out[i].Rank = 0
	}
	slices.SortFunc(out, func(a, b incident.WorkflowMatch) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.WorkflowID, b.WorkflowID))
	})
	return out
}
