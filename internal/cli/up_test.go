package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/controlplane"
)

// upProcess is a kubernaut up that runs in the test.
type upProcess struct {
	stop   context.CancelFunc
	state  runState
	stderr bytes.Buffer
	code   chan int
}

func startUp(t *testing.T, env map[string]string, dir string) *upProcess {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	u := &upProcess{stop: stop, code: make(chan int, 1)}
	r, w := io.Pipe()
	go func() {
		u.code <- Run(ctx, []string{"kubernaut", "up", "-o", "json", "--data-dir", dir}, Streams{Out: w, Err: &u.stderr}, func(name string) string { return env[name] })
		w.Close()
	}()
	if err := json.NewDecoder(r).Decode(&u.state); err != nil {
		stop()
		t.Fatalf("what it announced: %v; code %d, stderr:\n%s", err, <-u.code, u.stderr.String())
	}
	go io.Copy(io.Discard, r)
	return u
}

func (u *upProcess) end(t *testing.T) {
	t.Helper()
	u.stop()
	if code := <-u.code; code != exitOK {
		t.Errorf("at the end: got code %d, stderr:\n%s", code, u.stderr.String())
	}
}

// TestUp runs everything twice on one data directory, and the other commands against it.
func TestUp(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an API server; run without -short")
	}
	env := map[string]string{controlplane.EnvBinary: os.Getenv(controlplane.EnvBinary)}
	dir := filepath.Join(t.TempDir(), "data")
	u := startUp(t, env, dir)

	for _, url := range []string{u.state.Health + "/healthz", u.state.Health + "/readyz", u.state.Metrics, u.state.HolmesGPT + "/ready", u.state.DataStorage + "/health/ready"} {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("GET %s: got %s", url, resp.Status)
		}
	}
	if code, _, stderr := run(t, env, "up", "--data-dir", dir); code != exitFailed || !strings.Contains(stderr, "already runs kubernaut on "+dir) {
		t.Errorf("a second one on the same directory: got code %d, stderr %q", code, stderr)
	}

	name := createSample(t, u.state.Kubeconfig)
	waitTerminal(t, u.state.Kubeconfig, name)
	for _, args := range [][]string{{"get", name}, {"explain", name}, {"audit", "verify", name}} {
		code, stdout, stderr := run(t, env, append(args, "--data-dir", dir)...)
		if code != exitOK || !strings.Contains(stdout, name) {
			t.Errorf("kubernaut %s: got code %d, stdout %q, stderr %q", strings.Join(args, " "), code, stdout, stderr)
		}
	}
	u.end(t)

	again := startUp(t, env, dir)
	if code, stdout, stderr := run(t, env, "audit", "verify", "--data-dir", dir); code != exitOK || !strings.Contains(stdout, name) {
		t.Errorf("after a restart: got code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	again.end(t)
}

// createSample creates the first of the samples that ship. What it is about is not there.
func createSample(t *testing.T, kubeconfig string) string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/samples/aianalysis.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var sample v1alpha1.AIAnalysis
	if err := yaml.UnmarshalStrict(text, &sample); err != nil {
		t.Fatal(err)
	}
	sample.Namespace = "default"
	if _, err := analysesOf(t, kubeconfig).create(t.Context(), &sample); err != nil {
		t.Fatal(err)
	}
	return sample.Name
}

func waitTerminal(t *testing.T, kubeconfig, name string) {
	t.Helper()
	api := analysesOf(t, kubeconfig)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		a, err := api.get(ctx, "default", name)
		if err != nil {
			t.Fatal(err)
		}
		if a.Status.Phase.Terminal() {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s is still %s", name, a.Status.Phase)
		}
	}
}

func analysesOf(t *testing.T, kubeconfig string) *analyses {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	api, err := newAnalyses(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return api
}
