package cluster

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"kubernaut.ai/kubernaut/test/infrastructure/image"
)

// archiveImage is what an archive of one image says about it.
type archiveImage struct {
	// id is the digest of its configuration, in hex: what containerd, Docker's format and the kubelet identify it by.
	id    string
	names []string
}

// readArchive reads a docker-archive with one image.
func readArchive(file string) (archiveImage, error) {
	f, err := os.Open(file)
	if err != nil {
		return archiveImage{}, err
	}
	defer f.Close()
	const largest = 4 << 20 // of a configuration or a manifest
	digests := make(map[string]string)
	var manifest []byte
	archive := tar.NewReader(f)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return archiveImage{}, fmt.Errorf("archive %s: %w", file, err)
		}
		if h.Typeflag != tar.TypeReg || h.Size > largest {
			continue
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			return archiveImage{}, fmt.Errorf("archive %s: %w", file, err)
		}
		sum := sha256.Sum256(content)
		digests[path.Clean(h.Name)] = hex.EncodeToString(sum[:])
		if h.Name == "manifest.json" {
			manifest = content
		}
	}
	var images []struct {
		Config   string
		RepoTags []string
	}
	if err := json.Unmarshal(manifest, &images); err != nil {
		return archiveImage{}, fmt.Errorf("archive %s: its manifest.json: %w", file, err)
	}
	if len(images) != 1 || digests[path.Clean(images[0].Config)] == "" {
		return archiveImage{}, fmt.Errorf("archive %s: want one image with its configuration, got %d", file, len(images))
	}
	return archiveImage{digests[path.Clean(images[0].Config)], images[0].RepoTags}, nil
}

// named reports whether the archive gives the image a name.
func (a archiveImage) named(ref image.Ref) bool {
	return slices.ContainsFunc(a.names, func(name string) bool {
		have, err := image.ParseRef(name)
		return err == nil && have == ref
	})
}
