// Package coverage collects what the services executed while a cluster tested them.
//
// A service that was built with counters writes them when its process returns from main, into the directory that
// GOCOVERDIR names. Instrument gives each service such a directory on a volume of its own: the namespace enforces
// restricted pods, which may not mount directories of the node, and the volume outlives the pod. Collect ends the services in an
// orderly way by scaling them to zero, copies the counters from the nodes, and reports them together with those of unit
// and integration tests. A service without counters is a failure that names it: a report that silently lacks one would
// be taken for a complete one.
package coverage
