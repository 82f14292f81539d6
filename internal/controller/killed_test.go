package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/approval"
	"kubernaut.ai/kubernaut/internal/incident"
)

var errKilled = errors.New("killed")

// life is one process: it has a number of effects on the world before it is killed, at the last of
// them or just after it.
type life struct {
	mu    sync.Mutex
	left  int
	after bool // the last effect takes place, and the process does not learn of it
	dead  bool
}

func immortal() *life { return &life{left: 1 << 30} }

// effect does what do does, unless the process is dead.
func (l *life) effect(do func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return errKilled
	}
	if l.left--; l.left > 0 {
		return do()
	}
	l.dead = true
	if l.after {
		_ = do()
	}
	return errKilled
}

func (l *life) killed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// trailStore is the audit trail that outlives processes.
type trailStore struct {
	mu     sync.Mutex
	ids    map[string]bool
	events []incident.AuditEvent
}

func (s *trailStore) add(events []incident.AuditEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		if !s.ids[e.ID] {
			s.ids[e.ID] = true
			s.events = append(s.events, e)
		}
	}
}

func (s *trailStore) kinds() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return kindsOf(s.events)
}

// mortalRecorder is the audit client of one process.
type mortalRecorder struct {
	*life
	store *trailStore
}

func (r mortalRecorder) RecordAll(_ context.Context, events ...incident.AuditEvent) error {
	return r.effect(func() error { r.store.add(events); return nil })
}

func (r mortalRecorder) Delivered(context.Context, string) error { return nil }

// mortalInvestigator is the client of one process for a service that outlives it.
type mortalInvestigator struct {
	*life
	service *joining
}

func (i mortalInvestigator) Investigate(ctx context.Context, key string, _ incident.Incident) (incident.Investigation, error) {
	if err := i.effect(func() error { i.service.begin(key); return nil }); err != nil {
		return incident.Investigation{}, incident.Errorf(incident.KindNetwork, "investigate", "%w", err)
	}
	return i.service.answer(ctx, key)
}

// joining is a service as the real one: one investigation for a key, which goes on when its caller is
// gone, and whose answer is kept. It fails for as many keys as told.
type joining struct {
	mu    sync.Mutex
	began map[string]time.Time
	fails int
}

const investigationTakes = 3 * time.Second

func (j *joining) begin(key string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.began[key]; !ok {
		j.began[key] = time.Now()
	}
}

func (j *joining) answer(ctx context.Context, key string) (incident.Investigation, error) {
	j.mu.Lock()
	rest := time.Until(j.began[key].Add(investigationTakes))
	failing := len(j.began) <= j.fails
	j.mu.Unlock()
	select {
	case <-time.After(rest):
	case <-ctx.Done():
		return incident.Investigation{}, incident.Errorf(incident.KindTimeout, "investigate", "%w", ctx.Err())
	}
	if failing {
		return incident.Investigation{}, httpError(incident.KindUnavailable, 500)
	}
	return found(), nil
}

// manual is a policy that asks for a person.
type manual struct{}

func (manual) Evaluate(context.Context, approval.Input) (incident.Decision, error) {
	return incident.Decision{ApprovalRequired: true, Reason: "always", PolicyHash: manual{}.Status().Hash}, nil
}
func (manual) Status() approval.Status { return approval.Status{Hash: "ab"} }

func testScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return scheme
}

// storeOf returns an API server with the given resource in it.
func storeOf(t *testing.T, a *v1alpha1.AIAnalysis) client.WithWatch {
	t.Helper()
	return fake.NewClientBuilder().WithScheme(testScheme(t)).WithStatusSubresource(&v1alpha1.AIAnalysis{}).WithObjects(a).Build()
}

// mortalClient is the client of one process for an API server that outlives it.
func mortalClient(c client.WithWatch, l *life) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, p client.Patch, opts ...client.PatchOption) error {
			return l.effect(func() error { return c.Patch(ctx, obj, p, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return l.effect(func() error { return c.SubResource(sub).Patch(ctx, obj, p, opts...) })
		},
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return nil }, // Kubernetes events
	})
}

// run is one process: it reconciles the resource until it is finished or the process is killed.
func run(t *testing.T, c client.WithWatch, l *life, o Options) (finished bool) {
	t.Helper()
	mortal := mortalClient(c, l)
	r, err := build(mortal, mortal, o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	req := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(fresh(false))}
	for range 200 {
		_, err := r.Reconcile(t.Context(), req)
		synctest.Wait()
		if l.killed() {
			return false
		}
		if err != nil {
			t.Fatalf("reconcile: %v", err)
		}
		a := &v1alpha1.AIAnalysis{}
		if err := c.Get(t.Context(), req.NamespacedName, a); err != nil {
			t.Fatal(err)
		}
		if a.Status.Phase.Terminal() {
			return true
		}
		time.Sleep(time.Second)
	}
	t.Fatal("not finished after 200 reconciles")
	return false
}

// A process that is killed at any point is followed by one that finishes the analysis: with no
// investigation paid for twice, no audit event lost or doubled, and the same status.
func TestKilledAnywhere(t *testing.T) {
	for name, tt := range map[string]struct {
		fails  int // investigations that fail before one answers
		events []string
	}{
		"clean": {0, []string{
			"aianalysis.analysis.started pending", "aianalysis.phase.transition success",
			"aianalysis.holmesgpt.call success", "aianalysis.phase.transition success",
			"aianalysis.rego.evaluation success", "aianalysis.approval.decision success",
			"aianalysis.phase.transition success", "aianalysis.analysis.completed success",
		}},
		"after a failure": {1, []string{
			"aianalysis.analysis.started pending", "aianalysis.phase.transition success",
			"aianalysis.holmesgpt.call failure",
			"aianalysis.holmesgpt.call success", "aianalysis.phase.transition success",
			"aianalysis.rego.evaluation success", "aianalysis.approval.decision success",
			"aianalysis.phase.transition success", "aianalysis.analysis.completed success",
		}},
	} {
		for _, after := range []bool{false, true} {
			for killAt := 1; ; killAt++ {
				survived := false
				t.Run(fmt.Sprintf("%s/effect %d/after it %v", name, killAt, after), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						survived = killedOnce(t, &life{left: killAt, after: after}, tt.fails, tt.events)
					})
				})
				if survived || t.Failed() {
					break
				}
			}
		}
	}
}

func killedOnce(t *testing.T, first *life, fails int, events []string) (survived bool) {
	t.Helper()
	c := storeOf(t, fresh(false))
	store := &trailStore{ids: make(map[string]bool)}
	service := &joining{began: make(map[string]time.Time), fails: fails}
	for l := first; ; l = immortal() {
		o := Options{Investigator: mortalInvestigator{l, service}, Evaluator: manual{}, Recorder: mortalRecorder{l, store}, Settings: DefaultSettings()}
		if run(t, c, l, o) {
			survived = l == first
			break
		}
	}
	if got, want := len(service.began), 1+fails; got != want {
		t.Errorf("%d investigations were paid for, want %d: %v", got, want, service.began)
	}
	if diff := cmp.Diff(events, store.kinds()); diff != "" {
		t.Errorf("audit events differ (-want +got):\n%s", diff)
	}
	a := &v1alpha1.AIAnalysis{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(fresh(false)), a); err != nil {
		t.Fatal(err)
	}
	s := &a.Status
	if s.Phase != v1alpha1.PhaseCompleted || !s.ApprovalRequired || s.AuditState != v1alpha1.AuditRecorded || s.SelectedWorkflow == nil ||
		s.ConsecutiveFailures != 0 || int(s.Attempt) != 1+fails {
		t.Errorf("final status %+v", s)
	}
	checkStored(t, s)
	return survived
}

// Somebody who changes the resource between our reading and our writing makes us read once more, and
// nothing is done twice.
func TestConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := storeOf(t, fresh(false))
		meddled := 0
		meddling := interceptor.NewClient(c, interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				if meddled++; meddled%2 == 1 {
					other := &v1alpha1.AIAnalysis{}
					if err := c.Get(ctx, client.ObjectKeyFromObject(obj), other); err != nil {
						return err
					}
					other.Labels = map[string]string{"meddled": fmt.Sprint(meddled)}
					if err := c.Update(ctx, other); err != nil {
						return err
					}
				}
				return c.SubResource(sub).Patch(ctx, obj, p, opts...)
			},
		})
		store := &trailStore{ids: make(map[string]bool)}
		service := &joining{began: make(map[string]time.Time)}
		l := immortal()
		run(t, meddling, l, Options{Investigator: mortalInvestigator{l, service}, Evaluator: manual{}, Recorder: mortalRecorder{l, store}, Settings: DefaultSettings()})
		if len(service.began) != 1 || len(store.events) != 8 {
			t.Errorf("%d investigations, %d audit events; want 1, 8", len(service.began), len(store.events))
		}
		if meddled != 6 {
			t.Errorf("%d status writes, want 6: three, each in conflict once", meddled)
		}
	})
}

// Of two processes that both believe to be in charge, one writes each step; the other's stale decision
// is not stored, and does not move a finished analysis back.
func TestStaleDecisionIsNotStored(t *testing.T) {
	a := running(false)
	c := storeOf(t, a)
	r, err := build(c, c, Options{Investigator: newService(), Evaluator: manual{}, Recorder: mortalRecorder{&life{left: 99}, &trailStore{ids: map[string]bool{}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stale := &v1alpha1.AIAnalysis{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(a), stale); err != nil {
		t.Fatal(err)
	}
	done := stale.DeepCopy()
	done.Status.Phase = v1alpha1.PhaseCompleted
	if err := c.Status().Update(t.Context(), done); err != nil {
		t.Fatal(err)
	}
	back := stale.Status.DeepCopy()
	back.Phase = v1alpha1.PhaseAnalyzing
	if _, err := r.writeStatus(t.Context(), stale, back); !errors.Is(err, errMoved) {
		t.Errorf("got error %v, want errMoved", err)
	}
	got := &v1alpha1.AIAnalysis{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(a), got); err != nil {
		t.Fatal(err)
	}
	if got.Status.Phase != v1alpha1.PhaseCompleted {
		t.Errorf("the analysis went back to %s", got.Status.Phase)
	}
}

// A status that the API server refuses ends the analysis with what it does take, instead of being
// offered for ever: one on the way, and one that was held back until its events were delivered.
func TestRefusedStatus(t *testing.T) {
	for name, what := range map[string]string{
		"on the way": `"phase":"Analyzing"`,
		"the end":    `"phase":"Completed"`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := storeOf(t, fresh(false))
				offers := 0
				refusing := interceptor.NewClient(c, interceptor.Funcs{
					SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
						if body, err := p.Data(obj); err != nil || strings.Contains(string(body), what) {
							if offers++; offers > 10 {
								t.Fatalf("a status with %s was offered %d times", what, offers)
							}
							return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind(v1alpha1.Kind).GroupKind(), obj.GetName(), nil)
						}
						return c.SubResource(sub).Patch(ctx, obj, p, opts...)
					},
				})
				service := &joining{began: make(map[string]time.Time)}
				l := immortal()
				run(t, refusing, l, Options{Investigator: mortalInvestigator{l, service}, Evaluator: manual{}, Recorder: mortalRecorder{l, &trailStore{ids: map[string]bool{}}}, Settings: DefaultSettings()})
				a := &v1alpha1.AIAnalysis{}
				if err := c.Get(t.Context(), client.ObjectKeyFromObject(fresh(false)), a); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(ending{v1alpha1.PhaseFailed, v1alpha1.ReasonWorkflowResolutionFailed, v1alpha1.SubReasonValidationError, noWorkflow}, endingOf(&a.Status), allowUnexported); diff != "" {
					t.Errorf("outcome differs (-want +got):\n%s", diff)
				}
				if len(service.began) != 1 {
					t.Errorf("%d investigations, want 1", len(service.began))
				}
			})
		})
	}
}
