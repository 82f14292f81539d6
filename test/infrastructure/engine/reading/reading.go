// Package reading reads values of the machine that it runs on. It imports the standard library only: the engine's probe
// is built from it for the machine that the nodes run on, which need not be this one.
package reading

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Question is what to read.
type Question struct {
	// Files are read whole.
	Files []string `json:"files,omitempty"`
	// Disks are directories whose file system is measured; of one that does not exist, the nearest above.
	Disks []string `json:"disks,omitempty"`
	// Inotify asks for the instances in use.
	Inotify bool `json:"inotify,omitempty"`
	// Killed asks how many processes the machine's memory did not suffice for.
	Killed bool `json:"killed,omitempty"`
}

// Answer is what was read. What could not be read is missing.
type Answer struct {
	Clock time.Time         `json:"clock"`
	Files map[string]string `json:"files,omitempty"`
	Disks map[string]Disk   `json:"disks,omitempty"`
	// Inotify are the instances in use by user id, as far as this process may see.
	Inotify map[int]int `json:"inotify,omitempty"`
	// Killed is how many processes the kernel's log says were killed because the machine ran out of memory; those that were
	// killed at a limit of their own are none. Missing where the log may not be read.
	Killed *int `json:"killed,omitempty"`
}

// Disk is a file system.
type Disk struct {
	Device uint64 `json:"device"` // equal for two directories on one file system
	Total  uint64 `json:"total"`  // bytes
	Free   uint64 `json:"free"`   // bytes that an ordinary user may still write
	Inodes uint64 `json:"inodes"` // that are free; 0 where the file system does not count them
	Counts bool   `json:"counts"` // that the file system counts inodes
}

// Read answers the question. The file system is looked at below root.
func Read(root string, q Question) Answer {
	a := Answer{Clock: time.Now(), Files: make(map[string]string), Disks: make(map[string]Disk)}
	for _, f := range q.Files {
		if content, err := os.ReadFile(filepath.Join("/", root, f)); err == nil {
			a.Files[f] = string(content)
		}
	}
	for _, dir := range q.Disks {
		if d, ok := disk(filepath.Join("/", root, dir)); ok {
			a.Disks[dir] = d
		}
	}
	if q.Inotify {
		a.Inotify = instances(filepath.Join("/", root, "proc"))
	}
	if q.Killed {
		a.Killed = killed(filepath.Join("/", root, "dev/kmsg"))
	}
	return a
}

// machineKill is what the kernel says when the machine's memory ran out; of a cgroup's it speaks otherwise.
var machineKill = regexp.MustCompile(`Out of memory[^:\n]*: Kill`)

// killed counts the kills for want of memory in the kernel's log, which is not waited for at its end.
func killed(log string) *int {
	fd, err := syscall.Open(log, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(fd)
	count := 0
	record := make([]byte, 8<<10) // the largest that there is
	for {
		n, err := syscall.Read(fd, record)
		switch {
		case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.EINTR): // the oldest was overwritten meanwhile
			continue
		case errors.Is(err, syscall.EAGAIN), err == nil && n <= 0:
			return &count
		case err != nil:
			return nil
		}
		count += len(machineKill.FindAllIndex(record[:n], -1))
	}
}

func disk(dir string) (Disk, bool) {
	for {
		info, err := os.Stat(dir)
		if err == nil {
			var s syscall.Statfs_t
			st, ok := info.Sys().(*syscall.Stat_t)
			if !ok || syscall.Statfs(dir, &s) != nil {
				return Disk{}, false
			}
			size := uint64(s.Bsize)
			return Disk{Device: uint64(st.Dev), Total: s.Blocks * size, Free: s.Bavail * size, Inodes: s.Ffree, Counts: s.Files > 0}, true
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return Disk{}, false
	}
}

// instances counts the inotify instances of each user. One that several processes share is counted for each: rare, and
// too much is the safe side.
func instances(proc string) map[int]int {
	count := make(map[int]int)
	processes, _ := os.ReadDir(proc) // none, on a system without it
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		dir := filepath.Join(proc, p.Name())
		fds, err := os.ReadDir(filepath.Join(dir, "fd"))
		if err != nil { // it ended, or is another user's
			continue
		}
		user := owner(dir)
		for _, fd := range fds {
			if target, err := os.Readlink(filepath.Join(dir, "fd", fd.Name())); err == nil && strings.HasPrefix(target, "anon_inode:inotify") {
				count[user]++
			}
		}
	}
	return count
}

func owner(path string) int {
	if info, err := os.Lstat(path); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && info.Mode()&fs.ModeSymlink == 0 {
			return int(st.Uid)
		}
	}
	return -1
}
