package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// WaitOptions say how long to bear with what may pass.
type WaitOptions struct {
	// Log gets a line for each change, several at once; nil: nothing.
	Log io.Writer
	// Grace is how long a pod may lack what it refers to, or a node to run on, before that counts; zero: 15 s.
	Grace time.Duration
	// Restarts is how often a container may have been restarted when CrashLoopBackOff ends the wait; zero: 2.
	Restarts int32
	// Loaded are the images that were loaded into the cluster. One of them that a node lacks was lost; any other name
	// is wrong.
	Loaded []string
}

// Wait returns when all workloads among objects are available at their current generation. It watches; a watch that
// closes is resumed. It ends early, with what is known joined as failure.Typed, when one of them cannot become
// available. When ctx ends before, the error says what was missing. A pod without a readiness probe counts as available
// as soon as its process runs, even where that ends a moment later.
func (c *Cluster) Wait(ctx context.Context, objects []*unstructured.Unstructured, o WaitOptions) error {
	o.Log = cmp.Or[io.Writer](o.Log, io.Discard)
	o.Grace, o.Restarts = cmp.Or(o.Grace, 15*time.Second), cmp.Or(o.Restarts, 2)
	targets := targetsOf(objects)
	if len(targets) == 0 {
		return nil
	}
	var namespaces []string
	for _, t := range targets {
		namespaces = append(namespaces, t.namespace)
	}
	slices.Sort(namespaces)
	w := &waiting{cluster: c, o: o, targets: targets, since: map[string]time.Time{}, changed: make(chan struct{}, 1)}
	defer w.stop()
	for _, ns := range slices.Compact(namespaces) {
		if err := w.watch(ctx, ns); err != nil {
			return fmt.Errorf("wait for the rollout in %s: %w", ns, err)
		}
	}
	return w.loop(ctx)
}

// waiting is one call of Wait.
type waiting struct {
	cluster   *Cluster
	o         WaitOptions
	targets   []target
	factories []informers.SharedInformerFactory
	stops     []context.CancelFunc
	stores    []map[string]cache.Store // of each namespace, by kind
	since     map[string]time.Time     // when a doubt was first seen
	changed   chan struct{}
	told      string
}

// watch starts watching a namespace and returns when what it holds is known.
func (w *waiting) watch(ctx context.Context, namespace string) error {
	logger := slog.New(slog.NewTextHandler(w.o.Log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctx, stop := context.WithCancel(klog.NewContext(ctx, logr.FromSlogHandler(logger.Handler())))
	f := informers.NewSharedInformerFactoryWithOptions(w.cluster.kube, 0, informers.WithNamespace(namespace))
	w.factories, w.stops = append(w.factories, f), append(w.stops, stop)
	stores := map[string]cache.Store{}
	for kind, i := range map[string]cache.SharedIndexInformer{
		"Deployment": f.Apps().V1().Deployments().Informer(), "StatefulSet": f.Apps().V1().StatefulSets().Informer(),
		"DaemonSet": f.Apps().V1().DaemonSets().Informer(), "ReplicaSet": f.Apps().V1().ReplicaSets().Informer(),
		"Job": f.Batch().V1().Jobs().Informer(), "Pod": f.Core().V1().Pods().Informer(), "Event": f.Core().V1().Events().Informer(),
	} {
		stores[kind] = i.GetStore()
		notify := func(any) { w.notify() }
		if _, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: notify, UpdateFunc: func(any, any) { w.notify() }, DeleteFunc: notify,
		}); err != nil {
			return err
		}
		if err := i.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
			if ctx.Err() == nil && !errors.Is(err, io.EOF) {
				fmt.Fprintf(w.o.Log, "watch of %ss in %s: %v; it is resumed\n", kind, namespace, err)
			}
		}); err != nil {
			return err
		}
	}
	w.stores = append(w.stores, stores)
	f.StartWithContext(ctx)
	for kind, ok := range f.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return fmt.Errorf("the cluster did not list its %s: %w", kind, context.Cause(ctx))
		}
	}
	return nil
}

func (w *waiting) notify() {
	select {
	case w.changed <- struct{}{}:
	default: // somebody will look anyway
	}
}

func (w *waiting) stop() {
	for _, stop := range w.stops {
		stop()
	}
	for _, f := range w.factories {
		f.Shutdown()
	}
}

// loop looks whenever something changed, and when a doubt has lasted for its grace.
func (w *waiting) loop(ctx context.Context) error {
	again := time.NewTimer(w.o.Grace)
	defer again.Stop()
	for {
		now := time.Now()
		pending, doubts := w.judge(now)
		if len(pending) == 0 {
			w.tell(nil)
			return nil
		}
		next := w.o.Grace
		var certain []doubt
		for _, d := range doubts {
			if left := d.grace - now.Sub(w.since[d.key]); left > 0 {
				next = min(next, left)
			} else {
				certain = append(certain, d)
			}
		}
		w.tell(pending)
		if errs := w.confirm(ctx, certain); len(errs) > 0 {
			return errors.Join(errs...)
		}
		again.Reset(next)
		select {
		case <-w.changed:
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the rollout: %w; not available: %s", context.Cause(ctx), strings.Join(pending, "; "))
		}
	}
}

// judge returns the workloads that are not available yet, and why they might never be.
func (w *waiting) judge(now time.Time) (pending []string, doubts []doubt) {
	for _, t := range w.targets {
		state := w.stateOf(t)
		missing, own := state.missing(), state.doubts(w.o)
		if missing == "" {
			continue
		}
		pending = append(pending, t.String()+": "+missing)
		doubts = append(doubts, own...)
	}
	present := map[string]bool{}
	for _, d := range doubts {
		present[d.key] = true
		if _, known := w.since[d.key]; !known {
			w.since[d.key] = now
		}
	}
	for key := range w.since {
		if !present[key] {
			delete(w.since, key)
		}
	}
	return pending, doubts
}

// tell logs what is pending, when that changed.
func (w *waiting) tell(pending []string) {
	text := "all workloads are available"
	if len(pending) > 0 {
		text = "waiting: " + strings.Join(pending, "; ")
	}
	if text != w.told {
		w.told = text
		fmt.Fprintln(w.o.Log, text)
	}
}

// stateOf gathers what is known of a workload.
func (w *waiting) stateOf(t target) state {
	s := state{target: t}
	for _, stores := range w.stores {
		if o, ok, _ := stores[t.kind].GetByKey(t.namespace + "/" + t.name); ok {
			s.object = o
		}
		for _, o := range stores["ReplicaSet"].List() {
			s.addReplicaSet(o)
		}
		s.events = append(s.events, typed[*corev1.Event](stores["Event"].List())...)
	}
	selector, owner := s.pods()
	if selector == nil {
		return s
	}
	for _, stores := range w.stores {
		for _, p := range typed[*corev1.Pod](stores["Pod"].List()) {
			if p.Namespace == t.namespace && p.DeletionTimestamp == nil && selector.Matches(labels.Set(p.Labels)) && owner(p) {
				s.members = append(s.members, p)
			}
		}
	}
	slices.SortFunc(s.members, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

func typed[T any](list []any) []T {
	out := make([]T, 0, len(list))
	for _, o := range list {
		if t, ok := o.(T); ok {
			out = append(out, t)
		}
	}
	return out
}
