package infrastructure

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/rollout"
)

// CreateAIAnalysisClusterHybrid returns the cluster of the suite aianalysis with everything deployed and healthy: images
// are built and the cluster is created side by side where memory allows, then they are loaded and deployed. What already
// holds is verified and not done again; in a run of the command e2e that is all of it. The cluster stays when the caller ends;
// `e2e down aianalysis` deletes it. Progress goes to w.
func CreateAIAnalysisClusterHybrid(ctx context.Context, w io.Writer) (*Cluster, error) {
	return createCluster(ctx, aianalysis(), w)
}

// CreateDataStorageCluster does the same for the suite datastorage.
func CreateDataStorageCluster(ctx context.Context, w io.Writer) (*Cluster, error) {
	return createCluster(ctx, datastorage(), w)
}

func createCluster(ctx context.Context, s Suite, w io.Writer) (*Cluster, error) {
	if file := os.Getenv(envTarget); file != "" {
		return verifyTarget(ctx, s, file)
	}
	h, err := Open(s, Options{Getenv: os.Getenv, Out: w})
	if err != nil {
		return nil, err
	}
	out, err := h.Run(ctx, Range{Until: phaseHealth, Resume: true})
	if err != nil {
		return nil, err
	}
	if out.ExitCode() != failure.ExitOK {
		cause, _ := out.Cause()
		return nil, fmt.Errorf("cluster of suite %s: phase %s failed: %s (see %s)", s.Name, cause.Phase, cause.Summary, out.Report)
	}
	return readTarget(s, filepath.Join(h.dir, targetFile))
}

// readTarget reads where the cluster of a suite is.
func readTarget(s Suite, file string) (*Cluster, error) {
	content, err := os.ReadFile(file) //nolint:gosec // the harness names it, or who runs the specifications does
	if err != nil {
		return nil, err
	}
	var c Cluster
	if err := json.Unmarshal(content, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if c.Suite != s.Name {
		return nil, fmt.Errorf("%s is the cluster of suite %s, not of %s", file, c.Suite, s.Name)
	}
	return &c, nil
}

// verifyTarget returns the cluster that a run of the harness made for its specifications, after a look at its services.
func verifyTarget(ctx context.Context, s Suite, file string) (*Cluster, error) {
	c, err := readTarget(s, file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", envTarget, err)
	}
	if err := rollout.Health(ctx, s.Endpoints, rollout.HealthOptions{}); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	return c, nil
}
