package reading

import (
	"os"
	"path/filepath"
	"testing"
)

// A process that was killed at its own limit says nothing of the machine's memory.
func TestKilled(t *testing.T) {
	root := t.TempDir()
	if a := Read(root, Question{Killed: true}); a.Killed != nil {
		t.Errorf("without a log: got %d, want nothing", *a.Killed)
	}
	log := filepath.Join(root, "dev", "kmsg")
	if err := os.MkdirAll(filepath.Dir(log), 0o750); err != nil {
		t.Fatal(err)
	}
	text := `6,1,1,-;Memory cgroup out of memory: Killed process 12657 (app) total-vm:1016644kB
3,2,2,-;Out of memory: Killed process 4711 (kube-apiserver) total-vm:1016644kB
3,3,3,-;Out of memory (oom_kill_allocating_task): Killed process 4712 (etcd)
6,4,4,-;usb 1-1: Out of ideas
`
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if a := Read(root, Question{Killed: true}); a.Killed == nil || *a.Killed != 2 {
		t.Errorf("got %v, want 2", a.Killed)
	}
	if a := Read(root, Question{}); a.Killed != nil {
		t.Errorf("not asked: got %d", *a.Killed)
	}
}
