package cli

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ticket is a text with a secret in it.
const ticket = `$ kubectl -n payments describe pod checkout-1
Name:             checkout-1
Namespace:        payments
Node:             worker-2/172.18.0.3
Start Time:       Mon, 02 Mar 2026 09:12:44 +0000
Status:           Running
Containers:
  server:
    Image:          registry.example.com/payments/checkout:3.4.0
    State:          Waiting
      Reason:       CrashLoopBackOff
    Last State:     Terminated
      Reason:       OOMKilled
      Exit Code:    137
    Ready:          False
    Restart Count:  7
    Limits:
      memory:  96Mi
    Environment:
      DB_PASSWORD:  correct-horse-battery
Conditions:
  Type              Status
  Ready             False

%%% whatever this may be
`

func TestCollect(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "ticket.txt")
	if err := os.WriteFile(source, []byte(ticket), 0o600); err != nil {
		t.Fatal(err)
	}
	archive, folder := filepath.Join(dir, "one.tgz"), filepath.Join(dir, "one")
	for _, out := range []string{archive, folder} {
		code, stdout, stderr := run(t, nil, "collect", "--bundle", source, "-o", out)
		if code != exitOK || stderr != "" || !strings.Contains(stdout, "sha256:") || !strings.Contains(stdout, "1 value replaced; 1 place") {
			t.Fatalf("collect -o %s: got code %d, stdout:\n%s\nstderr: %s", out, code, stdout, stderr)
		}
	}
	if names, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(names) > 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	first, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}

	t.Run("holds no secret", func(t *testing.T) {
		for _, name := range []string{manifestFile, verdictFile, bundleFile} {
			body, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(body, []byte("correct-horse")) || bytes.Contains(gunzipped(body), []byte("correct-horse")) {
				t.Errorf("%s holds the secret", name)
			}
		}
		var m manifest
		body, err := os.ReadFile(filepath.Join(folder, manifestFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatal(err)
		}
		if len(m.Redactions) != 1 || m.Redactions[0].Name != "checkout-1" || m.Redactions[0].Path != "/spec/containers/0/env/0/value" {
			t.Errorf("redactions = %+v, want the one value", m.Redactions)
		}
	})
	t.Run("overwrites nothing", func(t *testing.T) {
		for _, out := range []string{archive, folder} {
			code, _, stderr := run(t, nil, "collect", "--bundle", source, "-o", out)
			if code != exitFailed || !strings.Contains(stderr, "--force") {
				t.Errorf("%s: got code %d, stderr %q", out, code, stderr)
			}
		}
	})
	t.Run("unless it is told to", func(t *testing.T) {
		for _, out := range []string{archive, folder} {
			if code, _, stderr := run(t, nil, "collect", "--bundle", source, "-o", out, "--force"); code != exitOK {
				t.Errorf("%s: got code %d, stderr %q", out, code, stderr)
			}
		}
		again, err := os.ReadFile(archive)
		if err != nil || !bytes.Equal(first, again) {
			t.Errorf("the same recording gave other bytes: %v", err)
		}
	})
	t.Run("never what is not its own", func(t *testing.T) {
		foreign := filepath.Join(dir, "foreign")
		if err := os.Mkdir(foreign, 0o700); err != nil {
			t.Fatal(err)
		}
		precious := filepath.Join(foreign, "precious.tgz")
		if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, out := range []string{foreign, precious} {
			code, _, stderr := run(t, nil, "collect", "--bundle", source, "-o", out, "--force")
			if code != exitFailed || !strings.Contains(stderr, "is not what collect wrote") {
				t.Errorf("%s: got code %d, stderr %q", out, code, stderr)
			}
		}
		if body, err := os.ReadFile(precious); err != nil || string(body) != "x" {
			t.Errorf("what was there is now %q, %v", body, err)
		}
	})
	t.Run("and is read again as what was asked", func(t *testing.T) {
		_, before, _ := run(t, nil, "analyze", "--bundle", archive, "-o", "json")
		_, after, _ := run(t, nil, "analyze", "--bundle", folder, "-o", "json")
		verdict, err := os.ReadFile(filepath.Join(folder, verdictFile))
		if err != nil || before != after || string(verdict) != after {
			t.Errorf("analyze of the archive, of the folder, and the verdict that was kept differ (%v)", err)
		}
	})
}

// gunzipped unpacks what is packed; nil for anything else.
func gunzipped(body []byte) []byte {
	zr, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil
	}
	raw, err := io.ReadAll(zr)
	if err != nil {
		return nil
	}
	return raw
}
