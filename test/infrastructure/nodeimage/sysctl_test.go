package nodeimage

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSysctls(t *testing.T) {
	root, file := t.TempDir(), filepath.Join(t.TempDir(), "state", "sysctls.json")
	set := func(name, value string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(name, want string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || string(got) != want {
			t.Errorf("%s is %q (%v), want %q", name, got, err, want)
		}
	}
	step := func(do func(root, file string) error) {
		t.Helper()
		if err := do(root, file); err != nil {
			t.Fatal(err)
		}
	}
	set("vm/overcommit_memory", "0")
	set("kernel/panic", "1")

	step(restoreSysctls) // nothing was recorded
	step(saveSysctls)
	set("vm/overcommit_memory", "1") // the first node
	step(saveSysctls)                // a second cluster must not take these for the machine's own
	set("kernel/panic", "10")
	step(restoreSysctls)
	check("vm/overcommit_memory", "0")
	check("kernel/panic", "1")
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the record is still there: %v", err)
	}

	set("kernel/panic", "5")
	step(saveSysctls)
	set("kernel/panic", "10")
	step(restoreSysctls)
	check("kernel/panic", "5")
}

func TestSysctlsThatCannotBeRestored(t *testing.T) {
	root, file := t.TempDir(), filepath.Join(t.TempDir(), "sysctls.json")
	if err := os.WriteFile(file, []byte(`{"kernel/panic": "1", "vm/swappiness": "60"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := restoreSysctls(root, file); err == nil {
		t.Error("no error, though kernel/panic is not there")
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the record is gone, though it was not restored: %v", err)
	}
}
