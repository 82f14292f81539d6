package preflight

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
)

func TestTune(t *testing.T) {
	low := map[string]string{maxInstances: "20\n", maxWatches: "100\n"}
	for _, row := range []struct {
		name    string
		env     string
		files   map[string]string
		place   func(map[string]string) engine.Place
		modules bool
		want    map[string]string // afterwards
		outcome
	}{
		{name: "nobody asked", files: low, modules: true, want: map[string]string{maxInstances: "20", maxWatches: "100"}},
		{name: "asked", env: "E2E_TUNE_HOST=1", files: low, modules: true, want: map[string]string{maxInstances: "512", maxWatches: "524288"}, outcome: outcome{note: "raised /proc/sys/fs/inotify/max_user_instances from 20 to 512, because E2E_TUNE_HOST=1"}},
		{name: "CI", env: "CI=true", files: low, modules: true, want: map[string]string{maxInstances: "512", maxWatches: "524288"}, outcome: outcome{note: "because CI=true"}},
		{name: "CI is something else", env: "CI=1", files: low, modules: true, want: map[string]string{maxInstances: "20"}},
		{name: "only what is too low", env: "CI=true", files: map[string]string{maxInstances: "400", maxWatches: "100"}, modules: true, want: map[string]string{maxInstances: "400", maxWatches: "524288"}, outcome: outcome{note: "max_user_watches from 100"}},
		{name: "in the machine nothing is changed", env: "CI=true", files: low, place: machine, want: map[string]string{maxInstances: "20", maxWatches: "100"}},
		{name: "no modules", files: low, outcome: outcome{words: []string{"/lib/modules", "mkdir -p /lib/modules"}}},
		{name: "no modules, asked", env: "CI=true", files: low, want: map[string]string{maxInstances: "512"}, outcome: outcome{note: "made /lib/modules"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			root := t.TempDir()
			write := func(path, content string) {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			files := make(map[string]string)
			for path, content := range row.files {
				write(path, content)
				files[path] = content
			}
			if row.modules {
				write(modules+"/x", "")
			}
			place := here(files)
			if row.place != nil {
				place = row.place(files)
			}
			o := Options{Engine: &fake{}, Nodes: 2, Root: root, Getenv: func(name string) string {
				if n, v, _ := strings.Cut(row.env, "="); n == name {
					return v
				}
				return ""
			}}
			row.check(t, tune(o, &place))
			for path, want := range row.want {
				content, err := os.ReadFile(filepath.Join(root, path))
				if err != nil {
					t.Fatal(err)
				}
				if got := strings.TrimSpace(string(content)); got != want || strings.TrimSpace(place.Files[path]) != want {
					t.Errorf("%s: got %q, reading %q, want %q", path, got, place.Files[path], want)
				}
			}
			if row.name == "no modules, asked" && !exists(filepath.Join(root, modules)) {
				t.Error("the directory was not made")
			}
		})
	}
}

// A setting that cannot be written is told of, and its finding stays.
func TestTuneRefused(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, modules), 0o750); err != nil {
		t.Fatal(err)
	}
	place := here(map[string]string{maxInstances: "20"})
	o := Options{Engine: &fake{}, Nodes: 2, Root: root, Getenv: func(name string) string { return map[string]string{"CI": "true"}[name] }}
	outcome{note: "cannot be raised"}.check(t, tune(o, &place))
	outcome{row: "F20", words: []string{"20"}}.check(t, checkInstances(2, 0, place))
}
