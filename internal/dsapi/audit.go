package dsapi

import (
	"context"
	"fmt"
	"net/mail"
	"time"

	"kubernaut.ai/kubernaut/internal/dsapi/internal/gen"
	"kubernaut.ai/kubernaut/internal/incident"
)

func (s *operations) CreateAuditEvent(ctx context.Context, r gen.CreateAuditEventRequestObject) (gen.CreateAuditEventResponseObject, error) {
	e, faults := eventFromWire(*r.Body)
	if len(faults) > 0 {
		return nil, incident.Errorf(incident.KindInvalid, "create event", "%w", faults)
	}
	if e.ParentID != "" {
		if _, err := s.store.Event(ctx, e.ParentID); incident.KindOf(err) == incident.KindNotFound {
			return nil, incident.Errorf(incident.KindInvalid, "create event", "%w",
				incident.FieldErrors{{Field: "parent_event_id", Rule: "must be the id of a stored event"}})
		} else if err != nil {
			return nil, err
		}
	}
	stored, err := s.append(ctx, []incident.AuditEvent{e})
	if err != nil {
		return nil, err
	}
	return gen.CreateAuditEvent201JSONResponse{
		EventId: stored[0].ID, EventTimestamp: stored[0].Timestamp, Message: "audit event stored",
	}, nil
}

func (s *operations) CreateAuditEventsBatch(ctx context.Context, r gen.CreateAuditEventsBatchRequestObject) (gen.CreateAuditEventsBatchResponseObject, error) {
	const op = "create events"
	body := *r.Body
	if len(body) == 0 {
		return nil, incident.Errorf(incident.KindInvalid, op, "the batch has no events")
	}
	if len(body) > s.o.MaxBatchEvents {
		return nil, incident.Errorf(incident.KindTooLarge, op, "a batch must have at most %d events", s.o.MaxBatchEvents)
	}
	events := make([]incident.AuditEvent, len(body))
	var faults incident.FieldErrors
	for i, wire := range body {
		e, own := eventFromWire(wire)
		for _, f := range own {
			faults.Add(fmt.Sprintf("[%d].%s", i, f.Field), "%s", f.Rule)
		}
		events[i] = e
	}
	if len(faults) > 0 {
		return nil, incident.Errorf(incident.KindInvalid, op, "%w", faults)
	}
	stored, err := s.append(ctx, events)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(stored))
	for i, e := range stored {
		ids[i] = e.ID
	}
	return gen.CreateAuditEventsBatch201JSONResponse{
		EventIds: ids, Message: fmt.Sprintf("%d audit events stored", len(ids)),
	}, nil
}

func (s *operations) append(ctx context.Context, events []incident.AuditEvent) ([]incident.StoredEvent, error) {
	start := time.Now()
	stored, err := s.store.AppendEvents(ctx, events)
	s.metrics.wrote("audit_events", start)
	s.metrics.events(events, s.o.Clock(), err)
	return stored, err
}

func (s *operations) QueryAuditEvents(ctx context.Context, r gen.QueryAuditEventsRequestObject) (gen.QueryAuditEventsResponseObject, error) {
	p, now := r.Params, s.o.Clock()
	var faults incident.FieldErrors
	q := incident.EventQuery{
		CorrelationID: value(p.CorrelationId), Type: value(p.EventType), Category: value(p.EventCategory),
		Severity: value(p.Severity), Limit: value(p.Limit), Offset: value(p.Offset),
		Outcome: incident.Outcome(value(p.EventOutcome)),
		Since:   timeParam("since", p.Since, now, &faults),
		Until:   timeParam("until", p.Until, now, &faults),
	}
	if len(faults) > 0 {
		return nil, incident.Errorf(incident.KindInvalid, "query events", "%w", faults)
	}
	page, err := s.store.Events(ctx, q)
	if err != nil {
		return nil, err
	}
	data := make([]gen.AuditEvent, len(page.Events))
	for i, e := range page.Events {
		data[i] = eventToWire(e)
	}
	return gen.QueryAuditEvents200JSONResponse{
		Data:       data,
		Pagination: gen.Pagination{Limit: page.Limit, Offset: page.Offset, Total: page.Total, HasMore: page.HasMore()},
	}, nil
}

func (s *operations) VerifyAuditChain(ctx context.Context, r gen.VerifyAuditChainRequestObject) (gen.VerifyAuditChainResponseObject, error) {
	report, err := s.store.VerifyChain(ctx, r.Params.CorrelationId)
	if err != nil {
		return nil, err
	}
	return gen.VerifyAuditChain200JSONResponse{
		CorrelationId: report.CorrelationID, Events: report.Events, Valid: report.Valid, Head: report.Head,
		BrokenAt: optional(report.BrokenAt), Problem: optional(report.Problem),
	}, nil
}

func (s *operations) CreateNotificationAudit(ctx context.Context, r gen.CreateNotificationAuditRequestObject) (gen.CreateNotificationAuditResponseObject, error) {
	b := r.Body
	var faults incident.FieldErrors
	if _, err := mail.ParseAddress(b.Recipient); b.Channel == gen.NotificationAuditRequestChannelEmail && err != nil {
		faults.Add("recipient", "must be an e-mail address for channel email")
	}
	if b.SentAt.After(s.o.Clock().Add(incident.MaxClockSkew)) {
		faults.Add("sent_at", "must not be more than 5 minutes in the future")
	}
	if len(faults) > 0 {
		return nil, incident.Errorf(incident.KindInvalid, "create notification", "%w", faults)
	}
	start := time.Now()
	n, err := s.store.AddNotification(ctx, incident.Notification{
		ID: b.NotificationId, RemediationID: b.RemediationId, Recipient: b.Recipient, Channel: string(b.Channel),
		Summary: b.MessageSummary, Status: string(b.Status), SentAt: b.SentAt, DeliveryStatus: value(b.DeliveryStatus),
		ErrorMessage: value(b.ErrorMessage), EscalationLevel: value(b.EscalationLevel),
	})
	s.metrics.wrote("notification_audit", start)
	if err != nil {
		return nil, err
	}
	return gen.CreateNotificationAudit201JSONResponse{
		Id: n.Number, NotificationId: n.ID, RemediationId: n.RemediationID, Recipient: n.Recipient,
		Channel: gen.NotificationAuditChannel(n.Channel), MessageSummary: n.Summary,
		Status: gen.NotificationAuditStatus(n.Status), SentAt: n.SentAt, DeliveryStatus: b.DeliveryStatus,
		ErrorMessage: b.ErrorMessage, EscalationLevel: b.EscalationLevel, CreatedAt: n.CreatedAt, UpdatedAt: n.UpdatedAt,
	}, nil
}

// eventFromWire returns the event and the faults that only its wire form can have.
func eventFromWire(w gen.AuditEventRequest) (incident.AuditEvent, incident.FieldErrors) {
	var faults incident.FieldErrors
	e := incident.AuditEvent{
		ID: value(w.EventId), Version: w.Version, Type: w.EventType, Category: string(w.EventCategory), Action: w.EventAction,
		Outcome: incident.Outcome(w.EventOutcome), CorrelationID: w.CorrelationId, ActorType: value(w.ActorType),
		ActorID: value(w.ActorId), ResourceType: value(w.ResourceType), ResourceID: value(w.ResourceId),
		ParentID: value(w.ParentEventId), Namespace: value(w.Namespace), ClusterName: value(w.ClusterName),
		Severity: value(w.Severity), DurationMS: w.DurationMs, Data: w.EventData,
	}
	if w.EventId != nil && *w.EventId == "" {
		faults.Add("event_id", "must be a UUID")
	}
	if w.ParentEventId != nil && *w.ParentEventId == "" {
		faults.Add("parent_event_id", "must be a UUID")
	}
	at, err := time.Parse(time.RFC3339Nano, w.EventTimestamp)
	if err != nil {
		faults.Add("event_timestamp", "must be an RFC 3339 date-time")
	}
	e.Timestamp = at
	return e, faults
}

// eventToRequest is the wire form of an event to write.
func eventToRequest(e incident.AuditEvent) gen.AuditEventRequest {
	return gen.AuditEventRequest{
		EventId: optional(e.ID), Version: e.Version, EventType: e.Type, EventTimestamp: e.Timestamp.UTC().Format(time.RFC3339Nano),
		EventCategory: gen.EventCategory(e.Category), EventAction: e.Action, EventOutcome: gen.EventOutcome(e.Outcome),
		CorrelationId: e.CorrelationID, EventData: e.Data, ActorType: optional(e.ActorType), ActorId: optional(e.ActorID),
		ResourceType: optional(e.ResourceType), ResourceId: optional(e.ResourceID), ParentEventId: optional(e.ParentID),
		Namespace: optional(e.Namespace), ClusterName: optional(e.ClusterName), Severity: optional(e.Severity),
		DurationMs: e.DurationMS,
	}
}

func eventToWire(e incident.StoredEvent) gen.AuditEvent {
	w := gen.AuditEvent{
		EventId: e.ID, EventTimestamp: e.Timestamp, EventDate: e.Timestamp.Format(time.DateOnly), EventType: e.Type,
		Version: e.Version, EventCategory: e.Category, EventAction: e.Action, EventOutcome: string(e.Outcome),
		CorrelationId: e.CorrelationID, ParentEventId: optional(e.ParentID), ResourceType: e.ResourceType,
		ResourceId: e.ResourceID, Namespace: e.Namespace, ClusterName: e.ClusterName, Severity: e.Severity,
		DurationMs: e.DurationMS, ActorId: e.ActorID, ActorType: e.ActorType, EventData: e.Data, Sequence: e.Sequence,
		PrevHash: e.PrevHash, Hash: e.Hash, StoredAt: e.StoredAt,
	}
	if !e.ParentAt.IsZero() {
		day := e.ParentAt.Format(time.DateOnly)
		w.ParentEventDate = &day
	}
	return w
}

// eventFromPage reads an event of a query's answer.
func eventFromPage(w gen.AuditEvent) incident.StoredEvent {
	return incident.StoredEvent{
		AuditEvent: incident.AuditEvent{
			ID: w.EventId, Version: w.Version, Type: w.EventType, Timestamp: w.EventTimestamp, Category: w.EventCategory,
			Action: w.EventAction, Outcome: incident.Outcome(w.EventOutcome), CorrelationID: w.CorrelationId,
			ActorType: w.ActorType, ActorID: w.ActorId, ResourceType: w.ResourceType, ResourceID: w.ResourceId,
			ParentID: value(w.ParentEventId), Namespace: w.Namespace, ClusterName: w.ClusterName, Severity: w.Severity,
			DurationMS: w.DurationMs, Data: w.EventData,
		},
		Sequence: w.Sequence, PrevHash: w.PrevHash, Hash: w.Hash, StoredAt: w.StoredAt,
	}
}
