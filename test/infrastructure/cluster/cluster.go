package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

const (
	creating      = 10 * time.Minute
	creatingStall = 5 * time.Minute // kubeadm says nothing while it waits for the control plane
	deletions     = 5
)

// Cluster is a cluster that is there or can be made. Its methods that change something must not run at once with others
// in the same process; the cluster's lock keeps other processes away.
type Cluster struct {
	c      Config
	engine *engine.Engine
}

// New returns the cluster of a configuration. It looks at nothing.
func New(e *engine.Engine, c Config) (*Cluster, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &Cluster{c: c, engine: e}, nil
}

// Nodes returns the names of the node containers that there are, running or not.
func (c *Cluster) Nodes(ctx context.Context) ([]string, error) {
	found, err := c.containers(ctx)
	names := make([]string, len(found))
	for i, n := range found {
		names[i] = n.Name
	}
	return names, err
}

// containers are those of the cluster. A container on another network than ours is somebody else's cluster of this name, which
// is a failure of class host.
func (c *Cluster) containers(ctx context.Context) ([]engine.Container, error) {
	found, err := c.engine.Containers(ctx, engine.KindLabel+"="+c.c.Name)
	if err != nil {
		return nil, err
	}
	network := c.network()
	for _, n := range found {
		if _, ours := n.Addresses[network]; !ours && len(n.Addresses) > 0 {
			return nil, failure.New(failure.Host, "F15",
				fmt.Sprintf("a cluster named %s is there that is not of this harness: node %s is not on network %s", c.c.Name, n.Name, network),
				"delete it if it is yours: kind delete cluster --name "+c.c.Name)
		}
	}
	return found, nil
}

// network is the one that the engine gives to Kind.
func (c *Cluster) network() string {
	variable := "KIND_EXPERIMENTAL_PODMAN_NETWORK="
	if c.engine.Kind() == engine.Docker {
		variable = "KIND_EXPERIMENTAL_DOCKER_NETWORK="
	}
	for _, entry := range c.engine.Env() {
		if name, ok := strings.CutPrefix(entry, variable); ok {
			return name
		}
	}
	return engine.NetworkName
}

// with returns the cluster with an engine that logs into log, and Kind that does.
func (c *Cluster) with(log io.Writer) (*Cluster, kind) {
	if log == nil {
		return c, kind{c.engine, io.Discard}
	}
	e := c.engine.With(log)
	return &Cluster{c.c, e}, kind{e, log}
}

// Create makes the cluster in a unit of t, or takes the one that is there if that is healthy and fresh does not forbid it.
// Before the first node exists the network is there and nothing on it reaches out of this machine, as far as the engine
// can see to it. When Create fails the nodes of the last attempt stay, for SaveLogs, and for Delete.
func (c *Cluster) Create(ctx context.Context, t *plan.Task, fresh bool) error {
	c, k := c.with(t.Log)
	if c.c.Image == "" {
		return fmt.Errorf("create cluster %s: no image for its nodes is given", c.c.Name)
	}
	found, err := c.containers(ctx)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		reason := "a new one was asked for"
		if !fresh {
			unfit := c.Check(ctx)
			if unfit == nil {
				t.Note("cluster %s is used again: it is ours, its configuration is the same, the API answers and all %d nodes are ready", c.c.Name, c.c.nodes())
				return nil
			}
			reason = unfit.Error()
		}
		t.Note("cluster %s is there and is not used again: %s", c.c.Name, reason)
		if err := c.Delete(ctx); err != nil {
			return err
		}
	}
	if err := c.ensureNetwork(ctx, t); err != nil {
		return err
	}
	return t.Unit(ctx, "cluster "+c.c.Name, plan.Unit{
		Do: func(ctx context.Context, _ int) error { return c.make(ctx, t, k) },
		Evidence: func(ctx context.Context, dir string) {
			if err := c.SaveLogs(ctx, filepath.Join(dir, "nodes")); err != nil {
				fmt.Fprintf(t.Log, "not all logs are saved: %v\n", err)
			}
		},
		Cleanup:  func(ctx context.Context, f failure.Finding) (bool, error) { return c.cleanUp(ctx, t, f) },
		Deadline: creating, Stall: creatingStall,
	})
}

// ensureNetwork sees to it, in a unit, that the network is there and that nothing leaves it.
func (c *Cluster) ensureNetwork(ctx context.Context, t *plan.Task) error {
	return t.Unit(ctx, "network", plan.Unit{
		Do: func(ctx context.Context, _ int) error { return c.closeNetwork(ctx, t) },
		Cleanup: func(ctx context.Context, f failure.Finding) (bool, error) {
			switch f.Remedy {
			case "remove-own-network":
				return c.engine.RemoveNetwork(ctx)
			case "wait-for-runtime":
				return false, c.awaitEngine(ctx)
			}
			return false, nil
		},
	})
}

func (c *Cluster) closeNetwork(ctx context.Context, t *plan.Task) error {
	if _, err := c.engine.EnsureNetwork(ctx); err != nil {
		return err
	}
	egress, err := c.engine.CloseEgress(ctx)
	if err != nil {
		return err
	}
	t.Note("%s", egress.Why)
	stale, err := c.engine.DropForwards(ctx)
	if stale > 0 {
		t.Note("removed what was left of %d ports of containers that are gone, which would have led nowhere", stale)
	}
	return err
}

// make is one attempt: Kind's creation, and all nodes ready.
func (c *Cluster) make(ctx context.Context, t *plan.Task, k kind) error {
	begin := time.Now()
	// Kind merges into a file under a lock that a killed run leaves behind. Nobody else knows this one.
	dir, err := os.MkdirTemp("", "kubernaut-e2e-kubeconfig-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "config")
	if err := k.create(ctx, c.c, made); err != nil {
		return err
	}
	if found, err := c.containers(ctx); err != nil || len(found) < c.c.nodes() {
		return errors.Join(err, fmt.Errorf("cluster %s: created but absent: %d of its %d nodes are there", c.c.Name, len(found), c.c.nodes()))
	}
	text, err := os.ReadFile(made)
	if err != nil {
		return fmt.Errorf("create cluster %s: %w", c.c.Name, err)
	}
	if err := writeKubeconfig(c.c.Kubeconfig, text, t.Log); err != nil {
		return fmt.Errorf("create cluster %s: %w", c.c.Name, err)
	}
	created := time.Since(begin)
	if err := c.ready(ctx); err != nil {
		return err
	}
	t.Note("cluster %s of %d nodes created in %s, all of them ready after %s", c.c.Name, c.c.nodes(), tenths(created), tenths(time.Since(begin)))
	return nil
}

func tenths(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// cleanUp makes room for another attempt.
func (c *Cluster) cleanUp(ctx context.Context, t *plan.Task, f failure.Finding) (changed bool, err error) {
	there, err := c.containers(ctx)
	if err != nil {
		return false, err
	}
	removed, err := c.delete(ctx)
	if err != nil {
		return false, err
	}
	changed = removed || len(there) > 0
	switch f.Remedy {
	case "remove-own-network":
		gone, err := c.engine.RemoveNetwork(ctx)
		if err != nil {
			return changed, err
		}
		return changed || gone, c.closeNetwork(ctx, t)
	case "remove-own-images":
		old, err := c.engine.Collect(ctx, engine.Keep{Images: 1, Refs: []string{c.c.Image}})
		return changed || len(old) > 0, err
	case "wait-for-runtime":
		return changed, c.awaitEngine(ctx)
	}
	return changed, nil
}

// awaitEngine waits until the engine answers.
func (c *Cluster) awaitEngine(ctx context.Context) error {
	var err error
	for _, pause := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second} {
		if err = c.engine.Ping(ctx); err == nil {
			return nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return command.Cause(ctx)
		}
	}
	return errors.Join(err, c.engine.Ping(ctx))
}

// SaveLogs writes what there is to know about the nodes into a directory, one for each: their logs, the journal, kubelet's and
// containerd's parts of it, and what the engine says of the container. What cannot be had is an error, and the rest is there.
func (c *Cluster) SaveLogs(ctx context.Context, dir string) error {
	c, k := c.with(nil)
	found, err := c.containers(ctx)
	if err != nil || len(found) == 0 {
		return err
	}
	return k.saveLogs(ctx, c.c.Name, dir)
}

// Delete removes the nodes, their volumes and the kubeconfig. A cluster that is not there is deleted.
func (c *Cluster) Delete(ctx context.Context) error {
	_, err := c.delete(ctx)
	return err
}

// delete also says whether there was anything to remove. It looks again after it has removed something, because an
// interrupted creation may still have made a node meanwhile.
func (c *Cluster) delete(ctx context.Context) (removed bool, err error) {
	if _, err := c.containers(ctx); err != nil {
		return false, err // not ours
	}
	for attempt := 1; ; attempt++ {
		left, err := c.residue(ctx)
		if err == nil && len(left) == 0 {
			break
		}
		if err == nil {
			removed = true
			err = c.remove(ctx, left)
		}
		if err != nil && (attempt == deletions || ctx.Err() != nil) {
			return removed, fmt.Errorf("delete cluster %s: %w", c.c.Name, err)
		}
		if attempt == 2*deletions {
			return removed, fmt.Errorf("delete cluster %s: after %d times there is still %v", c.c.Name, attempt, left)
		}
	}
	if _, err := c.engine.DropForwards(ctx); err != nil {
		return removed, fmt.Errorf("delete cluster %s: %w", c.c.Name, err)
	}
	for _, file := range []string{c.c.Kubeconfig, c.c.Kubeconfig + lockSuffix} {
		if err := os.Remove(file); err == nil {
			removed = true
		} else if !errors.Is(err, os.ErrNotExist) {
			return removed, fmt.Errorf("delete cluster %s: %w", c.c.Name, err)
		}
	}
	return removed, nil
}

// residue are the cluster's containers and volumes.
func (c *Cluster) residue(ctx context.Context) ([]engine.Resource, error) {
	owned, err := c.engine.Owned(ctx, c.c.Name)
	if err != nil {
		return nil, err
	}
	owned = slices.DeleteFunc(owned, func(r engine.Resource) bool { return r.Sort != engine.ContainerSort && r.Sort != engine.VolumeSort })
	storage, err := c.engine.StorageContainers(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range storage {
		if slices.Contains(c.c.nodeNames(), s.Name) {
			owned = append(owned, engine.Resource{Sort: storageSort, Name: s.Name, Cluster: c.c.Name})
		}
	}
	return owned, nil
}

// storageSort is a container that only the engine's storage knows.
const storageSort engine.Sort = "storage container"

// remove removes containers, all at once, and then volumes.
func (c *Cluster) remove(ctx context.Context, all []engine.Resource) error {
	var containers errgroup.Group
	var volumes []engine.Resource
	for _, r := range all {
		switch r.Sort {
		case engine.ContainerSort:
			containers.Go(func() error { return c.engine.RemoveContainer(ctx, r.Name) })
		case storageSort:
			containers.Go(func() error { return c.engine.RemoveStorage(ctx, r.Name) })
		default:
			volumes = append(volumes, r)
		}
	}
	return errors.Join(containers.Wait(), c.engine.Remove(ctx, volumes...))
}
