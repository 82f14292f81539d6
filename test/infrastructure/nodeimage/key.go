package nodeimage

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// recipe is this package's own text, which is an input of the steps that it describes.
//
//go:embed *.go default-cni.yaml
var recipe embed.FS

// digest makes the key of a step. Each input is written with a name and its length, so that no two lists of inputs are
// the same text.
type digest struct{ h hash.Hash }

func newDigest(step string) digest {
	d := digest{sha256.New()}
	d.add("step", step)
	return d
}

func (d digest) add(name string, values ...string) {
	fmt.Fprintf(d.h, "%s %d\n", name, len(values))
	for _, v := range values {
		fmt.Fprintf(d.h, "%d\n%s", len(v), v)
	}
}

// key adds the files of this package that describe the step, and returns the key: 12 hexadecimal digits.
func (d digest) key(files ...string) (string, error) {
	for _, f := range files {
		content, err := recipe.ReadFile(f)
		if err != nil {
			return "", err
		}
		d.add(f, string(content))
	}
	return hex.EncodeToString(d.h.Sum(nil))[:12], nil
}

// sources adds the Go files of a directory, tests aside, and its go.mod and go.sum.
func (d digest) sources(dir string) error {
	return fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		goFile := strings.HasSuffix(base, ".go") && !strings.HasSuffix(base, "_test.go")
		if !e.Type().IsRegular() || !goFile && base != "go.mod" && base != "go.sum" {
			return nil
		}
		return d.files(dir, name)
	})
}

// files adds files of a directory.
func (d digest) files(dir string, names ...string) error {
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		d.add(name, string(content))
	}
	return nil
}
