// Package infrastructure runs the end-to-end suites: it puts the parts below it together into a plan of typed phases that
// checks the host, checks the manifests, builds the images, creates a Kind cluster, loads, deploys, waits, runs the
// specifications, collects coverage and evidence, and tears down.
//
// A suite differs from another by its Suite value only; every phase has one implementation. The command in cmd/e2e and
// the suites' own processes both use Harness.
package infrastructure
