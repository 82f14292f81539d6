package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"strings"

	"kubernaut.ai/kubernaut/internal/incident"
)

// PutBundle stores an evidence bundle under its digest, "sha256:<hex>", and reports whether it is
// new. A body that does not have the digest is KindInvalid.
func (s *Store) PutBundle(ctx context.Context, digest string, body []byte) (bool, error) {
	const op = "put bundle"
	if got := bundleDigest(body); got != digest {
		rule := "must be sha256: and 64 lower-case hex digits"
		if _, err := hex.DecodeString(strings.TrimPrefix(digest, "sha256:")); err == nil {
			rule = "must be the digest of the body, which is " + got
		}
		return false, incident.Errorf(incident.KindInvalid, op, "%w", incident.FieldErrors{{Field: "digest", Rule: rule}})
	}
	created := false
	err := s.write(ctx, op, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx,
			`INSERT INTO bundles (digest, body, created_at) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING`,
			digest, body, micros(s.clock()))
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		created = n > 0
		return err
	})
	return created, err
}

// Bundle returns a stored bundle; KindNotFound when there is none of this digest, and KindInternal
// when what is stored does not have it.
func (s *Store) Bundle(ctx context.Context, digest string) ([]byte, error) {
	const op = "get bundle"
	var body []byte
	err := s.reads.QueryRowContext(ctx, `SELECT body FROM bundles WHERE digest = $1`, digest).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, incident.Errorf(incident.KindNotFound, op, "no bundle has this digest")
	}
	if err != nil {
		return nil, s.fail(op, err)
	}
	if got := bundleDigest(body); got != digest {
		return nil, incident.Errorf(incident.KindInternal, op, "the bundle stored as %s has digest %s: it was changed", digest, got)
	}
	return body, nil
}

func bundleDigest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}
