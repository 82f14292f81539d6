package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/observe"
)

// openScenarios are the faulted clusters that rules are written against.
func openScenarios(t *testing.T) []*scenario.Scenario {
	t.Helper()
	all, err := scenario.Load(os.DirFS("../../test/scenarios"), "open")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("there are %d scenarios", len(all))
	}
	return all
}

// scenarioReading is a scenario as if it had been read from a cluster.
func scenarioReading(t *testing.T, s *scenario.Scenario, v scenario.Variant) *reading {
	t.Helper()
	snapshot, err := s.Snapshot(v)
	if err != nil {
		t.Fatal(err)
	}
	r := &reading{snapshot: snapshot, incident: s.Input(), origin: "scenario"}
	r.incident.ID, r.incident.RemediationID = "", ""
	if r.body, r.digest, err = observe.Encode(snapshot); err != nil {
		t.Fatal(err)
	}
	return r
}

// workflows is the built-in catalog.
func workflows(t *testing.T) *catalog.Shelf {
	t.Helper()
	shelf, err := builtinWorkflows()
	if err != nil {
		t.Fatal(err)
	}
	return shelf
}

// collected is a scenario's collection in a file.
func collected(t *testing.T, shelf *catalog.Shelf, r *reading, path string) {
	t.Helper()
	d, err := diagnosed(t.Context(), shelf, r)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := newCollection(r, d)
	if err != nil {
		t.Fatal(err)
	}
	if err := kept.write(path, false); err != nil {
		t.Fatal(err)
	}
}

// Every scenario goes into a collection, and its verdict comes out of it again byte for byte; with -short every
// eighth.
func TestReplayOfEveryScenario(t *testing.T) {
	dir, shelf := t.TempDir(), workflows(t)
	args := []string{"replay"}
	for i, s := range openScenarios(t) {
		if testing.Short() && i%8 != 0 {
			continue
		}
		path := filepath.Join(dir, s.Name+".tgz")
		if i%3 == 1 {
			path = filepath.Join(dir, s.Name)
		}
		collected(t, shelf, scenarioReading(t, s, scenario.Variant{}), path)
		args = append(args, path)
	}
	code, stdout, stderr := run(t, nil, args...)
	if code != exitOK || stderr != "" {
		t.Errorf("got code %d, stderr:\n%s", code, stderr)
	}
	if got, want := strings.Count(stdout, "the same verdict, evidence holds"), len(args)-1; got != want {
		t.Errorf("%d of %d verdicts are the same:\n%s", got, want, stdout)
	}
}
