package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

const (
	creators = 16 // that create resources at once
	patience = 10 * time.Minute
)

// result is what one load gave.
type result struct {
	count   int
	took    time.Duration   // from the first creation to the last Completed
	latency []time.Duration // from creation to Completed, sorted
	writes  float64         // requests of the controller that write, for each analysis; Kubernetes events too
	cpu     time.Duration   // of the controller, for each analysis
	allCPU  time.Duration   // of the controller, the API server, Data Storage and the load, for each analysis
	others  float64         // processors that what does not belong to this kept busy meanwhile
	memory  memory
}

// memory of the controller.
type memory struct{ resident, peak int64 } // bytes

func (r result) rate() float64 { return float64(r.count) / r.took.Seconds() }

// percentile returns the latency that p per cent do not exceed.
func (r result) percentile(p int) time.Duration {
	if len(r.latency) == 0 {
		return 0
	}
	return r.latency[min(len(r.latency)*p/100, len(r.latency)-1)]
}

// mixedResult tells those whose investigation was slow from the others.
type mixedResult struct{ fast, slow result }

// burst creates n resources as fast as it can and waits until all are Completed.
func (w *world) burst(ctx context.Context, name string, n int) (result, error) {
	return w.load(ctx, name, n, func(int) time.Duration { return 0 })
}

// mixed is a burst in which every tenth investigation takes a while.
func (w *world) mixed(ctx context.Context, name string, n int, slow time.Duration) (mixedResult, error) {
	w.slow.Store(int64(slow))
	defer w.slow.Store(0)
	all, created, completed, err := w.observe(ctx, name, n, func(int) time.Duration { return 0 })
	if err != nil {
		return mixedResult{}, err
	}
	m := mixedResult{fast: all, slow: all}
	var fast, late []string
	for object := range created {
		if strings.HasSuffix(object, "0") {
			late = append(late, object)
		} else {
			fast = append(fast, object)
		}
	}
	m.fast.fill(fast, created, completed)
	m.slow.fill(late, created, completed)
	return m, nil
}

// paced creates resources at an even rate.
func (w *world) paced(ctx context.Context, name string, rate float64, d time.Duration) (result, error) {
	return w.load(ctx, name, int(rate*d.Seconds()), func(i int) time.Duration {
		return time.Duration(float64(i) / rate * float64(time.Second))
	})
}

func (w *world) load(ctx context.Context, name string, n int, at func(int) time.Duration) (result, error) {
	r, _, _, err := w.observe(ctx, name, n, at)
	return r, err
}

// observe creates n resources, the i-th no sooner than at(i) after the start, and returns when each
// was created and Completed.
func (w *world) observe(ctx context.Context, name string, n int, at func(int) time.Duration) (result, map[string]time.Time, map[string]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	before, err := w.process.sample()
	if err != nil {
		return result{}, nil, nil, err
	}
	label := client.MatchingLabels{"load": name}
	seen, unwatch := w.watch(ctx, label)
	defer unwatch()

	usedBefore, err := usage()
	if err != nil {
		return result{}, nil, nil, err
	}
	created, failed := make(map[string]time.Time, n), make(chan error, creators)
	var mu sync.Mutex
	next := make(chan int)
	start := time.Now()
	for range creators {
		go func() {
			for i := range next {
				object := fmt.Sprintf("%s-%d", name, i)
				if wait := time.Until(start.Add(at(i))); wait > 0 {
					time.Sleep(wait)
				}
				mu.Lock()
				created[object] = time.Now()
				mu.Unlock()
				if err := w.cluster.Create(ctx, incidentNamed(object, label)); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	go func() {
		defer close(next)
		for i := range n {
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	}()

	completed := make(map[string]time.Time, n)
	for len(completed) < n {
		select {
		case a := <-seen:
			if err := note(a, completed); err != nil {
				return result{}, nil, nil, err
			}
		case err := <-failed:
			return result{}, nil, nil, err
		case <-ctx.Done():
			return result{}, nil, nil, fmt.Errorf("%d of %d completed: %w", len(completed), n, ctx.Err())
		}
	}
	took := time.Since(start)
	used, err := usage()
	if err != nil {
		return result{}, nil, nil, err
	}
	after, err := w.process.settled(ctx)
	if err != nil {
		return result{}, nil, nil, err
	}
	r := result{
		took:   took,
		writes: (after.writes - before.writes) / float64(n),
		cpu:    (after.cpu - before.cpu) / time.Duration(n),
		allCPU: (used.ours - usedBefore.ours) / time.Duration(n),
		others: max(0, ((used.machine-usedBefore.machine)-(used.ours-usedBefore.ours)).Seconds()/took.Seconds()),
		memory: after.memory,
	}
	all := make([]string, 0, n)
	for object := range created {
		all = append(all, object)
	}
	r.fill(all, created, completed)
	return r, created, completed, nil
}

// fill computes the latencies of some of the objects.
func (r *result) fill(objects []string, created, completed map[string]time.Time) {
	r.count, r.latency = len(objects), nil
	for _, object := range objects {
		r.latency = append(r.latency, completed[object].Sub(created[object]))
	}
	slices.Sort(r.latency)
}

// watch sends every state of the resources with a label that it sees, until unwatch is called. It
// survives the end of a watch, which a loaded API server cuts off.
func (w *world) watch(ctx context.Context, label client.MatchingLabels) (seen <-chan *v1alpha1.AIAnalysis, unwatch func()) {
	ctx, cancel := context.WithCancel(ctx)
	states := make(chan *v1alpha1.AIAnalysis, 1024)
	tell := func(obj any) {
		if a, ok := obj.(*v1alpha1.AIAnalysis); ok {
			select {
			case states <- a:
			case <-ctx.Done():
			}
		}
	}
	selected := func(raw metav1.ListOptions) []client.ListOption {
		return []client.ListOption{client.InNamespace(namespace), label, &client.ListOptions{Raw: &raw}}
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
				list := &v1alpha1.AIAnalysisList{}
				return list, w.cluster.List(ctx, list, selected(raw)...)
			},
			WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (watch.Interface, error) {
				return w.cluster.Watch(ctx, &v1alpha1.AIAnalysisList{}, selected(raw)...)
			},
		},
		ObjectType: &v1alpha1.AIAnalysis{},
		Handler:    cache.ResourceEventHandlerFuncs{AddFunc: tell, UpdateFunc: func(_, obj any) { tell(obj) }},
	})
	var done sync.WaitGroup
	done.Go(func() { informer.RunWithContext(ctx) })
	return states, func() { cancel(); done.Wait() }
}

// note takes down a Completed analysis; one that failed is an error.
func note(a *v1alpha1.AIAnalysis, completed map[string]time.Time) error {
	switch a.Status.Phase {
	case v1alpha1.PhaseCompleted:
		if _, ok := completed[a.Name]; !ok {
			completed[a.Name] = time.Now()
		}
	case v1alpha1.PhaseFailed:
		return fmt.Errorf("%s failed: %s", a.Name, a.Status.Message)
	}
	return nil
}

func incidentNamed(name string, labels map[string]string) *v1alpha1.AIAnalysis {
	return &v1alpha1.AIAnalysis{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels},
		Spec: v1alpha1.AIAnalysisSpec{
			RemediationID: name,
			AnalysisRequest: v1alpha1.AnalysisRequest{
				AnalysisTypes: []string{"investigation", "root-cause", "workflow-selection"},
				SignalContext: v1alpha1.SignalContext{
					Fingerprint: "4f9a", Severity: "critical", SignalType: "OOMKilled", Environment: "production", BusinessPriority: "P1",
					TargetResource: v1alpha1.TargetResource{Kind: "Pod", Name: "web-7d9c5b8f6d-x2x4q", Namespace: "shop"},
					EnrichmentResults: v1alpha1.EnrichmentResults{
						OwnerChain:     []v1alpha1.OwnerChainEntry{{Kind: "ReplicaSet", Name: "web-7d9c5b8f6d"}, {Kind: "Deployment", Name: "web"}},
						DetectedLabels: &v1alpha1.DetectedLabels{PDBProtected: true},
					},
				},
			},
		},
	}
}

// finished creates resources that are Completed already, up to n in all, lets the controller start
// anew, and returns what it then needs.
func (w *world) finished(ctx context.Context, n int) (memory, error) {
	var list v1alpha1.AIAnalysisList
	if err := w.cluster.List(ctx, &list, client.InNamespace(namespace), client.Limit(1)); err != nil {
		return memory{}, err
	}
	have := len(list.Items)
	if list.RemainingItemCount != nil {
		have += int(*list.RemainingItemCount)
	}
	model := &v1alpha1.AIAnalysis{}
	if err := w.cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "burst-0"}, model); err != nil {
		return memory{}, err
	}
	if err := w.process.stop(); err != nil {
		return memory{}, err
	}
	w.process = nil
	if err := w.fill(ctx, have, n, model); err != nil {
		return memory{}, err
	}
	var err error
	if w.process, err = w.startController(ctx); err != nil {
		return memory{}, err
	}
	// Some work, so that it is the memory of a controller that works.
	if _, err := w.burst(ctx, "last", 200); err != nil {
		return memory{}, err
	}
	s, err := w.process.sample()
	return s.memory, err
}

// fill creates Completed resources like model, from number have to number n.
func (w *world) fill(ctx context.Context, have, n int, model *v1alpha1.AIAnalysis) error {
	var wg sync.WaitGroup
	errs := make(chan error, creators)
	for c := range creators {
		wg.Go(func() {
			for i := have + c; i < n; i += creators {
				a := incidentNamed(fmt.Sprint("finished-", i), map[string]string{"load": "finished"})
				a.Finalizers = []string{v1alpha1.Finalizer}
				err := w.cluster.Create(ctx, a)
				if err == nil {
					a.Status = model.Status
					err = w.cluster.Status().Update(ctx, a)
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}
