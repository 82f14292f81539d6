package incident

import "time"

// Notification is the record of one message to people about a remediation. ID identifies it for its
// sender and is unique.
type Notification struct {
	ID              string
	RemediationID   string
	Recipient       string
	Channel         string // email, slack, pagerduty, webhook, sms
	Summary         string
	Status          string // sent, failed, pending, acknowledged, escalated
	SentAt          time.Time
	DeliveryStatus  string
	ErrorMessage    string
	EscalationLevel int
}

// StoredNotification is a Notification as the store keeps it.
type StoredNotification struct {
	Notification
	Number    int64 // given by the store, ascending
	CreatedAt time.Time
	UpdatedAt time.Time
}
