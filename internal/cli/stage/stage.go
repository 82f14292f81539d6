package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	pollEvery = 50 * time.Millisecond
	// stepDeadline bounds the wait for a controller to do its part of one step.
	stepDeadline = 20 * time.Second
)

// Cluster stages scenarios on one API server, which must run the controllers of
// kube-controller-manager and no scheduler. Its methods may be called at once.
type Cluster struct {
	client  client.Client
	kubelet *kubelet
	clock   func() time.Time
	logger  *slog.Logger
}

// New returns a Cluster on the API server of cfg. It serves container logs on a loopback port until
// Close is called.
func New(cfg *rest.Config, clock func() time.Time, logger *slog.Logger) (*Cluster, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst = 200, 400 // all scenarios are staged at once
	c, err := client.New(cfg, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		return nil, err
	}
	k, err := startKubelet(clock())
	if err != nil {
		return nil, err
	}
	return &Cluster{client: c, kubelet: k, clock: clock, logger: logger}, nil
}

// Close stops serving logs. What was staged stays.
func (c *Cluster) Close() error { return c.kubelet.close() }

// Run keeps the staged nodes alive, but for the lost ones, until ctx ends: it renews their Leases as
// their kubelets would.
func (c *Cluster) Run(ctx context.Context) {
	tick := time.NewTicker(leaseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := c.renewLeases(ctx); err != nil && ctx.Err() == nil {
				c.logger.Warn("node leases were not renewed", "error", err)
			}
		}
	}
}

// Stage brings the cluster into the state of s. The namespace must not exist.
func (c *Cluster) Stage(ctx context.Context, s Scenario) error {
	if err := c.stage(ctx, s); err != nil {
		return fmt.Errorf("stage %s: %w", s.Name, err)
	}
	return nil
}

func (c *Cluster) stage(ctx context.Context, s Scenario) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.Namespace}}
	if err := c.client.Create(ctx, ns); err != nil {
		return err
	}
	for _, n := range s.Nodes {
		if err := c.addNode(ctx, n); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	for i, step := range s.Steps {
		if err := c.step(ctx, s, step); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

func (c *Cluster) step(ctx context.Context, s Scenario, step Step) error {
	v := values{namespace: s.Namespace, now: c.clock()}
	switch {
	case step.Apply != nil:
		for _, raw := range step.Apply {
			u, err := v.object(raw)
			if err != nil {
				return err
			}
			if err := c.apply(ctx, s.Namespace, u); err != nil {
				return err
			}
		}
		return nil
	case step.Await != nil:
		return c.await(ctx, s.Namespace, *step.Await)
	case step.Pods != nil:
		return c.pods(ctx, v, step.Pods)
	default:
		return c.loseNode(ctx, *step.LoseNode)
	}
}

// apply does what kubectl apply --server-side does.
func (c *Cluster) apply(ctx context.Context, namespace string, u *unstructured.Unstructured) error {
	mapping, err := c.client.RESTMapper().RESTMapping(u.GroupVersionKind().GroupKind(), u.GroupVersionKind().Version)
	if err != nil {
		return err
	}
	if mapping.Scope.Name() == "namespace" && u.GetNamespace() == "" {
		u.SetNamespace(namespace)
	}
	return c.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("kubectl"))
}

func (c *Cluster) await(ctx context.Context, namespace string, a Await) error {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(a.APIVersion)
	u.SetKind(a.Kind)
	key := client.ObjectKey{Namespace: namespace, Name: a.Name}
	missing := ""
	err := poll(ctx, func(ctx context.Context) (bool, error) {
		missing = "the object"
		if err := c.client.Get(ctx, key, u); err != nil {
			return false, client.IgnoreNotFound(err)
		}
		if a.Field != "" && !hasField(u, a.Field) {
			missing = "field " + a.Field
			return false, nil
		}
		if a.Condition != "" && !hasCondition(u, a.Condition) {
			missing = "condition " + a.Condition
			return false, nil
		}
		if a.Event == "" {
			return true, nil
		}
		missing = "event " + a.Event
		var events corev1.EventList
		if err := c.client.List(ctx, &events, client.InNamespace(namespace)); err != nil {
			return false, err
		}
		for _, e := range events.Items {
			if e.Reason == a.Event && e.InvolvedObject.UID == u.GetUID() {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %s of %s %s/%s: %w", missing, a.Kind, namespace, a.Name, err)
	}
	return nil
}

func (c *Cluster) pods(ctx context.Context, v values, raw json.RawMessage) error {
	v.pod, v.uid, v.node, v.ip = "?", "?", "?", "?" // which Pods there are is not known yet
	sel, err := v.pods(raw)
	if err != nil {
		return err
	}
	var found []corev1.Pod
	err = poll(ctx, func(ctx context.Context) (bool, error) {
		var list corev1.PodList
		err := c.client.List(ctx, &list, client.InNamespace(v.namespace), client.MatchingLabelsSelector{Selector: labels.SelectorFromSet(sel.Select)})
		if err != nil {
			return false, err
		}
		found = found[:0]
		for _, p := range list.Items {
			if p.DeletionTimestamp == nil && (sel.Image == "" || p.Spec.Containers[0].Image == sel.Image) {
				found = append(found, p)
			}
		}
		return len(found) == sel.Count, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %d Pods with labels %s and image %q in namespace %s, there are %d (does a controller manager run?): %w",
			sel.Count, labels.Set(sel.Select), sel.Image, v.namespace, len(found), err)
	}
	for i := range found {
		if err := c.pod(ctx, v, raw, &found[i]); err != nil {
			return fmt.Errorf("pod %s/%s: %w", found[i].Namespace, found[i].Name, err)
		}
	}
	return nil
}

func (c *Cluster) pod(ctx context.Context, v values, raw json.RawMessage, pod *corev1.Pod) error {
	v.pod, v.uid = pod.Name, string(pod.UID)
	v.ip = c.kubelet.podIP(pod)
	v.node = pod.Spec.NodeName
	if v.node == "" {
		v.node = "none" // known after the first decoding, and in it nobody can need it
	}
	p, err := v.pods(raw)
	if err != nil {
		return err
	}
	if p.Node != "" {
		if err := c.bind(ctx, pod, p.Node); err != nil {
			return err
		}
		v.node = p.Node
		if p, err = v.pods(raw); err != nil {
			return err
		}
	}
	if p.Unschedulable != "" {
		if err := c.refuse(ctx, pod, p.Unschedulable); err != nil {
			return err
		}
	}
	if p.Containers != nil {
		before := pod.DeepCopy()
		if pod.Status, err = c.kubelet.status(pod, v.ip, p.Containers, c.clock()); err != nil {
			return err
		}
		if err := c.client.Status().Patch(ctx, pod, client.MergeFrom(before), client.FieldOwner("kubelet")); err != nil {
			return err
		}
	}
	for _, l := range p.Logs {
		c.kubelet.setLog(pod, l)
	}
	return c.podEvents(ctx, pod, p.Events)
}

// poll calls ready until it reports true, fails, ctx ends, or the step's time is up.
func poll(ctx context.Context, ready wait.ConditionWithContextFunc) error {
	err := wait.PollUntilContextTimeout(ctx, pollEvery, stepDeadline, true, ready)
	if err != nil && ctx.Err() == nil && wait.Interrupted(err) {
		return fmt.Errorf("not within %s", stepDeadline)
	}
	return err
}

func hasField(u *unstructured.Unstructured, dotted string) bool {
	_, found, err := unstructured.NestedFieldNoCopy(u.Object, splitDots(dotted)...)
	return found && err == nil
}

func hasCondition(u *unstructured.Unstructured, kind string) bool {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, entry := range conditions {
		if m, ok := entry.(map[string]any); ok && m["type"] == kind && m["status"] == "True" {
			return true
		}
	}
	return false
}

// createOnce creates obj and takes one that is there already for done.
func (c *Cluster) createOnce(ctx context.Context, obj client.Object) error {
	err := c.client.Create(ctx, obj)
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}

var errNoSuchContainer = errors.New("the Pod has no such container")
