package image

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// FreeMemory is how much memory new processes of this machine can take, in bytes: what the kernel has available, within the
// limit of a control group around everything, as containers have. It is 0 where that cannot be told, as on macOS.
func FreeMemory() int64 { return freeMemory("/") }

func freeMemory(root string) int64 {
	number := func(path string) (int64, bool) {
		content, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return 0, false
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(content)), 10, 64)
		return n, err == nil
	}
	var free int64
	info, _ := os.ReadFile(filepath.Join(root, "proc/meminfo")) // without one it is not known
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemAvailable:" {
			if kib, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				free = kib << 10
			}
		}
	}
	for _, group := range [][2]string{
		{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"},
		{"sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory/memory.usage_in_bytes"},
	} {
		limit, limited := number(group[0])
		used, ok := number(group[1])
		if limited && ok && free > 0 {
			free = max(min(free, limit-used), 1)
		}
	}
	return free
}

// gauge measures the processes that inherit a mark in their environment.
type gauge struct {
	mark []byte
	proc string
	page int64

	mu      sync.Mutex
	marked  map[string]bool // by process id
	largest int64
	sum     int64
}

const measuring = 200 * time.Millisecond

// measure runs do and returns the most memory that one process with the mark in its environment had resident, and the most
// that all of them had together; 0 where processes cannot be looked at.
func measure(ctx context.Context, mark string, do func() error) (largest, sum int64, err error) {
	g := &gauge{mark: []byte(mark), proc: "/proc", page: int64(os.Getpagesize()), marked: make(map[string]bool)}
	ctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(measuring)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				g.look()
			}
		}
	})
	err = do()
	stop()
	watching.Wait()
	return g.largest, g.sum, err
}

// look takes one measurement.
func (g *gauge) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	processes, _ := os.ReadDir(g.proc)
	var sum int64
	for _, p := range processes {
		pid := p.Name()
		if pid[0] < '0' || pid[0] > '9' {
			continue
		}
		marked, known := g.marked[pid]
		if !known {
			environment, err := os.ReadFile(filepath.Join(g.proc, pid, "environ"))
			marked = err == nil && bytes.Contains(environment, g.mark)
			g.marked[pid] = marked
		}
		if !marked {
			continue
		}
		content, err := os.ReadFile(filepath.Join(g.proc, pid, "statm"))
		if err != nil {
			delete(g.marked, pid) // it has ended, and its id may come back
			continue
		}
		if f := strings.Fields(string(content)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64) // the kernel writes numbers
			sum += pages * g.page
			g.largest = max(g.largest, pages*g.page)
		}
	}
	g.sum = max(g.sum, sum)
}
