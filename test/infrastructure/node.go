package infrastructure

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/test/infrastructure/cluster"
	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
)

// RestartNode ends a node at once, as a power cut would, starts it again, and waits until every node is ready.
func (c *Cluster) RestartNode(ctx context.Context, node string) error {
	e, err := c.engine(ctx)
	if err != nil {
		return err
	}
	s, err := SuiteNamed(c.Suite)
	if err != nil {
		return err
	}
	on, err := cluster.New(e, cluster.Config{Name: c.Name, Kubeconfig: c.Kubeconfig, Workers: s.Workers, Ports: s.Ports})
	if err != nil {
		return err
	}
	return on.RestartNode(ctx, node)
}

// InContainer runs a program in a container on a node, as the container's own process would, and returns what it wrote to
// its standard output. id is the container's in a pod's status. It is for what a pod's interface does not show.
func (c *Cluster) InContainer(ctx context.Context, node, id string, args ...string) (string, error) {
	e, err := c.engine(ctx)
	if err != nil {
		return "", err
	}
	const patience = time.Minute
	call := []string{"ctr", "--namespace", "k8s.io", "tasks", "exec", "--exec-id", uuid.NewString(), strings.TrimPrefix(id, "containerd://")}
	out, err := e.Exec(ctx, engine.Exec{Container: node, Args: append(call, args...), Deadline: patience, Quiet: true})
	if err != nil {
		return "", fmt.Errorf("run %s in container %s: %w", args[0], id, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// engine finds the engine that the nodes run on.
func (c *Cluster) engine(ctx context.Context) (*engine.Engine, error) {
	state, err := engine.StateDir(os.Getenv)
	if err != nil {
		return nil, err
	}
	return engine.Detect(ctx, command.Runner{}, engine.Host{StateDir: state, Getenv: func(name string) string {
		if name == "E2E_RUNTIME" {
			return c.Runtime
		}
		return os.Getenv(name)
	}})
}
