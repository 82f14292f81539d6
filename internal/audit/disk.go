package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"kubernaut.ai/kubernaut/internal/incident"
)

// file is what the spool needs of an open segment.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// disk is what the spool needs of its directory. Names are base names. A method that changes the
// directory is durable after syncDir, a change of a file after its Sync.
type disk interface {
	names() ([]string, error)
	open(name string) (file, error) // for reading and writing; created when missing
	read(name string) ([]byte, error)
	remove(name string) error
	// replace gives the file this content, so that after a crash of the process it has either the
	// old or the new content.
	replace(name string, content []byte) error
	// extend durably appends a line to the file, on a line of its own whatever is there, and fails
	// with errOverBound without writing when the file would then be longer than limit.
	extend(name string, line []byte, limit int64) error
	syncDir() error
	// release gives the directory up for others.
	release() error
}

var errOverBound = errors.New("the file has reached its bound")

// directory is a disk in a real directory that no other process uses at the same time.
type directory struct {
	path string
	lock *os.File
}

const lockName = "lock"

// openDirectory creates the directory if need be and takes it for this process.
func openDirectory(path string) (*directory, error) {
	const op = "audit.Open"
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, diskError(op, fmt.Errorf("create the spool directory: %w", err))
	}
	// A power cut must not take a new directory away. That the parent may not be ours to open means
	// that the directory was there before.
	_ = syncDirectory(filepath.Dir(path))
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, diskError(op, fmt.Errorf("take the spool directory: %w", err))
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, incident.Errorf(incident.KindConflict, op,
				"%w: %s is held by %s; stop it, or give this process a directory of its own",
				ErrLocked, path, holder(lock))
		}
		return nil, diskError(op, fmt.Errorf("lock %s: %w", lock.Name(), err))
	}
	host, _ := os.Hostname()
	name := fmt.Sprintf("process %d on host %s\n", os.Getpid(), host)
	if err := errors.Join(lock.Truncate(0), writeAll(lock, []byte(name), 0)); err != nil {
		lock.Close()
		return nil, diskError(op, fmt.Errorf("take the spool directory: %w", err))
	}
	return &directory{path: path, lock: lock}, nil
}

// holder reads who holds the lock. Its answer is for people.
func holder(lock *os.File) string {
	var buf [300]byte
	n, _ := lock.ReadAt(buf[:], 0)
	if name := strings.TrimSpace(string(buf[:n])); name != "" {
		return name
	}
	return "another process"
}

func (d *directory) names() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (d *directory) open(name string) (file, error) {
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d *directory) read(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(d.path, name))
}

func (d *directory) remove(name string) error {
	return os.Remove(filepath.Join(d.path, name))
}

func (d *directory) replace(name string, content []byte) error {
	path := filepath.Join(d.path, name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (d *directory) extend(name string, line []byte, limit int64) error {
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	var last [1]byte
	if size > 0 {
		if _, err := f.ReadAt(last[:], size-1); err != nil {
			return err
		}
		if last[0] != '\n' { // a crash left half a line
			line = append([]byte{'\n'}, line...)
		}
	}
	if size+int64(len(line)) > limit {
		return errOverBound
	}
	if err := writeAll(f, line, size); err != nil {
		return errors.Join(err, f.Truncate(size))
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return d.syncDir()
}

func (d *directory) syncDir() error { return syncDirectory(d.path) }

func syncDirectory(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d *directory) release() error { return d.lock.Close() }

func writeAll(w io.WriterAt, p []byte, off int64) error {
	_, err := w.WriteAt(p, off)
	return err
}

// diskError translates an error of the file system. It keeps the error's text, which names the
// path.
func diskError(op string, err error) error {
	var known *incident.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return incident.Errorf(incident.KindUnavailable, op,
			"%w: %w; free space on the volume or enlarge it", ErrDiskFull, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return incident.Errorf(incident.KindForbidden, op,
			"%w; the spool needs a directory that user %d can write", err, os.Getuid())
	}
	return incident.Errorf(incident.KindInternal, op, "%w", err)
}
