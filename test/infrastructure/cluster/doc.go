// Package cluster makes, checks, fills and deletes Kind clusters.
//
// Kind is used through its library, and only in kind.go. What Kind leaves open is closed here: creation can be
// interrupted; a cluster counts as created when every node is ready, which Kind merely warns about; the logs of nodes are
// saved before a failed cluster is deleted; an existing cluster is used again only if it is ours, was made from the same
// configuration and is healthy; an image counts as loaded when each node has it under its name with the id that it
// had in the archive; and deleting removes what Kind's own deletion leaves behind when it meets a half-made cluster.
//
// The nodes are those of the engine's network with Kind's label. A cluster of the same name on any other network belongs to
// somebody else: it is neither used nor deleted.
package cluster
