// Package command runs the programs of the host: podman, docker, go, tar. Each runs in a process group of its own, under
// a deadline and a stall timer, with everything it says in a log; an error carries the command line and the end of the
// output, so that whoever classifies the failure needs nothing else.
package command
