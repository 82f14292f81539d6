// Package rollout brings rendered objects into a cluster and says when they work.
//
// Apply writes them, server-side, in the order of their stages. Wait follows them with watches until every workload is
// available at its current generation, and ends at once when one of them cannot become so: what is wrong then comes as
// failure.Typed, with the evidence. Health asks the services themselves. Dump writes what there is to see of a cluster
// into a directory, for people and for the report.
package rollout

import (
	"fmt"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Cluster is a cluster to roll out to. It is safe for concurrent use.
type Cluster struct {
	config *rest.Config
	client client.WithWatch
	kube   kubernetes.Interface
}

// Connect returns a Cluster for a client configuration. It asks the cluster nothing yet.
func Connect(config *rest.Config) (*Cluster, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = -1, 0 // the API server shares its capacity out by itself
	config.WarningHandlerWithContext = rest.NoWarnings{}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	return &Cluster{config: config, client: c, kube: kube}, nil
}
