package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// The test binary stands in for the controlplane binary when this variable says how to behave.
const envFake = "CONTROLPLANE_TEST_FAKE"

func TestMain(m *testing.M) {
	if behaviour := os.Getenv(envFake); behaviour != "" {
		os.Exit(fake(behaviour, os.Args[1:]))
	}
	os.Exit(m.Run())
}

func fake(behaviour string, args []string) int {
	switch behaviour {
	case "dies":
		fmt.Fprintln(os.Stderr, "controlplane: port 6443 is not free")
		return 1
	case "garbage":
		fmt.Println("hello")
	case "parent": // starts a real control plane in the directory and waits to be killed
		_ = os.Unsetenv(envFake)
		s, err := Start(context.Background(), Options{Dir: args[0], Controllers: []string{}})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(s.Kubeconfig())
	case "ready", "ready, then fails":
		dir, _ := strings.CutPrefix(args[slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "--dir=") })], "--dir=")
		if err := os.WriteFile(filepath.Join(dir, "args"), []byte(strings.Join(args, "\n")), 0o600); err != nil {
			return 3
		}
		if err := json.NewEncoder(os.Stdout).Encode(readyLine{Ready: true, URL: "https://127.0.0.1:1", Kubeconfig: filepath.Join(dir, "kubeconfig")}); err != nil {
			return 3
		}
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	if behaviour == "ready, then fails" {
		fmt.Fprintln(os.Stderr, "controlplane: etcd ended")
		return 1
	}
	return 0
}

// startFake starts the test binary as the control plane, with a kubeconfig in its directory.
func startFake(ctx context.Context, t *testing.T, behaviour string, o Options) (*Server, error) {
	t.Helper()
	t.Setenv(envFake, behaviour)
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	kubeconfig(t, filepath.Join(o.Dir, "kubeconfig"), "https://127.0.0.1:1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Getenv = func(name string) string { return map[string]string{EnvBinary: self}[name] }
	return Start(ctx, o)
}

func kubeconfig(t *testing.T, file, url string) {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: url}
	c.Contexts["c"] = &clientcmdapi.Context{Cluster: "c"}
	c.CurrentContext = "c"
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		t.Fatal(err)
	}
}

func TestStartPassesTheOptionsOn(t *testing.T) {
	o := Options{Dir: t.TempDir(), Port: 6443, Fsync: true, Controllers: []string{"a", "b"}}
	s, err := startFake(t.Context(), t, "ready", o)
	if err != nil {
		t.Fatal(err)
	}
	args, err := os.ReadFile(filepath.Join(o.Dir, "args"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"--stop-with-stdin", "--dir=" + o.Dir, "--port=6443", "--fsync=true", "--controllers=a,b"}
	if got := strings.Split(string(args), "\n"); !slices.Equal(got, want) {
		t.Errorf("arguments: got %q, want %q", got, want)
	}
	if got := s.Kubeconfig(); got != filepath.Join(o.Dir, "kubeconfig") {
		t.Errorf("kubeconfig: got %s", got)
	}
	if got := s.Config(); got.Host != "https://127.0.0.1:1" || got == s.Config() {
		t.Errorf("config: got host %s, the same one twice: %v", got.Host, got == s.Config())
	}
	for range 2 {
		if err := s.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	<-s.Done()
}

func TestStartFailures(t *testing.T) {
	for behaviour, want := range map[string]string{
		"dies":    "port 6443 is not free",
		"garbage": `"hello\n"`,
	} {
		t.Run(behaviour, func(t *testing.T) {
			if _, err := startFake(t.Context(), t, behaviour, Options{}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error with %s", err, want)
			}
		})
	}
}

func TestStartStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := startFake(ctx, t, "never ready", Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestServerThatFails(t *testing.T) {
	s, err := startFake(t.Context(), t, "ready, then fails", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err == nil || !strings.Contains(err.Error(), "etcd ended") {
		t.Errorf("stop: got %v, want the last words of the binary", err)
	}
}

func TestServerThatIsKilled(t *testing.T) {
	s, err := startFake(t.Context(), t, "ready", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.backend.(*process).cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if err := s.Stop(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("stop: got %v, want an error that says how it ended", err)
	}
}

func TestExistingCluster(t *testing.T) {
	healthy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/version" {
			http.NotFound(w, r)
		}
	}))
	defer healthy.Close()
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	dir := t.TempDir()
	for _, row := range []struct{ name, url, want string }{
		{name: "answers", url: healthy.URL},
		{name: "does not answer", url: broken.URL, want: broken.URL},
		{name: "no file", want: "no file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			file := filepath.Join(dir, row.name)
			if row.url != "" {
				kubeconfig(t, file, row.url)
			}
			s, err := Start(t.Context(), Options{Getenv: func(name string) string {
				return map[string]string{EnvKubeconfig: file, EnvAssets: "/nowhere", EnvBinary: "/nowhere"}[name]
			}})
			if row.want != "" {
				if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), EnvKubeconfig) {
					t.Errorf("got %v, want an error with %s and %s", err, EnvKubeconfig, row.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s.Config().Host != row.url || s.Kubeconfig() != file || s.Stop() != nil || s.Done() != nil {
				t.Errorf("got host %s, kubeconfig %s; a cluster that is not ours must be left alone", s.Config().Host, s.Kubeconfig())
			}
		})
	}
}
