-- +goose Up

-- Times are microseconds since 1970, UTC.
CREATE TABLE notification_audit (
    id               BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    remediation_id   TEXT    NOT NULL,
    notification_id  TEXT    NOT NULL UNIQUE,
    recipient        TEXT    NOT NULL,
    channel          TEXT    NOT NULL,
    message_summary  TEXT    NOT NULL,
    status           TEXT    NOT NULL,
    sent_at          BIGINT  NOT NULL,
    delivery_status  TEXT    NOT NULL,
    error_message    TEXT    NOT NULL,
    escalation_level INTEGER NOT NULL,
    created_at       BIGINT  NOT NULL,
    updated_at       BIGINT  NOT NULL
);
CREATE INDEX notification_audit_by_remediation ON notification_audit (remediation_id);
