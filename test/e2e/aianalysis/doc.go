// Package aianalysis holds the specifications of AIAnalysis on a real cluster: what is deployed is
// what ships in deploy/, and it is seen through the Kubernetes API and its HTTP endpoints alone.
//
// They are built with the tag e2e, since they need a cluster; without it this package is empty and
// go test ./... passes it by.
//
//	make test-e2e-aianalysis
//	ginkgo --tags=e2e --procs=4 ./test/e2e/aianalysis
//
// create the cluster when there is none. While writing specifications, E2E_KUBECONFIG points them at
// a system that runs, kubernaut up for one; E2E_HEALTH_URL, E2E_METRICS_URL, E2E_HAPI_URL and
// E2E_DATASTORAGE_URL say where its endpoints are if not at the usual ports, and E2E_WORKLOAD_IMAGE
// names the image of test/e2e/workload where there are nodes that run it. What needs nodes, or
// services that may be disturbed, is skipped where there are none. E2E_CLUSTER is the name of the Kind
// cluster whose nodes may be restarted.
//
// A specification has a namespace of its own and a remediation id of its own, so that any number may
// run at once. What disturbs a service that others use is Serial, and puts it back. When one fails,
// the objects, events and logs around it are written to E2E_ARTIFACTS, and its namespace stays.
package aianalysis
