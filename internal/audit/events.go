package audit

import (
	"encoding/binary"
	"encoding/json"
	"strconv"
	"time"

	"github.com/google/uuid"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Types of the events that this package builds.
const (
	TypeAnalysisStarted       = "aianalysis.analysis.started"
	TypePhaseTransition       = "aianalysis.phase.transition"
	TypeInvestigationCall     = "aianalysis.holmesgpt.call"
	TypePolicyEvaluation      = "aianalysis.rego.evaluation"
	TypeApprovalDecision      = "aianalysis.approval.decision"
	TypeHumanReviewRequired   = "aianalysis.human_review.required"
	TypeAnalysisCompleted     = "aianalysis.analysis.completed"
	TypeErrorOccurred         = "aianalysis.error.occurred"
	TypeAnalysisDeleted       = "aianalysis.analysis.deleted"
	TypeLLMRequest            = "llm_request"
	TypeLLMResponse           = "llm_response"
	TypeLLMToolCall           = "llm_tool_call"
	TypeWorkflowValidation    = "workflow_validation_attempt"
	TypeInvestigationComplete = "investigation.completed"
)

const (
	category  = "analysis"
	actorType = "service"

	// ActorController and ActorInvestigator are the actor ids of the two services that write
	// events of this package.
	ActorController   = "aianalysis-controller"
	ActorInvestigator = "holmesgpt-api"
)

// Subject is what all events about one run of one analysis have in common.
type Subject struct {
	Actor         string // actor_id
	ResourceType  string
	ResourceID    string
	Namespace     string
	ClusterName   string
	CorrelationID string // the remediation id
	// Key tells one run from every other, and stays the same when a run is resumed after a crash:
	// it seeds the ids of the events. With an empty Key every event gets a fresh id, so that
	// recording it twice stores it twice.
	Key string
}

// Analysis is the subject of the controller's events about one AIAnalysis. Generation is the
// generation of its spec.
func Analysis(uid string, generation int64, namespace, name, remediationID string) Subject {
	return Subject{
		Actor:         ActorController,
		ResourceType:  "AIAnalysis",
		ResourceID:    name,
		Namespace:     namespace,
		CorrelationID: remediationID,
		Key:           EventID(uid, strconv.FormatInt(generation, 10)),
	}
}

// Request is the subject of the investigator's events about one request. Key is the request's
// idempotency key; when it has none, whatever identifies the request once.
func Request(key, incidentID, remediationID string) Subject {
	return Subject{
		Actor:         ActorInvestigator,
		ResourceType:  "Incident",
		ResourceID:    incidentID,
		CorrelationID: remediationID,
		Key:           key,
	}
}

// Payload is the content of one type of event. The implementations are the structs of this package
// (PhaseTransition, InvestigationCall, …).
type Payload interface {
	// facts returns the part of the envelope that depends on the content.
	facts() facts
	// data returns the value whose JSON is the event's data. id is the id of the event.
	data(id string) any
}

// facts are the parts of an envelope that a payload decides.
type facts struct {
	eventType string
	action    string
	outcome   incident.Outcome
	severity  string // empty for "info"
	duration  *time.Duration
	// identity tells this event from the others of its type and subject. It holds what stays the
	// same when the event is emitted again after a crash, so no times and no durations.
	identity []string
}

// New returns the event that p happened to s at the given time. The same subject and content always
// give the same event id, whatever the time: the store keeps such an event once.
func New(s Subject, at time.Time, p Payload) incident.AuditEvent {
	f := p.facts()
	id := eventID(s.Key, f)
	e := incident.AuditEvent{
		ID:            id,
		Version:       "1.0",
		Type:          f.eventType,
		Timestamp:     at.UTC().Round(0),
		Category:      category,
		Action:        f.action,
		Outcome:       f.outcome,
		CorrelationID: s.CorrelationID,
		ActorType:     actorType,
		ActorID:       s.Actor,
		ResourceType:  s.ResourceType,
		ResourceID:    s.ResourceID,
		Namespace:     s.Namespace,
		ClusterName:   s.ClusterName,
		Severity:      f.severity,
	}
	if e.Severity == "" {
		e.Severity = "info"
	}
	if f.duration != nil {
		e.DurationMS = new(f.duration.Milliseconds())
	}
	data, err := json.Marshal(p.data(id))
	if err != nil {
		// Payloads hold strings, numbers and validated JSON only; a NaN is what is left to fail.
		data, _ = json.Marshal(map[string]string{"encoding_error": err.Error()})
	}
	e.Data = data
	return e
}

// eventNamespace is the name space of all event ids. It is part of the meaning of every id that was
// ever stored and must not change.
var eventNamespace = uuid.MustParse("6b0f3c5e-8c0d-5f7a-9d1e-2a4b7c9e1f03")

// EventID returns the UUID (version 5) that the given parts, in their order, always have. Different
// parts have different ids, however they are cut: ("a", "bc") is not ("ab", "c").
func EventID(parts ...string) string {
	n := 0
	for _, p := range parts {
		n += len(p) + binary.MaxVarintLen32
	}
	name := make([]byte, 0, n)
	for _, p := range parts {
		name = binary.AppendUvarint(name, uint64(len(p)))
		name = append(name, p...)
	}
	return uuid.NewSHA1(eventNamespace, name).String()
}

func eventID(key string, f facts) string {
	if key == "" {
		return newID()
	}
	return EventID(append([]string{key, f.eventType}, f.identity...)...)
}

// newID returns a fresh id that sorts by time.
func newID() string {
	id, err := uuid.NewV7()
	if err != nil {
		id = uuid.New()
	}
	return id.String()
}
