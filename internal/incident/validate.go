package incident

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// FieldError is one fault of a value: where, as a path in the names of the wire, and which rule it
// breaks. Rule never quotes the value, so that it can be shown and logged.
type FieldError struct {
	Field string
	Rule  string
}

// FieldErrors are all the faults of one value.
type FieldErrors []FieldError

func (f FieldErrors) Error() string {
	parts := make([]string, len(f))
	for i, e := range f {
		parts[i] = e.Field + ": " + e.Rule
	}
	return strings.Join(parts, "; ")
}

// Add appends a fault whose rule is formatted as by fmt.Sprintf.
func (f *FieldErrors) Add(field, rule string, args ...any) {
	*f = append(*f, FieldError{Field: field, Rule: fmt.Sprintf(rule, args...)})
}

// Bounds of an audit event. Lengths of text are in characters.
const (
	MaxEventVersion   = 20
	MaxEventType      = 100
	MaxEventAction    = 50
	MaxCorrelationID  = 255
	MaxActorType      = 50
	MaxActorID        = 255
	MaxResourceType   = 100
	MaxResourceID     = 255
	MaxEventNamespace = 253
	MaxClusterName    = 255
	MaxEventSeverity  = 20
	MaxEventData      = 1 << 20 // bytes of JSON

	// MaxClockSkew is how far in the future of the store's clock an event's timestamp may be. Any
	// time in the past is accepted: a late replay is honest.
	MaxClockSkew = 5 * time.Minute
)

var eventCategories = []string{
	"gateway", "notification", "analysis", "signalprocessing", "workflow", "execution", "orchestration",
	"workflow_catalog", "aiagent",
}

// EventCategories returns the values that AuditEvent.Category may have.
func EventCategories() []string { return slices.Clone(eventCategories) }

// WithDefaults returns e with the fields filled that the contract gives a default: version, actor,
// resource and severity.
func (e AuditEvent) WithDefaults() AuditEvent {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&e.Version, "1.0")
	set(&e.ActorType, "service")
	set(&e.ActorID, e.Category+"-service")
	set(&e.ResourceType, e.Category)
	set(&e.ResourceID, e.CorrelationID)
	set(&e.Severity, "info")
	return e
}

// Validate returns every fault of e, nil when there is none. An empty ID is none: the store gives
// one. It is the rule of the store, so that a writer which validates first is never refused for the
// event's content (but see MaxClockSkew).
func (e AuditEvent) Validate(now time.Time) FieldErrors {
	var f FieldErrors
	text := func(field, value string, least, most int) {
		switch n := utf8.RuneCountInString(value); {
		case n < least:
			f.Add(field, "must not be empty")
		case n > most:
			f.Add(field, "must have at most %d characters", most)
		case !utf8.ValidString(value):
			f.Add(field, "must be valid UTF-8")
		case strings.IndexByte(value, 0) >= 0:
			f.Add(field, "must not contain a NUL character")
		}
	}
	if e.ID != "" && !ValidUUID(e.ID) {
		f.Add("event_id", "must be a UUID")
	}
	text("version", e.Version, 1, MaxEventVersion)
	text("event_type", e.Type, 1, MaxEventType)
	switch {
	case e.Timestamp.IsZero():
		f.Add("event_timestamp", "must be set")
	case e.Timestamp.After(now.Add(MaxClockSkew)):
		f.Add("event_timestamp", "must not be more than 5 minutes in the future")
	case e.Timestamp.UTC().Year() > 9999 || e.Timestamp.UTC().Year() < 1:
		f.Add("event_timestamp", "must be in the years 1 to 9999")
	}
	if !slices.Contains(eventCategories, e.Category) {
		f.Add("event_category", "must be one of %s", strings.Join(eventCategories, ", "))
	}
	text("event_action", e.Action, 1, MaxEventAction)
	if e.Outcome != OutcomeSuccess && e.Outcome != OutcomeFailure && e.Outcome != OutcomePending {
		f.Add("event_outcome", "must be one of success, failure, pending")
	}
	text("correlation_id", e.CorrelationID, 1, MaxCorrelationID)
	text("actor_type", e.ActorType, 0, MaxActorType)
	text("actor_id", e.ActorID, 0, MaxActorID)
	text("resource_type", e.ResourceType, 0, MaxResourceType)
	text("resource_id", e.ResourceID, 0, MaxResourceID)
	text("namespace", e.Namespace, 0, MaxEventNamespace)
	text("cluster_name", e.ClusterName, 0, MaxClusterName)
	text("severity", e.Severity, 0, MaxEventSeverity)
	if e.ParentID != "" && !ValidUUID(e.ParentID) {
		f.Add("parent_event_id", "must be a UUID")
	}
	if e.DurationMS != nil && *e.DurationMS < 0 {
		f.Add("duration_ms", "must not be negative")
	}
	switch data := bytes.TrimLeft(e.Data, " \t\r\n"); {
	case len(e.Data) > MaxEventData:
		f.Add("event_data", "must have at most %d bytes", MaxEventData)
	case len(data) == 0 || data[0] != '{':
		f.Add("event_data", "must be a JSON object")
	case !json.Valid(e.Data):
		f.Add("event_data", "must be valid JSON")
	}
	return f
}

// ValidUUID reports whether s is a UUID in its usual form of 36 characters, in either case.
func ValidUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
				return false
			}
		}
	}
	return true
}
