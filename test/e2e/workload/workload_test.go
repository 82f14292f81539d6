package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/test/e2e/faultproxy"
)

func TestExitCodes(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
		code int
		said string
	}{
		{"nothing", nil, 2, "COMMAND"},
		{"unknown command", []string{"dance"}, 2, "COMMAND"},
		{"unknown flag", []string{"crash", "-loud"}, 2, "loud"},
		{"crash", []string{"crash", "-code", "3", "-message", "no ledger"}, 3, "no ledger"},
		{"crash later", []string{"crash", "-after", "1ms"}, 1, "fatal"},
		{"proxy to nowhere", []string{"proxy"}, 2, "-route"},
		{"proxy to nonsense", []string{"proxy", "-route", "hapi=:0=nonsense"}, 2, "URL"},
		{"signal to nobody", []string{"signal", "-pod", "no-such-pod", "-comm", "nothing"}, 1, "no process"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var stderr strings.Builder
			code := run(t.Context(), row.args, io.Discard, &stderr)
			if code != row.code || !strings.Contains(stderr.String(), row.said) {
				t.Errorf("got %d, %q; want %d, with %q", code, stderr.String(), row.code, row.said)
			}
		})
	}
}

// start runs a command until the end of the test and returns the addresses that it listens on.
func start(t *testing.T, endpoints int, args ...string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, args, w, io.Discard)
		_ = w.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("%v: exit code %d, want 0", args, code)
		}
	})
	addresses := map[string]string{}
	lines := bufio.NewScanner(r)
	for len(addresses) < endpoints && lines.Scan() {
		if name, address, ok := strings.Cut(lines.Text(), " listens on "); ok {
			addresses[name] = address
		}
	}
	if len(addresses) < endpoints {
		t.Fatalf("%v: listens on %v only", args, addresses)
	}
	return addresses
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestServe(t *testing.T) {
	healthy := start(t, 1, "serve", "-listen", "127.0.0.1:0")["workload"]
	unhealthy := start(t, 1, "serve", "-listen", "127.0.0.1:0", "-unhealthy")["workload"]
	for url, want := range map[string]int{
		"http://" + healthy + "/": 200, "http://" + healthy + "/healthz": 200,
		"http://" + unhealthy + "/": 200, "http://" + unhealthy + "/healthz": 500,
	} {
		if got, body := get(t, url); got != want {
			t.Errorf("%s: got %d %q, want %d", url, got, body, want)
		}
	}
}

func TestRegistryHasNothing(t *testing.T) {
	base := "http://" + start(t, 1, "registry", "-listen", "127.0.0.1:0")["registry"]
	for path, want := range map[string]struct {
		status int
		code   string
	}{
		"/v2/":                           {200, "{}"},
		"/v2/shop/cart/manifests/9":      {404, "MANIFEST_UNKNOWN"},
		"/v2/private/cart/manifests/9.0": {403, "DENIED"},
	} {
		if got, body := get(t, base+path); got != want.status || !strings.Contains(body, want.code) {
			t.Errorf("%s: got %d %q, want %d with %s", path, got, body, want.status, want.code)
		}
	}
}

func TestProxy(t *testing.T) {
	service := start(t, 1, "serve", "-listen", "127.0.0.1:0")["workload"]
	at := start(t, 2, "proxy", "-control", "127.0.0.1:0", "-route", "hapi=127.0.0.1:0=http://"+service)
	if status, body := get(t, "http://"+at["hapi"]+"/"); status != 200 || body != "hello\n" {
		t.Errorf("got %d %q through the proxy", status, body)
	}
	control := faultproxy.NewClient("http://"+at["control"], http.DefaultClient)
	if err := control.Put(t.Context(), faultproxy.Rule{ID: "r", Kind: faultproxy.Respond, Status: 503}); err != nil {
		t.Fatal(err)
	}
	if status, _ := get(t, "http://"+at["hapi"]+"/"); status != 503 {
		t.Errorf("got %d, want 503", status)
	}
}

func TestProcessesOfAPod(t *testing.T) {
	proc := t.TempDir()
	for pid, files := range map[string][2]string{
		"1":    {"aianalysis", "0::/../kubelet-kubepods-podaaaa_1111.slice/cri-1"},
		"22":   {"aianalysis", "4:memory:/kubepods/burstable/podaaaa-1111/1234"},
		"33":   {"aianalysis", "4:memory:/kubepods/burstable/podbbbb-2222/1234"},
		"44":   {"pause", "4:memory:/kubepods/burstable/podaaaa-1111/1234"},
		"self": {"aianalysis", "4:memory:/kubepods/podaaaa-1111"},
	} {
		dir := filepath.Join(proc, pid)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for i, name := range []string{"comm", "cgroup"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(files[i]+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := processes(proc, "aaaa-1111", "aianalysis")
	if want := []int{1, 22}; !slices.Equal(got, want) || err != nil {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}
