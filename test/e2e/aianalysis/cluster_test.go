//go:build e2e

package aianalysis

import (
	"context"
	"errors"

	"kubernaut.ai/kubernaut/test/e2e"
)

// clusterTarget creates the cluster of this suite, or verifies the one that is there.
func clusterTarget(context.Context) (e2e.Target, error) {
	return e2e.Target{}, errors.New("set E2E_KUBECONFIG")
}
