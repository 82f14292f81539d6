package infrastructure_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure"
	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/e2ecli"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/faults"
	"kubernaut.ai/kubernaut/test/infrastructure/image"
	"kubernaut.ai/kubernaut/test/infrastructure/nodeimage"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
	"kubernaut.ai/kubernaut/test/infrastructure/rollout"
)

// envReal makes the test's program the command e2e, with a suite that is as small as can be, and a fault.
const envReal = "E2E_REAL_ORDER"

const (
	faulty        = "faults" // the suite
	faultyCluster = "faults-e2e"
	faultyPort    = 28391
	faultyNode    = 30391
)

// realOrder is what a process of the command is to do beside its arguments.
type realOrder struct {
	Root    string // of the sources
	Fault   string // of package faults; empty: none
	Workers int    // nodes beside the control plane
}

// faultySuite is one program that answers.
func faultySuite(workers int) infrastructure.Suite {
	return infrastructure.Suite{
		Name: faulty, Workers: workers, Cluster: faultyCluster, Overlay: "overlays/e2e", Specs: "test/e2e/faults", Procs: 1,
		Images:    []image.Spec{{Name: "faults", Package: "cmd/faults", Dockerfile: "docker/faults.Dockerfile", Counters: true}},
		Ports:     map[int32]int32{faultyPort: faultyNode},
		Endpoints: []rollout.Endpoint{{Name: "the program", URL: fmt.Sprintf("http://127.0.0.1:%d/", faultyPort)}},
	}
}

// realCommand is the command e2e with the small suite.
func realCommand(text string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return failure.ExitUsage
	}
	var o realOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fail(err)
	}
	s := e2ecli.Streams{Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Suites: []infrastructure.Suite{faultySuite(o.Workers)}, Source: o.Root}
	if o.Fault == "" {
		return e2ecli.Main(os.Args[1:], s)
	}
	f, err := faults.Named(o.Fault)
	if err != nil {
		return fail(err)
	}
	target, err := realTarget(o)
	if err != nil {
		return fail(err)
	}
	phase, end := f.At(target)
	s.Faults = phase
	code := e2ecli.Main(os.Args[1:], s)
	if err := end(context.Background()); err != nil {
		return fail(err)
	}
	return code
}

// realTarget is the run of this process.
func realTarget(o realOrder) (faults.Target, error) {
	state, err := engine.StateDir(os.Getenv)
	if err != nil {
		return faults.Target{}, err
	}
	e, err := engine.Detect(context.Background(), command.Runner{}, engine.Host{Getenv: os.Getenv, StateDir: state})
	if err != nil {
		return faults.Target{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return faults.Target{}, err
	}
	o.Fault = ""
	again, err := json.Marshal(o)
	return faults.Target{
		Engine: e, Cluster: faultyCluster, Port: faultyPort,
		Interrupt: func() { _ = syscall.Kill(os.Getpid(), syscall.SIGINT) },
		Again:     command.Cmd{Name: self, Args: []string{"up", faulty}, Env: []string{envReal + "=" + string(again), "E2E_LOCK_WAIT=0s"}, Quiet: true},
	}, err
}

// rig is where the real runs of a test happen.
type rig struct {
	root, state string
	workers     int
	env         []string
}

// newRig writes the sources, and removes at the end of the test what is left of the cluster.
func newRig(t *testing.T) *rig {
	t.Helper()
	if os.Getenv("E2E_FAULTS") != "1" {
		t.Skip("set E2E_FAULTS=1 to break runs on a real cluster")
	}
	dir := t.TempDir()
	r := &rig{root: filepath.Join(dir, "source"), state: filepath.Join(dir, "state")}
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files := faultySources()
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(repo, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(content)
	}
	writeSources(t, r.root, files)
	program := string(r.engine(t).Kind())
	nodes, err := nodeimage.Ensure(t.Context(), nodeimage.Options{Runtime: program, Env: os.Getenv, Source: repo})
	if err != nil {
		t.Fatal(err)
	}
	r.env = slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains([]string{"CI", "KEEP_CLUSTER", "SKIP_CLEANUP"}, name) || strings.HasPrefix(name, "E2E_")
	})
	r.env = append(r.env, "E2E_STATE_DIR="+r.state, "E2E_NODE_IMAGE="+nodes.Ref, "E2E_LOCK_WAIT=1m", "NO_COLOR=1", "E2E_RUNTIME="+program, "E2E_EGRESS="+os.Getenv("E2E_EGRESS"))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		down := r.command(t, ctx, "", "down", faulty)
		if out, err := down.CombinedOutput(); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
	})
	return r
}

// engine is the one that the runs use.
func (r *rig) engine(t *testing.T) *engine.Engine {
	t.Helper()
	e, err := engine.Detect(t.Context(), command.Runner{}, engine.Host{StateDir: r.state, Network: engine.OwnNetwork(r.state), Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// command is a process of e2e.
func (r *rig) command(t *testing.T, ctx context.Context, fault string, args ...string) *exec.Cmd { //nolint:revive // a test's helper
	t.Helper()
	text, err := json.Marshal(realOrder{Root: r.root, Fault: fault, Workers: r.workers})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(slices.Clone(r.env), envReal+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a shell does
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// run runs e2e to its end; when must is not empty it is interrupted, as by Ctrl-C, once it has said all of that.
func (r *rig) run(t *testing.T, fault string, must []*regexp.Regexp, args ...string) (code int, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	cmd := r.command(t, ctx, fault, args...)
	out := &screen{must: must, seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // the exit code says it
	}()
	if len(must) > 0 {
		select {
		case <-out.seen:
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
				t.Error(err)
			}
		case <-ended:
			t.Errorf("it ended before it had said %v", must)
		}
	}
	<-ended
	return cmd.ProcessState.ExitCode(), out.String()
}

// result reads what the run left whose output is given.
func (r *rig) result(t *testing.T, said string) plan.Result {
	t.Helper()
	page := regexp.MustCompile(`(?m)^ +report (.*)/report\.md$`).FindStringSubmatch(said)
	if page == nil {
		t.Fatalf("the run names no report\n%s", said)
	}
	result, err := plan.ReadResult(page[1])
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// screen keeps what a process says, and tells when it has said all that it must.
type screen struct {
	must []*regexp.Regexp
	seen chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
	told bool
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	missing := slices.ContainsFunc(s.must, func(m *regexp.Regexp) bool { return !m.Match(s.text.Bytes()) })
	if !missing && !s.told {
		s.told = true
		close(s.seen)
	}
	return len(p), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
