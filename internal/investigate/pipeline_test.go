package investigate

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Scenarios of the engine that the tests here are told on.
const (
	scenarioOOM         = "oom-limit"
	scenarioUncertain   = "application-error"
	scenarioUndecidable = "undecidable-gone"
	scenarioHealthy     = "healthy"
)

// parsed reads the engine's scenarios once: there are many.
var parsed = sync.OnceValues(func() ([]*scenario.Scenario, error) {
	return scenario.Load(os.DirFS("../../test/scenarios"), "open")
})

func scenarios(t testing.TB) map[string]*scenario.Scenario {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*scenario.Scenario{}
	for _, s := range all {
		out[s.Name] = s
	}
	return out
}

// told returns the cluster and the incident of a scenario.
func told(t testing.TB, name string) (*cluster, incident.Incident) {
	t.Helper()
	s := scenarios(t)[name]
	if s == nil {
		t.Fatalf("no scenario %s", name)
	}
	snap, err := s.Snapshot(scenario.Variant{})
	if err != nil {
		t.Fatal(err)
	}
	in := s.Input()
	in.ID, in.RemediationID = "ai-1", "rr-1"
	return &cluster{snapshot: snap}, in
}

// From every scenario of the engine to a workflow of the starter catalog.
func TestScenariosLeadToWorkflows(t *testing.T) {
	chosen := map[incident.CauseClass]bool{}
	for name, s := range scenarios(t) {
		if s.Expect.Verdict != diagnose.VerdictCause {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c, in := told(t, name)
			inv, err := pipeline(t, c, newStorage(t)).Investigate(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if inv.CauseClass == "" || len(inv.Chain) == 0 || len(inv.Evidence) == 0 || inv.RootCause.Target == nil || inv.Analysis == "" {
				t.Errorf("incomplete: class %q, %d links, %d pieces of evidence, target %v", inv.CauseClass, len(inv.Chain), len(inv.Evidence), inv.RootCause.Target)
			}
			if !inv.TargetInOwnerChain {
				t.Errorf("target %s is not related to %s", inv.RootCause.Target, in.Resource)
			}
			for _, candidate := range inv.Candidates {
				if candidate.Reason == "" {
					t.Errorf("candidate %s has no reason", candidate.WorkflowID)
				}
			}
			if inv.Workflow == nil {
				if !inv.NeedsHumanReview || inv.HumanReviewReason == "" {
					t.Error("neither a workflow nor a person")
				}
				return
			}
			chosen[inv.CauseClass] = true
			st := newStorage(t)
			w, err := st.Workflow(t.Context(), inv.Workflow.ID)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(w.CustomLabels[incident.LabelCauses], string(inv.CauseClass)) {
				t.Errorf("%s was chosen for %s, which it does not remedy", w.Name, inv.CauseClass)
			}
			for _, p := range w.Parameters {
				v, ok := inv.Workflow.Parameters[p.Name]
				if p.Required && !ok || ok && p.Check(v) != nil {
					t.Errorf("%s: parameter %s is %q", w.Name, p.Name, v)
				}
			}
		})
	}
	if len(chosen) < 25 {
		t.Errorf("a workflow was chosen for %d classes only", len(chosen))
	}
}

func TestFinding(t *testing.T) {
	c, in := told(t, scenarioOOM)
	st := newStorage(t)
	ctx := incident.WithRequest(t.Context(), incident.Request{ID: "req", Key: "uid/1/0", Hash: strings.Repeat("a", 64)})
	inv, err := pipeline(t, c, st).Investigate(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if inv.IncidentID != "ai-1" || inv.CauseClass != diagnose.ClassOOMLimit || inv.NeedsHumanReview || inv.HumanReviewReason != "" {
		t.Errorf("investigation %+v", inv)
	}
	if inv.Workflow == nil || inv.Workflow.ID != "id-of-raise-memory-limit" || inv.Workflow.Parameters["MEMORY_LIMIT"] == "" ||
		inv.Workflow.ContainerImage != "kubernaut/workflow-raise-memory-limit:1.0.0" || inv.Workflow.Version != "1.0.0" {
		t.Errorf("workflow %+v", inv.Workflow)
	}
	if inv.Confidence != inv.Workflow.Confidence || inv.Confidence < 0.8 || inv.Confidence > 1 {
		t.Errorf("confidence %v, of the workflow %v", inv.Confidence, inv.Workflow.Confidence)
	}
	if inv.RootCause.SignalType != "OOMKilled" || !inv.CompletedAt.Equal(noon) {
		t.Errorf("signal %s, completed %s", inv.RootCause.SignalType, inv.CompletedAt)
	}
	if !strings.HasPrefix(inv.BundleDigest, "sha256:") || st.bundles[inv.BundleDigest] == nil {
		t.Errorf("bundle %q is not stored", inv.BundleDigest)
	}
	if !inv.Attempts[0].Valid || !inv.Candidates[0].Chosen {
		t.Errorf("attempts %+v, candidates %+v", inv.Attempts, inv.Candidates)
	}
	if diff := cmp.Diff([]string{audit.TypeWorkflowValidation, audit.TypeInvestigationComplete}, st.types()); diff != "" {
		t.Errorf("audit events (-want +got):\n%s", diff)
	}
	for _, e := range st.events {
		if e.CorrelationID != "rr-1" || e.Category != "analysis" || e.Namespace != in.Resource.Namespace || e.ActorID != audit.ActorInvestigator {
			t.Errorf("event %+v", e)
		}
		if faults := e.Validate(noon); len(faults) > 0 {
			t.Errorf("the store would refuse the event: %v", faults)
		}
	}
	var data map[string]any
	if err := json.Unmarshal(st.events[1].Data, &data); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"incident_id": "ai-1", "cause_class": "oom-limit", "request_hash": strings.Repeat("a", 64), "bundle_digest": inv.BundleDigest,
		"workflow_id": inv.Workflow.ID, "engine": "deterministic",
	} {
		if data[key] != want {
			t.Errorf("event data %s is %v, want %v", key, data[key], want)
		}
	}
	if q := st.queries[0]; q.RemediationID != "rr-1" || q.Labels.SignalType != "OOMKilled" || q.Labels.Component != "deployment" {
		t.Errorf("query %+v", q)
	}
	again, err := pipeline(t, c, newStorage(t)).Investigate(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(inv, again); diff != "" {
		t.Errorf("the same again is different:\n%s", diff)
	}
}

func TestVerdicts(t *testing.T) {
	t.Run("healthy", func(t *testing.T) {
		c, in := told(t, scenarioHealthy)
		inv, err := pipeline(t, c, newStorage(t)).Investigate(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if inv.Workflow != nil || inv.NeedsHumanReview || inv.HumanReviewReason != "" || inv.Confidence < 0.7 || inv.CauseClass != "" {
			t.Errorf("workflow %v, review %v, confidence %v", inv.Workflow, inv.NeedsHumanReview, inv.Confidence)
		}
		if len(inv.Warnings) != 1 || !strings.Contains(inv.Warnings[0], "resolved itself") {
			t.Errorf("warnings %q", inv.Warnings)
		}
		if inv.RootCause.Severity != incident.SeverityLow || !strings.Contains(inv.Analysis, "Checked: ") {
			t.Errorf("severity %s, analysis %q", inv.RootCause.Severity, inv.Analysis)
		}
	})
	t.Run("healthy, and not sure", func(t *testing.T) {
		inv := answer(incident.Incident{}, diagnose.Result{Verdict: diagnose.VerdictHealthy, Confidence: 0.6}, catalog.Selection{}, 0.5)
		if !inv.NeedsHumanReview || inv.HumanReviewReason != incident.ReviewInconclusive {
			t.Errorf("review %v for %q; callers take less than 0.7 for a failure", inv.NeedsHumanReview, inv.HumanReviewReason)
		}
	})
	t.Run("undecidable", func(t *testing.T) {
		c, in := told(t, scenarioUndecidable)
		inv, err := pipeline(t, c, newStorage(t)).Investigate(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if !inv.NeedsHumanReview || inv.HumanReviewReason != incident.ReviewInconclusive || inv.Workflow != nil {
			t.Errorf("review %v for %q", inv.NeedsHumanReview, inv.HumanReviewReason)
		}
	})
	t.Run("low confidence keeps the workflow", func(t *testing.T) {
		c, in := told(t, scenarioUncertain)
		inv, err := pipeline(t, c, newStorage(t)).Investigate(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if !inv.NeedsHumanReview || inv.HumanReviewReason != incident.ReviewLowConfidence || inv.Workflow == nil {
			t.Errorf("review %v for %q, workflow %v", inv.NeedsHumanReview, inv.HumanReviewReason, inv.Workflow)
		}
		if !slices.ContainsFunc(inv.Warnings, func(w string) bool { return strings.Contains(w, "confidence") && strings.Contains(w, "below") }) {
			t.Errorf("warnings %q", inv.Warnings)
		}
	})
	t.Run("no confidence is too low", func(t *testing.T) {
		c, in := told(t, scenarioUncertain)
		st := newStorage(t)
		p, err := New(Options{Observer: c, Catalog: st, Bundles: st, Audit: st, Encode: encode, Threshold: new(0.0)})
		if err != nil {
			t.Fatal(err)
		}
		if inv, err := p.Investigate(t.Context(), in); err != nil || inv.NeedsHumanReview || inv.Workflow == nil {
			t.Errorf("review %v for %q, workflow %v, %v", inv.NeedsHumanReview, inv.HumanReviewReason, inv.Workflow, err)
		}
	})
	t.Run("no workflow in the catalog", func(t *testing.T) {
		c, in := told(t, scenarioOOM)
		inv, err := pipeline(t, c, &storage{bundles: map[string][]byte{}}).Investigate(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if !inv.NeedsHumanReview || inv.HumanReviewReason != incident.ReviewNoMatchingWorkflows || inv.Workflow != nil || inv.CauseClass == "" {
			t.Errorf("review %v for %q, class %q", inv.NeedsHumanReview, inv.HumanReviewReason, inv.CauseClass)
		}
	})
	t.Run("workflow that is gone", func(t *testing.T) {
		c, in := told(t, scenarioOOM)
		st := newStorage(t)
		st.workflowErr = incident.Errorf(incident.KindNotFound, "get workflow", "none")
		inv, err := pipeline(t, c, st).Investigate(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if inv.HumanReviewReason != incident.ReviewWorkflowNotFound || len(inv.Attempts) == 0 || inv.Attempts[0].Valid {
			t.Errorf("review for %q, attempts %+v", inv.HumanReviewReason, inv.Attempts)
		}
	})
}

func TestManagedObjectsAreChangedAtTheirSource(t *testing.T) {
	for name, tt := range map[string]struct {
		mark     []string // path below metadata, then the value
		detected incident.DetectedLabels
		workflow string
	}{
		"Argo CD, by its mark":     {mark: []string{"annotations", "argocd.argoproj.io/tracking-id", "x"}, workflow: "id-of-raise-memory-limit-in-git"},
		"Flux, by its mark":        {mark: []string{"labels", "kustomize.toolkit.fluxcd.io/name", "apps"}, workflow: "id-of-raise-memory-limit-in-git"},
		"Helm, by its mark":        {mark: []string{"annotations", "meta.helm.sh/release-name", "shop"}, workflow: "id-of-raise-memory-limit-in-values"},
		"GitOps, by the caller":    {detected: incident.DetectedLabels{GitOpsManaged: true, GitOpsTool: "flux"}, workflow: "id-of-raise-memory-limit-in-git"},
		"mark and failed detector": {mark: []string{"labels", "argocd.argoproj.io/instance", "shop"}, detected: incident.DetectedLabels{FailedDetections: []string{"gitOpsManaged"}}, workflow: "id-of-raise-memory-limit-in-git"},
		"nobody":                   {workflow: "id-of-raise-memory-limit"},
	} {
		t.Run(name, func(t *testing.T) {
			c, in := told(t, scenarioOOM)
			in.DetectedLabels = tt.detected
			if tt.mark != nil {
				c.snapshot = marked(t, c.snapshot, tt.mark)
			}
			inv, err := pipeline(t, c, newStorage(t)).Investigate(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if inv.Workflow == nil || inv.Workflow.ID != tt.workflow {
				t.Errorf("workflow %+v, want %s; candidates %+v", inv.Workflow, tt.workflow, inv.Candidates)
			}
		})
	}
}

// marked returns the snapshot with a mark on every Deployment.
func marked(t *testing.T, snap *diagnose.Snapshot, mark []string) *diagnose.Snapshot {
	t.Helper()
	contents := snap.Contents()
	var objects []*diagnose.Object
	for _, o := range contents.Objects {
		if o.Ref().Kind == "Deployment" {
			b, err := json.Marshal(o.Tree())
			if err != nil {
				t.Fatal(err)
			}
			var tree map[string]any
			if err := json.Unmarshal(b, &tree); err != nil {
				t.Fatal(err)
			}
			meta := tree["metadata"].(map[string]any)
			section, _ := meta[mark[0]].(map[string]any)
			if section == nil {
				section = map[string]any{}
				meta[mark[0]] = section
			}
			section[mark[1]] = mark[2]
			if o, err = diagnose.NewObject(tree, o.Partial()); err != nil {
				t.Fatal(err)
			}
		}
		objects = append(objects, o)
	}
	contents.Objects = objects
	return diagnose.NewSnapshot(contents)
}

// Trouble with what the pipeline depends on is never an answer, and never the caller's fault.
func TestDependencies(t *testing.T) {
	slow := incident.Errorf(incident.KindRateLimited, "x", "slow down")
	slow.RetryAfter = 7 * time.Second
	for _, tt := range []struct {
		name string
		err  error
		want incident.ErrorKind
		wait time.Duration
	}{
		{"unavailable", incident.Errorf(incident.KindUnavailable, "x", "down"), incident.KindUnavailable, 0},
		{"network", incident.Errorf(incident.KindNetwork, "x", "refused"), incident.KindNetwork, 0},
		{"timeout", incident.Errorf(incident.KindTimeout, "x", "late"), incident.KindTimeout, 0},
		{"rate limit", slow, incident.KindUnavailable, 7 * time.Second},
		{"unauthorized", incident.Errorf(incident.KindUnauthorized, "x", "who"), incident.KindUnavailable, 0},
		{"forbidden", incident.Errorf(incident.KindForbidden, "x", "no"), incident.KindUnavailable, 0},
		{"malformed", incident.Errorf(incident.KindMalformed, "x", "?"), incident.KindUnavailable, 0},
		{"our request is wrong", incident.Errorf(incident.KindInvalid, "x", "bad query"), incident.KindInternal, 0},
		{"foreign", errors.New("x"), incident.KindInternal, 0},
	} {
		for where, set := range map[string]func(*cluster, *storage){
			"observe":  func(c *cluster, _ *storage) { c.err = tt.err },
			"search":   func(_ *cluster, s *storage) { s.searchErr = tt.err },
			"workflow": func(_ *cluster, s *storage) { s.workflowErr = tt.err },
			"bundle":   func(_ *cluster, s *storage) { s.bundleErr = tt.err },
			"audit":    func(_ *cluster, s *storage) { s.auditErr = tt.err },
		} {
			t.Run(tt.name+"/"+where, func(t *testing.T) {
				c, in := told(t, scenarioOOM)
				st := newStorage(t)
				set(c, st)
				inv, err := pipeline(t, c, st).Investigate(t.Context(), in)
				want := tt.want
				switch {
				case tt.want == incident.KindInternal && tt.name != "foreign" && where == "observe":
					want = incident.KindInvalid // the incident names nothing to look at
				case tt.name == "our request is wrong" && where == "bundle":
					if err != nil || inv.BundleDigest != "" || !slices.ContainsFunc(inv.Warnings, func(w string) bool { return strings.Contains(w, "bundle was not stored") }) {
						t.Errorf("error %v, digest %q, warnings %q; want an answer with a warning", err, inv.BundleDigest, inv.Warnings)
					}
					return
				}
				var e *incident.Error
				if !errors.As(err, &e) || e.Kind != want || e.RetryAfter != tt.wait {
					t.Fatalf("error %v of kind %s, want %s with Retry-After %s", err, incident.KindOf(err), want, tt.wait)
				}
				if diff := cmp.Diff(incident.Investigation{}, inv); diff != "" {
					t.Errorf("an answer beside the error:\n%s", diff)
				}
				if where != "audit" {
					if diff := cmp.Diff([]string{audit.TypeInvestigationComplete}, st.types()); diff != "" {
						t.Errorf("audit events of a failure (-want +got):\n%s", diff)
					} else if st.events[0].Outcome != incident.OutcomeFailure {
						t.Errorf("outcome %s", st.events[0].Outcome)
					}
				}
			})
		}
	}
	t.Run("time is over", func(t *testing.T) {
		c, in := told(t, scenarioOOM)
		st := newStorage(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c.err = ctx.Err()
		_, err := pipeline(t, c, st).Investigate(ctx, in)
		if incident.KindOf(err) != incident.KindTimeout {
			t.Errorf("error %v, want KindTimeout", err)
		}
		if len(st.events) != 1 {
			t.Errorf("%d audit events; the failure must be on the trail although the time is over", len(st.events))
		}
	})
}

// Evidence that does not hold is never published.
func TestEvidenceIsVerified(t *testing.T) {
	c, in := told(t, scenarioOOM)
	r := diagnose.Run(c.snapshot, in)
	if err := diagnose.Verify(c.snapshot, r.Evidence); err != nil || len(r.Evidence) == 0 {
		t.Fatalf("%d pieces of evidence, %v", len(r.Evidence), err)
	}
	forged := slices.Clone(r.Evidence)
	forged[0].Value += "!"
	forged[0].SHA256 = incident.HashValue(forged[0].Value)
	if diagnose.Verify(c.snapshot, forged) == nil {
		t.Error("forged evidence holds")
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	st := newStorage(t)
	good := Options{Observer: &cluster{}, Catalog: st, Bundles: st, Audit: st, Encode: encode}
	for name, change := range map[string]func(*Options){
		"no observer":   func(o *Options) { o.Observer = nil },
		"no catalog":    func(o *Options) { o.Catalog = nil },
		"no bundles":    func(o *Options) { o.Bundles = nil },
		"no audit":      func(o *Options) { o.Audit = nil },
		"no encoder":    func(o *Options) { o.Encode = nil },
		"bad threshold": func(o *Options) { o.Threshold = new(1.5) },
	} {
		o := good
		change(&o)
		if _, err := New(o); incident.KindOf(err) != incident.KindInvalid {
			t.Errorf("%s: error %v, want KindInvalid", name, err)
		}
	}
}
