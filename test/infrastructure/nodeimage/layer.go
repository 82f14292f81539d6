package nodeimage

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// entry is a file of a layer.
type entry struct {
	mode     fs.FileMode // type and permissions
	uid, gid int
	link     string // what a symbolic link contains
	hard     string // the path, in the layer, that this is another name of
	data     []byte // the content of a regular file, unless it is that of
	from     string // a file on this machine
	size     int64
	dev      [2]int64 // major and minor number of a device
}

// layer is a part of an image's file system: paths, without a slash at either end, and what is there. All times are the
// same, so that equal content makes an equal layer.
type layer map[string]entry

// epoch is the time of every file.
func epoch() time.Time { return time.Unix(1_577_836_800, 0) }

// put adds a regular file with this content, and the directories above it that are missing.
func (l layer) put(name string, perm fs.FileMode, content []byte) {
	l.dirs(path.Dir(name))
	l[name] = entry{mode: perm, data: content, size: int64(len(content))}
}

// program adds an executable file with the content of one on this machine, and the directories above it that are missing.
func (l layer) program(name, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	l.dirs(path.Dir(name))
	l[name] = entry{mode: 0o755, from: from, size: info.Size()}
	return nil
}

// symlink adds a symbolic link, and the directories above it that are missing.
func (l layer) symlink(name, target string) {
	l.dirs(path.Dir(name))
	l[name] = entry{mode: fs.ModeSymlink | 0o777, link: target}
}

// dirs adds a directory and those above it, where they are missing.
func (l layer) dirs(names ...string) {
	for _, name := range names {
		for ; name != "." && name != "/"; name = path.Dir(name) {
			if _, ok := l[name]; !ok {
				l[name] = entry{mode: fs.ModeDir | 0o755}
			}
		}
	}
}

// sticky adds a directory that everybody may write into.
func (l layer) sticky(name string) { l[name] = entry{mode: fs.ModeDir | fs.ModeSticky | 0o777} }

// remove takes files and whole directories out of the layer. Patterns are those of path.Match.
func (l layer) remove(patterns ...string) error {
	for name := range l {
		for _, p := range patterns {
			// A directory takes with it what is below.
			parts := strings.Split(name, "/")
			n := min(strings.Count(p, "/")+1, len(parts))
			ok, err := path.Match(p, strings.Join(parts[:n], "/"))
			if err != nil {
				return fmt.Errorf("remove %s: %w", p, err)
			}
			if ok {
				delete(l, name)
			}
		}
	}
	return nil
}

// write writes the layer as a tar archive.
func (l layer) write(w io.Writer) error {
	names := make([]string, 0, len(l))
	for name := range l {
		names = append(names, name)
	}
	slices.Sort(names) // a directory comes before what is in it
	tw := tar.NewWriter(w)
	for _, hard := range []bool{false, true} { // what a name is another one of must be there first
		for _, name := range names {
			e := l[name]
			if _, ok := l[e.hard]; !ok { // it was removed
				e.hard = ""
			}
			if (e.hard != "") == hard {
				if err := e.write(tw, name); err != nil {
					return fmt.Errorf("write %s: %w", name, err)
				}
			}
		}
	}
	return tw.Close()
}

func (e entry) write(tw *tar.Writer, name string) error {
	h := &tar.Header{Name: name, Mode: int64(e.mode.Perm()), Uid: e.uid, Gid: e.gid, ModTime: epoch(), Format: tar.FormatPAX}
	for bit, value := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if e.mode&bit != 0 {
			h.Mode |= value
		}
	}
	switch t := e.mode.Type(); {
	case e.hard != "":
		h.Typeflag, h.Linkname = tar.TypeLink, e.hard
	case t == fs.ModeDir:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case t == fs.ModeSymlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
	case t == fs.ModeDevice|fs.ModeCharDevice:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, e.dev[0], e.dev[1]
	case t == fs.ModeDevice:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeBlock, e.dev[0], e.dev[1]
	case t == fs.ModeNamedPipe:
		h.Typeflag = tar.TypeFifo
	case t == 0:
		h.Typeflag, h.Size = tar.TypeReg, e.size
	default:
		return fmt.Errorf("a file of type %s cannot be in an image", t)
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	if e.from == "" {
		_, err := tw.Write(e.data)
		return err
	}
	f, err := os.Open(e.from)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(tw, f)
	return err
}

// measure returns the digest and the size of the archive that write writes.
func (l layer) measure() (sha string, size int64, err error) {
	h := sha256.New()
	n := &counter{w: h}
	if err := l.write(n); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), n.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
