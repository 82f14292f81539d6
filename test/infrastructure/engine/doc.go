// Package engine is the container engine of an end-to-end run: Podman or Docker, detected once and pinned, so that no
// two commands of a run, and no two runs of a cluster, can talk to different ones.
//
// [Detect] finds it and says by which rule. What every child needs so as to meet the same engine is in [Engine.Env]; a
// library that runs programs by itself, as Kind's does, gets it through [Engine.Export]. On a host whose settings would
// break every container, Detect writes a containers.conf for Podman into the state directory, with the reason beside
// each line, and only if the user has none of their own.
//
// Nodes may run elsewhere than this process: in Podman's machine, in Docker Desktop's. [Engine.Read] reads values where
// they run.
//
// Everything that is made carries [Label]. [Engine.Owned] lists what does, and [Engine.Collect] and the Remove methods
// delete that and nothing else: nothing is ever pruned, no machine is ever reset.
//
// Podman is tested by running it. Docker is tested by scripted fakes on PATH, and by its client against Podman's
// service for building, running and listing; Kind on Docker itself needs a machine that allows it privileged containers.
package engine
