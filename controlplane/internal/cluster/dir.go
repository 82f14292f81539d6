package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Names inside the data directory.
const (
	lockFile    = "lock"
	portFile    = "port"
	logFile     = "controlplane.log"
	pkiDir      = "pki"
	etcdDir     = "etcd"
	etcdSocket  = "etcd.sock:2379" // a file; etcd insists on the form host:port
	peerSocket  = "etcd.sock:2380"
	kubeconfig  = "kubeconfig"
	flexvolumes = "flexvolumes"
)

// dataDir is the directory that the process lives in: it is locked, and it is the working directory, so that the path
// of etcd's socket stays below the 108 bytes that a socket's address has, wherever the directory is.
type dataDir struct {
	path      string // absolute
	temporary bool
	lock      *os.File
}

func openDir(path string) (*dataDir, error) {
	d := &dataDir{temporary: path == ""}
	var err error
	if d.temporary {
		path, err = os.MkdirTemp("", "controlplane-")
	} else {
		err = os.MkdirAll(path, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	if d.path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", path, err)
	}
	if d.lock, err = os.OpenFile(filepath.Join(d.path, lockFile), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600); err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = d.lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s is in use by another control plane: stop that one or choose another directory", d.path)
		}
		return nil, fmt.Errorf("lock %s: %w", d.lock.Name(), err)
	}
	if err := os.Chdir(d.path); err != nil {
		_ = d.lock.Close()
		return nil, fmt.Errorf("enter the data directory: %w", err)
	}
	return d, nil
}

// close unlocks the directory, and removes it if it is a temporary one and the run went well.
func (d *dataDir) close(failed bool) {
	_ = d.lock.Close()
	if d.temporary && !failed {
		_ = os.RemoveAll(d.path)
	}
}

func (d *dataDir) file(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// openLog starts a new log and keeps the one before it as controlplane.log.1.
func (d *dataDir) openLog() (*os.File, error) {
	p := d.file(logFile)
	if err := os.Rename(p, p+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("keep the former log: %w", err)
	}
	f, err := os.OpenFile(p, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return f, nil
}

// listen opens the API server's port and records it. The port is held from here on, so that two control planes that
// start at once cannot choose the same one.
func (d *dataDir) listen(port int) (net.Listener, error) {
	recorded := false
	if port == 0 {
		switch b, err := os.ReadFile(d.file(portFile)); {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return nil, fmt.Errorf("read the recorded port: %w", err)
		default:
			if port, err = strconv.Atoi(strings.TrimSpace(string(b))); err != nil || port <= 0 || port > 65535 {
				return nil, fmt.Errorf("%s holds %q, which is not a port: remove the file or pass --port", d.file(portFile), b)
			}
			recorded = true
		}
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	switch {
	case err != nil && recorded:
		return nil, fmt.Errorf("port %d, which %s was made with, is not free: stop what uses it, or pass --port to move the server and rewrite its kubeconfig: %w", port, d.path, err)
	case err != nil:
		return nil, fmt.Errorf("open the API server's port: %w", err)
	}
	got := l.Addr().(*net.TCPAddr).Port
	if err := os.WriteFile(d.file(portFile), []byte(strconv.Itoa(got)+"\n"), 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("record the port: %w", err)
	}
	return l, nil
}
