package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/incident"
)

var testTime = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// fresh returns an analysis that nobody has looked at yet.
func fresh(recovery bool) *v1alpha1.AIAnalysis {
	a := &v1alpha1.AIAnalysis{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "6d0b6b6e-0000-4000-8000-000000000001", Generation: 1},
		Spec: v1alpha1.AIAnalysisSpec{
			RemediationID: "rr-1",
			AnalysisRequest: v1alpha1.AnalysisRequest{
				AnalysisTypes: []string{"investigation"},
				SignalContext: v1alpha1.SignalContext{
					Severity: "critical", SignalType: "OOMKilled", Environment: "staging", BusinessPriority: "P1",
					TargetResource: v1alpha1.TargetResource{Kind: "Pod", Name: "web-1", Namespace: "shop"},
				},
			},
		},
	}
	if recovery {
		a.Spec.IsRecoveryAttempt, a.Spec.RecoveryAttemptNumber = true, 2
		a.Spec.PreviousExecutions = []v1alpha1.PreviousExecution{{WorkflowExecutionRef: "we-1"}, {WorkflowExecutionRef: "we-2"}}
	}
	return a
}

// running returns an analysis in phase Investigating, in its first attempt.
func running(recovery bool) *v1alpha1.AIAnalysis {
	a := fresh(recovery)
	a.Finalizers = []string{v1alpha1.Finalizer}
	a.Status = v1alpha1.AIAnalysisStatus{Phase: v1alpha1.PhaseInvestigating, StartedAt: seconds(testTime), Attempt: 1}
	return a
}

// found is a plain answer with a workflow.
func found() incident.Investigation {
	return incident.Investigation{
		IncidentID: "shop/web", Confidence: 0.92, TargetInOwnerChain: true,
		RootCause: incident.RootCause{Summary: "out of memory", Severity: incident.SeverityCritical, SignalType: "OOMKilled"},
		Workflow:  &incident.SelectedWorkflow{ID: "raise-memory", Version: "1.0.0", ContainerImage: "img", Confidence: 0.92, Rationale: "fits"},
	}
}

// httpError is an error as the client of the investigating service gives it.
func httpError(kind incident.ErrorKind, status int) error {
	return &incident.Error{Kind: kind, Op: "investigate incident", Status: status, Err: errors.New("it says no")}
}

// ending is what a table expects of a finished analysis.
type ending struct {
	phase      v1alpha1.Phase
	reason     string
	sub        v1alpha1.SubReason
	conditions [4]string // reasons of InvestigationComplete, AnalysisComplete, WorkflowResolved, ApprovalRequired; "+" before one that is True
}

func endingOf(s *v1alpha1.AIAnalysisStatus) ending {
	e := ending{phase: s.Phase, reason: s.Reason, sub: s.SubReason}
	for i, c := range []string{
		v1alpha1.ConditionInvestigationComplete, v1alpha1.ConditionAnalysisComplete,
		v1alpha1.ConditionWorkflowResolved, v1alpha1.ConditionApprovalRequired,
	} {
		if got := meta.FindStatusCondition(s.Conditions, c); got != nil {
			e.conditions[i] = got.Reason
			if got.Status == metav1.ConditionTrue {
				e.conditions[i] = "+" + got.Reason
			}
		}
	}
	return e
}

var allowUnexported = cmp.AllowUnexported(ending{})

var (
	noAnswer    = [4]string{"InvestigationFailed", "AnalysisFailed", "WorkflowResolutionFailed", "NothingToApprove"}
	noWorkflow  = [4]string{"+InvestigationSucceeded", "AnalysisFailed", "WorkflowResolutionFailed", "NothingToApprove"}
	nothingToDo = [4]string{"+InvestigationSucceeded", "+AnalysisSucceeded", "NoWorkflowNeeded", "NothingToApprove"}
)

func TestAnsweredInvestigation(t *testing.T) {
	with := func(change func(*incident.Investigation)) incident.Investigation {
		inv := found()
		change(&inv)
		return inv
	}
	review := func(reason incident.ReviewReason, warnings ...string) incident.Investigation {
		return with(func(inv *incident.Investigation) {
			inv.NeedsHumanReview, inv.HumanReviewReason, inv.Warnings = true, reason, warnings
		})
	}
	without := func(confidence float64) incident.Investigation {
		return with(func(inv *incident.Investigation) { inv.Workflow, inv.Confidence = nil, confidence })
	}
	recovery := func(can bool, change func(*incident.Investigation)) incident.Investigation {
		return with(func(inv *incident.Investigation) {
			inv.Recovery = &incident.RecoveryAssessment{CanRecover: can}
			change(inv)
		})
	}
	same := func(*incident.Investigation) {}
	failed := func(sub v1alpha1.SubReason) ending {
		return ending{v1alpha1.PhaseFailed, v1alpha1.ReasonWorkflowResolutionFailed, sub, noWorkflow}
	}
	goesOn := ending{phase: v1alpha1.PhaseAnalyzing, conditions: [4]string{"+InvestigationSucceeded"}}
	impossible := ending{v1alpha1.PhaseFailed, v1alpha1.ReasonRecoveryNotPossible, v1alpha1.SubReasonNoRecoveryStrategy, noWorkflow}

	for name, tt := range map[string]struct {
		recovery bool
		answer   incident.Investigation
		want     ending
	}{
		"a workflow":                     {answer: found(), want: goesOn},
		"review: workflow not found":     {answer: review(incident.ReviewWorkflowNotFound), want: failed(v1alpha1.SubReasonWorkflowNotFound)},
		"review: image mismatch":         {answer: review(incident.ReviewImageMismatch), want: failed(v1alpha1.SubReasonImageMismatch)},
		"review: parameters":             {answer: review(incident.ReviewParameterValidation), want: failed(v1alpha1.SubReasonParameterValidationFailed)},
		"review: no matching":            {answer: review(incident.ReviewNoMatchingWorkflows), want: failed(v1alpha1.SubReasonNoMatchingWorkflows)},
		"review: low confidence":         {answer: review(incident.ReviewLowConfidence), want: failed(v1alpha1.SubReasonLowConfidence)},
		"review: parsing":                {answer: review(incident.ReviewParsingError), want: failed(v1alpha1.SubReasonLLMParsingError)},
		"review: inconclusive":           {answer: review(incident.ReviewInconclusive), want: failed(v1alpha1.SubReasonInvestigationInconclusive)},
		"review: not reproducible":       {answer: review(incident.ReviewNotReproducible), want: failed(v1alpha1.SubReasonSignalNotReproducible)},
		"review: unknown reason":         {answer: review("brand_new", "image mismatch"), want: failed(v1alpha1.SubReasonWorkflowNotFound)},
		"review: hint not found":         {answer: review("", "Workflow X does not exist"), want: failed(v1alpha1.SubReasonWorkflowNotFound)},
		"review: hint no match":          {answer: review("", "No workflows matched the signal"), want: failed(v1alpha1.SubReasonNoMatchingWorkflows)},
		"review: hint confidence":        {answer: review("", "Confidence 0.4", "is below 0.7"), want: failed(v1alpha1.SubReasonLowConfidence)},
		"review: hint confidence alone":  {answer: review("", "Confidence 0.4"), want: failed(v1alpha1.SubReasonWorkflowNotFound)},
		"review: hint parameters":        {answer: review("", "Missing required parameter"), want: failed(v1alpha1.SubReasonParameterValidationFailed)},
		"review: hint image":             {answer: review("", "wrong container image"), want: failed(v1alpha1.SubReasonImageMismatch)},
		"review: hint parse":             {answer: review("", "could not parse"), want: failed(v1alpha1.SubReasonLLMParsingError)},
		"review: no hint":                {answer: review("", "dunno"), want: failed(v1alpha1.SubReasonWorkflowNotFound)},
		"review wins over resolved":      {answer: with(func(i *incident.Investigation) { i.NeedsHumanReview, i.Workflow = true, nil }), want: failed(v1alpha1.SubReasonWorkflowNotFound)},
		"nothing wrong":                  {answer: without(0.7), want: ending{v1alpha1.PhaseCompleted, v1alpha1.ReasonWorkflowNotNeeded, v1alpha1.SubReasonProblemResolved, nothingToDo}},
		"no workflow, not sure":          {answer: without(0.69), want: goesOn},
		"confidence below the threshold": {answer: with(func(i *incident.Investigation) { i.Workflow.Confidence = 0.69 }), want: failed(v1alpha1.SubReasonLowConfidence)},
		"confidence at the threshold":    {answer: with(func(i *incident.Investigation) { i.Workflow.Confidence = 0.7 }), want: goesOn},
		"a workflow that cannot be told": {answer: with(func(i *incident.Investigation) { i.Workflow.ID = strings.Repeat("x", 300) }), want: failed(v1alpha1.SubReasonValidationError)},
		"recovery: a workflow":           {recovery: true, answer: recovery(true, same), want: goesOn},
		"recovery: impossible":           {recovery: true, answer: recovery(false, same), want: impossible},
		"recovery: no workflow":          {recovery: true, answer: recovery(true, func(i *incident.Investigation) { i.Workflow = nil }), want: impossible},
		"recovery: review": {recovery: true, answer: recovery(true, func(i *incident.Investigation) {
			i.NeedsHumanReview, i.HumanReviewReason = true, incident.ReviewLowConfidence
		}), want: failed(v1alpha1.SubReasonLowConfidence)},
		"recovery: review and impossible": {recovery: true, answer: recovery(false, func(i *incident.Investigation) {
			i.NeedsHumanReview, i.HumanReviewReason = true, incident.ReviewNoMatchingWorkflows
		}), want: failed(v1alpha1.SubReasonNoMatchingWorkflows)},
		"recovery: nothing said": {recovery: true, answer: found(), want: goesOn},
	} {
		t.Run(name, func(t *testing.T) {
			a := running(tt.recovery)
			a.Status.Reason, a.Status.SubReason, a.Status.ConsecutiveFailures = v1alpha1.ReasonTransientError, v1alpha1.SubReasonTransientError, 3
			f := facts{now: testTime.Add(1500 * time.Millisecond), analysis: a, answer: &answer{investigation: tt.answer, took: 1200 * time.Millisecond}}
			got := DefaultSettings().decide(f)
			if got.launch || got.again != 0 {
				t.Errorf("got %+v, want only a status", got)
			}
			if diff := cmp.Diff(tt.want, endingOf(got.status), allowUnexported); diff != "" {
				t.Errorf("outcome differs (-want +got):\n%s", diff)
			}
			if s := got.status; s.InvestigationTime != 2 || s.ConsecutiveFailures != 0 || s.NextAttemptAt != nil {
				t.Errorf("got investigationTime %d, failures %d, next attempt %v; want 2, 0, none", s.InvestigationTime, s.ConsecutiveFailures, s.NextAttemptAt)
			}
			checkFinal(t, f, got.status)
			checkStored(t, got.status)
		})
	}
}

// checkFinal fails the test when a final status lacks something that each must have.
func checkFinal(t tb, f facts, s *v1alpha1.AIAnalysisStatus) {
	t.Helper()
	if !s.Phase.Terminal() {
		return
	}
	if s.Reason == "" || s.SubReason == "" || s.Message == "" || s.CompletedAt == nil || s.ObservedGeneration != f.analysis.Generation || s.NextAttemptAt != nil {
		t.Errorf("a final status lacks something: reason %q, subReason %q, message %q, completedAt %v, observedGeneration %d, nextAttemptAt %v",
			s.Reason, s.SubReason, s.Message, s.CompletedAt, s.ObservedGeneration, s.NextAttemptAt)
	}
	if s.StartedAt != nil && f.now.After(s.StartedAt.Time) && s.TotalAnalysisTime < 1 {
		t.Errorf("totalAnalysisTime is %d after %v", s.TotalAnalysisTime, f.now.Sub(s.StartedAt.Time))
	}
	for i, reason := range endingOf(s).conditions {
		if reason == "" {
			t.Errorf("a final status lacks condition %d of four: %+v", i, s.Conditions)
		}
	}
	for _, c := range s.Conditions {
		if c.Reason == "" || c.Message == "" || c.ObservedGeneration != f.analysis.Generation || c.LastTransitionTime.IsZero() {
			t.Errorf("condition %s lacks something: %+v", c.Type, c)
		}
	}
}

func TestFailedCall(t *testing.T) {
	const deadline = 15 * time.Minute
	retryLater := func(kind incident.ErrorKind, status int, after time.Duration) error {
		return &incident.Error{Kind: kind, Op: "investigate", Status: status, RetryAfter: after, Err: errors.New("busy")}
	}
	fails := func(sub v1alpha1.SubReason) ending {
		return ending{v1alpha1.PhaseFailed, v1alpha1.ReasonAPIError, sub, noAnswer}
	}
	retrying := ending{v1alpha1.PhaseInvestigating, v1alpha1.ReasonTransientError, v1alpha1.SubReasonTransientError, [4]string{"InvestigationRetrying"}}

	for name, tt := range map[string]struct {
		err     error
		before  int32         // failures before this one
		since   time.Duration // since the start
		want    ending
		delay   time.Duration // when repeated
		attempt int32         // when repeated
	}{
		"400":                    {err: httpError(incident.KindInvalid, 400), want: fails(v1alpha1.SubReasonPermanentError)},
		"401":                    {err: httpError(incident.KindUnauthorized, 401), want: fails(v1alpha1.SubReasonAuthenticationError)},
		"403":                    {err: httpError(incident.KindForbidden, 403), want: fails(v1alpha1.SubReasonAuthorizationError)},
		"404":                    {err: httpError(incident.KindNotFound, 404), want: fails(v1alpha1.SubReasonConfigurationError)},
		"413":                    {err: httpError(incident.KindTooLarge, 413), want: fails(v1alpha1.SubReasonPermanentError)},
		"422":                    {err: httpError(incident.KindInvalid, 422), want: fails(v1alpha1.SubReasonPermanentError)},
		"garbage":                {err: httpError(incident.KindMalformed, 200), want: fails(v1alpha1.SubReasonMalformedResponse)},
		"unknown error":          {err: errors.New("odd"), want: fails(v1alpha1.SubReasonPermanentError)},
		"429":                    {err: httpError(incident.KindRateLimited, 429), want: retrying, delay: time.Second, attempt: 2},
		"500":                    {err: httpError(incident.KindUnavailable, 500), want: retrying, delay: time.Second, attempt: 2},
		"503":                    {err: httpError(incident.KindUnavailable, 503), want: retrying, delay: time.Second, attempt: 2},
		"502 keeps the key":      {err: httpError(incident.KindUnavailable, 502), want: retrying, delay: time.Second, attempt: 1},
		"504 keeps the key":      {err: httpError(incident.KindUnavailable, 504), want: retrying, delay: time.Second, attempt: 1},
		"timeout keeps the key":  {err: httpError(incident.KindTimeout, 0), want: retrying, delay: time.Second, attempt: 1},
		"network keeps the key":  {err: httpError(incident.KindNetwork, 0), want: retrying, delay: time.Second, attempt: 1},
		"409 takes another key":  {err: httpError(incident.KindConflict, 409), want: retrying, delay: time.Second, attempt: 2},
		"third failure":          {err: httpError(incident.KindUnavailable, 500), before: 2, want: retrying, delay: 4 * time.Second, attempt: 2},
		"last failure":           {err: httpError(incident.KindUnavailable, 500), before: 9, want: fails(v1alpha1.SubReasonMaxRetriesExceeded)},
		"Retry-After":            {err: retryLater(incident.KindRateLimited, 429, 20*time.Second), want: retrying, delay: 20 * time.Second, attempt: 2},
		"Retry-After is bounded": {err: retryLater(incident.KindUnavailable, 503, time.Hour), want: retrying, delay: maxRetryAfter, attempt: 2},
		"next call too late":     {err: httpError(incident.KindUnavailable, 500), since: deadline - time.Second/2, want: fails(v1alpha1.SubReasonTimeout)},
	} {
		t.Run(name, func(t *testing.T) {
			a := running(false)
			a.Status.ConsecutiveFailures = tt.before
			f := facts{now: testTime.Add(tt.since), jitter: 0.5, analysis: a, answer: &answer{err: tt.err}}
			got := DefaultSettings().decide(f)
			if diff := cmp.Diff(tt.want, endingOf(got.status), allowUnexported); diff != "" {
				t.Errorf("outcome differs (-want +got):\n%s", diff)
			}
			checkFinal(t, f, got.status)
			checkStored(t, got.status)
			if got.status.ConsecutiveFailures != tt.before+1 || !strings.Contains(got.status.Message, tt.err.Error()) {
				t.Errorf("got failures %d, message %q", got.status.ConsecutiveFailures, got.status.Message)
			}
			if tt.want.phase.Terminal() {
				return
			}
			if got.again != tt.delay || !got.status.NextAttemptAt.Equal(&metav1.MicroTime{Time: f.now.Add(tt.delay)}) {
				t.Errorf("repeated after %v, at %v; want after %v", got.again, got.status.NextAttemptAt, tt.delay)
			}
			if got.status.Attempt != tt.attempt {
				t.Errorf("got attempt %d, want %d", got.status.Attempt, tt.attempt)
			}
		})
	}
}

func TestWaiting(t *testing.T) {
	settings := DefaultSettings()
	late := testTime.Add(settings.OverallTimeout)
	phase := func(p v1alpha1.Phase) *v1alpha1.AIAnalysis {
		a := running(false)
		a.Status.Phase = p
		return a
	}
	retryAt := func(d time.Duration) *v1alpha1.AIAnalysis {
		a := running(false)
		at := metav1.NewMicroTime(testTime.Add(d))
		a.Status.NextAttemptAt = &at
		return a
	}
	born := func(at time.Time) *v1alpha1.AIAnalysis {
		a := fresh(false)
		a.CreationTimestamp = metav1.NewTime(at)
		return a
	}
	expired := ending{v1alpha1.PhaseFailed, v1alpha1.ReasonAPIError, v1alpha1.SubReasonTimeout, noAnswer}

	for name, tt := range map[string]struct {
		facts  facts
		status *ending // nil: none is written
		launch bool
		again  time.Duration
	}{
		"new, no slot yet":        {facts: facts{now: testTime.Add(time.Second), analysis: born(testTime)}, again: saidAfter - time.Second},
		"new, another's clock":    {facts: facts{now: testTime, analysis: born(testTime.Add(time.Hour))}, again: saidAfter},
		"new, no slot for long":   {facts: facts{now: testTime.Add(saidAfter), analysis: born(testTime)}, status: &ending{phase: v1alpha1.PhasePending}},
		"new, broken":             {facts: facts{now: testTime, analysis: born(testTime), slot: slot{broken: true, retryIn: time.Second}}, status: &ending{phase: v1alpha1.PhasePending}},
		"new, a slot":             {facts: facts{now: testTime, analysis: fresh(false), slot: slot{free: true}}, status: &ending{phase: v1alpha1.PhaseInvestigating}, launch: true},
		"pending, a slot":         {facts: facts{now: testTime, analysis: phase(v1alpha1.PhasePending), slot: slot{free: true}}, status: &ending{phase: v1alpha1.PhaseInvestigating}, launch: true},
		"pending, no slot":        {facts: facts{now: testTime, analysis: phase(v1alpha1.PhasePending)}, again: settings.OverallTimeout},
		"pending, too late":       {facts: facts{now: late, analysis: phase(v1alpha1.PhasePending), slot: slot{free: true}}, status: &expired},
		"pending, broken":         {facts: facts{now: testTime, analysis: phase(v1alpha1.PhasePending), slot: slot{broken: true, retryIn: time.Second}}, status: &ending{phase: v1alpha1.PhasePending, reason: "TransientError", sub: "TransientError"}, again: time.Second},
		"calling":                 {facts: facts{now: late, analysis: phase(v1alpha1.PhaseInvestigating), calling: true}},
		"not called, a slot":      {facts: facts{now: testTime, analysis: phase(v1alpha1.PhaseInvestigating), slot: slot{free: true}}, launch: true},
		"not called, no slot":     {facts: facts{now: testTime.Add(time.Minute), analysis: phase(v1alpha1.PhaseInvestigating)}, again: settings.OverallTimeout - time.Minute},
		"not called, too late":    {facts: facts{now: late, analysis: phase(v1alpha1.PhaseInvestigating), slot: slot{free: true}}, status: &expired},
		"retry later":             {facts: facts{now: testTime, analysis: retryAt(time.Minute)}, again: time.Minute},
		"retry after the end":     {facts: facts{now: testTime, analysis: retryAt(time.Hour)}, again: settings.OverallTimeout},
		"retry now":               {facts: facts{now: testTime, analysis: retryAt(0), slot: slot{free: true}}, launch: true},
		"retry, broken":           {facts: facts{now: testTime, analysis: retryAt(0), slot: slot{broken: true, retryIn: time.Second}}, status: &ending{phase: v1alpha1.PhaseInvestigating, reason: "TransientError", sub: "TransientError"}, again: time.Second},
		"completed":               {facts: facts{now: late, analysis: phase(v1alpha1.PhaseCompleted)}},
		"failed":                  {facts: facts{now: late, analysis: phase(v1alpha1.PhaseFailed)}},
		"an answer after the end": {facts: facts{now: late, analysis: phase(v1alpha1.PhaseInvestigating), answer: &answer{investigation: found()}}, status: &ending{phase: v1alpha1.PhaseAnalyzing, conditions: [4]string{"+InvestigationSucceeded"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := settings.decide(tt.facts)
			if got.launch != tt.launch || got.again != tt.again {
				t.Errorf("got launch %v, again %v; want %v, %v", got.launch, got.again, tt.launch, tt.again)
			}
			switch {
			case tt.status == nil && got.status != nil:
				t.Errorf("got status %+v, want none", endingOf(got.status))
			case tt.status != nil && got.status == nil:
				t.Errorf("got no status, want %+v", tt.status)
			case tt.status != nil:
				if diff := cmp.Diff(*tt.status, endingOf(got.status), allowUnexported); diff != "" {
					t.Errorf("status differs (-want +got):\n%s", diff)
				}
				checkFinal(t, tt.facts, got.status)
				checkStored(t, got.status)
			}
		})
	}
}

// An analysis that waits for a broken service says so once, not at every look.
func TestBrokenIsWrittenOnce(t *testing.T) {
	a := running(false)
	f := facts{now: testTime, analysis: a, slot: slot{broken: true, retryIn: time.Second}}
	a.Status = *DefaultSettings().decide(f).status
	if got := DefaultSettings().decide(f); got.status != nil || got.again != time.Second {
		t.Errorf("got %+v, want nothing but to look again after a second", got)
	}
}

func TestVerdict(t *testing.T) {
	analysing := func(wf *v1alpha1.SelectedWorkflow) *v1alpha1.AIAnalysis {
		a := running(false)
		a.Status.Phase = v1alpha1.PhaseAnalyzing
		a.Status.SelectedWorkflow = wf
		a.Status.RootCauseAnalysis = &v1alpha1.RootCauseAnalysis{Summary: "out of memory", Severity: "high", ContributingFactors: []string{"traffic"}}
		a.Status.CausalChain = []v1alpha1.CausalLink{{Statement: "killed", Evidence: []string{"e1"}}, {Statement: "guessed"}}
		a.Status.AlternativeWorkflows = []v1alpha1.AlternativeWorkflow{{WorkflowID: "restart", Rationale: "quick"}}
		return a
	}
	workflow := &v1alpha1.SelectedWorkflow{WorkflowID: "raise-memory", Confidence: 0.79, Rationale: "fits"}
	decided := func(reason string) [4]string {
		return [4]string{"+InvestigationSucceeded", "+AnalysisSucceeded", "+WorkflowSelected", reason}
	}
	for name, tt := range map[string]struct {
		workflow *v1alpha1.SelectedWorkflow
		verdict  *verdict
		want     ending
		context  *v1alpha1.ApprovalContext
	}{
		"no workflow": {want: ending{v1alpha1.PhaseFailed, v1alpha1.ReasonNoWorkflowSelected, v1alpha1.SubReasonInvestigationInconclusive, noWorkflow}},
		"no answer": {workflow: workflow, verdict: &verdict{err: errors.New("broken")}, want: ending{
			v1alpha1.PhaseFailed, v1alpha1.ReasonRegoEvaluationError,
			v1alpha1.SubReasonPolicyEvaluationFailed,
			[4]string{"+InvestigationSucceeded", "AnalysisFailed", "+WorkflowSelected", "NothingToApprove"},
		}},
		"approved": {
			workflow: workflow, verdict: &verdict{decision: incident.Decision{Reason: "staging", PolicyHash: "ab"}},
			want: ending{v1alpha1.PhaseCompleted, v1alpha1.ReasonAnalysisCompleted, v1alpha1.SubReasonAutoApproved, decided("AutoApproved")},
		},
		"a person must approve": {
			workflow: workflow,
			verdict:  &verdict{decision: incident.Decision{ApprovalRequired: true, Reason: "production", Rules: []string{"production"}, PolicyName: "aianalysis.approval", PolicyHash: "ab"}},
			want:     ending{v1alpha1.PhaseCompleted, v1alpha1.ReasonAnalysisCompleted, v1alpha1.SubReasonApprovalRequired, decided("+PolicyRequiresApproval")},
			context: &v1alpha1.ApprovalContext{
				Reason: "production", WhyApprovalRequired: "production", ConfidenceScore: 0.79, ConfidenceLevel: v1alpha1.ConfidenceMedium,
				InvestigationSummary: "out of memory", EvidenceCollected: []string{"traffic", "killed"},
				RecommendedActions:     []v1alpha1.RecommendedAction{{Action: "raise-memory", Rationale: "fits"}},
				AlternativesConsidered: []v1alpha1.AlternativeApproach{{Approach: "restart", ProsCons: "quick"}},
				PolicyEvaluation:       &v1alpha1.PolicyEvaluation{PolicyName: "aianalysis.approval", MatchedRules: []string{"production"}, Decision: "manual_review_required"},
			},
		},
		"only the confidence": {
			workflow: workflow,
			verdict:  &verdict{decision: incident.Decision{ApprovalRequired: true, Reason: "unsure", Rules: []string{"low_confidence"}}},
			want:     ending{v1alpha1.PhaseCompleted, v1alpha1.ReasonAnalysisCompleted, v1alpha1.SubReasonApprovalRequired, decided("+LowConfidence")},
			context: &v1alpha1.ApprovalContext{
				Reason: "unsure", WhyApprovalRequired: "unsure", ConfidenceScore: 0.79, ConfidenceLevel: v1alpha1.ConfidenceMedium,
				InvestigationSummary: "out of memory", EvidenceCollected: []string{"traffic", "killed"},
				RecommendedActions:     []v1alpha1.RecommendedAction{{Action: "raise-memory", Rationale: "fits"}},
				AlternativesConsidered: []v1alpha1.AlternativeApproach{{Approach: "restart", ProsCons: "quick"}},
				PolicyEvaluation:       &v1alpha1.PolicyEvaluation{MatchedRules: []string{"low_confidence"}, Decision: "manual_review_required"},
			},
		},
		"degraded": {
			workflow: workflow, verdict: &verdict{decision: incident.Decision{ApprovalRequired: true, Degraded: true, Reason: "undefined"}},
			want: ending{v1alpha1.PhaseCompleted, v1alpha1.ReasonAnalysisCompleted, v1alpha1.SubReasonApprovalRequired, decided("+PolicyDegraded")},
			context: &v1alpha1.ApprovalContext{
				Reason: "undefined", WhyApprovalRequired: "undefined", ConfidenceScore: 0.79, ConfidenceLevel: v1alpha1.ConfidenceMedium,
				InvestigationSummary: "out of memory", EvidenceCollected: []string{"traffic", "killed"},
				RecommendedActions:     []v1alpha1.RecommendedAction{{Action: "raise-memory", Rationale: "fits"}},
				AlternativesConsidered: []v1alpha1.AlternativeApproach{{Approach: "restart", ProsCons: "quick"}},
				PolicyEvaluation:       &v1alpha1.PolicyEvaluation{Decision: "degraded_mode"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts{now: testTime.Add(time.Second), analysis: analysing(tt.workflow), verdict: tt.verdict}
			got := DefaultSettings().decide(f).status
			if diff := cmp.Diff(tt.want, endingOf(got), allowUnexported); diff != "" {
				t.Errorf("outcome differs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.context, got.ApprovalContext); diff != "" {
				t.Errorf("approvalContext differs (-want +got):\n%s", diff)
			}
			checkFinal(t, f, got)
			checkStored(t, got)
		})
	}
}

func TestConfidenceLevel(t *testing.T) {
	for c, want := range map[float64]v1alpha1.ConfidenceLevel{
		0: "low", 0.59: "low", 0.6: "medium", 0.79: "medium", 0.8: "high", 1: "high",
	} {
		if got := confidenceLevel(c); got != want {
			t.Errorf("confidenceLevel(%v) = %s, want %s", c, got, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	s := DefaultSettings()
	for name, tt := range map[string]struct {
		failures int
		jitter   float64
		want     time.Duration
	}{
		"first":           {1, 0.5, time.Second},
		"never below":     {1, 0, time.Second},
		"first, late":     {1, 1, 1100 * time.Millisecond},
		"second":          {2, 0.5, 2 * time.Second},
		"second, early":   {2, 0, 1800 * time.Millisecond},
		"ninth":           {9, 0.5, 256 * time.Second},
		"at the bound":    {10, 0.5, 5 * time.Minute},
		"does not wrap":   {1 << 30, 0.5, 5 * time.Minute},
		"nonsense before": {-1, 0.5, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.backoff(tt.failures, tt.jitter); got != tt.want {
				t.Errorf("backoff(%d, %v) = %v, want %v", tt.failures, tt.jitter, got, tt.want)
			}
		})
	}
}

func TestTimeoutsFor(t *testing.T) {
	s := DefaultSettings()
	for name, tt := range map[string]struct {
		config    *v1alpha1.TimeoutConfig
		call      time.Duration
		analyzing time.Duration
		warnings  int
	}{
		"none":      {nil, s.CallTimeout, s.AnalyzingTimeout, 0},
		"empty":     {&v1alpha1.TimeoutConfig{}, s.CallTimeout, s.AnalyzingTimeout, 0},
		"own":       {&v1alpha1.TimeoutConfig{InvestigatingTimeout: "90s", AnalyzingTimeout: "1s"}, 90 * time.Second, time.Second, 0},
		"malformed": {&v1alpha1.TimeoutConfig{InvestigatingTimeout: "soon", AnalyzingTimeout: "5"}, s.CallTimeout, s.AnalyzingTimeout, 2},
		"negative":  {&v1alpha1.TimeoutConfig{InvestigatingTimeout: "-1s", AnalyzingTimeout: "0s"}, s.CallTimeout, s.AnalyzingTimeout, 2},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.timeoutsFor(&v1alpha1.AIAnalysisSpec{TimeoutConfig: tt.config})
			if got.call != tt.call || got.analyzing != tt.analyzing || len(got.warnings) != tt.warnings {
				t.Errorf("got %+v, want %v, %v, %d warnings", got, tt.call, tt.analyzing, tt.warnings)
			}
		})
	}
}
