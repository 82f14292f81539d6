package nodeimage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/lock"
)

func ignore(lock.Holder) {}

func write(t *testing.T, dir string, content string) func(context.Context, string) error {
	t.Helper()
	return func(_ context.Context, tmp string) error {
		if filepath.Dir(tmp) != dir {
			t.Errorf("built in %s, which cannot be renamed into %s", tmp, dir)
		}
		return os.WriteFile(filepath.Join(tmp, "result"), []byte(content), 0o600)
	}
}

func result(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path, "result"))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestStore(t *testing.T) {
	t.Run("builds once", func(t *testing.T) {
		s := store{t.TempDir(), time.Now}
		for range 2 {
			path, err := s.get(t.Context(), "step", "key", ignore, write(t, s.dir, "first"))
			if err != nil || result(t, path) != "first" {
				t.Fatalf("got %s, %v", path, err)
			}
		}
		path, err := s.get(t.Context(), "step", "key", ignore, write(t, s.dir, "second"))
		if err != nil || result(t, path) != "first" {
			t.Errorf("built again: %s, %v", result(t, path), err)
		}
		if path, err = s.get(t.Context(), "step", "other", ignore, write(t, s.dir, "second")); err != nil || result(t, path) != "second" {
			t.Errorf("another key: %s, %v", result(t, path), err)
		}
	})
	t.Run("a failure leaves nothing", func(t *testing.T) {
		s := store{t.TempDir(), time.Now}
		fail := errors.New("broken")
		_, err := s.get(t.Context(), "step", "key", ignore, func(_ context.Context, dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o600), fail)
		})
		if !errors.Is(err, fail) {
			t.Errorf("got %v, want %v", err, fail)
		}
		if left, _ := filepath.Glob(filepath.Join(s.dir, "*step*")); len(left) > 0 {
			t.Errorf("left: %s", left)
		}
	})
	t.Run("what ends in time but is no longer wanted is no result", func(t *testing.T) {
		s := store{t.TempDir(), time.Now}
		ctx, cancel := context.WithCancel(t.Context())
		_, err := s.get(ctx, "step", "key", ignore, func(context.Context, string) error {
			cancel()
			return nil
		})
		if _, ok := s.find("step", "key"); !errors.Is(err, context.Canceled) || ok {
			t.Errorf("got %v, and a result: %t", err, ok)
		}
	})
	t.Run("many at once build once", func(t *testing.T) {
		s := store{t.TempDir(), time.Now}
		var built atomic.Int32
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				_, err := s.get(t.Context(), "step", "key", ignore, func(context.Context, string) error {
					built.Add(1)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		if wg.Wait(); built.Load() != 1 {
			t.Errorf("built %d times", built.Load())
		}
	})
	t.Run("waiting ends with its context and says for whom", func(t *testing.T) {
		s := store{t.TempDir(), time.Now}
		unlock, err := s.lock(t.Context(), "step", ignore)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		ctx, cancel := context.WithCancel(t.Context())
		_, err = s.get(ctx, "step", "key", func(h lock.Holder) {
			if h.PID != os.Getpid() {
				t.Errorf("waits for process %d, want %d", h.PID, os.Getpid())
			}
			cancel()
		}, write(t, s.dir, ""))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// TestStoreKilled kills a process in the middle of a step: nothing of it passes for a result, and nobody waits for it.
func TestStoreKilled(t *testing.T) {
	const variable = "NODEIMAGE_TEST_STORE"
	if dir := os.Getenv(variable); dir != "" {
		_, err := store{dir, time.Now}.get(context.Background(), "step", "key", ignore, func(_ context.Context, dir string) error {
			if err := os.WriteFile(filepath.Join(dir, "half"), nil, 0o600); err != nil {
				return err
			}
			fmt.Println("half way")
			select {}
		})
		t.Fatal(err)
	}
	s := store{t.TempDir(), time.Now}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStoreKilled$")
	cmd.Env = append(os.Environ(), variable+"="+s.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for sc := bufio.NewScanner(out); sc.Scan() && sc.Text() != "half way"; {
	}
	if _, ok := s.find("step", "key"); ok {
		t.Error("a half result has the name of a whole one")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	path, err := s.get(t.Context(), "step", "key", ignore, write(t, s.dir, "whole"))
	if err != nil || result(t, path) != "whole" {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(path, "half")); err == nil {
		t.Error("what the killed build left is in the result")
	}
}

func TestStorePrune(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store{t.TempDir(), time.Now}
		make1 := func(name, key string) {
			if _, err := s.get(t.Context(), name, key, ignore, func(context.Context, string) error { return nil }); err != nil {
				t.Fatal(err)
			}
			path := s.path(name, key)
			if err := os.Chtimes(path, s.now(), s.now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		left := func() string {
			found, _ := filepath.Glob(filepath.Join(s.dir, "[^.]*"))
			for i := range found {
				found[i] = filepath.Base(found[i])
			}
			return strings.Join(found, " ")
		}
		make1("step", "a")
		make1("step-two", "x")
		make1("step", "b")
		s.find("step", "a") // so that it is not the one used longest ago
		time.Sleep(time.Hour)
		make1("step", "c")
		if got, want := left(), "step-a step-c step-two-x"; got != want {
			t.Errorf("left %s, want %s", got, want)
		}
		time.Sleep(unusedFor)
		make1("step", "e")
		if got, want := left(), "step-e step-two-x"; got != want {
			t.Errorf("left %s, want %s", got, want)
		}
	})
}
