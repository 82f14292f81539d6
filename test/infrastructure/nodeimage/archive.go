package nodeimage

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"time"
)

// imageSpec is an image to be written.
type imageSpec struct {
	ref     string
	config  imageConfig
	layers  []layer // from the bottom up
	created time.Time
}

// imageConfig is the part of an image's configuration that is used here, under the names that engines give it.
type imageConfig struct {
	Env          []string            `json:",omitempty"`
	Entrypoint   []string            `json:",omitempty"`
	Cmd          []string            `json:",omitempty"`
	User         string              `json:",omitempty"`
	Labels       map[string]string   `json:",omitempty"`
	StopSignal   string              `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type manifestItem struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// writeArchive writes images as an archive that every engine can load. Layers are read twice: nothing is kept on disk.
func writeArchive(w io.Writer, images ...imageSpec) error {
	tw := tar.NewWriter(w)
	add := func(name string, size int64, write func(io.Writer) error) error {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: epoch()}); err != nil {
			return err
		}
		return write(tw)
	}
	addBytes := func(name string, content []byte) error {
		return add(name, int64(len(content)), func(w io.Writer) error {
			_, err := w.Write(content)
			return err
		})
	}
	var manifest []manifestItem
	written := make(map[string]bool)
	for _, img := range images {
		item := manifestItem{RepoTags: []string{img.ref}}
		fs := rootFS{Type: "layers"}
		for _, l := range img.layers {
			sha, size, err := l.measure()
			if err != nil {
				return fmt.Errorf("write the image %s: %w", img.ref, err)
			}
			fs.DiffIDs = append(fs.DiffIDs, "sha256:"+sha)
			name := sha + ".tar"
			item.Layers = append(item.Layers, name)
			if written[name] {
				continue
			}
			written[name] = true
			if err := add(name, size, l.write); err != nil {
				return fmt.Errorf("write the image %s: %w", img.ref, err)
			}
		}
		config, err := json.Marshal(map[string]any{
			"architecture": runtime.GOARCH, "os": "linux", "created": img.created.UTC(), "config": img.config, "rootfs": fs,
		})
		if err != nil {
			return err
		}
		sum := sha256.Sum256(config)
		item.Config = hex.EncodeToString(sum[:]) + ".json"
		if err := addBytes(item.Config, config); err != nil {
			return fmt.Errorf("write the image %s: %w", img.ref, err)
		}
		manifest = append(manifest, item)
	}
	content, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	if err := addBytes("manifest.json", content); err != nil {
		return err
	}
	return tw.Close()
}
