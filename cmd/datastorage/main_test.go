package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, document string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(document), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	unknown := write("unknown.yaml", "database:\n  drivr: sqlite\n")
	directory := write("directory.yaml", "server: {port: 0}\ndatabase: {driver: sqlite, path: "+dir+"}\n")
	for name, tt := range map[string]struct {
		args           []string
		env            map[string]string
		code           int
		stdout, stderr string
	}{
		"help":                    {[]string{"-h"}, nil, 0, "", "-print-config"},
		"unknown flag":            {[]string{"-frobnicate"}, nil, 2, "", "frobnicate"},
		"print-config":            {[]string{"-print-config"}, nil, 0, "driver: sqlite", ""},
		"unknown key":             {nil, map[string]string{"CONFIG_PATH": unknown}, 1, "", unknown + ":2: database.drivr: unknown key"},
		"no such file":            {[]string{"-config", "nowhere.yaml"}, nil, 1, "", "nowhere.yaml"},
		"database is a directory": {[]string{"-config", directory}, nil, 1, "", "is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), tt.args, func(name string) string { return tt.env[name] }, &stdout, &stderr)
			if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("run(%q) = %d, want %d; stdout %q, stderr %q", tt.args, code, tt.code, stdout.String(), stderr.String())
			}
		})
	}
}
