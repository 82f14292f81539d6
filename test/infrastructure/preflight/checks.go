package preflight

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// What a cluster takes, measured on clusters of one to three nodes of Kubernetes 1.34 and rounded up.
const (
	instancesOfControlPlane = 28 // inotify instances of root: counted 26
	instancesOfWorker       = 15 // counted 13
	watchesOfNode           = 4096
	threadsOfNode           = 600  // counted up to 380
	threadsOfWork           = 1000 // of everything that the specs start
	keysOfNode              = 70

	memoryOfControlPlane = 900 * mebibyte // 620 MiB resident
	memoryOfWorker       = 350 * mebibyte // 190 MiB
	memoryOfWork         = 700 * mebibyte // the services and what the specs start

	diskOfNode = 1200 * mebibyte // a node's own copies of images, and its logs
	inodes     = 40000           // of a node

	maxSkew = 30 * time.Second

	mebibyte = 1 << 20
)

// Files of the kernel.
const (
	maxInstances = "/proc/sys/fs/inotify/max_user_instances"
	maxWatches   = "/proc/sys/fs/inotify/max_user_watches"
	pidMax       = "/proc/sys/kernel/pid_max"
	threadsMax   = "/proc/sys/kernel/threads-max"
	maxKeys      = "/proc/sys/kernel/keys/maxkeys"
	keyUsers     = "/proc/key-users"
	meminfo      = "/proc/meminfo"
	loadavg      = "/proc/loadavg"
)

func kernelFiles(info engine.Info, user int) []string {
	files := []string{maxInstances, maxWatches, pidMax, threadsMax, maxKeys, keyUsers, meminfo, loadavg}
	if info.Rootless {
		files = append(files, delegated(user))
	}
	return files
}

// delegated is the file with the controllers that a user may hand to containers, on cgroup v2.
func delegated(user int) string {
	return fmt.Sprintf("/sys/fs/cgroup/user.slice/user-%d.slice/user@%[1]d.service/cgroup.controllers", user)
}

// checkTrip is about the life of a trivial container, which tells more than what an engine says about itself.
func checkTrip(ctx context.Context, kind engine.Kind, trip engine.Trip, err error) (v verdict) {
	if err == nil {
		v.note("round trip of a trivial container: image %s, run %s, exec %s, remove %s", millis(trip.Image), millis(trip.Run), millis(trip.Exec), millis(trip.Remove))
		if limit := trip.Container.PidsLimit; limit > 0 && limit < threadsOfNode+threadsOfWork {
			f := failure.Finding{
				Row: "F21", Class: failure.Host, Summary: fmt.Sprintf("a container may have %d threads; a node needs more", limit),
				Fix: "set pids_limit = 65536 under [containers] in containers.conf", Lines: []string{fmt.Sprintf("PidsLimit of the trivial container: %d", limit)},
			}
			if limit < threadsOfNode {
				v.stop(f)
			} else {
				v.note("%s with many pods; %s", f.Summary, f.Fix)
			}
		}
		return v
	}
	f := failure.Classify(ctx, phase, err, nil)
	if f.Class == failure.Unknown {
		f.Class = failure.Host
		f.Summary = "a trivial container does not live: " + err.Error()
		f.Fix = fmt.Sprintf("make this work first: %s run --rm IMAGE, with any image", kind)
	}
	v.stop(f)
	return v
}

// checkEngine is about settings of the engine that let clusters fail now and then.
func checkEngine(kind engine.Kind, info engine.Info) (v verdict) {
	if kind == engine.Podman && info.LogDriver == "journald" {
		v.note("Podman logs into the journal; Kind, which reads a node's log to know that it is up, misses the line now and then (F02): set log_driver = \"k8s-file\" under [containers] in containers.conf")
	}
	if info.StorageDriver == "vfs" {
		v.note("images are stored with the vfs driver, which copies every layer whole; overlay is faster and smaller")
	}
	if !info.Rootless {
		return v
	}
	if info.CgroupVersion == 1 {
		v.stop(failure.Finding{
			Row: "F22", Class: failure.Host, Summary: fmt.Sprintf("%s runs without root on cgroup v1, where Kind cannot run nodes", kind),
			Fix: fmt.Sprintf("boot with systemd.unified_cgroup_hierarchy=1, or run as root: sudo E2E_RUNTIME=%s ...", kind),
		})
	}
	return v
}

// checkDelegation is about the controllers that nodes without root get.
func checkDelegation(user int, info engine.Info, place engine.Place) (v verdict) {
	if !info.Rootless || info.CgroupVersion != 2 {
		return v
	}
	have := info.CgroupControllers
	if content, ok := place.Files[delegated(user)]; ok {
		have = strings.Fields(content)
	}
	if len(have) == 0 {
		return v // it is not known; Kind will say
	}
	var missing []string
	for _, c := range []string{"cpu", "memory", "pids"} {
		if !slices.Contains(have, c) {
			missing = append(missing, c)
		}
	}
	if len(missing) == 0 {
		return v
	}
	v.stop(failure.Finding{
		Row: "F22", Class: failure.Host,
		Summary: fmt.Sprintf("the cgroup controllers %s are not delegated to this user; nodes without root need them", strings.Join(missing, ", ")),
		Fix: `sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\nDelegate=cpu cpuset io memory pids\n' | ` +
			`sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload, then log in again`,
		Lines: []string{"delegated in " + place.Where + ": " + strings.Join(have, " ")},
	})
	return v
}

// checkHost runs the checks of the machine that the nodes run on.
func checkHost(o Options, info engine.Info, r readings) (v verdict) {
	v.add(checkInstances(o.Nodes, nodeUser(o.User, info, r.there), r.there))
	v.add(checkWatches(o.Nodes, r.there))
	v.add(checkThreads(o.Nodes, r.there))
	v.add(checkKeys(o.Nodes, nodeUser(o.User, info, r.there), r.there))
	v.add(checkMemory(o, r.there, r.containers))
	v.add(checkClock(r.there))
	v.add(checkDelegation(o.User, info, r.there))
	v.add(checkDisks(o, diskNeeds(o, info, r), r))
	return v
}

func checkInstances(nodes, user int, place engine.Place) (v verdict) {
	limit, ok := number(place.Files[maxInstances])
	if !ok {
		return v
	}
	used, need := place.Inotify[user], instances(nodes)
	line := fmt.Sprintf("%s in %s: %d, of which user %d has %d in use and %s about %d", maxInstances, place.Where, limit, user, used, countNodes(nodes), need)
	fix := asRoot(place, "sysctl -w fs.inotify.max_user_instances="+strconv.Itoa(max(enoughInstances, used+2*need)))
	switch {
	case used+need > limit:
		v.stop(failure.Finding{
			Row: "F20", Class: failure.Host, Summary: "the kernel allows too few inotify instances for " + countNodes(nodes), Fix: fix, Lines: []string{line},
		})
	case used+2*need > limit:
		v.note("inotify instances are scarce: %s; more: %s", line, fix)
	}
	return v
}

func checkWatches(nodes int, place engine.Place) (v verdict) {
	limit, ok := number(place.Files[maxWatches])
	if !ok || limit >= nodes*watchesOfNode {
		return v
	}
	v.stop(failure.Finding{
		Row: "F20", Class: failure.Host, Summary: "the kernel allows too few inotify watches for " + countNodes(nodes),
		Fix:   asRoot(place, "sysctl -w fs.inotify.max_user_watches="+strconv.Itoa(max(enoughWatches, nodes*watchesOfNode))),
		Lines: []string{fmt.Sprintf("%s in %s: %d; needed: %d", maxWatches, place.Where, limit, nodes*watchesOfNode)},
	})
	return v
}

func instances(nodes int) int {
	return instancesOfControlPlane + (nodes-1)*instancesOfWorker
}

// checkThreads is about the threads of the whole machine.
func checkThreads(nodes int, place engine.Place) (v verdict) {
	_, total, ok := strings.Cut(field(place.Files[loadavg], 3), "/") // running/all
	used, isNumber := number(total)
	if !ok || !isNumber {
		return v
	}
	need := nodes*threadsOfNode + threadsOfWork
	for file, key := range map[string]string{pidMax: "kernel.pid_max", threadsMax: "kernel.threads-max"} {
		if limit, ok := number(place.Files[file]); ok && used+need > limit {
			v.stop(failure.Finding{
				Row: "F21", Class: failure.Host, Summary: fmt.Sprintf("the kernel allows too few threads for %s", countNodes(nodes)),
				Fix:   asRoot(place, fmt.Sprintf("sysctl -w %s=%d", key, 4*(used+need))),
				Lines: []string{fmt.Sprintf("%s in %s: %d, of which %d are in use and %d needed", file, place.Where, limit, used, need)},
			})
		}
	}
	return v
}

// keys returns how many of the kernel's keys a user has, and of how many; a limit of 0 is not known.
func keys(user int, place engine.Place) (used, limit int) {
	for line := range strings.Lines(place.Files[keyUsers]) {
		fields := strings.Fields(line) // 0: usage nkeys/nikeys qnkeys/maxkeys qnbytes/maxbytes
		if len(fields) < 4 || fields[0] != strconv.Itoa(user)+":" {
			continue
		}
		have, of, _ := strings.Cut(fields[3], "/")
		used, _ = number(have)
		limit, _ = number(of)
	}
	if limit == 0 {
		limit, _ = number(place.Files[maxKeys]) // a user without any key yet
	}
	return used, limit
}

// checkKeys is about the kernel's keys: every container has a keyring, counted to the user that it belongs to.
func checkKeys(nodes, user int, place engine.Place) (v verdict) {
	used, limit := keys(user, place)
	need := nodes * keysOfNode
	if limit > 0 && used+need > limit {
		sysctl := "kernel.keys.maxkeys"
		if user == 0 {
			sysctl = "kernel.keys.root_maxkeys"
		}
		v.stop(failure.Finding{
			Row: "F24", Class: failure.Host, Summary: "the kernel's quota of keys is too small or used up",
			Fix:   asRoot(place, fmt.Sprintf("sysctl -w %s=20000 %s=2000000", sysctl, strings.Replace(sysctl, "maxkeys", "maxbytes", 1))),
			Lines: []string{fmt.Sprintf("%s in %s: user %d has %d of %d; needed: %d", keyUsers, place.Where, user, used, limit, need)},
		})
	}
	return v
}

// checkMemory is about the memory that is free where the nodes run. The nodes of this cluster, if they run already, have
// theirs.
func checkMemory(o Options, place engine.Place, containers []engine.Container) (v verdict) {
	available, ok := memory(place.Files[meminfo], "MemAvailable")
	if !ok {
		return v
	}
	need := memoryOfControlPlane + (o.Nodes-1)*memoryOfWorker + memoryOfWork
	if running := nodesOf(o.Cluster, containers); running > 0 {
		need = memoryOfWork
	}
	line := fmt.Sprintf("available in %s: %s; %s and the specs need %s", place.Where, size(available), countNodes(o.Nodes), size(need))
	if available < need {
		fix := "end what takes memory, or use a larger machine"
		if strings.HasPrefix(place.Enter, "podman machine ssh ") {
			fix = "podman machine stop && podman machine set --memory 8192 && podman machine start, once nothing else runs in it"
		}
		v.stop(failure.Finding{Row: "F07", Class: failure.Host, Summary: "there is too little memory", Fix: fix, Lines: []string{line}})
		return v
	}
	v.note("memory %s", line)
	return v
}

func checkClock(place engine.Place) (v verdict) {
	skew := place.Skew.Abs()
	if skew == 0 {
		return v
	}
	direction := "behind"
	if place.Skew > 0 {
		direction = "ahead of"
	}
	line := fmt.Sprintf("the clock of %s is %s %s this one's", place.Where, skew.Round(time.Millisecond), direction)
	if skew <= maxSkew {
		v.note("%s", line)
		return v
	}
	v.stop(failure.Finding{
		Row: "F25", Class: failure.Host, Summary: "the clock of the nodes' machine is wrong, so that certificates will not be valid",
		Fix: asRoot(place, "date -s @$(date +%s)"), Lines: []string{line},
	})
	return v
}

// nodeUser is whose limits the nodes' processes count to, where they run.
func nodeUser(user int, info engine.Info, place engine.Place) int {
	if !info.Rootless {
		return 0
	}
	if place.Here {
		return user
	}
	const core = 1000 // of Podman's machine, and of most others
	return core
}

// nodesOf counts the nodes of a cluster that run.
func nodesOf(cluster string, containers []engine.Container) (running int) {
	for _, c := range containers {
		if c.Labels[engine.KindLabel] == cluster && c.Running {
			running++
		}
	}
	return running
}

// asRoot is a command for root as a person gives it for a place.
func asRoot(place engine.Place, c string) string {
	if !place.Here && place.Enter == "" {
		return "in " + place.Where + ": " + c
	}
	return place.Enter + c
}

func countNodes(n int) string {
	if n == 1 {
		return "one node"
	}
	return strconv.Itoa(n) + " nodes"
}

func number(s string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	return n, err == nil
}

func field(s string, n int) string {
	if f := strings.Fields(s); n < len(f) {
		return f[n]
	}
	return ""
}

// memory reads a line of /proc/meminfo, in bytes.
func memory(content, key string) (int, bool) {
	for line := range strings.Lines(content) {
		if name, value, ok := strings.Cut(line, ":"); ok && name == key {
			n, ok := number(field(value, 0))
			return n << 10, ok
		}
	}
	return 0, false
}

func size[T int | uint64 | int64](bytes T) string {
	const gibibyte = 1 << 30
	if bytes >= gibibyte {
		return fmt.Sprintf("%.1f GiB", float64(bytes)/gibibyte)
	}
	return fmt.Sprintf("%d MiB", uint64(bytes)/mebibyte)
}

func millis(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
