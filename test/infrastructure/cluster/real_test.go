package cluster

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/image"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

// realEngine is Podman of this machine, for tests that make clusters: only where a node image is named.
func realEngine(t *testing.T) (*engine.Engine, string) {
	t.Helper()
	node := os.Getenv("E2E_NODE_IMAGE")
	if testing.Short() || node == "" {
		t.Skip("makes clusters: wants E2E_NODE_IMAGE, and no -short")
	}
	if _, err := exec.LookPath("podman"); err != nil {
		t.Skip("podman is not installed")
	}
	e, err := engine.Detect(t.Context(), command.Runner{}, engine.Host{StateDir: t.TempDir(), Getenv: func(name string) string {
		if name == "E2E_RUNTIME" {
			return string(engine.Podman)
		}
		return os.Getenv(name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return e, node
}

// phase runs do as the only phase of a plan.
func phase(t *testing.T, name string, do func(context.Context, *plan.Task) error) plan.PhaseResult {
	t.Helper()
	return phaseUnder(t.Context(), t, name, do)
}

func phaseUnder(ctx context.Context, t *testing.T, name string, do func(context.Context, *plan.Task) error) plan.PhaseResult {
	t.Helper()
	dir := t.TempDir()
	result, err := plan.Run(ctx, plan.Plan{Suite: "cluster", Cluster: "none", Phases: []plan.Phase{{Name: name, Run: do}}}, plan.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	got := result.Phases[0]
	t.Logf("%s %s in %s: %s", name, got.Status, got.Duration, strings.Join(got.Notes, "; "))
	if got.Status == plan.Failed {
		log, _ := os.ReadFile(filepath.Join(got.Dir, "log.txt"))
		t.Logf("%+v\n%s", got.Findings, log[max(0, len(log)-8000):])
	}
	return got
}

func passed(t *testing.T, got plan.PhaseResult) {
	t.Helper()
	if got.Status != plan.Passed {
		t.Fatalf("phase %s: got %s", got.Name, got.Status)
	}
}

func TestCluster(t *testing.T) {
	e, node := realEngine(t)
	config := Config{
		Name: "try-images", Image: node, Kubeconfig: filepath.Join(t.TempDir(), "config"), Workers: 1, Ports: map[int32]int32{38184: 30284},
	}
	c, err := New(e, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Delete(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if left, err := c.residue(context.WithoutCancel(t.Context())); err != nil || len(left) > 0 {
			t.Errorf("after deletion: got %v, %v", left, err)
		}
		if _, err := e.RemoveNetwork(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	create := func(fresh bool) func(context.Context, *plan.Task) error {
		return func(ctx context.Context, task *plan.Task) error { return c.Create(ctx, task, fresh) }
	}
	passed(t, phase(t, "cluster", create(false)))
	if info, err := os.Stat(config.Kubeconfig); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("kubeconfig: got %v, %v", info, err)
	}

	again := phase(t, "cluster", create(false))
	passed(t, again)
	if notes := strings.Join(again.Notes, "\n"); !strings.Contains(notes, "used again") || again.Duration > 10*time.Second {
		t.Errorf("again: got %s, %q", again.Duration, notes)
	}
	other := config
	other.Ports = map[int32]int32{38185: 30284}
	if o, err := New(e, other); err != nil || o.Check(t.Context()) == nil {
		t.Errorf("another configuration: got %v, want what differs", err)
	} else {
		t.Log(o.Check(t.Context()))
	}

	b := &image.Builder{Root: filepath.Join("..", "..", ".."), StateDir: t.TempDir(), Engine: e}
	var images []Image
	passed(t, phase(t, "build", func(ctx context.Context, task *plan.Task) error {
		built, err := b.Build(ctx, task, append(image.Services(), image.Workload())...)
		for _, i := range built {
			images = append(images, Image{i.Ref.String(), i.ID})
		}
		return err
	}))
	if err := c.Loaded(t.Context(), images); err == nil {
		t.Error("before loading: want what is missing")
	}
	load := func(ctx context.Context, task *plan.Task) error { return c.Load(ctx, task, images) }
	passed(t, phase(t, "load", load))
	if err := c.Loaded(t.Context(), images); err != nil {
		t.Errorf("after loading: %v", err)
	}
	passed(t, phase(t, "load", load))
	logs := filepath.Join(t.TempDir(), "logs")
	if err := c.SaveLogs(t.Context(), logs); err != nil {
		t.Logf("logs: %v", err)
	}
	if _, err := os.Stat(filepath.Join(logs, "try-images-worker", "kubelet.log")); err != nil {
		t.Error(err)
	}
	begin := time.Now()
	if err := c.RestartNode(t.Context(), "try-images-worker"); err != nil {
		t.Error(err)
	}
	t.Logf("node restarted in %s", time.Since(begin))
	begin = time.Now()
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	t.Logf("deleted in %s", time.Since(begin))
}
