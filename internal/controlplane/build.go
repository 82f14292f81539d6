package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"time"
)

const (
	productModule = "kubernaut.ai/kubernaut"
	moduleDir     = "controlplane" // below the root of the product's module
	binaryPrefix  = "controlplane-"
	unusedFor     = 14 * 24 * time.Hour // after this a binary of other sources is removed
	lockInterval  = 200 * time.Millisecond
)

// buildFlags leave out what a control plane without nodes does not use, and make the build reproducible. They are part
// of the key of Go's build cache: a build with others compiles 2,400 packages anew.
func buildFlags() []string {
	return []string{"-trimpath", "-buildvcs=false", "-tags=selinux,notest,grpcnotrace"}
}

// BuildOptions say what to build and where to keep it. The zero value finds both.
type BuildOptions struct {
	// Source is the directory of the controlplane module. Empty: looked for from the working directory upwards.
	Source string
	// CacheDir keeps the binary. Empty: the directory kubernaut in the user's cache.
	CacheDir string
	// Progress is told how the build advances, from one goroutine. Nil: nobody is.
	Progress func(Progress)
}

// Build returns the path of the controlplane binary for the sources as they are, building it only if it is not in the
// cache. Two builds of the same sources at once, in whatever processes, become one.
func Build(ctx context.Context, o BuildOptions) (string, error) {
	b, err := newBuild(ctx, o)
	if err != nil {
		return "", fmt.Errorf("build the control plane: %w", err)
	}
	if err := b.run(ctx); err != nil {
		return "", fmt.Errorf("build the control plane from %s: %w", b.source, err)
	}
	return b.binary, nil
}

type build struct {
	source, cacheDir, binary string
	progress                 func(Progress)
}

func newBuild(ctx context.Context, o BuildOptions) (*build, error) {
	b := &build{source: o.Source, cacheDir: o.CacheDir, progress: o.Progress}
	if b.progress == nil {
		b.progress = func(Progress) {}
	}
	if b.source == "" {
		wd, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		if b.source, err = findSource(wd); err != nil {
			return nil, err
		}
	}
	if b.cacheDir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no place to keep it: %w", err)
		}
		b.cacheDir = filepath.Join(cache, "kubernaut")
	}
	key, err := b.key(ctx)
	if err != nil {
		return nil, err
	}
	b.binary = filepath.Join(b.cacheDir, binaryPrefix+key)
	return b, nil
}

// findSource returns the controlplane module of the repository that dir is in.
func findSource(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		mod, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && modulePath(mod) == productModule {
			return filepath.Join(at, moduleDir), nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is not inside a clone of %s: work in a clone, or set %s to a built controlplane binary, %s to etcd and kube-apiserver, or %s to a cluster",
				dir, productModule, EnvBinary, EnvAssets, EnvKubeconfig)
		}
	}
}

func modulePath(mod []byte) string {
	m := regexp.MustCompile(`(?m)^module\s+(\S+)`).FindSubmatch(mod)
	if m == nil {
		return ""
	}
	return string(m[1])
}

// key identifies what the binary is made from: sources, flags and the Go tool chain.
func (b *build) key(ctx context.Context) (string, error) {
	var files []string
	err := filepath.WalkDir(b.source, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := e.Name()
		built := strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") || name == "go.mod" || name == "go.sum"
		if e.Type().IsRegular() && built {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("read the sources: %w", err)
	}
	sort.Strings(files)
	h := sha256.New()
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("read the sources: %w", err)
		}
		rel, err := filepath.Rel(b.source, f)
		if err != nil {
			return "", fmt.Errorf("read the sources: %w", err)
		}
		fmt.Fprintf(h, "%s %d\n%s", filepath.ToSlash(rel), len(content), content)
	}
	env, err := b.goCommand(ctx, "env", "-json", "GOVERSION", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT").Output()
	if err != nil {
		return "", toolError("go env", err, nil)
	}
	h.Write(env)
	h.Write([]byte(strings.Join(buildFlags(), " ")))
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// goCommand is a go command in the source directory, free of the settings of the surrounding module.
func (b *build) goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func (b *build) run(ctx context.Context) error {
	if b.cached() {
		return nil
	}
	if err := os.MkdirAll(b.cacheDir, 0o750); err != nil {
		return err
	}
	unlock, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if b.cached() { // by whom we waited for
		return nil
	}
	stale, err := b.countStale(ctx)
	if err != nil {
		return err
	}
	if err := b.compile(ctx, stale); err != nil {
		return err
	}
	b.prune(time.Now())
	return nil
}

// cached reports whether the binary is there, and marks it as used.
func (b *build) cached() bool {
	now := time.Now()
	return os.Chtimes(b.binary, now, now) == nil
}

// lock waits until no other process builds, telling that it does.
func (b *build) lock(ctx context.Context) (unlock func(), err error) {
	start := time.Now()
	for {
		unlock, err := tryLock(filepath.Join(b.cacheDir, "lock"))
		if err == nil || !errors.Is(err, errLocked) {
			return unlock, err
		}
		b.progress(Progress{Phase: Waiting, Elapsed: time.Since(start)})
		select {
		case <-time.After(lockInterval):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// countStale loads the packages of the build, which downloads modules that are missing, and counts those that Go's
// build cache does not have.
func (b *build) countStale(ctx context.Context) (int, error) {
	start, downloads, stale := time.Now(), 0, 0
	b.progress(Progress{Phase: Loading})
	args := append([]string{"list", "-deps", "-f={{.Stale}}"}, buildFlags()...)
	cmd := b.goCommand(ctx, append(args, ".")...)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := follow(cmd, func(line string) bool {
		if !strings.HasPrefix(line, "go: downloading ") {
			return false
		}
		downloads++
		b.progress(Progress{Phase: Loading, Done: downloads, Elapsed: time.Since(start)})
		return true
	}); err != nil {
		return 0, err
	}
	for line := range strings.Lines(stdout.String()) {
		if strings.TrimSpace(line) == "true" {
			stale++
		}
	}
	return stale, nil
}

func (b *build) compile(ctx context.Context, stale int) error {
	tmp, err := os.CreateTemp(b.cacheDir, "building-")
	if err != nil {
		return err
	}
	_ = tmp.Close()
	defer os.Remove(tmp.Name()) // after the rename there is nothing left to remove
	ldflags, err := b.ldflags()
	if err != nil {
		return err
	}
	start, done := time.Now(), 0
	report := func() {
		p := Progress{Phase: Compiling, Done: done, Total: stale, Elapsed: time.Since(start)}
		if done >= stale-1 { // the last is the program itself
			p = Progress{Phase: Linking, Elapsed: p.Elapsed}
		}
		b.progress(p)
	}
	report()
	args := append([]string{"build", "-v", "-o=" + tmp.Name(), "-ldflags=" + ldflags}, buildFlags()...)
	cmd := b.goCommand(ctx, append(args, ".")...)
	err = follow(cmd, func(line string) bool {
		if !isImportPath(line) {
			return false
		}
		done++
		report()
		return true
	})
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), b.binary)
}

// follow runs a go command and shows each line of its diagnostics to take. The lines that take does not want go into the
// error, if the command fails.
func follow(cmd *exec.Cmd, take func(line string) bool) error {
	pr, pw, err := os.Pipe()
	if err != nil {
		return err
	}
	defer pr.Close()
	cmd.Stderr = pw
	err = cmd.Start()
	_ = pw.Close()
	if err != nil {
		return toolError("go "+cmd.Args[1], err, nil)
	}
	var said []string
	lines := bufio.NewScanner(pr)
	for lines.Scan() {
		if line := lines.Text(); !take(line) {
			said = append(said, line)
			said = said[max(0, len(said)-20):]
		}
	}
	_, _ = io.Copy(io.Discard, pr) // a line too long for the scanner must not block the command
	if err := cmd.Wait(); err != nil {
		return toolError("go "+cmd.Args[1], err, said)
	}
	return nil
}

// isImportPath tells the lines of go build -v from those of an error.
func isImportPath(line string) bool { return line != "" && !strings.ContainsAny(line, " \t:#") }

func toolError(what string, err error, said []string) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s: the go command is not on PATH: install Go, or set %s to a built controlplane binary", what, EnvBinary)
	}
	if exit := new(exec.ExitError); errors.As(err, &exit) && len(exit.Stderr) > 0 {
		said = append(said, strings.TrimSpace(string(exit.Stderr)))
	}
	if len(said) > 0 {
		return fmt.Errorf("%s: %w:\n%s", what, err, strings.Join(said, "\n"))
	}
	return fmt.Errorf("%s: %w", what, err)
}

// ldflags strip the binary and give the API server the version of k8s.io/kubernetes in go.mod, which it would not know.
func (b *build) ldflags() (string, error) {
	mod, err := os.ReadFile(filepath.Join(b.source, "go.mod"))
	if err != nil {
		return "", err
	}
	flags := "-s -w"
	m := regexp.MustCompile(`(?m)\bk8s\.io/kubernetes v((\d+)\.(\d+)\.\S+)`).FindSubmatch(mod)
	if m == nil {
		return flags, nil
	}
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags += fmt.Sprintf(" -X %[1]s.gitVersion=v%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s -X %[1]s.gitCommit=", pkg, m[1], m[2], m[3])
	}
	return flags, nil
}

// prune removes binaries that were made from other sources and not used for long. It is a courtesy: errors are no matter.
func (b *build) prune(now time.Time) {
	old, _ := filepath.Glob(filepath.Join(b.cacheDir, binaryPrefix+"*"))
	for _, f := range old {
		if info, err := os.Stat(f); err == nil && f != b.binary && now.Sub(info.ModTime()) > unusedFor {
			_ = os.Remove(f)
		}
	}
}
