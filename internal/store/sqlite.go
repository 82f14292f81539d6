package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"kubernaut.ai/kubernaut/internal/incident"
)

// openSQLite opens one handle with a single connection for writing, whose transactions take the
// write lock when they begin, and another for reading beside it. Commits are synced to the disk.
func (s *Store) openSQLite(o Options) error {
	s.dialect = sqliteDialect()
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	dsn := func(extra ...string) string {
		// What SQLite needs a temporary file for stays in memory: the image has no directory for one.
		q := url.Values{"_pragma": append([]string{"busy_timeout(10000)", "foreign_keys(1)", "temp_store(memory)"}, extra...)}
		return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	}
	writes := dsn("journal_mode(WAL)", "synchronous(FULL)", "wal_autocheckpoint(4000)", "cache_size(-32000)") + "&_txlock=immediate"
	if s.writes, err = sql.Open("sqlite", writes); err != nil {
		return err
	}
	s.writes.SetMaxOpenConns(1)
	if s.reads, err = sql.Open("sqlite", dsn("query_only(1)")); err != nil {
		return err
	}
	s.reads.SetMaxOpenConns(o.MaxOpenConns)
	s.reads.SetMaxIdleConns(o.MaxIdleConns)
	s.reads.SetConnMaxIdleTime(o.ConnMaxIdleTime)
	return nil
}

func sqliteDialect() dialect {
	return dialect{
		migrations: "migrations/sqlite",
		goose:      goose.DialectSQLite3,
		in: func(column, placeholder string) string {
			return column + " IN (SELECT value FROM json_each(" + placeholder + "))"
		},
		list: func(values []string) (any, error) {
			text, err := json.Marshal(values)
			return string(text), err
		},
		// The only writer holds the database's write lock.
		lock: func(context.Context, *sql.Tx, lockSpace, []string) error { return nil },
		bulk: sqliteBulk,
		kind: sqliteKind,
	}
}

// sqliteBulk prepares inserts of 100, 10 and 1 rows: long statements save time up to about a hundred
// rows, and a prepared statement has a fixed number.
func sqliteBulk(ctx context.Context, db *sql.DB, t bulkTable) (bulkInsert, error) {
	sizes := []int{100, 10, 1}
	row := "(" + strings.TrimSuffix(strings.Repeat("?, ", len(t.columns)), ", ") + ")"
	statements := make([]*sql.Stmt, len(sizes))
	for i, size := range sizes {
		rows := strings.TrimSuffix(strings.Repeat(row+", ", size), ", ")
		var err error
		if statements[i], err = db.PrepareContext(ctx, t.into()+"VALUES "+rows+" "+t.suffix); err != nil {
			return nil, fmt.Errorf("prepare insert into %s: %w", t.table, err)
		}
	}
	return func(ctx context.Context, tx *sql.Tx, n int, columns ...any) error {
		args := make([]any, 0, min(n, sizes[0])*len(columns))
		at := 0
		for i, size := range sizes {
			if n-at < size {
				continue
			}
			stmt := tx.StmtContext(ctx, statements[i])
			for ; n-at >= size; at += size {
				args = args[:0]
				for r := at; r < at+size; r++ {
					for _, column := range columns {
						switch c := column.(type) {
						case []string:
							args = append(args, c[r])
						case []int64:
							args = append(args, c[r])
						default:
							return fmt.Errorf("column of type %T in a bulk insert", column)
						}
					}
				}
				if _, err := stmt.ExecContext(ctx, args...); err != nil {
					return err
				}
			}
		}
		return nil
	}, nil
}

func sqliteKind(err error) incident.ErrorKind {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return incident.KindInternal
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return incident.KindConflict
	}
	switch e.Code() & 0xff { // the primary code
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM:
		return incident.KindUnavailable
	case sqlite3.SQLITE_INTERRUPT:
		return incident.KindTimeout
	}
	return incident.KindInternal
}
