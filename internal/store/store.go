// Package store keeps audit events, catalogued workflows, evidence bundles and notification records
// in SQLite or PostgreSQL, over database/sql.
//
// Errors are of type *incident.Error. Their kinds are those of the domain: KindInvalid for a value
// that breaks a rule, KindNotFound, KindConflict, KindUnavailable when the database cannot be used
// now, KindTimeout, and KindInternal. Texts of the last three can hold details of the database and
// belong in a log, not in an answer.
package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	"kubernaut.ai/kubernaut/internal/incident"
)

// Driver names a database.
type Driver string

const (
	SQLite   Driver = "sqlite"
	Postgres Driver = "postgres"
)

// Options say where the store is. Zero values of everything but the place have safe defaults.
type Options struct {
	Driver Driver
	// Path is the file of a SQLite database. It is made, with its directory, when there is none.
	Path string
	// DSN is the connection string of a PostgreSQL database, as a URL or in keyword form.
	DSN string

	MaxOpenConns    int           // 10; for SQLite the number of concurrent readers
	MaxIdleConns    int           // MaxOpenConns
	ConnMaxLifetime time.Duration // unlimited
	ConnMaxIdleTime time.Duration // 5 minutes

	// WriteTimeout bounds a write transaction, which serves several callers: 30 seconds.
	WriteTimeout time.Duration

	Clock  func() time.Time // time.Now
	Logger *slog.Logger     // discards
}

func (o *Options) complete() error {
	var faults incident.FieldErrors
	switch o.Driver {
	case SQLite:
		if o.Path == "" {
			faults.Add("path", "must be set for driver %q", SQLite)
		}
	case Postgres:
		if o.DSN == "" {
			faults.Add("dsn", "must be set for driver %q", Postgres)
		}
	default:
		faults.Add("driver", "must be %q or %q", SQLite, Postgres)
	}
	if o.MaxOpenConns < 0 || o.MaxIdleConns < 0 || o.ConnMaxLifetime < 0 || o.ConnMaxIdleTime < 0 || o.WriteTimeout < 0 {
		faults.Add("connections and timeouts", "must not be negative")
	}
	if len(faults) > 0 {
		return faults
	}
	if o.MaxOpenConns == 0 {
		o.MaxOpenConns = 10
	}
	if o.MaxIdleConns == 0 {
		o.MaxIdleConns = o.MaxOpenConns
	}
	if o.ConnMaxIdleTime == 0 {
		o.ConnMaxIdleTime = 5 * time.Minute
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 30 * time.Second
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Store is an open database. It is safe for concurrent use. Several processes may use one database
// at once.
type Store struct {
	dialect dialect
	// reads and writes are two handles for SQLite, where only one connection may write, and one and
	// the same for PostgreSQL.
	reads, writes *sql.DB

	insertEvents bulkInsert
	upsertChains bulkInsert

	writer  *writer
	timeout time.Duration
	clock   func() time.Time
	log     *slog.Logger
}

// Open connects to the database, brings its schema up to date and starts the writer of events. The
// caller must Close the store.
func Open(ctx context.Context, o Options) (*Store, error) {
	const op = "open store"
	if err := o.complete(); err != nil {
		return nil, incident.Errorf(incident.KindInvalid, op, "%w", err)
	}
	s := &Store{timeout: o.WriteTimeout, clock: o.Clock, log: o.Logger}
	var err error
	if o.Driver == SQLite {
		err = s.openSQLite(o)
	} else {
		err = s.openPostgres(o)
	}
	if err == nil {
		err = s.prepare(ctx)
	}
	if err != nil {
		if closeErr := s.closeHandles(); closeErr != nil {
			s.log.Warn("Database did not close", "error", closeErr)
		}
		return nil, s.fail(op, err)
	}
	s.writer = startWriter(s)
	return s, nil
}

func (s *Store) prepare(ctx context.Context) error {
	if err := s.migrate(ctx); err != nil {
		return err
	}
	var err error
	if s.insertEvents, err = s.dialect.bulk(ctx, s.writes, eventsTable); err != nil {
		return err
	}
	s.upsertChains, err = s.dialect.bulk(ctx, s.writes, chainsTable)
	return err
}

// Close finishes the writes that were accepted and closes the database. Later calls fail.
func (s *Store) Close() error {
	s.writer.stop()
	return s.closeHandles()
}

func (s *Store) closeHandles() error {
	var err error
	if s.reads != nil && s.reads != s.writes {
		err = s.reads.Close()
	}
	if s.writes != nil {
		err = errors.Join(err, s.writes.Close())
	}
	return err
}

// Ping returns nil when the database can be read and has the schema of this program.
func (s *Store) Ping(ctx context.Context) error {
	var n int
	err := s.reads.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM audit_chains LIMIT 1) AS any_chain`).Scan(&n)
	if err != nil {
		return s.fail("ping store", err)
	}
	return nil
}

// read runs fn in a read-only transaction, all of whose statements see one snapshot.
func (s *Store) read(ctx context.Context, op string, fn func(tx *sql.Tx) error) error {
	return s.transact(ctx, s.reads, s.dialect.readOptions, op, fn)
}

// write runs fn in a transaction and commits it when fn returns nil.
func (s *Store) write(ctx context.Context, op string, fn func(tx *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.transact(ctx, s.writes, nil, op, fn)
}

func (s *Store) transact(ctx context.Context, db *sql.DB, o *sql.TxOptions, op string, fn func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, o)
	if err != nil {
		return s.fail(op, err)
	}
	if err := fn(tx); err != nil {
		if rerr := tx.Rollback(); rerr != nil && !errors.Is(rerr, sql.ErrTxDone) {
			s.log.Warn("Rollback failed", "op", op, "error", rerr)
		}
		return s.fail(op, err)
	}
	if err := tx.Commit(); err != nil {
		return s.fail(op, err)
	}
	return nil
}

// fail translates an error to one of the domain; errors of the domain pass as they are.
func (s *Store) fail(op string, err error) error {
	var known *incident.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return incident.Errorf(incident.KindTimeout, op, "%w", err)
	case errors.Is(err, context.Canceled), errors.Is(err, sql.ErrConnDone):
		return incident.Errorf(incident.KindUnavailable, op, "%w", err)
	}
	if s.dialect.kind != nil {
		return incident.Errorf(s.dialect.kind(err), op, "%w", err)
	}
	return incident.Errorf(incident.KindInternal, op, "%w", err)
}

// micros is how the database keeps a time.
func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
