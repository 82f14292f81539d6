// Command cnid connects the pods of a Kind cluster. On each node it writes the configuration of the CNI plugins for the
// addresses that the node may give to its pods, and keeps a route to the pods of every other node. It does what kindnetd
// does with IPv4, without network policies.
package main
