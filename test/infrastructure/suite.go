package infrastructure

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/image"
	"kubernaut.ai/kubernaut/test/infrastructure/rollout"
)

// Suite is what distinguishes one end-to-end suite from another.
type Suite struct {
	// Name is the suite's, Cluster that of its Kind cluster.
	Name, Cluster string
	// Overlay is the kustomization that is deployed, below deploy/.
	Overlay string
	// Images are built from this repository and loaded.
	Images []image.Spec
	// Postgres is the name under which the overlay runs PostgreSQL; empty: it runs none.
	Postgres string
	// Workers is the number of nodes beside the control plane.
	Workers int
	// Ports maps ports of this machine's loopback interface to node ports; those in Reserved lead nowhere yet.
	Ports    map[int32]int32
	Reserved []int32
	// URLs are how this machine reaches the services.
	URLs URLs
	// Endpoints are what must answer before a specification runs.
	Endpoints []rollout.Endpoint
	// Patience is how long one of them may answer badly; zero: that of package rollout.
	Patience time.Duration
	// Specs is the directory of the specifications, in the repository.
	Specs string
	// Procs is how many processes run them.
	Procs int
}

// URLs are the base URLs of the services; a suite without one of them has none.
type URLs struct {
	Health      string `json:"health,omitempty"`
	Metrics     string `json:"metrics,omitempty"`
	HAPI        string `json:"hapi,omitempty"`
	DataStorage string `json:"dataStorage,omitempty"`
}

// Suites are all of them.
func Suites() []Suite { return []Suite{aianalysis(), datastorage()} }

// SuiteNamed returns a suite by its name: one of those given, or, where none are, of Suites. The error names those that exist.
func SuiteNamed(name string, all ...Suite) (Suite, error) {
	if len(all) == 0 {
		all = Suites()
	}
	i := slices.IndexFunc(all, func(s Suite) bool { return s.Name == name || s.Cluster == name })
	if i < 0 {
		names := make([]string, len(all))
		for i, s := range all {
			names[i] = s.Name
		}
		return Suite{}, fmt.Errorf("there is no suite %q: the suites are %s", name, strings.Join(names, " and "))
	}
	return all[i], nil
}

// aianalysis is the whole system, as it ships.
func aianalysis() Suite {
	urls := URLs{
		Health: "http://127.0.0.1:8184", Metrics: "http://127.0.0.1:9184",
		HAPI: "http://127.0.0.1:8088", DataStorage: "http://127.0.0.1:8091",
	}
	return Suite{
		Name: "aianalysis", Cluster: "aianalysis-e2e", Overlay: "overlays/e2e",
		Images:  append(image.Services(), image.Workload()),
		Workers: 1,
		Ports:   map[int32]int32{8184: 30284, 9184: 30184, 8088: 30088, 8091: 30081, 8084: 30084},
		// The contract gives the controller an API port that nothing serves.
		Reserved:  []int32{30084},
		URLs:      urls,
		Endpoints: slices.Concat(rollout.Controller(urls.Health, urls.Metrics), rollout.HAPI(urls.HAPI), rollout.DataStorage(urls.DataStorage)),
		Specs:     "test/e2e/aianalysis", Procs: 4,
	}
}

// datastorage is Data Storage with two replicas on a PostgreSQL in the cluster.
func datastorage() Suite {
	urls := URLs{DataStorage: "http://127.0.0.1:28091"}
	return Suite{
		Name: "datastorage", Cluster: "datastorage-e2e", Overlay: "overlays/e2e-postgres",
		Images:    append(image.Services(), image.Workload()),
		Postgres:  "docker.io/library/postgres",
		Workers:   1,
		Ports:     map[int32]int32{28091: 30081},
		URLs:      urls,
		Endpoints: rollout.DataStorage(urls.DataStorage),
		Specs:     "test/e2e/datastorage", Procs: 1,
	}
}
