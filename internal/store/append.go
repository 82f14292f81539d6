package store

import (
	"context"
	"database/sql"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

var eventsTable = bulkTable{
	table: "audit_events",
	columns: []bulkColumn{
		{"event_id", "text"},
		{"correlation_id", "text"},
		{"sequence", "bigint"},
		{"event_time", "bigint"},
		{"event_type", "text"},
		{"event_category", "text"},
		{"event_outcome", "text"},
		{"severity", "text"},
		{"hash", "text"},
		{"canonical", "text"},
	},
}

var chainsTable = bulkTable{
	table: "audit_chains",
	columns: []bulkColumn{
		{"correlation_id", "text"},
		{"sequence", "bigint"},
		{"hash", "text"},
	},
	suffix: "ON CONFLICT (correlation_id) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash",
}

// appendTx appends the events of each request to their chains. A request with an event whose id is
// stored with other content fails alone, and nothing of it is stored.
func (s *Store) appendTx(ctx context.Context, tx *sql.Tx, group []*appendRequest) ([]appendResult, error) {
	var ids, chains []string
	known := make(map[string]bool)
	for _, r := range group {
		for _, e := range r.events {
			ids = append(ids, e.ID)
			if !known[e.CorrelationID] {
				known[e.CorrelationID] = true
				chains = append(chains, e.CorrelationID)
			}
		}
	}
	if err := s.dialect.lock(ctx, tx, lockChains, chains); err != nil {
		return nil, err
	}
	placed, err := s.storedByID(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	heads, err := s.chainHeads(ctx, tx, chains)
	if err != nil {
		return nil, err
	}

	results := make([]appendResult, len(group))
	b := chainBuilder{heads: heads, storedAt: fromMicros(micros(s.clock())), rows: newEventColumns(len(ids))}
	for i, r := range group {
		if err := checkIDs(r, placed); err != nil {
			results[i].err = err
			continue
		}
		results[i].events = make([]incident.StoredEvent, len(r.events))
		for j, e := range r.events {
			at, ok := placed[e.ID]
			if !ok {
				at = &placedEvent{pending: e, stored: b.append(e)}
				placed[e.ID] = at
			}
			results[i].events[j] = at.stored
		}
	}
	if len(b.rows.id) == 0 {
		return results, nil
	}
	if err := s.insertEvents(ctx, tx, len(b.rows.id), b.rows.columns()...); err != nil {
		return nil, err
	}
	n, columns := b.changedHeads()
	return results, s.upsertChains(ctx, tx, n, columns...)
}

// placedEvent is an event that has its place in a chain.
type placedEvent struct {
	pending *pendingEvent
	stored  incident.StoredEvent
}

// checkIDs returns an error when an event of r has the id of another event.
func checkIDs(r *appendRequest, placed map[string]*placedEvent) error {
	own := make(map[string]*pendingEvent, len(r.events))
	for _, e := range r.events {
		other := own[e.ID]
		if at, ok := placed[e.ID]; ok {
			other = at.pending
		}
		if other != nil && !e.sameContent(other) {
			return incident.Errorf(incident.KindConflict, "append events",
				"event %s is stored with other content; a changed event needs an id of its own", e.ID)
		}
		own[e.ID] = e
	}
	return nil
}

// storedByID returns those of the events that are stored.
func (s *Store) storedByID(ctx context.Context, tx *sql.Tx, ids []string) (map[string]*placedEvent, error) {
	placed := make(map[string]*placedEvent, len(ids))
	list, err := s.dialect.list(ids)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT hash, canonical FROM audit_events WHERE `+s.dialect.in("event_id", "$1"), list)
	if err != nil {
		return nil, err
	}
	events, err := scanEvents(rows)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		p, err := prepareEvent(e.AuditEvent)
		if err != nil {
			return nil, err
		}
		placed[e.ID] = &placedEvent{pending: p, stored: e}
	}
	return placed, nil
}

type chainHead struct {
	sequence int64
	hash     string
	changed  bool
}

func (s *Store) chainHeads(ctx context.Context, tx *sql.Tx, chains []string) (map[string]*chainHead, error) {
	heads := make(map[string]*chainHead, len(chains))
	list, err := s.dialect.list(chains)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx,
		`SELECT correlation_id, sequence, hash FROM audit_chains WHERE `+s.dialect.in("correlation_id", "$1"), list)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id string
		var h chainHead
		if err := rows.Scan(&id, &h.sequence, &h.hash); err != nil {
			return nil, err
		}
		heads[id] = &h
	}
	return heads, rows.Err()
}

// chainBuilder places events at the heads of their chains.
type chainBuilder struct {
	heads    map[string]*chainHead
	storedAt time.Time
	rows     eventColumns
}

func (b *chainBuilder) append(p *pendingEvent) incident.StoredEvent {
	head, ok := b.heads[p.CorrelationID]
	if !ok {
		head = &chainHead{}
		b.heads[p.CorrelationID] = head
	}
	canonical, hash := p.link(head.sequence+1, head.hash, b.storedAt)
	e := incident.StoredEvent{
		AuditEvent: p.AuditEvent, Sequence: head.sequence + 1, PrevHash: head.hash, Hash: hash, StoredAt: b.storedAt,
	}
	b.rows.add(e, canonical)
	*head = chainHead{sequence: e.Sequence, hash: hash, changed: true}
	return e
}

// changedHeads returns the heads that moved, as columns of chainsTable.
func (b *chainBuilder) changedHeads() (n int, columns []any) {
	var ids, hashes []string
	var sequences []int64
	for id, head := range b.heads {
		if head.changed {
			ids, sequences, hashes = append(ids, id), append(sequences, head.sequence), append(hashes, head.hash)
		}
	}
	return len(ids), []any{ids, sequences, hashes}
}

// eventColumns are rows of audit_events, column by column.
type eventColumns struct {
	id, correlationID                      []string
	sequence, time                         []int64
	eventType, category, outcome, severity []string
	hash, canonical                        []string
}

func newEventColumns(n int) eventColumns {
	text := func() []string { return make([]string, 0, n) }
	number := func() []int64 { return make([]int64, 0, n) }
	return eventColumns{text(), text(), number(), number(), text(), text(), text(), text(), text(), text()}
}

func (c *eventColumns) add(e incident.StoredEvent, canonical string) {
	c.id = append(c.id, e.ID)
	c.correlationID = append(c.correlationID, e.CorrelationID)
	c.sequence = append(c.sequence, e.Sequence)
	c.time = append(c.time, micros(e.Timestamp))
	c.eventType = append(c.eventType, e.Type)
	c.category = append(c.category, e.Category)
	c.outcome = append(c.outcome, string(e.Outcome))
	c.severity = append(c.severity, e.Severity)
	c.hash = append(c.hash, e.Hash)
	c.canonical = append(c.canonical, canonical)
}

// columns are in the order of eventsTable.
func (c *eventColumns) columns() []any {
	return []any{
		c.id, c.correlationID, c.sequence, c.time, c.eventType, c.category, c.outcome, c.severity, c.hash, c.canonical,
	}
}
