package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gowebpki/jcs"
)

// Event is a stored audit event, as Data Storage's query returns it.
type Event struct {
	ID            string          `json:"event_id"`
	Timestamp     string          `json:"event_timestamp"`
	Type          string          `json:"event_type"`
	Version       string          `json:"version"`
	Category      string          `json:"event_category"`
	Action        string          `json:"event_action"`
	Outcome       string          `json:"event_outcome"`
	CorrelationID string          `json:"correlation_id"`
	ParentID      *string         `json:"parent_event_id"`
	ResourceType  string          `json:"resource_type"`
	ResourceID    string          `json:"resource_id"`
	Namespace     string          `json:"namespace"`
	ClusterName   string          `json:"cluster_name"`
	Severity      string          `json:"severity"`
	DurationMS    *int64          `json:"duration_ms"`
	ActorID       string          `json:"actor_id"`
	ActorType     string          `json:"actor_type"`
	Data          json.RawMessage `json:"event_data"`
	Sequence      int64           `json:"sequence"`
	PrevHash      string          `json:"prev_hash"`
	Hash          string          `json:"hash"`
	StoredAt      string          `json:"stored_at"`
}

// Field returns a field of the event's data; nil when there is none.
func (e Event) Field(name string) any {
	var data map[string]any
	if json.Unmarshal(e.Data, &data) != nil {
		return nil
	}
	return data[name]
}

// Trail is the audit trail of one remediation, in the order in which it was stored.
type Trail []Event

// Of returns the events of a type.
func (t Trail) Of(eventType string) Trail {
	return slices.DeleteFunc(slices.Clone(t), func(e Event) bool { return e.Type != eventType })
}

// By returns the events that an actor wrote.
func (t Trail) By(actor string) Trail {
	return slices.DeleteFunc(slices.Clone(t), func(e Event) bool { return e.ActorID != actor })
}

// Types returns the types of the events, in order.
func (t Trail) Types() []string {
	types := make([]string, len(t))
	for i, e := range t {
		types[i] = e.Type
	}
	return types
}

// Trail reads the audit trail of a remediation.
func (s *System) Trail(ctx context.Context, remediation string) (Trail, error) {
	const page = 500
	var all Trail
	for {
		q := url.Values{"correlation_id": {remediation}, "limit": {fmt.Sprint(page)}, "offset": {fmt.Sprint(len(all))}}
		a, err := s.Get(ctx, s.DataStorage+"/api/v1/audit/events?"+q.Encode())
		if err != nil {
			return nil, fmt.Errorf("audit trail of %s: %w", remediation, err)
		}
		var got struct {
			Data       Trail `json:"data"`
			Pagination struct {
				Total int `json:"total"`
			} `json:"pagination"`
		}
		if a.Status != http.StatusOK {
			return nil, fmt.Errorf("audit trail of %s: %s", remediation, a)
		}
		if err := a.JSON(&got); err != nil {
			return nil, fmt.Errorf("audit trail of %s: %w", remediation, err)
		}
		all = append(all, got.Data...)
		if len(got.Data) == 0 || len(all) >= got.Pagination.Total {
			break
		}
	}
	slices.SortFunc(all, func(a, b Event) int { return int(a.Sequence - b.Sequence) })
	return all, nil
}

// ChainReport is what Data Storage says of a hash chain.
type ChainReport struct {
	CorrelationID string `json:"correlation_id"`
	Events        int    `json:"events"`
	Valid         bool   `json:"valid"`
	Head          string `json:"head"`
	Problem       string `json:"problem"`
}

// VerifyTrail has Data Storage check a hash chain, computes it again from the events themselves, and
// returns what does not hold.
func (s *System) VerifyTrail(ctx context.Context, remediation string) error {
	a, err := s.Get(ctx, s.DataStorage+"/api/v1/audit/verify?correlation_id="+url.QueryEscape(remediation))
	if err != nil {
		return fmt.Errorf("verify the trail of %s: %w", remediation, err)
	}
	var report ChainReport
	if a.Status != http.StatusOK || a.JSON(&report) != nil {
		return fmt.Errorf("verify the trail of %s: %s", remediation, a)
	}
	if !report.Valid {
		return fmt.Errorf("the trail of %s does not verify: %s", remediation, a)
	}
	trail, err := s.Trail(ctx, remediation)
	if err != nil {
		return err
	}
	if len(trail) < report.Events { // events may have come since, but none may go
		return fmt.Errorf("the trail of %s has %d events, but the report counts %d", remediation, len(trail), report.Events)
	}
	return CheckChain(trail)
}

// CheckChain computes a hash chain again as the API of Data Storage documents it, and returns the
// links that do not hold.
func CheckChain(trail Trail) error {
	var errs []error
	prev := ""
	for i, e := range trail {
		if e.Sequence != int64(i+1) {
			errs = append(errs, fmt.Errorf("event %d has sequence %d", i+1, e.Sequence))
		}
		if e.PrevHash != prev {
			errs = append(errs, fmt.Errorf("event %d: prev_hash is %s, the hash before is %s", i+1, e.PrevHash, prev))
		}
		want, err := hashOf(e)
		if err != nil || e.Hash != want {
			errs = append(errs, fmt.Errorf("event %d: hash is %s, computed %s, %w", i+1, e.Hash, want, err))
		}
		prev = e.Hash
	}
	return errors.Join(errs...)
}

func hashOf(e Event) (string, error) {
	m := map[string]any{
		"actor_id": e.ActorID, "actor_type": e.ActorType, "correlation_id": e.CorrelationID, "event_action": e.Action,
		"event_category": e.Category, "event_data": e.Data, "event_id": e.ID, "event_outcome": e.Outcome,
		"event_timestamp": e.Timestamp, "event_type": e.Type, "prev_hash": e.PrevHash, "resource_id": e.ResourceID,
		"resource_type": e.ResourceType, "sequence": e.Sequence, "severity": e.Severity, "stored_at": e.StoredAt, "version": e.Version,
	}
	for name, value := range map[string]string{"cluster_name": e.ClusterName, "namespace": e.Namespace} {
		if value != "" {
			m[name] = value
		}
	}
	if e.ParentID != nil && *e.ParentID != "" {
		m["parent_event_id"] = *e.ParentID
	}
	if e.DurationMS != nil {
		m["duration_ms"] = *e.DurationMS
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return "", err
	}
	canonical, err := jcs.Transform(text.Bytes())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}

// WorkflowName returns the name of a catalogued workflow by its id.
func (s *System) WorkflowName(ctx context.Context, id string) (string, error) {
	a, err := s.Get(ctx, s.DataStorage+"/api/v1/workflows/"+url.PathEscape(id))
	if err != nil {
		return "", fmt.Errorf("workflow %s: %w", id, err)
	}
	var w struct {
		Name string `json:"workflow_name"`
	}
	if a.Status != http.StatusOK || a.JSON(&w) != nil || strings.TrimSpace(w.Name) == "" {
		return "", fmt.Errorf("workflow %s: %s", id, a)
	}
	return w.Name, nil
}
