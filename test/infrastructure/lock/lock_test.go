package lock

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func holder(run string) Holder {
	return Holder{PID: os.Getpid(), Host: "host", RunID: run, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func TestTry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster", "lock")
	if holding, err := Holding(path); holding || err != nil {
		t.Errorf("before: got %v, %v", holding, err)
	}
	l, err := Try(path, holder("one"))
	if err != nil {
		t.Fatal(err)
	}
	if holding, err := Holding(path); !holding || err != nil {
		t.Errorf("while it is held: got %v, %v", holding, err)
	}
	_, err = Try(path, holder("two"))
	held, ok := errors.AsType[*Held](err)
	if !ok || held.Holder != holder("one") {
		t.Fatalf("a second one: got %v, want it held by the first", err)
	}
	for _, want := range []string{"run one", "on host", "2026-01-02T03:04:05Z", path} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
	for range 2 {
		if err := l.Release(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file after the release: got %v", err)
	}
	if l, err = Try(path, holder("two")); err != nil {
		t.Fatal(err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	var none *Lock
	if err := none.Release(); err != nil {
		t.Errorf("no lock: got %v", err)
	}
}

func TestTryWhereItCannot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Try(filepath.Join(file, "lock"), holder("one"))
	if _, ok := errors.AsType[*Held](err); ok || err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want an error that names the path", err)
	}
}

// A file that a process left when it was killed is no lock.
func TestLeftFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	content, err := json.Marshal(holder("killed"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if holding, err := Holding(path); holding || err != nil {
		t.Errorf("got %v, %v", holding, err)
	}
	l, err := Try(path, holder("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if got, err := Read(path); err != nil || got != holder("x") {
		t.Errorf("its holder: got %+v, %v", got, err)
	}
}

func TestReadNonsense(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if s := (Holder{}).String(); strings.Contains(s, "0001") {
		t.Errorf("an unknown holder: got %q", s)
	}
}

func TestWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Try(path, holder("one"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	told := make(chan Holder, 10)
	got := make(chan error, 1)
	go func() {
		l, err := Wait(ctx, path, holder("two"), func(h Holder) { told <- h })
		got <- errors.Join(err, l.Release())
	}()
	if h := <-told; h != holder("one") {
		t.Errorf("told of %+v", h)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("after the release: %v", err)
	}
	if n := len(told); n > 0 {
		t.Errorf("told %d times more", n)
	}

	if first, err = Try(path, holder("one")); err != nil {
		t.Fatal(err)
	}
	defer first.Release()
	soon, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	_, err = Wait(soon, path, holder("two"), func(Holder) {})
	if held, ok := errors.AsType[*Held](err); !ok || held.Holder != holder("one") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("at the end of the wait: got %v", err)
	}
}

// Releasing removes the file; nobody may hold a lock on a file that is gone while another holds the one at the path.
func TestOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var holders atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for done := 0; done < 50; {
				l, err := Try(path, holder("x"))
				if _, ok := errors.AsType[*Held](err); ok {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold it", n)
				}
				holders.Add(-1)
				if err := l.Release(); err != nil {
					t.Error(err)
					return
				}
				done++
			}
		})
	}
	wg.Wait()
}

// A process that is killed gives its lock back.
func TestKilledHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHold$")
	cmd.Dir = filepath.Dir(path)
	cmd.Env = append(os.Environ(), "HOLD_LOCK=yes")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	_, err = Try(path, holder("x"))
	if held, ok := errors.AsType[*Held](err); !ok || held.Holder.PID != cmd.Process.Pid {
		t.Errorf("while it lives: got %v, want it held by process %d", err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	l, err := Try(path, holder("x"))
	if err != nil {
		t.Fatalf("after its death: %v", err)
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}

// TestHold is the other process of TestKilledHolder, in whose directory it runs.
func TestHold(t *testing.T) {
	if os.Getenv("HOLD_LOCK") == "" {
		t.Skip("is run by another test")
	}
	l, err := Try("lock", Holder{PID: os.Getpid(), Host: "here", RunID: "other"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	os.Stdout.WriteString("held\n")
	io.Copy(io.Discard, os.Stdin)
}
