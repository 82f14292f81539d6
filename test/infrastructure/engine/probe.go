package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine/reading"
)

// probeSource is the probe as a module of its own, but for its go.mod.
//
//go:embed probe/main.go reading/reading.go
var probeSource embed.FS

const (
	probeModule = "module kubernaut.ai/kubernaut/test/infrastructure/engine\n\ngo 1.26\n"
	probeName   = "localhost/kubernaut-e2e-probe"
	// probeValue is the value of Label on the probe's container.
	probeValue = "probe"
)

// probeKey is the key of the probe's content on an architecture.
func probeKey(arch string) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", arch, probeModule)
	err := fs.WalkDir(probeSource, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := probeSource.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(content), content)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:12], err
}

// probe builds the probe for the machine of the nodes, unless it is there, and returns its path and key.
func (e *Engine) probe(ctx context.Context) (path, key string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("build the probe: %w", err)
		}
	}()
	if key, err = probeKey(e.info.Arch); err != nil {
		return "", "", err
	}
	path = filepath.Join(e.host.StateDir, "probe", key, "probe")
	if _, err := os.Stat(path); err == nil {
		return path, key, nil
	}
	tmp, err := os.MkdirTemp("", "kubernaut-e2e-probe-")
	if err != nil {
		return "", "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.CopyFS(tmp, probeSource); err != nil {
		return "", "", err
	}
	if err := os.WriteFile(filepath.Join(tmp, "go.mod"), []byte(probeModule), 0o600); err != nil {
		return "", "", err
	}
	built := filepath.Join(tmp, "built")
	_, err = e.runner.Run(ctx, command.Cmd{
		Name:     "go",
		Args:     []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", built, "./probe"},
		Dir:      tmp,
		Env:      []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + e.info.Arch, "GOFLAGS=", "GOWORK=off"},
		Deadline: slow,
	})
	if err != nil {
		return "", "", err
	}
	content, err := os.ReadFile(built)
	if err != nil {
		return "", "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return "", "", err
	}
	if err := writeFile(path, content); err != nil {
		return "", "", err
	}
	return path, key, os.Chmod(path, 0o755) //nolint:gosec // a program, which containers of other users may run
}

// probeImage makes the image of the probe, unless it is there, and returns its name.
func (e *Engine) probeImage(ctx context.Context) (string, error) {
	path, key, err := e.probe(ctx)
	if err != nil {
		return "", err
	}
	ref := probeName + ":" + key
	if _, ok, err := e.Image(ctx, ref); err != nil || ok {
		return ref, err
	}
	dir := filepath.Dir(path)
	file := filepath.Join(dir, "Containerfile")
	if err := writeFile(file, []byte("FROM scratch\nCOPY probe /probe\nENTRYPOINT [\"/probe\"]\n")); err != nil {
		return "", fmt.Errorf("build the probe's image: %w", err)
	}
	return ref, e.Build(ctx, Build{
		File: file, Context: dir, Tag: ref, Deadline: 2 * time.Minute,
		Labels: map[string]string{Label: ImageValue, KeyLabel: key},
	})
}

// Trip is how long the steps of a round trip took.
type Trip struct {
	Image, Run, Exec, Remove time.Duration
	// Container is what it was while it ran, with the limits that the engine gave it.
	Container Container
}

// RoundTrip takes a trivial container through its life: an image from nothing, run, exec, remove. It leaves the image.
// The error names the step.
func (e *Engine) RoundTrip(ctx context.Context) (trip Trip, err error) {
	step := func(name string, took *time.Duration, do func() error) {
		if err != nil {
			return
		}
		begin := time.Now()
		if err = do(); err != nil {
			err = fmt.Errorf("round trip through %s, step %s: %w", e.kind, name, err)
		}
		*took = time.Since(begin)
	}
	var ref string
	step("image", &trip.Image, func() (err error) {
		ref, err = e.probeImage(ctx)
		return err
	})
	name := "kubernaut-e2e-probe-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	step("run", &trip.Run, func() error {
		_, err := e.ask(ctx, "run", "--detach", "--name", name, "--network", "none", "--label", Label+"="+probeValue, ref, "hold")
		return err
	})
	if ref != "" {
		defer func() { // also after a failed run, which may leave the container
			failed := err
			err = nil
			step("remove", &trip.Remove, func() error { return e.RemoveContainer(context.WithoutCancel(ctx), name) })
			if failed != nil {
				err = failed
			}
		}()
	}
	step("exec", &trip.Exec, func() (err error) {
		if trip.Container, _, err = e.Container(ctx, name); err != nil {
			return err
		}
		out, err := e.ask(ctx, "exec", name, "/probe", "say", name)
		if err == nil && strings.TrimSpace(string(out)) != name {
			err = fmt.Errorf("exec was answered with %q, not %q", out, name)
		}
		return err
	})
	return trip, err
}

// Place is a reading, and where and when it was taken.
type Place struct {
	reading.Answer
	// Where names the machine, for people.
	Where string
	// Here tells that it is the machine of this process.
	Here bool
	// Enter is what a person writes before a command for root that is to run there; empty for root here, and where it is not known.
	Enter string
	// Skew is its clock minus this process's, and Within how far that may be off.
	Skew, Within time.Duration
}

// Read reads values on the machine that the containers run on: here, in Podman's machine by its ssh, elsewhere by a
// container of the host's process namespace. There the disks are those of the container's own file system, which is the
// engine's.
func (e *Engine) Read(ctx context.Context, q reading.Question) (Place, error) {
	if !e.info.Remote {
		return Place{Answer: reading.Read(e.host.Root, q), Where: "this machine", Here: true, Enter: e.become()}, nil
	}
	question, err := json.Marshal(q)
	if err != nil {
		return Place{}, fmt.Errorf("read values where the nodes run: %w", err)
	}
	c, where, err := e.readCommand(ctx, string(question))
	if err != nil {
		return Place{}, err
	}
	begin := time.Now()
	out, err := e.Run(ctx, c)
	end := time.Now()
	if err != nil {
		return Place{}, fmt.Errorf("read values in %s: %w", where, err)
	}
	p := Place{Where: where, Within: end.Sub(begin)}
	if e.remote != "" {
		p.Enter = "podman machine ssh " + e.remote + " sudo "
	}
	if err := json.Unmarshal(out, &p.Answer); err != nil {
		return Place{}, fmt.Errorf("read values in %s: %w: %.200s", where, err, out)
	}
	p.Skew = skew(begin, end, p.Clock)
	return p, nil
}

// become is what turns a command for root into one that this user can give.
func (e *Engine) become() string {
	if e.kernelFacts().root {
		return ""
	}
	return "sudo "
}

// skew is how far a clock that was read between begin and end is ahead of that interval, negative if behind.
func skew(begin, end, clock time.Time) time.Duration {
	switch {
	case clock.After(end):
		return clock.Sub(end)
	case clock.Before(begin):
		return clock.Sub(begin)
	}
	return 0
}

func (e *Engine) readCommand(ctx context.Context, question string) (command.Cmd, string, error) {
	if e.remote != "" {
		path, key, err := e.probe(ctx)
		if err != nil {
			return command.Cmd{}, "", err
		}
		program, err := os.ReadFile(path)
		if err != nil {
			return command.Cmd{}, "", fmt.Errorf("read the probe: %w", err)
		}
		if strings.Contains(question, "'") {
			return command.Cmd{}, "", errors.New("a path with a quote in it cannot be asked for by ssh")
		}
		// Root sees all processes; the machine's user is root or may become it.
		const run = `p=$(mktemp -d)/probe-%s; cat >"$p"; chmod +x "$p"; { sudo -n "$p" read '%s' || "$p" read '%[2]s'; } 2>/dev/null; s=$?; rm -r "$(dirname "$p")"; exit $s`
		c := e.Command("machine", "ssh", e.remote, fmt.Sprintf(run, key, question))
		c.Stdin, c.Deadline, c.Quiet = bytes.NewReader(program), quick, true
		return c, fmt.Sprintf("Podman's machine %q", e.remote), nil
	}
	ref, err := e.probeImage(ctx)
	if err != nil {
		return command.Cmd{}, "", err
	}
	c := e.Command("run", "--rm", "--network", "none", "--pid", "host", "--cap-add", "SYS_PTRACE", "--label", Label+"="+probeValue, ref, "read", question)
	c.Deadline, c.Quiet = quick, true
	return c, "the machine that " + string(e.kind) + " runs in", nil
}

// activeMachine is the name of the machine that Podman's containers run in; empty if it is none of Podman's own.
func (e *Engine) activeMachine(ctx context.Context) string {
	out, err := e.ask(ctx, "machine", "list", "--format", "json")
	if err != nil {
		e.notes = append(e.notes, fmt.Sprintf("Podman's containers run on another machine, which is none of its own: %v", err))
		return ""
	}
	var machines []struct {
		Name             string
		Default, Running bool
	}
	if err := json.Unmarshal(out, &machines); err != nil {
		return ""
	}
	name := ""
	for _, m := range machines {
		if m.Running && (name == "" || m.Default) {
			name = strings.TrimSuffix(m.Name, "*")
		}
	}
	return name
}
