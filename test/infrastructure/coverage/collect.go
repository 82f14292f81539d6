package coverage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

const (
	// ending is how long a service may take to end, on top of its grace period.
	ending = 2 * time.Minute
	// restarting is how long the API server may take to be told that the services shall run again.
	restarting = 30 * time.Second
)

// Options are where to collect from, and what to add.
type Options struct {
	Engine *engine.Engine
	Client kubernetes.Interface
	// Cluster is Kind's name of it.
	Cluster string
	// Services are those that Services finds in what was deployed.
	Services []Service
	// Root is the root of the repository, Others is coverage from elsewhere, Out a directory for the report.
	Root   string
	Others []Source
	Out    string
}

// Collect ends the services so that they write their counters, copies these from every node, writes the report, and starts the
// services again. Ending one service and copying its counters is a unit of t each.
func Collect(ctx context.Context, t *plan.Task, o Options) (Summary, error) {
	in := Inputs{
		Root: o.Root, Others: o.Others, Out: o.Out,
		Services: make(map[string]string), Packages: make(map[string]string),
	}
	var flushes, copies []plan.NamedUnit
	before := make([]int32, len(o.Services)) // pods, of those that were ended
	e := o.Engine.With(t.Log)
	for i, s := range o.Services {
		dir := filepath.Join(o.Out, "raw", s.Name)
		in.Services[s.Name], in.Packages[s.Name] = dir, s.Package
		flushes = append(flushes, plan.NamedUnit{Name: "end " + s.Deployment, Unit: plan.Unit{Do: func(ctx context.Context, _ int) error {
			replicas, err := s.end(ctx, o.Client)
			before[i] = max(before[i], replicas) // of the first attempt
			return err
		}}})
		copies = append(copies, plan.NamedUnit{Name: "copy counters of " + s.Deployment, Unit: plan.Unit{Do: func(ctx context.Context, _ int) error {
			return s.copy(ctx, e, o.Client, o.Cluster, dir)
		}}})
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restarting)
		defer cancel()
		for i, s := range o.Services {
			if before[i] == 0 {
				continue
			}
			if err := s.scale(ctx, o.Client, before[i]); err != nil {
				fmt.Fprintf(t.Log, "%s is not started again: %v\n", s.Deployment, err)
			}
		}
	}()
	if err := t.All(ctx, 0, flushes...); err != nil {
		return Summary{}, err
	}
	if err := t.All(ctx, 0, copies...); err != nil {
		return Summary{}, err
	}
	summary, err := Report(ctx, t.Command(), in)
	if err != nil {
		return Summary{}, err
	}
	t.Note("coverage: %s", &summary)
	for name, files := range summary.Differ {
		t.Note("coverage of %s is of other sources in %d files, which are left out of it: %s", name, len(files), strings.Join(files, ", "))
	}
	return summary, nil
}

// scale sets the number of the service's pods.
func (s Service) scale(ctx context.Context, client kubernetes.Interface, replicas int32) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	_, err := client.AppsV1().Deployments(s.Namespace).Patch(ctx, s.Deployment, types.MergePatchType, patch, metav1.PatchOptions{}, "scale")
	if err != nil {
		return fmt.Errorf("scale Deployment %s to %d: %w", s.Deployment, replicas, err)
	}
	return nil
}

// end scales the service to zero, waits until none of its pods is left, and returns how many it was to have.
func (s Service) end(ctx context.Context, client kubernetes.Interface) (replicas int32, err error) {
	deployment, err := client.AppsV1().Deployments(s.Namespace).Get(ctx, s.Deployment, metav1.GetOptions{})
	if err != nil {
		return 0, fmt.Errorf("end Deployment %s: %w", s.Deployment, err)
	}
	if deployment.Spec.Replicas != nil {
		replicas = *deployment.Spec.Replicas
	}
	selector, err := metav1.LabelSelectorAsSelector(deployment.Spec.Selector)
	if err != nil {
		return replicas, fmt.Errorf("end Deployment %s: %w", s.Deployment, err)
	}
	if err := s.scale(ctx, client, 0); err != nil {
		return replicas, err
	}
	grace := ending
	if seconds := deployment.Spec.Template.Spec.TerminationGracePeriodSeconds; seconds != nil {
		grace += time.Duration(*seconds) * time.Second
	}
	ctx, _, release := command.Guard(ctx, grace, 0)
	defer release()
	pods := client.CoreV1().Pods(s.Namespace)
	left := make(map[string]bool)
	gone := func() bool { return len(left) == 0 }
	_, err = watchtools.UntilWithSync(ctx, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = selector.String()
			return pods.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = selector.String()
			return pods.Watch(ctx, o)
		},
	}, &corev1.Pod{}, func(store cache.Store) (bool, error) {
		for _, name := range store.ListKeys() {
			left[name] = true
		}
		return gone(), nil
	}, func(e watch.Event) (bool, error) {
		pod, ok := e.Object.(*corev1.Pod)
		if !ok {
			return false, nil
		}
		name := pod.Namespace + "/" + pod.Name
		left[name] = true
		if e.Type == watch.Deleted {
			delete(left, name)
		}
		return gone(), nil
	})
	if err != nil {
		return replicas, fmt.Errorf("end Deployment %s: %d pods are left: %w", s.Deployment, len(left), errors.Join(command.Cause(ctx), err))
	}
	return replicas, nil
}

// copy copies the service's counters from the nodes into a directory, which is made anew.
func (s Service) copy(ctx context.Context, e *engine.Engine, client kubernetes.Interface, cluster, dir string) error {
	fail := func(err error) error { return fmt.Errorf("copy the counters of %s: %w", s.Name, err) }
	if err := os.RemoveAll(dir); err != nil {
		return fail(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a report
		return fail(err)
	}
	claim, err := client.CoreV1().PersistentVolumeClaims(s.Namespace).Get(ctx, s.Claim, metav1.GetOptions{})
	if err != nil {
		return fail(err)
	}
	if claim.Spec.VolumeName == "" {
		return nil // no pod of it ever ran, which the report says
	}
	pv, err := client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return fail(err)
	}
	var path string
	switch {
	case pv.Spec.HostPath != nil:
		path = pv.Spec.HostPath.Path
	case pv.Spec.Local != nil:
		path = pv.Spec.Local.Path
	default:
		return fail(fmt.Errorf("volume %s is not a directory of a node", pv.Name))
	}
	nodes, err := e.Containers(ctx, engine.KindLabel+"="+cluster)
	if err != nil {
		return fail(err)
	}
	for _, n := range nodes {
		out, err := e.Exec(ctx, engine.Exec{
			Container: n.Name, Args: []string{"sh", "-c", `test ! -d "$1" || ls "$1"`, "sh", path}, Deadline: time.Minute, Quiet: true,
		})
		if err != nil {
			return fail(err)
		}
		if len(out) == 0 {
			continue
		}
		if err := e.CopyFrom(ctx, n.Name, path+"/.", dir); err != nil {
			return fail(err)
		}
	}
	return nil
}
