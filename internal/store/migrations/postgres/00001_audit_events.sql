-- +goose Up

-- One row is one link of the hash chain of its correlation id. canonical is the whole event as RFC
-- 8785 text, and hash its SHA-256; the other columns repeat parts of it for queries. Text that is
-- ordered by has the C collation, so that both databases order alike.
CREATE TABLE audit_events (
    event_id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    correlation_id TEXT COLLATE "C" NOT NULL,
    sequence       BIGINT NOT NULL,
    event_time     BIGINT NOT NULL, -- microseconds since 1970, UTC
    event_type     TEXT COLLATE "C" NOT NULL,
    event_category TEXT   NOT NULL,
    event_outcome  TEXT   NOT NULL,
    severity       TEXT   NOT NULL,
    hash           TEXT   NOT NULL,
    canonical      TEXT   NOT NULL
);
CREATE UNIQUE INDEX audit_events_chain ON audit_events (correlation_id, sequence);
-- Without this one the planner may walk audit_events_newest for the few events of a chain.
CREATE INDEX audit_events_of_chain ON audit_events (correlation_id, event_time);
CREATE INDEX audit_events_newest ON audit_events (event_time);
CREATE INDEX audit_events_by_type ON audit_events (event_type, event_time);

-- +goose StatementBegin
CREATE FUNCTION audit_events_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events cannot be changed or deleted';
END;
$$;
-- +goose StatementEnd
CREATE TRIGGER audit_events_no_change BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_events_refuse();
CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_events_refuse();

-- The head of each chain: with it a chain that was cut off at the end does not verify. The free
-- space on its pages lets a head be rewritten in place.
CREATE TABLE audit_chains (
    correlation_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    sequence       BIGINT NOT NULL,
    hash           TEXT   NOT NULL
) WITH (fillfactor = 70);
