package engine

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine/reading"
)

// dockerOnPodman is an engine on Docker's client, which talks to Podman's service.
func dockerOnPodman(t *testing.T) *Engine {
	t.Helper()
	env := isolated(t)
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skip("docker is not installed")
	}
	// The service needs the configuration that Podman itself needs on this host.
	state := t.TempDir()
	podman, err := Detect(t.Context(), command.Runner{Env: env}, Host{StateDir: state, Getenv: func(name string) string {
		if name == "E2E_RUNTIME" {
			return string(Podman)
		}
		return os.Getenv(name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(filepath.Dir(strings.TrimPrefix(env[0], "CONTAINERS_STORAGE_CONF=")), "s")
	service := exec.Command("podman", "system", "service", "--time", "0", "unix://"+socket)
	service.Env = slices.Concat(os.Environ(), env, podman.Env())
	var said bytes.Buffer
	service.Stderr = &said
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = service.Process.Signal(os.Interrupt)
		_ = service.Wait() // its exit code after a signal says nothing
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("podman system service has not started:\n%s", &said)
		case <-tick.C:
		}
	}
	e, err := Detect(t.Context(), command.Runner{Env: []string{"DOCKER_HOST=unix://" + socket, "DOCKER_BUILDKIT=0"}},
		Host{StateDir: state, Network: "e2e-test-docker", Getenv: environment("E2E_RUNTIME=docker")})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Docker's client and its ways of saying things, as far as Podman's service goes along.
func TestDockersClient(t *testing.T) {
	e := dockerOnPodman(t)
	ctx := t.Context()
	if notes := strings.Join(e.Notes(), "\n"); e.Kind() != Docker || !strings.Contains(notes, "Podman's service") {
		t.Errorf("got %s, %q", e.Kind(), notes)
	}
	if err := e.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := e.RoundTrip(ctx); err != nil {
		t.Fatal(err)
	}
	const ref = "localhost/kubernaut-e2e-try:1"
	image := scratch(t, e, ref, "content", map[string]string{Label: ImageValue, KeyLabel: "abc"})
	if !slices.Contains(image.Tags, ref) || image.Labels[KeyLabel] != "abc" {
		t.Errorf("got %+v", image)
	}
	if _, ok, err := e.Image(ctx, "localhost/absent:1"); ok || err != nil {
		t.Errorf("an image that is not there: got %v, %v", ok, err)
	}
	var archive bytes.Buffer
	if err := e.Save(ctx, &archive, ref); err != nil {
		t.Fatal(err)
	}
	if id := configDigest(t, archive.Bytes()); id != image.ID {
		t.Errorf("the id in the archive is %s, the image's is %s", id, image.ID)
	}
	c := running(t, e, "try-docker", "--network", "none", "--label", Label+"=try")
	if !c.Running || c.Labels[Label] != "try" {
		t.Errorf("got %+v", c)
	}
	if out, err := e.Exec(ctx, Exec{Container: c.Name, Args: []string{"/probe", "say", "hello"}}); err != nil || string(out) != "hello\n" {
		t.Errorf("exec: got %q, %v", out, err)
	}
	if _, ok, err := e.Container(ctx, "absent"); ok || err != nil {
		t.Errorf("a container that is not there: got %v, %v", ok, err)
	}
	owned, err := e.Owned(ctx, "try")
	if err != nil || len(owned) != 1 || owned[0].Name != c.Name {
		t.Errorf("owned by the cluster: got %v, %v", owned, err)
	}
	if err := e.Remove(ctx, owned...); err != nil {
		t.Fatal(err)
	}
	removed, err := e.Collect(ctx, Keep{Refs: []string{ref}})
	if err != nil || !slices.ContainsFunc(removed, func(r Resource) bool { return strings.HasPrefix(r.Name, probeName) }) {
		t.Errorf("collected %v, %v; want the probe's image among them", removed, err)
	}
	if _, ok, err := e.Image(ctx, ref); !ok || err != nil {
		t.Errorf("the image that is kept: got %v, %v", ok, err)
	}
	if removed, err = e.Collect(ctx, Keep{}); err != nil || !slices.ContainsFunc(removed, func(r Resource) bool { return r.Name == ref }) {
		t.Errorf("collected %v, %v; want the other", removed, err)
	}
	if owned, err = e.Owned(ctx, ""); err != nil || len(owned) != 0 {
		t.Errorf("in the end: got %v, %v; want nothing", owned, err)
	}
}

// The command lines that Docker gets where they are not Podman's.
func TestDockersArguments(t *testing.T) {
	bin := fakes(t, map[string]string{"docker": `case "$1 $2" in
"version --format") echo '{"Server":{"Components":[{"Name":"Engine"}]}}' ;;
"info --format") exec /bin/cat ` + testdata(t, "docker-28-info.json") + ` ;;
"network ls") if [ -e "$0.made" ]; then echo 0123456789abcdef; fi ;;
"network inspect") if [ "$3" = bridge ]; then echo 1450; else echo '[{"Name":"kubernaut-e2e","Id":"0123456789abcdef","IPAM":{"Config":[{"Subnet":"fd00::/64"},{"Subnet":"10.89.78.0/24"}]},"Options":{"com.docker.network.bridge.name":"kubernaut-e2e"},"Labels":{"ai.kubernaut.e2e":"kubernaut-e2e"}}]'; fi ;;
"network create") case "$*" in *10.89.77.0/24*) echo 'Error response from daemon: invalid pool request: Pool overlaps with other one on this address space' >&2; exit 1 ;; esac; : >"$0.made"; echo 0123456789abcdef ;;
"image inspect") echo 'Error response from daemon: No such image: x' >&2; exit 1 ;;
esac`})
	e, err := Detect(t.Context(), command.Runner{}, Host{Getenv: environment(), StateDir: t.TempDir(), OS: "linux", Root: noRoot(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	network, err := e.EnsureNetwork(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := Network{Name: NetworkName, ID: "0123456789abcdef", Subnets: []string{"10.89.78.0/24", "fd00::/64"}, Bridge: NetworkName, Labels: map[string]string{Label: NetworkName}}
	if !reflect.DeepEqual(network, want) {
		t.Errorf("got  %+v\nwant %+v", network, want)
	}
	if err := e.Build(ctx, Build{File: "D", Context: "dir", Tag: "t:1", Labels: map[string]string{"b": "2", "a": "1"}, Args: map[string]string{"X": "y"}, Target: "s"}); err != nil {
		t.Fatal(err)
	}
	if err := e.Save(ctx, &bytes.Buffer{}, "t:1", "u:1"); err != nil {
		t.Fatal(err)
	}
	if err := e.RemoveContainer(ctx, "node"); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := e.Image(ctx, "x"); ok || err != nil {
		t.Errorf("an image that is not there: got %v, %v", ok, err)
	}
	got := calls(t, bin)
	for _, line := range []string{
		"docker network create --driver bridge --label ai.kubernaut.e2e=kubernaut-e2e --opt com.docker.network.bridge.name=kubernaut-e2e --opt com.docker.network.driver.mtu=1450 --subnet 10.89.78.0/24 kubernaut-e2e",
		"docker build --file D --tag t:1 --label a=1 --label b=2 --build-arg X=y --target s dir",
		"docker save t:1 u:1",
		"docker rm --force --volumes node",
	} {
		if !slices.Contains(got, line) {
			t.Errorf("%q was not called, but\n%s", line, strings.Join(got, "\n"))
		}
	}
}

// Two networks of one name are Docker's to make and ours to refuse.
func TestAmbiguousNetwork(t *testing.T) {
	fakes(t, map[string]string{"docker": `case "$1 $2" in
"network ls") echo one; echo two ;;
"network inspect") echo '[{"Name":"kubernaut-e2e","Id":"one"},{"Name":"kubernaut-e2e","Id":"two"},{"Name":"kubernaut-e2e-not-ours","Id":"three"}]' ;;
*) ` + dockerAnswers(t) + ` ;;
esac`})
	e, err := Detect(t.Context(), command.Runner{}, Host{Getenv: environment(), StateDir: t.TempDir(), OS: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.EnsureNetwork(t.Context()); err == nil || !strings.Contains(err.Error(), "docker network rm two") {
		t.Errorf("got %v, want an error with the command that helps", err)
	}
}

// In Docker Desktop's machine values are read by a container.
func TestReadThroughDocker(t *testing.T) {
	bin := fakes(t, map[string]string{
		"docker": `case "$1 $2" in
"image inspect") echo '[{"Id":"sha256:1","RepoTags":["x"]}]' ;;
"run --rm") printf '%s\n' '{"clock":"2020-01-01T00:00:00Z","files":{"/proc/sys/fs/inotify/max_user_instances":"128\n"},"disks":{"/var/lib/docker":{"free":1}}}' ;;
*) ` + dockerAnswers(t) + ` ;;
esac`,
		"go": `while [ $# -gt 0 ]; do if [ "$1" = -o ]; then : >"$2"; fi; shift; done`,
	})
	e, err := Detect(t.Context(), command.Runner{}, Host{Getenv: environment(), StateDir: t.TempDir(), OS: "darwin"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Read(t.Context(), reading.Question{Files: []string{"/proc/sys/fs/inotify/max_user_instances"}, Disks: []string{"/var/lib/docker"}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Here || p.Skew > -time.Hour || p.Files["/proc/sys/fs/inotify/max_user_instances"] != "128\n" || p.Disks["/var/lib/docker"].Free != 1 {
		t.Errorf("got %+v", p)
	}
	if !slices.ContainsFunc(calls(t, bin), func(c string) bool { return strings.HasPrefix(c, "docker run --rm --network none --pid host") }) {
		t.Errorf("calls: %q", calls(t, bin))
	}
}
