package infrastructure

import (
	"context"
	"os"
	"path/filepath"

	"k8s.io/client-go/kubernetes"

	"kubernaut.ai/kubernaut/test/infrastructure/coverage"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// coverageOthers is where make leaves the profiles of unit and integration tests with COVERAGE=true, below the root.
const coverageOthers = "coverage"

// collectCoverage collects what the services counted, and reports it together with what other tests have left.
func (h *Harness) collectCoverage(ctx context.Context, t *plan.Task) error {
	e, err := h.detect(ctx)
	if err != nil {
		return err
	}
	objects, _, err := h.objects(t.Facts)
	if err != nil {
		return err
	}
	services, err := coverage.Services(objects)
	if err != nil {
		return err
	}
	config, err := h.restConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	var others []coverage.Source
	for _, name := range []string{"unit", "integration"} {
		path := filepath.Join(h.root, coverageOthers, name+".out")
		if _, err := os.Stat(path); err == nil {
			others = append(others, coverage.Source{Name: name, Path: path})
		}
	}
	if len(others) == 0 {
		t.Note("there are no profiles of unit and integration tests in %s/: `make race test COVERAGE=true` makes them", coverageOthers)
	}
	out := filepath.Join(t.Dir, "report")
	summary, err := coverage.Collect(ctx, t, coverage.Options{
		Engine: e.With(t.Log), Client: client, Cluster: h.Suite.Cluster, Services: services, Root: h.root, Others: others, Out: out,
	})
	if err != nil {
		return err
	}
	t.Note("%s", &summary)
	t.Note("table %s, page %s", summary.Table, summary.HTML)
	return nil
}
