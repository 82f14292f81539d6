package nodeimage

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/lock"
)

const (
	others    = 1                   // results of other inputs are kept beside the newest, for another branch
	unusedFor = 14 * 24 * time.Hour // and not longer than this
)

// store keeps the results of steps, each a directory named for the step and the key of its inputs.
type store struct {
	dir string
	now func() time.Time
}

func (s store) path(name, key string) string { return filepath.Join(s.dir, name+"-"+key) }

// find returns the result of a step if it is there, and marks it as used.
func (s store) find(name, key string) (string, bool) {
	path := s.path(name, key)
	now := s.now()
	return path, os.Chtimes(path, now, now) == nil
}

// get returns the result of a step, which build writes into the directory it is given if there is none. Others who want
// results of that name wait meanwhile; waiting is called when this one has to, with whom it waits for.
func (s store) get(ctx context.Context, name, key string, waiting func(lock.Holder), build func(ctx context.Context, dir string) error) (string, error) {
	if path, ok := s.find(name, key); ok {
		return path, nil
	}
	unlock, err := s.lock(ctx, name, waiting)
	if err != nil {
		return "", err
	}
	defer unlock()
	path, ok := s.find(name, key) // made by whom we waited for
	if ok {
		return path, nil
	}
	tmp := filepath.Join(s.dir, ".building-"+name)
	if err := os.RemoveAll(tmp); err != nil { // of a build that was killed
		return "", err
	}
	if err := os.Mkdir(tmp, 0o755); err != nil { //nolint:gosec // it may become the root of a file system
		return "", err
	}
	defer os.RemoveAll(tmp) // after the rename there is nothing left to remove
	if err := build(ctx, tmp); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", context.Cause(ctx)
	}
	if err := os.Rename(tmp, path); err != nil {
		return "", err
	}
	s.prune(name, path)
	return path, nil
}

// lock waits until nobody else, in whatever process, holds the lock of that name.
func (s store) lock(ctx context.Context, name string, waiting func(lock.Holder)) (unlock func(), err error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	l, err := lock.Wait(ctx, filepath.Join(s.dir, "."+name+".lock"), lock.Holder{
		PID: os.Getpid(), Host: host, RunID: "building " + name, Since: s.now(),
	}, waiting)
	if err != nil {
		return nil, err
	}
	return func() { _ = l.Release() }, nil // the kernel releases it in any case
}

// prune removes results of a step that others have replaced: all but the few that were used last, and those not used for
// long. It is a courtesy: errors are no matter.
func (s store) prune(name, keep string) {
	type result struct {
		path string
		used time.Time
	}
	var results []result
	entries, _ := os.ReadDir(s.dir)
	for _, e := range entries {
		path := filepath.Join(s.dir, e.Name())
		key, ok := strings.CutPrefix(e.Name(), name+"-")
		if info, err := e.Info(); err == nil && ok && !strings.Contains(key, "-") && path != keep {
			results = append(results, result{path, info.ModTime()})
		}
	}
	slices.SortFunc(results, func(a, b result) int { return b.used.Compare(a.used) })
	for i, r := range results {
		if i >= others || s.now().Sub(r.used) > unusedFor {
			_ = os.RemoveAll(r.path)
		}
	}
}
