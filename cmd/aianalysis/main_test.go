package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"kubernaut.ai/kubernaut/api/v1alpha1"
	"kubernaut.ai/kubernaut/internal/controlplane/controlplanetest"
)

// childArgs, in the environment, makes this test binary the command itself.
const childArgs = "KUBERNAUT_TEST_ARGS"

func TestMain(m *testing.M) {
	if args := os.Getenv(childArgs); args != "" {
		os.Args = append(os.Args[:1], strings.Split(args, " ")...)
		main()
	}
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("holmesgpt:\n  timeout: 5s\n  retrys: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		"help":          {[]string{"-h"}, 0, "", "-print-config"},
		"unknown flag":  {[]string{"-frobnicate"}, 2, "", "frobnicate"},
		"print-config":  {[]string{"-print-config", "-holmesgpt-api-url=http://elsewhere"}, 0, "url: http://elsewhere", ""},
		"unknown key":   {[]string{"-config", file}, 1, "", file + ":3: holmesgpt.retrys: unknown key"},
		"no such file":  {[]string{"-config", "nowhere.yaml"}, 1, "", "nowhere.yaml"},
		"no cluster":    {[]string{"-kubeconfig", "nowhere"}, 1, "", "find the cluster"},
		"wrong address": {[]string{"-metrics-bind-address", "x"}, 1, "", "flag -metrics-bind-address: controller.metrics_addr"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), tt.args, &stdout, &stderr)
			if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("run(%q) = %d, want %d; stdout %q, stderr %q", tt.args, code, tt.code, stdout.String(), stderr.String())
			}
		})
	}
}

// On SIGTERM, with an investigation on its way and with Data Storage away, the process ends by itself
// and in time, and leaves both for the next one.
func TestSIGTERM(t *testing.T) {
	const shutdown = 3 * time.Second
	rest := controlplanetest.Config(t)
	controlplanetest.InstallCRDs(t, rest, "../../deploy/crd/kubernaut.ai_aianalyses.yaml")
	namespace := controlplanetest.Namespace(t, rest)
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(rest, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 16)
	hapi := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the caller is gone
		if r.Method == http.MethodPost {
			asked <- struct{}{}
		}
		<-r.Context().Done()
	}))
	defer hapi.Close()
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer away.Close()

	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	document := fmt.Sprintf(`
controller: {metrics_addr: "127.0.0.1:0", health_probe_addr: "127.0.0.1:0", namespaces: [%s], kubeconfig: %s}
holmesgpt: {url: "%s"}
datastorage: {url: "%s"}
rego: {policy_path: ../../deploy/policies/approval.rego}
audit: {dir: %s}
shutdown_timeout: %s
`, namespace, controlplanetest.Kubeconfig(t), hapi.URL, away.URL, filepath.Join(dir, "spool"), shutdown)
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &v1alpha1.AIAnalysis{Spec: v1alpha1.AIAnalysisSpec{
		RemediationID: namespace,
		AnalysisRequest: v1alpha1.AnalysisRequest{AnalysisTypes: []string{"investigation"}, SignalContext: v1alpha1.SignalContext{
			Severity: "critical", SignalType: "OOMKilled", Environment: "staging", BusinessPriority: "P1",
		}},
	}}
	a.Namespace, a.Name = namespace, "left"
	if err := c.Create(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env, child.Stderr = append(os.Environ(), childArgs+"=-config "+file), &stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	select {
	case <-asked:
	case err := <-ended:
		t.Fatalf("the controller ended: %v\n%s", err, stderr.String())
	case <-time.After(time.Minute):
		t.Fatalf("no investigation was asked for\n%s", stderr.String())
	}
	began := time.Now()
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if took := time.Since(began); err != nil || took > shutdown+5*time.Second {
			t.Errorf("ended after %v with %v, want within %v and without an error\n%s", took, err, shutdown, stderr.String())
		}
	case <-time.After(time.Minute):
		t.Fatalf("still there\n%s", stderr.String())
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
		t.Fatal(err)
	}
	if st := a.Status; st.Phase != v1alpha1.PhaseInvestigating || st.Attempt != 1 || st.ConsecutiveFailures != 0 || st.Reason != "" {
		t.Errorf("the end left status %+v", st)
	}
	if !strings.Contains(stderr.String(), "audit events stay in the spool") {
		t.Errorf("nothing says that the audit events are kept:\n%s", stderr.String())
	}
	release(t, c, a)
}

// release deletes a resource whose controller is gone.
func release(t *testing.T, c client.Client, a *v1alpha1.AIAnalysis) {
	t.Helper()
	a.Finalizers = nil
	if err := c.Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		return client.IgnoreNotFound(c.Delete(ctx, a)) == nil, nil
	})
	if err != nil {
		t.Error(err)
	}
}
