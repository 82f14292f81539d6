// Package lock is a lock between processes of one machine, held through a file that says who holds it. The kernel
// releases it when its holder ends, however it ends, so that a lock can be waited for but never has to be broken. The file
// is removed with the lock.
package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Holder is who holds a lock, and since when.
type Holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	RunID string    `json:"runID"`
	Since time.Time `json:"since"`
}

// String is the holder for people.
func (h Holder) String() string {
	if h.PID == 0 {
		return "a process that has not said its name yet"
	}
	return fmt.Sprintf("run %s, process %d on %s, since %s", h.RunID, h.PID, h.Host, h.Since.Format(time.RFC3339))
}

// Held is the error of a lock that another process holds.
type Held struct {
	Path   string
	Holder Holder
}

// Error names the holder.
func (h *Held) Error() string { return fmt.Sprintf("%s is held by %s", h.Path, h.Holder) }

// Lock is a lock that is held. The zero value is none.
type Lock struct {
	path string
	file *os.File
}

// Try takes the lock of a path for holder, without waiting; the directory is made. An error that another process holds
// it is a *Held.
func Try(path string, holder Holder) (*Lock, error) {
	l, err := try(path, holder)
	if err != nil {
		if _, ok := errors.AsType[*Held](err); ok {
			return nil, err
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return l, nil
}

func try(path string, holder Holder) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				h, _ := Read(path) // it may be too early to say
				return nil, &Held{path, h}
			}
			return nil, err
		}
		if !current(f, path) { // its last holder has removed it since it was opened
			f.Close()
			continue
		}
		content, err := json.Marshal(holder)
		if err == nil {
			err = f.Truncate(0)
		}
		if err == nil {
			_, err = f.WriteAt(append(content, '\n'), 0)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		return &Lock{path, f}, nil
	}
}

// current reports whether an open file is what the path still names.
func current(f *os.File, path string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(open, named)
}

// Wait takes the lock, trying until ctx ends; then the error is a *Held and wraps the reason. told is called once, with the
// holder that is waited for, and again whenever that is another one.
func Wait(ctx context.Context, path string, holder Holder, told func(Holder)) (*Lock, error) {
	const pause = 200 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	var last *Holder
	for {
		l, err := Try(path, holder)
		held, ok := errors.AsType[*Held](err)
		if !ok {
			return l, err
		}
		if last == nil || *last != held.Holder {
			last = &held.Holder
			told(held.Holder)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", held, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Release gives the lock back and removes its file. It may be called again.
func (l *Lock) Release() error {
	if l == nil || l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	// While it is held nobody else can have put another file there.
	err := errors.Join(os.Remove(l.path), f.Close())
	if err != nil {
		return fmt.Errorf("release %s: %w", l.path, err)
	}
	return nil
}

// Read returns who holds a lock according to its file. It may have ended: Holding tells.
func Read(path string) (Holder, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Holder{}, err
	}
	var h Holder
	if err := json.Unmarshal(content, &h); err != nil {
		return Holder{}, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

// Holding reports whether a process holds the lock of a path. It makes no file and does not wait.
func Holding(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
