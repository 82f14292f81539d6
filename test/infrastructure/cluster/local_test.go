package cluster

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernaut.ai/kubernaut/test/infrastructure/image"
)

func TestWriteKubeconfig(t *testing.T) {
	for _, row := range []struct {
		name  string
		age   time.Duration
		stays bool
	}{
		{"a lock that was left", time.Minute, false},
		{"a lock that is held", 0, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), ".kube", "x-config")
			if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path+".lock", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			at := time.Now().Add(-row.age)
			if err := os.Chtimes(path+".lock", at, at); err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{"first", "second"} {
				if err := writeKubeconfig(path, []byte(text), io.Discard); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(path)
				if err != nil || string(got) != text {
					t.Errorf("got %q, %v, want %q", got, err, text)
				}
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("got %v, %v, want mode 0600", info.Mode(), err)
			}
			if _, err := os.Stat(path + ".lock"); (err == nil) != row.stays {
				t.Errorf("lock: got %v, want that it stays: %v", err, row.stays)
			}
			entries, _ := os.ReadDir(filepath.Dir(path))
			if len(entries) > 2 {
				t.Errorf("got %v left", entries)
			}
		})
	}
}

func TestUnready(t *testing.T) {
	node := func(conditions ...corev1.NodeCondition) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Status: corev1.NodeStatus{Conditions: conditions}}
	}
	for _, row := range []struct {
		name string
		node *corev1.Node
		want string // empty: ready
	}{
		{"ready", node(corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue}), ""},
		{"not ready", node(corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionFalse, Reason: "KubeletNotReady", Message: "no network"}), "node a is not ready: KubeletNotReady: no network"},
		{"unknown", node(corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionUnknown, Reason: "NodeStatusUnknown"}), "NodeStatusUnknown"},
		{"silent", node(corev1.NodeCondition{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue}), "kubelet has not said anything"},
		{"missing", nil, "not registered"},
	} {
		t.Run(row.name, func(t *testing.T) {
			seen := make(map[string]*corev1.Node)
			if row.node != nil {
				seen["a"] = row.node
			}
			got := unready(seen, []string{"a"})
			if row.want == "" && len(got) > 0 || row.want != "" && (len(got) != 1 || !strings.Contains(got[0], row.want)) {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestParseChecked(t *testing.T) {
	const digest = "sha256:9d720ad3183ee655442f684b156ce035440784eb8663d21b41604d10516fadf1"
	out := `REF TYPE DIGEST STATUS SIZE UNPACKED
localhost/kubernaut-aianalysis:a   application/vnd.docker.distribution.manifest.v2+json ` + digest + ` complete (2/2) 46.7 MiB/46.7 MiB   true
localhost/kubernaut-datastorage:b  application/vnd.docker.distribution.manifest.v2+json ` + digest + ` incomplete (1/2) 20.6 MiB/46.7 MiB   false
localhost/kubernaut-e2e-workload:c application/vnd.docker.distribution.manifest.v2+json ` + digest + ` complete (2/2) 6.4 MiB/6.4 MiB     false
localhost/kubernaut-x:d            application/vnd.docker.distribution.manifest.v2+json ` + digest + ` unavailable (0/?) 0.0 B/?     false
postgres:16                        application/vnd.oci.image.index.v1+json              ` + digest + ` complete (9/9) 100.0 MiB/100.0 MiB true
---
{"config":{"digest":"sha256:1"}}{"config":{"digest":"sha256:2"}}
{"config":{"digest":"sha256:3"}}{}
{"manifests":[{"digest":"sha256:5","platform":{"architecture":"amd64","os":"linux"}}]}`
	got, err := parseChecked(out)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name   string
		whole  bool
		config string
	}{
		{"localhost/kubernaut-aianalysis:a", true, "sha256:1"},
		{"localhost/kubernaut-datastorage:b", false, "sha256:2"},
		{"localhost/kubernaut-e2e-workload:c", false, "sha256:3"},
		{"localhost/kubernaut-x:d", false, ""},
		{"docker.io/library/postgres:16", true, ""},
	}
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i, w := range want {
		if got[i].name != w.name || got[i].whole != w.whole || got[i].document.Config.Digest != w.config {
			t.Errorf("got %+v, want %+v", got[i], w)
		}
	}
	if below := got[4].document.forArch("amd64"); below != "sha256:5" {
		t.Errorf("index: got %q", below)
	}
	for name, broken := range map[string]string{"cut off": out[:100], "a document is missing": out[:strings.LastIndex(out, "{\"manifests")]} {
		if got, err := parseChecked(broken); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
}

func TestForArch(t *testing.T) {
	of := func(digest, arch string) descriptor {
		d := descriptor{Digest: digest}
		d.Platform.Architecture = arch
		return d
	}
	for _, row := range []struct {
		name      string
		manifests []descriptor
		want      string
	}{
		{"ours", []descriptor{of("1", "arm64"), of("2", "amd64"), of("3", "unknown")}, "2"},
		{"no platform", []descriptor{of("1", "")}, "1"},
		{"another", []descriptor{of("1", "arm64"), of("3", "unknown")}, ""},
		{"none", nil, ""},
	} {
		if got := (document{Manifests: row.manifests}).forArch("amd64"); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

// archive writes a tar file of entries, in their order.
func archive(t *testing.T, entries ...[2]string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&tar.Header{Name: e[0], Mode: 0o644, Size: int64(len(e[1])), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestReadArchive(t *testing.T) {
	const config = `{"architecture":"amd64"}`
	sum := sha256.Sum256([]byte(config))
	id := hex.EncodeToString(sum[:])
	for _, row := range []struct {
		name    string
		entries [][2]string
		want    string // in the error; empty: none
	}{
		{"podman's", [][2]string{{"layer.tar", "x"}, {id + ".json", config}, {"manifest.json", `[{"Config":"` + id + `.json","RepoTags":["localhost/x:1"]}]`}}, ""},
		{"docker's", [][2]string{{"manifest.json", `[{"Config":"blobs/sha256/` + id + `","RepoTags":["localhost/x:1"]}]`}, {"blobs/sha256/" + id, config}}, ""},
		{"two images", [][2]string{{id + ".json", config}, {"manifest.json", `[{"Config":"` + id + `.json"},{"Config":"` + id + `.json"}]`}}, "got 2"},
		{"no configuration", [][2]string{{"manifest.json", `[{"Config":"` + id + `.json"}]`}}, "with its configuration"},
		{"no manifest", [][2]string{{id + ".json", config}}, "manifest.json"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := readArchive(archive(t, row.entries...))
			if row.want != "" {
				if err == nil || !strings.Contains(err.Error(), row.want) {
					t.Errorf("got %v, want an error with %q", err, row.want)
				}
				return
			}
			if err != nil || got.id != id || !got.named(image.Ref{Name: "localhost/x", Tag: "1"}) || got.named(image.Ref{Name: "localhost/x", Tag: "2"}) {
				t.Errorf("got %+v, %v, want id %s", got, err, id)
			}
		})
	}
	t.Run("cut off", func(t *testing.T) {
		file := archive(t, [2]string{"layer.tar", strings.Repeat("x", 100_000)}, [2]string{id + ".json", config})
		if err := os.Truncate(file, 50_000); err != nil {
			t.Fatal(err)
		}
		if got, err := readArchive(file); err == nil {
			t.Errorf("got %+v, want an error", got)
		}
	})
}
