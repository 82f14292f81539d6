//go:build e2e

package aianalysis

import (
	"context"

	. "github.com/onsi/ginkgo/v2"

	"kubernaut.ai/kubernaut/test/e2e"
	"kubernaut.ai/kubernaut/test/infrastructure"
)

// clusterTarget creates the cluster of this suite, or verifies the one that is there.
func clusterTarget(ctx context.Context) (e2e.Target, error) {
	c, err := infrastructure.CreateAIAnalysisClusterHybrid(ctx, GinkgoWriter)
	if err != nil {
		return e2e.Target{}, err
	}
	return e2e.Target{
		Kubeconfig: c.Kubeconfig, Cluster: c.Name, Runtime: c.Runtime,
		Health: c.URLs.Health, Metrics: c.URLs.Metrics + "/metrics", HAPI: c.URLs.HAPI, DataStorage: c.URLs.DataStorage,
		WorkloadImage: c.WorkloadImage, Deployed: true,
	}, nil
}
