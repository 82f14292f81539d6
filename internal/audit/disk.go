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
	// adopt moves a file here from another disk of the same kind and volume. It is durable after
	// syncDir of both; until then a power cut leaves it in one of them.
	adopt(from disk, name, as string) error
	// extend durably appends a line to the file that all spools of the volume share, on a line of its
	// own whatever is there, and fails with errOverBound without writing when the file would then be
	// longer than limit.
	extend(name string, line []byte, limit int64) error
	syncDir() error
	// release gives the directory up for others.
	release() error
	// discard is release of a directory without segments, which it removes. Where that cannot be done
	// at once it is left to the next who finds the directory.
	discard() error
}

var errOverBound = errors.New("the file has reached its bound")

// directory is a disk in a real directory that no other process uses at the same time.
type directory struct {
	path string
	root *root
	lock *os.File
}

const lockName = "lock"

// sign writes into the lock who holds it, for people. A full disk is no reason not to begin.
func (d *directory) sign() {
	host, _ := os.Hostname()
	name := fmt.Sprintf("process %d on host %s\n", os.Getpid(), host)
	_ = errors.Join(d.lock.Truncate(0), writeAll(d.lock, []byte(name), 0))
}

// signature reads what sign wrote last.
func (d *directory) signature() string {
	var buf [300]byte
	n, _ := d.lock.ReadAt(buf[:], 0)
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

// newSuffix ends the name of a file that is to replace another.
const newSuffix = ".new"

func (d *directory) replace(name string, content []byte) error {
	path := filepath.Join(d.path, name)
	if err := os.WriteFile(path+newSuffix, content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+newSuffix, path)
}

func (d *directory) adopt(from disk, name, as string) error {
	return os.Rename(filepath.Join(from.(*directory).path, name), filepath.Join(d.path, as))
}

func (d *directory) extend(name string, line []byte, limit int64) error {
	f, err := os.OpenFile(filepath.Join(d.root.path, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := flock(f, false); err != nil {
		return err
	}
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
	return syncDirectory(d.root.path)
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

func (d *directory) discard() error {
	guard, err := d.root.guard(false)
	if err != nil {
		return errors.Join(d.release(), ignore(err, errHeld))
	}
	defer guard.Close()
	return errors.Join(d.clear(), d.release())
}

// clear removes what belongs to a spool beside its segments.
func (d *directory) clear() error {
	names := []string{positionName, positionName + newSuffix}
	own := d.path != d.root.path
	if own { // a program that is alone in the root relies on the lock there
		names = append(names, lockName)
	}
	for _, name := range names {
		if err := d.remove(name); ignore(err, fs.ErrNotExist) != nil {
			return err
		}
	}
	if own {
		return os.Remove(d.path)
	}
	return nil
}

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

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
