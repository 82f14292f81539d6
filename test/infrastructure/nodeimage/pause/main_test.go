package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPause runs the program as the first process of a namespace, where the orphans of a pod become its children.
func TestPause(t *testing.T) {
	if os.Getenv("PAUSE_TEST") != "" {
		main()
		os.Exit(0)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	// The first process starts an orphan that ends at once, and becomes pause.
	script := `(sh -c 'echo $$ >&2' &) ; exec "$0" -test.run='^TestPause$'`
	cmd := exec.CommandContext(t.Context(), "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, os.Args[0])
	cmd.Env = append(os.Environ(), "PAUSE_TEST=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	pid := child(t, cmd.Process.Pid)
	eventually(t, "the orphan is collected", func() bool {
		return len(children(pid)) == 0 && comm(pid) != "sh"
	})
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v, want success", err)
	}
}

func child(t *testing.T, pid int) (found int) {
	t.Helper()
	eventually(t, "the process has started", func() bool {
		all := children(pid)
		if len(all) > 0 {
			found = all[0]
		}
		return found != 0
	})
	return found
}

// children lists the processes whose parent a process is.
func children(pid int) []int {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	var found []int
	for field := range strings.FieldsSeq(string(content)) {
		if n, err := strconv.Atoi(field); err == nil {
			found = append(found, n)
		}
	}
	return found
}

func comm(pid int) string {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(content))
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}
