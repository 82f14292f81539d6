// Package datastorage holds the specifications of Data Storage on PostgreSQL, on a real cluster: two replicas
// share one database as deploy/overlays/postgres ships them, and both are killed, replaced, rolled and cut off
// while audit events are written. Of each event that was acknowledged it is then shown that it is there, once, in
// a chain that verifies.
//
// They are built with the tag e2e, since they need a cluster; without it this package is empty and go test ./...
// passes it by.
//
//	make test-e2e-datastorage
//	ginkgo --tags=e2e ./test/e2e/datastorage
//
// create the cluster when there is none. All specifications disturb the one database, so they run one after the
// other. Each begins with everything running, and puts back what it changed. When one fails, the objects, events
// and logs around it are written to E2E_ARTIFACTS.
package datastorage
