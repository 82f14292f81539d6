package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	"kubernaut.ai/kubernaut/test/infrastructure/lock"
)

func TestNetworkAndEgress(t *testing.T) {
	e := realPodman(t)
	ctx := t.Context()
	if why := e.cannotFilter(); why != "" {
		t.Skip(why)
	}
	t.Cleanup(func() {
		if _, err := e.RemoveNetwork(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	if state, err := e.CloseEgress(ctx); err != nil || state.Closed || !strings.Contains(state.Why, "no network") {
		t.Errorf("without a network: got %+v, %v", state, err)
	}
	network, err := e.EnsureNetwork(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if network.Bridge == "" || len(network.Subnets) != 1 || !strings.HasPrefix(network.Subnets[0], "10.89.") || network.Labels[Label] == "" {
		t.Errorf("got %+v", network)
	}
	if again, err := e.EnsureNetwork(ctx); err != nil || again.Subnets[0] != network.Subnets[0] {
		t.Errorf("again: got %+v, %v", again, err)
	}
	if state, err := e.Egress(ctx); err != nil || state.Closed {
		t.Errorf("before it is closed: got %+v, %v", state, err)
	}
	for range 2 {
		if state, err := e.CloseEgress(ctx); err != nil || !state.Closed {
			t.Fatalf("got %+v, %v", state, err)
		}
	}
	if rules, err := e.egressRules(ctx); err != nil || len(rules) != 1 {
		t.Errorf("closed twice: got rules %q, %v; want one", rules, err)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	c := running(t, e, "try-egress", "--network", e.network(), "--label", KindLabel+"=try", "--publish", fmt.Sprintf("127.0.0.1:%d:80", port))
	if !slices.Equal(c.Ports, []int{port}) {
		t.Errorf("published ports: got %v, want %d", c.Ports, port)
	}
	address := c.Addresses[e.network()]

	// From inside, an address that nobody has (RFC 5737) is refused at once by our rule, not by a time-out.
	dial := command.Cmd{Name: "nsenter", Args: []string{"-t", strconv.Itoa(c.PID), "-n", "bash", "-c", "exec 3<>/dev/tcp/192.0.2.1/9"}, Deadline: 5 * time.Second}
	var failed *command.Error
	if _, err := e.Run(ctx, dial); !errors.As(err, &failed) || !strings.Contains(failed.Output, "refused") {
		t.Errorf("a connection out of the machine: got %v, want it refused", err)
	}
	// A port that is published still reaches the container.
	serve := exec.CommandContext(ctx, "nsenter", "-t", strconv.Itoa(c.PID), "-n", "python3", "-m", "http.server", "80", "--bind", address)
	if err := serve.Start(); err == nil {
		defer func() { _ = serve.Process.Kill(); _ = serve.Wait() }()
		if !answers(ctx, fmt.Sprintf("127.0.0.1:%d", port)) {
			t.Error("the published port does not answer")
		}
	}

	if removed, err := e.RemoveNetwork(ctx); err != nil || removed {
		t.Errorf("with a container on it: got %v, %v", removed, err)
	}
	if state, err := e.Egress(ctx); err != nil || !state.Closed {
		t.Errorf("it must stay closed: got %+v, %v", state, err)
	}
	owned, err := e.Owned(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[Sort]int)
	for _, r := range owned {
		count[r.Sort]++
	}
	if count[ContainerSort] != 1 || count[NetworkSort] != 1 || count[RuleSort] != 1 || count[ImageSort] != 1 || len(owned) != 4 {
		t.Errorf("owned: got %v", owned)
	}
	if err := e.RemoveContainer(ctx, c.Name); err != nil {
		t.Fatal(err)
	}

	// A cluster that another process is about to make relies on the network.
	other := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestHoldLock$")
	other.Dir = filepath.Dir(LockPath(e.host.StateDir, "other"))
	if err := os.MkdirAll(other.Dir, 0o750); err != nil {
		t.Fatal(err)
	}
	other.Env = append(os.Environ(), "HOLD_LOCK=yes")
	in, _ := other.StdinPipe()
	out, _ := other.StdoutPipe()
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("held"))); err != nil {
		t.Fatal(err)
	}
	if removed, err := e.RemoveNetwork(ctx); err != nil || removed {
		t.Errorf("while another process holds a cluster's lock: got %v, %v", removed, err)
	}
	in.Close()
	_ = other.Wait() // it was told to end

	if removed, err := e.RemoveNetwork(ctx); err != nil || !removed {
		t.Errorf("when it is unused: got %v, %v", removed, err)
	}
	if rules, err := e.egressRules(ctx); err != nil || len(rules) != 0 {
		t.Errorf("its rules: got %q, %v; want none", rules, err)
	}
}

// TestHoldLock is the other process of TestNetworkAndEgress; it runs in its cluster's directory.
func TestHoldLock(t *testing.T) {
	if os.Getenv("HOLD_LOCK") == "" {
		t.Skip("is run by another test")
	}
	l, err := lock.Try("lock", lock.Holder{PID: os.Getpid(), RunID: "other"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	os.Stdout.WriteString("held")
	io.Copy(io.Discard, os.Stdin)
}

// answers reports whether an address accepts a connection within some seconds.
func answers(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

func TestNetworkForAStateDirectory(t *testing.T) {
	usual := NetworkFor(environment(), "/home/u/.cache/kubernaut/e2e")
	one := NetworkFor(environment("E2E_STATE_DIR=/one"), "/one")
	two := NetworkFor(environment("E2E_STATE_DIR=/two"), "/two")
	if usual != NetworkName || one == two || one == usual || !strings.HasPrefix(one, NetworkName+"-") {
		t.Errorf("got %s, %s and %s; want %s and two others", usual, one, two, NetworkName)
	}
	if bridgeName(usual) != usual {
		t.Errorf("the interface of %s: got %s", usual, bridgeName(usual))
	}
	const most = 15 // what Linux takes
	if a, b := bridgeName(one), bridgeName(two); a == b || len(a) > most || len(b) > most {
		t.Errorf("the interfaces of %s and %s: got %s and %s", one, two, a, b)
	}
	fakes(t, map[string]string{"podman": `exec /bin/cat ` + testdata(t, "podman-5.6-machine-info.json")})
	e, err := Detect(t.Context(), command.Runner{}, Host{Getenv: environment("E2E_STATE_DIR=/one", "E2E_RUNTIME=podman"), StateDir: t.TempDir(), OS: "darwin"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "KIND_EXPERIMENTAL_PODMAN_NETWORK=" + e.network(); e.network() == NetworkName || !slices.Contains(e.Env(), want) {
		t.Errorf("the environment of Kind: got %q, want %s", e.Env(), want)
	}
}

// Two harnesses on one engine: what ends of the one leaves the other as it was.
func TestNetworksOfTwoStateDirectories(t *testing.T) {
	one, two := realPodman(t), realPodman(t)
	one.host.Network, two.host.Network = one.host.Network+"-1", two.host.Network+"-2"
	ctx := t.Context()
	if why := one.cannotFilter(); why != "" {
		t.Skip(why)
	}
	subnets := map[string]bool{}
	for _, e := range []*Engine{one, two} {
		t.Cleanup(func() {
			if _, err := e.RemoveNetwork(context.WithoutCancel(ctx)); err != nil {
				t.Error(err)
			}
		})
		network, err := e.EnsureNetwork(ctx)
		if err != nil {
			t.Fatal(err)
		}
		subnets[network.Subnets[0]] = true
		if state, err := e.CloseEgress(ctx); err != nil || !state.Closed {
			t.Fatalf("got %+v, %v", state, err)
		}
	}
	if len(subnets) != 2 {
		t.Errorf("both are on %v", subnets)
	}
	if removed, err := one.RemoveNetwork(ctx); err != nil || !removed {
		t.Errorf("the first: got %v, %v", removed, err)
	}
	if state, err := two.Egress(ctx); err != nil || !state.Closed {
		t.Errorf("the second once the first is gone: got %+v, %v", state, err)
	}
}
