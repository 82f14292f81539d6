package probes

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/preflight"
)

// The probes that need no cluster, on the Podman of this machine.
func TestThisMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("asks Podman")
	}
	if _, err := exec.LookPath("podman"); err != nil {
		t.Skip("podman is not installed")
	}
	state := t.TempDir()
	e, err := engine.Detect(t.Context(), command.Runner{}, engine.Host{StateDir: state, Getenv: func(name string) string {
		if name == "E2E_RUNTIME" {
			return "podman"
		}
		return os.Getenv(name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	p := New(Options{
		Names:  []string{"localhost"},
		Engine: func(context.Context) (Engine, error) { return e, nil },
		Lookup: func(context.Context, string) error { return nil },
		Host: preflight.Options{
			Cluster: "e2e-test-" + strconv.Itoa(os.Getpid()), StateDir: state, TempDir: t.TempDir(), Nodes: 2, Ports: []int32{int32(port)}, Getenv: os.Getenv,
		},
	})
	p.Begin(t.Context())
	for _, row := range []struct {
		probe    string
		want     []string
		evidence string
	}{
		{"runtime", []string{"alive", "oom"}, ""}, // others' containers may run out of memory meanwhile
		{"residue", []string{"none"}, ""},
		{"provider", []string{"same"}, "podman has 0 nodes"},
		{"node-health", []string{"exited"}, "no nodes"},
		{"networks", []string{"ours", "foreign"}, engine.NetworkName},
		{"disk", []string{"enough", "full"}, "free"},
		{"memory", []string{"enough", "low"}, "available"},
		{"inotify", []string{"enough", "low"}, "max_user_instances"},
		{"keys", []string{"enough", "exhausted"}, "kernel keys"},
		{"clock", []string{"in-step"}, "0s"},
		{"port-owner", []string{"other"}, fmt.Sprintf("process %d", os.Getpid())},
		{"dns", []string{"both"}, ""},
	} {
		outcome, evidence := p.Probe(t.Context(), row.probe)
		t.Logf("%s: %s %q", row.probe, outcome, evidence)
		ok := false
		for _, want := range row.want {
			ok = ok || outcome == want
		}
		if all := strings.Join(evidence, "\n"); !ok || !strings.Contains(all, row.evidence) {
			t.Errorf("%s: got %s, %q; want one of %q, %q", row.probe, outcome, all, row.want, row.evidence)
		}
	}
}
