// Package catalog holds the starter catalog: remediation workflows for every class of cause that the
// engine finds, one document in each file, in the format of internal/catalog. What an image runs is
// in the steps of its document; the images themselves are built and owned by whoever runs the
// catalog.
package catalog

import (
	"embed"
	"io/fs"
)

//go:embed *.yaml
var files embed.FS

// Documents returns the text of every document by its file name.
func Documents() (map[string][]byte, error) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte, len(names))
	for _, name := range names {
		if name == "kustomization.yaml" {
			continue
		}
		if out[name], err = files.ReadFile(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}
