package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/incident"
)

// What the controller may do, and no more. Leases are for leader election, in its own namespace.
//
// +kubebuilder:rbac:groups=kubernaut.ai,resources=aianalyses,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=kubernaut.ai,resources=aianalyses/status,verbs=patch
// +kubebuilder:rbac:groups=kubernaut.ai,resources=aianalyses/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=events,verbs=create
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=kubernaut-system,resources=leases,verbs=get;create;update

// Options of a Reconciler. Investigator, Evaluator and Recorder are required.
type Options struct {
	Investigator Investigator
	Evaluator    Evaluator
	Recorder     Recorder

	// RequestHash names the request that the investigator sends for an incident, for the audit
	// trail; nil leaves it out.
	RequestHash func(incident.Incident) string

	Settings   Settings              // the zero value means DefaultSettings
	Workers    int                   // reconciles at once; 0 means 16
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers no metrics
	Clock      func() time.Time      // nil means time.Now
	Jitter     func() float64        // from 0 to 1; nil means random
}

// reconcileTimeout bounds one reconcile: a few writes to the API server and to the audit spool.
const reconcileTimeout = 30 * time.Second

// Reconciler reconciles AIAnalysis resources. Register adds it to a manager; Close ends what it runs
// in the background.
type Reconciler struct {
	client      client.Client // reads from the cache
	reader      client.Reader // reads from the API server
	evaluator   Evaluator
	recorder    Recorder
	requestHash func(incident.Incident) string
	settings    Settings
	log         *slog.Logger
	clock       func() time.Time
	jitter      func() float64
	metrics     *metrics

	latest     *latest
	calls      *calls
	deliveries *deliveries
	announcer  *announcer
	waker      *waker
}

// Register builds a Reconciler and adds it to mgr, whose cache should be made by CacheOptions. The
// caller closes it after the manager has stopped, or has not been started.
func Register(mgr manager.Manager, o Options) (*Reconciler, error) {
	r, err := build(mgr.GetClient(), mgr.GetAPIReader(), o)
	if err != nil {
		return nil, err
	}
	workers := o.Workers
	if workers <= 0 {
		workers = 16
	}
	skip := true
	err = builder.ControllerManagedBy(mgr).
		Named("aianalysis").
		Watches(&v1alpha1.AIAnalysis{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(r.relevant())).
		WatchesRawSource(source.Func(r.waker.start)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			ReconciliationTimeout:   reconcileTimeout,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 30*time.Second),
			// Several managers can live in one process: kubernaut up, the tests.
			SkipNameValidation: &skip,
		}).
		Complete(r)
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("add the controller to the manager: %w", err)
	}
	return r, nil
}

// build returns a Reconciler that reads from c, and from reader where it must not be stale.
func build(c client.Client, reader client.Reader, o Options) (*Reconciler, error) {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s is nil", what))
		}
	}
	need(o.Investigator != nil, "Investigator")
	need(o.Evaluator != nil, "Evaluator")
	need(o.Recorder != nil, "Recorder")
	if o.Settings == (Settings{}) {
		o.Settings = DefaultSettings()
	}
	errs = append(errs, o.Settings.validate())
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("controller options: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("controller metrics: %w", err)
	}
	w := &waker{}
	return &Reconciler{
		client: c, reader: reader,
		evaluator: o.Evaluator, recorder: o.Recorder, requestHash: o.RequestHash,
		settings: o.Settings, log: o.Logger, clock: o.Clock, jitter: o.Jitter, metrics: m,
		latest:     newLatest(),
		calls:      newCalls(o.Investigator, o.Settings, o.Clock, o.Logger, m, w.wake),
		deliveries: newDeliveries(o.Recorder.Delivered, o.Settings.DeliveryWait, w.wake),
		announcer:  newAnnouncer(c, o.Clock, o.Logger, m),
		waker:      w,
	}, nil
}

// Close cuts off investigations and waits, without writing their outcome: the next process resumes
// them under the same key. It returns when all goroutines have ended.
func (r *Reconciler) Close() {
	r.calls.close()
	r.deliveries.close()
	r.announcer.close()
}

// relevant lets through what can need a step: new and unfinished resources, and deletions. Our own
// status writes come back as updates that need none.
func (r *Reconciler) relevant() predicate.Funcs {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool {
			a, ok := e.Object.(*v1alpha1.AIAnalysis)
			return ok && (a.DeletionTimestamp != nil || !a.Status.Phase.Terminal())
		},
		UpdateFunc: func(e event.UpdateEvent) bool {
			r.latest.seen(client.ObjectKeyFromObject(e.ObjectNew), e.ObjectNew)
			return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
				e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return true },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// waker puts resources into the controller's queue.
type waker struct {
	mu      sync.Mutex
	queue   workqueue.TypedRateLimitingInterface[reconcile.Request]
	waiting []types.NamespacedName // woken before the queue was there
}

// start is a source.Func.
func (w *waker) start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = queue
	for _, name := range w.waiting {
		queue.Add(reconcile.Request{NamespacedName: name})
	}
	w.waiting = nil
	return nil
}

func (w *waker) wake(name types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue == nil {
		w.waiting = append(w.waiting, name)
		return
	}
	w.queue.Add(reconcile.Request{NamespacedName: name})
}
