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
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// fieldOwner names this controller in managedFields.
const fieldOwner = client.FieldOwner("aianalysis-controller")

// errMoved means that a resource is no longer in the state that a step was decided for.
var errMoved = errors.New("the resource has changed since the decision")

// writeConflicts bounds how often one status is offered again after a conflict.
const writeConflicts = 5

// The requests of a write ask for the metadata of the result alone: all else of it is known.

// metadataOf returns an empty answer to a write of a resource.
func metadataOf(a *v1alpha1.AIAnalysis) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: a.Name, Namespace: a.Namespace}}
	m.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))
	return m
}

// withMetadata returns a with the metadata of an answer.
func withMetadata(a *v1alpha1.AIAnalysis, m *metav1.PartialObjectMetadata) *v1alpha1.AIAnalysis {
	next := *a
	next.ObjectMeta = m.ObjectMeta
	next.ManagedFields = nil
	return &next
}

// operation is one operation of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patchAt returns a JSON patch that sets one field, on condition that the resource is still at the
// given version. Setting the version makes the API server compare it: it answers Conflict.
func patchAt(version, path string, value any) (client.Patch, error) {
	body, err := json.Marshal([]operation{
		{Op: "add", Path: "/metadata/resourceVersion", Value: version},
		{Op: "add", Path: path, Value: value},
	})
	if err != nil {
		return nil, err
	}
	return client.RawPatch(types.JSONPatchType, body), nil
}

// writeStatus replaces the status of a by next, as a whole, and returns the resource as it is then.
// The write is conditional on the resource version of a. When somebody else changed the resource
// meanwhile, for example a label, it is read once more and the status is offered again, as long as it
// is still in the state of a; if not, the error is errMoved.
func (r *Reconciler) writeStatus(ctx context.Context, a *v1alpha1.AIAnalysis, next *v1alpha1.AIAnalysisStatus) (*v1alpha1.AIAnalysis, error) {
	base := a
	for range writeConflicts {
		patch, err := patchAt(base.ResourceVersion, "/status", next)
		if err != nil {
			return nil, err
		}
		answer := metadataOf(base)
		err = r.client.Status().Patch(ctx, answer, patch, fieldOwner)
		r.metrics.wrote("status", err)
		if err == nil {
			written := withMetadata(base, answer)
			written.Status = *next
			return written, nil
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

// setFinalizer adds or removes the finalizer and returns the resource as it is then. Finalizers are one
// list: the write is conditional on the resource version, so that it cannot lose one that somebody
// else adds at the same time.
func (r *Reconciler) setFinalizer(ctx context.Context, a *v1alpha1.AIAnalysis, present bool) (*v1alpha1.AIAnalysis, error) {
	finalizers := slices.DeleteFunc(slices.Clone(a.Finalizers), func(f string) bool { return f == v1alpha1.Finalizer })
	if present {
		finalizers = append(finalizers, v1alpha1.Finalizer)
	}
	if finalizers == nil {
		finalizers = []string{} // null is not a list
	}
	patch, err := patchAt(a.ResourceVersion, "/metadata/finalizers", finalizers)
	if err != nil {
		return nil, err
	}
	answer := metadataOf(a)
	err = r.client.Patch(ctx, answer, patch, fieldOwner)
	r.metrics.wrote("finalizer", err)
	if err != nil {
		return nil, err
	}
	return withMetadata(a, answer), nil
}

func nameOf(a *v1alpha1.AIAnalysis) types.NamespacedName {
	return types.NamespacedName{Namespace: a.Namespace, Name: a.Name}
}
