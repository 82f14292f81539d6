package infrastructure_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/replay"
	"kubernaut.ai/kubernaut/test/infrastructure/replay/apiserver"
)

// fault is an answer of the API server that goes wrong.
type fault struct {
	call    string
	times   int
	status  int
	message string
	hang    bool
	effects []string
}

// scenario is a machine on which something goes wrong.
type scenario struct {
	engine    string
	also      []string // programs that are there, too
	missing   string   // a program that is not
	steps     []replay.Step
	phases    map[string][]string
	info      map[string]any
	pods      map[string]*apiserver.Pod
	faults    []fault
	unhealthy http.HandlerFunc
	env       []string
	noNode    bool
	real      bool
	source    func(*testing.T, *stage) string
	before    func(*testing.T, *machine)
	either    string // a row that tells the same as the scenario's own: whoever meets the failure first decides
}

// row is a failure and what the harness must make of it.
type row struct {
	id, name string
	scenario
	phase string
	class failure.Class
	exit  int // 0: it heals
	// retries is how often something was tried again.
	retries int
	// order are calls that must follow each other; every call after the first must begin when there is evidence of what
	// failed.
	order []string
}

// Calls of programs.
const (
	buildCall  = `^podman build .*kubernaut-replayed:`
	runCall    = `^(podman|docker) run .*--name replayed-control-plane`
	logsCall   = `^(podman|docker) logs -f replayed-control-plane`
	initCall   = `exec .*replayed-control-plane kubeadm init`
	importCall = `exec .*replayed-worker .*ctr --namespace=k8s.io images import`
	saveCall   = `save .*kubernaut-replayed:`
	rmCall     = `^(podman|docker) rm .*replayed-control-plane`
	goCall     = `^go build -v`
	pullCall   = `^podman pull`
)

// says is a call that fails with a text.
func says(call string, exit int, text string) []replay.Step {
	return []replay.Step{{Call: call, Stderr: text + "\n", Exit: exit}}
}

// often is one that fails so many times.
func often(times int, call string, exit int, text string) []replay.Step {
	steps := says(call, exit, text)
	steps[0].Times = times
	return steps
}

// saysAfter is one that has done its work before, and has effects.
func saysAfter(call string, exit int, text string, effects ...string) []replay.Step {
	return []replay.Step{{Call: call, Stderr: text + "\n", Exit: exit, Carried: true, Effects: effects}}
}

const (
	ours    = failure.ExitHarness
	product = failure.ExitProduct
	infra   = failure.ExitInfrastructure
	host    = failure.ExitHost
)

// pulled is a machine without an image of nodes, whose registry fails like this.
func pulled(text string, effects ...string) scenario {
	steps := says(pullCall, 125, text)
	steps[0].Effects = effects
	return scenario{noNode: true, steps: steps}
}

func crashing(log string) map[string]*apiserver.Pod {
	return map[string]*apiserver.Pod{"web": {Reason: "CrashLoopBackOff", Message: "back-off 20s restarting failed container", Restarts: 3, ExitCode: 1, Ended: "Error", Log: log}}
}

// rows are all rows of the failure table that can come about here.
func rows() []row {
	creation := []string{logsCall, rmCall, runCall}
	kubeadm := []string{initCall, rmCall, runCall, initCall}
	running := []string{runCall, rmCall, runCall}
	loading := []string{importCall, importCall}
	full := map[string][]string{"build": {"old-image localhost/kubernaut-replayed:1", "old-image localhost/kubernaut-replayed:2", "old-image localhost/kubernaut-replayed:3"}}
	return []row{
		{"F01", "podman", scenario{steps: []replay.Step{{Call: logsCall, Exit: 125, Effects: []string{"remove " + control}, Stderr: "Error: no container with name or ID \"replayed-control-plane\" found: no such container\n"}}}, "cluster", failure.Stale, 0, 1, []string{logsCall, `^podman rm`, runCall}},
		{"F01", "docker", scenario{engine: "docker", steps: []replay.Step{{Call: logsCall, Exit: 1, Effects: []string{"remove " + control}, Stderr: "Error response from daemon: No such container: replayed-control-plane\n"}}}, "cluster", failure.Stale, 0, 1, []string{logsCall, `^docker rm`, runCall}},
		{"F02", "slow", scenario{steps: []replay.Step{{Call: logsCall, Stdout: "Detected virtualization podman.\n"}}}, "cluster", failure.Transient, 0, 1, creation},
		{"F02", "journald", scenario{steps: []replay.Step{{Call: logsCall}}, info: map[string]any{"host.logDriver": "journald"}}, "cluster", failure.Host, host, 0, nil},
		{"F03", "podman", scenario{steps: says(importCall, 125, `Error: Get "http://d/v5.6.0/libpod/exec/8d1c3a0b2e7f/json": EOF`)}, "load", failure.Transient, 0, 1, loading},
		{"F14", "the node ends in an import", scenario{steps: []replay.Step{{Call: importCall, Exit: 125, Effects: []string{"stop " + worker}, Stderr: `Error: Get "http://d/v5.6.0/libpod/exec/8d1c3a0b2e7f/json": EOF`}}}, "load", failure.Stale, 0, 1, []string{importCall, `^podman rm .*replayed-worker`, runCall, importCall}},
		{"F04", "podman", scenario{steps: says(importCall, 255, "")}, "load", failure.Transient, 0, 1, loading},
		{"F04", "stream cut, docker", scenario{engine: "docker", steps: says(importCall, 1, "ctr: archive/tar: unexpected EOF")}, "load", failure.Transient, 0, 1, loading},
		{"F05", "killed", scenario{steps: []replay.Step{{Call: importCall, Exit: 137, Effects: []string{"file /proc/vmstat=oom_kill 3\n"}}}}, "load", failure.Resource, 0, 1, loading},
		{"F06", "", scenario{steps: says(buildCall, 125, "Error: server probably quit: unexpected EOF")}, "build", failure.Resource, 0, 1, []string{buildCall, buildCall}},
		{"F07", "build", scenario{steps: says(buildCall, 125, `Error: building at STEP "COPY . .": copying: write /var/tmp/buildah1/x: cannot allocate memory`)}, "build", failure.Resource, 0, 1, []string{buildCall, buildCall}},
		{"F07", "compiler", scenario{steps: says(goCall, 1, "k8s.io/api/core/v1: /usr/local/go/pkg/tool/linux_amd64/compile: signal: killed")}, "build", failure.Resource, 0, 1, []string{goCall, goCall}},
		{"F08", "freed", scenario{phases: full, steps: []replay.Step{{Call: buildCall, Exit: 125, Effects: []string{"disk 1000"}, Stderr: "Error: writing blob: write /var/tmp/api.tar123456: no space left on device\n"}}}, "build", failure.Resource, 0, 1, []string{buildCall, `^podman rmi localhost/kubernaut-replayed:`, buildCall}},
		{"F08", "nothing to free", scenario{steps: []replay.Step{{Call: saveCall, Exit: 125, Effects: []string{"disk 1000"}, Stderr: "Error: writing blob: no space left on device\n"}}}, "load", failure.Resource, infra, 0, nil},
		{"F08", "create", scenario{steps: saysAfter(runCall, 125, "Error: creating container storage: open /var/lib/containers/storage/overlay-layers/.tmp-layers.json123: no space left on device")}, "cluster", failure.Transient, 0, 1, running},
		{"F09", "disk full", scenario{phases: full, steps: []replay.Step{{Call: saveCall, Exit: 125, Effects: []string{"disk 1000"}, Stderr: "Error: payload does not match any of the supported image formats:\n"}}}, "load", failure.Resource, 0, 1, []string{saveCall, `^podman rmi`, saveCall}},
		{"F09", "disk not full", scenario{steps: says(saveCall, 125, "Error: payload does not match any of the supported image formats:")}, "load", failure.Permanent, ours, 0, nil},
		{"F10", "", scenario{steps: []replay.Step{{Call: importCall, Carried: true, Effects: []string{"lose " + worker}}}}, "load", failure.Transient, 0, 1, loading},
		{"F11", "docker", scenario{engine: "docker", steps: says(importCall, 1, "ctr: content digest sha256:2d0a4f1c8f2b8ad0c0f14db7a1a27dd59ab7d84b02a5a17d2e3b1d0b4f00ce55: not found")}, "load", failure.Permanent, ours, 0, nil},
		{"F12", "", scenario{steps: says(saveCall, 125, "Error: localhost/kubernaut-replayed:1: image not known")}, "load", failure.Permanent, ours, 0, nil},
		{"F13", "", scenario{steps: []replay.Step{{Call: `replayed-worker containerd config dump`, Stdout: "version = 9\n"}}}, "load", failure.Host, host, 0, nil},
		{"F14", "podman", scenario{phases: map[string][]string{"load": {"stop " + worker}}}, "load", failure.Stale, 0, 1, []string{`exec .*replayed-worker`, rmCall, runCall, importCall}},
		{"F14", "docker, in deploy", scenario{engine: "docker", faults: []fault{{call: "PATCH .*deployments", hang: true, effects: []string{"oom " + worker}}}}, "deploy", failure.Stale, 0, 1, []string{`^docker wait replayed-worker`, rmCall, runCall, importCall}},
		{"F15", "gone by now", scenario{steps: []replay.Step{{Call: `^podman ps -a --filter label=io.x-k8s.kind.cluster=replayed --format`, Stdout: worker + "\n"}}}, "cluster", failure.Transient, 0, 1, []string{`^podman ps -a --filter label=io.x-k8s.kind.cluster=replayed --format`, runCall}},
		{"F16", "storage", scenario{phases: map[string][]string{"cluster": {"storage " + control}}}, "cluster", failure.Stale, 0, 1, []string{runCall, `^podman rm --storage ` + control, runCall}},
		{"F16", "in preflight", scenario{phases: map[string][]string{"preflight": {"storage " + control}}}, "", "", 0, 0, []string{`^podman rm --storage ` + control, runCall}},
		{"F17", "free by now", scenario{steps: saysAfter(runCall, 126, "Error: cannot listen on the TCP port: listen tcp4 127.0.0.1:8184: bind: address already in use")}, "cluster", failure.Transient, 0, 1, running},
		{"F17", "docker", scenario{engine: "docker", steps: saysAfter(runCall, 125, "docker: Error response from daemon: driver failed programming external connectivity on endpoint x: Bind for 127.0.0.1:8184 failed: port is already allocated.")}, "cluster", failure.Transient, 0, 1, running},
		{"F17", "another program", scenario{before: occupied}, "preflight", failure.Host, host, 0, nil},
		{"F18", "in cluster", scenario{steps: says(`^podman network create`, 125, "Error: unable to connect to Podman socket: failed to connect: ssh: handshake failed: read tcp 127.0.0.1:50321->127.0.0.1:50123: read: connection reset by peer")}, "cluster", failure.Transient, 0, 1, []string{`^podman network create`, `^podman version`, `^podman network create`}},
		{"F18", "at first", scenario{steps: []replay.Step{{Call: `^podman info`, Times: -1, Exit: 125, Stderr: "Error: unable to connect to Podman socket: ssh: handshake failed\n"}}}, "preflight", failure.Host, host, 0, nil},
		{"F20", "limits low", scenario{steps: []replay.Step{{Call: runCall, Exit: 126, Effects: []string{"file /proc/sys/fs/inotify/max_user_instances=10\n"}, Stderr: "Failed to create control group inotify object: Too many open files\n"}}}, "cluster", failure.Host, host, 0, nil},
		{"F20", "in preflight", scenario{phases: map[string][]string{"preflight": {"file /proc/sys/fs/inotify/max_user_instances=10\n"}}}, "preflight", failure.Host, host, 0, nil},
		{"F21", "", scenario{steps: says(runCall, 126, "runtime/cgo: pthread_create failed: Resource temporarily unavailable")}, "cluster", failure.Host, host, 0, nil},
		{"F22", "", scenario{info: map[string]any{"host.security": map[string]any{"rootless": true}, "host.cgroupVersion": "v1"}}, "preflight", failure.Host, host, 0, nil},
		{"F23", "", scenario{steps: says(runCall, 126, "Error: OCI runtime error: crun: unknown version specified")}, "cluster", failure.Host, host, 0, nil},
		{"F23", "in preflight", scenario{steps: says(`^podman run --detach`, 126, "Error: OCI runtime error: crun: unknown version specified")}, "preflight", failure.Host, host, 0, nil},
		{"F24", "", scenario{steps: saysAfter(runCall, 126, "Error: OCI runtime error: crun: join keyctl `5f1f8d5b2c1e`: Disk quota exceeded", "file /proc/key-users=    0: 200 199/199 19990/20000 200/2000000\n")}, "cluster", failure.Resource, 0, 1, running},
		{"F25", "clock", pulled("Error: tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2025-12-13T03:12:44Z is before 2025-12-20T00:00:00Z", "skew -1h"), "node-image", failure.Host, host, 0, nil},
		{"F25", "certificate", pulled("Error: x509: certificate has expired or is not yet valid"), "node-image", failure.Permanent, product, 0, nil},
		{"F26", "nodes gone", scenario{either: "F14", phases: map[string][]string{"load": {"remove *"}}}, "load", failure.Stale, 0, 1, []string{runCall, importCall}},
		{"F27", "", scenario{steps: often(4, `^podman inspect --format \{\{ json .NetworkSettings.Ports`, 125, "Error: template: inspect:1:3: executing \"inspect\" at <index .Names \"x\">: error calling index: cannot index slice/array with type string")}, "cluster", failure.Host, host, 0, nil},
		{"F28", "kubelet started", scenario{steps: says(initCall, 1, "couldn't initialize a Kubernetes cluster: timed out waiting for the condition")}, "cluster", failure.Transient, 0, 1, kubeadm},
		{"F28", "etcd", scenario{steps: append(says(initCall, 1, "timed out waiting for the condition"), replay.Step{Call: `^journalctl`, Times: -1, Stdout: "etcdserver: request timed out\n"})}, "cluster", failure.Resource, 0, 1, kubeadm},
		{"F28", "cgroup", scenario{steps: append(says(initCall, 1, "timed out waiting for the condition"), replay.Step{Call: `^journalctl`, Times: -1, Stdout: "kubelet is configured to not run on a host using cgroup v1\n"})}, "cluster", failure.Host, host, 0, nil},
		{"F28", "join, docker", scenario{engine: "docker", steps: says(`replayed-worker kubeadm join`, 137, "error execution phase preflight: couldn't validate the identity of the API Server: could not find a JWS signature in the cluster-info ConfigMap for token ID \"abcdef\"")}, "cluster", failure.Transient, 0, 1, []string{`kubeadm join`, rmCall, runCall, `kubeadm join`}},
		{"F29", "", scenario{steps: says(`replayed-control-plane kubectl create`, 1, "error: node replayed-worker is not ready: NetworkPluginNotReady")}, "cluster", failure.Transient, 0, 1, []string{`kubectl create`, rmCall, runCall}},
		{"F30", "", scenario{steps: says(importCall, 1, "ctr: failed to extract layer sha256:2d0a4f: mount source: \"overlay\", err: file size too small 4096")}, "load", failure.Host, host, 0, nil},
		{"F31", "docker", scenario{engine: "docker", steps: saysAfter(runCall, 125, "docker: Error response from daemon: network kubernaut-e2e is ambiguous (2 matches found on name).", "twice")}, "cluster", failure.Stale, 0, 1, []string{runCall, rmCall, `^docker network rm`, `^docker network create`, runCall}},
		{"F32", "docker", scenario{engine: "docker", steps: says(`^docker network create`, 1, "Error response from daemon: all predefined address pools have been fully subnetted")}, "cluster", failure.Host, host, 0, nil},
		{"F33", "abandoned", scenario{before: locked, steps: often(4, `cat /etc/kubernetes/admin.conf`, 1, "failed to lock config file: open /home/u/.kube/replayed-config.lock: file exists")}, "cluster", failure.Stale, 0, 1, []string{`admin.conf`, rmCall, runCall}},
		{"F34", "", pulled("Error response from daemon: toomanyrequests: You have reached your pull rate limit."), "node-image", failure.Transient, 0, 1, []string{pullCall, pullCall}},
		{"F35", "", pulled("Error: reading manifest 1 in localhost/replayed-node: manifest unknown"), "node-image", failure.Permanent, product, 0, nil},
		{"F36", "", scenario{steps: says(goCall, 1, `go: golang.org/x/sys@v0.30.0: Get "https://proxy.example.com/x.zip": dial tcp: lookup proxy.example.com on 10.0.2.3:53: no such host`)}, "build", failure.Transient, 0, 1, []string{goCall, goCall}},
		{"F37", "", scenario{faults: []fault{{call: "PATCH .*configmaps", status: http.StatusInternalServerError, message: `failed calling webhook "webhook.cert-manager.io": failed to call webhook: Post "https://x.svc:443/mutate": dial tcp 10.96.12.7:443: connect: connection refused`}}}, "deploy", failure.Transient, 0, 1, nil},
		{"F38", "unlisted", scenario{pods: map[string]*apiserver.Pod{"web": {Reason: "ErrImageNeverPull", Message: "not present with pull policy of Never", Image: "localhost/kubernaut-other:1"}}}, "wait", failure.Permanent, product, 0, nil},
		{"F38", "lost", scenario{pods: map[string]*apiserver.Pod{"web": {Reason: "ErrImageNeverPull", Message: "not present with pull policy of Never", Heals: true}}}, "wait", failure.Transient, 0, 1, nil},
		{"F40", "", scenario{pods: crashing("cannot start")}, "wait", failure.Permanent, product, 0, nil},
		{"F41", "", scenario{steps: []replay.Step{{Call: `^ginkgo`, Exit: 1, Stdout: "A Ginkgo parallel process has disappeared!\npanic: boom\nTest Suite Failed\n"}}}, "specs", failure.Permanent, product, 0, nil},
		{"F43", "healed by itself", scenario{steps: []replay.Step{{Call: `^podman rm .*replayed-worker`, Exit: 125, Times: 2, Stderr: "Error: error removing container replayed-worker: device or resource busy\n"}}}, "", "", 0, 0, []string{`^podman rm .*replayed-worker`, `^podman rm .*replayed-worker`}},
		{"F43", "retried", scenario{steps: []replay.Step{{Call: `^podman rm .*replayed-worker`, Exit: 125, Times: 5, Stderr: "Error: error removing container replayed-worker: device or resource busy\n"}}}, "teardown", failure.Transient, 0, 1, []string{`^podman rm .*replayed-worker`}},
		{"F44", "", scenario{steps: []replay.Step{{Call: `^podman inspect --format \{\{ json .NetworkSettings.Ports`, Carried: true, Effects: []string{"remove *"}}}}, "cluster", failure.Permanent, ours, 0, nil},
		{"F45", "", scenario{steps: says(buildCall, 1, "stalled: no output and no input taken for 5m0s")}, "build", failure.Transient, 0, 1, []string{buildCall, buildCall}},
		{"F46", "build", scenario{steps: says(buildCall, 1, "exec /usr/bin/x: exec format error")}, "build", failure.Permanent, product, 0, nil},
		{"F46", "wait", scenario{pods: crashing("fatal error: taggedPointerPack")}, "wait", failure.Permanent, product, 0, nil},
		{"S03", "", scenario{faults: []fault{{call: "PATCH .*configmaps", status: http.StatusInternalServerError, message: "failed to deploy AIAnalysis: failed to load image kubernaut-aianalysis:latest"}}}, "deploy", failure.Permanent, ours, 0, nil},
		{"S16", "", scenario{steps: says(runCall, 126, "")}, "cluster", failure.Host, host, 0, nil},
		{"S18", "", scenario{steps: says(buildCall, 125, "Error: tag localhost/kubernaut/x:feature/x: invalid reference format")}, "build", failure.Permanent, ours, 0, nil},
		{"S20", "", scenario{steps: says(saveCall, 1, "stat /tmp/datastorage-e2e.tar: no such file or directory")}, "load", failure.Permanent, ours, 0, nil},
		{"S24", "", scenario{faults: []fault{{call: "PATCH .*namespaces/kubernaut-system$", status: http.StatusConflict, message: `namespaces "kubernaut-system" already exists`}}}, "deploy", failure.Permanent, ours, 0, nil},
		{"S29", "", scenario{steps: says(goCall, 1, "internal/controller/decide.go:41:12: undefined: fmt.NewReader")}, "build", failure.Permanent, product, 0, nil},
		{"S35", "", scenario{missing: "go"}, "preflight", failure.Host, host, 0, nil},
		{"X01", "", scenario{steps: []replay.Step{{Call: `^ginkgo`, Exit: 1, Stdout: "[FAIL] Recovery escalates after three attempts\nTest Suite Failed\n"}}}, "specs", failure.Permanent, product, 0, nil},
		{"X02", "", scenario{steps: says(goCall, 1, "deadline passed: it was 20m0s")}, "build", failure.Unknown, infra, 0, nil},
		{"X03", "docker", scenario{engine: "docker", steps: says(`^docker build .*kubernaut-replayed:`, 1, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")}, "build", failure.Host, host, 0, nil},
		{"X04", "cut", scenario{faults: []fault{{call: "PATCH .*deployments"}}}, "deploy", failure.Transient, 0, 1, nil},
		{"F14", "killed in deploy", scenario{faults: []fault{{call: "PATCH .*deployments", hang: true, effects: []string{"stop " + control}}}}, "deploy", failure.Stale, 0, 1, []string{`^podman wait .*replayed-control-plane`, rmCall, runCall, importCall}},
		{"X05", "", scenario{steps: []replay.Step{{Call: `^ginkgo`, Exit: 1, Stdout: "stalled: no output and no input taken for 10m0s\n"}}}, "specs", failure.Unknown, infra, 0, nil},
		{"", "unknown", scenario{steps: says(runCall, 3, "the frobnicator refused")}, "cluster", failure.Unknown, infra, 0, nil},
		{"F04", "again and again", scenario{steps: []replay.Step{{Call: importCall, Times: -1, Exit: 255}}}, "load", failure.Transient, infra, 2, loading},
	}
}

// elsewhere are the rows that no run can be made to meet here, with the reason.
func elsewhere() map[string]string {
	return map[string]string{
		"F19": "the harness starts no machine of Podman's; it names the command",
		"F39": "it is waited for 15 seconds; package rollout replays it on a real API server",
		"F42": "replayed with the product's own manifests in TestReplayCoverage",
		"S22": "the static checks end it before: TestReplayHistory; in the cluster it is an F40 with the log",
		"S23": "package rollout knows the answers of services and looks up no text: TestReplayHistory",
		"S25": "in the cluster it is an F40 with the log",
		"S26": "the static checks end it before; in the cluster it is an F40 with the log",
	}
}

// occupied has another program listen on a port that is to be published.
func occupied(t *testing.T, m *machine) {
	t.Helper()
	m.port = int32(m.api.Port()) // the API server is another program
}

// locked leaves a lock of the kubeconfig from an earlier run.
func locked(t *testing.T, m *machine) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(m.state), "home", ".kube")
	file := filepath.Join(dir, "replayed-config.lock")
	old := time.Now().Add(-time.Hour)
	for _, err := range []error{os.MkdirAll(dir, 0o700), os.WriteFile(file, nil, 0o600), os.Chtimes(file, old, old)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}
