//go:build unix

package cli

import (
	"errors"
	"os"
	"syscall"
)

var errLocked = errors.New("the file is locked by another process")

// tryLock takes the lock of f, which is released when f is closed, or returns errLocked.
func tryLock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return err
}
