package nodeimage

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// listing is what a tar archive holds, a line for each file: its name, mode, kind, owner and content or target.
func listing(t *testing.T, r io.Reader) []string {
	t.Helper()
	var list []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(epoch()) {
			t.Errorf("%s is from %s", h.Name, h.ModTime)
		}
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %o %c %d:%d %s%s", h.Name, h.Mode, h.Typeflag, h.Uid, h.Gid, h.Linkname, content)))
	}
}

func TestLayer(t *testing.T) {
	host := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(host, []byte("code"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := make(layer)
	l.put("etc/passwd", 0o644, []byte("root"))
	l.symlink("bin", "usr/bin")
	l.sticky("tmp")
	if err := l.program("usr/bin/p", host); err != nil {
		t.Fatal(err)
	}
	l["usr/bin/setuid"] = entry{mode: fs.ModeSetuid | 0o755}
	l["usr/bin/a"] = entry{mode: 0o755, hard: "usr/bin/p", from: host, size: 4} // written after what it is another name of
	l["dev/null"] = entry{mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, dev: [2]int64{1, 3}}
	var out bytes.Buffer
	if err := l.write(&out); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"bin 777 2 0:0 usr/bin",
		"dev/null 666 3 0:0",
		"etc/ 755 5 0:0",
		"etc/passwd 644 0 0:0 root",
		"tmp/ 1777 5 0:0",
		"usr/ 755 5 0:0",
		"usr/bin/ 755 5 0:0",
		"usr/bin/p 755 0 0:0 code",
		"usr/bin/setuid 4755 0 0:0",
		"usr/bin/a 755 1 0:0 usr/bin/p",
	}
	if got := listing(t, bytes.NewReader(out.Bytes())); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	sha, size, err := l.measure()
	again, _, err2 := l.measure()
	if err != nil || err2 != nil || size != int64(out.Len()) || sha != again {
		t.Errorf("measured %s %s, %d bytes (%v, %v), wrote %d", sha, again, size, err, err2, out.Len())
	}
}

func TestLayerRemove(t *testing.T) {
	l := make(layer)
	for _, name := range []string{"etc/systemd/a.wants/x", "etc/systemd/a.service", "dev/pts/0", "deviate/x", "etc/conf"} {
		l.put(name, 0o644, nil)
	}
	l["etc/other"] = entry{mode: 0o644, hard: "etc/conf", data: []byte("kept"), size: 4}
	if err := l.remove("dev/*", "etc/systemd/*.wants/*", "etc/conf"); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := l.write(&out); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"dev/ 755 5 0:0", "deviate/ 755 5 0:0", "deviate/x 644 0 0:0", "etc/ 755 5 0:0",
		"etc/other 644 0 0:0 kept", // a file in its own right, now that its other name is gone
		"etc/systemd/ 755 5 0:0", "etc/systemd/a.service 644 0 0:0", "etc/systemd/a.wants/ 755 5 0:0",
	}
	if got := listing(t, &out); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTree(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "d"), 0o750),
		os.WriteFile(filepath.Join(dir, "d", "f"), []byte("content"), 0o640),
		os.Link(filepath.Join(dir, "d", "f"), filepath.Join(dir, "d", "g")),
		os.Symlink("/absolute", filepath.Join(dir, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := tree(dir, "var/lib")
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range l { // the tests need not run as root
		e.uid, e.gid = 0, 0
		l[name] = e
	}
	var out bytes.Buffer
	if err := l.write(&out); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"var/ 755 5 0:0", "var/lib/ 755 5 0:0", "var/lib/d/ 750 5 0:0", "var/lib/d/f 640 0 0:0 content", "var/lib/link 777 2 0:0 /absolute",
		"var/lib/d/g 640 1 0:0 var/lib/d/f",
	}
	if got := listing(t, &out); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWriteArchive(t *testing.T) {
	one, two := make(layer), make(layer)
	one.put("a", 0o644, []byte("1"))
	two.put("b", 0o644, []byte("2"))
	var out bytes.Buffer
	err := writeArchive(&out,
		imageSpec{ref: "localhost/x:1", created: time.Unix(1, 0), layers: []layer{one, two}, config: imageConfig{Env: []string{"A=b"}, Labels: labels("k")}},
		imageSpec{ref: "localhost/y:1", layers: []layer{two}})
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for tr := tar.NewReader(&out); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := files[h.Name]; twice {
			t.Errorf("%s is there twice", h.Name)
		}
		if files[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
	var manifest []manifestItem
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || len(manifest) != 2 {
		t.Fatalf("manifest %s: %v", files["manifest.json"], err)
	}
	if len(files) != 5 { // two layers, two configurations, the manifest
		t.Errorf("%d files", len(files))
	}
	x := manifest[0]
	if !slices.Equal(x.RepoTags, []string{"localhost/x:1"}) || len(x.Layers) != 2 || x.Layers[1] != manifest[1].Layers[0] {
		t.Errorf("got %+v", manifest)
	}
	var config struct {
		Created time.Time
		Config  imageConfig
		RootFS  struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(files[x.Config], &config); err != nil {
		t.Fatal(err)
	}
	if !config.Created.Equal(time.Unix(1, 0)) || config.Config.Labels["ai.kubernaut.e2e.key"] != "k" || config.Config.Env[0] != "A=b" {
		t.Errorf("got %s", files[x.Config])
	}
	for i, id := range config.RootFS.DiffIDs {
		if want := "sha256:" + strings.TrimSuffix(x.Layers[i], ".tar"); id != want {
			t.Errorf("layer %d has the id %s, want %s", i, id, want)
		}
	}
}
