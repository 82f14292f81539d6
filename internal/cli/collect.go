package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

func (c *command) collect() *cobra.Command {
	var f subjectFlags
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "collect [TYPE/NAME | TYPE NAME]",
		Short: "Write what analyze reads into a redacted bundle, with the verdict",
		Long: `Write what analyze reads into a redacted bundle, with the verdict.

FILE.tgz, or a directory of any other name, gets three files:

  manifest.json    what was asked, the digest of the bundle, what was redacted, what could not be read
  bundle.json.gz   objects, events and logs, content-addressed; equal readings give equal bytes
  verdict.json     what kubernaut analyze -o json says of it

The values of Secrets are never asked for; what looks like a secret elsewhere is replaced before it is
written. kubernaut analyze --bundle reads it, and kubernaut replay checks it.`,
		Example: `  kubernaut collect deploy/checkout -n shop -o checkout.tgz
  kubernaut collect --all -o cluster.tgz
  kubernaut collect --bundle must-gather/ -o incident.tgz`,
		Args:              arguments(0, 2, "TYPE/NAME, or TYPE NAME"),
		ValidArgsFunction: c.completeSubject(&f),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := c.read(cmd.Context(), f, args)
			if err != nil {
				return err
			}
			shelf, err := builtinWorkflows()
			if err != nil {
				return err
			}
			doc, err := diagnosed(cmd.Context(), shelf, r)
			if err != nil {
				return err
			}
			kept, err := newCollection(r, doc)
			if err != nil {
				return err
			}
			if out == "" {
				out = collectionName(r)
			}
			if err := kept.write(out, force); err != nil {
				return err
			}
			return c.writeCollected(c.Out, out, kept, doc)
		},
	}
	f.bind(cmd.Flags())
	cmd.Flags().BoolVar(&f.all, "all", false, "the same as -A")
	c.completeFlags(cmd, &f.cluster)
	cmd.Flags().StringVarP(&out, "output", "o", "", "`path` of a .tgz, or of a directory (default: named for the subject and the time)")
	cmd.Flags().BoolVar(&force, "force", false, "replace an earlier collection")
	return cmd
}

var unfit = regexp.MustCompile(`[^a-z0-9.-]+`)

// collectionName names a collection for what it holds.
func collectionName(r *reading) string {
	ref := r.incident.Resource
	name := joinNonEmpty("-", "kubernaut", ref.Namespace, strings.ToLower(ref.Kind), ref.Name, r.snapshot.ObservedAt().Format("20060102t150405z"))
	return unfit.ReplaceAllString(name, "-") + ".tgz"
}

// writeCollected reports what was written.
func (c *command) writeCollected(w io.Writer, out string, kept *collection, d *diagnosis) error {
	r := &report{look: c.out}
	m := kept.manifest
	r.line("Written", r.look.bold(out))
	r.line("Bundle", m.Read.Bundle)
	r.field("Holds", fmt.Sprintf("%s, %s and %s", counted(m.Read.Objects, "object"), counted(m.Read.Events, "event"), counted(m.Read.Logs, "log")))
	r.field("Verdict", clean(joinNonEmpty(": ", string(d.Verdict), d.Summary)))
	r.field("Redacted", fmt.Sprintf("%s replaced; %s in what was kept", counted(m.Read.Redactions, "value"), counted(len(m.Redactions), "place")))
	for i, p := range m.Redactions {
		if i == mostGaps {
			r.line("", r.look.dim(fmt.Sprintf("and %d more; %s lists them", len(m.Redactions)-i, manifestFile)))
			break
		}
		r.item("", clean(joinNonEmpty(" ", p.Ref.String(), p.Path)))
	}
	r.gaps(&finding{gaps: d.Gaps})
	_, err := io.WriteString(w, r.b.String())
	return err
}

// write puts the collection at path, whole or not at all. What is there already is replaced only with
// force, and only when it is a collection.
func (c *collection) write(path string, force bool) error {
	if _, err := os.Lstat(path); err == nil {
		if !force {
			return fmt.Errorf("%s exists; --force replaces it", path)
		}
		if err := replaceable(path); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if strings.HasSuffix(path, ".tgz") || strings.HasSuffix(path, ".tar.gz") {
		return c.writeFile(path, force)
	}
	return c.writeDir(path)
}

// replaceable errs when what is at path was not written by collect.
func replaceable(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		_, err = openCollection(func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(path, name)) })
	} else {
		var body []byte
		if body, err = readFile(path); err == nil {
			_, err = unpackCollection(body)
		}
	}
	if errors.Is(err, errNoCollection) {
		return fmt.Errorf("%s is not what collect wrote: remove it yourself", path)
	}
	return nil
}

func (c *collection) writeFile(path string, force bool) (err error) {
	body, err := c.pack()
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".kubernaut-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(body)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if force {
		return os.Rename(tmp.Name(), path)
	}
	// A link never replaces what came there in the meantime; not every file system has them.
	if err = os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return os.Rename(tmp.Name(), path)
	}
	return err
}

func (c *collection) writeDir(path string) error {
	files, err := c.files()
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(path)), ".kubernaut-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	fresh, old := filepath.Join(tmp, "new"), filepath.Join(tmp, "old")
	if err := os.Mkdir(fresh, 0o750); err != nil {
		return err
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(fresh, f.name), f.body, 0o600); err != nil {
			return err
		}
	}
	if err := os.Rename(path, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return errors.Join(err, ignoreMissing(os.Rename(old, path)))
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
