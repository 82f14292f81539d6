package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// fieldOwner names this controller in managedFields.
const fieldOwner = client.FieldOwner("aianalysis-controller")

// errMoved means that a resource is no longer in the state that a step was decided for.
var errMoved = errors.New("the resource has changed since the decision")

// writeConflicts bounds how often one status is offered again after a conflict.
const writeConflicts = 5

// shell is a resource with nothing in it but its name, its version and a status: enough to make a
// patch of the status.
func shell(a *v1alpha1.AIAnalysis, status *v1alpha1.AIAnalysisStatus) *v1alpha1.AIAnalysis {
	return &v1alpha1.AIAnalysis{
		ObjectMeta: metav1.ObjectMeta{
			Name: a.Name, Namespace: a.Namespace, UID: a.UID, ResourceVersion: a.ResourceVersion,
		},
		Status: *status,
	}
}

// statusPatch is a merge patch from the status of base to that of the patched resource, on condition
// that the resource is still at the version of base.
type statusPatch struct{ base *v1alpha1.AIAnalysis }

func (statusPatch) Type() types.PatchType { return types.MergePatchType }

func (p statusPatch) Data(obj client.Object) ([]byte, error) {
	before := []byte("{}")
	// The empty status of the Go type has fields that are always written; a new resource on the API
	// server has none, and a patch must not leave them out.
	if p.base.Status.Phase != "" {
		var err error
		if before, err = json.Marshal(&p.base.Status); err != nil {
			return nil, err
		}
	}
	after, err := json.Marshal(&obj.(*v1alpha1.AIAnalysis).Status)
	if err != nil {
		return nil, err
	}
	change, err := jsonmergepatch.CreateThreeWayJSONMergePatch(before, after, before)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]string{"resourceVersion": p.base.ResourceVersion},
		"status":   json.RawMessage(change),
	})
}

// writeStatus replaces the status of a by next and returns the resource as it is then. The write is
// conditional on the resource version of a. When somebody else changed the resource meanwhile, for
// example a label, it is read once more and the status is offered again, as long as it is still in
// the state of a; if not, the error is errMoved.
func (r *Reconciler) writeStatus(ctx context.Context, a *v1alpha1.AIAnalysis, next *v1alpha1.AIAnalysisStatus) (*v1alpha1.AIAnalysis, error) {
	base := a
	for range writeConflicts {
		out := shell(base, next)
		err := r.client.Status().Patch(ctx, out, statusPatch{base}, fieldOwner)
		r.metrics.wrote("status", err)
		if err == nil {
			return out, nil
		}
		if !apierrors.IsConflict(err) {
			return nil, err
		}
		fresh := &v1alpha1.AIAnalysis{}
		if err := r.reader.Get(ctx, client.ObjectKeyFromObject(a), fresh); err != nil {
			return nil, err
		}
		if stampOf(fresh) != stampOf(a) || fresh.DeletionTimestamp != nil {
			return nil, errMoved
		}
		base = fresh
	}
	return nil, fmt.Errorf("the status was in conflict %d times in a row", writeConflicts)
}

// storable returns what to write in place of a status that the API server refused for its content:
// the end of the analysis, with as little else as possible. A refusal means that the installed
// resource definition is not ours; without this the analysis would be refused for ever.
func storable(f facts, refused *v1alpha1.AIAnalysisStatus, cause error) *v1alpha1.AIAnalysisStatus {
	next := &v1alpha1.AIAnalysisStatus{
		StartedAt: refused.StartedAt, InvestigationID: refused.InvestigationID, AuditState: refused.AuditState,
	}
	finish(next, f, v1alpha1.PhaseFailed, v1alpha1.ReasonWorkflowResolutionFailed, v1alpha1.SubReasonValidationError,
		fmt.Sprintf("The API server refused the result (%s, %s); is the installed AIAnalysis resource definition up to date? %v",
			refused.Phase, refused.Reason, cause))
	next.Message = text(next.Message, maxLine)
	conclude(next, f, unresolved)
	return next
}

// refused reports whether the API server will never take what was sent.
func refused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err)
}

// setFinalizer adds or removes the finalizer and returns the resource as it is then.
func (r *Reconciler) setFinalizer(ctx context.Context, a *v1alpha1.AIAnalysis, present bool) (*v1alpha1.AIAnalysis, error) {
	base := shell(a, &v1alpha1.AIAnalysisStatus{})
	base.Finalizers = slices.Clone(a.Finalizers)
	out := base.DeepCopy()
	if present {
		controllerutil.AddFinalizer(out, v1alpha1.Finalizer)
	} else {
		controllerutil.RemoveFinalizer(out, v1alpha1.Finalizer)
	}
	// Finalizers are one list to a merge patch: without the version, one that somebody else adds at
	// the same time would be lost.
	err := r.client.Patch(ctx, out, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}), fieldOwner)
	r.metrics.wrote("finalizer", err)
	if err != nil {
		return nil, err
	}
	return out, nil
}

func nameOf(a *v1alpha1.AIAnalysis) types.NamespacedName {
	return types.NamespacedName{Namespace: a.Namespace, Name: a.Name}
}
