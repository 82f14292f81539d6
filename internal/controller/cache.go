package controller

import (
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

// CacheOptions returns the options of the manager's cache: the namespaces to watch, all when there
// are none, and what it may forget.
func CacheOptions(namespaces []string) cache.Options {
	o := cache.Options{
		ByObject: map[client.Object]cache.ByObject{&v1alpha1.AIAnalysis{}: {Transform: trim}},
	}
	if len(namespaces) > 0 {
		o.DefaultNamespaces = make(map[string]cache.Config, len(namespaces))
		for _, n := range namespaces {
			o.DefaultNamespaces[n] = cache.Config{}
		}
	}
	return o
}

// trim takes away what the controller never reads of a cached resource: who set which field, and of
// a finished analysis all but what its deletion needs. Clusters keep thousands of those.
func trim(obj any) (any, error) {
	a, ok := obj.(*v1alpha1.AIAnalysis)
	if !ok {
		return obj, nil
	}
	if a.Status.Phase.Terminal() {
		return finishedCopy(a), nil
	}
	a.ManagedFields = nil
	return a, nil
}

// finishedCopy returns what is kept of a finished analysis.
func finishedCopy(a *v1alpha1.AIAnalysis) *v1alpha1.AIAnalysis {
	kept := &v1alpha1.AIAnalysis{ObjectMeta: a.ObjectMeta}
	kept.ManagedFields, kept.Annotations, kept.Labels, kept.OwnerReferences = nil, nil, nil, nil
	kept.Spec.RemediationID = a.Spec.RemediationID
	kept.Status.Phase = a.Status.Phase
	return kept
}
