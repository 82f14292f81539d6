package approval

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// debounce lets the several events of one change come together.
	debounce = 100 * time.Millisecond
	// pollInterval bounds how long a change goes unnoticed when events are lost or not to be had.
	pollInterval = time.Minute
)

// changes is where Watch learns that something changed in the policy's directory. Without a watch
// the channels are nil, and polling remains.
type changes struct {
	events <-chan fsnotify.Event
	errors <-chan error
	// rearm watches the directory again, in case it was replaced.
	rearm func()
}

// Watch follows the policy file until ctx ends, and then returns. A changed policy comes into force
// when it compiles and passes the self-test; else the one before stays and Status says why.
//
// The directory is watched, not the file: a ConfigMap is updated by swapping a symbolic link beside
// it. A file that is mounted by subPath never changes.
func (e *Evaluator) Watch(ctx context.Context) {
	dir := filepath.Dir(e.path)
	noWatch := func(err error) {
		e.log.Warn("approval policy directory is not watched; polling it", "directory", dir, "interval", pollInterval, "error", err)
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		noWatch(err)
		e.follow(ctx, changes{rearm: func() {}})
		return
	}
	defer func() { _ = watcher.Close() }() // nothing is left to do about it
	source := changes{events: watcher.Events, errors: watcher.Errors, rearm: func() {
		if err := watcher.Add(dir); err != nil {
			noWatch(err)
		}
	}}
	source.rearm()
	e.follow(ctx, source)
}

// follow reloads shortly after an event, and at every poll.
func (e *Evaluator) follow(ctx context.Context, source changes) {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	e.reload(ctx) // the file may have changed since Load
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-source.events:
			if settled == nil {
				settled = time.After(debounce)
			}
		case err := <-source.errors:
			e.log.Warn("watching the approval policy failed; polling goes on", "policy", e.path, "error", err)
		case <-settled:
			settled = nil
			e.reload(ctx)
		case <-poll.C:
			source.rearm()
			e.reload(ctx)
		}
	}
}
