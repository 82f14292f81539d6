package store

import (
	"context"
	"database/sql"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"kubernaut.ai/kubernaut/internal/incident"
)

// dialect is all that differs between the databases; everything else is the same SQL.
type dialect struct {
	migrations string // directory of the embedded migrations
	goose      goose.Dialect
	// locker keeps other processes from migrating at the same time; nil where a transaction does.
	locker func() (lock.SessionLocker, error)
	// readOptions start a transaction that sees one snapshot.
	readOptions *sql.TxOptions
	// in returns the condition that column is one of a list bound to the placeholder, and list makes
	// the value to bind.
	in   func(column, placeholder string) string
	list func(values []string) (any, error)
	// lock keeps other transactions that lock one of the keys in the same space out until tx ends.
	lock func(ctx context.Context, tx *sql.Tx, space lockSpace, keys []string) error
	// bulk prepares an insert of many rows.
	bulk func(ctx context.Context, db *sql.DB, t bulkTable) (bulkInsert, error)
	// kind says what an error of the driver means.
	kind func(error) incident.ErrorKind
}

// lockSpace separates locks on different sorts of things. A transaction that takes locks in several
// spaces takes them in ascending order.
type lockSpace int32

const (
	lockWorkflows lockSpace = 1 + iota // keys are workflow names
	lockChains                         // keys are correlation ids
)

// bulkTable describes an insert of many rows into one table.
type bulkTable struct {
	table   string
	columns []bulkColumn
	suffix  string // for example ON CONFLICT …
}

type bulkColumn struct {
	name string
	kind string // PostgreSQL's type
}

func (t bulkTable) into() string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return "INSERT INTO " + t.table + " (" + strings.Join(names, ", ") + ") "
}

// bulkInsert inserts n rows given by columns: each is a []string or an []int64 of length n, in the
// order of the table's columns.
type bulkInsert func(ctx context.Context, tx *sql.Tx, n int, columns ...any) error
