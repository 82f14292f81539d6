package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine/reading"
)

// isolated is an environment in which Podman has a storage of its own, which nobody else sees or is seen in.
func isolated(t *testing.T) []string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs containers")
	}
	if _, err := exec.LookPath("podman"); err != nil {
		t.Skip("podman is not installed")
	}
	dir := t.TempDir()
	t.Cleanup(func() {
		awaitEnd(t, dir)
		_ = exec.Command("umount", filepath.Join(dir, "graph", "overlay")).Run() // Podman mounts it onto itself, with some drivers
	})
	conf := filepath.Join(dir, "storage.conf")
	content := fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(dir, "graph"), filepath.Join(dir, "run"))
	if err := os.WriteFile(conf, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"CONTAINERS_STORAGE_CONF=" + conf}
}

// awaitEnd waits until no process names a directory any more: what Podman leaves in the background tidies up after a
// container has ended. Only what Podman's service keeps for minutes, so that its clients can ask how an exec ended, is ended.
func awaitEnd(t *testing.T, dir string) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well formed
		var using []byte
		for _, path := range lines {
			content, err := os.ReadFile(path)
			if err != nil || !bytes.Contains(content, []byte(dir)) {
				continue
			}
			using = content
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err == nil && bytes.Contains(content, []byte("--exit-delay\x00")) {
				if process, err := os.FindProcess(pid); err == nil {
					_ = process.Kill() // it may have ended by itself
				}
			}
		}
		if using == nil {
			return
		}
		select {
		case <-deadline:
			t.Errorf("a process still uses %s: %q", dir, using)
			return
		case <-tick.C:
		}
	}
}

// realPodman is an engine on the Podman of this machine with storage, network and state directory of its own.
func realPodman(t *testing.T) *Engine {
	t.Helper()
	env := isolated(t)
	ours, err := StateDir(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	h := Host{StateDir: t.TempDir(), Network: "e2e-test-" + strconv.Itoa(os.Getpid()), Getenv: func(name string) string {
		switch v := os.Getenv(name); {
		case name == "E2E_RUNTIME":
			return string(Podman)
		case name == "E2E_EGRESS", name == "CONTAINERS_CONF" && strings.HasPrefix(v, ours): // of a run that this test is part of
			return ""
		default:
			return v
		}
	}}
	e, err := Detect(t.Context(), command.Runner{Env: env}, h)
	if err != nil {
		t.Fatal(err)
	}
	if e.info.Remote {
		t.Skip("Podman runs in another machine")
	}
	return e
}

func TestRoundTrip(t *testing.T) {
	e := realPodman(t)
	for _, n := range e.Notes() {
		t.Log(n)
	}
	if err := e.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds the image
		trip, err := e.RoundTrip(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if trip.Container.PID == 0 || trip.Run == 0 || trip.Exec == 0 || trip.Remove == 0 {
			t.Errorf("got %+v", trip)
		}
	}
	owned, err := e.Owned(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(owned) != 1 || owned[0].Sort != ImageSort || !strings.HasPrefix(owned[0].Name, probeName+":") {
		t.Errorf("after a round trip: got %v, want the probe's image alone", owned)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.RoundTrip(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "step image") {
		t.Errorf("an interrupted round trip: got %v", err)
	}
}

// scratch builds an image of one small file.
func scratch(t *testing.T, e *Engine, tag, content string, labels map[string]string) Image {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"Dockerfile": "FROM scratch\nARG NAME\nCOPY file /\nENV NAME=$NAME\n", "file": content} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := e.Build(t.Context(), Build{File: filepath.Join(dir, "Dockerfile"), Context: dir, Tag: tag, Labels: labels, Args: map[string]string{"NAME": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	image, ok, err := e.Image(t.Context(), tag)
	if err != nil || !ok {
		t.Fatalf("image %s after its build: %v, %v", tag, ok, err)
	}
	return image
}

// configDigest is the id of the only image in a docker-archive, which is also its id on a node.
func configDigest(t *testing.T, archive []byte) string {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			t.Fatal("the archive has no manifest")
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name != "manifest.json" {
			continue
		}
		var manifest []struct{ Config string }
		if err := json.NewDecoder(r).Decode(&manifest); err != nil || len(manifest) != 1 {
			t.Fatalf("manifest: %v, %v", manifest, err)
		}
		return strings.TrimSuffix(filepath.Base(manifest[0].Config), ".json")
	}
}

func TestImages(t *testing.T) {
	e := realPodman(t)
	ctx := t.Context()
	const ref = "localhost/kubernaut-e2e-try:1"
	labels := map[string]string{Label: ImageValue, KeyLabel: "abc"}
	image := scratch(t, e, ref, "content", labels)
	if !slices.Contains(image.Tags, ref) || image.Labels[KeyLabel] != "abc" || image.Size == 0 || time.Since(image.Created) > time.Hour {
		t.Errorf("got %+v", image)
	}
	scratch(t, e, "localhost/other:1", "not ours", nil)

	for label, want := range map[string]int{Label: 1, KeyLabel + "=abc": 1, KeyLabel + "=abd": 0} {
		if got, err := e.Images(ctx, label); err != nil || len(got) != want {
			t.Errorf("images with %s: got %d, %v; want %d", label, len(got), err, want)
		}
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
	var both bytes.Buffer
	if err := e.Save(ctx, &both, ref, "localhost/other:1"); err != nil || both.Len() == 0 {
		t.Errorf("save two: %d bytes, %v", both.Len(), err)
	}
	if err := e.RemoveImage(ctx, ref); err != nil {
		t.Fatal(err)
	}
	if err := e.RemoveImage(ctx, ref); err != nil {
		t.Errorf("remove an image that is gone: %v", err)
	}
	if err := e.Load(ctx, &archive); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := e.Image(ctx, ref); err != nil || !ok || got.ID != image.ID {
		t.Errorf("the loaded image: got %+v, %v, %v", got, ok, err)
	}

	var root bytes.Buffer
	w := tar.NewWriter(&root)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "empty", Mode: 0o600}), w.Close()); err != nil {
		t.Fatal(err)
	}
	if err := e.Import(ctx, &root, "localhost/imported:1", map[string]string{Label: ImageValue}, "ENV a=b"); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := e.Image(ctx, "localhost/imported:1"); err != nil || !ok || got.Labels[Label] != ImageValue {
		t.Errorf("the imported image: got %+v, %v, %v", got, ok, err)
	}

	// What is removed is ours alone.
	removed, err := e.Collect(ctx, Keep{})
	if err != nil || len(removed) != 2 {
		t.Errorf("collected %v, %v; want both of ours", removed, err)
	}
	if _, ok, _ := e.Image(ctx, "localhost/other:1"); !ok {
		t.Error("an image without our label was removed")
	}
}

// running starts a container of the probe and removes it with the test.
func running(t *testing.T, e *Engine, name string, args ...string) Container {
	t.Helper()
	ref, err := e.probeImage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	args = append(append([]string{"run", "--detach", "--name", name}, args...), ref, "hold")
	if _, err := e.Run(t.Context(), e.Command(args...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.RemoveContainer(context.WithoutCancel(t.Context()), name); err != nil {
			t.Error(err)
		}
	})
	c, ok, err := e.Container(t.Context(), name)
	if err != nil || !ok {
		t.Fatalf("container %s after its start: %v, %v", name, ok, err)
	}
	return c
}

func TestContainers(t *testing.T) {
	e := realPodman(t)
	ctx := t.Context()
	c := running(t, e, "try-engine", "--network", "none", "--label", Label+"=try", "--volume", "try-volume:/data")
	if !c.Running || c.Status != "running" || c.PID == 0 || c.Labels[Label] != "try" || !slices.Equal(c.Volumes, []string{"try-volume"}) {
		t.Errorf("got %+v", c)
	}
	if all, err := e.Containers(ctx, Label+"=try"); err != nil || len(all) != 1 || all[0].ID != c.ID {
		t.Errorf("containers by label: got %+v, %v", all, err)
	}
	if _, ok, err := e.Container(ctx, "absent"); ok || err != nil {
		t.Errorf("a container that is not there: got %v, %v", ok, err)
	}
	out, err := e.Exec(ctx, Exec{Container: c.Name, Args: []string{"/probe", "say", "hello"}})
	if err != nil || string(out) != "hello\n" {
		t.Errorf("exec: got %q, %v", out, err)
	}
	_, err = e.Exec(ctx, Exec{Container: c.Name, Args: []string{"/probe", "nonsense"}})
	var failed *command.Error
	if !errors.As(err, &failed) || failed.ExitCode != 1 || !strings.Contains(failed.Output, "nonsense") {
		t.Errorf("exec of what fails: got %v", err)
	}
	to := filepath.Join(t.TempDir(), "copied")
	if err := e.CopyFrom(ctx, c.Name, "/probe", to); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(to); err != nil || info.Size() == 0 {
		t.Errorf("copied file: %v, %v", info, err)
	}
	var said bytes.Buffer
	if err := e.Logs(ctx, c.Name, &said); err != nil || !strings.Contains(said.String(), "podman logs "+c.Name) {
		t.Errorf("logs: got %q, %v", &said, err)
	}
	if storage, err := e.StorageContainers(ctx); err != nil || len(storage) > 0 {
		t.Errorf("storage containers: got %v, %v", storage, err)
	}
	for range 2 { // one that is gone is removed
		if err := e.RemoveContainer(ctx, c.Name); err != nil {
			t.Error(err)
		}
	}
}

// A container that only the storage knows takes the name of a node, which nothing but this shows.
func TestStorageContainers(t *testing.T) {
	e := realPodman(t)
	ctx := t.Context()
	image := scratch(t, e, "localhost/kubernaut-e2e-try:1", "content", nil)
	addStorageContainer(t, e, image.ID, "try-control-plane")
	found, err := e.StorageContainers(ctx)
	if err != nil || len(found) != 1 || found[0].Name != "try-control-plane" {
		t.Fatalf("got %v, %v", found, err)
	}
	if err := e.RemoveStorage(ctx, found[0].Name); err != nil {
		t.Fatal(err)
	}
	if found, err = e.StorageContainers(ctx); err != nil || len(found) > 0 {
		t.Errorf("after its removal: got %v, %v", found, err)
	}
}

// addStorageContainer writes the storage's record of a container, as a Podman that was killed leaves it.
func addStorageContainer(t *testing.T, e *Engine, image, name string) {
	t.Helper()
	ctx := t.Context()
	if _, err := e.Run(ctx, e.Command("create", "--name", name, "--network", "none", image, "/file")); err != nil {
		t.Fatal(err)
	}
	out, err := e.ask(ctx, "info", "--format", "{{.Store.GraphRoot}}")
	if err != nil {
		t.Fatal(err)
	}
	// Podman's own record is its database, of one kind or the other.
	root := strings.TrimSpace(string(out))
	if err := os.Remove(filepath.Join(root, "libpod", "bolt_state.db")); err != nil {
		if err := os.Remove(filepath.Join(root, "db.sql")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadHere(t *testing.T) {
	e := realPodman(t)
	p, err := e.Read(t.Context(), reading.Question{Files: []string{"/proc/sys/fs/inotify/max_user_instances"}, Disks: []string{e.info.GraphRoot, "/no/such/directory"}, Inotify: true})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Here || p.Files["/proc/sys/fs/inotify/max_user_instances"] == "" || p.Disks[e.info.GraphRoot].Free == 0 || p.Disks["/no/such/directory"].Total == 0 {
		t.Errorf("got %+v", p)
	}

	// The same through a container, as it is where the engine runs in a machine that is none of Podman's.
	e.info.Remote = true
	p, err = e.Read(t.Context(), reading.Question{Files: []string{"/proc/sys/fs/inotify/max_user_instances"}, Disks: []string{"/var/lib/docker"}, Inotify: true})
	if err != nil {
		t.Fatal(err)
	}
	if p.Here || p.Files["/proc/sys/fs/inotify/max_user_instances"] == "" || p.Disks["/var/lib/docker"].Free == 0 || p.Skew != 0 {
		t.Errorf("through a container: got %+v", p)
	}
}
