package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// root is the directory that is configured. Several processes share it, each with a directory of its
// own in it:
//
//	guard            locked for moments, while directories are created, taken and removed
//	rejected.jsonl   of all processes
//	process-N/       the spool of one, with a file that it keeps locked as long as it lives
//
// A spool may also lie in the root itself, under the lock there: the layout of a program that is alone
// in its directory. It is taken over like that of a process that is gone, and never written.
type root struct{ path string }

const (
	guardName     = "guard"
	processFormat = "process-%d"
)

// openRoot creates the directory if need be.
func openRoot(path string) (*root, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create the spool directory: %w", err)
	}
	// A power cut must not take a new directory away. That the parent may not be ours to open means
	// that the directory was there before.
	_ = syncDirectory(filepath.Dir(path))
	return &root{path: path}, nil
}

// guard keeps other processes from creating, taking and removing directories until it is closed. When
// it may not wait for them it fails with errHeld.
func (r *root) guard(wait bool) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(r.path, guardName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("take the spool directory: %w", err)
	}
	if err := flock(f, wait); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// create makes a new directory for this process, the newest of all.
func (r *root) create() (*directory, error) {
	guard, err := r.guard(true)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	numbers, _, err := r.list()
	if err != nil {
		return nil, err
	}
	newest := 0
	if len(numbers) > 0 {
		newest = numbers[len(numbers)-1]
	}
	path := r.process(newest + 1)
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, fmt.Errorf("create the spool directory: %w", err)
	}
	d, err := r.take(path)
	if err != nil {
		return nil, err
	}
	if err := syncDirectory(r.path); err != nil {
		return nil, errors.Join(fmt.Errorf("create the spool directory: %w", err), d.release())
	}
	return d, nil
}

// look takes every directory that nobody holds, oldest first, and returns how many undelivered bytes
// are in those that others hold. own is the directory of this process, if it has one. What look
// returns is valid beside an error too, which is about the rest. When it may not wait for another
// process that looks, it may fail with errHeld.
func (r *root) look(own string, wait bool) (gone []*directory, others int64, err error) {
	guard, err := r.guard(wait)
	if err != nil {
		return nil, 0, err
	}
	defer guard.Close()
	numbers, alone, err := r.list()
	if err != nil {
		return nil, 0, err
	}
	var paths []string
	for _, n := range numbers {
		paths = append(paths, r.process(n))
	}
	if alone {
		paths = append(paths, r.path)
	}
	var faults []error
	for _, path := range paths {
		if path == own {
			continue
		}
		switch d, err := r.take(path); {
		case err == nil:
			gone = append(gone, d)
		case errors.Is(err, errHeld):
			others += undelivered(&directory{path: path})
		default:
			faults = append(faults, err)
		}
	}
	return gone, others, errors.Join(faults...)
}

// list returns the numbers of the processes' directories, in order, and whether a spool lies in the
// root itself.
func (r *root) list() (numbers []int, alone bool, err error) {
	entries, err := os.ReadDir(r.path)
	if err != nil {
		return nil, false, fmt.Errorf("list the spool directory: %w", err)
	}
	for _, e := range entries {
		var n int
		if c, _ := fmt.Sscanf(e.Name(), processFormat, &n); c == 1 && e.IsDir() && e.Name() == fmt.Sprintf(processFormat, n) {
			numbers = append(numbers, n)
		}
		alone = alone || e.Name() == positionName || isSegment(e.Name())
	}
	slices.Sort(numbers)
	return numbers, alone, nil
}

func (r *root) process(n int) string {
	return filepath.Join(r.path, fmt.Sprintf(processFormat, n))
}

// take takes a directory. It fails with errHeld when another process has it. It is called under guard,
// so that the directory is not being created or removed.
func (r *root) take(path string) (*directory, error) {
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("take the spool directory: %w", err)
	}
	if err := flock(lock, false); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &directory{path: path, root: r, lock: lock}, nil
}

// undelivered estimates the bytes of a spool that another process works on.
func undelivered(d *directory) int64 {
	segments, err := listSegments(d)
	if err != nil {
		return 0
	}
	delivered, _ := readPosition(d)
	var sum int64
	for _, seg := range segments {
		info, err := os.Stat(filepath.Join(d.path, seg.name()))
		if err != nil || seg.number < delivered.segment {
			continue // delivered, or about to be removed
		}
		sum += max(info.Size()-delivered.in(seg), 0)
	}
	return sum
}

// errHeld: another process holds the lock.
var errHeld = errors.New("held by another process")

// flock takes the lock of a file; with wait, when it is free. The lock ends with the file, at the latest
// with the process.
func flock(f *os.File, wait bool) error {
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), how); {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errHeld
		default:
			return &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}
