// Package crd holds the CustomResourceDefinitions that ship.
package crd

import _ "embed"

//go:embed kubernaut.ai_aianalyses.yaml
var aianalyses []byte

// AIAnalysis returns the manifest of the AIAnalysis CustomResourceDefinition.
func AIAnalysis() []byte { return append([]byte(nil), aianalyses...) }
