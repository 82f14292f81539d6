package store

import (
	"database/sql"
	"testing"
)

// The shipped image has no directory for temporary files, which SQLite wants for a large write or
// sort and without which every further one fails.
func TestSQLiteNeedsNoTemporaryDirectory(t *testing.T) {
	s := openTest(t, sqliteOptions(t))
	for name, db := range map[string]*sql.DB{"writes": s.writes, "reads": s.reads} {
		var got int
		if err := db.QueryRowContext(t.Context(), "PRAGMA temp_store").Scan(&got); err != nil {
			t.Fatal(err)
		}
		if want := 2; got != want {
			t.Errorf("%s: temp_store is %d, want %d (memory)", name, got, want)
		}
	}
}
