package cluster

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
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
	state := t.TempDir()
	e, err := engine.Detect(t.Context(), command.Runner{}, engine.Host{StateDir: state, Network: engine.OwnNetwork(state), Getenv: func(name string) string {
		if name == "E2E_RUNTIME" {
			return string(engine.Podman)
		}
		return os.Getenv(name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range e.Env() { // Kind's calls set these; they must not outlive the state directory
		name, value, _ := strings.Cut(entry, "=")
		t.Setenv(name, value)
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

// testLostImage takes an image from a node: loading brings it back, to that node alone.
func testLostImage(t *testing.T, c *Cluster, images []Image) {
	t.Helper()
	const node = "try-images-worker"
	remove := []string{"sh", "-c", `ctr --namespace=k8s.io images rm "$1" $(ctr --namespace=k8s.io images ls -q | grep ^import-)`, "sh", images[0].Ref}
	if _, err := c.engine.Exec(t.Context(), engine.Exec{Container: node, Args: remove}); err != nil {
		t.Fatal(err)
	}
	err := c.Loaded(t.Context(), images)
	if err == nil || !strings.Contains(err.Error(), "node "+node+" does not have image "+images[0].Ref) || strings.Contains(err.Error(), "control-plane") {
		t.Errorf("without an image: got %v", err)
	}
	got := phase(t, "load", func(ctx context.Context, task *plan.Task) error { return c.Load(ctx, task, images) })
	passed(t, got)
	if notes := strings.Join(got.Notes, "\n"); !strings.Contains(notes, "1 images saved, 1 of 8 loads") {
		t.Errorf("got %q", notes)
	}
	wrong := []Image{{images[0].Ref, strings.Repeat("0", 64)}}
	if err := c.Loaded(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), "another image") {
		t.Errorf("another id: got %v", err)
	}
}

// testArchiveCutOff gives containerd half an archive: the unit fails, saves it once more, and passes.
func testArchiveCutOff(t *testing.T, c *Cluster, img Image) {
	t.Helper()
	got := phase(t, "load", func(ctx context.Context, task *plan.Task) error {
		logged, k := c.with(task.Log)
		ref, err := image.ParseRef(img.Ref)
		if err != nil {
			return err
		}
		l := &loading{cluster: logged, kind: k, task: task, image: img, ref: ref, file: filepath.Join(task.Dir, "image.tar")}
		if err := l.save(ctx); err != nil {
			return err
		}
		info, err := os.Stat(l.file)
		if err != nil {
			return err
		}
		if err := os.Truncate(l.file, info.Size()/2); err != nil {
			return err
		}
		// Loading what is there again succeeds whatever the archive holds, so it must not be there.
		remove := []string{"sh", "-c", `ctr --namespace=k8s.io images rm --sync "$1" $(ctr --namespace=k8s.io images ls -q | grep ^import-)`, "sh", img.Ref}
		if _, err := c.engine.Exec(ctx, engine.Exec{Container: "try-images-worker", Args: remove}); err != nil {
			return err
		}
		return task.All(ctx, 0, l.onto("try-images-worker"))
	})
	passed(t, got)
	if len(got.Retries) != 1 || !got.Retries[0].Healed {
		t.Fatalf("got retries %+v, want one that healed", got.Retries)
	}
	f := got.Retries[0].Finding
	t.Logf("%s %s: %s", f.Row, f.Class, f.Summary)
	for _, name := range []string{"images.txt", "disks.txt", "containerd.log", "container.json", "finding.json"} {
		if info, err := os.Stat(filepath.Join(got.Retries[0].Evidence, name)); err != nil || info.Size() == 0 {
			t.Errorf("evidence %s: got %v", name, err)
		}
	}
}

// testFlags looks at what the API server and the controller manager were started with.
func testFlags(t *testing.T, c *Cluster) {
	t.Helper()
	out, err := c.engine.Exec(t.Context(), engine.Exec{Container: "try-images-control-plane", Args: []string{"sh", "-c", "cat /etc/kubernetes/manifests/*.yaml"}, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--max-requests-inflight=800", "--max-mutating-requests-inflight=400", "--kube-api-qps=100", "--kube-api-burst=200"} {
		if !strings.Contains(string(out), flag) {
			t.Errorf("no component has %s", flag)
		}
	}
}

// TestInterrupted ends a creation while Kind is at it, at several moments.
func TestInterrupted(t *testing.T) {
	e, node := realEngine(t)
	for _, after := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 7 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			c, err := New(e, Config{Name: "try-images2", Image: node, Kubeconfig: filepath.Join(t.TempDir(), "config"), Workers: 1})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(after, cancel)
			begin := time.Now()
			got := phaseUnder(ctx, t, "cluster", func(ctx context.Context, task *plan.Task) error { return c.Create(ctx, task, false) })
			if took := time.Since(begin) - after; got.Status != plan.Interrupted || took > 5*time.Second {
				t.Errorf("got %s, %s after the interrupt", got.Status, took)
			}
			if left := children(os.Getpid(), syscall.Getpgrp()); len(left) > 0 {
				t.Errorf("programs %v are left", left)
			}
			nodes, err := c.Nodes(t.Context())
			t.Logf("left: %v, %v", nodes, err)
			if err := c.Delete(t.Context()); err != nil {
				t.Error(err)
			}
			if left, err := c.residue(t.Context()); err != nil || len(left) > 0 {
				t.Errorf("after deletion: got %v, %v", left, err)
			}
			if err := c.Delete(t.Context()); err != nil {
				t.Errorf("deleting what is not there: %v", err)
			}
		})
	}
	if _, err := e.RemoveNetwork(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// TestForeign finds a cluster of somebody else's under our name.
func TestForeign(t *testing.T) {
	e, node := realEngine(t)
	const name = "try-images3"
	run := e.Command("create", "--name", name+"-control-plane", "--label", engine.KindLabel+"="+name, node)
	if _, err := e.Run(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.RemoveContainer(context.WithoutCancel(t.Context()), name+"-control-plane"); err != nil {
			t.Error(err)
		}
	})
	c, err := New(e, Config{Name: name, Image: node, Kubeconfig: filepath.Join(t.TempDir(), "config")})
	if err != nil {
		t.Fatal(err)
	}
	got := phase(t, "cluster", func(ctx context.Context, task *plan.Task) error { return c.Create(ctx, task, true) })
	if got.Status != plan.Failed || got.Findings[0].Class != failure.Host || got.Findings[0].Row != "F15" {
		t.Errorf("create: got %s, %+v, want a host's F15", got.Status, got.Findings)
	}
	if err := c.Delete(t.Context()); err == nil {
		t.Error("delete: got nothing, want a refusal")
	}
	if _, ok, err := e.Container(t.Context(), name+"-control-plane"); err != nil || !ok {
		t.Errorf("the foreign node: got %v, %v, want it as it was", ok, err)
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
	testLostImage(t, c, images)
	testArchiveCutOff(t, c, images[0])
	testFlags(t, c)
	logs := filepath.Join(t.TempDir(), "logs")
	if err := c.SaveLogs(t.Context(), logs); err != nil {
		t.Error(err)
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
