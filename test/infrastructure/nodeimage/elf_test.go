package nodeimage

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	root := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(root, "usr", "lib"), 0o700),
		os.WriteFile(filepath.Join(root, "usr", "lib", "libx.so.1.2"), nil, 0o600),
		os.Symlink("libx.so.1.2", filepath.Join(root, "usr", "lib", "libx.so.1")),
		os.Symlink("usr/lib", filepath.Join(root, "lib")),
		os.Symlink("/lib/libx.so.1", filepath.Join(root, "absolute")),
		os.Symlink("../../../../usr", filepath.Join(root, "outside")),
		os.Symlink("loop", filepath.Join(root, "loop")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"usr/lib/libx.so.1.2": "usr/lib/libx.so.1.2",
		"lib/libx.so.1":       "usr/lib/libx.so.1.2",
		"/absolute":           "usr/lib/libx.so.1.2",
		"outside/lib":         "usr/lib", // the root is its own parent
		"lib/../usr":          "usr",
		"missing":             "",
		"loop":                "",
	} {
		got, err := resolve(root, name)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("resolve %s: got %q, %v, want %q", name, got, err, want)
		}
	}
}

// What the loader of this machine would load for its shell.
func TestLibraries(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no ELF programs here")
	}
	libs, err := libraries("/", "bin/sh")
	if err != nil {
		t.Skipf("this machine keeps its libraries elsewhere: %v", err)
	}
	var libc, interpreter bool
	for name := range libs {
		libc = libc || strings.HasSuffix(name, "/libc.so.6")
		interpreter = interpreter || strings.Contains(name, "ld-linux")
	}
	if !libc || !interpreter {
		t.Errorf("got %v, want libc and the interpreter among them", libs)
	}
	l := make(layer)
	if err := l.addPrograms("/", "bin/sh"); err != nil {
		t.Fatal(err)
	}
	if e, ok := l["usr/bin/sh"]; !ok || e.size == 0 {
		t.Error("the layer does not have the program")
	}
	for name := range libs {
		dir, err := resolve("/", filepath.Dir(name))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := l[filepath.Join(dir, filepath.Base(name))]; !ok {
			t.Errorf("the layer does not have %s", name)
		}
	}
}
