package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// ownEvent is an event about what the store itself did.
func ownEvent(kind, action string, at time.Time, data any) incident.AuditEvent {
	text, err := json.Marshal(data)
	if err != nil {
		panic(err) // maps of plain values
	}
	return incident.AuditEvent{
		Version: "1.0", Type: kind, Category: "workflow", Action: action, Outcome: incident.OutcomeSuccess, Timestamp: at,
		ActorType: "service", ActorID: "datastorage", Data: text,
	}
}

func workflowCreated(w incident.Workflow) incident.AuditEvent {
	e := ownEvent("datastorage.workflow.created", "create", w.CreatedAt, map[string]any{
		"workflow_id": w.ID, "workflow_name": w.Name, "version": w.Version, "name": w.Title, "status": w.Status,
		"is_latest_version": w.IsLatest, "content_hash": w.ContentHash, "execution_engine": w.ExecutionEngine,
		"container_image": w.ContainerImage, "created_by": w.CreatedBy,
		"labels": map[string]string{
			"signal_type": w.Labels.SignalType, "severity": w.Labels.Severity, "component": w.Labels.Component,
			"environment": w.Labels.Environment, "priority": w.Labels.Priority,
		},
	})
	e.CorrelationID, e.ResourceType, e.ResourceID = w.ID, "workflow", w.ID
	return e
}

func workflowUpdated(w incident.Workflow, was incident.WorkflowStatus) incident.AuditEvent {
	e := ownEvent("datastorage.workflow.updated", "update", w.UpdatedAt, map[string]any{
		"workflow_id": w.ID, "workflow_name": w.Name, "version": w.Version, "status": w.Status, "previous_status": was,
		"reason": w.StatusReason, "updated_by": w.UpdatedBy, "is_latest_version": w.IsLatest,
		"total_executions": w.TotalExecutions, "successful_executions": w.SuccessfulExecutions,
	})
	e.CorrelationID, e.ResourceType, e.ResourceID = w.ID, "workflow", w.ID
	return e
}

// recordWorkflow appends e in the transaction of what it is about.
func (s *Store) recordWorkflow(ctx context.Context, tx *sql.Tx, e incident.AuditEvent) error {
	pending, err := prepareEvents([]incident.AuditEvent{e}, s.clock())
	if err != nil {
		return err
	}
	_, err = s.appendTx(ctx, tx, []*appendRequest{{events: pending}})
	return err
}

func searchCompleted(q incident.WorkflowQuery, r incident.WorkflowSearch, at time.Time, took time.Duration) incident.AuditEvent {
	filters := map[string]any{
		"signal_type": q.Labels.SignalType, "severity": q.Labels.Severity, "component": q.Labels.Component,
		"environment": q.Labels.Environment, "priority": q.Labels.Priority,
	}
	if len(q.CustomLabels) > 0 {
		filters["custom_labels"] = q.CustomLabels
	}
	filters["detected_labels"] = traitsJSON(q.DetectedLabels)
	found := make([]map[string]any, len(r.Matches))
	for i, m := range r.Matches {
		found[i] = map[string]any{
			"workflow_id": m.WorkflowID, "title": m.Title, "rank": m.Rank, "description": clip(m.Description, 500),
			"scoring": map[string]any{"confidence": m.Score, "label_boost": m.LabelBoost, "label_penalty": m.LabelPenalty},
			"labels":  map[string]string{"signal_type": m.SignalType},
		}
	}
	e := ownEvent("workflow.catalog.search_completed", "search_completed", at, map[string]any{
		"query": map[string]any{
			"top_k": q.TopK, "min_score": q.MinScore, "include_disabled": q.IncludeDisabled, "filters": filters,
		},
		"results":         map[string]any{"total_found": r.Total, "returned": len(r.Matches), "workflows": found},
		"search_metadata": map[string]any{"duration_ms": took.Milliseconds()},
	})
	sum := sha256.Sum256([]byte(strings.Join([]string{
		q.Labels.SignalType, q.Labels.Severity, q.Labels.Component, q.Labels.Environment, q.Labels.Priority,
	}, "\n")))
	e.ResourceType, e.ResourceID = "workflow_catalog", hex.EncodeToString(sum[:])[:16]
	e.CorrelationID = q.RemediationID
	if e.CorrelationID == "" {
		e.CorrelationID = e.ResourceID
	}
	duration := took.Milliseconds()
	e.DurationMS = &duration
	return e
}

// clip shortens text to at most n bytes, at a character.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "")
}
