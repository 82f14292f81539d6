package controlplane

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// startScripts starts shell scripts in place of etcd and kube-apiserver.
func startScripts(t *testing.T, etcd, apiserver string) (*Server, error) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range map[string]string{"etcd": etcd, "kube-apiserver": apiserver} {
		if script != "" {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	return Start(t.Context(), Options{Getenv: func(name string) string { return map[string]string{EnvAssets: dir}[name] }})
}

func TestAssetsThatFail(t *testing.T) {
	const lives = "exec sleep 60"
	for _, row := range []struct{ name, etcd, apiserver, want string }{
		{"etcd missing", "", lives, "etcd"},
		{"kube-apiserver missing", lives, "", "kube-apiserver"},
		{"etcd dies", "echo no space left >&2; exit 1", lives, "no space left"},
		{"kube-apiserver dies", lives, "echo unknown flag >&2; exit 1", "unknown flag"},
	} {
		t.Run(row.name, func(t *testing.T) {
			tmp := t.TempDir()
			t.Setenv("TMPDIR", tmp)
			_, err := startScripts(t, row.etcd, row.apiserver)
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), EnvAssets) {
				t.Errorf("got %v, want an error with %s and %q", err, EnvAssets, row.want)
			}
			if left, err := filepath.Glob(filepath.Join(tmp, "controlplane-*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
