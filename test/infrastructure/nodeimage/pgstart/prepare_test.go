package main

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// programs are the server's, as far as prepare uses them: initdb makes a cluster, and each run is remembered.
type programs struct {
	t    *testing.T
	runs []string
	fail string // the program that fails
}

func (p *programs) run(stdin io.Reader, name string, args ...string) error {
	said, err := io.ReadAll(stdin)
	if err != nil {
		return err
	}
	p.runs = append(p.runs, name+" "+strings.Join(args, " ")+" <"+strings.TrimSpace(string(said)))
	if name == "initdb" {
		dir := strings.TrimPrefix(args[0], "--pgdata=")
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		for _, file := range []string{"PG_VERSION", "pg_hba.conf", "postgresql.conf"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte("# "+file+"\n"), 0o600); err != nil {
				return err
			}
		}
	}
	if name == p.fail {
		return errors.New(name + " was killed")
	}
	return nil
}

// environment is one in which the server is on PATH.
func environment(t *testing.T, more map[string]string) (data string, env func(string) string) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "postgres"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	data = filepath.Join(t.TempDir(), "pgdata")
	values := map[string]string{"PGDATA": data, "POSTGRES_USER": "kubernaut", "POSTGRES_DB": "kubernaut", "POSTGRES_PASSWORD": "se'cret"}
	maps.Copy(values, more)
	return data, func(k string) string { return values[k] }
}

func TestPrepare(t *testing.T) {
	data, env := environment(t, map[string]string{"POSTGRES_DB": `odd"name`})
	p := &programs{t: t}
	argv, err := prepare([]string{"postgres", "-c", "fsync=off"}, env, p.run)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"-D", data, "-c", "fsync=off"}; filepath.Base(argv[0]) != "postgres" || !slices.Equal(argv[1:], want) {
		t.Errorf("becomes %q, want the server with %q", argv, want)
	}
	if len(p.runs) != 2 || !strings.Contains(p.runs[0], "--username=kubernaut") || !strings.HasSuffix(p.runs[0], "<se'cret") ||
		!strings.HasSuffix(p.runs[1], `<CREATE DATABASE "odd""name"`) {
		t.Errorf("ran %q", p.runs)
	}
	for file, want := range map[string]string{"pg_hba.conf": "host all all all scram-sha-256\n", "postgresql.conf": "listen_addresses = '*'\n"} {
		if content, err := os.ReadFile(filepath.Join(data, file)); err != nil || !strings.HasSuffix(string(content), want) {
			t.Errorf("%s is %q, %v, want %q at its end", file, content, err, want)
		}
	}
	if _, err := prepare(nil, env, p.run); err != nil || len(p.runs) != 2 {
		t.Errorf("the second start ran %q, %v: the cluster was there", p.runs[2:], err)
	}
}

// Whatever the first start was doing when it was killed, the next one makes a whole cluster.
func TestPrepareAfterAKill(t *testing.T) {
	for _, at := range []string{"initdb", "postgres"} {
		t.Run(at, func(t *testing.T) {
			data, env := environment(t, nil)
			if err := os.Mkdir(data, 0o700); err != nil { // an empty one is what a volume brings
				t.Fatal(err)
			}
			p := &programs{t: t, fail: at}
			if _, err := prepare(nil, env, p.run); err == nil || !strings.Contains(err.Error(), "was killed") {
				t.Fatalf("got %v", err)
			}
			if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
				t.Fatal("a half cluster passes for a whole one")
			}
			p.fail = ""
			if _, err := prepare(nil, env, p.run); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPrepareRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		env  map[string]string
		want string
	}{
		"no password":           {map[string]string{"POSTGRES_PASSWORD": ""}, "POSTGRES_PASSWORD is not set"},
		"a password of 2 lines": {map[string]string{"POSTGRES_PASSWORD": "a\nb"}, "more than a line"},
	} {
		t.Run(name, func(t *testing.T) {
			_, env := environment(t, test.env)
			if _, err := prepare(nil, env, (&programs{t: t}).run); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	t.Run("data that is no cluster", func(t *testing.T) {
		data, env := environment(t, nil)
		if err := os.MkdirAll(filepath.Join(data, "lost+found"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := prepare(nil, env, (&programs{t: t}).run); err == nil || !strings.Contains(err.Error(), "below the volume") {
			t.Errorf("got %v", err)
		}
		if _, err := os.Stat(filepath.Join(data, "lost+found")); err != nil {
			t.Errorf("what was there is gone: %v", err)
		}
	})
}

func TestPrepareOtherProgram(t *testing.T) {
	_, env := environment(t, nil)
	argv, err := prepare([]string{"sh", "-c", "true"}, env, (&programs{t: t}).run)
	if err != nil || filepath.Base(argv[0]) != "sh" || !slices.Equal(argv[1:], []string{"-c", "true"}) {
		t.Errorf("got %q, %v", argv, err)
	}
	if _, err := prepare([]string{"no-such-program"}, env, (&programs{t: t}).run); err == nil {
		t.Error("no error")
	}
}

func TestRun(t *testing.T) {
	if err := run(strings.NewReader("x"), "sh", "-c", "read line; test $line = x"); err != nil {
		t.Error(err)
	}
	err := run(strings.NewReader(""), "sh", "-c", "echo reason >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "reason") || !strings.Contains(err.Error(), "3") {
		t.Errorf("got %v", err)
	}
}
