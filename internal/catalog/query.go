package catalog

import (
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// topK is how many matches of one signal type are looked at.
const topK = 20

// Query returns what to ask the catalog for: workflows for a cause under one of its signal types.
// Every field is within what the catalog accepts, whatever the incident holds.
func Query(cause incident.Cause, in incident.Incident, signalType string) incident.WorkflowQuery {
	q := incident.WorkflowQuery{
		Labels:        wanted(cause, in),
		CustomLabels:  boundLabels(in.CustomLabels),
		TopK:          topK,
		RemediationID: in.RemediationID,
	}
	q.Labels.SignalType = cut(signalType, 255)
	if cause.Class != "" {
		q.CustomLabels[incident.LabelCauses] = []string{cut(string(cause.Class), 100)}
	}
	if t := known(in.DetectedLabels); concerns(cause.Target, in) {
		q.DetectedLabels = incident.WorkflowTraits{
			GitOpsManaged: t.GitOpsManaged, GitOpsTool: tool(t.GitOpsTool, "argocd", "flux"), PDBProtected: t.PDBProtected,
			HPAEnabled: t.HPAEnabled, Stateful: t.Stateful, HelmManaged: t.HelmManaged,
			NetworkIsolated: t.NetworkIsolated, ServiceMesh: tool(t.ServiceMesh, "istio", "linkerd"),
		}
	}
	return q
}

// SignalTypes returns the signal types under which to look for a cause: the cause's own, then the
// incident's.
func SignalTypes(cause incident.Cause, in incident.Incident) []string {
	var types []string
	for _, t := range append(slices.Clone(cause.SignalTypes), in.SignalType) {
		if t != "" && !slices.ContainsFunc(types, func(have string) bool { return strings.EqualFold(have, t) }) {
			types = append(types, t)
		}
	}
	return types
}

// wanted returns the labels that a workflow must have, but for the signal type.
func wanted(cause incident.Cause, in incident.Incident) incident.WorkflowLabels {
	severity := cause.Severity
	switch severity {
	case incident.SeverityCritical, incident.SeverityHigh, incident.SeverityMedium, incident.SeverityLow:
	default:
		severity = severityOf(in.Severity)
	}
	priority := strings.ToUpper(in.Priority)
	if !slices.Contains([]string{"P0", "P1", "P2", "P3"}, priority) {
		priority = map[incident.Severity]string{
			incident.SeverityCritical: "P0", incident.SeverityHigh: "P1", incident.SeverityMedium: "P2", incident.SeverityLow: "P3",
		}[severity]
	}
	return incident.WorkflowLabels{
		Severity: string(severity), Component: cut(component(cause.Target.Kind), 100),
		Environment: cut(nonEmpty(in.Environment, "unknown"), 100), Priority: priority,
	}
}

// severityOf reads the severity of a signal, whose vocabulary differs from that of causes.
func severityOf(signal string) incident.Severity {
	switch strings.ToLower(signal) {
	case "critical":
		return incident.SeverityCritical
	case "high", "error":
		return incident.SeverityHigh
	case "info", "low", "none":
		return incident.SeverityLow
	}
	return incident.SeverityMedium
}

// component is a kind as the catalog spells it.
func component(kind string) string {
	switch k := strings.ToLower(kind); k {
	case "":
		return "pod"
	case "replicaset":
		return "deployment"
	case "persistentvolumeclaim":
		return "pvc"
	case "persistentvolume":
		return "pv"
	default:
		return k
	}
}

// known clears the traits whose detection failed: their values say nothing.
func known(d incident.DetectedLabels) incident.DetectedLabels {
	for _, failed := range d.FailedDetections {
		switch failed {
		case "gitOpsManaged":
			d.GitOpsManaged, d.GitOpsTool = false, ""
		case "gitOpsTool":
			d.GitOpsTool = ""
		case "pdbProtected":
			d.PDBProtected = false
		case "hpaEnabled":
			d.HPAEnabled = false
		case "stateful":
			d.Stateful = false
		case "helmManaged":
			d.HelmManaged = false
		case "networkIsolated":
			d.NetworkIsolated = false
		case "serviceMesh":
			d.ServiceMesh = ""
		}
	}
	return d
}

// concerns reports whether the traits, which were detected on the incident's resource, say something
// about target too: an object of the same namespace is declared where the resource is. A node or a
// StorageClass is not.
func concerns(target incident.Ref, in incident.Incident) bool {
	return target.Namespace == in.Resource.Namespace || target.Same(in.Resource)
}

func tool(name string, known ...string) string {
	if slices.Contains(known, name) {
		return name
	}
	return ""
}

// boundLabels copies custom labels, leaving out what the catalog does not take. One key stays free.
func boundLabels(labels map[string][]string) map[string][]string {
	out := map[string][]string{}
	for _, key := range sortedKeys(labels) {
		if len(out) == incident.MaxCustomLabels-1 {
			break
		}
		if key == "" || len(key) > incident.MaxCustomLabelKey {
			continue
		}
		var values []string
		for _, v := range labels[key] {
			if v != "" && len(v) <= incident.MaxCustomLabelValue && len(values) < incident.MaxCustomLabelValues {
				values = append(values, v)
			}
		}
		if len(values) > 0 {
			out[key] = values
		}
	}
	return out
}

// cut shortens s to at most n bytes of valid UTF-8.
func cut(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

func nonEmpty(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
