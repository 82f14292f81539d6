package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
