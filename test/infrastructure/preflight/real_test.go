package preflight

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// onThisMachine are options for the Podman of this machine. Without Podman the test is left out.
func onThisMachine(t *testing.T, env map[string]string) Options {
	t.Helper()
	if testing.Short() {
		t.Skip("runs containers")
	}
	if _, err := exec.LookPath("podman"); err != nil {
		t.Skip("podman is not installed")
	}
	getenv := func(name string) string {
		if v, ok := env[name]; ok {
			return v
		}
		switch name {
		case "CI", "E2E_TUNE_HOST": // a test changes nothing on the machine that it was not told to
			return ""
		}
		return os.Getenv(name)
	}
	state := t.TempDir()
	e, err := engine.Detect(t.Context(), command.Runner{}, engine.Host{StateDir: state, Getenv: func(name string) string {
		if name == "E2E_RUNTIME" {
			return "podman"
		}
		return getenv(name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Engine: e, Getenv: getenv, StateDir: state, Cluster: "e2e-test-" + strconv.Itoa(os.Getpid()), Nodes: 2,
		Kubeconfig: filepath.Join(t.TempDir(), "config"), TempDir: t.TempDir(), Network: "e2e-test-none",
	}
}

// findings are those that Check stopped for, by row.
func findings(t *testing.T, err error) map[string][]failure.Finding {
	t.Helper()
	found := make(map[string][]failure.Finding)
	for _, f := range failure.ClassifyAll(t.Context(), phase, err, nil) {
		found[f.Row] = append(found[f.Row], f)
	}
	return found
}

func TestThisMachine(t *testing.T) {
	o := onThisMachine(t, nil)
	begin := time.Now()
	notes, err := Check(t.Context(), o)
	t.Logf("%s\n%s", time.Since(begin).Round(time.Millisecond), strings.Join(notes, "\n"))
	for row, fs := range findings(t, err) { // none without an error
		switch row {
		case "F07", "F08", "F20": // it may be that others need now what it has
			t.Logf("refused for now: %+v", fs)
		default:
			t.Errorf("this machine runs such clusters, and is refused: %+v", fs)
		}
	}
	all := strings.Join(notes, "\n")
	for _, want := range []string{"round trip of a trivial container", "versions: podman ", "memory available", "disk free"} {
		if !strings.Contains(all, want) {
			t.Errorf("no note has %q", want)
		}
	}
}

// Everything that is wrong is told of at once, each with what helps.
func TestThisMachineStaged(t *testing.T) {
	o := onThisMachine(t, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	o.Ports = []int32{int32(port)}
	o.Nodes = 5000 // more than any machine has room for

	left := filepath.Join(o.TempDir, ourTemp+"images-1")
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(left, old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Kubeconfig+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(o.Kubeconfig+".lock", old, old); err != nil {
		t.Fatal(err)
	}

	notes, err := Check(t.Context(), o)
	if err == nil {
		t.Fatal("no finding")
	}
	found := findings(t, err)
	for row, want := range map[string]string{
		"F17": fmt.Sprintf("kill %d", os.Getpid()),
		"F20": "sysctl -w fs.inotify.max_user_instances=",
		"F21": "sysctl -w kernel.",
		"F07": "larger machine",
		"F08": "podman rmi",
	} {
		i := slices.IndexFunc(found[row], func(f failure.Finding) bool { return strings.Contains(f.Fix, want) })
		if i < 0 || found[row][i].Class != failure.Host || len(found[row][i].Lines) == 0 {
			t.Errorf("%s: got %+v, want class host, evidence, and a fix with %q", row, found[row], want)
		} else if !strings.Contains(err.Error(), found[row][i].Fix) {
			t.Errorf("%s: its fix is not in the error", row)
		}
	}
	all := strings.Join(notes, "\n")
	for _, path := range []string{left, o.Kubeconfig + ".lock"} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there", path)
		}
		if !strings.Contains(all, "removed "+path) {
			t.Errorf("no note on the removal of %s in\n%s", path, all)
		}
	}
}
