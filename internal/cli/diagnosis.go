package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	builtincatalog "kubernaut.ai/kubernaut/deploy/catalog"
	"kubernaut.ai/kubernaut/internal/catalog"
	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/investigate"
	"kubernaut.ai/kubernaut/internal/observe/recorded"
	"kubernaut.ai/kubernaut/internal/store"
)

// diagnosisKind is the kind of the document that analyze -o json writes, in the version of the API.
const diagnosisKind = "Diagnosis"

// diagnosis is the outcome of an analysis as a document. The same bundle and incident always give the same
// bytes.
type diagnosis struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Incident   incidentDoc `json:"incident"`
	Read       readDoc     `json:"read"`
	diagnose.Result
	// ManagedBy names who declares the cause's target, and would undo a change made behind its back.
	ManagedBy []string `json:"managedBy,omitempty"`
	// Workflow is what the built-in catalog proposes.
	Workflow   *workflowDoc         `json:"workflow,omitempty"`
	Candidates []incident.Candidate `json:"candidates,omitempty"`
	// Recording is set when the snapshot was pieced together from files.
	Recording *recordingDoc `json:"recording,omitempty"`
}

// incidentDoc is what was asked.
type incidentDoc struct {
	Resource   incident.Ref `json:"resource"`
	SignalType string       `json:"signalType,omitempty"`
	// Environment is production, staging, …: how bad it is, and which workflows may run, depend on it.
	Environment string `json:"environment,omitempty"`
	Alert       string `json:"alert,omitempty"`
}

func (d incidentDoc) incident() incident.Incident {
	return incident.Incident{Resource: d.Resource, SignalType: d.SignalType, Environment: d.Environment, ErrorMessage: d.Alert}
}

// readDoc says what the diagnosis rests on.
type readDoc struct {
	Bundle     string    `json:"bundle"` // digest
	ObservedAt time.Time `json:"observedAt"`
	Cluster    string    `json:"cluster,omitempty"`
	Objects    int       `json:"objects"`
	Events     int       `json:"events"`
	Logs       int       `json:"logs"`
	Redactions int       `json:"redactions"`
}

// workflowDoc is a proposed workflow.
type workflowDoc struct {
	ID            string            `json:"id"`
	Name          string            `json:"name"`
	Title         string            `json:"title"`
	Version       string            `json:"version"`
	Confidence    float64           `json:"confidence"`
	Risk          string            `json:"risk"`
	Reason        string            `json:"reason"`
	Parameters    map[string]string `json:"parameters,omitempty"`
	Preconditions []string          `json:"preconditions,omitempty"`
	Steps         []string          `json:"steps,omitempty"`
}

// recordingDoc says how files were understood.
type recordingDoc struct {
	// Anchored is set when the recording tells when it was made; else all times count from an arbitrary one.
	Anchored bool                `json:"anchored"`
	Leftover []recorded.Leftover `json:"leftover,omitempty"`
	// Sources holds where each piece of evidence was read, by its id.
	Sources map[string]recorded.Source `json:"sources,omitempty"`
}

// diagnosed diagnoses a reading, and chooses from the workflows of shelf.
func diagnosed(ctx context.Context, shelf *catalog.Shelf, r *reading) (*diagnosis, error) {
	in := r.incident
	result, err := investigate.Diagnose(r.snapshot, in)
	if err != nil {
		return nil, err
	}
	choice, err := investigate.Choose(ctx, shelf, r.snapshot, result, &in, r.snapshot.ObservedAt())
	if err != nil {
		return nil, err
	}
	c := r.snapshot.Contents()
	d := &diagnosis{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: diagnosisKind,
		Incident: incidentDoc{in.Resource, in.SignalType, in.Environment, in.ErrorMessage},
		Read: readDoc{
			Bundle: r.digest, ObservedAt: c.ObservedAt, Cluster: c.Cluster, Objects: len(c.Objects), Events: len(c.Events), Logs: len(c.Logs), Redactions: c.Redactions,
		},
		Result: result, ManagedBy: managedBy(in), Candidates: choice.Candidates,
	}
	if len(choice.Options) > 0 {
		best := choice.Options[0]
		w, err := shelf.Workflow(ctx, best.Selected.ID)
		if err != nil {
			return nil, err
		}
		d.Workflow = &workflowDoc{
			ID: best.Selected.ID, Name: best.Name, Title: best.Selected.Title, Version: best.Selected.Version, Confidence: best.Selected.Confidence, Risk: best.Risk,
			Reason: best.Selected.Rationale, Parameters: best.Selected.Parameters, Preconditions: best.Preconditions, Steps: catalog.Steps(w, best.Selected.Parameters),
		}
	}
	return d, nil
}

// managedBy names who declares the cause's target.
func managedBy(in incident.Incident) (by []string) {
	if in.DetectedLabels.GitOpsManaged {
		by = append(by, in.DetectedLabels.GitOpsTool)
	}
	if in.DetectedLabels.HelmManaged {
		by = append(by, "helm")
	}
	return by
}

// withRecording adds how the files of a reading were understood.
func (d *diagnosis) withRecording(r *reading) *diagnosis {
	if r.text == nil {
		return d
	}
	out := *d
	out.Recording = &recordingDoc{Anchored: r.text.Anchored, Leftover: r.text.Leftover, Sources: map[string]recorded.Source{}}
	for _, e := range d.Evidence {
		if src, ok := r.text.SourceOf(e.Ref, e.Path); ok {
			out.Recording.Sources[e.ID] = src
		}
	}
	return &out
}

// builtinWorkflows is the catalog that ships with the program.
func builtinWorkflows() (*catalog.Shelf, error) {
	documents, err := builtincatalog.Documents()
	if err != nil {
		return nil, err
	}
	var workflows []incident.Workflow
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		w, err := catalog.ParseDocument(name, documents[name])
		if err != nil {
			return nil, fmt.Errorf("built-in catalog: %w", err)
		}
		w.ID = store.WorkflowID(w.Name, w.Version)
		workflows = append(workflows, w)
	}
	return catalog.NewShelf(workflows)
}

// encodeJSON writes a document as indented JSON with a line end.
func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return buf.Bytes(), err
}
