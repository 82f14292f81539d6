// Package v1alpha1 is version v1alpha1 of the API group kubernaut.ai: the AIAnalysis resource, its
// conditions and the reasons that its status carries.
//
// Every text, list and number of the status has a bound in the schema, and every enumeration lists
// all values that the controller writes, so that a status write is never refused. Lengths are in
// Unicode code points, as the API server counts them.
//
// +kubebuilder:object:generate=true
// +groupName=kubernaut.ai
package v1alpha1

//go:generate go tool -modfile=../../tools/go.mod controller-gen object paths=.
//go:generate go tool -modfile=../../tools/go.mod controller-gen crd:allowDangerousTypes=true paths=. output:crd:dir=../../deploy/crd
