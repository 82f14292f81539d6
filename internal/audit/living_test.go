package audit

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// holdEvents is the role "hold": it records as many events as it is told and keeps them until it is
// killed.
func holdEvents() int {
	c, err := Open(Options{Dir: os.Args[1], Sink: &memorySink{fail: failing(errDown)}, Service: "test"})
	n, _ := strconv.Atoi(os.Args[2])
	if err == nil {
		err = c.RecordAll(background, testEvents("held", 0, n)...)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func startHolder(t *testing.T, dir string, n int) *exec.Cmd {
	t.Helper()
	cmd := child(t, "hold", dir, strconv.Itoa(n))
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "open\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	return cmd
}

// Of a process that lives nothing is taken, not at the start and not later; of one that was killed all
// is.
func TestLivingProcessesKeepWhatTheyHave(t *testing.T) {
	dir, sink := t.TempDir(), &memorySink{}
	first, second := startHolder(t, dir, 5), startHolder(t, dir, 7)
	c := openTest(t, Options{Dir: dir, Sink: sink, LookInterval: time.Hour})
	look := func() {
		t.Helper()
		c.look(background)
		mustFlush(t, c)
	}
	look()
	if n := len(sink.ids()); n != 0 || c.others == 0 {
		t.Errorf("%d events stolen; %d bytes of others", n, c.others)
	}
	kill := func(cmd *exec.Cmd) {
		t.Helper()
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	kill(second)
	look()
	if n := len(sink.ids()); n != 7 {
		t.Errorf("%d events stored, want the 7 of the process that was killed", n)
	}
	kill(first)
	look()
	if diff := cmp.Diff(ids(testEvents("held", 0, 7)), sink.ids()); diff != "" {
		t.Errorf("stored, of which 5 were there already (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{guardName}, tree(t, dir, 3)); diff != "" || c.others != 0 {
		t.Errorf("%d bytes of others; files beside those of the process (-want +got):\n%s", c.others, diff)
	}
}
