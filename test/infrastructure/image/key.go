package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

const (
	module = "kubernaut.ai/kubernaut"
	// generation is part of every key; it changes when images of equal inputs come out differently.
	generation = "1"
	// keyLength is how much of a digest, in hex, is the tag.
	keyLength = 12
)

// goPackage is what go list tells about a package.
type goPackage struct {
	Dir, ImportPath string
	Standard        bool
	Module          *goModule
	Deps            []string
	// What is compiled into a program.
	GoFiles, CgoFiles, CFiles, HFiles, SFiles, SysoFiles, EmbedFiles []string
}

type goModule struct {
	Path, Version string
	Replace       *goModule
}

// files are those that end up in a program, in a fixed order.
func (p *goPackage) files() []string {
	all := slices.Concat(p.GoFiles, p.CgoFiles, p.CFiles, p.HFiles, p.SFiles, p.SysoFiles, p.EmbedFiles)
	slices.Sort(all)
	return slices.Compact(all)
}

// sources are digests of what programs are compiled from.
type sources struct {
	toolchain string
	packages  map[string]*goPackage // by import path, as digests
	digests   map[string]string     // of a package alone
}

// listSources asks Go for all that programs depend on and digests it: the files of this module and of replaced ones by
// their content, other modules by their versions, which go.sum ties to their content, and the toolchain with the
// settings that change what it emits.
func listSources(ctx context.Context, run command.Runner, root string, dirs, env []string) (*sources, error) {
	const fields = "Dir,ImportPath,Standard,Module,Deps,GoFiles,CgoFiles,CFiles,HFiles,SFiles,SysoFiles,EmbedFiles"
	ask := func(args ...string) ([]byte, error) {
		return run.Run(ctx, command.Cmd{Name: "go", Args: args, Dir: root, Env: env, Deadline: time.Minute, Quiet: true})
	}
	args := []string{"list", "-deps", "-json=" + fields}
	for _, d := range dirs {
		args = append(args, "./"+d)
	}
	var out, settings []byte
	var asking errgroup.Group
	asking.Go(func() (err error) {
		if out, err = ask(args...); err != nil {
			return fmt.Errorf("list what the programs are built from: %w", err)
		}
		return nil
	})
	asking.Go(func() (err error) {
		if settings, err = ask("env", "GOVERSION", "GOFLAGS", "GOEXPERIMENT", "GOAMD64", "GOARM64", "GOFIPS140"); err != nil {
			return fmt.Errorf("ask go for its version: %w", err)
		}
		return nil
	})
	if err := asking.Wait(); err != nil {
		return nil, err
	}
	s := &sources{toolchain: string(settings), packages: make(map[string]*goPackage), digests: make(map[string]string)}
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		p := new(goPackage)
		err := dec.Decode(p)
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, fmt.Errorf("output of go list: %w", err)
		}
		s.packages[p.ImportPath] = p
		if s.digests[p.ImportPath], err = p.digest(); err != nil {
			return nil, fmt.Errorf("digest %s: %w", p.ImportPath, err)
		}
	}
}

// digest is one of the package's own content.
func (p *goPackage) digest() (string, error) {
	switch m := p.Module; {
	case p.Standard:
		return "std", nil // the toolchain's version says it
	case m != nil && m.Version != "" && m.Replace == nil:
		return m.Path + "@" + m.Version, nil
	case m != nil && m.Replace != nil && m.Replace.Version != "":
		return m.Replace.Path + "@" + m.Replace.Version, nil
	}
	h := sha256.New()
	for _, f := range p.files() {
		if err := addFile(h, f, filepath.Join(p.Dir, f)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// of is the digest of all that the program in a directory of the module is compiled from.
func (s *sources) of(dir string) (string, error) {
	main, ok := s.packages[module+"/"+dir]
	if !ok {
		return "", fmt.Errorf("go list names no package %s/%s", module, dir)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", s.toolchain)
	for _, path := range slices.Sorted(slices.Values(append([]string{main.ImportPath}, main.Deps...))) {
		fmt.Fprintf(h, "%s %s\n", path, s.digests[path])
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// key is the content key of an image.
func (s Spec) key(dockerfile []byte, src, arch string, goArgs []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%s\n%q\n", generation, s.Package, src, arch, goArgs)
	fmt.Fprintf(h, "%d\n%s", len(dockerfile), dockerfile)
	return hex.EncodeToString(h.Sum(nil))[:keyLength]
}

// addFile adds a file's name and content to a digest.
func addFile(h hash.Hash, name, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%s %d\n", filepath.ToSlash(name), len(content))
	_, err = h.Write(content)
	return err
}

// goArgs are the arguments of go build that decide what comes out.
func goArgs(counters bool) []string {
	args := []string{"-trimpath", "-buildvcs=false", "-ldflags=-s"}
	if counters {
		args = append(args, "-cover", "-covermode=atomic", "-coverpkg="+module+"/...")
	}
	return args
}
