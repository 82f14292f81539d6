package hapi

import (
	"slices"
	"time"

	"kubernaut.ai/kubernaut/internal/hapi/wire"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Defaults of a recovery request that leaves a field out.
const (
	defaultEnvironment      = "unknown"
	defaultPriority         = "P2"
	defaultRiskTolerance    = "medium"
	defaultBusinessCategory = "standard"
)

// incidentOf is the server's side of incidentRequest.
func incidentOf(r *wire.IncidentRequest) incident.Incident {
	in := incident.Incident{
		ID: r.IncidentID, RemediationID: r.RemediationID,
		SignalType: r.SignalType, Severity: r.Severity, SignalSource: r.SignalSource,
		Resource: incident.Ref{
			APIVersion: value(r.ResourceAPIVersion), Kind: r.ResourceKind, Namespace: r.ResourceNamespace,
			Name: r.ResourceName, UID: value(r.ResourceUID),
		},
		ErrorMessage: r.ErrorMessage, Description: value(r.Description), SignalLabels: r.SignalLabels, Fingerprint: value(r.Fingerprint),
		Environment: r.Environment, Priority: r.Priority, RiskTolerance: r.RiskTolerance,
		BusinessCategory: r.BusinessCategory, ClusterName: r.ClusterName,
	}
	enrich(&in, r.EnrichmentResults, r.OwnerChain)
	return in
}

// recoveryOf is the server's side of recoveryRequest.
func recoveryOf(r *wire.RecoveryRequest) incident.Incident {
	in := incident.Incident{
		ID: r.IncidentID, RemediationID: r.RemediationID,
		SignalType: value(r.SignalType), Severity: value(r.Severity), SignalSource: value(r.SignalSource),
		Resource: incident.Ref{
			APIVersion: value(r.ResourceAPIVersion), Kind: value(r.ResourceKind), Namespace: value(r.ResourceNamespace),
			Name: value(r.ResourceName), UID: value(r.ResourceUID),
		},
		ErrorMessage: value(r.ErrorMessage), Description: value(r.Description), SignalLabels: r.SignalLabels, Fingerprint: value(r.Fingerprint),
		Environment: valueOr(r.Environment, defaultEnvironment), Priority: valueOr(r.Priority, defaultPriority),
		RiskTolerance:    valueOr(r.RiskTolerance, defaultRiskTolerance),
		BusinessCategory: valueOr(r.BusinessCategory, defaultBusinessCategory),
		ClusterName:      value(r.ClusterName),
	}
	enrich(&in, r.EnrichmentResults, r.OwnerChain)
	in.Recovery = &incident.Recovery{Attempt: value(r.RecoveryAttemptNumber)}
	for _, p := range r.PreviousExecutions {
		if p != nil {
			in.Recovery.Previous = append(in.Recovery.Previous, executionOf(p))
		}
	}
	if last := r.PreviousExecution; last != nil && !slices.ContainsFunc(in.Recovery.Previous, func(e incident.Execution) bool {
		return e.Ref == last.WorkflowExecutionRef
	}) {
		in.Recovery.Previous = append(in.Recovery.Previous, executionOf(last))
	}
	return in
}

func enrich(in *incident.Incident, e *wire.EnrichmentResults, chain wire.OwnerChain) {
	if e != nil {
		if len(chain) == 0 {
			chain = e.OwnerChain
		}
		in.CustomLabels = e.CustomLabels
		in.KubernetesContext = e.KubernetesContext
		if d := e.DetectedLabels; d != nil {
			in.DetectedLabels = incident.DetectedLabels{
				GitOpsManaged: value(d.GitOpsManaged), GitOpsTool: value(d.GitOpsTool), PDBProtected: value(d.PDBProtected),
				HPAEnabled: value(d.HPAEnabled), Stateful: value(d.Stateful), HelmManaged: value(d.HelmManaged),
				NetworkIsolated: value(d.NetworkIsolated), ServiceMesh: value(d.ServiceMesh),
			}
			for _, f := range d.FailedDetections {
				in.DetectedLabels.FailedDetections = append(in.DetectedLabels.FailedDetections, string(f))
			}
		}
	}
	for _, o := range chain {
		in.OwnerChain = append(in.OwnerChain, incident.Ref{
			APIVersion: value(o.APIVersion), Kind: o.Kind, Namespace: value(o.Namespace), Name: o.Name, UID: value(o.UID),
		})
	}
}

func executionOf(p *wire.PreviousExecution) incident.Execution {
	rca, w, f := p.OriginalRCA, p.SelectedWorkflow, p.Failure
	e := incident.Execution{
		Ref: p.WorkflowExecutionRef,
		RootCause: incident.RootCause{
			Summary: rca.Summary, Severity: incident.Severity(rca.Severity), SignalType: rca.SignalType, Factors: rca.ContributingFactors,
			Target: refOf(rca.AffectedResource),
		},
		Workflow: incident.SelectedWorkflow{
			ID: w.WorkflowID, Title: value(w.Title), Version: w.Version, ContainerImage: w.ContainerImage,
			ContainerDigest: value(w.ContainerDigest), Confidence: value(w.Confidence), Rationale: w.Rationale, Parameters: w.Parameters,
		},
		Failure: incident.ExecutionFailure{
			StepIndex: f.FailedStepIndex, StepName: f.FailedStepName, Reason: f.Reason, Message: f.Message,
			ExitCode: f.ExitCode, ExecutionTime: f.ExecutionTime,
		},
	}
	if at, err := time.Parse(time.RFC3339Nano, f.FailedAt); err == nil {
		e.Failure.FailedAt = at.UTC()
	}
	return e
}

// incidentRequest is the body that asks for in to be investigated.
func incidentRequest(in incident.Incident) wire.IncidentRequest {
	return wire.IncidentRequest{
		IncidentID: in.ID, RemediationID: in.RemediationID,
		SignalType: in.SignalType, Severity: in.Severity, SignalSource: in.SignalSource,
		ResourceAPIVersion: optional(in.Resource.APIVersion), ResourceKind: in.Resource.Kind,
		ResourceNamespace: in.Resource.Namespace, ResourceName: in.Resource.Name, ResourceUID: optional(in.Resource.UID),
		ErrorMessage: in.ErrorMessage, Description: optional(in.Description), SignalLabels: in.SignalLabels, Fingerprint: optional(in.Fingerprint),
		Environment: in.Environment, Priority: in.Priority, RiskTolerance: in.RiskTolerance,
		BusinessCategory: in.BusinessCategory, ClusterName: in.ClusterName,
		EnrichmentResults: enrichment(in),
	}
}

// recoveryRequest is the body that asks for in, which has a Recovery, to be investigated again. The
// last execution is sent twice: older servers know it by previous_execution only.
func recoveryRequest(in incident.Incident) wire.RecoveryRequest {
	yes := true
	r := wire.RecoveryRequest{
		IncidentID: in.ID, RemediationID: in.RemediationID, IsRecoveryAttempt: &yes,
		SignalType: &in.SignalType, Severity: &in.Severity, SignalSource: &in.SignalSource,
		ResourceAPIVersion: optional(in.Resource.APIVersion), ResourceKind: &in.Resource.Kind,
		ResourceNamespace: &in.Resource.Namespace, ResourceName: &in.Resource.Name, ResourceUID: optional(in.Resource.UID),
		ErrorMessage: &in.ErrorMessage, Description: optional(in.Description), SignalLabels: in.SignalLabels, Fingerprint: optional(in.Fingerprint),
		Environment: &in.Environment, Priority: &in.Priority, RiskTolerance: &in.RiskTolerance,
		BusinessCategory: &in.BusinessCategory, ClusterName: &in.ClusterName,
		EnrichmentResults: enrichment(in),
	}
	if in.Recovery.Attempt > 0 {
		r.RecoveryAttemptNumber = &in.Recovery.Attempt
	}
	for _, e := range in.Recovery.Previous {
		p := previousExecution(e)
		r.PreviousExecutions = append(r.PreviousExecutions, &p)
		r.PreviousExecution = &p
	}
	return r
}

func enrichment(in incident.Incident) *wire.EnrichmentResults {
	d := in.DetectedLabels
	labels := &wire.DetectedLabels{
		GitOpsManaged: &d.GitOpsManaged, GitOpsTool: optional(d.GitOpsTool), PDBProtected: &d.PDBProtected,
		HPAEnabled: &d.HPAEnabled, Stateful: &d.Stateful, HelmManaged: &d.HelmManaged,
		NetworkIsolated: &d.NetworkIsolated, ServiceMesh: optional(d.ServiceMesh),
	}
	for _, f := range d.FailedDetections {
		labels.FailedDetections = append(labels.FailedDetections, wire.DetectedLabelsFailedDetections(f))
	}
	e := &wire.EnrichmentResults{KubernetesContext: in.KubernetesContext, DetectedLabels: labels, CustomLabels: in.CustomLabels}
	if len(in.OwnerChain) > 0 {
		chain := make(wire.OwnerChain, len(in.OwnerChain))
		for i, o := range in.OwnerChain {
			chain[i] = wire.Owner{
				APIVersion: optional(o.APIVersion), Kind: o.Kind, Namespace: optional(o.Namespace), Name: o.Name, UID: optional(o.UID),
			}
		}
		e.OwnerChain = chain
	}
	return e
}

func previousExecution(e incident.Execution) wire.PreviousExecution {
	w, f := e.Workflow, e.Failure
	p := wire.PreviousExecution{
		WorkflowExecutionRef: e.Ref,
		OriginalRCA: wire.OriginalRCA{
			Summary: e.RootCause.Summary, SignalType: e.RootCause.SignalType, Severity: string(e.RootCause.Severity),
			ContributingFactors: e.RootCause.Factors, AffectedResource: affectedResource(e.RootCause.Target),
		},
		SelectedWorkflow: wire.ExecutedWorkflow{
			WorkflowID: w.ID, Version: w.Version, ContainerImage: w.ContainerImage, ContainerDigest: optional(w.ContainerDigest),
			Title: optional(w.Title), Rationale: w.Rationale, Parameters: w.Parameters,
		},
		Failure: wire.ExecutionFailure{
			FailedStepIndex: f.StepIndex, FailedStepName: f.StepName, Reason: f.Reason, Message: f.Message,
			ExitCode: f.ExitCode, ExecutionTime: f.ExecutionTime,
		},
	}
	if w.Confidence != 0 {
		p.SelectedWorkflow.Confidence = &w.Confidence
	}
	if !f.FailedAt.IsZero() {
		p.Failure.FailedAt = f.FailedAt.UTC().Format(time.RFC3339Nano)
	}
	return p
}

func affectedResource(r *incident.Ref) *wire.AffectedResource {
	if r == nil {
		return nil
	}
	return &wire.AffectedResource{
		APIVersion: optional(r.APIVersion), Kind: r.Kind, Namespace: optional(r.Namespace), Name: r.Name, UID: optional(r.UID),
	}
}

func refOf(a *wire.AffectedResource) *incident.Ref {
	if a == nil {
		return nil
	}
	return &incident.Ref{
		APIVersion: value(a.APIVersion), Kind: a.Kind, Namespace: value(a.Namespace), Name: a.Name, UID: value(a.UID),
	}
}

// value returns what p points to, or the zero value.
func value[T any](p *T) T {
	var zero T
	return valueOr(p, zero)
}

func valueOr[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}
