-- +goose Up

-- One row is one link of the hash chain of its correlation id. canonical is the whole event as RFC
-- 8785 text, and hash its SHA-256; the other columns repeat parts of it for queries.
CREATE TABLE audit_events (
    event_id       TEXT    NOT NULL PRIMARY KEY,
    correlation_id TEXT    NOT NULL,
    sequence       INTEGER NOT NULL,
    event_time     INTEGER NOT NULL, -- microseconds since 1970, UTC
    event_type     TEXT    NOT NULL,
    event_category TEXT    NOT NULL,
    event_outcome  TEXT    NOT NULL,
    severity       TEXT    NOT NULL,
    hash           TEXT    NOT NULL,
    canonical      TEXT    NOT NULL
);
CREATE UNIQUE INDEX audit_events_chain ON audit_events (correlation_id, sequence);
CREATE INDEX audit_events_newest ON audit_events (event_time);
CREATE INDEX audit_events_by_type ON audit_events (event_type, event_time);

-- +goose StatementBegin
CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events
BEGIN
    SELECT RAISE(ABORT, 'audit events cannot be changed');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_events_no_delete BEFORE DELETE ON audit_events
BEGIN
    SELECT RAISE(ABORT, 'audit events cannot be deleted');
END;
-- +goose StatementEnd

-- The head of each chain: with it a chain that was cut off at the end does not verify.
CREATE TABLE audit_chains (
    correlation_id TEXT    NOT NULL PRIMARY KEY,
    sequence       INTEGER NOT NULL,
    hash           TEXT    NOT NULL
) WITHOUT ROWID;
