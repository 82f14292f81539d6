package observe

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// bundleFormat names the layout of a bundle. A reader refuses any other.
const bundleFormat = "kubernaut.ai/bundle/v1"

// maxBundleBytes bounds what Decode unpacks.
const maxBundleBytes = 512 << 20

// bundle is the stored form of a snapshot. Field order is part of the format.
type bundle struct {
	Format     string          `json:"format"`
	ObservedAt time.Time       `json:"observedAt"`
	Cluster    string          `json:"cluster,omitempty"`
	Redactions int             `json:"redactions,omitempty"`
	Reads      []diagnose.Read `json:"reads,omitempty"`
	Gaps       []diagnose.Gap  `json:"gaps,omitempty"`
	Objects    []bundleObject  `json:"objects,omitempty"`
	Events     []bundleObject  `json:"events,omitempty"`
	Logs       []diagnose.Log  `json:"logs,omitempty"`

	Reading *diagnose.Reading `json:"reading,omitempty"`
}

type bundleObject struct {
	Partial bool           `json:"partial,omitempty"`
	Fields  []string       `json:"fields,omitempty"`
	Object  map[string]any `json:"object"`
}

// Encode returns the canonical bundle of a snapshot (gzipped JSON) and its digest,
// "sha256:<hex>" of those bytes. Equal snapshots give equal bytes.
func Encode(snap *diagnose.Snapshot) (body []byte, digest string, err error) {
	c := snap.Contents()
	b := bundle{
		Format: bundleFormat, ObservedAt: c.ObservedAt, Cluster: c.Cluster, Redactions: c.Redactions,
		Reads: c.Reads, Gaps: c.Gaps, Objects: toBundle(c.Objects), Events: toBundle(c.Events), Logs: c.Logs, Reading: c.Reading,
	}
	var buf bytes.Buffer
	// A header without name and time, and one fixed level, keep the bytes deterministic.
	zw, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		return nil, "", fmt.Errorf("encode bundle: %w", err)
	}
	enc := json.NewEncoder(zw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(b); err != nil {
		return nil, "", fmt.Errorf("encode bundle: %w", err)
	}
	if err := zw.Close(); err != nil {
		return nil, "", fmt.Errorf("encode bundle: %w", err)
	}
	return buf.Bytes(), Digest(buf.Bytes()), nil
}

// Digest returns "sha256:<hex>" of a bundle's bytes.
func Digest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Decode reads a bundle. A diagnosis of what it returns equals one of the encoded snapshot. The
// error is an *incident.Error of KindMalformed, or of KindTooLarge.
func Decode(body []byte) (*diagnose.Snapshot, error) {
	zr, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, incident.Errorf(incident.KindMalformed, "decode bundle", "not a gzip stream: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(zr, maxBundleBytes+1))
	if err != nil {
		return nil, incident.Errorf(incident.KindMalformed, "decode bundle", "unpack: %w", err)
	}
	if len(raw) > maxBundleBytes {
		return nil, incident.Errorf(incident.KindTooLarge, "decode bundle", "the bundle unpacks to more than %d bytes", maxBundleBytes)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var b bundle
	if err := dec.Decode(&b); err != nil {
		return nil, incident.Errorf(incident.KindMalformed, "decode bundle", "not JSON of a bundle: %w", err)
	}
	if b.Format != bundleFormat {
		return nil, incident.Errorf(incident.KindMalformed, "decode bundle", "format is %q, this program reads %q", b.Format, bundleFormat)
	}
	objects, errObjects := fromBundle(b.Objects)
	events, errEvents := fromBundle(b.Events)
	if err := errors.Join(errObjects, errEvents); err != nil {
		return nil, incident.Errorf(incident.KindMalformed, "decode bundle", "%w", err)
	}
	return diagnose.NewSnapshot(diagnose.Contents{
		ObservedAt: b.ObservedAt, Cluster: b.Cluster, Redactions: b.Redactions, Reads: b.Reads, Gaps: b.Gaps,
		Objects: objects, Events: events, Logs: b.Logs, Reading: b.Reading,
	}), nil
}

func toBundle(objects []*diagnose.Object) []bundleObject {
	out := make([]bundleObject, len(objects))
	for i, o := range objects {
		out[i] = bundleObject{Partial: o.Partial(), Fields: o.Fields(), Object: o.Tree()}
	}
	return out
}

func fromBundle(in []bundleObject) ([]*diagnose.Object, error) {
	out := make([]*diagnose.Object, 0, len(in))
	for i, b := range in {
		o, err := object(b.Object, b.Partial, b.Fields)
		if err != nil {
			return nil, fmt.Errorf("object %d: %w", i, err)
		}
		out = append(out, o)
	}
	return out, nil
}

// object makes a part when only some fields were read.
func object(tree map[string]any, partial bool, fields []string) (*diagnose.Object, error) {
	if fields != nil {
		return diagnose.NewPart(tree, fields)
	}
	return diagnose.NewObject(tree, partial)
}
