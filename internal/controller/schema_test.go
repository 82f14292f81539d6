package controller

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/api/v1alpha1"
)

var crdFile = filepath.Join("..", "..", "deploy", "crd", "kubernaut.ai_aianalyses.yaml")

// statusSchema is the schema of the status as the API server validates it.
var statusSchema = sync.OnceValues(func() (*validate.SchemaValidator, error) {
	manifest, err := os.ReadFile(crdFile)
	if err != nil {
		return nil, err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(manifest, &crd); err != nil {
		return nil, err
	}
	status := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"]
	b, err := json.Marshal(status)
	if err != nil {
		return nil, err
	}
	var schema spec.Schema
	if err := json.Unmarshal(b, &schema); err != nil {
		return nil, err
	}
	return validate.NewSchemaValidator(&schema, nil, "status", strfmt.Default), nil
})

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// checkStored fails the test when the API server would refuse the status, or when it is too large.
func checkStored(t tb, s *v1alpha1.AIAnalysisStatus) {
	t.Helper()
	validator, err := statusSchema()
	if err != nil {
		t.Fatalf("schema of the status: %v", err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatalf("the status is not JSON: %v", err)
	}
	if len(b) > maxStatusBytes {
		t.Errorf("the status has %d bytes, more than %d", len(b), maxStatusBytes)
	}
	var document any
	if err := json.Unmarshal(b, &document); err != nil {
		t.Fatalf("the status is not JSON: %v", err)
	}
	for _, e := range validator.Validate(document).Errors {
		t.Errorf("the schema refuses the status: %v", e)
	}
}

func TestSchemaRefusesWhatIsOutOfBounds(t *testing.T) {
	valid := func() *v1alpha1.AIAnalysisStatus { return &v1alpha1.AIAnalysisStatus{Phase: v1alpha1.PhasePending} }
	for name, spoil := range map[string]func(*v1alpha1.AIAnalysisStatus){
		"phase":      func(s *v1alpha1.AIAnalysisStatus) { s.Phase = "Elsewhere" },
		"sub-reason": func(s *v1alpha1.AIAnalysisStatus) { s.SubReason = "Elsewhere" },
		"confidence": func(s *v1alpha1.AIAnalysisStatus) {
			s.SelectedWorkflow = &v1alpha1.SelectedWorkflow{Confidence: 1.01}
		},
		"message": func(s *v1alpha1.AIAnalysisStatus) { s.Message = string(make([]byte, maxMessage+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := valid()
			checkStored(t, s)
			spoil(s)
			var r refusals
			checkStored(&r, s)
			if r.n == 0 {
				t.Error("got no refusal: the schema of this test is not the API server's")
			}
		})
	}
}

// refusals counts failures instead of failing.
type refusals struct{ n int }

func (*refusals) Helper()                 {}
func (r *refusals) Errorf(string, ...any) { r.n++ }
func (r *refusals) Fatalf(string, ...any) { r.n++ }
