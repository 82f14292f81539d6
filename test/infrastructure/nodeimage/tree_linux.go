package nodeimage

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// tree returns everything below a directory of this machine as it would be below prefix in an image. Sockets, which mean
// nothing in an image, are left out.
func tree(dir, prefix string) (layer, error) {
	l := make(layer)
	l.dirs(prefix)
	seen := make(map[[2]uint64]string) // files with several names
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Type() == fs.ModeSocket {
			return nil
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		name := path.Join(prefix, filepath.ToSlash(rel))
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: no inode", file)
		}
		e := entry{mode: info.Mode(), uid: int(stat.Uid), gid: int(stat.Gid)}
		switch info.Mode().Type() {
		case 0:
			e.from, e.size = file, info.Size()
			if stat.Nlink > 1 {
				id := [2]uint64{stat.Dev, stat.Ino}
				if first, ok := seen[id]; ok {
					e.hard = first
				}
				seen[id] = name
			}
		case fs.ModeSymlink:
			if e.link, err = os.Readlink(file); err != nil {
				return err
			}
		case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
			e.dev = [2]int64{int64((stat.Rdev >> 8) & 0xfff), int64(stat.Rdev&0xff | (stat.Rdev>>12)&0xfff00)}
		}
		l[name] = e
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the tree %s: %w", dir, err)
	}
	return l, nil
}
