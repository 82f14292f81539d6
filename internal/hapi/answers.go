package hapi

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// answers keeps finished answers in a directory, one file for each key, named by the key's hash: a
// line of JSON (answerHeader), then the body. A file appears complete or not at all. At most limit
// answers are kept, none longer than retention; the oldest go first.
type answers struct {
	dir       string
	retention time.Duration
	limit     int
	now       func() time.Time

	mu    sync.Mutex
	index map[string]time.Time // file name → when it was finished
	order []aged               // oldest first; an entry that the index does not confirm is void
}

type aged struct {
	name     string
	finished time.Time
}

// answerHeader is the first line of a file.
type answerHeader struct {
	Format   string    `json:"format"`
	Key      string    `json:"key"`
	Request  string    `json:"request"` // endpoint and hash of the request's body
	Finished time.Time `json:"finished"`
	Bytes    int       `json:"bytes"`
	SHA256   string    `json:"sha256"` // of the body
}

const (
	answerFormat = "kubernaut.ai/answer/v1"
	answerSuffix = ".answer"
	// maxHeader bounds the first line: a key has at most 200 bytes and the rest is short.
	maxHeader = 4 << 10
)

// openAnswers reads what is in dir. Files that are broken, of another format or too old are removed.
func openAnswers(dir string, retention time.Duration, limit int, now func() time.Time, log *slog.Logger) (*answers, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	a := &answers{dir: dir, retention: retention, limit: limit, now: now, index: map[string]time.Time{}}
	for _, e := range entries {
		name := e.Name()
		switch {
		case e.IsDir():
			continue
		case strings.HasSuffix(name, ".tmp"): // a writer died
			_ = os.Remove(filepath.Join(dir, name))
			continue
		case !strings.HasSuffix(name, answerSuffix):
			continue
		}
		h, err := a.header(name)
		if err != nil {
			log.Warn("removing a kept answer that cannot be read", "file", name, "error", err)
			_ = os.Remove(filepath.Join(dir, name))
			continue
		}
		a.index[name] = h.Finished
		a.order = append(a.order, aged{name, h.Finished})
	}
	slices.SortFunc(a.order, func(x, y aged) int {
		return cmp.Or(x.finished.Compare(y.finished), strings.Compare(x.name, y.name))
	})
	a.evict()
	return a, nil
}

func answerFile(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:]) + answerSuffix
}

// header reads the first line of a file and checks that the file is as long as it says.
func (a *answers) header(name string) (answerHeader, error) {
	file, err := os.Open(filepath.Join(a.dir, name))
	if err != nil {
		return answerHeader{}, err
	}
	defer func() { _ = file.Close() }()
	start := make([]byte, maxHeader)
	n, err := file.ReadAt(start, 0)
	if n == 0 {
		return answerHeader{}, err
	}
	h, line, err := parseHeader(start[:n])
	if err != nil {
		return answerHeader{}, err
	}
	info, err := file.Stat()
	if err != nil {
		return answerHeader{}, err
	}
	if info.Size() != int64(line)+int64(h.Bytes) || name != answerFile(h.Key) {
		return answerHeader{}, errors.New("the file is not what its header says")
	}
	return h, nil
}

// parseHeader returns the header and the number of bytes of its line.
func parseHeader(start []byte) (answerHeader, int, error) {
	line, _, found := bytes.Cut(start, []byte{'\n'})
	if !found {
		return answerHeader{}, 0, errors.New("the header is not complete")
	}
	var h answerHeader
	if err := json.Unmarshal(line, &h); err != nil {
		return answerHeader{}, 0, fmt.Errorf("the header: %w", err)
	}
	if h.Format != answerFormat {
		return answerHeader{}, 0, fmt.Errorf("the format is %q", h.Format)
	}
	return h, len(line) + 1, nil
}

// get returns the answer for key and the request that it answers; nil when there is none. After an
// error there is none either.
func (a *answers) get(key string) (body []byte, request string, err error) {
	name := answerFile(key)
	a.mu.Lock()
	defer a.mu.Unlock()
	finished, ok := a.index[name]
	if !ok {
		return nil, "", nil
	}
	if a.now().Sub(finished) > a.retention {
		a.drop(name)
		return nil, "", nil
	}
	data, err := os.ReadFile(filepath.Join(a.dir, name))
	if err == nil {
		var h answerHeader
		var line int
		if h, line, err = parseHeader(data[:min(len(data), maxHeader)]); err == nil {
			body = data[line:]
			sum := sha256.Sum256(body)
			if h.Key == key && hex.EncodeToString(sum[:]) == h.SHA256 {
				return body, h.Request, nil
			}
			err = errors.New("the content is not what the header says")
		}
	}
	a.drop(name)
	return nil, "", fmt.Errorf("%s: %w", name, err)
}

// put keeps an answer durably: when it returns nil, the answer survives a crash of the machine.
func (a *answers) put(key, request string, body []byte) error {
	sum := sha256.Sum256(body)
	h := answerHeader{
		Format: answerFormat, Key: key, Request: request, Finished: a.now().UTC(),
		Bytes: len(body), SHA256: hex.EncodeToString(sum[:]),
	}
	line, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if len(line) >= maxHeader {
		return fmt.Errorf("the header has %d bytes", len(line))
	}
	name := answerFile(key)
	if err := writeDurably(a.dir, name, line, []byte{'\n'}, body); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index[name] = h.Finished
	a.order = append(a.order, aged{name, h.Finished})
	a.evict()
	return nil
}

// writeDurably writes a file that is there complete or not at all.
func writeDurably(dir, name string, parts ...[]byte) (err error) {
	file, err := os.CreateTemp(dir, name+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	for _, part := range parts {
		if _, err = file.Write(part); err != nil {
			_ = file.Close()
			return err
		}
	}
	if err = errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (a *answers) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.index)
}

// evict removes what is too old or too much. The caller holds mu.
func (a *answers) evict() {
	now := a.now()
	for len(a.order) > 0 {
		oldest := a.order[0]
		if finished, ok := a.index[oldest.name]; ok && finished.Equal(oldest.finished) {
			if len(a.index) <= a.limit && now.Sub(finished) <= a.retention {
				return
			}
			a.drop(oldest.name)
		}
		a.order = a.order[1:]
	}
}

// drop forgets an answer and removes its file. The caller holds mu.
func (a *answers) drop(name string) {
	delete(a.index, name)
	if err := os.Remove(filepath.Join(a.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return // it is removed when it is next found, at the latest after a restart
	}
}
