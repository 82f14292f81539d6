package dsapi

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/dsapi/internal/gen"
	"kubernaut.ai/kubernaut/internal/incident"
)

func (s *operations) CreateWorkflow(ctx context.Context, r gen.CreateWorkflowRequestObject) (gen.CreateWorkflowResponseObject, error) {
	w, faults := workflowFromRequest(*r.Body)
	if len(faults) > 0 {
		faults = append(faults, w.Validate()...)
		return nil, incident.Errorf(incident.KindInvalid, "create workflow", "%w", faults)
	}
	start := time.Now()
	stored, err := s.store.CreateWorkflow(ctx, w)
	s.metrics.wrote("workflows", start)
	if err != nil {
		return nil, err
	}
	return gen.CreateWorkflow201JSONResponse(workflowToWire(stored)), nil
}

func (s *operations) ListWorkflows(ctx context.Context, r gen.ListWorkflowsRequestObject) (gen.ListWorkflowsResponseObject, error) {
	p := r.Params
	page, err := s.store.Workflows(ctx, incident.WorkflowFilter{
		Status: incident.WorkflowStatus(value(p.Status)), Environment: value(p.Environment), Priority: value(p.Priority),
		Component: value(p.Component), Limit: value(p.Limit), Offset: value(p.Offset),
	})
	if err != nil {
		return nil, err
	}
	return gen.ListWorkflows200JSONResponse{
		Workflows: workflowsToWire(page.Workflows), Limit: page.Limit, Offset: page.Offset, Total: page.Total,
	}, nil
}

func (s *operations) ListWorkflowVersions(ctx context.Context, r gen.ListWorkflowVersionsRequestObject) (gen.ListWorkflowVersionsResponseObject, error) {
	versions, err := s.store.WorkflowVersions(ctx, r.WorkflowName)
	if err != nil {
		return nil, err
	}
	return gen.ListWorkflowVersions200JSONResponse{
		WorkflowName: r.WorkflowName, Versions: workflowsToWire(versions), Total: len(versions),
	}, nil
}

func (s *operations) GetWorkflow(ctx context.Context, r gen.GetWorkflowRequestObject) (gen.GetWorkflowResponseObject, error) {
	if err := checkWorkflowID(r.WorkflowId); err != nil {
		return nil, err
	}
	w, err := s.store.Workflow(ctx, r.WorkflowId)
	if err != nil {
		return nil, err
	}
	return gen.GetWorkflow200JSONResponse(workflowToWire(w)), nil
}

// checkWorkflowID makes of text that is no id an unknown workflow: it is what a client that made the
// id up should hear.
func checkWorkflowID(id string) error {
	if !incident.ValidUUID(id) {
		return incident.Errorf(incident.KindNotFound, "get workflow", "the catalog has no workflow of this id, which is not a UUID")
	}
	return nil
}

func (s *operations) UpdateWorkflow(ctx context.Context, r gen.UpdateWorkflowRequestObject) (gen.UpdateWorkflowResponseObject, error) {
	if fields := immutableFields(r.Body.AdditionalProperties); len(fields) > 0 {
		problem := gen.Problem{
			Type: problemPrefix + "immutable-field-violation", Title: "Immutable field", Status: http.StatusBadRequest,
			Detail:   optional("a registered version cannot be changed (" + strings.Join(fields, ", ") + "): register a new version"),
			Instance: optional("/api/v1/workflows/" + r.WorkflowId),
		}
		return gen.UpdateWorkflow400ApplicationProblemPlusJSONResponse{
			InvalidApplicationProblemPlusJSONResponse: gen.InvalidApplicationProblemPlusJSONResponse(problem),
		}, nil
	}
	change := incident.WorkflowChange{
		Status: incident.WorkflowStatus(value(r.Body.Status)), By: value(r.Body.DisabledBy), Reason: value(r.Body.DisabledReason),
	}
	switch total, successful := r.Body.TotalExecutions, r.Body.SuccessfulExecutions; {
	case total != nil && successful != nil:
		change.Executions = &incident.WorkflowExecutions{Total: *total, Successful: *successful}
	case total != nil || successful != nil:
		return nil, incident.Errorf(incident.KindInvalid, "change workflow", "%w", incident.FieldErrors{
			{Field: "total_executions", Rule: "and successful_executions must come together"},
		})
	}
	stored, err := s.change(ctx, r.WorkflowId, change)
	if err != nil {
		return nil, err
	}
	return gen.UpdateWorkflow200JSONResponse(workflowToWire(stored)), nil
}

func (s *operations) DisableWorkflow(ctx context.Context, r gen.DisableWorkflowRequestObject) (gen.DisableWorkflowResponseObject, error) {
	body := value(r.Body)
	stored, err := s.change(ctx, r.WorkflowId, incident.WorkflowChange{
		Status: incident.WorkflowDisabled, By: value(body.UpdatedBy), Reason: value(body.Reason),
	})
	if err != nil {
		return nil, err
	}
	return gen.DisableWorkflow200JSONResponse(workflowToWire(stored)), nil
}

func (s *operations) change(ctx context.Context, id string, c incident.WorkflowChange) (incident.Workflow, error) {
	if err := checkWorkflowID(id); err != nil {
		return incident.Workflow{}, err
	}
	start := time.Now()
	stored, err := s.store.ChangeWorkflow(ctx, id, c)
	s.metrics.wrote("workflows", start)
	return stored, err
}

// immutableFields returns the fields of a workflow among those that a change names.
func immutableFields(named map[string]any) []string {
	immutable := []string{
		"workflow_name", "version", "name", "description", "content", "content_hash", "labels", "custom_labels",
		"detected_labels", "parameters", "execution_engine", "container_image", "container_digest",
	}
	return slices.DeleteFunc(immutable, func(field string) bool {
		_, ok := named[field]
		return !ok
	})
}

func (s *operations) SearchWorkflows(ctx context.Context, r gen.SearchWorkflowsRequestObject) (gen.SearchWorkflowsResponseObject, error) {
	f := r.Body.Filters
	result, err := s.store.SearchWorkflows(ctx, incident.WorkflowQuery{
		Labels: incident.WorkflowLabels{
			SignalType: f.SignalType, Severity: string(f.Severity), Component: f.Component, Environment: f.Environment,
			Priority: string(f.Priority),
		},
		CustomLabels: value(f.CustomLabels), DetectedLabels: traitsFromWire(value(f.DetectedLabels)),
		TopK: value(r.Body.TopK), MinScore: value(r.Body.MinScore), IncludeDisabled: value(r.Body.IncludeDisabled),
		RemediationID: value(r.Body.RemediationId),
	})
	if err != nil {
		return nil, err
	}
	s.metrics.matches.Observe(float64(result.Total))
	answer := gen.SearchWorkflows200JSONResponse{
		Workflows: make([]gen.WorkflowSearchResult, len(result.Matches)), TotalResults: result.Total, Filters: f,
	}
	for i, m := range result.Matches {
		answer.Workflows[i] = matchToWire(m)
	}
	return answer, nil
}

func (s *operations) PutBundle(ctx context.Context, r gen.PutBundleRequestObject) (gen.PutBundleResponseObject, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, describe(err)
	}
	start := time.Now()
	created, err := s.store.PutBundle(ctx, r.Digest, body)
	s.metrics.wrote("bundles", start)
	if err != nil {
		return nil, err
	}
	stored := gen.BundleStored{Digest: r.Digest, Size: int64(len(body))}
	if created {
		return gen.PutBundle201JSONResponse(stored), nil
	}
	return gen.PutBundle200JSONResponse(stored), nil
}

func (s *operations) GetBundle(ctx context.Context, r gen.GetBundleRequestObject) (gen.GetBundleResponseObject, error) {
	body, err := s.store.Bundle(ctx, r.Digest)
	if err != nil {
		return nil, err
	}
	return bundleResponse{r.Digest, body}, nil
}

// bundleResponse is a bundle, which never changes.
type bundleResponse struct {
	digest string
	body   []byte
}

func (b bundleResponse) VisitGetBundleResponse(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", `"`+b.digest+`"`)
	h.Set("Cache-Control", "private, immutable, max-age=31536000")
	_, err := w.Write(b.body)
	return err
}
