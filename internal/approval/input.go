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
			[2]*ast.Term{keyGitOpsManaged, truth(l.GitOpsManaged)},
			[2]*ast.Term{keyGitOpsTool, text(l.GitOpsTool)},
			[2]*ast.Term{keyPDBProtected, truth(l.PDBProtected)},
			[2]*ast.Term{keyHPAEnabled, truth(l.HPAEnabled)},
			[2]*ast.Term{keyStateful, truth(l.Stateful)},
			[2]*ast.Term{keyHelmManaged, truth(l.HelmManaged)},
			[2]*ast.Term{keyNetworkIsolated, truth(l.NetworkIsolated)},
			[2]*ast.Term{keyServiceMesh, text(l.ServiceMesh)},
		)
	}
	custom := emptyObject()
	if len(in.CustomLabels) > 0 {
		pairs := make([][2]*ast.Term, 0, len(in.CustomLabels))
		for name, values := range in.CustomLabels {
			pairs = append(pairs, [2]*ast.Term{text(name), list(values)})
		}
		custom = ast.ObjectTerm(pairs...)
	}
	return ast.NewObject(
		[2]*ast.Term{keySignalType, text(in.SignalType)},
		[2]*ast.Term{keySeverity, text(in.Severity)},
		[2]*ast.Term{keyEnvironment, text(in.Environment)},
		[2]*ast.Term{keyBusinessPriority, text(in.BusinessPriority)},
		[2]*ast.Term{keyTargetResource, ast.ObjectTerm(
			[2]*ast.Term{keyKind, text(in.TargetResource.Kind)},
			[2]*ast.Term{keyName, text(in.TargetResource.Name)},
			[2]*ast.Term{keyNamespace, text(in.TargetResource.Namespace)},
		)},
		[2]*ast.Term{keyDetectedLabels, detected},
		[2]*ast.Term{keyFailedDetections, failed},
		[2]*ast.Term{keyCustomLabels, custom},
		[2]*ast.Term{keyConfidence, number(confidence)},
		[2]*ast.Term{keyConfidenceKnown, truth(known)},
		[2]*ast.Term{keyTargetInOwnerChain, truth(in.TargetInOwnerChain != nil && *in.TargetInOwnerChain)},
		[2]*ast.Term{keyWarnings, list(in.Warnings)},
		[2]*ast.Term{keyIsRecoveryAttempt, truth(in.IsRecoveryAttempt)},
		[2]*ast.Term{keyRecoveryAttemptNumber, ast.InternedTerm(in.RecoveryAttemptNumber)},
		[2]*ast.Term{keyGapsTouchingCause, ast.InternedTerm(in.GapsTouchingCause)},
		[2]*ast.Term{keyWorkflowID, text(in.WorkflowID)},
		[2]*ast.Term{keyRootCauseSeverity, text(string(in.RootCauseSeverity))},
	)
}

// The keys of the input document. Terms are never written to, so all documents share them; making
// them anew would cost as much as all the values.
var (
	keySignalType            = ast.StringTerm("signal_type")
	keySeverity              = ast.StringTerm("severity")
	keyEnvironment           = ast.StringTerm("environment")
	keyBusinessPriority      = ast.StringTerm("business_priority")
	keyTargetResource        = ast.StringTerm("target_resource")
	keyKind                  = ast.StringTerm("kind")
	keyName                  = ast.StringTerm("name")
	keyNamespace             = ast.StringTerm("namespace")
	keyDetectedLabels        = ast.StringTerm("detected_labels")
	keyGitOpsManaged         = ast.StringTerm("git_ops_managed")
	keyGitOpsTool            = ast.StringTerm("git_ops_tool")
	keyPDBProtected          = ast.StringTerm("pdb_protected")
	keyHPAEnabled            = ast.StringTerm("hpa_enabled")
	keyStateful              = ast.StringTerm("stateful")
	keyHelmManaged           = ast.StringTerm("helm_managed")
	keyNetworkIsolated       = ast.StringTerm("network_isolated")
	keyServiceMesh           = ast.StringTerm("service_mesh")
	keyFailedDetections      = ast.StringTerm("failed_detections")
	keyCustomLabels          = ast.StringTerm("custom_labels")
	keyConfidence            = ast.StringTerm("confidence")
	keyConfidenceKnown       = ast.StringTerm("confidence_known")
	keyTargetInOwnerChain    = ast.StringTerm("target_in_owner_chain")
	keyWarnings              = ast.StringTerm("warnings")
	keyIsRecoveryAttempt     = ast.StringTerm("is_recovery_attempt")
	keyRecoveryAttemptNumber = ast.StringTerm("recovery_attempt_number")
	keyGapsTouchingCause     = ast.StringTerm("gaps_touching_cause")
	keyWorkflowID            = ast.StringTerm("workflow_id")
	keyRootCauseSeverity     = ast.StringTerm("root_cause_severity")
)

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
