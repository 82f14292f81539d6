package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

const (
	// lockSuffix is what kubectl and Kind add to the name of a kubeconfig for their lock, an empty file that exists while one
	// of them writes.
	lockSuffix = ".lock"
	// writing is far longer than any of them takes.
	writing = 10 * time.Second
)

// writeKubeconfig writes the file as a whole, for its owner's eyes only, and removes a lock beside it that somebody was killed
// with: nobody could change the context of the new file.
func writeKubeconfig(path string, text []byte, log io.Writer) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if info, err := os.Stat(path + lockSuffix); err == nil && time.Since(info.ModTime()) > writing {
		if err := os.Remove(path + lockSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		fmt.Fprintf(log, "removed %s, which is from %s and whose holder is gone\n", path+lockSuffix, info.ModTime().Format(time.RFC3339))
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
