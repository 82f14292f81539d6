-- +goose Up

-- Times are microseconds since 1970, UTC; booleans are 0 and 1.
CREATE TABLE workflows (
    workflow_id               TEXT    NOT NULL PRIMARY KEY,
    workflow_name             TEXT    NOT NULL,
    version                   TEXT    NOT NULL,
    name                      TEXT    NOT NULL,
    description               TEXT    NOT NULL,
    owner                     TEXT    NOT NULL,
    maintainer                TEXT    NOT NULL,
    content                   TEXT    NOT NULL,
    content_hash              TEXT    NOT NULL,
    parameters                TEXT    NOT NULL, -- JSON array
    execution_engine          TEXT    NOT NULL,
    container_image           TEXT    NOT NULL,
    container_digest          TEXT    NOT NULL,
    signal_type               TEXT    NOT NULL,
    signal_key                TEXT    NOT NULL, -- signal_type in lower case
    severity                  TEXT    NOT NULL,
    component                 TEXT    NOT NULL,
    environment               TEXT    NOT NULL,
    priority                  TEXT    NOT NULL,
    custom_labels             TEXT    NOT NULL, -- JSON object
    detected_labels           TEXT    NOT NULL, -- JSON object
    status                    TEXT    NOT NULL,
    status_reason             TEXT    NOT NULL,
    disabled_at               INTEGER,
    disabled_by               TEXT    NOT NULL,
    disabled_reason           TEXT    NOT NULL,
    is_latest                 INTEGER NOT NULL,
    previous_version          TEXT    NOT NULL,
    deprecation_notice        TEXT    NOT NULL,
    version_notes             TEXT    NOT NULL,
    change_summary            TEXT    NOT NULL,
    approved_by               TEXT    NOT NULL,
    approved_at               INTEGER,
    expected_success_rate     REAL,
    expected_duration_seconds INTEGER,
    actual_success_rate       REAL,
    total_executions          INTEGER NOT NULL,
    successful_executions     INTEGER NOT NULL,
    created_at                INTEGER NOT NULL,
    updated_at                INTEGER NOT NULL,
    created_by                TEXT    NOT NULL,
    updated_by                TEXT    NOT NULL,
    UNIQUE (workflow_name, version)
);
CREATE INDEX workflows_search ON workflows (signal_key, severity, is_latest, status);
CREATE INDEX workflows_newest ON workflows (created_at DESC, workflow_id DESC);
