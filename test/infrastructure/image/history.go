package image

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// history is what earlier builds took, by image and kind of build.
type history struct {
	path  string
	Peaks map[string]int64 `json:"peaks"`
}

// readHistory reads the file in a directory. One that is missing or cannot be read says nothing: it is only an estimate.
func readHistory(dir string) *history {
	h := &history{path: filepath.Join(dir, "builds.json")}
	content, err := os.ReadFile(h.path)
	if err == nil {
		err = json.Unmarshal(content, h)
	}
	if err != nil || h.Peaks == nil {
		h.Peaks = make(map[string]int64)
	}
	return h
}

// key names a kind of build.
func (h *history) key(s Spec, coverage bool) string {
	if s.instrumented(coverage) {
		return s.Name + " with counters"
	}
	return s.Name
}

// remember writes what builds took. A build that compiled little says less than the one before: links decide, and a link
// is part of every build.
func (h *history) remember(peaks map[string]int64) error {
	for k, v := range peaks {
		if v > 0 {
			h.Peaks[k] = v
		}
	}
	content, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(h.path), 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(h.path), ".builds-*")
	if err != nil {
		return err
	}
	defer func() {
		if err := os.Remove(f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return // it stays, named as what it is
		}
	}()
	_, err = f.Write(append(content, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), h.path)
}
