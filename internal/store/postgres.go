package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"kubernaut.ai/kubernaut/internal/incident"
)

func (s *Store) openPostgres(o Options) error {
	s.dialect = postgresDialect()
	cfg, err := pgx.ParseConfig(o.DSN)
	if err != nil {
		return err // pgx leaves the password out of its text
	}
	if _, ok := cfg.RuntimeParams["application_name"]; !ok {
		cfg.RuntimeParams["application_name"] = "kubernaut-datastorage"
	}
	// A process that stops in the middle of a transaction must not keep its locks.
	if _, ok := cfg.RuntimeParams["idle_in_transaction_session_timeout"]; !ok {
		cfg.RuntimeParams["idle_in_transaction_session_timeout"] = fmt.Sprint(o.WriteTimeout.Milliseconds())
	}
	s.writes = stdlib.OpenDB(*cfg)
	s.reads = s.writes
	s.writes.SetMaxOpenConns(o.MaxOpenConns)
	s.writes.SetMaxIdleConns(o.MaxIdleConns)
	s.writes.SetConnMaxLifetime(o.ConnMaxLifetime)
	s.writes.SetConnMaxIdleTime(o.ConnMaxIdleTime)
	return nil
}

func postgresDialect() dialect {
	return dialect{
		migrations: "migrations/postgres",
		goose:      goose.DialectPostgres,
		locker: func() (lock.SessionLocker, error) {
			const second = 1
			return lock.NewPostgresSessionLocker(lock.WithLockTimeout(second, 120), lock.WithUnlockTimeout(second, 30))
		},
		readOptions: &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
		in:          func(column, placeholder string) string { return column + " = ANY(" + placeholder + ")" },
		list:        func(values []string) (any, error) { return values, nil },
		lock:        postgresLock,
		bulk:        postgresBulk,
		kind:        postgresKind,
	}
}

// lockBuckets bounds how many advisory locks one transaction holds, whatever the number of its keys:
// the server's table of locks is small.
const lockBuckets = 256

// postgresLock takes an advisory lock for each bucket that a key falls in, in ascending order, so
// that transactions cannot wait for each other in a circle.
func postgresLock(ctx context.Context, tx *sql.Tx, space lockSpace, keys []string) error {
	buckets := make([]int32, 0, min(len(keys), lockBuckets))
	seen := [lockBuckets]bool{}
	for _, key := range keys {
		h := fnv.New32a()
		_, _ = h.Write([]byte(key))
		if b := h.Sum32() % lockBuckets; !seen[b] {
			seen[b] = true
			buckets = append(buckets, int32(b))
		}
	}
	slices.Sort(buckets)
	_, err := tx.ExecContext(ctx,
		`SELECT pg_advisory_xact_lock($1::int, bucket) FROM unnest($2::int[]) AS bucket`, int32(space), buckets)
	return err
}

func postgresBulk(_ context.Context, _ *sql.DB, t bulkTable) (bulkInsert, error) {
	arrays := make([]string, len(t.columns))
	for i, c := range t.columns {
		arrays[i] = fmt.Sprintf("$%d::%s[]", i+1, c.kind)
	}
	statement := t.into() + "SELECT * FROM unnest(" + strings.Join(arrays, ", ") + ") " + t.suffix
	return func(ctx context.Context, tx *sql.Tx, _ int, columns ...any) error {
		_, err := tx.ExecContext(ctx, statement, columns...)
		return err
	}, nil
}

func postgresKind(err error) incident.ErrorKind {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch refused.Code {
		case "23505": // unique_violation
			return incident.KindConflict
		case "57014": // query_canceled
			return incident.KindTimeout
		case "22021": // text with a NUL or of invalid UTF-8, which no stored text has
			return incident.KindInvalid
		}
		switch refused.Code[:2] {
		case "08", "25", "28", "40", "53", "55", "57", "58", "3D":
			// Connection, read-only or idle transaction, authorization, serialization, resources,
			// locks, shutdown, system, no such database: a person or time can mend them.
			return incident.KindUnavailable
		}
		return incident.KindInternal
	}
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.ErrUnexpectedEOF) || // the server, or what is on the way to it, ended in the middle
		pgconn.SafeToRetry(err) {
		return incident.KindUnavailable
	}
	return incident.KindInternal
}
