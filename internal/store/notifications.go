package store

import (
	"context"
	"database/sql"

	"kubernaut.ai/kubernaut/internal/incident"
)

// AddNotification stores a record. A second one of the same id is KindConflict. The caller has
// checked its fields.
func (s *Store) AddNotification(ctx context.Context, n incident.Notification) (incident.StoredNotification, error) {
	const op = "add notification"
	now := fromMicros(micros(s.clock()))
	stored := incident.StoredNotification{Notification: n, CreatedAt: now, UpdatedAt: now}
	stored.SentAt = fromMicros(micros(n.SentAt))
	err := s.write(ctx, op, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `
			INSERT INTO notification_audit (remediation_id, notification_id, recipient, channel, message_summary, status,
			       sent_at, delivery_status, error_message, escalation_level, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id`,
			n.RemediationID, n.ID, n.Recipient, n.Channel, n.Summary, n.Status, micros(n.SentAt), n.DeliveryStatus,
			n.ErrorMessage, n.EscalationLevel, micros(now), micros(now)).Scan(&stored.Number)
	})
	if incident.KindOf(err) == incident.KindConflict {
		return incident.StoredNotification{}, incident.Errorf(incident.KindConflict, op, "a record of this notification is stored")
	}
	if err != nil {
		return incident.StoredNotification{}, err
	}
	return stored, nil
}
