package nodeimage

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// resolve follows the symbolic links of a path in the file system below root, all of them, as a process whose root that
// is would. It returns the path below root, without a slash at either end.
func resolve(root, name string) (string, error) {
	done, rest := "", strings.Trim(path.Clean("/"+name), "/")
	for links := 0; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		if part == ".." {
			done = strings.TrimPrefix(path.Dir("/"+done), "/")
			continue
		}
		next := path.Join(done, part)
		info, err := os.Lstat(filepath.Join(root, next))
		if err != nil {
			return "", err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			done = next
			continue
		}
		if links++; links > 40 {
			return "", fmt.Errorf("resolve %s below %s: too many links", name, root)
		}
		target, err := os.Readlink(filepath.Join(root, next))
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			done = ""
		}
		rest = strings.Trim(path.Clean(target)+"/"+rest, "/")
	}
	return done, nil
}

// libraries returns the libraries and the interpreter that programs below root load at their start, and what those
// load, as paths in canonical form by the paths under which they are looked for. Libraries that are loaded by name later
// on are given as programs.
func libraries(root string, programs ...string) (map[string]string, error) {
	found := make(map[string]string)
	queue := append([]string(nil), programs...)
	for len(queue) > 0 {
		program := queue[0]
		queue = queue[1:]
		needed, err := neededBy(root, program)
		if err != nil {
			return nil, fmt.Errorf("read what %s needs: %w", program, err)
		}
		for _, n := range needed {
			if _, ok := found[n]; ok {
				continue
			}
			canonical, err := resolve(root, n)
			if err != nil {
				return nil, fmt.Errorf("%s needs %s: %w", program, n, err)
			}
			found[n] = canonical
			queue = append(queue, canonical)
		}
	}
	return found, nil
}

// neededBy returns the paths of the interpreter and the libraries that one program names.
func neededBy(root, program string) ([]string, error) {
	canonical, err := resolve(root, program)
	if err != nil {
		return nil, err
	}
	f, err := elf.Open(filepath.Join(root, canonical))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var needed []string
	if section := f.Section(".interp"); section != nil {
		content, err := section.Data()
		if err != nil {
			return nil, err
		}
		needed = append(needed, strings.Trim(string(content), "\x00/"))
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		if errors.Is(err, elf.ErrNoSymbols) {
			return needed, nil
		}
		return nil, err
	}
	dirs, err := libraryDirs(f, path.Dir(canonical))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		lib, ok := findLibrary(root, dirs, name)
		if !ok {
			return nil, fmt.Errorf("%s is in none of %s", name, strings.Join(dirs, ", "))
		}
		needed = append(needed, lib)
	}
	return needed, nil
}

// libraryDirs are where the libraries of a program are looked for.
func libraryDirs(f *elf.File, origin string) ([]string, error) {
	var dirs []string
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		paths, err := f.DynString(tag)
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			for dir := range strings.SplitSeq(p, ":") {
				dirs = append(dirs, strings.Trim(path.Clean(strings.ReplaceAll(dir, "$ORIGIN", "/"+origin)), "/"))
			}
		}
	}
	triplet := map[elf.Machine]string{elf.EM_X86_64: "x86_64-linux-gnu", elf.EM_AARCH64: "aarch64-linux-gnu"}[f.Machine]
	return append(dirs, "usr/lib/"+triplet, "usr/lib", "usr/lib64"), nil
}

func findLibrary(root string, dirs []string, name string) (string, bool) {
	for _, dir := range dirs {
		lib := path.Join(dir, name)
		if _, err := resolve(root, lib); err == nil {
			return lib, true
		}
	}
	return "", false
}

// addPrograms adds files of a file system that a program runs with: the programs themselves and all that they load.
func (l layer) addPrograms(root string, programs ...string) error {
	libs, err := libraries(root, programs...)
	if err != nil {
		return err
	}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} { // as Debian has them
		l.symlink(dir, "usr/"+dir)
		l.dirs("usr/" + dir)
	}
	add := func(name string) error {
		canonical, err := resolve(root, name)
		if err != nil {
			return err
		}
		// Under the path by which it is looked for, whose directory may be a link.
		dir, err := resolve(root, path.Dir(name))
		if err != nil {
			return err
		}
		return l.program(path.Join(dir, path.Base(name)), filepath.Join(root, canonical))
	}
	for _, p := range programs {
		if err := add(p); err != nil {
			return err
		}
	}
	for lib := range libs {
		if err := add(lib); err != nil {
			return err
		}
	}
	return nil
}
