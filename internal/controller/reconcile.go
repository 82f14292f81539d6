package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

const (
	// maxSteps bounds the steps of one reconcile. An analysis has fewer.
	maxSteps = 8

	// staleRetry is when to look again after a write that was decided on a stale copy.
	staleRetry = 50 * time.Millisecond
)

// Reconcile takes the steps of one analysis until there is nothing left to do at once. The manager
// calls it for one resource by one worker at a time.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	begin := r.clock()
	defer func() { r.metrics.duration.WithLabelValues(overall).Observe(r.clock().Sub(begin).Seconds()) }()

	name := req.NamespacedName
	a := &v1alpha1.AIAnalysis{}
	err := r.client.Get(ctx, name, a)
	if err == nil {
		a = r.latest.newest(name, a)
		for range maxSteps {
			var again time.Duration
			a, again, err = r.step(ctx, name, a)
			if err != nil {
				break
			}
			if a == nil {
				return reconcile.Result{RequeueAfter: again}, nil
			}
		}
	}
	switch {
	case apierrors.IsNotFound(err):
		r.forget(name)
		return reconcile.Result{}, nil
	case err == nil, errors.Is(err, errMoved), apierrors.IsConflict(err):
		return reconcile.Result{RequeueAfter: staleRetry}, nil
	}
	return reconcile.Result{}, fmt.Errorf("reconcile AIAnalysis %s: %w", name, err)
}

// step takes the next step. It returns the resource as it was written, or nil when there is nothing
// left to do now, and then when to look again; 0 leaves that to whatever wakes the resource.
func (r *Reconciler) step(ctx context.Context, name types.NamespacedName, a *v1alpha1.AIAnalysis) (*v1alpha1.AIAnalysis, time.Duration, error) {
	switch {
	case a.DeletionTimestamp != nil:
		return nil, 0, r.remove(ctx, name, a)
	case a.Status.Phase.Terminal():
		r.calls.drop(name)
		r.deliveries.drop(name)
		return nil, 0, nil
	case !controllerutil.ContainsFinalizer(a, v1alpha1.Finalizer):
		next, err := r.setFinalizer(ctx, a, true)
		if err != nil {
			return nil, 0, err
		}
		r.latest.put(name, next)
		return next, 0, nil
	}
	begin := r.clock()
	next, again, err := r.advance(ctx, name, a)
	r.metrics.stepped(phaseOf(&a.Status), err, r.clock().Sub(begin))
	return next, again, err
}

// advance gathers, decides and acts once.
func (r *Reconciler) advance(ctx context.Context, name types.NamespacedName, a *v1alpha1.AIAnalysis) (*v1alpha1.AIAnalysis, time.Duration, error) {
	if h, ok := r.deliveries.lookup(name, stampOf(a)); ok {
		if !h.ready {
			return nil, 0, nil
		}
		return nil, 0, r.release(ctx, name, a, h)
	}
	f, p, err := r.gather(ctx, name, a)
	if err != nil {
		return nil, 0, err
	}
	defer p.release()
	s := r.settings.decide(f)
	next := a
	if s.status != nil {
		if next, err = r.store(ctx, name, f, s.status); next == nil || err != nil {
			return nil, 0, err
		}
	}
	switch {
	case s.launch:
		own := r.settings.timeoutsFor(&next.Spec)
		remaining := r.settings.remaining(facts{now: r.clock(), analysis: next})
		p.start(callKey(next), incidentOf(next), max(min(own.call, remaining), time.Millisecond))
		return nil, 0, nil
	case s.status == nil || s.again > 0:
		return nil, s.again, nil
	}
	return next, 0, nil
}

// gather reads what the next decision depends on. The permit is there when the slot is free.
func (r *Reconciler) gather(ctx context.Context, name types.NamespacedName, a *v1alpha1.AIAnalysis) (f facts, p *permit, err error) {
	f = facts{now: r.clock(), jitter: r.jitter(), analysis: a}
	switch a.Status.Phase {
	case "", v1alpha1.PhasePending:
		p, f.slot = r.calls.reserve(name, f.jitter)
	case v1alpha1.PhaseInvestigating:
		f.answer, f.calling = r.calls.lookup(name, callKey(a))
		due := a.Status.NextAttemptAt == nil || !a.Status.NextAttemptAt.After(f.now)
		if f.answer == nil && !f.calling && due {
			p, f.slot = r.calls.reserve(name, f.jitter)
		}
	case v1alpha1.PhaseAnalyzing:
		if a.Status.SelectedWorkflow != nil {
			f.verdict, err = r.evaluate(ctx, a)
		}
	}
	return f, p, err
}

// store makes next the status that follows f: its audit events first, then the status itself. A final
// status is not written at once but held back until Data Storage has its events; then, and when the
// resource is not to be looked at further, it returns nil.
func (r *Reconciler) store(ctx context.Context, name types.NamespacedName, f facts, next *v1alpha1.AIAnalysisStatus) (*v1alpha1.AIAnalysis, error) {
	hash := ""
	if f.answer != nil && r.requestHash != nil {
		hash = r.requestHash(incidentOf(f.analysis))
	}
	if events := trail(f, next, hash); len(events) > 0 {
		if err := r.recorder.RecordAll(ctx, events...); err != nil {
			return nil, fmt.Errorf("record %d audit events: %w", len(events), err)
		}
	}
	if next.Phase.Terminal() {
		if r.deliveries.hold(name, f, next) {
			r.calls.drop(name) // all that matters of the answer is in next
			return nil, nil
		}
		next.AuditState = v1alpha1.AuditSpooled
	}
	return r.put(ctx, name, f.analysis, f, next)
}

// release writes a final status whose wait is over.
func (r *Reconciler) release(ctx context.Context, name types.NamespacedName, a *v1alpha1.AIAnalysis, h held) error {
	next := h.next.DeepCopy()
	next.AuditState = auditState(h.err)
	if h.err != nil {
		r.log.Warn("analysis finished before its audit events were stored", "namespace", a.Namespace, "name", a.Name,
			"remediation", a.Spec.RemediationID, "audit", next.AuditState, "error", h.err)
		next.Warnings = texts(append([]string{auditWarning(next.AuditState)}, next.Warnings...), maxLines, maxLine)
	}
	written, err := r.put(ctx, name, a, h.facts, next)
	if written != nil { // else another one is held in its place
		r.deliveries.drop(name)
	}
	return err
}

// put writes next as the status of a, and tells of it. f is what it was decided on. A status that
// the API server refuses for its content is replaced by one that says so; it is held back in turn,
// and then put returns nil.
func (r *Reconciler) put(ctx context.Context, name types.NamespacedName, a *v1alpha1.AIAnalysis, f facts, next *v1alpha1.AIAnalysisStatus) (*v1alpha1.AIAnalysis, error) {
	written, err := r.writeStatus(ctx, a, next)
	if (refused(err) || err != nil && oversized(a, next)) && !(next.Reason == v1alpha1.ReasonWorkflowResolutionFailed && next.SubReason == v1alpha1.SubReasonValidationError) {
		r.log.Error("the API server refused a status", "namespace", a.Namespace, "name", a.Name,
			"phase", next.Phase, "reason", next.Reason, "error", err)
		r.deliveries.drop(name)
		again := facts{now: r.clock(), analysis: a}
		return r.store(ctx, name, again, storable(again, next, err))
	}
	if err != nil {
		return nil, fmt.Errorf("write the status of phase %s: %w", next.Phase, err)
	}
	r.latest.put(name, written)
	if f.answer != nil {
		r.calls.drop(name)
	}
	r.metrics.changed(f, next)
	r.announcer.announce(written, notices(f, next))
	r.logStep(written, f)
	return written, nil
}

// logStep logs a step that was written: the end of an analysis for operators, the rest for debugging.
func (r *Reconciler) logStep(a *v1alpha1.AIAnalysis, f facts) {
	log := r.log.With("namespace", a.Namespace, "name", a.Name, "remediation", a.Spec.RemediationID,
		"from", phaseOf(&f.analysis.Status), "to", a.Status.Phase, "reason", a.Status.Reason, "sub_reason", a.Status.SubReason)
	switch {
	case a.Status.Phase == v1alpha1.PhaseFailed:
		log.Warn("analysis failed", "message", a.Status.Message, "incident", incidentID(a))
	case a.Status.Phase == v1alpha1.PhaseCompleted:
		log.Info("analysis completed", "approval_required", a.Status.ApprovalRequired)
	case f.answer != nil && f.answer.err != nil:
		log.Warn("investigation failed and will be repeated", "failures", a.Status.ConsecutiveFailures, "error", f.answer.err)
	default:
		log.Debug("analysis moved")
	}
}

// remove records that a resource was deleted and lets it go. What ran for it is cut off.
func (r *Reconciler) remove(ctx context.Context, name types.NamespacedName, a *v1alpha1.AIAnalysis) error {
	r.calls.drop(name)
	r.deliveries.drop(name)
	if !controllerutil.ContainsFinalizer(a, v1alpha1.Finalizer) {
		return nil
	}
	if err := r.recorder.RecordAll(ctx, deletion(a, r.clock())); err != nil {
		return fmt.Errorf("record the deletion: %w", err)
	}
	if _, err := r.setFinalizer(ctx, a, false); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	r.log.Debug("analysis deleted", "namespace", a.Namespace, "name", a.Name, "phase", a.Status.Phase)
	return nil
}

// forget drops everything about a resource that is gone.
func (r *Reconciler) forget(name types.NamespacedName) {
	r.calls.drop(name)
	r.deliveries.drop(name)
	r.latest.drop(name)
}

// callKey names one attempt of one investigation, for us and for the side that investigates.
func callKey(a *v1alpha1.AIAnalysis) string {
	return fmt.Sprintf("%s/%d/%d", a.UID, a.Generation, max(a.Status.Attempt, 1))
}
