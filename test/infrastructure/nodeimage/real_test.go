package nodeimage

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	kindcluster "sigs.k8s.io/kind/pkg/cluster"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
)

// envReal lets the tests run that build images and create clusters on the engine of this machine. They take minutes the first
// time, change what belongs to the whole machine (a network, a rule of iptables, kernel settings; all is put back) and need
// what a build needs:
//
//	E2E_NODE_IMAGE_TEST=1 go test -count=1 -timeout=90m -v -run=TestReal ./test/infrastructure/nodeimage
const envReal = "E2E_NODE_IMAGE_TEST"

// machine is the engine of this machine, and the options for it.
func machine(t *testing.T) (*engine.Engine, Options) {
	t.Helper()
	if os.Getenv(envReal) == "" {
		t.Skipf("builds images and creates clusters: set %s=1", envReal)
	}
	state, err := engine.StateDir(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	runner := command.Runner{Log: t.Output()}
	e, err := engine.Detect(t.Context(), runner, engine.Host{Getenv: os.Getenv, StateDir: state})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Export(func(name, value string) error { t.Setenv(name, value); return nil }); err != nil {
		t.Fatal(err)
	}
	return e, Options{
		Runtime: string(e.Kind()), Command: runner, NoPull: true, Env: func(string) string { return "" },
		Progress: NewDisplay(t.Output(), false, time.Now).Show,
	}
}

// cluster is a Kind cluster that the test has created.
type realCluster struct {
	t    *testing.T
	e    *engine.Engine
	name string
	port int // on this machine, of the node port 30080
}

// TestRealCluster creates clusters of the node image and uses what a cluster is for.
func TestRealCluster(t *testing.T) {
	e, o := machine(t)
	img, err := Ensure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s, %s", img.Ref, img.Origin, img.Why)
	helper, err := kind(t).storage()
	if err != nil {
		t.Fatal(err)
	}
	workload, err := os.ReadFile(filepath.Join("testdata", "workload.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, workers := range []int{0, 2} {
		t.Run(fmt.Sprintf("%d nodes", 1+workers), func(t *testing.T) {
			c := create(t, e, img.Ref, workers)
			c.kubectl(strings.ReplaceAll(string(workload), "HELPER", helper.helper), "apply", "-f", "-")
			begin := time.Now()
			c.kubectl("", "rollout", "status", "daemonset/web", "--timeout=120s")
			c.kubectl("", "wait", "--for=condition=Ready", "pod/client", "--timeout=120s")
			c.kubectl("", "wait", "--for=condition=complete", "job/done", "--timeout=60s")
			c.kubectl("", "wait", "--for=jsonpath={.status.phase}=Failed", "pod/greedy", "--timeout=60s")
			c.kubectl("", "wait", "--for=condition=Ready", "pods", "--all", "--namespace=kube-system", "--timeout=120s")
			t.Logf("workload and system pods are ready after %s", time.Since(begin).Round(100*time.Millisecond))
			c.check(1 + workers)
		})
	}
}

func create(t *testing.T, e *engine.Engine, image string, workers int) *realCluster {
	t.Helper()
	c := &realCluster{t: t, e: e, name: "try-nodeimage", port: freePort(t)}
	sysctls := filepath.Join(t.TempDir(), "sysctls.json")
	before := readSettings(t)
	if err := SaveSysctls(sysctls); err != nil {
		t.Fatal(err)
	}
	if _, err := e.EnsureNetwork(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := e.CloseEgress(t.Context()); err != nil {
		t.Fatal(err)
	}
	provider := kindcluster.NewProvider(kindcluster.ProviderWithPodman())
	if e.Kind() == engine.Docker {
		provider = kindcluster.NewProvider(kindcluster.ProviderWithDocker())
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	t.Cleanup(func() {
		begin := time.Now()
		if err := provider.Delete(c.name, kubeconfig); err != nil {
			t.Error(err)
		}
		t.Logf("deleted in %s", time.Since(begin).Round(100*time.Millisecond))
		if left, err := e.Containers(context.Background(), engine.KindLabel); err == nil && len(left) > 0 {
			t.Logf("kernel settings stay as they are: %d nodes of others are there", len(left))
			return
		}
		if err := RestoreSysctls(sysctls); err != nil {
			t.Error(err)
		}
		if after := readSettings(t); after != before {
			t.Errorf("kernel settings are %s, were %s", after, before)
		}
	})
	config := &v1alpha4.Cluster{Networking: v1alpha4.Networking{APIServerAddress: "127.0.0.1"}, Nodes: []v1alpha4.Node{{
		Role:              v1alpha4.ControlPlaneRole,
		ExtraPortMappings: []v1alpha4.PortMapping{{ContainerPort: 30080, HostPort: int32(c.port), ListenAddress: "127.0.0.1"}},
	}}}
	for range workers {
		config.Nodes = append(config.Nodes, v1alpha4.Node{Role: v1alpha4.WorkerRole})
	}
	begin := time.Now()
	if err := provider.Create(c.name, kindcluster.CreateWithV1Alpha4Config(config), kindcluster.CreateWithNodeImage(image),
		kindcluster.CreateWithKubeconfigPath(kubeconfig), kindcluster.CreateWithWaitForReady(3*time.Minute), kindcluster.CreateWithRetain(true)); err != nil {
		t.Fatal(err)
	}
	t.Logf("created %d nodes in %s", 1+workers, time.Since(begin).Round(100*time.Millisecond))
	return c
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func readSettings(t *testing.T) string {
	t.Helper()
	var all []string
	for _, name := range kubeletSettings() {
		content, err := os.ReadFile(filepath.Join(procSys, name))
		if err != nil {
			continue // not on this system
		}
		all = append(all, name+"="+strings.TrimSpace(string(content)))
	}
	return strings.Join(all, " ")
}

// kubectl runs kubectl on the control plane, which has it.
func (c *realCluster) kubectl(stdin string, args ...string) string {
	c.t.Helper()
	line := []string{"exec", "--interactive", c.name + "-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"}
	cmd := c.e.Command(append(line, args...)...)
	cmd.Stdin, cmd.Deadline = strings.NewReader(stdin), 3*time.Minute
	out, err := c.e.Run(c.t.Context(), cmd)
	if err != nil {
		c.t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// check uses the workload.
func (c *realCluster) check(nodes int) {
	c.t.Helper()
	const hello = "hello from " // and the node's name
	expect := func(what, got, want string) {
		c.t.Helper()
		if !strings.Contains(got, want) {
			c.t.Errorf("%s: got %q, want %q in it", what, got, want)
		}
	}
	wget := func(url string) string {
		return c.kubectl("", "exec", "client", "--", "timeout", "10", "wget", "-q", "-O-", url)
	}
	expect("a Service by its name", wget("http://web.default.svc.cluster.local/"), hello+c.name)

	ips := strings.Fields(c.kubectl("", "get", "pods", "--selector=app=web", "--output=jsonpath={.items[*].status.podIP}"))
	answers := make(map[string]bool)
	for _, ip := range ips {
		answers[wget("http://"+net.JoinHostPort(ip, "8080")+"/")] = true
	}
	if len(answers) != nodes {
		c.t.Errorf("from one pod to those of all %d nodes: %v answer %v", nodes, ips, answers)
	}
	expect("a node port from this machine", c.get(), hello+c.name)
	expect("logs", c.kubectl("", "logs", "job/done"), "all is done")
	expect("a command in a container", c.kubectl("", "exec", "client", "--", "cat", "/data/file"), "kept")
	expect("a volume", c.kubectl("", "get", "persistentvolumeclaim/data", "--output=jsonpath={.status.phase}"), "Bound")
	expect("a memory limit", c.kubectl("", "get", "pod/greedy", "--output=jsonpath={.status.containerStatuses[0].state.terminated.reason}"), "OOMKilled")
	expect("a user who is not root", c.kubectl("", "exec", "daemonset/web", "--", "id"), "uid=1000")
	if restarts := c.kubectl("", "get", "pods", "--namespace=kube-system", "--output=jsonpath={.items[*].status.containerStatuses[*].restartCount}"); strings.Trim(restarts, "0 ") != "" {
		c.t.Errorf("system pods were restarted: %s", restarts)
	}
}

func (c *realCluster) get() string {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", c.port), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		c.t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Error(err)
	}
	return string(body)
}

// TestRealPostgres runs the PostgreSQL image as the manifests do: as user 999, without capabilities, on a root file system that cannot
// be written to.
func TestRealPostgres(t *testing.T) {
	e, o := machine(t)
	img, err := EnsurePostgres(t.Context(), "", o)
	if err != nil {
		t.Fatal(err)
	}
	const name, volume = "try-nodeimage-postgres", "try-nodeimage-postgres"
	run := func(args ...string) (string, error) {
		cmd := e.Command(args...)
		cmd.Deadline = time.Minute
		out, err := e.Run(context.WithoutCancel(t.Context()), cmd)
		return strings.TrimSpace(string(out)), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := run(args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	label := engine.Label + "=" + name
	must("volume", "create", "--label", label, volume)
	t.Cleanup(func() { _, _ = run("rm", "--force", name); must("volume", "rm", volume) })
	must("run", "--detach", "--name", name, "--label", label, "--network=none", "--read-only", "--cap-drop=all", "--user=999:999", "--security-opt=no-new-privileges",
		"--tmpfs=/tmp", "--tmpfs=/var/run/postgresql", "--volume="+volume+":/var/lib/postgresql/data", "--env=POSTGRES_DB=kubernaut", "--env=POSTGRES_USER=kubernaut",
		"--env=POSTGRES_PASSWORD=it's secret", "--env=PGDATA=/var/lib/postgresql/data/pgdata", img.Ref)
	ready := func() {
		t.Helper()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for range 600 {
			if _, err := run("exec", name, "pg_isready", "-q", "-h", "127.0.0.1", "-U", "kubernaut", "-d", "kubernaut"); err == nil {
				return
			}
			<-tick.C
		}
		t.Fatalf("it is not ready after a minute: %s", must("logs", name))
	}
	sql := func(password, statement string) (string, error) {
		return run("exec", "--env=PGPASSWORD="+password, name, "psql", "-h", "127.0.0.1", "-U", "kubernaut", "-d", "kubernaut", "-qAt", "-c", statement)
	}
	ready()
	for statement, want := range map[string]string{
		"SHOW server_encoding": "UTF8",
		"CREATE EXTENSION pgcrypto; SELECT encode(digest('a', 'sha256'), 'hex')": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
		"SELECT timestamptz '2026-07-01 12:00Z' AT TIME ZONE 'Europe/Berlin'":    "2026-07-01 14:00:00",
		"CREATE TABLE kept AS SELECT 'here'::text AS x; SELECT x FROM kept":      "here",
	} {
		if got, err := sql("it's secret", statement); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", statement, got, err, want)
		}
	}
	if got, err := sql("wrong", "SELECT 1"); err == nil {
		t.Errorf("a wrong password is let in: %s", got)
	}
	must("stop", "--time=20", name)
	if log := must("inspect", "--format={{.State.ExitCode}}", name); log != "0" {
		t.Errorf("it ended with %s: a stop is no orderly shutdown", log)
	}
	must("start", name)
	ready()
	if got, err := sql("it's secret", "SELECT x FROM kept"); err != nil || got != "here" {
		t.Errorf("after a restart: got %q, %v", got, err)
	}
}
