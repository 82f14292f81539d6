package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

const (
	defaultTopK = 10
	maxTopK     = 100
)

// SearchWorkflows returns the latest versions that match q, best first, as far as TopK, and how many
// match in all. The labels must match: the signal type without regard to case, the others equal or
// incident.Wildcard in the workflow. Among those incident.WorkflowScore decides; equal scores are ordered
// by fewer wildcards, then newest first.
//
// The search is recorded in the audit trail; that it could not be is logged and fails nothing.
func (s *Store) SearchWorkflows(ctx context.Context, q incident.WorkflowQuery) (incident.WorkflowSearch, error) {
	const op = "search workflows"
	if q.TopK == 0 {
		q.TopK = defaultTopK
	}
	if faults := checkQuery(q); len(faults) > 0 {
		return incident.WorkflowSearch{}, incident.Errorf(incident.KindInvalid, op, "%w", faults)
	}
	start := s.clock()
	var result incident.WorkflowSearch
	err := s.read(ctx, op, func(tx *sql.Tx) error {
		candidates, err := findCandidates(ctx, tx, q)
		if err != nil {
			return err
		}
		result.Total = len(candidates)
		result.Matches, err = s.loadMatches(ctx, tx, candidates[:min(q.TopK, len(candidates))])
		return err
	})
	if err != nil {
		return incident.WorkflowSearch{}, err
	}
	event := searchCompleted(q, result, start, s.clock().Sub(start))
	if _, err := s.AppendEvents(ctx, []incident.AuditEvent{event}); err != nil {
		s.log.Error("Search was not recorded in the audit trail", "correlationID", event.CorrelationID, "error", err)
	}
	return result, nil
}

func checkQuery(q incident.WorkflowQuery) incident.FieldErrors {
	var f incident.FieldErrors
	for _, label := range []struct{ field, value string }{
		{"filters.signal_type", q.Labels.SignalType},
		{"filters.severity", q.Labels.Severity},
		{"filters.component", q.Labels.Component},
		{"filters.environment", q.Labels.Environment},
		{"filters.priority", q.Labels.Priority},
	} {
		if label.value == "" {
			f.Add(label.field, "must not be empty")
		}
	}
	if q.TopK < 1 || q.TopK > maxTopK {
		f.Add("top_k", "must be from 1 to %d", maxTopK)
	}
	if !(q.MinScore >= 0 && q.MinScore <= 1) {
		f.Add("min_score", "must be from 0 to 1")
	}
	if len(q.RemediationID) > incident.MaxCorrelationID {
		f.Add("remediation_id", "must have at most %d bytes", incident.MaxCorrelationID)
	}
	return f
}

// candidate is a workflow whose labels match.
type candidate struct {
	id        string
	points    incident.WorkflowScore
	score     float64
	wildcards int
	createdAt int64
}

// findCandidates returns all workflows that match q and reach its least score, best first.
func findCandidates(ctx context.Context, tx *sql.Tx, q incident.WorkflowQuery) ([]candidate, error) {
	var w where
	w.compare("signal_key =", signalKey(q.Labels.SignalType))
	w.conditions = append(w.conditions, "is_latest = 1")
	wildcards := make([]string, 0, 4)
	for _, label := range []struct{ column, value string }{
		{"severity", q.Labels.Severity},
		{"component", q.Labels.Component},
		{"environment", q.Labels.Environment},
		{"priority", q.Labels.Priority},
	} {
		w.conditions = append(w.conditions, label.column+" IN ("+w.bind(label.value)+", '"+incident.Wildcard+"')")
		wildcards = append(wildcards, "CASE WHEN "+label.column+" = '"+incident.Wildcard+"' THEN 1 ELSE 0 END")
	}
	if !q.IncludeDisabled {
		w.compare("status =", string(incident.WorkflowActive))
	}
	rows, err := tx.QueryContext(ctx, `SELECT workflow_id, custom_labels, detected_labels, created_at, `+
		strings.Join(wildcards, " + ")+` FROM workflows`+w.clause(), w.args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var found []candidate
	for rows.Next() {
		var c candidate
		var custom, detected string
		if err := rows.Scan(&c.id, &custom, &detected, &c.createdAt, &c.wildcards); err != nil {
			return nil, err
		}
		labels, traits, err := decodeLabels(custom, detected)
		if err != nil {
			return nil, err
		}
		c.points = q.Rate(labels, traits)
		if c.score = c.points.Score(); c.score >= q.MinScore {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.wildcards, b.wildcards),
			cmp.Compare(b.createdAt, a.createdAt), cmp.Compare(a.id, b.id))
	})
	return found, rows.Err()
}

func decodeLabels(custom, detected string) (map[string][]string, incident.WorkflowTraits, error) {
	var labels map[string][]string
	if custom != "null" && custom != "{}" {
		if err := json.Unmarshal([]byte(custom), &labels); err != nil {
			return nil, incident.WorkflowTraits{}, err
		}
	}
	if detected == "{}" {
		return labels, incident.WorkflowTraits{}, nil
	}
	traits, err := decodeTraits(detected)
	return labels, traits, err
}

// loadMatches reads what a search reports of the candidates.
func (s *Store) loadMatches(ctx context.Context, tx *sql.Tx, candidates []candidate) ([]incident.WorkflowMatch, error) {
	if len(candidates) == 0 {
		return nil, nil
	}
	matches := make([]incident.WorkflowMatch, len(candidates))
	place := make(map[string]int, len(candidates))
	ids := make([]string, len(candidates))
	for i, c := range candidates {
		ids[i], place[c.id] = c.id, i
		matches[i] = incident.WorkflowMatch{
			WorkflowID: c.id, Score: c.score, LabelBoost: c.points.Boost(), LabelPenalty: c.points.Penalty(), Rank: i + 1,
		}
	}
	list, err := s.dialect.list(ids)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT workflow_id, name, description, signal_type, container_image, container_digest,
		custom_labels, detected_labels FROM workflows WHERE `+s.dialect.in("workflow_id", "$1"), list)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, custom, detected string
		var m incident.WorkflowMatch
		if err := rows.Scan(&id, &m.Title, &m.Description, &m.SignalType, &m.ContainerImage, &m.ContainerDigest,
			&custom, &detected); err != nil {
			return nil, err
		}
		at := &matches[place[id]]
		m.WorkflowID, m.Score, m.LabelBoost, m.LabelPenalty, m.Rank = id, at.Score, at.LabelBoost, at.LabelPenalty, at.Rank
		if m.CustomLabels, m.DetectedLabels, err = decodeLabels(custom, detected); err != nil {
			return nil, err
		}
		*at = m
	}
	return matches, rows.Err()
}
