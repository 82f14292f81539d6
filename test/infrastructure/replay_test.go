package infrastructure_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/cluster"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
	"kubernaut.ai/kubernaut/test/infrastructure/replay"
	"kubernaut.ai/kubernaut/test/infrastructure/replay/apiserver"
)

const (
	nodeImage = "localhost/replayed-node:1"
	control   = replayed + "-control-plane"
	worker    = replayed + "-worker"
)

// stage is what all machines of a test share.
type stage struct {
	fake string // the program
	root string // of the smallest sources
	repo string
}

// newStage compiles the fake and writes the sources.
func newStage(t *testing.T) *stage {
	t.Helper()
	dir := t.TempDir()
	s := &stage{fake: filepath.Join(dir, "fake"), root: filepath.Join(dir, "source")}
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s", "-o", s.fake, "./replay/fake")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("compile the fake: %v\n%s", err, out)
	}
	files := workload("replayed", configMap, fromConfigMap)
	files["go.mod"] = "module kubernaut.ai/kubernaut\n\ngo 1.26\n"
	files["cmd/replayed/main.go"] = "package main\n\nfunc main() {}\n"
	files["test/e2e/workload/main.go"] = files["cmd/replayed/main.go"]
	files["test/e2e/workload/Dockerfile"] = dockerfile("workload")
	writeSources(t, s.root, files)
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	s.repo = repo
	return s
}

// machine is one that the harness runs on.
type machine struct {
	*replay.World
	t      *testing.T
	api    *apiserver.Server
	health *httptest.Server
	env    []string
	root   string
	real   bool
	port   int32
	state  string
	said   bytes.Buffer
}

// machine makes one for a scenario.
func (s *stage) machine(t *testing.T, sc scenario) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, root: s.root, state: filepath.Join(dir, "state"), real: sc.real}
	if sc.real {
		m.root = s.repo
	}
	if sc.source != nil {
		m.root = sc.source(t, s)
	}
	for _, d := range []string{"state", "tmp", "home", "machine"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	engine := sc.engine
	if engine == "" {
		engine = "podman"
	}
	m.World = &replay.World{Dir: filepath.Join(dir, "machine")}
	m.api = apiserver.New([]string{control, worker}, sc.pods, m.bound(sc.faults))
	t.Cleanup(m.api.Close)
	config := cluster.Config{Name: replayed, Image: nodeImage, Kubeconfig: "x", Workers: 1, Ports: order{Real: sc.real}.suite().Ports}
	m.api.Label(map[string]string{"e2e.kubernaut.ai/owner": "kubernaut-e2e", "e2e.kubernaut.ai/config": config.Digest()})
	m.health = httptest.NewServer(healthy(sc.unhealthy))
	t.Cleanup(m.health.Close)
	script := replay.Script{Steps: sc.steps, Phases: sc.phases, Info: sc.info, APIPort: m.api.Port(), Node: nodeImage}
	if sc.noNode {
		script.Node = ""
	}
	if _, err := replay.New(m.Dir, script, m.api.Kubeconfig()); err != nil {
		t.Fatal(err)
	}
	programs := slices.DeleteFunc(append([]string{engine, "go", "iptables"}, sc.also...), func(p string) bool { return p == sc.missing })
	bin, err := m.Install(s.fake, programs...)
	if err != nil {
		t.Fatal(err)
	}
	m.env = append([]string{
		"PATH=" + bin, "HOME=" + filepath.Join(dir, "home"), "TMPDIR=" + filepath.Join(dir, "tmp"), "E2E_STATE_DIR=" + m.state, replay.EnvDir + "=" + m.Dir,
		"E2E_NODE_IMAGE=" + nodeImage, "E2E_LOCK_WAIT=0s", "NO_COLOR=1",
		"DOCKER_HOST=tcp://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1", "GOMAXPROCS=2", "E2E_RUNTIME=" + engine,
	}, sc.env...)
	if sc.before != nil {
		sc.before(t, m)
	}
	return m
}

// bound gives the faults of a scenario what happens to this machine when they are met.
func (m *machine) bound(faults []fault) []apiserver.Fault {
	var all []apiserver.Fault
	for _, f := range faults {
		all = append(all, apiserver.Fault{Call: f.call, Times: f.times, Status: f.status, Message: f.message, Hang: f.hang, Then: func() {
			if err := m.Do(f.effects...); err != nil {
				m.t.Error(err)
			}
		}})
	}
	return all
}

// healthy is Data Storage's health, or something else.
func healthy(otherwise http.HandlerFunc) http.Handler {
	if otherwise != nil {
		return otherwise
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/health/live":
			fmt.Fprint(w, `{"status":"alive"}`)
		case "/health/ready":
			fmt.Fprint(w, `{"status":"ready"}`)
		default:
			fmt.Fprint(w, "# TYPE up gauge\nup 1\n")
		}
	})
}

// command is a process of the harness.
func (m *machine) command(ctx context.Context, o order) (*exec.Cmd, error) {
	o.Root, o.Real, o.Health, o.Port = m.root, m.real, m.health.URL, m.port
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = slices.Concat(m.env, []string{envOrder + "=" + string(text)})
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &m.said, &m.said, 5*time.Second
	return cmd, nil
}

// begin runs the harness when its turn comes; end waits for that and returns the exit code.
func (m *machine) begin(turns chan struct{}, o order) (end func(t *testing.T) int) {
	ended := make(chan struct{})
	code, failed := 0, error(nil)
	ctx := m.t.Context()
	go func() {
		defer close(ended)
		turns <- struct{}{}
		defer func() { <-turns }()
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		cmd, err := m.command(ctx, o)
		if err == nil {
			err = cmd.Run()
		}
		if cmd == nil || cmd.ProcessState == nil {
			failed = err
			return
		}
		code = cmd.ProcessState.ExitCode()
	}()
	return func(t *testing.T) int {
		t.Helper()
		<-ended
		if failed != nil {
			t.Fatal(failed)
		}
		return code
	}
}

// run runs the harness and returns its exit code.
func (m *machine) run(o order) int {
	m.t.Helper()
	return m.begin(make(chan struct{}, 1), o)(m.t)
}

// result reads what the last run left.
func (m *machine) result() plan.Result {
	m.t.Helper()
	last, err := plan.LastRun(filepath.Join(m.state, replayed))
	if err != nil || last == "" {
		m.t.Fatalf("no run: %v\n%s", err, &m.said)
	}
	r, err := plan.ReadResult(last)
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

// report reads the page of a run.
func (m *machine) report(r plan.Result) string {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.Dir, "report.md"))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

// calls are what the fakes were called with.
func (m *machine) calls() []replay.Call {
	m.t.Helper()
	all, err := m.Calls()
	if err != nil {
		m.t.Fatal(err)
	}
	return all
}

// transcript is what happened, for a test that failed.
func (m *machine) transcript() string {
	var b strings.Builder
	b.WriteString(m.said.String())
	for _, c := range m.calls() {
		mark := ""
		if c.Scripted {
			mark = " (scripted)"
		}
		fmt.Fprintf(&b, "%d evidence, exit %d%s: %.160s\n", c.Evidence, c.Exit, mark, c.Line)
	}
	return b.String()
}
