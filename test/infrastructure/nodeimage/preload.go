package nodeimage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

// preloadScript starts the node's containerd among mounts of its own, with its data in a directory outside the root file system, and
// gives it the archive of images that comes on the standard input.
const preloadScript = `set -e
root=$1 data=$2
mount --bind "$data" "$root/mnt"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
cat >"$root/run/config.toml" <<'END'
version = 2
root = "/mnt"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
	"io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "/run/containerd/containerd.sock"
END
exec chroot "$root" sh -c '
containerd --config /run/config.toml >/run/log 2>&1 &
tries=0
until ctr version >/dev/null 2>&1; do
	tries=$((tries+1))
	if [ $tries -gt 300 ]; then cat /run/log >&2; echo "containerd does not start" >&2; exit 1; fi
	sleep 0.1
done
ctr -n k8s.io images import --all-platforms --no-unpack - || { cat /run/log >&2; exit 1; }
ctr -n k8s.io images ls -q
kill $!
wait $! || true
'`

// preload writes what containerd keeps on disk once it has these images.
func (b *builder) preload(ctx context.Context, root, dir string, images []imageSpec) error {
	m := b.meter("load the images of the node", "MB")
	defer m.end()
	var total int64
	for _, img := range images {
		for _, l := range img.layers {
			for _, e := range l {
				total += e.size
			}
		}
	}
	var out bytes.Buffer
	err := b.feed(ctx, &metered{m: m, total: total}, isolated(command.Cmd{
		Args: []string{"sh", "-c", preloadScript, "sh", root, dir}, Stdout: &out, Deadline: preloadDeadline, Stall: stepDeadline,
	}), images...)
	if err != nil {
		return fmt.Errorf("load the images of the node: %w", err)
	}
	loaded := strings.Fields(out.String())
	for _, img := range images {
		if !slices.Contains(loaded, img.ref) {
			return fmt.Errorf("load the images of the node: containerd does not have %s, but %s", img.ref, strings.Join(loaded, ", "))
		}
	}
	// Sockets and mount points of the containerd that ran.
	for _, rest := range []string{"tmpmounts", "lost+found"} {
		_ = os.RemoveAll(filepath.Join(dir, rest))
	}
	return nil
}

const preloadDeadline = 10 * time.Minute

// metered counts what is written, in megabytes.
type metered struct {
	w     io.Writer
	m     *meter
	total int64
	done  int64
	shown int64
}

func (c *metered) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.done += int64(n)
	const mb = 1_000_000
	if c.done/mb != c.shown {
		c.shown = c.done / mb
		c.m.set(int(c.shown), int(max(c.total/mb, c.shown)))
	}
	return n, err
}
