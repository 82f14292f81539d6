package controlplane

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// module writes a small module in place of the control plane's, so that a build takes a moment.
func module(t *testing.T, main string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module example.com/controlplane\n\ngo 1.24.0\n")
	write(t, filepath.Join(dir, "main.go"), main)
	return dir
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

const helloProgram = `package main

func main() { print("hello") }
`

func TestBuildRunsOnce(t *testing.T) {
	o := BuildOptions{Source: module(t, helloProgram), CacheDir: filepath.Join(t.TempDir(), "cache")}
	var phases []Phase
	o.Progress = func(p Progress) { phases = append(phases, p.Phase) }

	first, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), first).CombinedOutput(); err != nil || string(out) != "hello" {
		t.Errorf("the built program: got %q, %v, want hello", out, err)
	}
	if len(phases) == 0 || phases[0] != Loading || phases[len(phases)-1] != Linking {
		t.Errorf("progress: got %v, want it to begin with %q and to end with %q", phases, Loading, Linking)
	}

	phases = nil
	again, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if again != first || len(phases) != 0 {
		t.Errorf("second build: got %s with progress %v, want %s from the cache", again, phases, first)
	}

	write(t, filepath.Join(o.Source, "main_test.go"), "package main\n")
	if same, err := Build(t.Context(), o); err != nil || same != first {
		t.Errorf("after a change of a test: got %s, %v, want %s", same, err, first)
	}
	write(t, filepath.Join(o.Source, "main.go"), strings.Replace(helloProgram, "hello", "changed", 1))
	if other, err := Build(t.Context(), o); err != nil || other == first {
		t.Errorf("after a change of the sources: got %s, %v, want another binary", other, err)
	}
}

func TestBuildsAtOnceBecomeOne(t *testing.T) {
	o := BuildOptions{Source: module(t, helloProgram), CacheDir: t.TempDir()}
	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		compiled int
	)
	o.Progress = func(p Progress) {
		if p.Phase == Loading && p.Done == 0 { // each build that is not spared begins so
			mu.Lock()
			compiled++
			mu.Unlock()
		}
	}
	for range 4 {
		wg.Go(func() {
			if _, err := Build(t.Context(), o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if compiled != 1 {
		t.Errorf("got %d builds, want 1", compiled)
	}
}

func TestBuildFailures(t *testing.T) {
	for _, row := range []struct {
		name, program string
		want          []string
	}{
		{"does not compile", "package main\n\nfunc main() { undefined() }\n", []string{"go build", "main.go:3", "undefined"}},
		{"needs what is not there", "package main\n\nimport _ \"example.com/missing\"\n\nfunc main() {}\n", []string{"example.com/missing"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := BuildOptions{Source: module(t, row.program), CacheDir: t.TempDir()}
			_, err := Build(t.Context(), o)
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range append(row.want, o.Source) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want it to mention %s", err, want)
				}
			}
			left, err := filepath.Glob(filepath.Join(o.CacheDir, "*ing-*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestBuildWithoutGo(t *testing.T) {
	o := BuildOptions{Source: module(t, helloProgram), CacheDir: t.TempDir()}
	t.Setenv("PATH", t.TempDir())
	if _, err := Build(t.Context(), o); err == nil || !strings.Contains(err.Error(), "install Go") || !strings.Contains(err.Error(), EnvBinary) {
		t.Errorf("got %v, want an error that says to install Go or to set %s", err, EnvBinary)
	}
}

func TestBuildStopsWaitingWithItsContext(t *testing.T) {
	o := BuildOptions{Source: module(t, helloProgram), CacheDir: t.TempDir()}
	unlock, err := tryLock(filepath.Join(o.CacheDir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	o.Progress = func(p Progress) {
		if p.Phase == Waiting {
			cancel()
		}
	}
	if _, err := Build(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestPruneKeepsWhatIsUsed(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	b := &build{cacheDir: dir, binary: filepath.Join(dir, binaryPrefix+"current")}
	for name, age := range map[string]time.Duration{
		binaryPrefix + "current": 2 * unusedFor,
		binaryPrefix + "recent":  unusedFor / 2,
		binaryPrefix + "old":     2 * unusedFor,
		"other":                  2 * unusedFor,
	} {
		f := filepath.Join(dir, name)
		write(t, f, "")
		if err := os.Chtimes(f, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	b.prune(now)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := "controlplane-current controlplane-recent other"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestFindSource(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "go.mod"), "// the product\nmodule kubernaut.ai/kubernaut\n")
	nested := filepath.Join(root, "controlplane", "internal")
	if err := os.MkdirAll(nested, 0o750); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "controlplane", "go.mod"), "module kubernaut.ai/kubernaut/controlplane\n")
	for _, from := range []string{root, nested} {
		if got, err := findSource(from); err != nil || got != filepath.Join(root, "controlplane") {
			t.Errorf("from %s: got %s, %v", from, got, err)
		}
	}
	_, err := findSource(t.TempDir())
	if err == nil {
		t.Fatal("outside a clone: got no error")
	}
	for _, want := range []string{EnvBinary, EnvAssets, EnvKubeconfig} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("outside a clone: got %v, want it to mention %s", err, want)
		}
	}
}

func TestLdflagsCarryTheVersion(t *testing.T) {
	b := &build{source: t.TempDir()}
	write(t, filepath.Join(b.source, "go.mod"), "module x\n\nrequire (\n\tk8s.io/kubernetes v1.34.10\n)\n")
	got, err := b.ldflags()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"k8s.io/component-base/version.gitVersion=v1.34.10 ", "gitMajor=1 ", "gitMinor=34 "} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want it to hold %q", got, want)
		}
	}
}
