package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	watchtools "k8s.io/client-go/tools/watch"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

const (
	readiness = 3 * time.Minute // of all nodes, after Kind has returned
	answering = 10 * time.Second
)

// client reaches the API server; timeout bounds every request, zero: none.
func (c *Cluster) client(timeout time.Duration) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.c.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of cluster %s: %w", c.c.Name, err)
	}
	config.Timeout = timeout
	return kubernetes.NewForConfig(config)
}

// ready waits until every node is.
func (c *Cluster) ready(ctx context.Context) error {
	client, err := c.client(0)
	if err != nil {
		return err
	}
	ctx, _, release := command.Guard(ctx, readiness, 0)
	defer release()
	nodes := client.CoreV1().Nodes()
	seen := make(map[string]*corev1.Node)
	_, err = watchtools.UntilWithSync(ctx, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return nodes.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return nodes.Watch(ctx, o)
		},
	}, &corev1.Node{}, nil, func(e watch.Event) (bool, error) {
		node, ok := e.Object.(*corev1.Node)
		if !ok {
			return false, nil
		}
		seen[node.Name] = node
		if e.Type == watch.Deleted {
			delete(seen, node.Name)
		}
		return len(unready(seen, c.c.nodeNames())) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("nodes of cluster %s: %w: %s", c.c.Name, errors.Join(command.Cause(ctx), err), strings.Join(unready(seen, c.c.nodeNames()), "; "))
	}
	return nil
}

// unready says what is wrong with each of the nodes that are wanted.
func unready(seen map[string]*corev1.Node, wanted []string) []string {
	var wrong []string
	for _, name := range wanted {
		node, ok := seen[name]
		if !ok {
			wrong = append(wrong, fmt.Sprintf("node %s is not registered, so it is not ready", name))
			continue
		}
		i := slices.IndexFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeReady })
		switch {
		case i < 0:
			wrong = append(wrong, fmt.Sprintf("node %s is not ready: kubelet has not said anything", name))
		case node.Status.Conditions[i].Status != corev1.ConditionTrue:
			ready := node.Status.Conditions[i]
			wrong = append(wrong, fmt.Sprintf("node %s is not ready: %s: %s", name, ready.Reason, ready.Message))
		}
	}
	return wrong
}

// Check errs if the cluster cannot be used as it is: a node container does not run, the API server does not answer, a node is
// missing or not ready, or was made by somebody else or from another configuration.
func (c *Cluster) Check(ctx context.Context) error {
	found, err := c.containers(ctx)
	if err != nil {
		return err
	}
	running := make(map[string]string)
	for _, n := range found {
		running[n.Name] = n.Status
	}
	for _, name := range c.c.nodeNames() {
		if status := cmp.Or(running[name], "missing"); status != "running" {
			return fmt.Errorf("cluster %s: node container %s is %s", c.c.Name, name, status)
		}
		delete(running, name)
	}
	if len(running) > 0 {
		return fmt.Errorf("cluster %s: it also has %s", c.c.Name, strings.Join(slices.Sorted(maps.Keys(running)), ", "))
	}
	client, err := c.client(answering)
	if err != nil {
		return err
	}
	if _, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
		return fmt.Errorf("cluster %s: the API server is not ready: %w", c.c.Name, err)
	}
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("cluster %s: %w", c.c.Name, err)
	}
	seen := make(map[string]*corev1.Node)
	for i := range list.Items {
		seen[list.Items[i].Name] = &list.Items[i]
	}
	if wrong := unready(seen, c.c.nodeNames()); len(wrong) > 0 {
		return fmt.Errorf("cluster %s: %s", c.c.Name, strings.Join(wrong, "; "))
	}
	for _, node := range list.Items {
		if node.Labels[ownerLabel] != ownerValue {
			return fmt.Errorf("cluster %s: node %s was not made by this harness", c.c.Name, node.Name)
		}
		if have, want := node.Labels[configLabel], c.c.Digest(); have != want {
			return fmt.Errorf("cluster %s: node %s was made from another configuration (%s, now %s)", c.c.Name, node.Name, have, want)
		}
	}
	return nil
}

// RestartNode stops the container of a node at once and starts it, and waits until its kubelet has renewed the node's lease
// and every node is ready.
func (c *Cluster) RestartNode(ctx context.Context, name string) error {
	if !slices.Contains(c.c.nodeNames(), name) {
		return fmt.Errorf("cluster %s has no node %s; it has %s", c.c.Name, name, strings.Join(c.c.nodeNames(), ", "))
	}
	var stopped time.Time // whatever is renewed after it, the new kubelet has
	for _, args := range [][]string{{"stop", "-t", "1", name}, {"start", name}} {
		step := c.engine.Command(args...)
		step.Deadline = time.Minute
		stopped = time.Now()
		if _, err := c.engine.Run(ctx, step); err != nil {
			return fmt.Errorf("restart node %s: %w", name, err)
		}
	}
	client, err := c.client(0)
	if err != nil {
		return err
	}
	guarded, _, release := command.Guard(ctx, readiness, 0)
	defer release()
	leases := client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	one := fields.OneTermEqualSelector("metadata.name", name).String()
	_, err = watchtools.UntilWithSync(guarded, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = one
			return leases.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = one
			return leases.Watch(ctx, o)
		},
	}, &coordinationv1.Lease{}, nil, func(e watch.Event) (bool, error) {
		lease, ok := e.Object.(*coordinationv1.Lease)
		return ok && lease.Spec.RenewTime != nil && lease.Spec.RenewTime.After(stopped), nil
	})
	if err != nil {
		return fmt.Errorf("restart node %s: its kubelet is not back: %w", name, errors.Join(command.Cause(guarded), err))
	}
	return c.ready(ctx)
}
