package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Files and directories in a data directory.
const (
	lockFile  = "lock"     // held while a kubernaut up runs on the directory; its content is the pid
	stateFile = "run.json" // a runState, while that is so
	logFile   = "kubernaut.log"
)

// runState is what a running kubernaut up tells the other commands.
type runState struct {
	PID         int       `json:"pid"`
	StartedAt   time.Time `json:"startedAt"`
	Kubeconfig  string    `json:"kubeconfig"`
	DataStorage string    `json:"dataStorage"` // URL
	HolmesGPT   string    `json:"holmesgptApi"`
	Health      string    `json:"health"`  // of the controller
	Metrics     string    `json:"metrics"` // of the controller
}

// dataDir returns the absolute path of the given data directory, or of the default one: kubernaut
// under the user's data directory.
func (c *command) dataDir(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	if dir := c.env("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "kubernaut"), nil
	}
	if runtime.GOOS == "linux" {
		if home := c.env("HOME"); home != "" {
			return filepath.Join(home, ".local", "share", "kubernaut"), nil
		}
	}
	dir, err := os.UserConfigDir() // on macOS and Windows this is where applications keep data
	if err != nil {
		return "", fmt.Errorf("no place for data is known: give --data-dir: %w", err)
	}
	return filepath.Join(dir, "kubernaut"), nil
}

// lockDataDir creates dir and takes its lock, which the kernel releases when the process ends, however
// it ends.
func lockDataDir(dir string) (release func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := tryLock(f); err != nil {
		defer f.Close()
		if !errors.Is(err, errLocked) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		holder := "another process"
		if pid, err := os.ReadFile(f.Name()); err == nil && len(pid) > 0 {
			holder = "process " + strings.TrimSpace(string(pid))
		}
		return nil, fmt.Errorf("%s already runs kubernaut on %s; stop it, or give another --data-dir", holder, dir)
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

// writeRunState makes the running system known; it is known no longer when the file is removed.
func writeRunState(dir string, s runState) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, stateFile+".new")
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, stateFile))
}

// readRunState returns what runs on dir, nil when nothing does. What a killed process left behind
// counts as nothing: its lock is free.
func readRunState(dir string) (*runState, error) {
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if err != nil {
		return nil, nil //nolint:nilerr // no lock, nobody who holds it
	}
	defer f.Close()
	if err := tryLock(f); err == nil {
		return nil, nil
	}
	var s runState
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, stateFile), err)
	}
	return &s, nil
}
