package main

import (
	"bufio"
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
		fmt.Println("started")
		main()
		os.Exit(0)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	// The first process starts an orphan and becomes pause. The orphan ends when it is told to, after that, so that only a
	// pause that listens can have collected it.
	script := `(sh -c 'read line <&3' &) ; exec "$0" -test.run='^TestPause$'`
	cmd := exec.CommandContext(t.Context(), "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, os.Args[0])
	cmd.Env = append(os.Environ(), "PAUSE_TEST=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, tell, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer tell.Close()
	cmd.ExtraFiles = []*os.File{stdin}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	_ = stdin.Close()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "started\n" {
		t.Fatalf("the program said %q, %v", line, err)
	}
	pid := child(t, cmd.Process.Pid)
	if len(children(pid)) != 1 {
		t.Fatalf("the program has children %v, want the orphan", children(pid))
	}
	if _, err := tell.WriteString("end\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the orphan is collected", func() bool { return len(children(pid)) == 0 })
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
