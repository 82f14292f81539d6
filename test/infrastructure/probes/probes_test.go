package probes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/engine/reading"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/lock"
	"kubernaut.ai/kubernaut/test/infrastructure/preflight"
)

const aCluster = "aianalysis-e2e"

// fake is an Engine with fixed answers.
type fake struct {
	kind       engine.Kind
	info       engine.Info
	pings      []error // one after another; then nil
	files      map[string]string
	skew       time.Duration
	disks      map[string]reading.Disk
	inotify    map[int]int
	containers []engine.Container
	storage    []engine.Storage
	networks   []engine.Network
	listErr    error
	exec       map[string]string // by container; absent: an error
	log        string
	run        func(command.Cmd) (string, error)
}

func (f *fake) Kind() engine.Kind {
	if f.kind == "" {
		return engine.Podman
	}
	return f.kind
}
func (f *fake) Info() engine.Info { return f.info }
func (f *fake) RoundTrip(context.Context) (engine.Trip, error) {
	return engine.Trip{}, errors.ErrUnsupported
}

func (f *fake) Read(context.Context, reading.Question) (engine.Place, error) {
	if f.files == nil {
		return engine.Place{}, errors.New("no answer")
	}
	return engine.Place{Answer: reading.Answer{Files: f.files, Disks: f.disks, Inotify: f.inotify}, Where: "this machine", Here: true, Skew: f.skew}, nil
}

func (f *fake) AllContainers(context.Context) ([]engine.Container, error) {
	return f.containers, f.listErr
}

func (f *fake) StorageContainers(context.Context) ([]engine.Storage, error) {
	return f.storage, f.listErr
}
func (f *fake) RemoveStorage(context.Context, string) error { return errors.ErrUnsupported }
func (f *fake) Networks(context.Context, string) ([]engine.Network, error) {
	return f.networks, f.listErr
}
func (f *fake) Images(context.Context, string) ([]engine.Image, error) { return nil, f.listErr }
func (f *fake) Ping(context.Context) error {
	if len(f.pings) == 0 {
		return nil
	}
	err := f.pings[0]
	f.pings = f.pings[1:]
	return err
}

func (f *fake) Exec(_ context.Context, x engine.Exec) ([]byte, error) {
	out, ok := f.exec[x.Container]
	if !ok {
		return nil, fmt.Errorf("run %s in %s: no such container", x.Args[0], x.Container)
	}
	return []byte(out), nil
}

func (f *fake) Logs(_ context.Context, _ string, w io.Writer) error {
	_, err := io.WriteString(w, f.log)
	return err
}

func (f *fake) Run(_ context.Context, c command.Cmd) ([]byte, error) {
	if f.run == nil {
		return nil, errors.ErrUnsupported
	}
	out, err := f.run(c)
	return []byte(out), err
}

func node(role string, change ...func(*engine.Container)) engine.Container {
	c := engine.Container{Name: aCluster + "-" + role, Running: true, Status: "running", Labels: map[string]string{engine.KindLabel: aCluster}}
	for _, f := range change {
		f(&c)
	}
	return c
}

func options(t *testing.T, f *fake) Options {
	t.Helper()
	return Options{
		Engine: func(context.Context) (Engine, error) { return f, nil }, Pause: time.Microsecond,
		Host: preflight.Options{Cluster: aCluster, StateDir: t.TempDir(), TempDir: t.TempDir(), Nodes: 2, Getenv: func(string) string { return "" }, User: 1000},
	}
}

// row is one outcome of a probe.
type row struct {
	name, probe string
	fake        fake
	change      func(*testing.T, *Options)
	want        string
	evidence    string
}

func (r row) run(t *testing.T) {
	t.Helper()
	o := options(t, &r.fake)
	if r.change != nil {
		r.change(t, &o)
	}
	outcome, evidence := New(o).Probe(t.Context(), r.probe)
	if all := strings.Join(evidence, "\n"); outcome != r.want || !strings.Contains(all, r.evidence) {
		t.Errorf("got %s, %q; want %s, %q", outcome, all, r.want, r.evidence)
	}
	checkListed(t, r.probe, outcome)
}

// checkListed checks that the table of failures knows an outcome of a probe, unless it decides nothing.
func checkListed(t *testing.T, probe, outcome string) {
	t.Helper()
	listed := false
	for _, r := range failure.Table() {
		if r.Probe == probe {
			_, ok := r.Outcomes[outcome]
			listed = listed || ok
		}
	}
	if !listed && outcome != preflight.Unknown && !slices.Contains([]string{"none"}, outcome) {
		t.Errorf("no row knows outcome %s of probe %s", outcome, probe)
	}
}

// Every probe of the table is answered, and no other.
func TestNames(t *testing.T) {
	asked := make(map[string]bool)
	for _, r := range failure.Table() {
		if r.Probe != "" {
			asked[r.Probe] = true
			if _, ok := questions()[r.Probe]; !ok {
				t.Errorf("row %s asks %s, which nobody answers", r.ID, r.Probe)
			}
		}
	}
	for name := range questions() {
		if !asked[name] {
			t.Errorf("no row asks %s", name)
		}
	}
	outcome, evidence := New(options(t, &fake{})).Probe(t.Context(), "weather")
	if outcome != preflight.Unknown || len(evidence) == 0 {
		t.Errorf("an unknown probe: got %s, %q", outcome, evidence)
	}
	o := options(t, &fake{})
	o.Engine = func(context.Context) (Engine, error) { return nil, errors.New("none detected") }
	p := New(o)
	p.Begin(t.Context())
	if outcome, evidence := p.Probe(t.Context(), "runtime"); outcome != preflight.Unknown || !strings.Contains(strings.Join(evidence, ""), "none detected") {
		t.Errorf("without an engine: got %s, %q", outcome, evidence)
	}
}

func TestHostProbes(t *testing.T) {
	const instances, watches = "/proc/sys/fs/inotify/max_user_instances", "/proc/sys/fs/inotify/max_user_watches"
	ports := func(l map[int]preflight.Listener) func(*testing.T, *Options) {
		return func(_ *testing.T, o *Options) {
			o.Host.Ports = []int32{8184, 9184}
			o.Host.Listeners = listeners(l)
		}
	}
	kubeconfig := func(age time.Duration) func(*testing.T, *Options) {
		return func(t *testing.T, o *Options) {
			o.Host.Kubeconfig = filepath.Join(t.TempDir(), "config")
			path := o.Host.Kubeconfig + ".lock"
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			then := time.Now().Add(-age)
			if err := os.Chtimes(path, then, then); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, r := range []row{
		{name: "memory is low", probe: "memory", fake: fake{files: map[string]string{"/proc/meminfo": "MemAvailable: 100000 kB\n"}}, want: "low", evidence: "97 MiB"},
		{name: "memory is enough", probe: "memory", fake: fake{files: map[string]string{"/proc/meminfo": "MemAvailable: 9000000 kB\n"}}, want: "enough"},
		{name: "memory cannot be read", probe: "memory", want: preflight.Unknown, evidence: "no answer"},
		{name: "inotify is low", probe: "inotify", fake: fake{files: map[string]string{instances: "128", watches: "900000"}}, want: "low", evidence: "128"},
		{name: "watches are low", probe: "inotify", fake: fake{files: map[string]string{instances: "512", watches: "8192"}}, want: "low", evidence: "8192"},
		{name: "inotify is enough", probe: "inotify", fake: fake{files: map[string]string{instances: "512", watches: "524288"}}, want: "enough"},
		{name: "keys are used up", probe: "keys", fake: fake{files: map[string]string{"/proc/key-users": " 0: 1 1/1 199/200 1/1\n"}}, want: "exhausted", evidence: "199 of 200"},
		{name: "keys are enough", probe: "keys", fake: fake{files: map[string]string{"/proc/key-users": " 0: 1 1/1 9/200 1/1\n"}}, want: "enough"},
		{name: "the clock is wrong", probe: "clock", fake: fake{files: map[string]string{}, skew: -time.Minute}, want: "skewed", evidence: "-1m0s"},
		{name: "the clock is right", probe: "clock", fake: fake{files: map[string]string{}, skew: time.Second}, want: "in-step"},
		{name: "the disk is full", probe: "disk", fake: fake{files: map[string]string{}, info: engine.Info{GraphRoot: "/g"}, disks: map[string]reading.Disk{"/g": {Device: 9999, Free: 1 << 20}}}, want: "full", evidence: "free in /g: 1 MiB"},
		{name: "the disk is full though the nodes are there", probe: "disk", fake: fake{files: map[string]string{}, info: engine.Info{GraphRoot: "/g"}, containers: []engine.Container{node("worker")}, disks: map[string]reading.Disk{"/g": {Device: 9999, Free: 300 << 20}}}, want: "full", evidence: "/g"},
		{name: "the disk is enough", probe: "disk", fake: fake{files: map[string]string{}, info: engine.Info{GraphRoot: "/g"}, disks: map[string]reading.Disk{"/g": {Device: 9999, Free: 1 << 50}}}, want: "enough"},
		{name: "nobody has the port", probe: "port-owner", change: ports(nil), want: "free"},
		{name: "our node has the port", probe: "port-owner", fake: fake{containers: []engine.Container{node("worker", func(c *engine.Container) { c.Ports = []int{8184} })}}, change: ports(nil), want: "ours", evidence: "8184"},
		{name: "gvproxy has the port", probe: "port-owner", change: ports(map[int]preflight.Listener{9184: {PID: 1, Program: "gvproxy"}}), want: "gvproxy"},
		{name: "another has the port", probe: "port-owner", change: ports(map[int]preflight.Listener{8184: {PID: 1, Program: "gvproxy"}, 9184: {PID: 42, Program: "nginx"}}), want: "other", evidence: "nginx (process 42)"},
		{name: "another's container has the port", probe: "port-owner", fake: fake{containers: []engine.Container{{Name: "web", Running: true, Ports: []int{9184}}}}, change: ports(nil), want: "other", evidence: "web"},
		{name: "the lock was left", probe: "kubeconfig-lock", change: kubeconfig(time.Hour), want: "abandoned", evidence: "1h0m"},
		{name: "the lock is held", probe: "kubeconfig-lock", change: kubeconfig(0), want: "held"},
		{name: "the lock is gone", probe: "kubeconfig-lock", want: preflight.Unknown},
	} {
		t.Run(r.name, r.run)
	}
}

type listeners map[int]preflight.Listener

func (l listeners) Listeners(context.Context, []int) (map[int]preflight.Listener, error) {
	return l, nil
}

func TestRuntimeProbes(t *testing.T) {
	down := errors.New("connection refused")
	foreign := func(t *testing.T, o *Options) {
		// Another process's lock: this one holds it and says to be another.
		l, err := lock.Try(engine.LockPath(o.Host.StateDir, aCluster), lock.Holder{PID: os.Getpid() + 1, RunID: "other"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Release() })
	}
	own := func(t *testing.T, o *Options) {
		l, err := lock.Try(engine.LockPath(o.Host.StateDir, aCluster), lock.Holder{PID: os.Getpid(), RunID: "this"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Release() })
	}
	exited := func(c *engine.Container) { c.Running, c.Status, c.ExitCode = false, "exited", 137 }
	says := func(text string) func(*testing.T, *Options) {
		return func(_ *testing.T, o *Options) { o.Log = func(string) string { return text } }
	}
	for _, r := range []row{
		{name: "it answers", probe: "runtime", want: "alive"},
		{name: "it answers at the third time", probe: "runtime", fake: fake{pings: []error{down, down}}, want: "alive"},
		{name: "it does not answer", probe: "runtime", fake: fake{pings: []error{down, down, down}}, want: "down", evidence: "connection refused"},

		{name: "no residue", probe: "residue", fake: fake{containers: []engine.Container{{Name: "web"}}}, want: "none"},
		{name: "our nodes", probe: "residue", fake: fake{containers: []engine.Container{node("worker")}}, change: own, want: "ours", evidence: "-worker"},
		{name: "our name in the storage", probe: "residue", fake: fake{storage: []engine.Storage{{Name: aCluster + "-worker"}, {Name: "web"}}}, want: "ours", evidence: "storage container"},
		{name: "somebody's container with the name", probe: "residue", fake: fake{containers: []engine.Container{node("worker"), {Name: aCluster + "-control-plane", Image: "web"}}}, want: "foreign", evidence: "is no node"},
		{name: "another run's nodes", probe: "residue", fake: fake{containers: []engine.Container{node("worker")}}, change: foreign, want: "foreign", evidence: "run other"},
		{name: "residue is not known", probe: "residue", fake: fake{listErr: down}, want: preflight.Unknown, evidence: "refused"},

		{name: "an unused network", probe: "networks", fake: fake{networks: []engine.Network{{}}, containers: []engine.Container{{Addresses: map[string]string{"bridge": ""}}}}, want: "ours"},
		{name: "a network twice", probe: "networks", fake: fake{networks: []engine.Network{{}, {}}, containers: []engine.Container{{Addresses: map[string]string{engine.NetworkName: ""}}}}, want: "ours", evidence: "2 times"},
		{name: "a network in use", probe: "networks", fake: fake{networks: []engine.Network{{}}, containers: []engine.Container{{Name: "x", Addresses: map[string]string{engine.NetworkName: ""}}}}, want: "foreign", evidence: "x is on it"},
		{name: "no network of ours", probe: "networks", want: "foreign"},

		{name: "this engine has the nodes", probe: "provider", fake: fake{containers: []engine.Container{node("worker")}}, want: "same"},
		{name: "the other engine has the nodes", probe: "provider", fake: fake{run: func(command.Cmd) (string, error) { return aCluster + "-worker\n", nil }}, want: "mismatch", evidence: "docker has"},
		{name: "Podman has the nodes", probe: "provider", fake: fake{kind: engine.Docker, run: func(c command.Cmd) (string, error) {
			if c.Name != "podman" {
				return "", nil
			}
			return "x", nil
		}}, want: "mismatch", evidence: "podman has"},
		{name: "nobody has the nodes", probe: "provider", fake: fake{run: func(command.Cmd) (string, error) { return "", nil }}, want: "same"},
		{name: "there is no other engine", probe: "provider", want: "same"},

		{name: "the nodes run", probe: "node-health", fake: fake{containers: []engine.Container{node("worker"), node("control-plane")}}, want: "running"},
		{name: "a node exited", probe: "node-health", fake: fake{containers: []engine.Container{node("worker", exited), node("control-plane")}}, want: "exited", evidence: "exit code 137"},
		{name: "memory ran out in a node", probe: "node-health", fake: fake{containers: []engine.Container{node("worker", exited, func(c *engine.Container) { c.OOMKilled = true })}}, want: "oom"},
		{name: "no nodes", probe: "node-health", want: "exited", evidence: "no nodes"},
		{name: "no engine", probe: "node-health", fake: fake{pings: []error{down, down, down}}, want: "down"},

		{name: "the journal", probe: "node-boot", fake: fake{info: engine.Info{LogDriver: "journald"}}, want: "journald"},
		{name: "few instances", probe: "node-boot", fake: fake{files: map[string]string{"/proc/sys/fs/inotify/max_user_instances": "128"}, inotify: map[int]int{0: 120}}, want: "inotify", evidence: "120 in use"},
		{name: "systemd is slow", probe: "node-boot", fake: fake{files: map[string]string{}, containers: []engine.Container{node("worker")}, log: "Detected virtualization podman.\nWelcome to Debian GNU/Linux 12\n"}, want: "started", evidence: "Welcome to Debian"},
		{name: "systemd says nothing", probe: "node-boot", fake: fake{files: map[string]string{}, containers: []engine.Container{node("worker")}, log: "INFO: starting\n"}, want: preflight.Unknown},

		{name: "kubelet and cgroups", probe: "kubelet", fake: fake{containers: []engine.Container{node("worker")}, exec: map[string]string{aCluster + "-worker": "Started kubelet\n\"command failed\" err=\"failed to run Kubelet: kubelet is configured to not run on a host using cgroup v1\"\n"}}, want: "cgroup", evidence: "cgroup v1"},
		{name: "kubelet and its flags", probe: "kubelet", fake: fake{containers: []engine.Container{node("worker")}, exec: map[string]string{aCluster + "-worker": "E failed to parse kubelet flag: unknown flag: --container-runtime\n"}}, want: "mismatch"},
		{name: "kubelet and etcd", probe: "kubelet", fake: fake{containers: []engine.Container{node("control-plane")}, exec: map[string]string{aCluster + "-control-plane": "Started kubelet\n{\"msg\":\"apply request took too long\"}\n"}}, want: "etcd"},
		{name: "kubelet started", probe: "kubelet", fake: fake{containers: []engine.Container{node("worker")}, exec: map[string]string{aCluster + "-worker": "systemd[1]: Started kubelet: The Kubernetes Node Agent.\n"}}, want: "started"},
		{name: "kubelet says nothing", probe: "kubelet", fake: fake{containers: []engine.Container{node("worker")}, exec: map[string]string{aCluster + "-worker": ""}}, want: preflight.Unknown},
		{name: "the node is gone", probe: "kubelet", fake: fake{containers: []engine.Container{node("worker")}}, want: preflight.Unknown, evidence: "no such container"},

		{name: "a goroutine panicked", probe: "specs", change: says("Running Suite\npanic: runtime error: index out of range\n\ngoroutine 7 [running]:\n"), want: "panic", evidence: "index out of range"},
		{name: "no trace of the specs", probe: "specs", change: says("a spec said: do not panic: it is fine\n"), want: preflight.Unknown},

		{name: "no names are known", probe: "dns", want: preflight.Unknown},
		{name: "names resolve", probe: "dns", change: lookup(nil), want: "both"},
		{name: "names do not resolve", probe: "dns", change: lookup(errors.New("no such host")), want: "nowhere", evidence: "no such host"},
		{name: "names resolve in the machine", probe: "dns", fake: fake{info: engine.Info{Remote: true}, run: func(command.Cmd) (string, error) { return "", nil }}, change: lookup(nil), want: "both"},
		{name: "names do not resolve in the machine", probe: "dns", fake: fake{info: engine.Info{Remote: true}, run: func(command.Cmd) (string, error) { return "", errors.New("exit status 2") }}, change: lookup(nil), want: "host-only"},
		{name: "names in Docker's machine", probe: "dns", fake: fake{kind: engine.Docker, info: engine.Info{Remote: true}}, change: lookup(nil), want: preflight.Unknown},
	} {
		t.Run(r.name, r.run)
	}
}

func lookup(err error) func(*testing.T, *Options) {
	return func(_ *testing.T, o *Options) {
		o.Names, o.Lookup = []string{"modules.example.com"}, func(context.Context, string) error { return err }
	}
}

// Memory that ran out since Begin is told; what was killed before is not.
func TestKills(t *testing.T) {
	f := &fake{files: map[string]string{"/proc/vmstat": "pgfault 7\noom_kill 3\n"}, containers: []engine.Container{node("worker")}}
	o := options(t, f)
	o.Log = func(string) string { return "signal: killed\n" }
	p := New(o)
	p.Begin(t.Context())
	for probe, want := range map[string]string{"runtime": "alive", "node-health": "running", "specs": preflight.Unknown} {
		if got, _ := p.Probe(t.Context(), probe); got != want {
			t.Errorf("before: %s: got %s, want %s", probe, got, want)
		}
	}
	f.files["/proc/vmstat"] = "oom_kill 4\n"
	for _, probe := range []string{"runtime", "node-health", "specs"} {
		if got, evidence := p.Probe(t.Context(), probe); got != "oom" {
			t.Errorf("after: %s: got %s, %q; want oom", probe, got, evidence)
		}
		checkListed(t, probe, "oom")
	}
	if got, _ := New(o).Probe(t.Context(), "runtime"); got != "alive" {
		t.Errorf("without Begin: got %s, want alive", got)
	}
}

func TestLimit(t *testing.T) {
	for _, row := range []struct{ remaining, after, want string }{
		{"0;w=21600", "", "exhausted"},
		{"0;w=600", "", "soon"},
		{"17;w=21600", "", "soon"},
		{"0;w=21600", "60", "soon"},
		{"0;w=60", "7200", "exhausted"},
		{"", "", preflight.Unknown},
	} {
		header := make(http.Header)
		header.Set("Ratelimit-Remaining", row.remaining)
		header.Set("Retry-After", row.after)
		if got, _ := limit(header); got != row.want {
			t.Errorf("%+v: got %s", row, got)
		}
		checkListed(t, "registry", row.want)
	}
}

// hub answers as Docker Hub does.
type hub struct{ broken bool }

func (h hub) RoundTrip(r *http.Request) (*http.Response, error) {
	if h.broken {
		return nil, errors.New("no route to host")
	}
	response := &http.Response{StatusCode: http.StatusOK, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(`{"token":"t"}`)), Request: r}
	if r.Method == http.MethodHead && r.Header.Get("Authorization") == "Bearer t" {
		response.Header.Set("Ratelimit-Remaining", "0;w=21600")
	}
	return response, nil
}

func TestRegistry(t *testing.T) {
	for _, r := range []row{
		{name: "the limit is used up", probe: "registry", change: func(_ *testing.T, o *Options) { o.HTTP = &http.Client{Transport: hub{}} }, want: "exhausted", evidence: "0;w=21600"},
		{name: "the registry is out of reach", probe: "registry", change: func(_ *testing.T, o *Options) { o.HTTP = &http.Client{Transport: hub{broken: true}} }, want: preflight.Unknown, evidence: "no route to host"},
	} {
		t.Run(r.name, r.run)
	}
}
