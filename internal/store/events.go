package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/incident"
)

const (
	defaultEventLimit = 50
	maxEventLimit     = 1000
)

// AppendEvents stores events at the ends of their chains, all or none, and returns them as stored,
// in order, once they are durable. It fills the defaults of the contract, and an id of version 7 for
// an event without one. An event whose id is stored already with the same content is returned as
// stored and not stored again; with other content it is KindConflict. Invalid events are KindInvalid,
// with every fault as an incident.FieldErrors; a batch names each field by the event's index.
//
// Concurrent calls share transactions. When ctx ends before the answer, the events may be stored or
// not; calling again with the same ids settles it.
func (s *Store) AppendEvents(ctx context.Context, events []incident.AuditEvent) ([]incident.StoredEvent, error) {
	if len(events) == 0 {
		return nil, nil
	}
	pending, err := prepareEvents(events, s.clock())
	if err != nil {
		return nil, err
	}
	return s.writer.append(ctx, pending)
}

// prepareEvents checks and canonicalizes events, those of a large batch on all processors.
func prepareEvents(events []incident.AuditEvent, now time.Time) ([]*pendingEvent, error) {
	const op = "append events"
	const chunk = 64 // fewer are not worth a goroutine
	events, err := withIDs(events)
	if err != nil {
		return nil, incident.Errorf(incident.KindInternal, op, "make an event id: %w", err)
	}
	pending := make([]*pendingEvent, len(events))
	faults := make([]incident.FieldErrors, len(events))
	prepare := func(first int) {
		for i := first; i < min(first+chunk, len(events)); i++ {
			pending[i], faults[i] = checkEvent(events[i], now)
		}
	}
	var others sync.WaitGroup
	for first := chunk; first < len(events); first += chunk {
		others.Go(func() { prepare(first) })
	}
	prepare(0)
	others.Wait()

	var all incident.FieldErrors
	for i, own := range faults {
		for _, f := range own {
			if len(events) > 1 {
				f.Field = fmt.Sprintf("[%d].%s", i, f.Field)
			}
			all = append(all, f)
		}
	}
	if len(all) > 0 {
		return nil, incident.Errorf(incident.KindInvalid, op, "%w", all)
	}
	return pending, nil
}

// checkEvent returns an event's canonical parts, or what is wrong with it.
func checkEvent(e incident.AuditEvent, now time.Time) (*pendingEvent, incident.FieldErrors) {
	if faults := e.Validate(now); len(faults) > 0 {
		return nil, faults
	}
	p, err := prepareEvent(e)
	if err != nil {
		var faults incident.FieldErrors
		faults.Add("event_data", "%s", err)
		return nil, faults
	}
	return p, nil
}

// withIDs returns the events, with ids in ascending order for those that have none.
func withIDs(events []incident.AuditEvent) ([]incident.AuditEvent, error) {
	own := false
	for i := range events {
		if events[i].ID != "" {
			continue
		}
		if !own { // the caller's stay as they are
			events, own = slices.Clone(events), true
		}
		id, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		events[i].ID = id.String()
	}
	return events, nil
}

// Event returns one stored event; KindNotFound when there is none of this id.
func (s *Store) Event(ctx context.Context, id string) (incident.StoredEvent, error) {
	const op = "get event"
	var hash, canonical string
	err := s.reads.QueryRowContext(ctx, `SELECT hash, canonical FROM audit_events WHERE event_id = $1`,
		strings.ToLower(id)).Scan(&hash, &canonical)
	if errors.Is(err, sql.ErrNoRows) {
		return incident.StoredEvent{}, incident.Errorf(incident.KindNotFound, op, "no audit event has this id")
	}
	if err != nil {
		return incident.StoredEvent{}, s.fail(op, err)
	}
	e, err := decodeEvent(canonical, hash)
	if err != nil {
		return incident.StoredEvent{}, s.fail(op, err)
	}
	return e, nil
}

// Events returns one page of the events that q selects, and how many it selects in all.
func (s *Store) Events(ctx context.Context, q incident.EventQuery) (incident.EventPage, error) {
	const op = "query events"
	if q.Limit == 0 {
		q.Limit = defaultEventLimit
	}
	var faults incident.FieldErrors
	if q.Limit < 1 || q.Limit > maxEventLimit {
		faults.Add("limit", "must be from 1 to %d", maxEventLimit)
	}
	if q.Offset < 0 {
		faults.Add("offset", "must not be negative")
	}
	if len(faults) > 0 {
		return incident.EventPage{}, incident.Errorf(incident.KindInvalid, op, "%w", faults)
	}
	var w where
	w.equal("correlation_id", q.CorrelationID)
	w.equal("event_type", q.Type)
	w.equal("event_category", q.Category)
	w.equal("event_outcome", string(q.Outcome))
	w.equal("severity", q.Severity)
	if !q.Since.IsZero() {
		w.compare("event_time >=", micros(q.Since))
	}
	if !q.Until.IsZero() {
		w.compare("event_time <=", micros(q.Until))
	}
	page := incident.EventPage{Limit: q.Limit, Offset: q.Offset}
	err := s.read(ctx, op, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT count(*) FROM audit_events`+w.clause(), w.args...).Scan(&page.Total)
		if err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, `SELECT hash, canonical FROM audit_events`+w.clause()+
			` ORDER BY event_time DESC, event_id DESC`+w.page(q.Limit, q.Offset), w.args...)
		if err != nil {
			return err
		}
		if page.Events, err = scanEvents(rows); err != nil {
			return err
		}
		return s.fillParents(ctx, tx, page.Events)
	})
	if err != nil {
		return incident.EventPage{}, err
	}
	return page, nil
}

// fillParents sets ParentAt of the events whose parent is stored.
func (s *Store) fillParents(ctx context.Context, tx *sql.Tx, events []incident.StoredEvent) error {
	var ids []string
	for _, e := range events {
		if e.ParentID != "" {
			ids = append(ids, e.ParentID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	list, err := s.dialect.list(ids)
	if err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, `SELECT event_id, event_time FROM audit_events WHERE `+s.dialect.in("event_id", "$1"), list)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	times := make(map[string]time.Time, len(ids))
	for rows.Next() {
		var id string
		var us int64
		if err := rows.Scan(&id, &us); err != nil {
			return err
		}
		times[id] = fromMicros(us)
	}
	for i := range events {
		events[i].ParentAt = times[events[i].ParentID]
	}
	return rows.Err()
}

// scanEvents reads rows of (hash, canonical) and closes them.
func scanEvents(rows *sql.Rows) ([]incident.StoredEvent, error) {
	defer func() { _ = rows.Close() }()
	var events []incident.StoredEvent
	for rows.Next() {
		var hash, canonical string
		if err := rows.Scan(&hash, &canonical); err != nil {
			return nil, err
		}
		e, err := decodeEvent(canonical, hash)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

// where collects conditions that are all to hold.
type where struct {
	conditions []string
	args       []any
}

// equal adds a condition unless value is empty.
func (w *where) equal(column, value string) {
	if value != "" {
		w.compare(column+" =", value)
	}
}

func (w *where) compare(columnAndOperator string, value any) {
	w.conditions = append(w.conditions, columnAndOperator+" "+w.bind(value))
}

// bind adds an argument and returns its placeholder.
func (w *where) bind(value any) string {
	w.args = append(w.args, value)
	return fmt.Sprintf("$%d", len(w.args))
}

func (w *where) clause() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}

// page returns the clause for one page. Both numbers are the caller's own integers.
func (w *where) page(limit, offset int) string {
	return fmt.Sprintf(" LIMIT %d OFFSET %d", limit, offset)
}
