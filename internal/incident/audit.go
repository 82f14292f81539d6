package incident

import (
	"encoding/json"
	"time"
)

// Outcome of an audited action.
type Outcome string

const (
	OutcomeSuccess Outcome = "success"
	OutcomeFailure Outcome = "failure"
	OutcomePending Outcome = "pending"
)

// AuditEvent is one record of the audit trail. ID is a UUID given by the writer, so that writing
// an event twice is the same as writing it once. Data is a JSON object.
type AuditEvent struct {
	ID            string
	Version       string // "1.0"
	Type          string // at most 100 bytes
	Timestamp     time.Time
	Category      string
	Action        string // at most 50 bytes
	Outcome       Outcome
	CorrelationID string // 1 to 255 bytes
	ActorType     string
	ActorID       string
	ResourceType  string
	ResourceID    string
	ParentID      string
	Namespace     string
	ClusterName   string
	Severity      string
	DurationMS    *int64
	Data          json.RawMessage
}

// StoredEvent is an AuditEvent as the store keeps it: a link of the hash chain of its correlation
// id. Sequence counts from 1 without holes within a correlation id.
type StoredEvent struct {
	AuditEvent
	Sequence int64
	PrevHash string // lower-case hex; empty for Sequence 1
	Hash     string
	StoredAt time.Time
	// ParentAt is the timestamp of the parent event, zero when there is none or it is not stored.
	// Queries fill it; it is not part of the chain.
	ParentAt time.Time
}

// ChainReport is the result of checking one hash chain.
type ChainReport struct {
	CorrelationID string
	Events        int64
	Valid         bool
	Head          string // hash of the last event
	// BrokenAt is the sequence number of the first event that does not verify; 0 when Valid.
	BrokenAt int64
	Problem  string
}
