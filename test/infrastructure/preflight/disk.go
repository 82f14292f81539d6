package preflight

import (
	"fmt"
	"strings"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/engine/reading"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// Sizes of images that are not there yet.
const (
	nodeImageSize    = 900 * mebibyte
	serviceImageSize = 250 * mebibyte  // all of them, with PostgreSQL's
	nodeBuildSize    = 2500 * mebibyte // what building the node image leaves for the next time
)

// Names of images of ours.
const (
	nodeImageName = "localhost/kubernaut-e2e-node"
	ourImages     = "localhost/kubernaut-"
)

// diskNeed is what will be written below a directory.
type diskNeed struct {
	dir   string
	there bool // on the machine of the nodes
	bytes uint64
	what  string
	nodes int // whose files are below it
}

func disksThere(info engine.Info) []string {
	dirs := []string{info.GraphRoot}
	if info.ImageTemp != "" {
		dirs = append(dirs, info.ImageTemp)
	}
	return dirs
}

// diskNeeds computes what will be written where from the sizes of the images: a service image is stored by the engine,
// passes through one archive, and is stored again by each node; a node image is stored once by the engine, and unpacked
// from its archive when it is built.
func diskNeeds(o Options, info engine.Info, r readings) []diskNeed {
	var services uint64
	haveNode := false
	seen := make(map[string]bool)
	for _, i := range r.images { // the newest of each name
		for _, tag := range i.Tags {
			name := tag[:strings.LastIndex(tag, ":")+1]
			haveNode = haveNode || name == nodeImageName+":" || tag == o.NodeImage
			if strings.HasPrefix(name, ourImages) && name != nodeImageName+":" && !seen[name] {
				seen[name] = true
				services += uint64(i.Size)
			}
		}
	}
	build, state := uint64(nodeImageSize), uint64(nodeBuildSize)
	if haveNode { // what is there is not written again
		build, state = 0, 0
	}
	services = max(services, serviceImageSize)
	graph := build + services + uint64(o.Nodes)*(diskOfNode+services)
	if running := nodesOf(o.Cluster, r.containers); running > 0 {
		graph = services
	}
	needs := []diskNeed{
		{info.GraphRoot, true, graph, "images and nodes", o.Nodes},
		{o.StateDir, false, state + 200*mebibyte, "state and logs of runs", 0},
		{o.TempDir, false, services, "an archive of images", 0},
	}
	if info.ImageTemp != "" {
		needs = append(needs, diskNeed{info.ImageTemp, true, max(build, services), "images while they are put together", 0})
	}
	return needs
}

// checkDisks compares what will be written with what is free, file system by file system: directories on one share it.
func checkDisks(o Options, needs []diskNeed, r readings) (v verdict) {
	type fileSystem struct {
		there  bool
		device uint64
	}
	type demand struct {
		disk  reading.Disk
		bytes uint64
		nodes int
		parts []string
	}
	demands := make(map[fileSystem]*demand)
	var order []fileSystem
	for _, n := range needs {
		there := n.there && !r.there.Here
		disks := r.here.Disks
		if n.there {
			disks = r.there.Disks
		}
		disk, ok := disks[n.dir]
		if !ok {
			continue // the engine keeps it where it cannot be seen
		}
		fs := fileSystem{there, disk.Device}
		if demands[fs] == nil {
			demands[fs] = &demand{disk: disk}
			order = append(order, fs)
		}
		d := demands[fs]
		d.bytes += n.bytes
		d.nodes += n.nodes
		d.parts = append(d.parts, fmt.Sprintf("%s in %s for %s", size(n.bytes), n.dir, n.what))
	}
	for _, fs := range order {
		d := demands[fs]
		where := "here"
		if fs.there {
			where = "in " + r.there.Where
		}
		line := fmt.Sprintf("free %s: %s; needed: %s (%s)", where, size(d.disk.Free), size(d.bytes), strings.Join(d.parts, ", "))
		remove := fmt.Sprintf("%s rmi $(%[1]s images --quiet --filter label=%s)   # images of ours, which are built again", o.Engine.Kind(), engine.Label)
		switch {
		case d.disk.Free < d.bytes:
			v.stop(failure.Finding{Row: "F08", Class: failure.Host, Summary: "there is too little space on a disk", Fix: remove, Lines: []string{line}})
		case d.disk.Counts && d.disk.Inodes < uint64(d.nodes*inodes):
			v.stop(failure.Finding{
				Row: "F08", Class: failure.Host, Summary: "a file system has too few free inodes", Fix: remove,
				Lines: []string{fmt.Sprintf("free inodes %s: %d; needed: %d", where, d.disk.Inodes, d.nodes*inodes)},
			})
		default:
			v.note("disk %s", line)
		}
	}
	return v
}
