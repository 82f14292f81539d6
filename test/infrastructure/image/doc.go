// Package image builds the images of ours that run in the cluster: each FROM scratch around one static binary, from a
// context that holds nothing else.
//
// The tag of an image is a key over all that goes into it: the Dockerfile, the build arguments, the architecture, whether
// counters are compiled in, and the sources of the program as Go's own list of its dependencies names them. What the
// engine holds under that key is not built again, and finding that out takes a fraction of a second.
//
// The programs are compiled by one go command, so that they share what they have in common, and put into images side by
// side. How much of either runs at once follows from the memory that is there and from what the last builds took,
// which is measured and remembered.
package image
