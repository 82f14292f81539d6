package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// Host is what Detect takes from the process that it runs in.
type Host struct {
	// Getenv looks up the environment. Required.
	Getenv func(string) string
	// StateDir is where the choice is remembered and a containers.conf is written; it is made when it is missing. Required.
	StateDir string
	// Network is the name of the nodes' network; empty: that of NetworkFor.
	Network string
	// OS is the operating system; empty: that of this process.
	OS string
	// Root is where the file system is looked at; empty: "/".
	Root string
}

func (h Host) os() string {
	if h.OS == "" {
		return runtime.GOOS
	}
	return h.OS
}

// path is an absolute path of the host as this process opens it.
func (h Host) path(abs string) string { return filepath.Join("/", h.Root, abs) }

// StateDir is where the harness keeps what outlives a run: E2E_STATE_DIR, else kubernaut/e2e in the user's cache.
func StateDir(getenv func(string) string) (string, error) {
	if dir := getenv("E2E_STATE_DIR"); dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("E2E_STATE_DIR %q: %w", dir, err)
		}
		return abs, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for the state of runs: %w; set E2E_STATE_DIR to a directory", err)
	}
	return filepath.Join(cache, "kubernaut", "e2e"), nil
}

// NetworkFor is the network of the nodes of the clusters on a state directory: NetworkName where E2E_STATE_DIR is not set, else
// one of that directory's own. So the runs of one directory can neither open nor remove what those of another rely on.
func NetworkFor(getenv func(string) string, stateDir string) string {
	if getenv("E2E_STATE_DIR") == "" {
		return NetworkName
	}
	return OwnNetwork(stateDir)
}

// OwnNetwork is the network of a state directory that shares none.
func OwnNetwork(stateDir string) string { return NetworkName + "-" + short(stateDir) }

// short is a text's digest, short enough for a name.
func short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// Detect finds the engine. The first of these rules that applies decides:
//
//  1. E2E_RUNTIME names it; that it does not answer is then an error.
//  2. KIND_EXPERIMENTAL_PROVIDER names it, likewise: Kind would use that one.
//  3. The one that the last run on this state directory used, if it still answers.
//  4. The only one that answers.
//  5. Podman.
//
// A docker command that is Podman in disguise is no second engine, and without rule 1 or 2 no engine at all, since Kind
// would not take it for Podman. The choice and its reason are the first of Notes. Errors are failure.Typed, of class host.
func Detect(ctx context.Context, r command.Runner, h Host) (*Engine, error) {
	forced, rule, err := forcedKind(h.Getenv)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(h.StateDir, 0o750); err != nil {
		return nil, fmt.Errorf("detect the engine: %w", err)
	}
	h.Network = cmp.Or(h.Network, NetworkFor(h.Getenv, h.StateDir))
	answers := probeAll(ctx, r, forced)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("detect the engine: %w", context.Cause(ctx))
	}
	last, _ := os.ReadFile(memory(h)) // without one there was no earlier run
	c, err := choose(answers, forced, rule, Kind(strings.TrimSpace(string(last))), h.os())
	if err != nil {
		return nil, err
	}
	e := &Engine{kind: c.kind, runner: r, host: h, info: answers[c.kind].info, notes: c.notes}
	e.info.Remote = e.info.Remote || e.kind == Docker && (h.os() != "linux" || foreignDocker(h.Getenv("DOCKER_HOST")))
	e.env = []string{
		"E2E_RUNTIME=" + string(c.kind),
		"KIND_EXPERIMENTAL_PROVIDER=" + string(c.kind),
		"KIND_EXPERIMENTAL_PODMAN_NETWORK=" + e.network(),
		"KIND_EXPERIMENTAL_DOCKER_NETWORK=" + e.network(),
	}
	if e.kind == Podman {
		if err := e.configure(ctx); err != nil {
			return nil, err
		}
	}
	if e.kind == Podman && e.info.Remote {
		e.remote = e.activeMachine(ctx)
	}
	if string(last) != string(e.kind) {
		if err := writeFile(memory(h), []byte(e.kind)); err != nil {
			return nil, fmt.Errorf("remember the engine: %w", err)
		}
	}
	return e, nil
}

// memory is the file with the engine that the last run used.
func memory(h Host) string { return filepath.Join(h.StateDir, "engine") }

// foreignDocker reports whether a DOCKER_HOST is another machine.
func foreignDocker(host string) bool {
	return strings.HasPrefix(host, "tcp://") || strings.HasPrefix(host, "ssh://")
}

// forcedKind reads the environment's word on which engine it is, and the variable that says so.
func forcedKind(getenv func(string) string) (kind Kind, variable string, err error) {
	for _, variable := range []string{"E2E_RUNTIME", "KIND_EXPERIMENTAL_PROVIDER"} {
		v := strings.TrimSpace(getenv(variable))
		switch Kind(v) {
		case "":
		case Podman, Docker:
			return Kind(v), variable, nil
		default:
			return "", "", failure.New(failure.Host, "", fmt.Sprintf("%s is %q; this harness works with podman and docker", variable, v),
				"export E2E_RUNTIME=podman (or docker)")
		}
	}
	return "", "", nil
}

// answer is what one engine said to the first question.
type answer struct {
	info    Info
	podman  bool // the docker command reaches Podman
	missing bool // there is no such program
	err     error
}

// probeAll asks the engines at the same time, or the forced one only.
func probeAll(ctx context.Context, r command.Runner, forced Kind) map[Kind]answer {
	var mu sync.Mutex
	var wg sync.WaitGroup
	answers := make(map[Kind]answer)
	for kind, probe := range map[Kind]func(context.Context, command.Runner) answer{Podman: probePodman, Docker: probeDocker} {
		if forced != "" && kind != forced {
			continue
		}
		wg.Go(func() {
			a := probe(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			answers[kind] = a
		})
	}
	wg.Wait()
	return answers
}

func probePodman(ctx context.Context, r command.Runner) answer {
	out, err := r.Run(ctx, command.Cmd{Name: "podman", Args: []string{"info", "--format", "json"}, Deadline: quick, Quiet: true})
	if err != nil {
		return answer{err: err, missing: errors.Is(err, exec.ErrNotFound)}
	}
	info, err := parsePodmanInfo(out)
	return answer{info: info, err: err}
}

func probeDocker(ctx context.Context, r command.Runner) answer {
	out, err := r.Run(ctx, command.Cmd{Name: "docker", Args: []string{"version", "--format", "{{json .}}"}, Deadline: quick, Quiet: true})
	if err != nil {
		return answer{err: err, missing: errors.Is(err, exec.ErrNotFound)}
	}
	var version struct {
		Server *struct{ Components []struct{ Name string } }
	}
	if err := json.Unmarshal(out, &version); err != nil {
		return answer{err: fmt.Errorf("output of docker version: %w", err)}
	}
	// Podman's own docker command prints Podman's version, which has no components.
	podman := version.Server == nil || len(version.Server.Components) == 0 || version.Server.Components[0].Name == "Podman Engine"
	if out, err = r.Run(ctx, command.Cmd{Name: "docker", Args: []string{"info", "--format", "{{json .}}"}, Deadline: quick, Quiet: true}); err != nil {
		return answer{err: err, podman: podman}
	}
	info, err := parseDockerInfo(out)
	if podman && err != nil {
		err = errors.New("it is Podman's command under another name")
	}
	return answer{info: info, err: err, podman: podman}
}

type choice struct {
	kind  Kind
	notes []string
}

// choose applies the rules of Detect.
func choose(answers map[Kind]answer, forced Kind, variable string, last Kind, goos string) (choice, error) {
	if forced != "" {
		a := answers[forced]
		if a.err != nil {
			return choice{}, silent(answers, goos, fmt.Sprintf("%s asks for %s, which does not answer", variable, forced))
		}
		c := choice{forced, []string{fmt.Sprintf("engine: %s %s, because %s says so", forced, a.info.Version, variable)}}
		if a.podman {
			c.notes = append(c.notes, "the docker command talks to Podman's service: images and containers work, Kind's nodes do not")
		}
		return c, nil
	}
	var usable []Kind
	for _, k := range []Kind{Podman, Docker} {
		if a, ok := answers[k]; ok && a.err == nil && !a.podman {
			usable = append(usable, k)
		}
	}
	pick := func(k Kind, why string) (choice, error) {
		return choice{k, []string{fmt.Sprintf("engine: %s %s, because %s", k, answers[k].info.Version, why)}}, nil
	}
	switch {
	case len(usable) == 0:
		return choice{}, silent(answers, goos, "no container engine answers")
	case slices.Contains(usable, last):
		return pick(last, "the last run used it")
	case len(usable) == 1 && last != "":
		return pick(usable[0], fmt.Sprintf("it answers and %s, which the last run used, does not", last))
	case len(usable) == 1:
		return pick(usable[0], "it is the only one that answers")
	}
	return pick(Podman, "both Podman and Docker answer and then Podman is taken; E2E_RUNTIME=docker takes the other")
}

// silent is the error of engines that do not answer: what each said, and what to do.
func silent(answers map[Kind]answer, goos, summary string) error {
	var lines, fixes []string
	for _, k := range []Kind{Podman, Docker} {
		a, ok := answers[k]
		switch {
		case !ok:
			continue
		case a.missing:
			lines = append(lines, fmt.Sprintf("%s: not on PATH", k))
			if len(answers) == 1 {
				fixes = append(fixes, fmt.Sprintf("install %s, or unset the variable", k))
			}
			continue
		case a.podman:
			lines = append(lines, "docker: it is Podman under another name, which Kind would take for Docker")
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %v", k, a.err))
		fixes = append(fixes, start(k, goos))
	}
	if len(fixes) == 0 {
		fixes = append(fixes, "install Podman (https://podman.io/docs/installation) or Docker")
	}
	return failure.New(failure.Host, "F18", summary, strings.Join(fixes, "; or "), lines...)
}

// start is the command that gets an installed engine to answer.
func start(k Kind, goos string) string {
	switch {
	case k == Podman && goos != "linux":
		return "podman machine start"
	case k == Podman:
		return "podman info   # and see what it lacks"
	case goos != "linux":
		return "start Docker Desktop, or: docker context ls"
	}
	return "systemctl start docker"
}

// writeFile replaces a file in one step, so that nobody reads half of it.
func writeFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(content); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
