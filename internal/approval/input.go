package approval

import (
	"math"
	"strconv"

	"github.com/open-policy-agent/opa/v1/ast"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Input is what the policy decides on. Every field becomes a key of the policy's input document,
// which holds all keys always; the names are those of the comments.
type Input struct {
	SignalType       string       // signal_type
	Severity         string       // severity, as the signal's source put it
	Environment      string       // environment
	BusinessPriority string       // business_priority
	TargetResource   incident.Ref // target_resource {kind, name, namespace}

	// DetectedLabels gives detected_labels and failed_detections. nil means that nothing was
	// detected: then detected_labels is an empty object.
	DetectedLabels *incident.DetectedLabels
	CustomLabels   map[string][]string // custom_labels

	// Confidence in the chosen workflow, 0 to 1, gives confidence and confidence_known. nil, NaN and
	// infinities mean that it is not known: then confidence is 0.
	Confidence *float64
	// TargetInOwnerChain gives target_in_owner_chain, which is false when it is nil: not checked.
	TargetInOwnerChain *bool
	Warnings           []string // warnings

	IsRecoveryAttempt     bool // is_recovery_attempt
	RecoveryAttemptNumber int  // recovery_attempt_number

	// GapsTouchingCause (gaps_touching_cause) counts what could not be read and might have changed
	// the cause that was found.
	GapsTouchingCause int
	WorkflowID        string            // workflow_id
	RootCauseSeverity incident.Severity // root_cause_severity
}

// document returns the input document. Lists are empty when there is nothing in them, never null,
// so that a policy may count them.
func (in Input) document() ast.Value {
	confidence := 0.0
	known := in.Confidence != nil && !math.IsNaN(*in.Confidence) && !math.IsInf(*in.Confidence, 0)
	if known {
		confidence = *in.Confidence
	}
	detected, failed := emptyObject(), emptyList()
	if l := in.DetectedLabels; l != nil {
		failed = list(l.FailedDetections)
		detected = ast.ObjectTerm(
			pair("git_ops_managed", truth(l.GitOpsManaged)),
			pair("git_ops_tool", text(l.GitOpsTool)),
			pair("pdb_protected", truth(l.PDBProtected)),
			pair("hpa_enabled", truth(l.HPAEnabled)),
			pair("stateful", truth(l.Stateful)),
			pair("helm_managed", truth(l.HelmManaged)),
			pair("network_isolated", truth(l.NetworkIsolated)),
			pair("service_mesh", text(l.ServiceMesh)),
		)
	}
	custom := emptyObject()
	if len(in.CustomLabels) > 0 {
		pairs := make([][2]*ast.Term, 0, len(in.CustomLabels))
		for name, values := range in.CustomLabels {
			pairs = append(pairs, pair(name, list(values)))
		}
		custom = ast.ObjectTerm(pairs...)
	}
	return ast.NewObject(
		pair("signal_type", text(in.SignalType)),
		pair("severity", text(in.Severity)),
		pair("environment", text(in.Environment)),
		pair("business_priority", text(in.BusinessPriority)),
		pair("target_resource", ast.ObjectTerm(
			pair("kind", text(in.TargetResource.Kind)),
			pair("name", text(in.TargetResource.Name)),
			pair("namespace", text(in.TargetResource.Namespace)),
		)),
		pair("detected_labels", detected),
		pair("failed_detections", failed),
		pair("custom_labels", custom),
		pair("confidence", number(confidence)),
		pair("confidence_known", truth(known)),
		pair("target_in_owner_chain", truth(in.TargetInOwnerChain != nil && *in.TargetInOwnerChain)),
		pair("warnings", list(in.Warnings)),
		pair("is_recovery_attempt", truth(in.IsRecoveryAttempt)),
		pair("recovery_attempt_number", ast.InternedTerm(in.RecoveryAttemptNumber)),
		pair("gaps_touching_cause", ast.InternedTerm(in.GapsTouchingCause)),
		pair("workflow_id", text(in.WorkflowID)),
		pair("root_cause_severity", text(string(in.RootCauseSeverity))),
	)
}

// inputSchema is the JSON schema of the input document. A policy that reads a key that is not in it
// does not compile: such a key is always undefined, which is a misspelling or worse. Two lists may be
// null for policies that were written when they could be.
const inputSchema = `{
  "type": "object",
  "properties": {
    "signal_type": {"type": "string"},
    "severity": {"type": "string"},
    "environment": {"type": "string"},
    "business_priority": {"type": "string"},
    "target_resource": {
      "type": "object",
      "properties": {"kind": {"type": "string"}, "name": {"type": "string"}, "namespace": {"type": "string"}},
      "additionalProperties": false
    },
    "detected_labels": {
      "type": "object",
      "properties": {
        "git_ops_managed": {"type": "boolean"},
        "git_ops_tool": {"type": "string"},
        "pdb_protected": {"type": "boolean"},
        "hpa_enabled": {"type": "boolean"},
        "stateful": {"type": "boolean"},
        "helm_managed": {"type": "boolean"},
        "network_isolated": {"type": "boolean"},
        "service_mesh": {"type": "string"}
      },
      "additionalProperties": false
    },
    "failed_detections": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
    "custom_labels": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
    "confidence": {"type": "number"},
    "confidence_known": {"type": "boolean"},
    "target_in_owner_chain": {"type": "boolean"},
    "warnings": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
    "is_recovery_attempt": {"type": "boolean"},
    "recovery_attempt_number": {"type": "number"},
    "gaps_touching_cause": {"type": "number"},
    "workflow_id": {"type": "string"},
    "root_cause_severity": {"type": "string"}
  },
  "additionalProperties": false
}`

func pair(name string, value *ast.Term) [2]*ast.Term {
	return [2]*ast.Term{ast.InternedTerm(name), value}
}

func text(s string) *ast.Term { return ast.InternedTerm(s) }

func truth(b bool) *ast.Term { return ast.InternedTerm(b) }

// number writes a float as JSON does, so that 0.9 is the number that a policy calls 0.9.
func number(f float64) *ast.Term {
	return ast.NewTerm(ast.Number(strconv.FormatFloat(f, 'g', -1, 64)))
}

func list(values []string) *ast.Term {
	if len(values) == 0 {
		return emptyList()
	}
	terms := make([]*ast.Term, len(values))
	for i, v := range values {
		terms[i] = text(v)
	}
	return ast.ArrayTerm(terms...)
}

func emptyList() *ast.Term { return ast.InternedEmptyArray }

func emptyObject() *ast.Term { return ast.InternedEmptyObject }
