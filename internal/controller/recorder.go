package controller

import (
	"context"
	"errors"
	"time"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/audit"
	"kubernaut.ai/kubernaut/internal/incident"
)

// Recorder is the audit trail. *audit.Client is one.
type Recorder interface {
	// RecordAll returns nil once the events are durable. Recording an event again changes nothing.
	RecordAll(ctx context.Context, events ...incident.AuditEvent) error
	// Delivered waits until all events of a correlation id are in Data Storage.
	Delivered(ctx context.Context, correlationID string) error
}

// deletion returns the audit event of a deletion.
func deletion(a *v1alpha1.AIAnalysis, now time.Time) incident.AuditEvent {
	return audit.New(subjectOf(a), now, audit.AnalysisDeleted{Phase: string(a.Status.Phase)})
}

// auditState says how the wait for delivery ended.
func auditState(err error) v1alpha1.AuditState {
	switch {
	case err == nil:
		return v1alpha1.AuditRecorded
	case errors.Is(err, audit.ErrRejected):
		return v1alpha1.AuditIncomplete
	}
	return v1alpha1.AuditSpooled
}

func auditWarning(s v1alpha1.AuditState) string {
	if s == v1alpha1.AuditIncomplete {
		return "Data Storage refused an audit event of this remediation; the controller keeps it in rejected.jsonl."
	}
	return "Data Storage did not take the audit events in time; they are kept and delivered when it can be reached."
}
