-- +goose Up

CREATE TABLE bundles (
    digest     TEXT   NOT NULL PRIMARY KEY, -- "sha256:" and the lower-case hex SHA-256 of body
    body       BYTEA  NOT NULL,
    created_at BIGINT NOT NULL -- microseconds since 1970, UTC
);
