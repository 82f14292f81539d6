package preflight

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/lock"
)

const (
	// kubeconfigLock is how old a lock of a kubeconfig must be to have lost its writer, which takes milliseconds.
	kubeconfigLock = time.Minute
	// abandoned is how old a temporary directory of ours must be to have lost its run.
	abandoned = 24 * time.Hour
	// ourTemp is how the names of our temporary files begin.
	ourTemp = "kubernaut-e2e-"

	lsofDeadline = 20 * time.Second
)

// checkResidue is about what earlier runs left. What is known to be ours and nobody's is removed.
func checkResidue(ctx context.Context, o Options, r readings) (v verdict) {
	v.add(checkNames(o.Engine.Kind(), o.Cluster, r.containers))
	v.add(checkStorage(ctx, o.Engine, o.Cluster, r.storage))
	v.add(checkNetworks(o.Engine.Kind(), r.networks))
	v.add(checkKubeconfig(o.Kubeconfig, o.Clock()))
	v.add(checkTemp(o.TempDir, o.Clock()))
	v.add(checkOthers(o.StateDir, o.Cluster))
	return v
}

// IsNodeName reports whether a container's name is one that Kind gives to a node of the cluster.
func IsNodeName(name, cluster string) bool {
	role, ok := strings.CutPrefix(name, cluster+"-")
	if !ok {
		return false
	}
	role = strings.TrimRight(role, "0123456789")
	return role == "control-plane" || role == "worker" || role == "external-load-balancer"
}

// checkNames is about containers with the names of nodes. The cluster's own are told of; whether they are used again
// or deleted is decided when the cluster is made.
func checkNames(kind engine.Kind, cluster string, containers []engine.Container) (v verdict) {
	running, all := 0, 0
	for _, c := range containers {
		switch {
		case c.Labels[engine.KindLabel] == cluster:
			all++
			if c.Running {
				running++
			}
		case IsNodeName(c.Name, cluster):
			v.stop(failure.Finding{
				Row: "F16", Class: failure.Host, Summary: fmt.Sprintf("container %s has the name of a node and is none", c.Name),
				Fix: fmt.Sprintf("%s rm --force %s, if it is not needed", kind, c.Name), Lines: []string{fmt.Sprintf("%s, image %s, made %s", c.Status, c.Image, c.Created.Format(time.RFC3339))},
			})
		}
	}
	if all > 0 {
		v.note("cluster %s exists: %s, %d of them running", cluster, countNodes(all), running)
	}
	return v
}

// checkStorage removes containers with the names of nodes that only the engine's storage knows.
func checkStorage(ctx context.Context, runtime Runtime, cluster string, storage []engine.Storage) (v verdict) {
	for _, s := range storage {
		if !IsNodeName(s.Name, cluster) {
			continue
		}
		if err := runtime.RemoveStorage(ctx, s.Name); err != nil {
			v.stop(failure.Finding{
				Row: "F16", Class: failure.Host, Summary: fmt.Sprintf("the name %s is taken by a container that only the storage knows", s.Name),
				Fix: "podman rm --storage " + s.Name, Lines: []string{err.Error()},
			})
			continue
		}
		v.note("removed container %s, which only the storage knew, from an earlier run (F16)", s.Name)
	}
	return v
}

func checkNetworks(kind engine.Kind, networks []engine.Network) (v verdict) {
	if len(networks) < 2 {
		return v
	}
	ids := make([]string, len(networks))
	for i, n := range networks {
		ids[i] = n.ID
	}
	v.stop(failure.Finding{
		Row: "F31", Class: failure.Host, Summary: fmt.Sprintf("network %s exists %d times", networks[0].Name, len(networks)),
		Fix: fmt.Sprintf("%s network rm %s   # one that has containers is refused", kind, strings.Join(ids[1:], " ")), Lines: ids,
	})
	return v
}

// checkKubeconfig removes the lock of a kubeconfig that nobody can hold any more: client-go makes it for the time of one
// write and does not wait for it.
func checkKubeconfig(kubeconfig string, now time.Time) (v verdict) {
	path := kubeconfig + ".lock"
	info, err := os.Stat(path)
	if kubeconfig == "" || err != nil {
		return v
	}
	age := now.Sub(info.ModTime())
	if age < kubeconfigLock {
		v.note("%s is %s old: another process writes the kubeconfig now", path, age.Round(time.Second))
		return v
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		v.stop(failure.Finding{Row: "F33", Class: failure.Host, Summary: "a lock of the kubeconfig was left", Fix: "rm " + path, Lines: []string{err.Error()}})
		return v
	}
	v.note("removed %s, %s old, from a run that was killed (F33)", path, age.Round(time.Second))
	return v
}

// checkTemp removes temporary files of ours whose run is long over.
func checkTemp(dir string, now time.Time) (v verdict) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		v.note("temporary files of earlier runs: %v", err)
		return v
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasPrefix(e.Name(), ourTemp) || now.Sub(info.ModTime()) < abandoned {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if err := os.RemoveAll(path); err != nil {
			v.note("left by an earlier run and not removable: %v", err)
			continue
		}
		v.note("removed %s, from a run of %s", path, info.ModTime().Format(time.DateOnly))
	}
	return v
}

// checkOthers tells of other clusters' runs, which take memory and time of the same machine.
func checkOthers(stateDir, cluster string) (v verdict) {
	entries, _ := os.ReadDir(stateDir) // without it there was no run
	for _, e := range entries {
		path := engine.LockPath(stateDir, e.Name())
		if !e.IsDir() || e.Name() == cluster {
			continue
		}
		if holding, err := lock.Holding(path); err == nil && holding {
			holder, _ := lock.Read(path) // it may be too early to say
			v.note("cluster %s is worked on at the same time: %s", e.Name(), holder)
		}
	}
	slices.Sort(v.notes)
	return v
}

func exitCode(err error) int {
	if failed, ok := errors.AsType[*command.Error](err); ok {
		return failed.ExitCode
	}
	return -1
}
