// Package pgtest starts a real PostgreSQL server for tests, from the binaries that the machine has.
//
// A test package declares one Server; every test asks it for a database of its own:
//
//	var postgres pgtest.Server
//
//	func TestSomething(t *testing.T) {
//		dsn := postgres.Database(t)
//		…
//	}
//
// The server starts with the first database, listens on a Unix socket in a temporary directory and
// nowhere else, and ends with the test process, however that ends.
package pgtest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx"
)

// Server is a PostgreSQL server. The zero value is one that starts when it is first used and trades
// the safety of its data for speed. It is safe for concurrent use.
type Server struct {
	// Durable makes the server sync every commit to the disk, as in production. It is for
	// measurements.
	Durable bool

	once      sync.Once
	err       error
	dir       string
	keepAlive *os.File // the server ends when this end of a pipe is closed
	admin     *sql.DB
	mu        sync.Mutex
	databases int
}

// Database returns the connection string of a new, empty database. It is dropped when the test ends.
// With -short the test is skipped; without a PostgreSQL on the machine it fails.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: needs a PostgreSQL server")
	}
	s.once.Do(func() { s.err = s.start() })
	if s.err != nil {
		t.Fatalf("start PostgreSQL: %v", s.err)
	}
	s.mu.Lock()
	s.databases++
	name := fmt.Sprintf("test_%d", s.databases)
	s.mu.Unlock()
	if _, err := s.admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatalf("create a database: %v", err)
	}
	t.Cleanup(func() {
		if _, err := s.admin.ExecContext(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop a database: %v", err)
		}
	})
	return s.dsn(name)
}

func (s *Server) dsn(database string) string {
	return fmt.Sprintf("host=%s port=5432 user=postgres dbname=%s sslmode=disable", s.dir, database)
}

func (s *Server) start() error {
	bin, err := findBinaries("/usr/lib/postgresql")
	if err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
		return err
	}
	data := filepath.Join(s.dir, "data")
	user := &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		const nobody = 65534
		user.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(s.dir, nobody, nobody); err != nil {
			return err
		}
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"),
		"--pgdata="+data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
	initdb.SysProcAttr = user
	initdb.Dir = s.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	settings := []string{"-D", data, "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=50"}
	if !s.Durable {
		settings = append(settings, "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	}
	if err := s.run(filepath.Join(bin, "postgres"), settings, user); err != nil {
		return err
	}
	if s.admin, err = sql.Open("pgx", s.dsn("postgres")); err != nil {
		return err
	}
	return s.waitReady()
}

// keeper runs the server until its standard input ends, which the kernel sees to when the test
// process is gone, and then removes the directory.
const keeper = `dir=$1; shift
"$@" </dev/null & server=$!
cat >/dev/null
kill -QUIT $server 2>/dev/null
wait $server
rm -rf "$dir"`

func (s *Server) run(postgres string, settings []string, user *syscall.SysProcAttr) error {
	log, err := os.Create(filepath.Join(s.dir, "server.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	stdin, keepAlive, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = stdin.Close() }()
	cmd := exec.Command("/bin/sh", append([]string{"-c", keeper, "sh", s.dir, postgres}, settings...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, log, log
	cmd.SysProcAttr = user
	cmd.Dir = s.dir
	if err := cmd.Start(); err != nil {
		return err
	}
	s.keepAlive = keepAlive
	return cmd.Process.Release()
}

func (s *Server) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.admin.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(s.dir, "server.log"))
			return fmt.Errorf("the server does not answer: %w: %s", err, log)
		}
	}
}

// findBinaries returns the directory with initdb and postgres: that on PATH, or the newest version
// below root, where Debian puts them.
func findBinaries(root string) (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob(filepath.Join(root, "*", "bin", "postgres"))
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no PostgreSQL server on PATH or in %s: install the package postgresql "+
			"(apt-get install --no-install-recommends postgresql), or leave these tests out with -short", root)
	}
	version := func(path string) float64 {
		v, _ := strconv.ParseFloat(strings.Split(strings.TrimPrefix(path, root+"/"), "/")[0], 64)
		return v
	}
	slices.SortFunc(found, func(a, b string) int {
		if version(a) > version(b) {
			return -1
		}
		return 1
	})
	return filepath.Dir(found[0]), nil
}
