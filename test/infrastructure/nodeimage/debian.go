package nodeimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

const (
	// suite is the release of Debian that nodes run: its systemd boots where control groups are of version 1, too.
	suite = "bookworm"

	debianDeadline = 20 * time.Minute
	debianStall    = 3 * time.Minute

	packageCache = "packages" // a directory of the store
)

// nodePackages is what a node needs, as in Kind's own Dockerfile, and busybox, of which the helper image of
// local-path-provisioner is made.
func nodePackages() []string {
	return []string{
		"systemd", "dbus", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "mount", "kmod", "libseccomp2", "ca-certificates",
		"curl", "jq", "procps", "e2fsprogs", "pigz", "containerd", "runc", "socat", "hostname", "busybox-static",
	}
}

// debian describes a root file system of Debian packages.
type debian struct {
	name     string // of the step
	packages []string
	foreign  bool   // only unpack the packages, and run none of their scripts
	skip     string // what of them is not unpacked: alternatives of shell patterns for file names
}

func (d debian) key(arch string) (string, error) {
	k := newDigest(d.name)
	k.add("debian", suite, arch, fmt.Sprint(d.foreign), d.skip)
	k.add("packages", d.packages...)
	return k.key("debian.go")
}

// debianRoot returns the directory of a root file system.
func (b *builder) debianRoot(ctx context.Context, d debian) (string, error) {
	key, err := d.key(b.arch)
	if err != nil {
		return "", err
	}
	dir, err := b.get(ctx, d.name, key, func(ctx context.Context, dir string) error {
		if err := b.debootstrap(ctx, d, dir); err != nil {
			return err
		}
		if d.foreign {
			if err := b.unpack(ctx, dir, d.skip); err != nil {
				return err
			}
		}
		return clean(dir)
	})
	if err != nil {
		return "", fmt.Errorf("make a root file system of Debian packages: %w", err)
	}
	return dir, nil
}

func (b *builder) debootstrap(ctx context.Context, d debian, dir string) error {
	m := b.meter("Debian packages", "steps of dpkg and apt")
	defer m.end()
	args := []string{"debootstrap", "--variant=minbase", "--include=" + strings.Join(d.packages, ",")}
	if d.foreign {
		args = append(args, "--foreign")
	}
	// Packages that another step, or an earlier one, has fetched are not fetched again.
	unlock, err := b.lock(ctx, packageCache)
	if err != nil {
		return err
	}
	defer unlock()
	cache := filepath.Join(b.store.dir, packageCache)
	if err := os.MkdirAll(cache, 0o750); err != nil {
		return err
	}
	args = append(args, "--cache-dir="+cache, suite, dir)
	mirror := b.mirror
	if mirror == "" {
		if mirror, err = aptMirror(os.DirFS("/etc/apt"), suite); err != nil {
			return err
		}
	}
	if mirror != "" { // else debootstrap's own
		args = append(args, mirror)
	}
	if err := configureDpkg(dir); err != nil {
		return err
	}
	log := &lines{next: b.run.Log, take: func(line string) bool {
		if strings.HasPrefix(line, "I: ") {
			m.add(1)
		}
		return false
	}}
	_, err = b.run.With(log).Run(ctx, isolated(command.Cmd{
		Args: args, Env: []string{"DEBIAN_FRONTEND=noninteractive"}, Deadline: debianDeadline, Stall: debianStall,
	}))
	return err
}

// dpkgConfig is where dpkg in a root file system looks for configuration, too.
const dpkgConfig = "etc/dpkg/dpkg.cfg.d/build"

// configureDpkg spares dpkg the waiting for the disk, which only matters to who keeps what a crash leaves, and what clean
// would remove.
func configureDpkg(root string) error {
	path := filepath.Join(root, dpkgConfig)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // it is a part of the file system that is made
		return err
	}
	const config = "force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n"
	return os.WriteFile(path, []byte(config), 0o600)
}

// unpack unpacks packages that were fetched and not installed, which runs none of their scripts.
func (b *builder) unpack(ctx context.Context, root, skip string) error {
	m := b.meter("unpack Debian packages", "")
	defer m.end()
	debs, err := filepath.Glob(filepath.Join(root, "var/cache/apt/archives/*.deb"))
	if err != nil || len(debs) == 0 {
		return fmt.Errorf("debootstrap has fetched no packages: %w", err)
	}
	const each = `set -e
for deb in /var/cache/apt/archives/*.deb; do
	case ${deb##*/} in SKIP) continue ;; esac
	dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C / -f -
done`
	_, err = b.run.Run(ctx, isolated(command.Cmd{
		Args: []string{"chroot", root, "/bin/bash", "-o", "pipefail", "-c", strings.ReplaceAll(each, "SKIP", skip)}, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
		Deadline: debianDeadline,
	}))
	if err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(root, "debootstrap"))
}

// isolated makes c, whose first argument is the program, run among mounts and processes of its own: whatever ends it
// leaves neither behind.
func isolated(c command.Cmd) command.Cmd {
	// The first process of such a world gets only the signals that it asks for.
	const first = `trap 'exit 143' INT TERM; exec 3<&0; "$@" <&3 & wait $!`
	c.Name = "unshare"
	c.Args = append([]string{"--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c", first, "sh"}, c.Args...)
	return c
}

// clean removes what is of no use on a node, and what came from this machine.
func clean(root string) error {
	for _, p := range []string{
		"var/cache/apt/*", "var/lib/apt/lists/*", "var/cache/debconf/*", "var/log/*", "usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*",
		"etc/resolv.conf", "etc/hostname", "etc/apt/sources.list", dpkgConfig,
	} {
		found, err := filepath.Glob(filepath.Join(root, p))
		if err != nil {
			return err
		}
		for _, f := range found {
			if err := os.RemoveAll(f); err != nil {
				return err
			}
		}
	}
	return nil
}
