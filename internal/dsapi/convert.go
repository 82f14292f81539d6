package dsapi

import (
	"bytes"
	"encoding/json"
	"fmt"

	"kubernaut.ai/kubernaut/internal/dsapi/internal/gen"
	"kubernaut.ai/kubernaut/internal/incident"
)

// workflowFromRequest returns the workflow to register and the faults of its parameters' wire form.
func workflowFromRequest(r gen.WorkflowRequest) (incident.Workflow, incident.FieldErrors) {
	parameters, faults := parametersFromWire(value(r.Parameters))
	return incident.Workflow{
		Name: r.WorkflowName, Version: r.Version, Title: r.Name, Description: r.Description, Owner: value(r.Owner),
		Maintainer: value(r.Maintainer), Content: r.Content, ContentHash: r.ContentHash, Parameters: parameters,
		ExecutionEngine: r.ExecutionEngine, ContainerImage: value(r.ContainerImage), ContainerDigest: value(r.ContainerDigest),
		Labels: labelsFromWire(r.Labels), CustomLabels: value(r.CustomLabels),
		DetectedLabels: traitsFromWire(value(r.DetectedLabels)), Status: incident.WorkflowStatus(r.Status),
		StatusReason: value(r.StatusReason), PreviousVersion: value(r.PreviousVersion),
		DeprecationNotice: value(r.DeprecationNotice), VersionNotes: value(r.VersionNotes),
		ChangeSummary: value(r.ChangeSummary), ApprovedBy: value(r.ApprovedBy), ApprovedAt: r.ApprovedAt,
		ExpectedSuccessRate: r.ExpectedSuccessRate, ExpectedDurationSeconds: r.ExpectedDurationSeconds,
		CreatedBy: value(r.CreatedBy),
	}, faults
}

// workflowToRequest is the wire form of a workflow to register.
func workflowToRequest(w incident.Workflow) gen.WorkflowRequest {
	return gen.WorkflowRequest{
		WorkflowName: w.Name, Version: w.Version, Name: w.Title, Description: w.Description, Owner: optional(w.Owner),
		Maintainer: optional(w.Maintainer), Content: w.Content, ContentHash: w.ContentHash,
		Parameters: parametersToWire(w.Parameters), ExecutionEngine: w.ExecutionEngine,
		ContainerImage: optional(w.ContainerImage), ContainerDigest: optional(w.ContainerDigest), Labels: labelsToWire(w.Labels),
		CustomLabels: customToWire(w.CustomLabels), DetectedLabels: traitsToWire(w.DetectedLabels),
		Status: gen.WorkflowStatus(w.Status), StatusReason: optional(w.StatusReason),
		PreviousVersion: optional(w.PreviousVersion), DeprecationNotice: optional(w.DeprecationNotice),
		VersionNotes: optional(w.VersionNotes), ChangeSummary: optional(w.ChangeSummary), ApprovedBy: optional(w.ApprovedBy),
		ApprovedAt: w.ApprovedAt, ExpectedSuccessRate: w.ExpectedSuccessRate,
		ExpectedDurationSeconds: w.ExpectedDurationSeconds, CreatedBy: optional(w.CreatedBy),
	}
}

func workflowToWire(w incident.Workflow) gen.Workflow {
	custom := gen.CustomLabels(w.CustomLabels)
	if custom == nil {
		custom = gen.CustomLabels{}
	}
	return gen.Workflow{
		WorkflowId: w.ID, WorkflowName: w.Name, Version: w.Version, Name: w.Title, Description: w.Description,
		Owner: optional(w.Owner), Maintainer: optional(w.Maintainer), Content: w.Content, ContentHash: w.ContentHash,
		Parameters: parametersToWire(w.Parameters), ExecutionEngine: w.ExecutionEngine,
		ContainerImage: optional(w.ContainerImage), ContainerDigest: optional(w.ContainerDigest), Labels: labelsToWire(w.Labels),
		CustomLabels: custom, DetectedLabels: value(traitsToWire(w.DetectedLabels)), Status: gen.WorkflowStatus(w.Status),
		StatusReason: optional(w.StatusReason), DisabledAt: w.DisabledAt, DisabledBy: optional(w.DisabledBy),
		DisabledReason: optional(w.DisabledReason), IsLatestVersion: w.IsLatest, PreviousVersion: optional(w.PreviousVersion),
		DeprecationNotice: optional(w.DeprecationNotice), VersionNotes: optional(w.VersionNotes),
		ChangeSummary: optional(w.ChangeSummary), ApprovedBy: optional(w.ApprovedBy), ApprovedAt: w.ApprovedAt,
		ExpectedSuccessRate: w.ExpectedSuccessRate, ExpectedDurationSeconds: w.ExpectedDurationSeconds,
		ActualSuccessRate: w.ActualSuccessRate, TotalExecutions: w.TotalExecutions,
		SuccessfulExecutions: w.SuccessfulExecutions, CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt,
		CreatedBy: optional(w.CreatedBy), UpdatedBy: optional(w.UpdatedBy),
	}
}

func workflowsToWire(in []incident.Workflow) []gen.Workflow {
	out := make([]gen.Workflow, len(in))
	for i, w := range in {
		out[i] = workflowToWire(w)
	}
	return out
}

func workflowFromWire(w gen.Workflow) (incident.Workflow, error) {
	parameters, faults := parametersFromWire(value(w.Parameters))
	if len(faults) > 0 {
		return incident.Workflow{}, faults
	}
	custom := map[string][]string(w.CustomLabels)
	if len(custom) == 0 {
		custom = nil
	}
	return incident.Workflow{
		ID: w.WorkflowId, Name: w.WorkflowName, Version: w.Version, Title: w.Name, Description: w.Description,
		Owner: value(w.Owner), Maintainer: value(w.Maintainer), Content: w.Content, ContentHash: w.ContentHash,
		Parameters: parameters, ExecutionEngine: w.ExecutionEngine, ContainerImage: value(w.ContainerImage),
		ContainerDigest: value(w.ContainerDigest), Labels: labelsFromWire(w.Labels), CustomLabels: custom,
		DetectedLabels: traitsFromWire(w.DetectedLabels), Status: incident.WorkflowStatus(w.Status),
		StatusReason: value(w.StatusReason), DisabledAt: w.DisabledAt, DisabledBy: value(w.DisabledBy),
		DisabledReason: value(w.DisabledReason), IsLatest: w.IsLatestVersion, PreviousVersion: value(w.PreviousVersion),
		DeprecationNotice: value(w.DeprecationNotice), VersionNotes: value(w.VersionNotes),
		ChangeSummary: value(w.ChangeSummary), ApprovedBy: value(w.ApprovedBy), ApprovedAt: w.ApprovedAt,
		ExpectedSuccessRate: w.ExpectedSuccessRate, ExpectedDurationSeconds: w.ExpectedDurationSeconds,
		ActualSuccessRate: w.ActualSuccessRate, TotalExecutions: w.TotalExecutions,
		SuccessfulExecutions: w.SuccessfulExecutions, CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt,
		CreatedBy: value(w.CreatedBy), UpdatedBy: value(w.UpdatedBy),
	}, nil
}

func labelsFromWire(l gen.WorkflowLabels) incident.WorkflowLabels {
	return incident.WorkflowLabels{
		SignalType: l.SignalType, Severity: string(l.Severity), Component: l.Component, Environment: l.Environment,
		Priority: string(l.Priority),
	}
}

func labelsToWire(l incident.WorkflowLabels) gen.WorkflowLabels {
	return gen.WorkflowLabels{
		SignalType: l.SignalType, Severity: gen.WorkflowLabelsSeverity(l.Severity), Component: l.Component,
		Environment: l.Environment, Priority: gen.WorkflowLabelsPriority(l.Priority),
	}
}

func customToWire(labels map[string][]string) *gen.CustomLabels {
	if len(labels) == 0 {
		return nil
	}
	custom := gen.CustomLabels(labels)
	return &custom
}

func traitsFromWire(t gen.DetectedLabels) incident.WorkflowTraits {
	return incident.WorkflowTraits{
		FailedDetections: value(t.FailedDetections), GitOpsManaged: value(t.GitOpsManaged),
		GitOpsTool: string(value(t.GitOpsTool)), PDBProtected: value(t.PdbProtected), HPAEnabled: value(t.HpaEnabled),
		Stateful: value(t.Stateful), HelmManaged: value(t.HelmManaged), NetworkIsolated: value(t.NetworkIsolated),
		ServiceMesh: string(value(t.ServiceMesh)),
	}
}

func traitsToWire(t incident.WorkflowTraits) *gen.DetectedLabels {
	w := gen.DetectedLabels{
		GitOpsManaged: optional(t.GitOpsManaged), GitOpsTool: optional(gen.DetectedLabelsGitOpsTool(t.GitOpsTool)),
		PdbProtected: optional(t.PDBProtected), HpaEnabled: optional(t.HPAEnabled), Stateful: optional(t.Stateful),
		HelmManaged: optional(t.HelmManaged), NetworkIsolated: optional(t.NetworkIsolated),
		ServiceMesh: optional(gen.DetectedLabelsServiceMesh(t.ServiceMesh)),
	}
	if len(t.FailedDetections) > 0 {
		w.FailedDetections = &t.FailedDetections
	}
	return &w
}

func matchToWire(m incident.WorkflowMatch) gen.WorkflowSearchResult {
	w := gen.WorkflowSearchResult{
		WorkflowId: m.WorkflowID, Title: m.Title, Description: m.Description, SignalType: m.SignalType,
		ContainerImage: optional(m.ContainerImage), ContainerDigest: optional(m.ContainerDigest), Confidence: m.Score,
		FinalScore: m.Score, LabelBoost: m.LabelBoost, LabelPenalty: m.LabelPenalty, Rank: m.Rank,
		CustomLabels: customToWire(m.CustomLabels),
	}
	if traits := traitsToWire(m.DetectedLabels); *traits != (gen.DetectedLabels{}) {
		w.DetectedLabels = traits
	}
	return w
}

func matchFromWire(w gen.WorkflowSearchResult) incident.WorkflowMatch {
	return incident.WorkflowMatch{
		WorkflowID: w.WorkflowId, Title: w.Title, Description: w.Description, SignalType: w.SignalType,
		ContainerImage: value(w.ContainerImage), ContainerDigest: value(w.ContainerDigest), Score: w.FinalScore,
		LabelBoost: w.LabelBoost, LabelPenalty: w.LabelPenalty, Rank: w.Rank, CustomLabels: value(w.CustomLabels),
		DetectedLabels: traitsFromWire(value(w.DetectedLabels)),
	}
}

// wireParameter is a parameter as clients write it: defaults and enumerated values may be of the
// parameter's own type.
type wireParameter struct {
	incident.Parameter
	Default json.RawMessage   `json:"default"`
	Enum    []json.RawMessage `json:"enum"`
}

// parameterTypes are the other names of types that are understood.
var parameterTypes = map[string]string{
	"integer": incident.ParameterInt, "number": incident.ParameterFloat, "boolean": incident.ParameterBool,
}

// parametersFromWire reads {"schema":{"parameters":[…]}}. Nothing, null and an object without a
// schema's parameters are no parameters; any other object is a fault.
func parametersFromWire(text json.RawMessage) ([]incident.Parameter, incident.FieldErrors) {
	const field = "parameters"
	text = bytes.TrimSpace(text)
	if len(text) == 0 || string(text) == "null" || string(text) == "{}" {
		return nil, nil
	}
	var wire struct {
		Schema *struct {
			Parameters []wireParameter `json:"parameters"`
		} `json:"schema"`
	}
	if err := json.Unmarshal(text, &wire); err != nil || wire.Schema == nil {
		return nil, incident.FieldErrors{{Field: field, Rule: `must have the form {"schema":{"parameters":[{"name":…,"type":…}]}}`}}
	}
	var faults incident.FieldErrors
	var parameters []incident.Parameter
	for i, w := range wire.Schema.Parameters {
		p := w.Parameter
		if name, ok := parameterTypes[p.Type]; ok {
			p.Type = name
		}
		at := func(name string) string { return fmt.Sprintf("parameters.schema.parameters[%d].%s", i, name) }
		var ok bool
		if p.Default, ok = scalarText(w.Default); !ok {
			faults.Add(at("default"), "must be a string, a number or a boolean")
		}
		p.Enum = nil
		for _, entry := range w.Enum {
			text, ok := scalarText(entry)
			if !ok {
				faults.Add(at("enum"), "must hold strings, numbers or booleans")
				break
			}
			p.Enum = append(p.Enum, text)
		}
		parameters = append(parameters, p)
	}
	return parameters, faults
}

// scalarText returns the text of a JSON string, and the JSON of a number or boolean.
func scalarText(text json.RawMessage) (string, bool) {
	switch {
	case len(text) == 0 || string(text) == "null":
		return "", true
	case text[0] == '"':
		var s string
		return s, json.Unmarshal(text, &s) == nil
	case text[0] == '{' || text[0] == '[':
		return "", false
	}
	return string(text), true
}

func parametersToWire(parameters []incident.Parameter) *json.RawMessage {
	if len(parameters) == 0 {
		return nil
	}
	text, err := json.Marshal(map[string]any{"schema": map[string]any{"parameters": parameters}})
	if err != nil {
		panic(err) // finite numbers and text
	}
	raw := json.RawMessage(text)
	return &raw
}
