package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// settings are what the variables say, under the names and with the defaults of the official image.
type settings struct {
	data, user, database, password string
}

// prepare makes the database cluster if it is missing and returns the command line to become: the server with args added,
// or, if the first of args is no flag, args themselves. run runs a program.
func prepare(args []string, env func(string) string, run func(stdin io.Reader, name string, args ...string) error) ([]string, error) {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") && args[0] != "postgres" {
		path, err := exec.LookPath(args[0])
		return append([]string{path}, args[1:]...), err
	}
	if len(args) > 0 && args[0] == "postgres" {
		args = args[1:]
	}
	s, err := read(env)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(s.data, "PG_VERSION")); errors.Is(err, fs.ErrNotExist) {
		if err := initialize(s, run); err != nil {
			return nil, fmt.Errorf("make a database cluster in %s: %w", s.data, err)
		}
	} else if err != nil {
		return nil, err
	}
	server, err := exec.LookPath("postgres")
	return append([]string{server, "-D", s.data}, args...), err
}

func read(env func(string) string) (settings, error) {
	or := func(name, value string) string {
		if v := env(name); v != "" {
			return v
		}
		return value
	}
	s := settings{data: or("PGDATA", "/var/lib/postgresql/data"), user: or("POSTGRES_USER", "postgres"), password: env("POSTGRES_PASSWORD")}
	s.database = or("POSTGRES_DB", s.user)
	if s.password == "" {
		return settings{}, errors.New("POSTGRES_PASSWORD is not set: it becomes the password of " + s.user)
	}
	if strings.ContainsAny(s.password, "\r\n") {
		return settings{}, errors.New("POSTGRES_PASSWORD is more than a line")
	}
	return s, nil
}

// initialize makes the cluster beside its place and puts it there when it is complete: one that was interrupted begins
// anew, and never passes for a whole one.
func initialize(s settings, run func(stdin io.Reader, name string, args ...string) error) error {
	tmp := s.data + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	err := run(strings.NewReader(s.password+"\n"), "initdb", "--pgdata="+tmp, "--username="+s.user, "--pwfile=/dev/stdin",
		"--encoding=UTF8", "--locale=C.UTF-8", "--auth-local=trust", "--auth-host=scram-sha-256")
	if err != nil {
		return err
	}
	if err := addLine(filepath.Join(tmp, "pg_hba.conf"), "host all all all scram-sha-256"); err != nil {
		return err
	}
	if err := addLine(filepath.Join(tmp, "postgresql.conf"), "listen_addresses = '*'"); err != nil {
		return err
	}
	if s.database != "postgres" {
		create := `CREATE DATABASE "` + strings.ReplaceAll(s.database, `"`, `""`) + "\"\n"
		if err := run(strings.NewReader(create), "postgres", "--single", "-j", "-D", tmp, "postgres"); err != nil {
			return err
		}
	}
	if err := os.Remove(s.data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: PGDATA must be a directory below the volume, and empty at first", err)
	}
	return os.Rename(tmp, s.data)
}

func addLine(file, line string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f, line); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// run runs a program to its end. What it says goes to the container's log, and its end into the error.
func run(stdin io.Reader, name string, args ...string) error {
	var said bytes.Buffer
	cmd := exec.Command(name, args...) //nolint:noctx // it ends with the container
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, os.Stdout, io.MultiWriter(os.Stderr, &said)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}
