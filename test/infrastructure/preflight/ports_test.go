package preflight

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
)

func TestCheckPorts(t *testing.T) {
	const cluster = "aianalysis-e2e"
	container := func(name, cluster string, running bool, ports ...int) engine.Container {
		return engine.Container{Name: name, Image: "an-image", Running: running, Ports: ports, Labels: map[string]string{engine.KindLabel: cluster}}
	}
	for _, row := range []struct {
		name       string
		listeners  map[int]Listener
		containers []engine.Container
		err        error
		outcome
	}{
		{name: "free"},
		{name: "a process", listeners: map[int]Listener{8184: {PID: 42, Program: "prometheus", Address: "0.0.0.0:8184"}}, outcome: outcome{row: "F17", words: []string{"port 8184", "prometheus (process 42) on 0.0.0.0:8184", "kill 42"}}},
		{name: "another user's process", listeners: map[int]Listener{8184: {Address: "127.0.0.1:8184"}}, outcome: outcome{row: "F17", words: []string{"may not see", "sudo lsof -nP -iTCP:8184"}}},
		{name: "a stale forward", listeners: map[int]Listener{8184: {PID: 7, Program: "gvproxy"}}, outcome: outcome{row: "F17", words: []string{"gvproxy", "podman machine stop"}}},
		{name: "a container", listeners: map[int]Listener{8184: {PID: 7, Program: "conmon"}}, containers: []engine.Container{container("web", "", true, 80, 8184)}, outcome: outcome{row: "F17", words: []string{"container web", "an-image", "podman stop web"}}},
		{name: "another cluster", listeners: map[int]Listener{8184: {PID: 7}}, containers: []engine.Container{container("x-control-plane", "x", true, 8184)}, outcome: outcome{row: "F17", words: []string{"kind delete cluster --name x"}}},
		{name: "the cluster's own node", listeners: map[int]Listener{8184: {PID: 7}}, containers: []engine.Container{container(cluster+"-control-plane", cluster, true, 8184)}},
		{name: "a container that does not run", containers: []engine.Container{container("web", "", false, 8184)}},
		{name: "a port that nobody needs", listeners: map[int]Listener{80: {PID: 1}}},
		{name: "not known", err: errors.New("lsof: not found"), outcome: outcome{note: "lsof: not found"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.check(t, checkPorts(engine.Podman, cluster, []int32{9184, 8184}, row.listeners, row.err, row.containers))
		})
	}
	all := checkPorts(engine.Podman, cluster, []int32{9184, 8184}, map[int]Listener{8184: {PID: 1}, 9184: {PID: 2}}, nil, nil)
	if len(all.findings) != 2 || !strings.Contains(all.findings[0].Summary, "8184") {
		t.Errorf("two ports: got %+v, want both, in order", all.findings)
	}
}

func TestListening(t *testing.T) {
	table := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1FF8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1111 1 0 100 0 0 10 0
   1: 00000000:23E0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2222 1 0 100 0 0 10 0
   2: 0100007F:1FF8 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 3333 1 0 100 0 0 10 0
   3: 0500A8C0:23E0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4444 1 0 100 0 0 10 0
   4: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5555 1 0 100 0 0 10 0
   5: 00000000000000000000000000000000:1FF8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 6666 1 0 100 0 0 10 0
`
	want := map[string]endpoint{"1111": {8184, "127.0.0.1:8184"}, "2222": {9184, "0.0.0.0:9184"}, "6666": {8184, "[::]:8184"}}
	if got := listening([]byte(table), []int{8184, 9184}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParseLsof(t *testing.T) {
	out := "p812\ncgvproxy\nLme\nf20\nn127.0.0.1:8184\nf21\nn*:9184\np900\ncnode\nLyou\nf3\nn[::1]:8088\nf4\nn[::]:8091\n"
	want := map[int]Listener{
		8184: {PID: 812, Program: "gvproxy", User: "me", Address: "127.0.0.1:8184"},
		9184: {PID: 812, Program: "gvproxy", User: "me", Address: "*:9184"},
		8091: {PID: 900, Program: "node", User: "you", Address: "[::]:8091"},
	}
	if got := parseLsof([]byte(out), []int{8184, 9184, 8088, 8091}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Who listens is found by the kernel's tables and, as on macOS, by lsof.
func TestListenersHere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := listener.Addr().(*net.TCPAddr).Port
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := other.Addr().(*net.TCPAddr).Port
	other.Close()

	for _, row := range []struct {
		name      string
		listeners systemListeners
	}{
		{"the kernel", systemListeners{}},
		{"lsof", systemListeners{root: t.TempDir()}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.name == "the kernel" && runtime.GOOS != "linux" {
				t.Skip("has no such tables")
			}
			got, err := row.listeners.Listeners(t.Context(), []int{taken, free})
			if err != nil {
				t.Skipf("lsof is not installed: %v", err)
			}
			if len(got) != 1 || got[taken].PID != os.Getpid() || got[taken].Program == "" {
				t.Errorf("got %+v, want port %d and this process", got, taken)
			}
			if got, err = row.listeners.Listeners(t.Context(), []int{free}); err != nil || len(got) != 0 {
				t.Errorf("a free port: got %+v, %v", got, err)
			}
		})
	}
}

// What another user holds can be seen in the tables, not in the processes.
func TestListenersOfAnother(t *testing.T) {
	root := t.TempDir()
	net := filepath.Join(root, "proc", "net")
	if err := os.MkdirAll(net, 0o750); err != nil {
		t.Fatal(err)
	}
	table := "sl\n   0: 0100007F:1FF8 00000000:0000 0A 0:0 0:0 0 0 0 1111 1\n"
	if err := os.WriteFile(filepath.Join(net, "tcp"), []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := systemListeners{root: root}.Listeners(t.Context(), []int{8184})
	if err != nil || !reflect.DeepEqual(got, map[int]Listener{8184: {Address: "127.0.0.1:8184"}}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if s := got[8184].String(); !slices.Contains(strings.Fields(s), "127.0.0.1:8184") {
		t.Errorf("for people: got %q", s)
	}
}
