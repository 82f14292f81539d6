package controller

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/controlplane/controlplanetest"
	"kubernaut.ai/kubernaut/internal/incident"
)

// apiServer returns a client of a real API server with the resource definition that ships, and a
// namespace.
func apiServer(t *testing.T) (client.Client, string) {
	t.Helper()
	cfg := controlplanetest.Config(t)
	controlplanetest.InstallCRDs(t, cfg, crdFile)
	c, err := client.New(cfg, client.Options{Scheme: testScheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return c, controlplanetest.Namespace(t, cfg)
}

// created returns a fresh resource as the API server has it.
func created(t *testing.T, c client.Client, namespace, name string, change func(*v1alpha1.AIAnalysis)) *v1alpha1.AIAnalysis {
	t.Helper()
	a := fresh(false)
	a.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: name}
	if change != nil {
		change(a)
	}
	if err := c.Create(t.Context(), a); err != nil {
		t.Fatalf("create: %v", err)
	}
	return a
}

// The API server takes every status that the writer makes, whatever the investigation was.
func TestAPIServerTakesEveryStatus(t *testing.T) {
	c, namespace := apiServer(t)
	for seed := range 40 {
		a := created(t, c, namespace, fmt.Sprint("a", seed), nil)
		if a.Status.Phase != v1alpha1.PhasePending {
			t.Fatalf("a new resource is in phase %q, want Pending by the schema's default", a.Status.Phase)
		}
		write := func(f facts) {
			t.Helper()
			f.now, f.analysis = time.Now(), a
			next := DefaultSettings().decide(f).status
			patch, err := patchAt(a.ResourceVersion, "/status", next)
			if err != nil {
				t.Fatal(err)
			}
			a = a.DeepCopy()
			if err := c.Status().Patch(t.Context(), a, patch, fieldOwner); err != nil {
				t.Fatalf("seed %d: the API server refuses a status of phase %s: %v", seed, next.Phase, err)
			}
		}
		write(facts{})
		write(facts{slot: slot{free: true}})
		write(facts{answer: &answer{investigation: anyInvestigation().Example(seed)}})
		if a.Status.Phase == v1alpha1.PhaseAnalyzing {
			write(facts{verdict: &verdict{decision: incident.Decision{
				ApprovalRequired: true, Reason: anyText().Example(seed), Rules: many(anyText(), 60).Example(seed),
				PolicyName: anyText().Example(seed), PolicyHash: anyText().Example(seed),
			}}})
		}
	}
}

// The API server stores no object above etcd's limit. Beside a spec that is near it the status is
// shortened as far as it must be; where nothing but the end fits, that is stored.
func TestAPIServerTakesTheLargest(t *testing.T) {
	c, namespace := apiServer(t)
	for name, tt := range map[string]struct {
		spec int // bytes
		want v1alpha1.Phase
	}{
		"room for all that decides": {1380 << 10, v1alpha1.PhaseCompleted},
		"room for its beginning":    {1420 << 10, v1alpha1.PhaseFailed},
		"room for the end":          {1500 << 10, v1alpha1.PhaseFailed},
	} {
		t.Run(name, func(t *testing.T) {
			a := created(t, c, namespace, fmt.Sprint("large-", tt.spec), func(a *v1alpha1.AIAnalysis) {
				a.Spec.AnalysisRequest.SignalContext.EnrichmentResults.CustomLabels = map[string][]string{"big": {strings.Repeat("x", tt.spec)}}
			})
			service := &joining{began: make(map[string]time.Time)}
			l := immortal()
			investigator := large{mortalInvestigator{l, service}}
			r, err := build(c, c, Options{
				Investigator: investigator, Evaluator: manual{}, Recorder: mortalRecorder{l, &trailStore{ids: map[string]bool{}}}, Settings: DefaultSettings(),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err = wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
				if _, err := r.Reconcile(ctx, reconcile.Request{NamespacedName: nameOf(a)}); err != nil {
					return false, err
				}
				err := c.Get(ctx, nameOf(a), a)
				return a.Status.Phase.Terminal(), err
			})
			if err != nil {
				t.Fatalf("phase %s: %v", a.Status.Phase, err)
			}
			if a.Status.Phase != tt.want || len(service.began) != 1 {
				t.Errorf("got phase %s (%s, %s) after %d investigations, want %s after 1", a.Status.Phase, a.Status.SubReason, a.Status.Message, len(service.began), tt.want)
			}
		})
	}
}

// large answers with more than any status holds.
type large struct{ Investigator }

func (l large) Investigate(ctx context.Context, key string, in incident.Incident) (incident.Investigation, error) {
	if _, err := l.Investigator.Investigate(ctx, key, in); err != nil {
		return incident.Investigation{}, err
	}
	return largest(), nil
}

func TestSpecIsImmutable(t *testing.T) {
	c, namespace := apiServer(t)
	a := created(t, c, namespace, "fixed", nil)
	for name, change := range map[string]func(*v1alpha1.AIAnalysis){
		"a field":    func(a *v1alpha1.AIAnalysis) { a.Spec.RemediationID = "another" },
		"an element": func(a *v1alpha1.AIAnalysis) { a.Spec.AnalysisRequest.AnalysisTypes = []string{"other"} },
		"an option": func(a *v1alpha1.AIAnalysis) {
			a.Spec.TimeoutConfig = &v1alpha1.TimeoutConfig{InvestigatingTimeout: "1s"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := a.DeepCopy()
			change(b)
			err := c.Update(t.Context(), b)
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "immutable") {
				t.Errorf("got error %v, want a refusal that says immutable", err)
			}
		})
	}
	b := a.DeepCopy()
	b.Labels = map[string]string{"x": "y"}
	if err := c.Update(t.Context(), b); err != nil {
		t.Errorf("a label cannot be changed: %v", err)
	}
}

// What the contract allows is allowed, and what it refuses is refused.
func TestSpecValidation(t *testing.T) {
	c, namespace := apiServer(t)
	signal := func(change func(*v1alpha1.SignalContext)) func(*v1alpha1.AIAnalysis) {
		return func(a *v1alpha1.AIAnalysis) { change(&a.Spec.AnalysisRequest.SignalContext) }
	}
	n := 0
	for name, tt := range map[string]struct {
		change func(*v1alpha1.AIAnalysis)
		valid  bool
	}{
		"plain": {func(*v1alpha1.AIAnalysis) {}, true},
		"empty texts": {signal(func(s *v1alpha1.SignalContext) {
			s.Fingerprint, s.SignalType, s.TargetResource = "", "", v1alpha1.TargetResource{}
		}), true},
		"severity high":            {signal(func(s *v1alpha1.SignalContext) { s.Severity = "high" }), false},
		"no environment":           {signal(func(s *v1alpha1.SignalContext) { s.Environment = "" }), false},
		"long environment":         {signal(func(s *v1alpha1.SignalContext) { s.Environment = strings.Repeat("e", 64) }), false},
		"no priority":              {signal(func(s *v1alpha1.SignalContext) { s.BusinessPriority = "" }), false},
		"long fingerprint":         {signal(func(s *v1alpha1.SignalContext) { s.Fingerprint = strings.Repeat("f", 65) }), false},
		"no remediation id":        {func(a *v1alpha1.AIAnalysis) { a.Spec.RemediationID = "" }, false},
		"long remediation id":      {func(a *v1alpha1.AIAnalysis) { a.Spec.RemediationID = strings.Repeat("r", 256) }, false},
		"no analysis types":        {func(a *v1alpha1.AIAnalysis) { a.Spec.AnalysisRequest.AnalysisTypes = []string{} }, false},
		"negative recovery":        {func(a *v1alpha1.AIAnalysis) { a.Spec.RecoveryAttemptNumber = -1 }, false},
		"attempt without recovery": {func(a *v1alpha1.AIAnalysis) { a.Spec.RecoveryAttemptNumber = 1 }, true},
		"unknown detection": {signal(func(s *v1alpha1.SignalContext) {
			s.EnrichmentResults.DetectedLabels = &v1alpha1.DetectedLabels{FailedDetections: []string{"other"}}
		}), false},
		"unknown GitOps tool": {signal(func(s *v1alpha1.SignalContext) {
			s.EnrichmentResults.DetectedLabels = &v1alpha1.DetectedLabels{GitOpsTool: "cron"}
		}), false},
		"no GitOps tool": {signal(func(s *v1alpha1.SignalContext) { s.EnrichmentResults.DetectedLabels = &v1alpha1.DetectedLabels{} }), true},
		"malformed timeout": {func(a *v1alpha1.AIAnalysis) {
			a.Spec.TimeoutConfig = &v1alpha1.TimeoutConfig{InvestigatingTimeout: "soon"}
		}, true},
	} {
		n++
		name, object := name, fmt.Sprint("v", n)
		t.Run(name, func(t *testing.T) {
			a := fresh(false)
			a.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: object}
			tt.change(a)
			err := c.Create(t.Context(), a)
			switch {
			case tt.valid && err != nil:
				t.Errorf("refused: %v", err)
			case !tt.valid && !apierrors.IsInvalid(err):
				t.Errorf("got error %v, want a refusal", err)
			}
		})
	}
}
