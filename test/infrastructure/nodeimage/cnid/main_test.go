package main

import (
	"context"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestConflist(t *testing.T) {
	got, err := conflist(netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("10.244.3.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"subnet": "10.244.0.0/16"`, `"rangeStart": "10.244.3.2"`, `"rangeEnd": "10.244.3.254"`, `"gateway": "10.244.3.1"`, `"portMappings": true`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	for _, part := range []string{"10.244.3.0/30", "fd00::/64"} {
		if got, err := conflist(netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix(part)); err == nil {
			t.Errorf("%s: got %s, want an error", part, got)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"no address":      {"POD_SUBNET": "10.244.0.0/16"},
		"no subnet":       {"HOST_IP": "10.89.77.2"},
		"two subnets":     {"HOST_IP": "10.89.77.2", "POD_SUBNET": "10.244.0.0/16,fd00::/56"},
		"another version": {"HOST_IP": "10.89.77.2", "POD_SUBNET": "fd00::/56"},
	} {
		if err := run(t.Context(), func(k string) string { return env[k] }, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func at(address, pods string) node {
	n := node{}
	n.address, _ = netip.ParseAddr(address)
	n.pods, _ = netip.ParsePrefix(pods)
	return n
}

func TestSync(t *testing.T) {
	var (
		nodes   []node
		routes  []string
		written []string
		failing error
	)
	d := daemon{
		self: netip.MustParseAddr("10.89.77.2"), pods: netip.MustParsePrefix("10.244.0.0/16"), log: slog.New(slog.DiscardHandler),
		nodes: func(context.Context) ([]node, error) { return nodes, nil },
		route: func(pods netip.Prefix, via netip.Addr) error {
			routes = append(routes, pods.String()+" by "+via.String())
			return nil
		},
		write: func(name string, content []byte) error {
			if failing != nil {
				return failing
			}
			written = append(written, name)
			if !strings.Contains(string(content), `"10.244.1.1"`) {
				t.Errorf("got %s", content)
			}
			return nil
		},
	}
	step := func(wantErr bool, wantRoutes, wantWritten int) {
		t.Helper()
		if err := d.sync(t.Context()); (err != nil) != wantErr {
			t.Errorf("got %v", err)
		}
		if len(routes) != wantRoutes || len(written) != wantWritten {
			t.Errorf("routes %q, written %q, want %d and %d", routes, written, wantRoutes, wantWritten)
		}
	}
	nodes = []node{at("10.89.77.2", ""), at("", "10.244.2.0/24")} // neither knows enough yet
	step(false, 0, 0)
	nodes = []node{at("10.89.77.2", "10.244.1.0/24"), at("10.89.77.3", "10.244.2.0/24")}
	failing = errors.New("disk full")
	step(true, 1, 0) // the route is made all the same
	failing = nil
	step(false, 2, 1)
	step(false, 3, 1) // the configuration is written once
	if want := "10.244.2.0/24 by 10.89.77.3"; !slices.Contains(routes, want) {
		t.Errorf("routes %q, want %q", routes, want)
	}
}

func TestList(t *testing.T) {
	status, body := http.StatusOK, `{"items": [
		{"spec": {"podCIDR": "10.244.0.0/24"}, "status": {"addresses": [{"type": "InternalIP", "address": "fd00::2"}, {"type": "InternalIP", "address": "10.89.77.2"}, {"type": "Hostname", "address": "a"}]}},
		{"spec": {}, "status": {}}]}`
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer secret" {
			t.Errorf("authorization %q", got)
		}
		w.WriteHeader(status)
		if _, err := w.Write([]byte(body)); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	dir := t.TempDir() + "/"
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, content := range map[string]string{"token": "secret\n", "ca.crt": string(ca)} {
		if err := os.WriteFile(dir+name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := list(t.Context(), server.URL, dir)
	if want := []node{at("10.89.77.2", "10.244.0.0/24"), {}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := list(t.Context(), server.URL, t.TempDir()+"/"); err == nil {
		t.Error("no error without credentials")
	}
	status, body = http.StatusForbidden, ""
	if _, err := list(t.Context(), server.URL, dir); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("got %v, want an error with the status", err)
	}
}

func TestWriteFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "10-x.conflist")
	for _, content := range []string{"a", "b"} {
		if err := writeFile(name, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != content {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

// TestReplaceRoute makes routes in a network of its own.
func TestReplaceRoute(t *testing.T) {
	const variable = "CNID_TEST_ROUTES"
	if os.Getenv(variable) != "" {
		for _, via := range []string{"10.89.77.3", "10.89.77.4"} { // the second in place of the first
			if err := replaceRoute(netip.MustParsePrefix("10.244.1.0/24"), netip.MustParseAddr(via)); err != nil {
				t.Fatal(err)
			}
		}
		if err := replaceRoute(netip.MustParsePrefix("10.244.1.0/24"), netip.MustParseAddr("192.0.2.1")); err == nil {
			t.Error("no error for a gateway that cannot be reached")
		}
		return
	}
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("needs root on Linux")
	}
	for _, program := range []string{"unshare", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	const script = `ip link set lo up && ip address add 10.89.77.2/24 dev lo && "$0" -test.run='^TestReplaceRoute$' >&2 && ip route show 10.244.1.0/24`
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-c", script, os.Args[0])
	cmd.Env = append(os.Environ(), variable+"=1")
	out, err := cmd.Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		t.Fatalf("%v: %s", err, exit.Stderr)
	}
	if want := "10.244.1.0/24 via 10.89.77.4 dev lo proto static"; err != nil || !strings.Contains(string(out), want) || strings.Count(string(out), "via") != 1 {
		t.Errorf("got %q, %v, want %q alone", out, err, want)
	}
}
