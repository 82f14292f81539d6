package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// looking is how often a fault looks for its moment, in milliseconds on the nodes and here.
const looking = 50 * time.Millisecond

// ingest is where containerd writes what it imports, on every node image.
const ingest = "/var/lib/containerd/io.containerd.content.v1.content/ingest"

var (
	errNoPort     = errors.New("the cluster publishes no port")
	errNotRefused = errors.New("the second run was not refused as a fault of the host")
)

func takePort(ctx context.Context, t Target) (func(context.Context) error, error) {
	if t.Port == 0 {
		return nil, errNoPort
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(t.Port))))
	if err != nil {
		return nil, err
	}
	return func(context.Context) error { return l.Close() }, nil
}

// removeNode removes the container of a node when it has just started, while Kind waits for what it says.
func removeNode(ctx context.Context, t Target) (func(context.Context) error, error) {
	tick := time.NewTicker(looking)
	defer tick.Stop()
	var victim string // by its id: its successor has its name
	var refused error // a container that is just starting cannot always be stopped
	for {
		nodes, err := t.Engine.Containers(ctx, engine.KindLabel+"="+t.Cluster)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		there := false
		for _, n := range nodes {
			if victim == "" && n.Running {
				victim = n.ID
			}
			if n.ID == victim {
				there = true
			}
		}
		if there {
			refused = t.Engine.RemoveContainer(ctx, victim)
		}
		if victim != "" && (refused == nil || !there && err == nil) {
			return nil, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("no node was removed: %w", errors.Join(command.Cause(ctx), refused))
		}
	}
}

// cutLoad kills containerd's client in a node while it reads the archive of an image.
func cutLoad(ctx context.Context, t Target) (func(context.Context) error, error) {
	// The brackets keep the expression from meeting the shell that has it on its command line.
	script := "until pkill -KILL -f 'images [i]mport'; do sleep 0.02; done"
	_, err := t.Engine.Exec(ctx, engine.Exec{Container: controlPlane(t), Args: []string{"sh", "-c", script}})
	return nil, err
}

// fillDisk leaves containerd in a node a few kilobytes for what it imports.
func fillDisk(ctx context.Context, t Target) (func(context.Context) error, error) {
	node := controlPlane(t)
	_, err := t.Engine.Exec(ctx, engine.Exec{Container: node, Args: []string{"mount", "-t", "tmpfs", "-o", "size=64k", "full", ingest}})
	return func(ctx context.Context) error {
		_, err := t.Engine.Exec(ctx, engine.Exec{Container: node, Args: []string{"umount", "-l", ingest}})
		return err
	}, err
}

func killNode(ctx context.Context, t Target) (func(context.Context) error, error) {
	_, err := t.Engine.Run(ctx, t.Engine.Command("kill", "--signal", "KILL", controlPlane(t)))
	return nil, err
}

// deleteConfigMaps deletes what was deployed as ConfigMaps, and the pods, whose successors need them.
func deleteConfigMaps(ctx context.Context, t Target) (func(context.Context) error, error) {
	script := `set -e
export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl -n kubernaut-system delete configmaps --field-selector metadata.name!=kube-root-ca.crt
kubectl -n kubernaut-system delete pods --all --grace-period=0 --force`
	_, err := t.Engine.Exec(ctx, engine.Exec{Container: controlPlane(t), Args: []string{"sh", "-c", script}, Deadline: time.Minute})
	return nil, err
}

func interrupt(_ context.Context, t Target) (func(context.Context) error, error) {
	t.Interrupt()
	return nil, nil
}

// runAgain begins a second run, which must be told whose the cluster is, and must leave it alone.
func runAgain(ctx context.Context, t Target) (func(context.Context) error, error) {
	_, err := command.Runner{}.Run(ctx, t.Again)
	said := new(command.Error)
	switch {
	case err == nil:
		return nil, errNotRefused
	case errors.As(err, &said) && said.ExitCode == failure.ExitHost:
		return nil, nil
	}
	return nil, fmt.Errorf("%w: %w", errNotRefused, err)
}

func controlPlane(t Target) string { return t.Cluster + "-control-plane" }
