package nodeimage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

func TestExact(t *testing.T) {
	for ref, want := range map[string]string{
		"postgres":                          "docker.io/library/postgres",
		"postgres:17.6":                     "docker.io/library/postgres:17.6",
		"kindest/node:v1.37.0@sha256:a1":    "docker.io/kindest/node@sha256:a1",
		"docker.io/library/postgres:17.6":   "docker.io/library/postgres:17.6",
		"localhost/kubernaut-e2e-node:1":    "localhost/kubernaut-e2e-node:1",
		"localhost:5000/a/b:1@sha256:a1":    "localhost:5000/a/b@sha256:a1",
		"registry.example/a/b@sha256:a1":    "registry.example/a/b@sha256:a1",
		"registry.example:443/a@sha256:a1":  "registry.example:443/a@sha256:a1",
		"localhost:5000/kubernaut-e2e-node": "localhost:5000/kubernaut-e2e-node",
	} {
		if got := exact(ref); got != want {
			t.Errorf("exact(%q) = %q, want %q", ref, got, want)
		}
	}
}

// scripted is an engine on a PATH of its own, under both names, that has some images, and a registry that answers with a status and a text. It writes
// down what it is asked.
func scripted(t *testing.T, has []string, registry string) (o Options, asked func() string) {
	t.Helper()
	bin := t.TempDir()
	log := filepath.Join(bin, "asked")
	script := "#!/bin/sh\necho \"$@\" >>" + log + "\nfor last; do :; done\ncase \"$1 $2\" in\n'image inspect')\n\tcase $last in\n"
	for _, ref := range has {
		script += "\t" + ref + ") echo id; exit 0 ;;\n"
	}
	script += "\tesac\n\techo no such image >&2; exit 1 ;;\n'manifest inspect')\n\t" + registry + " ;;\npull*) exit 0 ;;\nesac\nexit 1\n"
	for _, name := range []string{"podman", "docker"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(goTool, filepath.Join(bin, "go")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOROOT", runtimeGOROOT(t, goTool))
	t.Setenv("PATH", bin)
	return Options{Runtime: "podman", CacheDir: t.TempDir(), Env: func(string) string { return "" }}, func() string {
		content, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
}

func runtimeGOROOT(t *testing.T, goTool string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), goTool, "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

const unreachable = `echo 'Error: pinging container registry: dial tcp: lookup registry.example: no such host' >&2; exit 125`

func TestEnsure(t *testing.T) {
	key, err := newTestBuilder(t, Options{}).nodeKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	built, official := nodeName+":"+key, exact(defaults.Image)
	for name, test := range map[string]struct {
		runtime  string
		named    string
		has      []string
		registry string
		want     Image // without Why
		asked    string
		never    string
	}{
		"named":                     {named: "localhost/mine:1", has: []string{"localhost/mine:1"}, want: Image{Ref: "localhost/mine:1", Origin: Given}, never: "manifest"},
		"named, and pulled":         {named: "registry.example/a:1", registry: "exit 0", want: Image{Ref: "registry.example/a:1", Origin: Given}, asked: "pull registry.example/a:1"},
		"built before":              {has: []string{built, official}, want: Image{Ref: built, Origin: Cached, Key: key}, never: "manifest"},
		"the official one is there": {has: []string{official}, want: Image{Ref: official, Origin: Cached}, never: "manifest"},
		"a registry gives it":       {registry: "exit 0", want: Image{Ref: official, Origin: Pulled}, asked: "pull " + official},
		"docker":                    {runtime: "docker", registry: "exit 0", want: Image{Ref: official, Origin: Pulled}, asked: "manifest inspect " + official},
	} {
		t.Run(name, func(t *testing.T) {
			o, asked := scripted(t, test.has, test.registry)
			if test.runtime != "" {
				o.Runtime = test.runtime
			}
			o.Env = func(name string) string { return map[string]string{EnvNodeImage: test.named}[name] }
			got, err := Ensure(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if got.Why == "" {
				t.Error("it does not say why")
			}
			if got.Why = ""; got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if !strings.Contains(asked(), test.asked) || test.never != "" && strings.Contains(asked(), test.never) {
				t.Errorf("asked podman\n%swant %q and not %q", asked(), test.asked, test.never)
			}
		})
	}
	t.Run("nothing gives it and it cannot be built", func(t *testing.T) {
		o, asked := scripted(t, nil, unreachable)
		_, err := Ensure(t.Context(), o)
		typed, ok := errors.AsType[failure.Typed](err)
		if !ok || typed.Finding().Class != failure.Host {
			t.Fatalf("got %v, want an error of class host", err)
		}
		if runtime.GOOS == "linux" && os.Geteuid() == 0 {
			want := "apt-get install -y --no-install-recommends debootstrap util-linux mount coreutils"
			if got := typed.Finding().Fix; got != want {
				t.Errorf("to do: %q, want %q", got, want)
			}
		}
		if !strings.Contains(err.Error(), "no such host") || strings.Contains(asked(), "pull") {
			t.Errorf("got %v after\n%s", err, asked())
		}
	})
	t.Run("a name that nobody has", func(t *testing.T) {
		o, _ := scripted(t, nil, unreachable)
		o.Env = func(string) string { return "localhost/typo:1" }
		if _, err := Ensure(t.Context(), o); err == nil || !strings.Contains(err.Error(), EnvNodeImage+" names localhost/typo:1") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a registry that gives it and breaks off is no reason to build", func(t *testing.T) {
		o, _ := scripted(t, nil, "exit 0")
		podman := filepath.Join(os.Getenv("PATH"), "podman")
		script, err := os.ReadFile(podman)
		if err != nil {
			t.Fatal(err)
		}
		broken := strings.Replace(string(script), "pull*) exit 0", "pull*) echo 'unexpected EOF' >&2; exit 125", 1)
		if err := os.WriteFile(podman, []byte(broken), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err = Ensure(t.Context(), o)
		if e, ok := errors.AsType[*command.Error](err); !ok || !strings.Contains(e.Output, "unexpected EOF") {
			t.Errorf("got %v, want the error of the pull", err)
		}
	})
}

func TestEnsurePostgres(t *testing.T) {
	o, asked := scripted(t, []string{"docker.io/library/postgres:17.6"}, unreachable)
	img, err := EnsurePostgres(t.Context(), "postgres:17.6", o)
	if err != nil || img.Ref != "docker.io/library/postgres:17.6" || img.Origin != Cached {
		t.Errorf("got %+v, %v", img, err)
	}
	if strings.Contains(asked(), "manifest") {
		t.Errorf("asked a registry for what is there:\n%s", asked())
	}
}

func TestNewBuilder(t *testing.T) {
	env := func(string) string { return "" }
	for name, test := range map[string]struct {
		o    Options
		want string
	}{
		"no environment":  {Options{Runtime: "podman"}, "environment"},
		"no runtime":      {Options{Env: env}, `not ""`},
		"unknown runtime": {Options{Env: env, Runtime: "nerdctl"}, `not "nerdctl"`},
	} {
		if _, err := Ensure(t.Context(), test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, test.want)
		}
	}
	t.Chdir(t.TempDir())
	if _, err := Ensure(t.Context(), Options{Env: env, Runtime: "docker"}); err == nil || !strings.Contains(err.Error(), "not inside a clone") {
		t.Errorf("outside a clone: got %v", err)
	}
}

// An image that the engine gets is there under its name, with its configuration.
func TestLoad(t *testing.T) {
	if _, err := exec.LookPath("podman"); err != nil || testing.Short() || os.Geteuid() != 0 {
		t.Skip("needs Podman and root")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "storage.conf")
	content := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(dir, "graph"), filepath.Join(dir, "run"))
	if err := os.WriteFile(conf, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newTestBuilder(t, Options{Command: command.Runner{Env: []string{"CONTAINERS_STORAGE_CONF=" + conf}}})
	l := make(layer)
	l.put("etc/x", 0o644, []byte("x"))
	ref := nodeName + ":try"
	if err := b.load(t.Context(), imageSpec{ref: ref, layers: []layer{l}, created: epoch(), config: imageConfig{
		StopSignal: "SIGRTMIN+3", Entrypoint: []string{"/e"}, Labels: labels("k"),
	}}); err != nil {
		t.Fatal(err)
	}
	out, err := b.run.Run(t.Context(), command.Cmd{Name: "podman", Args: []string{
		"image", "inspect", "--format", `{{.Config.StopSignal}} {{.Config.Entrypoint}} {{index .Config.Labels "ai.kubernaut.e2e"}} {{index .Config.Labels "ai.kubernaut.e2e.key"}}`, ref,
	}})
	if got, want := strings.TrimSpace(string(out)), "SIGRTMIN+3 [/e] image k"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
