package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// pendingEvent is an event with its defaults filled, and its canonical text but for the members that
// only its place in the chain gives: prev_hash, sequence and stored_at. In order, and without the
// braces, the text is
//
//	begin ,"prev_hash":… , resource ,"sequence":… , severity ,"stored_at":… , version
type pendingEvent struct {
	incident.AuditEvent
	begin, resource, severity, version []byte
}

// prepareEvent canonicalizes a valid event. The id is put in lower case.
func prepareEvent(e incident.AuditEvent) (*pendingEvent, error) {
	e = e.WithDefaults()
	e.ID, e.ParentID = strings.ToLower(e.ID), strings.ToLower(e.ParentID)
	e.Timestamp = e.Timestamp.UTC().Round(0)

	buf := make([]byte, 0, 768+len(e.Data)+len(e.Data)/8)
	member := func(name, value string) {
		buf = append(buf, `,"`...)
		buf = append(buf, name...)
		buf = append(buf, `":`...)
		buf = appendCanonicalString(buf, value)
	}
	optional := func(name, value string) {
		if value != "" {
			member(name, value)
		}
	}
	member("actor_id", e.ActorID)
	member("actor_type", e.ActorType)
	optional("cluster_name", e.ClusterName)
	member("correlation_id", e.CorrelationID)
	if e.DurationMS != nil {
		buf = append(buf, `,"duration_ms":`...)
		buf = strconv.AppendInt(buf, *e.DurationMS, 10)
	}
	member("event_action", e.Action)
	member("event_category", e.Category)
	buf = append(buf, `,"event_data":`...)
	start := len(buf)
	buf, err := appendCanonical(buf, e.Data)
	if err != nil {
		return nil, err
	}
	end := len(buf)
	member("event_id", e.ID)
	member("event_outcome", string(e.Outcome))
	member("event_timestamp", e.Timestamp.Format(time.RFC3339Nano))
	member("event_type", e.Type)
	optional("namespace", e.Namespace)
	optional("parent_event_id", e.ParentID)
	cut := func(from int) []byte { return buf[from+1 : len(buf) : len(buf)] } // without the first comma

	p := &pendingEvent{begin: cut(0)}
	at := len(buf)
	member("resource_id", e.ResourceID)
	member("resource_type", e.ResourceType)
	p.resource = cut(at)
	at = len(buf)
	member("severity", e.Severity)
	p.severity = cut(at)
	at = len(buf)
	member("version", e.Version)
	p.version = cut(at)
	e.Data = json.RawMessage(buf[start:end:end])
	p.AuditEvent = e
	return p, nil
}

// sameContent reports whether both are the same event, wherever they are in a chain.
func (p *pendingEvent) sameContent(o *pendingEvent) bool {
	return bytes.Equal(p.begin, o.begin) && bytes.Equal(p.resource, o.resource) &&
		bytes.Equal(p.severity, o.severity) && bytes.Equal(p.version, o.version)
}

// link is the event at its place in the chain: its canonical text and that text's hash.
func (p *pendingEvent) link(sequence int64, prevHash string, storedAt time.Time) (canonical, hash string) {
	const overhead = 160
	buf := make([]byte, 0, len(p.begin)+len(p.resource)+len(p.severity)+len(p.version)+len(prevHash)+overhead)
	buf = append(buf, '{')
	buf = append(buf, p.begin...)
	buf = append(buf, `,"prev_hash":"`...)
	buf = append(buf, prevHash...)
	buf = append(buf, `",`...)
	buf = append(buf, p.resource...)
	buf = append(buf, `,"sequence":`...)
	buf = strconv.AppendInt(buf, sequence, 10)
	buf = append(buf, ',')
	buf = append(buf, p.severity...)
	buf = append(buf, `,"stored_at":"`...)
	buf = storedAt.AppendFormat(buf, time.RFC3339Nano)
	buf = append(buf, `",`...)
	buf = append(buf, p.version...)
	buf = append(buf, '}')
	sum := sha256.Sum256(buf)
	return string(buf), hex.EncodeToString(sum[:])
}

// canonicalEvent has the members of an event's canonical text.
type canonicalEvent struct {
	ActorID       string           `json:"actor_id"`
	ActorType     string           `json:"actor_type"`
	ClusterName   string           `json:"cluster_name"`
	CorrelationID string           `json:"correlation_id"`
	DurationMS    *int64           `json:"duration_ms"`
	Action        string           `json:"event_action"`
	Category      string           `json:"event_category"`
	Data          json.RawMessage  `json:"event_data"`
	ID            string           `json:"event_id"`
	Outcome       incident.Outcome `json:"event_outcome"`
	Timestamp     time.Time        `json:"event_timestamp"`
	Type          string           `json:"event_type"`
	Namespace     string           `json:"namespace"`
	ParentID      string           `json:"parent_event_id"`
	PrevHash      string           `json:"prev_hash"`
	ResourceID    string           `json:"resource_id"`
	ResourceType  string           `json:"resource_type"`
	Sequence      int64            `json:"sequence"`
	Severity      string           `json:"severity"`
	StoredAt      time.Time        `json:"stored_at"`
	Version       string           `json:"version"`
}

// decodeEvent reads an event back from its canonical text.
func decodeEvent(canonical, hash string) (incident.StoredEvent, error) {
	var c canonicalEvent
	if err := json.Unmarshal([]byte(canonical), &c); err != nil {
		return incident.StoredEvent{}, fmt.Errorf("the stored text of an event does not decode: %w", err)
	}
	return incident.StoredEvent{
		AuditEvent: incident.AuditEvent{
			ID: c.ID, Version: c.Version, Type: c.Type, Timestamp: c.Timestamp, Category: c.Category,
			Action: c.Action, Outcome: c.Outcome, CorrelationID: c.CorrelationID, ActorType: c.ActorType,
			ActorID: c.ActorID, ResourceType: c.ResourceType, ResourceID: c.ResourceID, ParentID: c.ParentID,
			Namespace: c.Namespace, ClusterName: c.ClusterName, Severity: c.Severity, DurationMS: c.DurationMS,
			Data: c.Data,
		},
		Sequence: c.Sequence, PrevHash: c.PrevHash, Hash: hash, StoredAt: c.StoredAt,
	}, nil
}

// VerifyChain recomputes the chain of a correlation id from its stored text and compares it with its
// recorded head. A chain that does not verify is not an error. A correlation id of which nothing is
// recorded is KindNotFound.
func (s *Store) VerifyChain(ctx context.Context, correlationID string) (incident.ChainReport, error) {
	const op = "verify chain"
	report := incident.ChainReport{CorrelationID: correlationID}
	err := s.read(ctx, op, func(tx *sql.Tx) error {
		var head chainHead
		err := tx.QueryRowContext(ctx, `SELECT sequence, hash FROM audit_chains WHERE correlation_id = $1`,
			correlationID).Scan(&head.sequence, &head.hash)
		recorded := !errors.Is(err, sql.ErrNoRows)
		if err != nil && recorded {
			return err
		}
		v := chainVerifier{report: &report}
		rows, err := tx.QueryContext(ctx, `
			SELECT event_id, correlation_id, sequence, event_time, event_type, event_category, event_outcome, severity,
			       hash, canonical
			FROM audit_events WHERE correlation_id = $1 ORDER BY sequence`, correlationID)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var r eventRow
			if err := rows.Scan(&r.id, &r.correlationID, &r.sequence, &r.time, &r.eventType, &r.category, &r.outcome,
				&r.severity, &r.hash, &r.canonical); err != nil {
				return err
			}
			v.next(r)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if !recorded && report.Events == 0 {
			return incident.Errorf(incident.KindNotFound, op, "no audit event has this correlation id")
		}
		v.end(recorded, head)
		return nil
	})
	if err != nil {
		return incident.ChainReport{}, err
	}
	return report, nil
}

// eventRow is a row of audit_events.
type eventRow struct {
	id, correlationID                      string
	sequence, time                         int64
	eventType, category, outcome, severity string
	hash, canonical                        string
}

// chainVerifier is fed the rows of one chain in order.
type chainVerifier struct {
	report *incident.ChainReport
}

func (v *chainVerifier) broken(sequence int64, format string, args ...any) {
	if v.report.BrokenAt == 0 {
		v.report.BrokenAt = sequence
		v.report.Problem = fmt.Sprintf(format, args...)
	}
}

func (v *chainVerifier) next(r eventRow) {
	prev, want := v.report.Head, v.report.Events+1
	v.report.Events++
	v.report.Head = r.hash
	if v.report.BrokenAt != 0 {
		return
	}
	sum := sha256.Sum256([]byte(r.canonical))
	if hex.EncodeToString(sum[:]) != r.hash {
		v.broken(want, "event %d does not have the hash that is recorded for it", want)
		return
	}
	e, err := decodeEvent(r.canonical, r.hash)
	switch {
	case err != nil:
		v.broken(want, "event %d cannot be decoded", want)
	case e.Sequence != want || r.sequence != want:
		v.broken(want, "event %d is missing or not in its place", want)
	case e.PrevHash != prev:
		v.broken(want, "event %d does not follow event %d", want, want-1)
	case e.ID != r.id || e.CorrelationID != r.correlationID || micros(e.Timestamp) != r.time || e.Type != r.eventType ||
		e.Category != r.category || string(e.Outcome) != r.outcome || e.Severity != r.severity:
		v.broken(want, "the columns of event %d differ from its text", want)
	}
}

func (v *chainVerifier) end(recorded bool, head chainHead) {
	n := v.report.Events
	switch {
	case !recorded:
		v.broken(n+1, "the head of the chain is not recorded")
	case head.sequence > n:
		v.broken(n+1, "events %d to %d are missing", n+1, head.sequence)
	case head.sequence < n:
		v.broken(head.sequence+1, "events after %d are not in the recorded chain", head.sequence)
	case head.hash != v.report.Head:
		v.broken(max(n, 1), "event %d is not the recorded head of the chain", n)
	}
	v.report.Valid = v.report.BrokenAt == 0
}
