package rollout

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/manifest"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// targetless are objects that nothing waits for.
func targetless(w *world) []*unstructured.Unstructured {
	return []*unstructured.Unstructured{w.object("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")}
}

// inPlan runs a function as a phase of a plan, as the harness does.
func inPlan(t *testing.T, run func(ctx context.Context, task *plan.Task) error) plan.Result {
	t.Helper()
	p := plan.Plan{Suite: "rollout", Cluster: "test", Phases: []plan.Phase{{Name: "deploy", Run: run}}}
	r, err := plan.Run(t.Context(), p, plan.Options{Dir: t.TempDir()})
	if err != nil {
		t.Logf("plan: %v", err)
	}
	return r
}

// TestApplyWhatShips applies the end-to-end set to a real API server, twice.
func TestApplyWhatShips(t *testing.T) {
	w := newWorld(t)
	set, err := manifest.Render(os.DirFS("../../../deploy"), "overlays/e2e", nil)
	if err != nil {
		t.Fatal(err)
	}
	versions := func() map[string]string {
		found := map[string]string{}
		for _, o := range set.Raw() {
			u := &unstructured.Unstructured{}
			u.SetGroupVersionKind(o.GroupVersionKind())
			if err := w.client.Get(w.ctx(), keyOf(o), u); err != nil {
				t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
			}
			if !strings.Contains(managers(u), FieldManager) {
				t.Errorf("%s %s: its field managers are %s, want %s among them", o.GetKind(), o.GetName(), managers(u), FieldManager)
			}
			// What controllers write is not what Apply changes.
			found[o.GetKind()+" "+o.GetName()] = string(u.GetUID()) + " " + strings.Repeat("g", int(u.GetGeneration()))
		}
		return found
	}
	apply := func() {
		r := inPlan(t, func(ctx context.Context, task *plan.Task) error { return w.Apply(ctx, task, set.Raw()) })
		if r.ExitCode() != failure.ExitOK {
			t.Fatalf("exit code %d: %+v", r.ExitCode(), r)
		}
	}
	apply()
	first := versions()
	analysis := w.object("apiVersion: kubernaut.ai/v1alpha1\nkind: AIAnalysisList\n")
	if err := w.client.List(w.ctx(), &unstructured.UnstructuredList{Object: analysis.Object}); err != nil {
		t.Errorf("the definition is not served: %v", err)
	}
	apply()
	for name, version := range versions() {
		if first[name] != version {
			t.Errorf("%s changed when it was applied again: %s, then %s", name, first[name], version)
		}
	}
}

func TestApplyRefused(t *testing.T) {
	w := newWorld(t)
	bad := w.object(strings.Replace(deployment, "{matchLabels: {app: web}}", "{matchLabels: {app: other}}", 1))
	err := w.applyStage(w.ctx(), append(targetless(w), bad))
	var typed failure.Typed
	if !errors.As(err, &typed) {
		t.Fatalf("got %v, want a typed failure", err)
	}
	f := typed.Finding()
	if f.Class != failure.Permanent || !f.Product || f.Summary != "the API server refuses Deployment web" || !strings.Contains(f.Lines[0], "spec.template.metadata.labels") {
		t.Errorf("got %+v", f)
	}
	unknown := w.object("apiVersion: example.com/v1\nkind: Nothing\nmetadata: {name: n}\n")
	if err := w.applyOne(w.ctx(), unknown); !errors.As(err, &typed) || typed.Finding().Class != failure.Permanent {
		t.Errorf("a kind that is not defined: got %v, want a permanent failure", err)
	}
}

// countedUnits removes what is in the way after the first attempt.
type countedUnits struct {
	Units
	attempts *atomic.Int32
	after    func()
}

func (c countedUnits) Unit(ctx context.Context, name string, u plan.Unit) error {
	do := u.Do
	u.Do = func(ctx context.Context, attempt int) error {
		err := do(ctx, attempt)
		if c.attempts.Add(1) == 1 {
			c.after()
		}
		return err
	}
	return c.Units.Unit(ctx, name, u)
}

// TestApplyOutlastsAWebhook has an admission webhook that refuses connections at first.
func TestApplyOutlastsAWebhook(t *testing.T) {
	w := newWorld(t)
	name := w.namespace
	fail, none := admissionv1.Fail, admissionv1.SideEffectClassNone
	hook := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "late.example.com", FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			ClientConfig:      admissionv1.WebhookClientConfig{URL: new("https://127.0.0.1:1/")}, // nobody listens on port 1
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": name}},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	}
	hooks := w.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if _, err := hooks.Create(w.ctx(), hook, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hooks.Delete(context.Background(), name, metav1.DeleteOptions{}) })
	var attempts atomic.Int32
	gone := func() {
		if err := hooks.Delete(w.ctx(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
	probe := targetless(w)[0]
	for w.applyOne(w.ctx(), probe) == nil { // the API server takes note of a webhook a little later
		if err := w.client.Delete(w.ctx(), probe.DeepCopy()); err != nil {
			t.Fatal(err)
		}
	}
	r := inPlan(t, func(ctx context.Context, task *plan.Task) error {
		return w.Apply(ctx, countedUnits{task, &attempts, gone}, targetless(w))
	})
	if r.ExitCode() != failure.ExitOK || attempts.Load() < 2 {
		t.Errorf("got exit code %d after %d attempts, want success after two or more", r.ExitCode(), attempts.Load())
	}
}
