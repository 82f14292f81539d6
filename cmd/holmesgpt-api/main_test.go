package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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

func noEnv(string) string { return "" }

func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("llm:\n  provder: openai\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		"help":         {[]string{"-h"}, 0, "", "-print-config"},
		"unknown flag": {[]string{"-frobnicate"}, 2, "", "frobnicate"},
		"print-config": {[]string{"-print-config"}, 0, "max_concurrent: 10", ""},
		"unknown key":  {[]string{"-config", file}, 1, "", file + ":2: llm.provder: unknown key"},
		"no such file": {[]string{"--config=nowhere.yaml"}, 1, "", "nowhere.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), tt.args, noEnv, &stdout, &stderr)
			if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("run(%q) = %d, want %d; stdout %q, stderr %q", tt.args, code, tt.code, stdout.String(), stderr.String())
			}
		})
	}
}

// A killed process has kept the answers that it gave, and one that is asked to end does so by itself.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	_ = free.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	document := fmt.Sprintf(`
server: {host: 127.0.0.1, port: %s}
data_storage: {url: "http://127.0.0.1:1"}
state: {dir: %s}
audit: {dir: %s}
mock: true
shutdown_timeout: 5s
`, port, filepath.Join(dir, "state"), filepath.Join(dir, "audit"))
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	const request = `{"incident_id":"ai-1","remediation_id":"rr-1","signal_type":"OOMKilled","severity":"critical","signal_source":"kubernaut",
		"resource_namespace":"shop","resource_kind":"Pod","resource_name":"cart","error_message":"","environment":"staging","priority":"P1",
		"risk_tolerance":"medium","business_category":"standard","cluster_name":"default"}`
	url := "http://127.0.0.1:" + port
	var first string
	for round := range 3 {
		c := startChild(t, file, url)
		for range 2 {
			replayed, body := ask(t, url, "uid/1/1", request)
			if replayed != (first != "") {
				t.Errorf("round %d: replayed %v", round, replayed)
			}
			if first == "" {
				first = body
			}
			if body != first {
				t.Errorf("round %d: got %s, want the first answer %s", round, body, first)
			}
		}
		if round == 2 {
			c.stop(t, syscall.SIGTERM)
			if code := c.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("after SIGTERM: exit code %d\n%s", code, c.stderr.String())
			}
			continue
		}
		c.stop(t, syscall.SIGKILL)
	}
}

type child struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  chan struct{}
}

// startChild starts the service and waits until it is ready.
func startChild(t *testing.T, file, url string) *child {
	t.Helper()
	c := &child{cmd: exec.CommandContext(t.Context(), os.Args[0]), ended: make(chan struct{})}
	c.cmd.Env, c.cmd.Stderr = append(os.Environ(), childArgs+"=-config "+file), &c.stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = c.cmd.Wait(); close(c.ended) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/ready", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			return c
		}
		select {
		case <-tick.C:
		case <-c.ended:
			t.Fatalf("the service ended: %s", c.stderr.String())
		case <-ctx.Done():
			t.Fatalf("the service does not answer")
		}
	}
}

// stop signals the process and waits for its end.
func (c *child) stop(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("still there after %v", signal)
	}
	http.DefaultClient.CloseIdleConnections()
}

func ask(t *testing.T, url, key, body string) (replayed bool, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/api/v1/incident/analyze", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v: %s", resp.StatusCode, err, text)
	}
	return resp.Header.Get("Idempotency-Replayed") == "true", string(text)
}
