package recorded

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"path"
)

// isArchive reports whether a file is a tar.
func isArchive(body []byte) bool {
	const magic = 257
	return len(body) > magic+5 && string(body[magic:magic+5]) == "ustar"
}

// maxNesting bounds archives in archives: some unpack to themselves.
const maxNesting = 3

// archive reads the files of a tar as if they lay in the directory of the tar.
func (r *reader) archive(name string, body []byte) error {
	if r.nesting == maxNesting {
		r.leave(name, 0, 0, "is an archive in too many archives")
		return nil
	}
	r.nesting++
	defer func() { r.nesting-- }()
	tr := tar.NewReader(bytes.NewReader(body))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			r.leave(name, 0, 0, "is an archive and damaged: "+err.Error())
			return nil
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if _, err := r.file(path.Join(path.Dir(name), path.Clean("/"+h.Name)), tr); err != nil {
			return err
		}
	}
}
