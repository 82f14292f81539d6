package coverage

import (
	"bufio"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// sources is a module with two services that share a package, which has a unit test.
func sources(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write(t, filepath.Join(root, "go.mod"), "module kubernaut.ai/kubernaut\n\ngo 1.26\n")
	write(t, filepath.Join(root, "internal/words/words.go"), `package words

func Say(loud bool) string {
	if loud {
		return "HELLO"
	}
	return "hello"
}

func Unused() string {
	return "never"
}
`)
	write(t, filepath.Join(root, "internal/words/words_test.go"), `package words

import "testing"

func TestSay(t *testing.T) {
	if Say(true) != "HELLO" {
		t.Fatal("not loud")
	}
}
`)
	for _, name := range []string{"one", "two"} {
		write(t, filepath.Join(root, "cmd", name, "main.go"), `package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"kubernaut.ai/kubernaut/internal/words"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	os.Stdout.WriteString(words.Say(len(os.Args) > 1) + "\n")
	<-ctx.Done()
}
`)
	}
	return root
}

func goRun(t *testing.T, root string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// serve runs an instrumented program until it has spoken, and ends it with a signal.
func serve(t *testing.T, program, dir string, sig os.Signal, args ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil && sig == syscall.SIGTERM {
		t.Fatal(err)
	}
}

// built is a module whose services are built with counters, as the images are.
func built(t *testing.T) (root, bin string) {
	t.Helper()
	root, bin = sources(t), t.TempDir()
	goRun(t, root, "build", "-cover", "-covermode=atomic", "-coverpkg=kubernaut.ai/kubernaut/...", "-o", bin+string(filepath.Separator), "./cmd/...")
	return root, bin
}

func inputs(t *testing.T, root string) Inputs {
	t.Helper()
	raw := t.TempDir()
	return Inputs{
		Root: root, Out: filepath.Join(t.TempDir(), "report"),
		Services: map[string]string{"one": filepath.Join(raw, "one"), "two": filepath.Join(raw, "two")},
		Packages: map[string]string{"one": "cmd/one", "two": "cmd/two"},
	}
}

func TestReport(t *testing.T) {
	root, bin := built(t)
	in := inputs(t, root)
	serve(t, filepath.Join(bin, "one"), in.Services["one"], syscall.SIGTERM)
	serve(t, filepath.Join(bin, "one"), in.Services["one"], syscall.SIGTERM) // restarted: two processes, one service
	serve(t, filepath.Join(bin, "two"), in.Services["two"], syscall.SIGTERM)

	unit := filepath.Join(t.TempDir(), "unit")
	if err := os.Mkdir(unit, 0o755); err != nil {
		t.Fatal(err)
	}
	goRun(t, root, "test", "-cover", "-covermode=atomic", "-coverpkg=kubernaut.ai/kubernaut/...", "./internal/...", "-args", "-test.gocoverdir="+unit)
	integration := filepath.Join(t.TempDir(), "integration.profile")
	goRun(t, root, "test", "-covermode=set", "-coverpkg=kubernaut.ai/kubernaut/...", "-coverprofile="+integration, "./internal/...")
	in.Others = []Source{{"unit", unit}, {"integration", integration}}

	s, err := Report(t.Context(), command.Runner{}, in)
	if err != nil {
		t.Fatal(err)
	}
	const words = "kubernaut.ai/kubernaut/internal/words"
	want := map[string]Share{"e2e": {2, 4}, "unit": {2, 4}, "integration": {2, 4}, "all": {3, 4}}
	if !maps.Equal(s.Packages[words], want) {
		t.Errorf("internal/words: got %v, want %v", s.Packages[words], want)
	}
	if got := s.Packages["kubernaut.ai/kubernaut/cmd/one"]["e2e"]; got.Covered != got.Total || got.Total == 0 {
		t.Errorf("cmd/one: got %v, want all of it", got)
	}
	if got := s.Services["two"]; got.Covered == 0 || got.Covered == got.Total {
		t.Errorf("service two: got %v", got)
	}
	if len(s.Differ) != 0 {
		t.Errorf("got files of other sources: %v", s.Differ)
	}
	html, err := os.ReadFile(s.HTML)
	if err != nil || !strings.Contains(string(html), "internal/words/words.go (75.0%)") {
		t.Errorf("html: got %v, %d bytes, want words.go at 75%%", err, len(html))
	}
	table, err := os.ReadFile(s.Table)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n%s", &s, table)
	for _, line := range []string{"package         e2e  integration    unit     all", "internal/words   50.0%        50.0%   50.0%   75.0%"} {
		if !strings.Contains(squeeze(string(table)), squeeze(line)) {
			t.Errorf("table: want %q in\n%s", line, table)
		}
	}
}

// squeeze makes runs of spaces one.
func squeeze(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.Join(strings.Fields(l), " ")
	}
	return strings.Join(lines, "\n")
}

func TestReportOfOtherSources(t *testing.T) {
	root, bin := built(t)
	in := inputs(t, root)
	for _, name := range []string{"one", "two"} {
		serve(t, filepath.Join(bin, name), in.Services[name], syscall.SIGTERM)
	}
	old := filepath.Join(t.TempDir(), "old.profile")
	write(t, old, "mode: atomic\nkubernaut.ai/kubernaut/internal/words/words.go:1.1,2.2 1 1\nkubernaut.ai/kubernaut/internal/more/more.go:1.1,2.2 1 1\n")
	in.Others = []Source{{"unit", old}}
	s, err := Report(t.Context(), command.Runner{}, in)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Differ["unit"]; !slices.Equal(got, []string{"kubernaut.ai/kubernaut/internal/more/more.go", "kubernaut.ai/kubernaut/internal/words/words.go"}) {
		t.Errorf("got %v, want the file that is gone and the one that changed", got)
	}
	if got := s.Packages["kubernaut.ai/kubernaut/internal/words"]["all"]; got != (Share{2, 4}) {
		t.Errorf("got %v, want that of e2e alone", got)
	}
}

func TestReportWithoutCounters(t *testing.T) {
	root, bin := built(t)
	for _, row := range []struct {
		name string
		two  func(t *testing.T, dir string)
		want string
	}{
		{"never started", func(*testing.T, string) {}, "two: no covmeta"},
		{"killed", func(t *testing.T, dir string) { serve(t, filepath.Join(bin, "two"), dir, syscall.SIGKILL) }, "two: covmeta without covcounters"},
		{"another program's", func(t *testing.T, dir string) { serve(t, filepath.Join(bin, "one"), dir, syscall.SIGTERM) }, "two: all counters of package cmd/two are zero"},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := inputs(t, root)
			serve(t, filepath.Join(bin, "one"), in.Services["one"], syscall.SIGTERM)
			row.two(t, in.Services["two"])
			_, err := Report(t.Context(), command.Runner{}, in)
			f := failure.Classify(t.Context(), "coverage", err, nil)
			if err == nil || f.Row != "F42" || f.Class != failure.Permanent || len(f.Lines) != 1 || !strings.HasPrefix(f.Lines[0], row.want) {
				t.Errorf("got %v (%+v), want a permanent F42 with %q", err, f, row.want)
			}
		})
	}
	t.Run("no services", func(t *testing.T) {
		_, err := Report(t.Context(), command.Runner{}, Inputs{Root: root, Out: t.TempDir()})
		if _, ok := errors.AsType[failure.Typed](err); !ok {
			t.Errorf("got %v, want a failure", err)
		}
	})
}

func TestParseProfileRefuses(t *testing.T) {
	for _, line := range []string{"x", "a.go:1.1,2.2", "a.go:1.1,2.2 1", "a.go:1.1 1 1", "a.go:1.1,2.2 x 1", "a.go:1.1,2.2 1 -1", ":1.1,2.2 1 1"} {
		if p, err := parseProfile(strings.NewReader("mode: atomic\n" + line + "\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: got %v, %v, want an error that names line 2", line, p, err)
		}
	}
}
