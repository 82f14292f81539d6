package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

const (
	stateFile  = "state.json"
	resultFile = "result.json"
	// keptRuns is how many runs' logs and evidence stay.
	keptRuns = 30
	// stateVersion changes when an older program's checkpoint cannot be read; it is then as if there were none.
	stateVersion = 1
)

// checkpoint is what a run leaves to the next one.
type checkpoint struct {
	Version int       `json:"version"`
	Suite   string    `json:"suite"`
	Cluster string    `json:"cluster"`
	RunID   string    `json:"runId"`
	Updated time.Time `json:"updated"`
	// Phases are those with a checkpoint that succeeded and whose claims nothing has touched since.
	Phases map[string]claim           `json:"phases"`
	Facts  map[string]json.RawMessage `json:"facts,omitempty"`
}

// claim says that a phase succeeded with certain inputs.
type claim struct {
	Digest   string        `json:"digest"`
	RunID    string        `json:"runId"`
	Finished time.Time     `json:"finished"`
	Duration time.Duration `json:"duration"`
}

// readCheckpoint reads the checkpoint of a plan. There is none if the file is missing, of another version or of another
// plan's; an unreadable one is an error.
func readCheckpoint(dir string, p Plan) (*checkpoint, error) {
	content, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var c checkpoint
	if err := json.Unmarshal(content, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, stateFile), err)
	}
	if c.Version != stateVersion || c.Suite != p.Suite || c.Cluster != p.Cluster {
		return nil, nil
	}
	return &c, nil
}

// ReadResult reads the result of a run, complete or not, from the run's directory.
func ReadResult(dir string) (Result, error) {
	path := filepath.Join(dir, resultFile)
	content, err := os.ReadFile(path)
	if err != nil {
		return Result{}, err
	}
	var r Result
	if err := json.Unmarshal(content, &r); err != nil {
		return Result{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// LastRun returns the directory of the latest run of a cluster's directory, "" if there is none.
func LastRun(dir string) (string, error) {
	results, err := filepath.Glob(filepath.Join(dir, "runs", "*", resultFile)) // sorted, and run ids sort by time
	if err != nil || len(results) == 0 {
		return "", err
	}
	return filepath.Dir(results[len(results)-1]), nil
}

// runName is how NewRunID names runs.
var runName = regexp.MustCompile(`^\d{8}T\d{6}Z-[0-9a-f]{4}$`)

// forgetRuns removes the directories of the oldest runs, so that at most keep are left. Others' directories stay.
func forgetRuns(dir string, keep int) error {
	entries, err := os.ReadDir(filepath.Join(dir, "runs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() || !runName.MatchString(e.Name()) })
	all := []error{err}
	for i := range max(0, len(entries)-keep) {
		all = append(all, os.RemoveAll(filepath.Join(dir, "runs", entries[i].Name())))
	}
	return errors.Join(all...)
}

// writeJSON writes a file so that a reader, also after this process was killed, sees the old or the new content. It does not
// wait for the disk: a checkpoint that a power cut destroys is unreadable, which is as if there were none.
func writeJSON(path string, v any) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(content, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
