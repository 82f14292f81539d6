package controller

import (
	"encoding/json"
	"fmt"
	"strings"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/approval"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Values of fields that the spec does not carry and that no custom label gives.
const (
	signalSource            = "kubernaut"
	defaultRiskTolerance    = "medium"
	defaultBusinessCategory = "standard"
	defaultClusterName      = "default"
)

// incidentOf returns the incident that a resource describes. It is the same for the same spec, so
// that a repeated request is the same request.
func incidentOf(a *v1alpha1.AIAnalysis) incident.Incident {
	signal := &a.Spec.AnalysisRequest.SignalContext
	enrichment := &signal.EnrichmentResults
	in := incident.Incident{
		ID:            incidentID(a),
		RemediationID: a.Spec.RemediationID,
		SignalType:    signal.SignalType,
		Severity:      signal.Severity,
		SignalSource:  signalSource,
		Resource: incident.Ref{
			Kind: signal.TargetResource.Kind, Namespace: signal.TargetResource.Namespace, Name: signal.TargetResource.Name,
		},
		ErrorMessage:      errorMessage(enrichment.KubernetesContext),
		Fingerprint:       signal.Fingerprint,
		Environment:       signal.Environment,
		Priority:          signal.BusinessPriority,
		RiskTolerance:     firstLabel(enrichment, "risk_tolerance", defaultRiskTolerance),
		BusinessCategory:  firstLabel(enrichment, "business_category", defaultBusinessCategory),
		ClusterName:       firstLabel(enrichment, "cluster_name", defaultClusterName),
		CustomLabels:      enrichment.CustomLabels,
		KubernetesContext: contextDocument(enrichment.KubernetesContext),
	}
	if d := detectedLabels(enrichment.DetectedLabels); d != nil {
		in.DetectedLabels = *d
	}
	for _, o := range enrichment.OwnerChain {
		in.OwnerChain = append(in.OwnerChain, incident.Ref{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name})
	}
	if a.Spec.IsRecoveryAttempt {
		in.Recovery = &incident.Recovery{Attempt: a.Spec.RecoveryAttemptNumber}
		for i := range a.Spec.PreviousExecutions {
			in.Recovery.Previous = append(in.Recovery.Previous, execution(&a.Spec.PreviousExecutions[i]))
		}
	}
	return in
}

// incidentID is "namespace/name", which is unique among the resources that exist, or the UID where
// that is too long.
func incidentID(a *v1alpha1.AIAnalysis) string {
	if id := a.Namespace + "/" + a.Name; len(id) <= maxName {
		return id
	}
	return string(a.UID)
}

// errorMessage says in a line what the pod's containers report.
func errorMessage(k *v1alpha1.KubernetesContext) string {
	if k == nil || k.PodDetails == nil {
		return ""
	}
	var parts []string
	for _, c := range k.PodDetails.Containers {
		if !c.Ready {
			parts = append(parts, fmt.Sprintf("container %s is not ready: %s, restarted %d times", c.Name, c.State, c.RestartCount))
		}
	}
	return text(strings.Join(parts, "; "), maxLine)
}

func firstLabel(e *v1alpha1.EnrichmentResults, name, otherwise string) string {
	if values := e.CustomLabels[name]; len(values) > 0 {
		return values[0]
	}
	return otherwise
}

// contextDocument returns the context as decoded JSON, nil for none.
func contextDocument(k *v1alpha1.KubernetesContext) map[string]any {
	if k == nil {
		return nil
	}
	var document map[string]any
	b, err := json.Marshal(k)
	if err != nil || json.Unmarshal(b, &document) != nil {
		return nil // texts and integers always survive the way through JSON
	}
	return document
}

func detectedLabels(d *v1alpha1.DetectedLabels) *incident.DetectedLabels {
	if d == nil {
		return nil
	}
	return &incident.DetectedLabels{
		FailedDetections: d.FailedDetections,
		GitOpsManaged:    d.GitOpsManaged,
		GitOpsTool:       d.GitOpsTool,
		PDBProtected:     d.PDBProtected,
		HPAEnabled:       d.HPAEnabled,
		Stateful:         d.Stateful,
		HelmManaged:      d.HelmManaged,
		NetworkIsolated:  d.NetworkIsolated,
		ServiceMesh:      d.ServiceMesh,
	}
}

func execution(p *v1alpha1.PreviousExecution) incident.Execution {
	return incident.Execution{
		Ref: p.WorkflowExecutionRef,
		RootCause: incident.RootCause{
			Summary:    p.OriginalRCA.Summary,
			Severity:   incident.Severity(p.OriginalRCA.Severity),
			SignalType: p.OriginalRCA.SignalType,
			Factors:    p.OriginalRCA.ContributingFactors,
		},
		Workflow: incident.SelectedWorkflow{
			ID:             p.SelectedWorkflow.WorkflowID,
			Version:        p.SelectedWorkflow.Version,
			ContainerImage: p.SelectedWorkflow.ContainerImage,
			Rationale:      p.SelectedWorkflow.Rationale,
			Parameters:     p.SelectedWorkflow.Parameters,
		},
		Failure: incident.ExecutionFailure{
			StepIndex:     p.Failure.FailedStepIndex,
			StepName:      p.Failure.FailedStepName,
			Reason:        p.Failure.Reason,
			Message:       p.Failure.Message,
			ExitCode:      p.Failure.ExitCode,
			FailedAt:      p.Failure.FailedAt.UTC(),
			ExecutionTime: p.Failure.ExecutionTime,
		},
	}
}

// policyInput is what the approval policy decides on. It reads the investigation from the status,
// so that it is the same after a restart.
func policyInput(a *v1alpha1.AIAnalysis) approval.Input {
	signal := &a.Spec.AnalysisRequest.SignalContext
	status := &a.Status
	in := approval.Input{
		SignalType:       signal.SignalType,
		Severity:         signal.Severity,
		Environment:      signal.Environment,
		BusinessPriority: signal.BusinessPriority,
		TargetResource: incident.Ref{
			Kind: signal.TargetResource.Kind, Namespace: signal.TargetResource.Namespace, Name: signal.TargetResource.Name,
		},
		DetectedLabels:        detectedLabels(signal.EnrichmentResults.DetectedLabels),
		CustomLabels:          signal.EnrichmentResults.CustomLabels,
		TargetInOwnerChain:    status.TargetInOwnerChain,
		Warnings:              status.Warnings,
		IsRecoveryAttempt:     a.Spec.IsRecoveryAttempt,
		RecoveryAttemptNumber: a.Spec.RecoveryAttemptNumber,
	}
	if wf := status.SelectedWorkflow; wf != nil {
		in.Confidence, in.WorkflowID = &wf.Confidence, wf.WorkflowID
	}
	if status.RootCauseAnalysis != nil {
		in.RootCauseSeverity = incident.Severity(status.RootCauseAnalysis.Severity)
	}
	for _, g := range status.Gaps {
		if g.TouchesCause {
			in.GapsTouchingCause++
		}
	}
	return in
}
