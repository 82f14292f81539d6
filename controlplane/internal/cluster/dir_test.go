package cluster

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// open opens a data directory and puts the working directory back at the end of the test.
func open(t *testing.T, path string) *dataDir {
	t.Helper()
	t.Chdir(t.TempDir())
	d, err := openDir(path)
	if err != nil {
		t.Fatalf("openDir(%q): %v", path, err)
	}
	t.Cleanup(func() { d.close(false) })
	return d
}

func TestDirIsLocked(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "made", "on", "demand"))
	if _, err := openDir(d.path); err == nil || !strings.Contains(err.Error(), "in use by another control plane") {
		t.Fatalf("second open: got %v, want an error that says who holds it", err)
	}
	d.close(false)
	again, err := openDir(d.path)
	if err != nil {
		t.Fatalf("open after close: %v", err)
	}
	again.close(false)
}

func TestTemporaryDirStaysOnlyAfterFailure(t *testing.T) {
	for name, failed := range map[string]bool{"success": false, "failure": true} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			d := open(t, "")
			d.close(failed)
			_, err := os.Stat(d.path)
			if exists := err == nil; exists != failed {
				t.Errorf("%s exists: got %v, want %v", d.path, exists, failed)
			}
		})
	}
}

func TestListenKeepsThePort(t *testing.T) {
	d := open(t, t.TempDir())
	listen := func(port int) (int, error) {
		l, err := d.listen(port)
		if err != nil {
			return 0, err
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port, nil
	}
	first, err := listen(0)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := listen(0); err != nil || again != first {
		t.Errorf("second start: got port %d, %v, want %d", again, err, first)
	}

	// Somebody else takes the recorded port.
	l, err := d.listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := listen(0); err == nil || !strings.Contains(err.Error(), "--port") {
		t.Errorf("recorded port taken: got %v, want an error that names --port", err)
	}
}

func TestListenRefusesADamagedRecord(t *testing.T) {
	d := open(t, t.TempDir())
	for _, content := range []string{"", "x", "-1", "70000"} {
		if err := os.WriteFile(d.file(portFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := d.listen(0); err == nil {
			l.Close()
			t.Errorf("port file %q: got port %v, want an error", content, l.Addr())
		}
	}
}

func TestLogOfTheFormerRunIsKept(t *testing.T) {
	d := open(t, t.TempDir())
	for _, text := range []string{"first", "second"} {
		f, err := d.openLog()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	for file, want := range map[string]string{logFile: "second", logFile + ".1": "first"} {
		if got, err := os.ReadFile(d.file(file)); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", file, got, err, want)
		}
	}
}
