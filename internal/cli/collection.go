package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/observe"
)

// collectionFormat names the layout of what collect writes: a directory, or a gzipped tar of one, with a
// manifest, the bundle and the verdict. A reader refuses any other.
const collectionFormat = "kubernaut.ai/collection/v1"

// Files of a collection.
const (
	manifestFile = "manifest.json"
	bundleFile   = "bundle.json.gz"
	verdictFile  = "verdict.json"
)

// manifest says what a collection holds.
type manifest struct {
	Format   string      `json:"format"`
	Incident incidentDoc `json:"incident"` // what was asked
	Read     readDoc     `json:"read"`
	// Verdict is the digest of verdict.json.
	Verdict    string         `json:"verdict"`
	Redactions []redaction    `json:"redactions"`
	Gaps       []diagnose.Gap `json:"gaps"`
}

// collection is what collect writes.
type collection struct {
	manifest manifest
	bundle   []byte
	verdict  []byte
}

// newCollection makes a collection of a reading and its diagnosis.
func newCollection(r *reading, d *diagnosis) (*collection, error) {
	verdict, err := encodeJSON(d)
	if err != nil {
		return nil, err
	}
	return &collection{
		manifest: manifest{
			Format: collectionFormat, Incident: d.Incident, Read: d.Read, Verdict: observe.Digest(verdict),
			Redactions: redactions(r.snapshot), Gaps: append([]diagnose.Gap{}, r.snapshot.Contents().Gaps...),
		},
		bundle: r.body, verdict: verdict,
	}, nil
}

// file is one file of a collection.
type file struct {
	name string
	body []byte
}

func (c *collection) files() ([]file, error) {
	m, err := encodeJSON(c.manifest)
	if err != nil {
		return nil, err
	}
	return []file{{manifestFile, m}, {bundleFile, c.bundle}, {verdictFile, c.verdict}}, nil
}

// pack returns the collection as a gzipped tar. Equal collections give equal bytes.
func (c *collection) pack() ([]byte, error) {
	files, err := c.files()
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Size: int64(len(f.body)), Mode: 0o644, Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := tw.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := tw.Write(f.body); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// errNoCollection says that something was not written by collect.
var errNoCollection = errors.New("is no collection")

// unpackCollection reads a packed collection. The error is errNoCollection when the bytes are none.
func unpackCollection(body []byte) (*collection, error) {
	zr, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, errNoCollection
	}
	tr := tar.NewReader(zr)
	files := map[string][]byte{}
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && len(files) == 0 || err == nil && len(files) == 0 && h.Name != manifestFile {
			return nil, errNoCollection
		}
		if err != nil {
			return nil, fmt.Errorf("damaged: %w", err)
		}
		if len(files) > 3 || h.Size > maxRecording {
			return nil, errors.New("holds more than a collection does")
		}
		if files[h.Name], err = io.ReadAll(io.LimitReader(tr, maxRecording)); err != nil {
			return nil, fmt.Errorf("damaged: %w", err)
		}
	}
	return openCollection(func(name string) ([]byte, error) {
		if f, ok := files[name]; ok {
			return f, nil
		}
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	})
}

// openCollection reads a collection's files. The error is errNoCollection when there is no manifest of
// one; that its bundle and verdict are what the manifest says is checked.
func openCollection(read func(name string) ([]byte, error)) (*collection, error) {
	raw, err := read(manifestFile)
	if err != nil {
		return nil, errNoCollection
	}
	c := &collection{}
	if err := json.Unmarshal(raw, &c.manifest); err != nil || c.manifest.Format == "" {
		return nil, errNoCollection
	}
	if c.manifest.Format != collectionFormat {
		return nil, fmt.Errorf("format is %q, this program reads %q", c.manifest.Format, collectionFormat)
	}
	if c.bundle, err = read(bundleFile); err != nil {
		return nil, err
	}
	if c.verdict, err = read(verdictFile); err != nil {
		return nil, err
	}
	if got := observe.Digest(c.bundle); got != c.manifest.Read.Bundle {
		return nil, fmt.Errorf("%s is damaged: its digest is %s, the manifest says %s", bundleFile, got, c.manifest.Read.Bundle)
	}
	if got := observe.Digest(c.verdict); got != c.manifest.Verdict {
		return nil, fmt.Errorf("%s is damaged: its digest is %s, the manifest says %s", verdictFile, got, c.manifest.Verdict)
	}
	return c, nil
}

// reading decodes the bundle.
func (c *collection) reading(origin string) (*reading, error) {
	snapshot, err := observe.Decode(c.bundle)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", origin, err)
	}
	return &reading{snapshot: snapshot, body: c.bundle, digest: c.manifest.Read.Bundle, origin: origin, stored: c, incident: c.manifest.Incident.incident()}, nil
}

// redaction is a place at which something was replaced before it was kept.
type redaction struct {
	incident.Ref
	Path string `json:"path"`
}
