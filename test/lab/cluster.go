package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/cluster"
	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/image"
	"kubernaut.ai/kubernaut/test/infrastructure/lock"
	"kubernaut.ai/kubernaut/test/infrastructure/nodeimage"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// name is that of the cluster. It is none of a suite's, so that the two may live side by side.
const name = "lab-e2e"

// images are the names under which the incidents run the one program. Whoever reads the recordings shall see the image names of
// several firms, not ours.
var images = []string{
	"registry.example.com/orders/api:3.2.0", "registry.example.com/orders/api:3.3.0", "registry.example.com/platform/db:15.4",
	"registry.example.com/platform/web:1.27.1", "registry.example.com/platform/tools:2.0.1",
}

// lab is one run of the command.
type lab struct {
	out, err io.Writer
	getenv   func(string) string

	root, dir, recordings string
	parallel              int
	settle                time.Duration
	keep                  bool
}

func (l *lab) bind(set *flag.FlagSet) {
	set.StringVar(&l.root, "root", ".", "`directory` of the repository")
	set.StringVar(&l.dir, "incidents", "test/lab/incidents", "`directory` of the incidents")
	set.StringVar(&l.recordings, "recordings", "test/scenarios/recorded", "`directory` of the recordings")
	set.IntVar(&l.parallel, "parallel", 4, "incidents at once")
	set.DurationVar(&l.settle, "settle", 0, "time to wait between staging and what comes next")
	set.BoolVar(&l.keep, "keep", false, "leave an incident that touches the whole cluster as it is, for looking at it")
}

// kubeconfig is the cluster's.
func (l *lab) kubeconfig() (string, error) {
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".kube", name+"-config"), err
}

// state returns the harness's state directory and the cluster's lock, taken.
func (l *lab) state() (string, *lock.Lock, error) {
	dir, err := engine.StateDir(l.getenv)
	if err != nil {
		return "", nil, err
	}
	held, err := lock.Try(engine.LockPath(dir, name), lock.Holder{PID: os.Getpid(), RunID: "lab", Since: time.Now()})
	return dir, held, err
}

func (l *lab) engine(ctx context.Context, state string) (*engine.Engine, *cluster.Cluster, error) {
	e, err := engine.Detect(ctx, command.Runner{}, engine.Host{Getenv: l.getenv, StateDir: state})
	if err != nil {
		return nil, nil, err
	}
	if err := e.Export(os.Setenv); err != nil {
		return nil, nil, err
	}
	kubeconfig, err := l.kubeconfig()
	if err != nil {
		return nil, nil, err
	}
	nodes, err := nodeimage.Ensure(ctx, nodeimage.Options{Runtime: string(e.Kind()), Env: l.getenv, Source: l.root})
	if err != nil {
		return nil, nil, err
	}
	c, err := cluster.New(e, cluster.Config{Name: name, Image: nodes.Ref, Kubeconfig: kubeconfig, Workers: 2})
	return e, c, err
}

// up makes the cluster and loads the program.
func up(ctx context.Context, l *lab, _ []string) error {
	state, held, err := l.state()
	if err != nil {
		return err
	}
	defer held.Release() //nolint:errcheck // the kernel gives it back when this process ends
	e, c, err := l.engine(ctx, state)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "kubernaut-lab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	var programs []cluster.Image
	phases := []plan.Phase{
		{Name: "build", Run: func(ctx context.Context, t *plan.Task) error {
			b := &image.Builder{Root: l.root, StateDir: state, Engine: e}
			built, err := b.Build(ctx, t, image.Spec{Name: "e2e-lab-actor", Package: "test/lab/actor", Dockerfile: "test/lab/actor/Dockerfile"})
			if err != nil {
				return err
			}
			for _, ref := range images {
				if _, err := e.Run(ctx, e.Command("tag", built[0].Ref.String(), ref)); err != nil {
					return err
				}
				programs = append(programs, cluster.Image{Ref: ref, ID: built[0].ID})
			}
			return nil
		}},
		{Name: "cluster", After: []string{"build"}, Run: func(ctx context.Context, t *plan.Task) error {
			if err := nodeimage.SaveSysctls(filepath.Join(state, "sysctls.json")); err != nil {
				return err
			}
			return c.Create(ctx, t, false)
		}},
		{Name: "load", After: []string{"cluster"}, Run: func(ctx context.Context, t *plan.Task) error { return c.Load(ctx, t, programs) }},
		{Name: "prepare", After: []string{"load"}, Run: func(ctx context.Context, _ *plan.Task) error { return l.prepare(ctx, e, c) }},
	}
	result, err := plan.Run(ctx, plan.Plan{Suite: "lab", Cluster: name, Phases: phases}, plan.Options{Dir: work, Out: l.out})
	if err != nil {
		return err
	}
	for _, p := range result.Phases {
		if p.Status != plan.Passed {
			log, _ := os.ReadFile(filepath.Join(p.Dir, "log.txt"))
			return fmt.Errorf("%s: %s %+v\n%s", p.Name, p.Status, p.Findings, log[max(0, len(log)-4000):])
		}
	}
	return nil
}

// prepare tells the nodes where the images' registry is, and takes kubectl, in the cluster's own version, from a node.
func (l *lab) prepare(ctx context.Context, e *engine.Engine, c *cluster.Cluster) error {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		// The registry of the incidents is a program on every node that has no image to give.
		script := `set -e; d=/etc/containerd/certs.d/registry.example.com; mkdir -p $d; printf 'server = "http://127.0.0.1:30500"\n\n[host."http://127.0.0.1:30500"]\n  capabilities = ["pull", "resolve"]\n' >$d/hosts.toml
grep -q certs.d /etc/containerd/config.toml || {
  printf '[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n' >>/etc/containerd/config.toml
  systemctl restart containerd
}`
		if _, err := e.Exec(ctx, engine.Exec{Container: node, Args: []string{"sh", "-c", script}}); err != nil {
			return err
		}
	}
	tools, err := l.tools()
	if err != nil {
		return err
	}
	if err := e.CopyFrom(ctx, nodes[0], "/usr/bin/kubectl", filepath.Join(tools, "kubectl")); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(tools, "actor"), "./test/lab/actor")
	build.Dir = l.root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return l.common(ctx)
}

// tools is the directory of the programs that staging uses.
func (l *lab) tools() (string, error) {
	state, err := engine.StateDir(l.getenv)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(state, "lab", "bin")
	return dir, os.MkdirAll(dir, 0o750)
}

// down deletes the cluster, what it was built from, and the network unless another cluster is on it.
func down(ctx context.Context, l *lab, _ []string) error {
	state, held, err := l.state()
	if err != nil {
		return err
	}
	e, c, err := l.engine(ctx, state)
	if err != nil {
		return errors.Join(err, held.Release())
	}
	err = c.Delete(ctx)
	for _, ref := range images {
		err = errors.Join(err, e.RemoveImage(ctx, ref))
	}
	err = errors.Join(err, held.Release())
	err = errors.Join(err, os.RemoveAll(filepath.Join(state, "lab")))
	removed, gone := e.RemoveNetwork(ctx)
	err = errors.Join(err, gone)
	if !removed {
		return err // another cluster is on it, and needs the machine's settings
	}
	return errors.Join(err, nodeimage.RestoreSysctls(filepath.Join(state, "sysctls.json")))
}
