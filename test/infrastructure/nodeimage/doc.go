// Package nodeimage makes the images that the end-to-end tests need and that no Dockerfile of this repository builds: the
// image of a Kind node, and that of PostgreSQL.
//
// Where a registry answers, Kind's own node image is pulled. Elsewhere an equivalent one is made from Debian packages
// and Go modules: a root file system by debootstrap, Kind's files from its Go module, the binaries of Kubernetes from the
// repository's module controlplane, and the images that kubeadm and Kind expect on a node, made from those binaries and
// loaded into the containerd of the node. PostgreSQL's image holds what the server needs out of Debian's packages and a
// program of ours that starts it.
//
// Each step is kept in the user's cache under a key over all that goes into it, so that a change repeats the steps that
// depend on it and no others; the key of the image is one over those of its steps. A step's result appears under its name
// when it is complete, whatever interrupts the build. Two builds at once, in whatever processes, share the steps.
//
// Making an image needs Linux, root, debootstrap and Go; it does not use the container runtime until the end, when the
// image is loaded.
package nodeimage
