package image

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func TestFreeMemory(t *testing.T) {
	const meminfo = "MemTotal:       24684100 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n"
	for _, row := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"the machine's", map[string]string{"proc/meminfo": meminfo}, 8000000 << 10},
		{"no such file", nil, 0},
		{"without a limit", map[string]string{"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "5\n"}, 8000000 << 10},
		{"within a limit", map[string]string{"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": "3000000000\n", "sys/fs/cgroup/memory.current": "1000000000\n"}, 2000000000},
		{"within a limit of the first version", map[string]string{
			"proc/meminfo": meminfo,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "3000000000\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "500000000\n",
		}, 2500000000},
		{"limit used up", map[string]string{"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": "100\n", "sys/fs/cgroup/memory.current": "200\n"}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			root := t.TempDir()
			for name, content := range row.files {
				write(t, filepath.Join(root, name), content)
			}
			if got := freeMemory(root); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// hold is set in the environment of a process that this test binary is to be: one that takes memory until its input ends.
const hold = "IMAGE_TEST_HOLD"

func TestMain(m *testing.M) {
	if os.Getenv(hold) == "" {
		os.Exit(m.Run())
	}
	taken := make([]byte, 64<<20)
	for i := 0; i < len(taken); i += os.Getpagesize() {
		taken[i] = 1
	}
	os.Stdout.WriteString("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(taken)
}

func TestMeasure(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are looked at through /proc")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	holding := func(env ...string) func() error {
		return func() error {
			cmd := exec.Command(self)
			cmd.Env = append(append(os.Environ(), hold+"=1"), env...)
			in, err := cmd.StdinPipe()
			if err != nil {
				return err
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				return err
			}
			if err := cmd.Start(); err != nil {
				return err
			}
			if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
				return err
			}
			<-time.After(3 * measuring)
			in.Close()
			return cmd.Wait()
		}
	}
	const mark = "IMAGE_TEST_MARK=a"
	largest, sum, err := measure(t.Context(), mark, holding(mark))
	if err != nil {
		t.Fatal(err)
	}
	if largest < 64<<20 || largest > 256<<20 || sum < largest {
		t.Errorf("got %d at most and %d together, want 64 MiB and a little", largest, sum)
	}
	if largest, sum, err = measure(t.Context(), mark, holding("IMAGE_TEST_MARK=b")); err != nil || largest != 0 || sum != 0 {
		t.Errorf("without the mark: got %d, %d, %v, want nothing", largest, sum, err)
	}
}

func TestHistory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	service, tool := Services()[0], Workload()
	h := readHistory(dir)
	if err := h.remember(map[string]int64{h.key(service, true): 5, h.key(service, false): 3, h.key(tool, true): 0}); err != nil {
		t.Fatal(err)
	}
	h = readHistory(dir)
	for _, row := range []struct {
		spec     Spec
		coverage bool
		want     int64
	}{{service, true, 5}, {service, false, 3}, {tool, true, unmeasured}} {
		if got := row.spec.estimate(h.Peaks[h.key(row.spec, row.coverage)]); got != row.want {
			t.Errorf("%s, coverage %v: got %d, want %d", row.spec.Name, row.coverage, got, row.want)
		}
	}
	write(t, filepath.Join(dir, "builds.json"), "{")
	if h := readHistory(dir); len(h.Peaks) != 0 {
		t.Errorf("of a broken file: got %v, want nothing", h.Peaks)
	}
}
