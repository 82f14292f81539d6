package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shell is a command that a shell runs.
func shell(script string) Cmd { return Cmd{Name: "sh", Args: []string{"-c", script}} }

// log is a writer for several goroutines.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestRun(t *testing.T) {
	var said log
	dir := t.TempDir()
	out, err := Runner{Env: []string{"A=1", "B=1"}, Log: &said}.With(nil, "B=2").Run(t.Context(), Cmd{
		Name: "sh", Args: []string{"-c", `echo "$A $B $C"; pwd; cat; echo aside >&2; printf unended`},
		Env: []string{"C=3"}, Dir: dir, Stdin: strings.NewReader("input\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(out), "1 2 3\n"+dir+"\ninput\nunended"; got != want {
		t.Errorf("standard output: got %q, want %q", got, want)
	}
	for _, want := range []string{"$ sh -c 'echo ", "1 2 3\n", "aside\n", "unended\n"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("log: got %q, want %q in it", said.String(), want)
		}
	}
}

func TestQuietAndStdout(t *testing.T) {
	var said log
	var out bytes.Buffer
	c := shell("echo out; echo err >&2; exit 3")
	c.Quiet, c.Stdout = true, &out
	got, err := Runner{Log: &said}.Run(t.Context(), c)
	var failed *Error
	if !errors.As(err, &failed) || failed.ExitCode != 3 || !strings.Contains(failed.Output, "err\n") || !strings.Contains(failed.Output, "out\n") {
		t.Errorf("got %+v, want status 3 with both streams", err)
	}
	if out.String() != "out\n" || len(got) != 0 {
		t.Errorf("got %q in the writer and %q returned, want all in the writer", out.String(), got)
	}
	if s := said.String(); !strings.HasPrefix(s, "$ sh") || strings.Contains(s, "out\n") {
		t.Errorf("log: got %q, want the command line only", s)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		cmd  Cmd
		code int
		is   error
		text string
	}{
		{"status", shell("echo no such image >&2; exit 125"), 125, nil, "exit status 125: no such image"},
		{"signal", shell("kill -9 $$"), 137, nil, "signal: killed"},
		{"missing", Cmd{Name: "no-such-program-here"}, -1, exec.ErrNotFound, "executable file not found"},
		{"bad directory", Cmd{Name: "true", Dir: "/no/such/directory"}, -1, os.ErrNotExist, "no such file"},
		{"deadline", Cmd{Name: "sleep", Args: []string{"60"}, Deadline: 50 * time.Millisecond}, 143, ErrDeadline, "deadline passed: it was 50ms"},
		{"stall", Cmd{Name: "sleep", Args: []string{"60"}, Stall: 50 * time.Millisecond}, 143, ErrStalled, "no output and no input taken for 50ms"},
		{"input fails", Cmd{Name: "cat", Stdin: io.MultiReader(strings.NewReader("half"), broken{})}, 143, syscall.EIO, "read the input"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Runner{}.Run(t.Context(), c.cmd)
			var failed *Error
			if !errors.As(err, &failed) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if failed.ExitCode != c.code || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) || failed.Cmd != c.cmd.String() {
				t.Errorf("got %v with code %d, want code %d, %v, %q", err, failed.ExitCode, c.code, c.is, c.text)
			}
			if errors.Is(err, context.Canceled) {
				t.Errorf("%v is taken for an interruption", err)
			}
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, syscall.EIO }

func TestWorkKeepsTheStallTimerBack(t *testing.T) {
	c := shell("for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done")
	c.Stall = 400 * time.Millisecond
	if _, err := (Runner{}).Run(t.Context(), c); err != nil {
		t.Error(err)
	}
}

func TestInputIsProgress(t *testing.T) {
	c := shell("cat >/dev/null")
	c.Stdin, c.Stall = &slow{left: 6}, 400*time.Millisecond
	if _, err := (Runner{}).Run(t.Context(), c); err != nil {
		t.Error(err)
	}
}

// slow gives a byte every tenth of a second.
type slow struct{ left int }

func (s *slow) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	<-time.After(100 * time.Millisecond)
	p[0] = 'x'
	return 1, nil
}

func TestProgramThatWantsNoInput(t *testing.T) {
	c := Cmd{Name: "true", Stdin: io.LimitReader(zeros{}, 10<<20)}
	if _, err := (Runner{}).Run(t.Context(), c); err != nil {
		t.Errorf("got %v: a program need not read its input", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// The end of the context ends the whole group, also those of it that do not listen.
func TestCancelEndsTheGroup(t *testing.T) {
	for _, c := range []struct{ name, leader, child string }{
		{"obedient", "", "sleep 300"},
		{"deaf", "trap '' TERM; ", "sleep 300"},
		{"only the child is deaf", "", "(trap '' TERM; exec sleep 300) >/dev/null 2>&1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pids := filepath.Join(t.TempDir(), "pid")
			ctx, cancel := context.WithCancelCause(t.Context())
			reason := errors.New("two signals")
			done := make(chan error, 1)
			go func() {
				_, err := Runner{}.run(ctx, shell(c.leader+c.child+" & echo $! >"+pids+".new; mv "+pids+".new "+pids+"; wait; sleep 300"), 100*time.Millisecond)
				done <- err
			}()
			child := waitForPid(t, pids)
			cancel(reason)
			err := <-done
			if !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
				t.Errorf("got %v, want the cancellation and its cause", err)
			}
			waitForDeath(t, child)
		})
	}
}

func waitForPid(t *testing.T, path string) int {
	t.Helper()
	for range 1000 {
		if content, err := os.ReadFile(path); err == nil {
			pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatal("the child did not start")
	return 0
}

func waitForDeath(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || err == nil && strings.Contains(string(stat), ") Z ") {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Errorf("process %d is alive", pid)
}

func TestEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(t.TempDir(), "made")
	_, err := Runner{}.Run(ctx, Cmd{Name: "touch", Args: []string{file}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the command ran")
	}
}

// What a program leaves in the background may hold its pipes open; that does not hold up the harness, and is no failure.
func TestBackground(t *testing.T) {
	begin := time.Now()
	out, err := Runner{}.Run(t.Context(), shell("sleep 30 & echo $!"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the program in the background: %v, want it to live", err)
	}
}

func TestTailIsBounded(t *testing.T) {
	_, err := Runner{}.Run(t.Context(), shell("yes 0123456789 | head -n 100000; echo the end; exit 1"))
	var failed *Error
	if !errors.As(err, &failed) || len(failed.Output) > tailSize || len(failed.Output) < tailSize/2 || !strings.HasSuffix(failed.Output, "the end\n") {
		t.Errorf("got %d bytes of output, want the last %d", len(failed.Output), tailSize)
	}
}

func TestLinesStayWhole(t *testing.T) {
	var said log
	r := Runner{Log: &said}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if _, err := r.Run(t.Context(), shell("for i in 1 2 3 4 5 6 7 8; do printf aaaa; echo bbbb; printf cccc >&2; echo dddd >&2; done")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for line := range strings.Lines(said.String()) {
		if line != "aaaabbbb\n" && line != "ccccdddd\n" && !strings.HasPrefix(line, "$ sh") {
			t.Fatalf("got line %q", line)
		}
	}
}

func TestCommandLine(t *testing.T) {
	got := Cmd{Name: "podman", Args: []string{"run", "--name=x", "", "it's", "a b", "$HOME", "docker.io/a:b@sha256:0"}}.String()
	if want := `podman run --name=x '' 'it'\''s' 'a b' '$HOME' docker.io/a:b@sha256:0`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
