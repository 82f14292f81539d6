package audit

import (
	"bytes"
	"encoding/json"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// spooled is an event as the spool and rejected.jsonl hold it: the wire form of the store's API, so
// that an operator can read it and post it by hand.
type spooled struct {
	ID            string           `json:"event_id"`
	Version       string           `json:"version"`
	Type          string           `json:"event_type"`
	Timestamp     time.Time        `json:"event_timestamp"`
	Category      string           `json:"event_category"`
	Action        string           `json:"event_action"`
	Outcome       incident.Outcome `json:"event_outcome"`
	CorrelationID string           `json:"correlation_id"`
	ActorType     string           `json:"actor_type,omitempty"`
	ActorID       string           `json:"actor_id,omitempty"`
	ResourceType  string           `json:"resource_type,omitempty"`
	ResourceID    string           `json:"resource_id,omitempty"`
	ParentID      string           `json:"parent_event_id,omitempty"`
	Namespace     string           `json:"namespace,omitempty"`
	ClusterName   string           `json:"cluster_name,omitempty"`
	Severity      string           `json:"severity,omitempty"`
	DurationMS    *int64           `json:"duration_ms,omitempty"`
	Data          json.RawMessage  `json:"event_data"`
}

// encodeEvent returns e as one line of JSON.
func encodeEvent(e incident.AuditEvent) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	s := spooled(e)
	s.Timestamp = s.Timestamp.UTC()
	if err := enc.Encode(&s); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}

func decodeEvent(payload []byte) (incident.AuditEvent, error) {
	var s spooled
	if err := json.Unmarshal(payload, &s); err != nil {
		return incident.AuditEvent{}, err
	}
	return incident.AuditEvent(s), nil
}

// prepare bounds and validates e and returns it encoded. Errors are of KindInvalid and name every
// fault.
func prepare(e incident.AuditEvent, now time.Time) (correlationID string, payload []byte, err error) {
	e = bound(e)
	if faults := e.Validate(now); len(faults) > 0 {
		return "", nil, incident.Errorf(incident.KindInvalid, "audit.Record",
			"the event %.100q cannot be recorded: %w", e.Type, faults)
	}
	payload, err = encodeEvent(e)
	if err != nil {
		return "", nil, incident.Errorf(incident.KindInvalid, "audit.Record",
			"the event %.100q cannot be encoded: %w", e.Type, err)
	}
	if len(payload) > maxFrame {
		return "", nil, incident.Errorf(incident.KindInvalid, "audit.Record",
			"the event %.100q has %d bytes as JSON, the most is %d", e.Type, len(payload), maxFrame)
	}
	return e.CorrelationID, payload, nil
}
