package infrastructure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/nodeimage"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// gatherFailed collects evidence of a run that failed.
func (h *Harness) gatherFailed(ctx context.Context, t *plan.Task) error {
	if !h.anyFailed() {
		t.Note("nothing is gathered: every phase succeeded")
		return nil
	}
	var asked sync.WaitGroup
	asked.Go(func() {
		g := h.diagnosed(ctx)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.verdict = g
	})
	defer asked.Wait()
	if err := h.gather(ctx, t.Dir); err != nil {
		// What could be had is there; the run has failed of something else already.
		t.Note("not all of the evidence could be had: %v", err)
	}
	return nil
}

// gather writes what there is to see of the host, of the nodes and of what runs in the cluster into dir. It goes on where
// something cannot be had, and names that in the error.
func (h *Harness) gather(ctx context.Context, dir string) error {
	e, err := h.detect(ctx)
	if err != nil {
		return err
	}
	var failed []error
	note := func(err error) {
		if err != nil {
			failed = append(failed, err)
		}
	}
	note(h.hostFacts(ctx, e, filepath.Join(dir, "host")))
	nodes, err := e.Containers(ctx, engine.KindLabel+"="+h.Suite.Cluster)
	note(err)
	if len(nodes) == 0 {
		return errors.Join(failed...)
	}
	c, err := h.cluster(e, nil)
	if err == nil {
		err = c.SaveLogs(ctx, filepath.Join(dir, "nodes"))
	}
	note(err)
	r, err := h.connect()
	if err == nil {
		err = r.Dump(ctx, filepath.Join(dir, "cluster"), namespace, "kube-system", "local-path-storage")
	}
	note(err)
	return errors.Join(failed...)
}

// hostFacts writes what the engine says of itself, its containers, images and disks.
func (h *Harness) hostFacts(ctx context.Context, e *engine.Engine, dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	var failed []error
	for name, args := range map[string][]string{
		"info.txt": {"info"}, "containers.txt": {"ps", "-a"}, "images.txt": {"images"}, "networks.txt": {"network", "ls"}, "disk.txt": {"system", "df"},
	} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			failed = append(failed, err)
			continue
		}
		cmd := e.Command(args...)
		cmd.Stdout = f
		_, err = e.Run(ctx, cmd)
		failed = append(failed, err, f.Close())
	}
	return errors.Join(failed...)
}

// teardown deletes the cluster, unless it is to be kept: because it was asked for, or because something failed and people will
// want to look at it.
func (h *Harness) teardown(ctx context.Context, t *plan.Task) error {
	e, err := h.detect(ctx)
	if err != nil {
		t.Note("nothing to delete: there is no container engine")
		return nil
	}
	nodes, err := e.Containers(ctx, engine.KindLabel+"="+h.Suite.Cluster)
	if err != nil {
		return err
	}
	switch {
	case len(nodes) == 0:
		t.Note("there is no cluster to delete")
	case h.o.Getenv(envKeepCluster) != "" || h.o.Getenv(envSkipCleanup) != "":
		t.Note("the cluster stays, as %s or %s asks for; delete it with `e2e down %s`", envKeepCluster, envSkipCleanup, h.Suite.Name)
		return nil
	case h.anyFailed():
		t.Note("the cluster stays, because something failed; delete it with `e2e down %s`", h.Suite.Name)
		return nil
	}
	return h.remove(e.With(t.Log), func(name string, do func(context.Context) error) error {
		return t.Unit(ctx, name, plan.Unit{
			Do:      func(ctx context.Context, _ int) error { return do(ctx) },
			Cleanup: func(context.Context, failure.Finding) (bool, error) { return false, nil },
		})
	})
}

// remove deletes the cluster and everything that is its alone, the network if nothing else is on it, and puts the
// machine's settings back.
func (h *Harness) remove(e *engine.Engine, unit func(name string, do func(context.Context) error) error) error {
	err := unit("delete the cluster", func(ctx context.Context) error {
		c, err := h.cluster(e, nil)
		if err != nil {
			return err
		}
		return c.Delete(ctx)
	})
	if err != nil {
		return err
	}
	return unit("remove what is left", func(ctx context.Context) error {
		owned, err := e.Owned(ctx, h.Suite.Cluster)
		if err != nil {
			return err
		}
		owned = slices.DeleteFunc(owned, func(r engine.Resource) bool { return r.Sort == engine.LockSort }) // it is held by this run
		if err := e.Remove(ctx, owned...); err != nil {
			return err
		}
		removed, err := e.RemoveNetwork(ctx)
		if err != nil || !removed {
			return err
		}
		others, err := e.OtherNetworks(ctx)
		if err != nil || len(others) > 0 {
			return err // the last one does it
		}
		sysctls, err := h.sysctls()
		if err != nil {
			return err
		}
		return nodeimage.RestoreSysctls(sysctls)
	})
}

// Down deletes the cluster and what is left of its runs on the engine; with images also the images of the harness. It returns
// what still carries the harness's labels and is this cluster's, which should be nothing.
func (h *Harness) Down(ctx context.Context, images bool) ([]engine.Resource, error) {
	held, err := h.lock(ctx, "down")
	if err != nil {
		return nil, err
	}
	defer held.Release() //nolint:errcheck // the kernel gives it back when this process ends
	e, err := h.detect(ctx)
	if err != nil {
		return nil, err
	}
	if err := h.remove(e, func(_ string, do func(context.Context) error) error { return do(ctx) }); err != nil {
		return nil, err
	}
	// What the next run may take over is gone.
	if err := os.Remove(filepath.Join(h.dir, "state.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if images {
		if _, err := e.Collect(ctx, engine.Keep{}); err != nil {
			return nil, err
		}
	}
	left, err := e.Owned(ctx, h.Suite.Cluster)
	return slices.DeleteFunc(left, func(r engine.Resource) bool { return r.Sort == engine.LockSort }), err
}

// Gather collects evidence of the cluster as it is now, and returns the directory. It needs no run: it works after one was
// killed.
func (h *Harness) Gather(ctx context.Context) (string, error) {
	dir := filepath.Join(h.dir, "gathered", h.o.Clock().UTC().Format("20060102T150405Z"))
	return dir, h.gather(ctx, dir)
}

// Status describes the cluster, the last run and what is on the engine.
func (h *Harness) Status(ctx context.Context) (string, error) {
	e, err := h.detect(ctx)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "engine   %s %s\n", e.Kind(), e.Info().Version)
	nodes, err := e.Containers(ctx, engine.KindLabel+"="+h.Suite.Cluster)
	if err != nil {
		return "", err
	}
	if len(nodes) == 0 {
		fmt.Fprintf(&b, "cluster  %s: none\n", h.Suite.Cluster)
	} else {
		health := "healthy"
		c, err := h.cluster(e, nil)
		if err == nil {
			err = c.Check(ctx)
		}
		if err != nil {
			health = err.Error()
		}
		fmt.Fprintf(&b, "cluster  %s: %s\n", h.Suite.Cluster, health)
	}
	for _, n := range nodes {
		fmt.Fprintf(&b, "node     %s: %s\n", n.Name, n.Status)
	}
	last, err := plan.LastRun(h.dir)
	if err != nil {
		return "", err
	}
	if last != "" {
		r, err := plan.ReadResult(last)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "last run %s: exit code %d\n", r.RunID, r.ExitCode())
		for _, ph := range r.Phases {
			fmt.Fprintf(&b, "  %-10s %s\n", ph.Name, ph.Status)
		}
		fmt.Fprintf(&b, "report   %s\n", filepath.Join(last, "report.md"))
	}
	owned, err := e.Owned(ctx, h.Suite.Cluster)
	if err != nil {
		return "", err
	}
	for _, r := range owned {
		fmt.Fprintf(&b, "ours     %s\n", r)
	}
	return b.String(), nil
}

// next are the commands that make sense after a run.
func (h *Harness) next(r plan.Result) []string {
	name := h.Suite.Name
	if r.ExitCode() == failure.ExitOK {
		if h.o.Getenv(envKeepCluster) == "" && h.o.Getenv(envSkipCleanup) == "" {
			return nil
		}
		return []string{"kubectl --kubeconfig ~/.kube/" + h.Suite.Cluster + "-config get pods -A", "bin/e2e down " + name}
	}
	return []string{
		"bin/e2e resume " + name + "   # continue from the phase that failed",
		"kubectl --kubeconfig ~/.kube/" + h.Suite.Cluster + "-config -n " + namespace + " get pods",
		"bin/e2e gather " + name + "   # collect evidence once more",
		"bin/e2e down " + name + "     # delete the cluster",
	}
}
