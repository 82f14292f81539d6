package nodeimage

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

// clone is a copy of what keys are over in this repository, which a test may change.
func clone(t *testing.T) string {
	t.Helper()
	root, err := findSource(".")
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	dirs := []string{here + "cnid", here + "pause", here + "pgstart", modules + "coredns", modules + "localpath", modules + "cni"}
	files := []string{"go.mod", "go.sum", "controlplane/go.mod", "controlplane/go.sum"}
	for _, dir := range dirs {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func newTestBuilder(t *testing.T, o Options) *builder {
	t.Helper()
	if o.Runtime == "" {
		o.Runtime = "podman"
	}
	if o.Env == nil {
		o.Env = func(string) string { return "" }
	}
	if o.CacheDir == "" {
		o.CacheDir = t.TempDir()
	}
	b, err := newBuilder(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a change makes anew, and what it leaves.
func TestKeys(t *testing.T) {
	source := clone(t)
	keys := func() map[string]string {
		b := newTestBuilder(t, Options{Source: source}) // it asks for the tool chain once
		got := make(map[string]string)
		add := func(name, key string, err error) {
			if err != nil || len(key) != 12 {
				t.Fatalf("key of %s: %q, %v", name, key, err)
			}
			got[name] = key
		}
		for _, p := range append(nodeProgramSets(), ownProgram("pgstart")) {
			key, err := b.goKey(t.Context(), p)
			add(p.name, key, err)
		}
		key, err := nodeDebian().key("amd64")
		add("debian", key, err)
		key, err = postgresDebian().key("amd64")
		add("postgresql", key, err)
		key, err = b.preloadKey(t.Context())
		add("preload", key, err)
		key, err = b.nodeKey(t.Context())
		add("node", key, err)
		key, err = b.postgresKey(t.Context())
		add("postgres", key, err)
		return got
	}
	before := keys()
	distinct := make(map[string]string)
	for name, key := range before {
		if other, ok := distinct[key]; ok {
			t.Errorf("%s and %s have the same key", name, other)
		}
		distinct[key] = name
	}
	for _, test := range []struct {
		file, old, now string
		want           string
	}{
		{here + "cnid/main.go", "3 * time.Second", "4 * time.Second", "cnid node preload"},
		{here + "pgstart/main.go", "package main", "package main // changed", "pgstart postgres"},
		{modules + "cni/go.sum", "h1:", "h2:", "cni node preload"},
		{"controlplane/go.mod", "k8s.io/kubernetes v1.", "k8s.io/kubernetes v2.", "kubernetes node preload"},
		{"go.sum", "sigs.k8s.io/kind v", "sigs.k8s.io/kind v9", ""}, // its line is not found
		{"go.mod", "github.com/onsi/gomega v", "github.com/onsi/gomega v9", "-"},
	} {
		t.Run(test.file, func(t *testing.T) {
			path := filepath.Join(source, test.file)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(content), test.old, test.now, 1)
			if changed == string(content) {
				t.Fatalf("%s does not have %q", test.file, test.old)
			}
			if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Error(err)
				}
			}()
			if test.want == "" {
				if _, err := newTestBuilder(t, Options{Source: source}).nodeKey(t.Context()); err == nil {
					t.Error("no error")
				}
				return
			}
			var differ []string
			for name, key := range keys() {
				if key != before[name] {
					differ = append(differ, name)
				}
			}
			slices.Sort(differ)
			want := strings.Fields(strings.TrimPrefix(test.want, "-"))
			slices.Sort(want)
			if !slices.Equal(differ, want) {
				t.Errorf("made anew: %s, want %s", differ, want)
			}
		})
	}
}

func TestDigest(t *testing.T) {
	sum := func(step string, add func(digest), files ...string) string {
		d := newDigest(step)
		if add != nil {
			add(d)
		}
		key, err := d.key(files...)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	keys := []string{
		sum("a", nil), sum("b", nil), sum("a", nil, "layer.go"), sum("a", nil, "archive.go"), sum("a", nil, "archive.go", "layer.go"),
		sum("a", func(d digest) { d.add("x", "yz") }), sum("a", func(d digest) { d.add("xy", "z") }), sum("a", func(d digest) { d.add("x", "y", "z") }),
	}
	for i, key := range keys {
		if slices.Contains(keys[:i], key) {
			t.Errorf("inputs %d have the key of others: %s", i, keys)
		}
	}
	if _, err := newDigest("a").key("missing.go"); err == nil {
		t.Error("no error for a file that is not there")
	}
}

// The binaries of Kubernetes and the control plane share Go's build cache as long as they are built with the same flags.
func TestBuildFlagsAreTheControlPlanes(t *testing.T) {
	root, err := findSource(".")
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "internal", "controlplane", "build.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var theirs []string
	ast.Inspect(f, func(n ast.Node) bool {
		fn, ok := n.(*ast.FuncDecl)
		if !ok || fn.Name.Name != "buildFlags" {
			return true
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				s, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				theirs = append(theirs, s)
			}
			return true
		})
		return false
	})
	if !slices.Equal(theirs, buildFlags()) {
		t.Errorf("internal/controlplane builds with %q, this package with %q", theirs, buildFlags())
	}
}

func TestKubernetesLDFlags(t *testing.T) {
	got, err := kubernetesLDFlags([]byte("require k8s.io/kubernetes v1.34.10\n"))
	if err != nil || !strings.Contains(got, "-X k8s.io/component-base/version.gitVersion=v1.34.10 -X k8s.io/component-base/version.gitMajor=1 ") {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := kubernetesLDFlags([]byte("module x\n")); err == nil {
		t.Error("no error without a version")
	}
}

// TestBuild builds a program of this repository, and finds it the next time.
func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a program")
	}
	var steps []string
	b := newTestBuilder(t, Options{Command: command.Runner{}, Now: time.Now, Progress: func(p Progress) {
		if p.Ended {
			steps = append(steps, p.Step)
		}
	}})
	for range 2 {
		dir, err := b.build(t.Context(), ownProgram("pause"))
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(dir, "pause")); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("no program: %v, %v", info, err)
		}
	}
	if want := []string{"load the modules of pause", "compile and link pause"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q: the second time there is nothing to do", steps, want)
	}
}
