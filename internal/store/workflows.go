package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/incident"
)

const (
	defaultWorkflowLimit = 100
	maxWorkflowLimit     = 1000
)

// workflowSpace is the namespace of the ids of workflow versions, which are UUIDs of version 5: a
// workflow that is registered in two stores has one id.
var workflowSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://kubernaut.ai/workflows"))

// WorkflowID returns the id of a version of a workflow, the same in every store.
func WorkflowID(name, version string) string {
	return uuid.NewSHA1(workflowSpace, []byte(name+"\n"+version)).String()
}

// CreateWorkflow registers a version of a workflow and returns it as stored. It gives the id, which
// depends on name and version only, and the times. A version that exists is KindConflict. The
// highest active version of the name by compareVersions becomes the latest.
func (s *Store) CreateWorkflow(ctx context.Context, w incident.Workflow) (incident.Workflow, error) {
	const op = "create workflow"
	if faults := w.Validate(); len(faults) > 0 {
		return incident.Workflow{}, incident.Errorf(incident.KindInvalid, op, "%w", faults)
	}
	w.ID = WorkflowID(w.Name, w.Version)
	w.ContentHash = strings.ToLower(w.ContentHash)
	w.DisabledAt, w.DisabledBy, w.DisabledReason, w.UpdatedBy = nil, "", "", ""
	w.ActualSuccessRate, w.TotalExecutions, w.SuccessfulExecutions = nil, 0, 0
	w.IsLatest = false
	now := s.clock()
	w.CreatedAt, w.UpdatedAt = now, now
	var stored incident.Workflow
	err := s.write(ctx, op, func(tx *sql.Tx) error {
		if err := s.dialect.lock(ctx, tx, lockWorkflows, []string{w.Name}); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM workflows WHERE workflow_id = $1`, w.ID).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return incident.Errorf(incident.KindConflict, op, "this version of the workflow is registered as %s", w.ID)
		}
		if err := insertWorkflow(ctx, tx, w); err != nil {
			return err
		}
		if err := updateLatest(ctx, tx, w.Name); err != nil {
			return err
		}
		var err error
		if stored, err = workflowByID(ctx, tx, w.ID); err != nil {
			return err
		}
		return s.recordWorkflow(ctx, tx, workflowCreated(stored))
	})
	return stored, err
}

// Workflow returns one version by its id; KindNotFound when there is none.
func (s *Store) Workflow(ctx context.Context, id string) (incident.Workflow, error) {
	w, err := workflowByID(ctx, s.reads, strings.ToLower(id))
	if err != nil {
		return incident.Workflow{}, s.fail("get workflow", err)
	}
	return w, nil
}

// WorkflowVersions returns all versions of a name, highest first.
func (s *Store) WorkflowVersions(ctx context.Context, name string) ([]incident.Workflow, error) {
	rows, err := s.reads.QueryContext(ctx, selectWorkflows+` WHERE workflow_name = $1`, name)
	if err != nil {
		return nil, s.fail("list workflow versions", err)
	}
	versions, err := scanWorkflows(rows)
	if err != nil {
		return nil, s.fail("list workflow versions", err)
	}
	slices.SortStableFunc(versions, func(a, b incident.Workflow) int { return compareVersions(b.Version, a.Version) })
	return versions, nil
}

// Workflows returns one page of the versions that f selects, newest first, and how many it selects.
func (s *Store) Workflows(ctx context.Context, f incident.WorkflowFilter) (incident.WorkflowPage, error) {
	const op = "list workflows"
	if f.Limit == 0 {
		f.Limit = defaultWorkflowLimit
	}
	if f.Limit < 1 || f.Limit > maxWorkflowLimit || f.Offset < 0 {
		return incident.WorkflowPage{}, incident.Errorf(incident.KindInvalid, op, "%w", incident.FieldErrors{
			{Field: "limit", Rule: "must be from 1 to 1000, and offset not negative"},
		})
	}
	var w where
	w.equal("status", string(f.Status))
	w.equal("environment", f.Environment)
	w.equal("priority", f.Priority)
	w.equal("component", f.Component)
	page := incident.WorkflowPage{Limit: f.Limit, Offset: f.Offset}
	err := s.read(ctx, op, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT count(*) FROM workflows`+w.clause(), w.args...).Scan(&page.Total)
		if err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx,
			selectWorkflows+w.clause()+` ORDER BY created_at DESC, workflow_id DESC`+w.page(f.Limit, f.Offset), w.args...)
		if err != nil {
			return err
		}
		page.Workflows, err = scanWorkflows(rows)
		return err
	})
	if err != nil {
		return incident.WorkflowPage{}, err
	}
	return page, nil
}

// ChangeWorkflow sets the status of one version, and how often it was executed, and returns it as
// stored. KindNotFound when there is no such version, KindConflict when the status is to change and
// is archived, which is for good. A change to what is so already changes nothing. When the latest
// version of the name is no longer the highest active one, that becomes the latest.
func (s *Store) ChangeWorkflow(ctx context.Context, id string, c incident.WorkflowChange) (incident.Workflow, error) {
	const op = "change workflow"
	if faults := checkChange(c); len(faults) > 0 {
		return incident.Workflow{}, incident.Errorf(incident.KindInvalid, op, "%w", faults)
	}
	id = strings.ToLower(id)
	var stored incident.Workflow
	err := s.write(ctx, op, func(tx *sql.Tx) error {
		w, err := workflowByID(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := s.dialect.lock(ctx, tx, lockWorkflows, []string{w.Name}); err != nil {
			return err
		}
		if w, err = workflowByID(ctx, tx, id); err != nil {
			return err
		}
		newStatus := c.Status != "" && c.Status != w.Status
		newCounts := c.Executions != nil && *c.Executions != incident.WorkflowExecutions{Total: w.TotalExecutions, Successful: w.SuccessfulExecutions}
		if !newStatus && !newCounts {
			stored = w
			return nil
		}
		if newStatus {
			if w.Status == incident.WorkflowArchived {
				return incident.Errorf(incident.KindConflict, op, "the workflow version is archived, which is final")
			}
			if err := updateStatus(ctx, tx, w, c, s.clock()); err != nil {
				return err
			}
			if err := updateLatest(ctx, tx, w.Name); err != nil {
				return err
			}
		}
		if newCounts {
			if err := updateExecutions(ctx, tx, w, c, s.clock()); err != nil {
				return err
			}
		}
		if stored, err = workflowByID(ctx, tx, id); err != nil {
			return err
		}
		return s.recordWorkflow(ctx, tx, workflowUpdated(stored, w.Status))
	})
	return stored, err
}

// maxExecutions keeps counts within the database's integers.
const maxExecutions = 1_000_000_000

func checkChange(c incident.WorkflowChange) incident.FieldErrors {
	var f incident.FieldErrors
	switch c.Status {
	case "", incident.WorkflowActive, incident.WorkflowDisabled, incident.WorkflowDeprecated, incident.WorkflowArchived:
	default:
		f.Add("status", "must be one of active, disabled, deprecated, archived")
	}
	if e := c.Executions; e != nil {
		if e.Total < 0 || e.Total > maxExecutions {
			f.Add("total_executions", "must be from 0 to %d", maxExecutions)
		}
		if e.Successful < 0 || e.Successful > e.Total {
			f.Add("successful_executions", "must be from 0 to total_executions")
		}
	}
	return f
}

func updateExecutions(ctx context.Context, tx *sql.Tx, w incident.Workflow, c incident.WorkflowChange, now time.Time) error {
	var rate *float64
	if c.Executions.Total > 0 {
		r := float64(c.Executions.Successful) / float64(c.Executions.Total)
		rate = &r
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE workflows SET total_executions = $1, successful_executions = $2, actual_success_rate = $3,
		       updated_at = $4, updated_by = $5
		WHERE workflow_id = $6`,
		c.Executions.Total, c.Executions.Successful, rate, micros(now), c.By, w.ID)
	return err
}

func updateStatus(ctx context.Context, tx *sql.Tx, w incident.Workflow, c incident.WorkflowChange, now time.Time) error {
	var disabledAt *int64
	var disabledBy, disabledReason string
	if c.Status == incident.WorkflowDisabled {
		us := micros(now)
		disabledAt, disabledBy, disabledReason = &us, c.By, c.Reason
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE workflows SET status = $1, status_reason = $2, disabled_at = $3, disabled_by = $4, disabled_reason = $5,
		       updated_at = $6, updated_by = $7
		WHERE workflow_id = $8`,
		string(c.Status), c.Reason, disabledAt, disabledBy, disabledReason, micros(now), c.By, w.ID)
	return err
}

// updateLatest makes exactly one version of the name the latest: the highest active one, or the
// highest when none is active.
func updateLatest(ctx context.Context, tx *sql.Tx, name string) error {
	rows, err := tx.QueryContext(ctx, `
		SELECT workflow_id, version, status, is_latest FROM workflows
		WHERE workflow_name = $1 ORDER BY created_at, workflow_id`, name)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var best struct {
		id, version string
		active      bool
	}
	var was []string
	for rows.Next() {
		var id, version, status string
		var latest int
		if err := rows.Scan(&id, &version, &status, &latest); err != nil {
			return err
		}
		if latest != 0 {
			was = append(was, id)
		}
		active := status == string(incident.WorkflowActive)
		higher := compareVersions(version, best.version) >= 0
		if best.id == "" || active && !best.active || active == best.active && higher {
			best.id, best.version, best.active = id, version, active
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if len(was) == 1 && was[0] == best.id {
		return nil
	}
	_, err = tx.ExecContext(ctx,
		`UPDATE workflows SET is_latest = CASE WHEN workflow_id = $1 THEN 1 ELSE 0 END WHERE workflow_name = $2`, best.id, name)
	return err
}

// querier is *sql.DB or *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func workflowByID(ctx context.Context, q querier, id string) (incident.Workflow, error) {
	rows, err := q.QueryContext(ctx, selectWorkflows+` WHERE workflow_id = $1`, id)
	if err != nil {
		return incident.Workflow{}, err
	}
	found, err := scanWorkflows(rows)
	if err != nil {
		return incident.Workflow{}, err
	}
	if len(found) == 0 {
		return incident.Workflow{}, incident.Errorf(incident.KindNotFound, "get workflow", "the catalog has no workflow of this id")
	}
	return found[0], nil
}

const workflowColumns = `workflow_id, workflow_name, version, name, description, owner, maintainer, content, content_hash,
	parameters, execution_engine, container_image, container_digest, signal_type, severity, component, environment, priority,
	custom_labels, detected_labels, status, status_reason, disabled_at, disabled_by, disabled_reason, is_latest,
	previous_version, deprecation_notice, version_notes, change_summary, approved_by, approved_at, expected_success_rate,
	expected_duration_seconds, actual_success_rate, total_executions, successful_executions, created_at, updated_at, created_by,
	updated_by`

const selectWorkflows = `SELECT ` + workflowColumns + ` FROM workflows`

const insertWorkflowRow = `INSERT INTO workflows (` + workflowColumns + `, signal_key) VALUES (
	$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27,
	$28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42)`

// signalKey is what signal types are compared by.
func signalKey(signalType string) string { return strings.ToLower(signalType) }

func insertWorkflow(ctx context.Context, tx *sql.Tx, w incident.Workflow) error {
	parameters, err := json.Marshal(w.Parameters)
	if err != nil {
		return err
	}
	custom, err := json.Marshal(w.CustomLabels)
	if err != nil {
		return err
	}
	detected, err := json.Marshal(traitsJSON(w.DetectedLabels))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, insertWorkflowRow,
		w.ID, w.Name, w.Version, w.Title, w.Description, w.Owner, w.Maintainer, w.Content, w.ContentHash,
		string(parameters), w.ExecutionEngine, w.ContainerImage, w.ContainerDigest,
		w.Labels.SignalType, w.Labels.Severity, w.Labels.Component, w.Labels.Environment, w.Labels.Priority,
		string(custom), string(detected), string(w.Status), w.StatusReason, nil, "", "", 0,
		w.PreviousVersion, w.DeprecationNotice, w.VersionNotes, w.ChangeSummary, w.ApprovedBy, optionalMicros(w.ApprovedAt),
		w.ExpectedSuccessRate, w.ExpectedDurationSeconds, w.ActualSuccessRate, w.TotalExecutions, w.SuccessfulExecutions,
		micros(w.CreatedAt), micros(w.UpdatedAt), w.CreatedBy, w.UpdatedBy, signalKey(w.Labels.SignalType))
	return err
}

// scanWorkflows reads rows of selectWorkflows and closes them.
func scanWorkflows(rows *sql.Rows) ([]incident.Workflow, error) {
	defer func() { _ = rows.Close() }()
	var found []incident.Workflow
	for rows.Next() {
		var w incident.Workflow
		var parameters, custom, detected string
		var latest int
		var disabledAt, approvedAt *int64
		var createdAt, updatedAt int64
		err := rows.Scan(&w.ID, &w.Name, &w.Version, &w.Title, &w.Description, &w.Owner, &w.Maintainer, &w.Content,
			&w.ContentHash, &parameters, &w.ExecutionEngine, &w.ContainerImage, &w.ContainerDigest, &w.Labels.SignalType,
			&w.Labels.Severity, &w.Labels.Component, &w.Labels.Environment, &w.Labels.Priority, &custom, &detected,
			&w.Status, &w.StatusReason, &disabledAt, &w.DisabledBy, &w.DisabledReason, &latest, &w.PreviousVersion,
			&w.DeprecationNotice, &w.VersionNotes, &w.ChangeSummary, &w.ApprovedBy, &approvedAt, &w.ExpectedSuccessRate,
			&w.ExpectedDurationSeconds, &w.ActualSuccessRate, &w.TotalExecutions, &w.SuccessfulExecutions, &createdAt,
			&updatedAt, &w.CreatedBy, &w.UpdatedBy)
		if err != nil {
			return nil, err
		}
		err = errors.Join(json.Unmarshal([]byte(parameters), &w.Parameters), json.Unmarshal([]byte(custom), &w.CustomLabels))
		if err != nil {
			return nil, err
		}
		if w.DetectedLabels, err = decodeTraits(detected); err != nil {
			return nil, err
		}
		w.IsLatest = latest != 0
		w.DisabledAt, w.ApprovedAt = optionalTime(disabledAt), optionalTime(approvedAt)
		w.CreatedAt, w.UpdatedAt = fromMicros(createdAt), fromMicros(updatedAt)
		found = append(found, w)
	}
	return found, rows.Err()
}

func optionalMicros(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	us := micros(*t)
	return &us
}

func optionalTime(us *int64) *time.Time {
	if us == nil {
		return nil
	}
	t := fromMicros(*us)
	return &t
}

// traits is how detected labels are stored and reported.
type traits struct {
	FailedDetections []string `json:"failed_detections,omitempty"`
	GitOpsManaged    bool     `json:"gitOpsManaged,omitempty"`
	GitOpsTool       string   `json:"gitOpsTool,omitempty"`
	PDBProtected     bool     `json:"pdbProtected,omitempty"`
	HPAEnabled       bool     `json:"hpaEnabled,omitempty"`
	Stateful         bool     `json:"stateful,omitempty"`
	HelmManaged      bool     `json:"helmManaged,omitempty"`
	NetworkIsolated  bool     `json:"networkIsolated,omitempty"`
	ServiceMesh      string   `json:"serviceMesh,omitempty"`
}

func traitsJSON(t incident.WorkflowTraits) traits { return traits(t) }

func decodeTraits(text string) (incident.WorkflowTraits, error) {
	var t traits
	err := json.Unmarshal([]byte(text), &t)
	return incident.WorkflowTraits(t), err
}
