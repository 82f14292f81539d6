-- +goose Up

CREATE TABLE bundles (
    digest     TEXT    NOT NULL PRIMARY KEY, -- "sha256:" and the lower-case hex SHA-256 of body
    body       BLOB    NOT NULL,
    created_at INTEGER NOT NULL -- microseconds since 1970, UTC
);
