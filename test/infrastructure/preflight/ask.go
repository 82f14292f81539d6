package preflight

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/engine/reading"
)

const (
	// memoryOfBuild is what a build that runs alone needs.
	memoryOfBuild = 1500 * mebibyte
	// almostFull is so little free space that anything may fail for want of it.
	almostFull = 512 * mebibyte
)

// Unknown is the outcome of a question that could not be answered. It decides nothing.
const Unknown = "unknown"

// Ask answers the probes of the table of failures that are about the host: disk, memory, inotify, keys, clock, port-owner
// and kubeconfig-lock. The outcome is one of those that the table lists, or Unknown; evidence is what was read.
func Ask(ctx context.Context, o Options, probe string) (outcome string, evidence []string) {
	o = o.withDefaults()
	switch probe {
	case "port-owner":
		return askPorts(ctx, o)
	case "kubeconfig-lock":
		return askKubeconfig(o.Kubeconfig, o.Clock())
	}
	info := o.Engine.Info()
	place, err := o.Engine.Read(ctx, reading.Question{Files: kernelFiles(info, o.User), Disks: disksThere(info), Inotify: true})
	if err != nil {
		return Unknown, []string{err.Error()}
	}
	switch probe {
	case "disk":
		return askDisk(ctx, o, place)
	case "memory":
		available, ok := memory(place.Files[meminfo], "MemAvailable")
		if !ok {
			return Unknown, nil
		}
		evidence = []string{fmt.Sprintf("memory available in %s: %s", place.Where, size(available))}
		return either(available < memoryOfBuild, "low", "enough"), evidence
	case "inotify":
		instances, ok := number(place.Files[maxInstances])
		watches, both := number(place.Files[maxWatches])
		if !ok || !both {
			return Unknown, nil
		}
		evidence = []string{
			fmt.Sprintf("fs.inotify.max_user_instances in %s: %d, in use by user: %v", place.Where, instances, place.Inotify),
			fmt.Sprintf("fs.inotify.max_user_watches in %s: %d", place.Where, watches),
		}
		return either(instances < enoughInstances || watches < enoughWatches, "low", "enough"), evidence
	case "keys":
		user := nodeUser(o.User, info, place)
		used, limit := keys(user, place)
		if limit == 0 {
			return Unknown, nil
		}
		return either(10*used > 9*limit, "exhausted", "enough"), []string{fmt.Sprintf("kernel keys of user %d in %s: %d of %d", user, place.Where, used, limit)}
	case "clock":
		evidence = []string{fmt.Sprintf("clock of %s minus this one's: %s", place.Where, place.Skew.Round(time.Millisecond))}
		return either(place.Skew.Abs() > maxSkew, "skewed", "in-step"), evidence
	}
	return Unknown, []string{"no such probe: " + probe}
}

func either(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// askDisk compares what is free with the need of this run. What is written already is needed no more, so that little free
// space is enough when the nodes run, but never next to nothing.
func askDisk(ctx context.Context, o Options, there engine.Place) (outcome string, evidence []string) {
	r := readings{there: there, here: reading.Read(o.Root, reading.Question{Disks: []string{o.StateDir, o.TempDir}})}
	var err error
	if r.containers, err = o.Engine.AllContainers(ctx); err != nil {
		evidence = append(evidence, err.Error()) // a full disk can be why
	}
	if r.images, err = o.Engine.Images(ctx, engine.Label+"="+engine.ImageValue); err != nil {
		evidence = append(evidence, err.Error())
	}
	v := checkDisks(o, diskNeeds(o, o.Engine.Info(), r), r)
	outcome = either(len(v.findings) > 0, "full", "enough")
	for _, f := range v.findings {
		evidence = append(evidence, f.Lines...)
	}
	evidence = append(evidence, v.notes...)
	for _, disks := range []map[string]reading.Disk{there.Disks, r.here.Disks} {
		for dir, d := range disks {
			if d.Free < almostFull {
				outcome = "full"
				evidence = append(evidence, fmt.Sprintf("free in %s: %s", dir, size(d.Free)))
			}
		}
	}
	if len(there.Disks)+len(r.here.Disks) == 0 {
		return Unknown, evidence
	}
	slices.Sort(evidence)
	return outcome, slices.Compact(evidence)
}

func askPorts(ctx context.Context, o Options) (outcome string, evidence []string) {
	ports := make([]int, len(o.Ports))
	for i, p := range o.Ports {
		ports[i] = int(p)
	}
	listeners, err := o.Listeners.Listeners(ctx, ports)
	if err != nil {
		return Unknown, []string{err.Error()}
	}
	containers, err := o.Engine.AllContainers(ctx)
	if err != nil {
		evidence = append(evidence, err.Error())
	}
	rank := []string{"free", "ours", "gvproxy", "other"} // the one that needs most
	worst := 0
	for _, port := range slices.Sorted(slices.Values(ports)) {
		listener, taken := listeners[port]
		i := slices.IndexFunc(containers, func(c engine.Container) bool { return c.Running && slices.Contains(c.Ports, port) })
		owner := "free"
		switch {
		case i >= 0:
			owner = either(containers[i].Labels[engine.KindLabel] == o.Cluster, "ours", "other")
			evidence = append(evidence, fmt.Sprintf("port %d: container %s", port, containers[i].Name))
		case taken:
			owner = either(listener.Program == "gvproxy", "gvproxy", "other")
			evidence = append(evidence, fmt.Sprintf("port %d: %s", port, listener))
		}
		worst = max(worst, slices.Index(rank, owner))
	}
	return rank[worst], evidence
}

func askKubeconfig(kubeconfig string, now time.Time) (outcome string, evidence []string) {
	path := kubeconfig + ".lock"
	info, err := os.Stat(path)
	if err != nil {
		return Unknown, []string{err.Error()}
	}
	age := now.Sub(info.ModTime())
	evidence = []string{fmt.Sprintf("%s is %s old", path, age.Round(time.Second))}
	return either(age >= kubeconfigLock, "abandoned", "held"), evidence
}

// Kills reads how many processes the kernel has killed for want of memory since the machine of the nodes was started: by its
// log those for which the machine had none, where that may not be read those of every cgroup; false if it does not say.
func Kills(ctx context.Context, runtime interface {
	Read(ctx context.Context, q reading.Question) (engine.Place, error)
},
) (int, bool) {
	const vmstat = "/proc/vmstat"
	place, err := runtime.Read(ctx, reading.Question{Files: []string{vmstat}, Killed: true})
	if err != nil {
		return 0, false
	}
	if place.Killed != nil {
		return *place.Killed, true
	}
	for line := range strings.Lines(place.Files[vmstat]) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == "oom_kill" {
			n, err := strconv.Atoi(value)
			return n, err == nil
		}
	}
	return 0, false
}

// InstancesShort reports whether the inotify instances that are left are fewer than one more node takes.
func InstancesShort(ctx context.Context, o Options) (bool, []string) {
	o = o.withDefaults()
	place, err := o.Engine.Read(ctx, reading.Question{Files: []string{maxInstances}, Inotify: true})
	if err != nil {
		return false, []string{err.Error()}
	}
	v := checkInstances(1, nodeUser(o.User, o.Engine.Info(), place), place)
	if len(v.findings) == 0 {
		return false, nil
	}
	return true, v.findings[0].Lines
}
