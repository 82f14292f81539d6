package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	mib  = 1 << 20
	page = 4096
)

// take returns memory that is really taken.
func take(n int) []byte {
	b := make([]byte, n*mib)
	for i := 0; i < len(b); i += page {
		b[i] = 1
	}
	return b
}

// eatMemory takes some MiB and keeps them for as long as the program runs.
func eatMemory(_ context.Context, a *actor, text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	a.log.Info("loading index into memory")
	for range n {
		a.kept = append(a.kept, take(1))
	}
	a.log.Info("index loaded", "mib", n)
	return nil
}

// growMemory takes a MiB every so often, for ever.
func growMemory(ctx context.Context, a *actor, text string) error {
	every, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	go func() {
		for ctx.Err() == nil {
			a.kept = append(a.kept, take(1))
			if len(a.kept)%32 == 0 {
				a.log.Info("cache grows", "entries", len(a.kept)*1000)
			}
			pause(ctx, every)
		}
	}()
	return nil
}

// eatInChild has a child take the memory, as a server with worker processes does; when the child is killed the program ends with
// the code that a shell would give it.
func eatInChild(ctx context.Context, a *actor, text string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	a.log.Info("starting worker")
	child := exec.CommandContext(ctx, self, "mem="+text, "wait=1s", "done")
	err = child.Run()
	if state := child.ProcessState; state != nil && !state.Exited() {
		a.log.Error("worker ended, giving up", "error", err)
		const bySignal = 128
		return ended{bySignal + int(state.Sys().(syscall.WaitStatus).Signal())}
	}
	return err
}

// burn computes for ever.
func burn(ctx context.Context, _ *actor, _ string) error {
	go func() {
		sum := sha256.Sum256(nil)
		for ctx.Err() == nil {
			sum = sha256.Sum256(sum[:])
		}
	}()
	return nil
}

// write makes a file.
func write(_ context.Context, a *actor, file string) error {
	if err := os.WriteFile(file, []byte("ok\n"), 0o600); err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	a.log.Info("journal opened", "file", file)
	return nil
}

// fill writes segments into a directory until that fails.
func fill(ctx context.Context, a *actor, dir string) error {
	block := bytes.Repeat([]byte("record\n"), mib/7)
	for i := 0; ctx.Err() == nil; i++ {
		file := filepath.Join(dir, fmt.Sprintf("segment-%06d.log", i))
		if err := os.WriteFile(file, block, 0o600); err != nil {
			return fmt.Errorf("append to segment: %w", err)
		}
		a.log.Info("segment written", "file", file)
		pause(ctx, 50*time.Millisecond)
	}
	return nil
}
