//go:build !unix

package cli

import (
	"errors"
	"os"
)

var errLocked = errors.New("the file is locked by another process")

// tryLock says that it cannot: without the lock, two processes would ruin one data directory.
func tryLock(*os.File) error {
	return errors.New("this operating system is not supported: its file locks are not known here")
}
