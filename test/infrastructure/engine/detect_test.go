package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine/reading"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// fakes makes PATH a directory with nothing but these shell scripts, and returns it. Each appends its arguments to the
// file calls there.
func fakes(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range scripts {
		script := "#!/bin/sh\necho \"" + name + " $*\" >>" + filepath.Join(dir, "calls") + "\n" + body + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return dir
}

// calls are the command lines that the fakes were called with.
func calls(t *testing.T, dir string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

func testdata(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// environment is a Getenv of these variables alone.
func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range slices.Backward(pairs) {
			if n, v := splitPair(p); n == name {
				return v
			}
		}
		return ""
	}
}

// Scripts of engines.
func podmanAnswers(t *testing.T) string {
	return "exec /bin/cat " + testdata(t, "podman-4.3-info.json")
}

func dockerAnswers(t *testing.T) string {
	return `if [ "$1" = version ]; then echo '{"Server":{"Components":[{"Name":"Engine"}]}}'; else exec /bin/cat ` + testdata(t, "docker-28-info.json") + "; fi"
}

const (
	dockerIsDown    = `echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' >&2; exit 1`
	podmanIsDown    = `echo 'Cannot connect to Podman. Please verify your connection to the Linux system' >&2; exit 125`
	podmanDisguised = `if [ "$1" = version ]; then echo '{"Client":{"Version":"4.3.1"}}'; else echo '{"host":{}}'; fi`
	podmansService  = `if [ "$1" = version ]; then echo '{"Server":{"Components":[{"Name":"Podman Engine"}]}}'; else echo '{"ServerVersion":"4.3.1","ClientInfo":{"Version":"28"}}'; fi`
)

// noRoot is a machine that needs no configuration.
func noRoot(t *testing.T) string {
	return hostFiles(t, map[string]string{"proc/self/status": "Uid:\t1000\t1000\t1000\t1000\n", "run/systemd/system/x": ""})
}

func TestDetect(t *testing.T) {
	podman, docker := podmanAnswers(t), dockerAnswers(t)
	for _, row := range []struct {
		name           string
		podman, docker string // scripts; empty: not installed
		env            []string
		last, os       string
		want           Kind
		why            string // in the first note, or in the error with what was said and the fix
		notAsked       string // a program that must not be called
	}{
		{name: "Podman alone", podman: podman, want: Podman, why: "the only one that answers"},
		{name: "Docker alone", docker: docker, want: Docker, why: "the only one that answers"},
		{name: "Docker's daemon is down", podman: podman, docker: dockerIsDown, want: Podman, why: "the only one that answers"},
		{name: "both", podman: podman, docker: docker, want: Podman, why: "E2E_RUNTIME=docker takes the other"},
		{name: "both, the last run used Docker", podman: podman, docker: docker, last: "docker", want: Docker, why: "the last run used it"},
		{name: "the last run's is gone", podman: podman, last: "docker", want: Podman, why: "docker, which the last run used, does not"},
		{name: "Podman's command named docker", podman: podman, docker: podmanDisguised, last: "docker", want: Podman, why: "does not"},
		{name: "Docker's client on Podman's service", podman: podman, docker: podmansService, want: Podman, why: "the only one that answers"},
		{name: "forced", podman: podman, docker: docker, env: []string{"E2E_RUNTIME=docker"}, want: Docker, why: "E2E_RUNTIME says so", notAsked: "podman"},
		{name: "forced against the last run", podman: podman, docker: docker, env: []string{"E2E_RUNTIME=podman"}, last: "docker", want: Podman, why: "E2E_RUNTIME", notAsked: "docker"},
		{name: "Kind's variable", podman: podman, docker: docker, env: []string{"KIND_EXPERIMENTAL_PROVIDER=docker"}, want: Docker, why: "KIND_EXPERIMENTAL_PROVIDER says so"},
		{name: "ours before Kind's", podman: podman, docker: docker, env: []string{"KIND_EXPERIMENTAL_PROVIDER=docker", "E2E_RUNTIME=podman"}, want: Podman, why: "E2E_RUNTIME"},
		{name: "forced onto Podman's service", docker: podmansService, env: []string{"E2E_RUNTIME=docker"}, want: Docker, why: "E2E_RUNTIME"},

		{name: "none installed", why: "install Podman"},
		{name: "forced, not installed", podman: podman, env: []string{"E2E_RUNTIME=docker"}, why: "install docker, or unset"},
		{name: "forced, down", podman: podman, docker: dockerIsDown, env: []string{"E2E_RUNTIME=docker"}, why: "systemctl start docker"},
		{name: "forced, down, says what it said", docker: dockerIsDown, env: []string{"E2E_RUNTIME=docker"}, why: "Is the docker daemon running?"},
		{name: "Podman's machine is stopped", podman: podmanIsDown, os: "darwin", why: "podman machine start"},
		{name: "both down", podman: podmanIsDown, docker: dockerIsDown, why: "podman info"},
		{name: "only Podman's service behind Docker's client", docker: podmansService, why: "Kind would take for Docker"},
		{name: "unknown engine", podman: podman, env: []string{"E2E_RUNTIME=nerdctl"}, why: `E2E_RUNTIME is "nerdctl"`, notAsked: "podman"},
		{name: "Kind would use another", podman: podman, env: []string{"KIND_EXPERIMENTAL_PROVIDER=finch"}, why: "export E2E_RUNTIME=podman"},
	} {
		t.Run(row.name, func(t *testing.T) {
			scripts := make(map[string]string)
			if row.podman != "" {
				scripts["podman"] = row.podman
			}
			if row.docker != "" {
				scripts["docker"] = row.docker
			}
			bin := fakes(t, scripts)
			h := Host{Getenv: environment(row.env...), StateDir: t.TempDir(), OS: row.os, Root: noRoot(t)}
			if h.OS == "" {
				h.OS = "linux"
			}
			if row.last != "" {
				if err := os.WriteFile(memory(h), []byte(row.last), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			e, err := Detect(t.Context(), command.Runner{}, h)
			if row.notAsked != "" && slices.ContainsFunc(calls(t, bin), func(c string) bool { return strings.HasPrefix(c, row.notAsked) }) {
				t.Errorf("%s was called: %q", row.notAsked, calls(t, bin))
			}
			if row.want == "" {
				typed, ok := errors.AsType[failure.Typed](err)
				if !ok {
					t.Fatalf("got %v, want a failure", err)
				}
				f := typed.Finding()
				all := f.Summary + "\n" + f.Fix + "\n" + strings.Join(f.Lines, "\n")
				if f.Class != failure.Host || f.Fix == "" || !strings.Contains(all, row.why) {
					t.Errorf("got %+v, want class host, a fix, and %q", f, row.why)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind() != row.want || !strings.Contains(e.Notes()[0], row.why) {
				t.Errorf("got %s, %q; want %s, %q", e.Kind(), e.Notes(), row.want, row.why)
			}
			if last, _ := os.ReadFile(memory(h)); string(last) != string(row.want) {
				t.Errorf("remembered %q, want %q", last, row.want)
			}
		})
	}
}

func TestDetectInterrupted(t *testing.T) {
	fakes(t, map[string]string{"podman": podmanAnswers(t)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Detect(ctx, command.Runner{}, Host{Getenv: environment(), StateDir: t.TempDir()})
	if _, ok := errors.AsType[failure.Typed](err); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error, which is no fault of the host", err)
	}
}

func TestExport(t *testing.T) {
	fakes(t, map[string]string{"podman": podmanAnswers(t)})
	root := hostFiles(t, map[string]string{"proc/self/status": "Uid:\t0\t0\t0\t0\nCapEff:\t0\n", "proc/self/limits": "Max open files            1024                 1024                files     \n"})
	state := t.TempDir()
	e, err := Detect(t.Context(), command.Runner{}, Host{Getenv: environment(), StateDir: state, OS: "linux", Root: root})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	if err := e.Export(func(name, value string) error { got[name] = value; return nil }); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(state, "containers.conf")
	for name, want := range map[string]string{
		"E2E_RUNTIME": "podman", "KIND_EXPERIMENTAL_PROVIDER": "podman", "KIND_EXPERIMENTAL_PODMAN_NETWORK": NetworkName,
		"KIND_EXPERIMENTAL_DOCKER_NETWORK": NetworkName, "CONTAINERS_CONF": conf,
	} {
		if got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
	if err := e.Export(func(string, string) error { return os.ErrInvalid }); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("a variable that cannot be set: got %v", err)
	}

	// A run inside this one finds its file in the environment, and needs it.
	inner, err := Detect(t.Context(), command.Runner{}, Host{Getenv: environment("CONTAINERS_CONF=" + conf), StateDir: state, OS: "linux", Root: root})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(inner.Env(), "CONTAINERS_CONF="+conf) {
		t.Errorf("environment of a run inside a run: got %q", inner.Env())
	}

	// The user's file stays.
	users := filepath.Join(t.TempDir(), "mine.conf")
	if err := os.WriteFile(users, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	theirs, err := Detect(t.Context(), command.Runner{}, Host{Getenv: environment("CONTAINERS_CONF=" + users), StateDir: t.TempDir(), OS: "linux", Root: root})
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(theirs.Env(), func(v string) bool { return strings.HasPrefix(v, "CONTAINERS_CONF=") }) {
		t.Errorf("the user's CONTAINERS_CONF was replaced: %q", theirs.Env())
	}
	if notes := strings.Join(theirs.Notes(), "\n"); !strings.Contains(notes, "default_ulimits") || !strings.Contains(notes, users) {
		t.Errorf("notes on what the user's file lacks: got %q", notes)
	}
}

func TestDockerIsRemote(t *testing.T) {
	fakes(t, map[string]string{"docker": dockerAnswers(t)})
	for _, row := range []struct {
		os, host string
		want     bool
	}{
		{"linux", "", false},
		{"linux", "unix:///run/user/1000/docker.sock", false},
		{"linux", "ssh://builder", true},
		{"darwin", "", true},
	} {
		e, err := Detect(t.Context(), command.Runner{}, Host{Getenv: environment("DOCKER_HOST=" + row.host), StateDir: t.TempDir(), OS: row.os})
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Info().Remote; got != row.want {
			t.Errorf("%+v: got %v", row, got)
		}
	}
}

// machineScript is a Podman whose containers run in a machine, which is this one; its clock is an hour behind.
func machineScript(t *testing.T) string {
	return `case "$1 $2" in
"info --format") exec /bin/cat ` + testdata(t, "podman-5.6-machine-info.json") + ` ;;
"machine list") echo '[{"Name":"other","Running":true},{"Name":"podman-machine-default*","Default":true,"Running":true},{"Name":"off"}]' ;;
"machine ssh") [ "$3" = podman-machine-default ] || exit 7
  PATH=/usr/bin:/bin; export PATH
  sudo() { shift; return 1; }
  eval "$4" | sed 's/"clock":"[^"]*"/"clock":"2020-01-01T00:00:00Z"/' ;;
*) exit 125 ;;
esac`
}

func TestReadInPodmansMachine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this machine plays Podman's, which is Linux")
	}
	path := os.Getenv("PATH")
	dir := fakes(t, map[string]string{"podman": machineScript(t)})
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+path) // the probe is built with go
	e, err := Detect(t.Context(), command.Runner{}, Host{Getenv: environment("E2E_RUNTIME=podman"), StateDir: t.TempDir(), OS: "darwin"})
	if err != nil {
		t.Fatal(err)
	}
	if !e.Info().Remote || e.remote != "podman-machine-default" {
		t.Fatalf("got %+v in machine %q", e.Info(), e.remote)
	}
	e.info.Arch = runtime.GOARCH // the script's machine is this one
	p, err := e.Read(t.Context(), reading.Question{Files: []string{"/proc/sys/kernel/pid_max", "/missing"}, Disks: []string{"/"}, Inotify: true})
	if err != nil {
		t.Fatal(err)
	}
	if p.Here || !strings.Contains(p.Where, "podman-machine-default") || p.Files["/proc/sys/kernel/pid_max"] == "" || p.Disks["/"].Total == 0 {
		t.Errorf("got %+v", p)
	}
	if _, ok := p.Files["/missing"]; ok {
		t.Error("a file that is missing was read")
	}
	if p.Skew > -time.Hour {
		t.Errorf("skew: got %v, want years behind", p.Skew)
	}
}

func TestSkew(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	end := begin.Add(time.Second)
	for _, row := range []struct{ clock, want time.Duration }{
		{500 * time.Millisecond, 0},
		{31 * time.Second, 30 * time.Second},
		{-time.Minute, -time.Minute},
	} {
		if got := skew(begin, end, begin.Add(row.clock)); got != row.want {
			t.Errorf("clock at %v: got %v, want %v", row.clock, got, row.want)
		}
	}
}
