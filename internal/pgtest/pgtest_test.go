package pgtest

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDatabasesAreSeparate(t *testing.T) {
	var server Server
	for range 2 {
		db, err := sql.Open("pgx", server.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE only_here (n int)"); err != nil {
			t.Errorf("create the same table in a database of its own: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFindBinaries(t *testing.T) {
	t.Setenv("PATH", "")
	root := t.TempDir()
	if _, err := findBinaries(root); err == nil || !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("findBinaries without binaries = %v, want an error that says what to install", err)
	}
	for _, version := range []string{"9.6", "15", "9.1"} {
		dir := filepath.Join(root, version, "bin")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "postgres"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got, err := findBinaries(root)
	if want := filepath.Join(root, "15", "bin"); err != nil || got != want {
		t.Errorf("findBinaries = %q, %v, want %q", got, err, want)
	}
}
