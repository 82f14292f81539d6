package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/internal/diagnose/scenario"
	"kubernaut.ai/kubernaut/internal/observe"
)

// folderOf is a collection of a scenario in a directory.
func folderOf(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	collected(t, workflows(t), scenarioReading(t, scenarioNamed(t, name), scenario.Variant{}), path)
	return path
}

// edit replaces a text in a file of a collection, and makes the manifest fit when fix is set.
func edit(t *testing.T, dir, file, from, to string, fix bool) {
	t.Helper()
	path := filepath.Join(dir, file)
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(body, []byte(from)) {
		t.Fatalf("%s has no %q", path, from)
	}
	body = bytes.ReplaceAll(body, []byte(from), []byte(to))
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	if !fix {
		return
	}
	raw, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	m.Verdict = observe.Digest(body)
	if raw, err = encodeJSON(m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, manifestFile), raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReplayFindsWhatDiffers(t *testing.T) {
	t.Run("another verdict", func(t *testing.T) {
		dir := folderOf(t, "oom-limit")
		edit(t, dir, verdictFile, `"class": "oom-limit"`, `"class": "bad-rollout"`, true)
		code, stdout, stderr := run(t, nil, "replay", dir)
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, "-     \"class\": \"bad-rollout\"") || !strings.Contains(stderr, "+     \"class\": \"oom-limit\"") {
			t.Errorf("got code %d, stdout %q, stderr:\n%s", code, stdout, stderr)
		}
	})
	t.Run("a damaged verdict", func(t *testing.T) {
		dir := folderOf(t, "oom-limit")
		edit(t, dir, verdictFile, "oom-limit", "oom-limits", false)
		if code, _, stderr := run(t, nil, "replay", dir); code != exitFailed || !strings.Contains(stderr, "verdict.json is damaged") {
			t.Errorf("got code %d, stderr:\n%s", code, stderr)
		}
	})
	t.Run("a damaged bundle", func(t *testing.T) {
		dir := folderOf(t, "oom-limit")
		body, err := os.ReadFile(filepath.Join(dir, bundleFile))
		if err != nil {
			t.Fatal(err)
		}
		body[len(body)/2]++
		if err := os.WriteFile(filepath.Join(dir, bundleFile), body, 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := run(t, nil, "replay", dir); code != exitFailed || !strings.Contains(stderr, "bundle.json.gz is damaged") {
			t.Errorf("got code %d, stderr:\n%s", code, stderr)
		}
	})
	t.Run("the others are replayed all the same", func(t *testing.T) {
		code, stdout, stderr := run(t, nil, "replay", filepath.Join(t.TempDir(), "nowhere"), folderOf(t, "oom-limit"))
		if code != exitFailed || !strings.Contains(stdout, "the same verdict") || !strings.Contains(stderr, "nowhere") {
			t.Errorf("got code %d, stdout %q, stderr %q", code, stdout, stderr)
		}
	})
	t.Run("text is no bundle", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "ticket.txt")
		if err := os.WriteFile(path, []byte(ticket), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := run(t, nil, "replay", path); code != exitFailed || !strings.Contains(stderr, "kubernaut collect --bundle makes one") {
			t.Errorf("got code %d, stderr %q", code, stderr)
		}
	})
}

// A bundle alone is what Data Storage keeps.
func TestReplayOfBundleAlone(t *testing.T) {
	r := scenarioReading(t, scenarioNamed(t, "oom-limit"), scenario.Variant{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/api/v1/bundles/"+r.digest {
			http.NotFound(w, req)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(r.body)
	}))
	defer server.Close()
	d, err := diagnosed(t.Context(), workflows(t), r)
	if err != nil {
		t.Fatal(err)
	}
	verdict, err := encodeJSON(d)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "verdict.json")
	if err := os.WriteFile(file, verdict, 0o600); err != nil {
		t.Fatal(err)
	}
	asked := []string{"replay", "--from", server.URL, r.digest, "--about", "deploy/web", "-n", "shop", "--signal", r.incident.SignalType, "--environment", r.incident.Environment}
	for _, row := range []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"evidence only", nil, exitOK, "evidence holds (11 pieces), oom-limit at Deployment shop/web, verdict " + observe.Digest(verdict), ""},
		{"against a digest", []string{"--expect", observe.Digest(verdict)}, exitOK, "the same verdict, evidence holds", ""},
		{"against another digest", []string{"--expect", observe.Digest([]byte("x"))}, exitFailed, "", "the verdict differs: its digest is " + observe.Digest(verdict)},
		{"against a file", []string{"--verdict", file}, exitOK, "the same verdict, evidence holds", ""},
		{"against both", []string{"--verdict", file, "--expect", "x"}, exitFailed, "", "none of the others can be"},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, stdout, stderr := run(t, nil, append(append([]string{}, asked...), row.args...)...)
			if code != row.code || !strings.Contains(stdout, row.stdout) || !strings.Contains(stderr, row.stderr) {
				t.Errorf("got code %d, stdout %q, stderr %q; want %d, %q, %q", code, stdout, stderr, row.code, row.stdout, row.stderr)
			}
		})
	}
	t.Run("one that is not kept", func(t *testing.T) {
		if code, _, stderr := run(t, nil, "replay", "--from", server.URL, observe.Digest([]byte("x"))); code != exitFailed || stderr == "" {
			t.Errorf("got code %d, stderr %q", code, stderr)
		}
	})
}

func TestLineDiff(t *testing.T) {
	for _, row := range []struct{ name, a, b, want string }{
		{"nothing", "a\nb\n", "a\nb\n", "  a\n  b"},
		{"one line", "1\n2\n3\nx\n4\n5\n6\n", "1\n2\n3\ny\n4\n5\n6\n", "  2\n  3\n- x\n+ y\n  4\n  5"},
		{"added", "a\nb\n", "a\nx\nb\n", "  a\n+ x\n  b"},
		{"removed at the end", "a\nb\n", "a\n", "  a\n- b"},
		{"two places", "a\nb\nc\nd\n", "x\nb\nc\ny\n", "- a\n+ x\n  b\n  c\n- d\n+ y"},
		{"escape sequences", "a\x1b[2J\n", "b\n", "- a[2J\n+ b"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := lineDiff(row.a, row.b); got != row.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, row.want)
			}
		})
	}
}
