package nodeimage

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

const (
	postgresVersion = "15" // of the suite
	postgresID      = 999  // user and group, as in the official image
)

func postgresDebian() debian {
	return debian{
		name: "postgresql", foreign: true, skip: "libllvm*|libz3*|perl*|libperl*", // of the compiler, and of the scripts
		packages: []string{"postgresql-" + postgresVersion, "tzdata", "busybox-static", "libc-bin"},
	}
}

func (b *builder) postgresKey(ctx context.Context) (string, error) {
	root, err := postgresDebian().key(b.arch)
	if err != nil {
		return "", err
	}
	start, err := b.goKey(ctx, ownProgram("pgstart"))
	if err != nil {
		return "", err
	}
	k := newDigest("postgres")
	k.add("root", root)
	k.add("start", start)
	return k.key("postgres.go", "components.go", "elf.go", "layer.go", "tree_linux.go", "archive.go")
}

// buildPostgres builds the PostgreSQL image and gives it to the engine.
func (b *builder) buildPostgres(ctx context.Context, ref, key string) error {
	var root, start string
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		root, err = b.debianRoot(gctx, postgresDebian())
		return err
	})
	g.Go(func() (err error) {
		start, err = b.build(gctx, ownProgram("pgstart"))
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	l, err := postgresLayer(root)
	if err != nil {
		return fmt.Errorf("collect what PostgreSQL runs: %w", err)
	}
	if err := b.addBusybox(ctx, l, root); err != nil {
		return err
	}
	if err := l.program("usr/local/bin/pgstart", filepath.Join(start, "pgstart")); err != nil {
		return err
	}
	return b.load(ctx, imageSpec{ref: ref, created: b.now(), layers: []layer{l}, config: imageConfig{
		Env: []string{
			"PATH=/usr/lib/postgresql/" + postgresVersion + "/bin:/usr/local/bin:/usr/bin:/bin", "PGDATA=/var/lib/postgresql/data/pgdata", "LANG=C.UTF-8",
		},
		User: fmt.Sprintf("%d:%d", postgresID, postgresID), Entrypoint: []string{"/usr/local/bin/pgstart"}, Cmd: []string{"postgres"},
		// It rolls back what is open, writes a checkpoint and ends; the default waits for clients to go.
		StopSignal: "SIGINT", ExposedPorts: map[string]struct{}{"5432/tcp": {}}, Labels: labels(key),
	}})
}

// postgresLayer is the server, its clients and its extensions, without the compiler, which is as large as all the rest.
func postgresLayer(root string) (layer, error) {
	home := "usr/lib/postgresql/" + postgresVersion
	var programs []string
	for _, pattern := range []string{home + "/bin/*", home + "/lib/*.so"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range found {
			rel, err := filepath.Rel(root, file)
			if err != nil {
				return nil, err
			}
			if !strings.Contains(rel, "llvmjit") {
				programs = append(programs, filepath.ToSlash(rel))
			}
		}
	}
	if !slices.Contains(programs, home+"/bin/postgres") {
		return nil, fmt.Errorf("no server below %s", filepath.Join(root, home))
	}
	l := make(layer)
	if err := l.addPrograms(root, programs...); err != nil {
		return nil, err
	}
	for _, dir := range []string{"usr/share/postgresql/" + postgresVersion, "usr/share/zoneinfo", "usr/lib/locale/C.utf8"} {
		t, err := tree(filepath.Join(root, dir), dir)
		if err != nil {
			return nil, err
		}
		maps.Copy(l, t)
	}
	l.put("etc/passwd", 0o644, fmt.Appendf(nil, "root:x:0:0:root:/root:/bin/sh\npostgres:x:%[1]d:%[1]d:PostgreSQL:/var/lib/postgresql:/bin/sh\n", postgresID))
	l.put("etc/group", 0o644, fmt.Appendf(nil, "root:x:0:\npostgres:x:%d:\n", postgresID))
	l.put("etc/nsswitch.conf", 0o644, []byte("passwd: files\ngroup: files\nhosts: files dns\n"))
	l.sticky("tmp")
	for dir, mode := range map[string]fs.FileMode{
		"var/lib/postgresql": 0o755, "var/lib/postgresql/data": 0o700,
		"var/run/postgresql": fs.ModeSetgid | fs.ModeSticky | 0o777, // where the server and local clients of any user meet
	} {
		l.dirs(dir)
		l[dir] = entry{mode: fs.ModeDir | mode, uid: postgresID, gid: postgresID}
	}
	return l, nil
}
