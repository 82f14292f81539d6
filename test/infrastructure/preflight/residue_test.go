package preflight

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/lock"
)

const aCluster = "aianalysis-e2e"

func TestIsNodeName(t *testing.T) {
	for name, want := range map[string]bool{
		aCluster + "-control-plane":          true,
		aCluster + "-control-plane2":         true,
		aCluster + "-worker":                 true,
		aCluster + "-worker12":               true,
		aCluster + "-external-load-balancer": true,
		aCluster:                             false,
		aCluster + "-workers":                false,
		"x-" + aCluster + "-worker":          false,
		aCluster + "-2-worker":               false,
	} {
		if got := IsNodeName(name, aCluster); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestCheckNames(t *testing.T) {
	node := func(role string, running bool) engine.Container {
		return engine.Container{Name: aCluster + "-" + role, Running: running, Labels: map[string]string{engine.KindLabel: aCluster}}
	}
	for _, row := range []struct {
		name       string
		containers []engine.Container
		outcome
	}{
		{"none", nil, outcome{}},
		{"the cluster", []engine.Container{node("control-plane", true), node("worker", false)}, outcome{note: "2 nodes, 1 of them running"}},
		{"others", []engine.Container{{Name: "web"}, {Name: "datastorage-e2e-worker", Labels: map[string]string{engine.KindLabel: "datastorage-e2e"}}}, outcome{}},
		{"a name without the label", []engine.Container{{Name: aCluster + "-worker", Image: "i", Status: "exited"}}, outcome{row: "F16", words: []string{"podman rm --force " + aCluster + "-worker", "exited, image i"}}},
		{"a name with another's label", []engine.Container{{Name: aCluster + "-worker", Labels: map[string]string{engine.KindLabel: "aianalysis"}}}, outcome{row: "F16", words: []string{aCluster + "-worker"}}},
	} {
		t.Run(row.name, func(t *testing.T) { row.check(t, checkNames(engine.Podman, aCluster, row.containers)) })
	}
}

func TestCheckStorage(t *testing.T) {
	storage := []engine.Storage{{ID: "1", Name: aCluster + "-control-plane"}, {ID: "2", Name: "web"}, {ID: "3", Name: "other-control-plane"}}
	f := &fake{}
	outcome{note: "removed container " + aCluster + "-control-plane"}.check(t, checkStorage(t.Context(), f, aCluster, storage))
	if !slices.Equal(f.removed, []string{aCluster + "-control-plane"}) {
		t.Errorf("removed %q, want the node's name alone", f.removed)
	}
	f = &fake{removeErr: errors.New("it is mounted")}
	outcome{row: "F16", words: []string{"podman rm --storage " + aCluster + "-control-plane", "it is mounted"}}.check(t, checkStorage(t.Context(), f, aCluster, storage))
}

func TestCheckNetworks(t *testing.T) {
	outcome{}.check(t, checkNetworks(engine.Docker, nil))
	outcome{}.check(t, checkNetworks(engine.Docker, []engine.Network{{Name: "n", ID: "a"}}))
	outcome{row: "F31", words: []string{"2 times", "docker network rm b"}}.check(t, checkNetworks(engine.Docker, []engine.Network{{Name: "n", ID: "a"}, {Name: "n", ID: "b"}}))
}

// aged makes a file that was changed so long ago.
func aged(t *testing.T, path string, now time.Time, age time.Duration) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestCheckKubeconfig(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, row := range []struct {
		name string
		age  time.Duration // 0: there is none
		left bool
		outcome
	}{
		{"none", 0, false, outcome{}},
		{"a writer", time.Second, true, outcome{note: "another process writes"}},
		{"left", kubeconfigLock, false, outcome{note: "from a run that was killed"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			kubeconfig := filepath.Join(t.TempDir(), "config")
			if row.age > 0 {
				aged(t, kubeconfig+".lock", now, row.age)
			}
			row.check(t, checkKubeconfig(kubeconfig, now))
			if exists(kubeconfig+".lock") != row.left {
				t.Errorf("the lock is there: %v, want %v", !row.left, row.left)
			}
		})
	}
	outcome{}.check(t, checkKubeconfig("", now))

	kubeconfig := filepath.Join(t.TempDir(), "config")
	if err := os.MkdirAll(filepath.Join(kubeconfig+".lock", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	outcome{row: "F33", words: []string{"rm " + kubeconfig + ".lock"}}.check(t, checkKubeconfig(kubeconfig, time.Now().Add(time.Hour)))
}

func TestCheckTemp(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{ourTemp + "old.tar": 25 * time.Hour, ourTemp + "new.tar": time.Hour, "kubernaut-old": 99 * time.Hour, "x" + ourTemp + "old": 99 * time.Hour} {
		aged(t, filepath.Join(dir, name), now, age)
	}
	// What a link names is somebody's.
	target := t.TempDir()
	aged(t, filepath.Join(target, "file"), now, time.Hour)
	if err := os.Symlink(target, filepath.Join(dir, ourTemp+"link")); err != nil {
		t.Fatal(err)
	}
	outcome{note: "removed " + filepath.Join(dir, ourTemp+"old.tar")}.check(t, checkTemp(dir, now))
	outcome{note: ourTemp + "link"}.check(t, checkTemp(dir, time.Now().Add(abandoned+time.Hour)))
	for name, want := range map[string]bool{ourTemp + "old.tar": false, ourTemp + "new.tar": false, "kubernaut-old": true, "x" + ourTemp + "old": true, ourTemp + "link": false} {
		if got := exists(filepath.Join(dir, name)); got != want {
			t.Errorf("%s is there: %v, want %v", name, got, want)
		}
	}
	if !exists(filepath.Join(target, "file")) {
		t.Error("the target of a link was removed")
	}
	outcome{note: "temporary files"}.check(t, checkTemp(filepath.Join(dir, "missing"), now))
}

func TestCheckOthers(t *testing.T) {
	state := t.TempDir()
	var held []*lock.Lock
	for _, cluster := range []string{"datastorage-e2e", aCluster} {
		l, err := lock.Try(engine.LockPath(state, cluster), lock.Holder{PID: 42, Host: "h", RunID: "r-" + cluster})
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
	}
	v := checkOthers(state, aCluster)
	if len(v.notes) != 1 || !strings.Contains(v.notes[0], "datastorage-e2e") || !strings.Contains(v.notes[0], "process 42") {
		t.Errorf("got %q, want the other cluster's holder", v.notes)
	}
	for _, l := range held {
		if err := l.Release(); err != nil {
			t.Fatal(err)
		}
	}
	if v := checkOthers(state, aCluster); len(v.notes) != 0 {
		t.Errorf("without a holder: got %q", v.notes)
	}
}
