package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of this package.
var GroupVersion = schema.GroupVersion{Group: "kubernaut.ai", Version: "v1alpha1"}

// Kind and Resource name AIAnalysis in GroupVersion.
const (
	Kind     = "AIAnalysis"
	Resource = "aianalyses"
)

// AddToScheme registers the types of this package with a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &AIAnalysis{}, &AIAnalysisList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
