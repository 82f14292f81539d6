package image

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// program is a module with two small programs, one of which uses a package and an embedded file.
func program(t *testing.T) (root string, specs []Spec) {
	t.Helper()
	root = t.TempDir()
	write(t, filepath.Join(root, "go.mod"), "module kubernaut.ai/kubernaut\n\ngo 1.26\n")
	write(t, filepath.Join(root, "words/words.go"), "package words\n\nimport _ \"embed\"\n\n//go:embed said.txt\nvar Said string\n")
	write(t, filepath.Join(root, "words/said.txt"), "hello")
	write(t, filepath.Join(root, "cmd/one/main.go"), "package main\n\nimport \"kubernaut.ai/kubernaut/words\"\n\nfunc main() { println(words.Said) }\n")
	write(t, filepath.Join(root, "cmd/two/main.go"), "package main\n\nfunc main() {}\n")
	for _, name := range []string{"one", "two"} {
		dockerfile := fmt.Sprintf("# One file.\nFROM scratch\nARG VERSION=dev\nLABEL version=\"$VERSION\"\nCOPY bin/linux/%s /%[1]s\nENTRYPOINT [\"/%[1]s\"]\n", name)
		write(t, filepath.Join(root, "docker/e2e-test-"+name+".Dockerfile"), dockerfile)
		specs = append(specs, Spec{Name: "e2e-test-" + name, Package: "cmd/" + name, Dockerfile: "docker/e2e-test-" + name + ".Dockerfile", Counters: name == "one"})
	}
	return root, specs
}

func TestKeys(t *testing.T) {
	root, specs := program(t)
	keys := func(arch string, coverage bool) [2]string {
		t.Helper()
		src, err := listSources(t.Context(), command.Runner{}, root, []string{specs[0].Package, specs[1].Package}, goEnv(arch))
		if err != nil {
			t.Fatal(err)
		}
		var keys [2]string
		for i, s := range specs {
			digest, err := src.of(s.Package)
			if err != nil {
				t.Fatal(err)
			}
			dockerfile, err := os.ReadFile(filepath.Join(root, s.Dockerfile))
			if err != nil {
				t.Fatal(err)
			}
			keys[i] = s.key(dockerfile, digest, arch, goArgs(s.instrumented(coverage)))
			if len(keys[i]) != keyLength {
				t.Fatalf("key of %s: got %q", s.Name, keys[i])
			}
		}
		return keys
	}
	first := keys("amd64", false)
	for _, row := range []struct {
		name      string
		file      string
		content   string
		arch      string
		coverage  bool
		want1, w2 bool // whether the key differs
	}{
		{"nothing", "", "", "amd64", false, false, false},
		{"a test", "words/words_test.go", "package words\n", "amd64", false, false, false},
		{"another package", "other/other.go", "package other\n", "amd64", false, false, false},
		{"a package of one", "words/more.go", "package words\n", "amd64", false, true, false},
		{"an embedded file", "words/said.txt", "bye", "amd64", false, true, false},
		{"a Dockerfile", "docker/e2e-test-two.Dockerfile", "FROM scratch\n", "amd64", false, false, true},
		{"the architecture", "", "", "arm64", false, true, true},
		{"counters", "", "", "amd64", true, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.file != "" {
				path := filepath.Join(root, row.file)
				old, err := os.ReadFile(path)
				write(t, path, row.content)
				t.Cleanup(func() {
					if err != nil {
						os.Remove(path)
						return
					}
					write(t, path, string(old))
				})
			}
			got := keys(row.arch, row.coverage)
			if got[0] != first[0] != row.want1 || got[1] != first[1] != row.w2 {
				t.Errorf("got %v, at first %v: want differences %v, %v", got, first, row.want1, row.w2)
			}
		})
	}
}

func TestCheckBinary(t *testing.T) {
	root, _ := program(t)
	file := filepath.Join(t.TempDir(), "two")
	cmd := exec.Command("go", append(append([]string{"build"}, goArgs(false)...), "-o", file, "./cmd/two")...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), goEnv("amd64")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := CheckBinary(file, "amd64"); err != nil {
		t.Errorf("the right one: %v", err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	alter := func(name string, at int, value uint16) string {
		changed := append([]byte(nil), content...)
		binary.LittleEndian.PutUint16(changed[at:], value)
		path := filepath.Join(t.TempDir(), name)
		write(t, path, string(changed))
		return path
	}
	const machineAt, firstSegmentAt, interpreter = 18, 64, 3
	text := filepath.Join(t.TempDir(), "script")
	write(t, text, "#!/bin/sh\n")
	for _, row := range []struct{ name, file, arch, want string }{
		{"another node", file, "arm64", "EM_X86_64"},
		{"another machine", alter("arm", machineAt, 183), "amd64", "EM_AARCH64"},
		{"dynamic", alter("dynamic", firstSegmentAt, interpreter), "amd64", "dynamically"},
		{"no program", text, "amd64", "no Linux program"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := CheckBinary(row.file, row.arch)
			f := failure.Classify(t.Context(), "build", err, nil)
			if err == nil || f.Row != "F46" || f.Class != failure.Permanent || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v (%s %s), want a permanent F46 with %q", err, f.Row, f.Class, row.want)
			}
		})
	}
}

// builder is one on the Podman of this machine; without it the test is left out.
func builder(t *testing.T, root string) *Builder {
	t.Helper()
	if testing.Short() {
		t.Skip("builds images")
	}
	if _, err := exec.LookPath("podman"); err != nil {
		t.Skip("podman is not installed")
	}
	state := t.TempDir()
	e, err := engine.Detect(t.Context(), command.Runner{}, engine.Host{StateDir: state, Getenv: func(name string) string {
		if name == "E2E_RUNTIME" {
			return string(engine.Podman)
		}
		return os.Getenv(name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return &Builder{Root: root, StateDir: state, Engine: e}
}

// run runs Build as a phase of its own.
func run(t *testing.T, b *Builder, specs []Spec) ([]Built, plan.PhaseResult) {
	t.Helper()
	var built []Built
	p := plan.Plan{Suite: "image", Cluster: "none", Phases: []plan.Phase{{
		Name: "build",
		Run: func(ctx context.Context, task *plan.Task) (err error) {
			built, err = b.Build(ctx, task, specs...)
			return err
		},
	}}}
	result, err := plan.Run(t.Context(), p, plan.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return built, result.Phases[0]
}

func TestBuild(t *testing.T) {
	root, specs := program(t)
	b := builder(t, root)
	remove := func(built []Built) {
		for _, i := range built {
			if err := b.Engine.RemoveImage(context.WithoutCancel(t.Context()), i.Ref.String()); err != nil {
				t.Error(err)
			}
		}
	}
	built, phase := run(t, b, specs)
	t.Cleanup(func() { remove(built) })
	if phase.Status != plan.Passed {
		t.Fatalf("got %+v", phase)
	}
	for i, got := range built {
		if got.Held || got.ID == "" || got.Size == 0 || got.Ref.Name != "localhost/kubernaut-"+specs[i].Name || got.Ref.Tag != got.Key {
			t.Errorf("%s: got %+v", specs[i].Name, got)
		}
		image, ok, err := b.Engine.Image(t.Context(), got.Ref.String())
		if err != nil || !ok || image.Labels[engine.KeyLabel] != got.Key || image.Labels["version"] != got.Key {
			t.Errorf("%s: got %+v, %v, %v", got.Ref, image, ok, err)
		}
	}
	notes := strings.Join(phase.Notes, "\n")
	for _, want := range []string{"links: all 2 at once", "images: all 2 at once", "2 of 2 images built"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes: want %q in\n%s", want, notes)
		}
	}
	if runtime.GOOS == "linux" {
		if h := readHistory(b.StateDir); h.Peaks["e2e-test-one"] == 0 {
			t.Logf("too fast to be measured: %v", h.Peaks)
		}
	}

	again, phase := run(t, b, specs)
	for i := range again {
		if !again[i].Held || again[i].ID != built[i].ID {
			t.Errorf("again: got %+v, want %s as it was", again[i], built[i].ID)
		}
	}
	if len(phase.Notes) != 1 || !strings.Contains(phase.Notes[0], "nothing to build") {
		t.Errorf("again: got notes %q", phase.Notes)
	}
	if n, err := b.Need(t.Context(), []Target{again[0].Target}); err != nil || n != 0 {
		t.Errorf("need of what is there: got %d, %v", n, err)
	}

	write(t, filepath.Join(root, "words/said.txt"), "changed")
	changed, phase := run(t, b, specs)
	t.Cleanup(func() { remove(changed[:1]) })
	if changed[0].Held || changed[0].Key == built[0].Key || !changed[1].Held {
		t.Errorf("after a change: got %+v (%v)", changed, phase.Findings)
	}

	write(t, filepath.Join(root, "cmd/two/main.go"), "package main\n\nfunc main() { undefined() }\n")
	_, phase = run(t, b, specs)
	if phase.Status != plan.Failed || len(phase.Retries) != 0 || len(phase.Findings) != 1 || phase.Findings[0].Class != failure.Permanent {
		t.Errorf("of a program that does not compile: got %s, %+v", phase.Status, phase.Findings)
	}
}

// TestBuildWithLittleMemory kills the first compilation: the second one links one program after the other.
func TestBuildWithLittleMemory(t *testing.T) {
	root, specs := program(t)
	b := builder(t, root)
	goProgram, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	script := "#!/bin/sh\nif [ \"$1\" = build ]; then\n  echo \"$@\" >>" + bin + "/calls\n  if [ $(wc -l <" + bin + "/calls) = 1 ]; then\n" +
		"    echo 'go: /usr/local/go/pkg/tool/link: signal: killed' >&2\n    exit 1\n  fi\nfi\nexec " + goProgram + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	write(t, filepath.Join(root, "words/said.txt"), "with little memory") // an image that no other test builds
	built, phase := run(t, b, specs)
	t.Cleanup(func() {
		for _, i := range built {
			_ = b.Engine.RemoveImage(context.WithoutCancel(t.Context()), i.Ref.String())
		}
	})
	if phase.Status != plan.Passed || len(phase.Retries) != 1 || !phase.Retries[0].Healed || phase.Retries[0].Finding.Row != "F07" {
		t.Fatalf("got %s, retries %+v, findings %+v", phase.Status, phase.Retries, phase.Findings)
	}
	calls, err := os.ReadFile(filepath.Join(bin, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(calls)), "\n")
	if len(lines) != 2 || strings.Contains(lines[0], "-p=") || !strings.Contains(lines[1], "-p=1") {
		t.Errorf("got calls\n%s\nwant -p=1 in the second one only", calls)
	}
	if notes := strings.Join(phase.Notes, "\n"); !strings.Contains(notes, "links: one at a time, because memory ran out") || !strings.Contains(notes, "images: one at a time") {
		t.Errorf("got notes\n%s", notes)
	}
}

// TestServices builds what ships, as it is in the work tree.
func TestServices(t *testing.T) {
	b := builder(t, filepath.Join("..", "..", ".."))
	built, phase := run(t, b, Services())
	if phase.Status != plan.Passed {
		t.Fatalf("got %+v", phase)
	}
	var sum int64
	for _, i := range built {
		t.Logf("%s %s held %v", i.Ref, megabytes(i.Size), i.Held)
		sum += i.Size
	}
	t.Log(strings.Join(phase.Notes, "\n"))
	t.Logf("measured: %v", readHistory(b.StateDir).Peaks)
	const most = 120_000_000
	if sum >= most {
		t.Errorf("together %d bytes, want less than %d", sum, int64(most))
	}
	again, phase := run(t, b, Services())
	if len(again) == 0 || !again[0].Held {
		t.Errorf("again: got %+v", again)
	}
	t.Logf("nothing changed: %s", phase.Duration)
}

func TestBuildErrsWithoutSources(t *testing.T) {
	root, specs := program(t)
	os.RemoveAll(filepath.Join(root, "cmd/two"))
	_, err := listSources(t.Context(), command.Runner{}, root, []string{specs[1].Package}, goEnv("amd64"))
	var failed *command.Error
	if !errors.As(err, &failed) || !strings.Contains(failed.Output, "cmd/two") {
		t.Errorf("got %v, want what go list says", err)
	}
}
