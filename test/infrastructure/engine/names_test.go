package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestDropNames(t *testing.T) {
	for _, row := range []struct {
		name     string
		kind     Kind
		info     Info
		file     string
		survives bool
	}{
		{name: "as root", kind: Podman, file: "run/containers/networks/aardvark-dns/kubernaut-e2e"},
		{name: "rootless", kind: Podman, info: Info{Rootless: true}, file: "run/user/7/containers/networks/aardvark-dns/kubernaut-e2e"},
		{name: "of another network", kind: Podman, file: "run/containers/networks/aardvark-dns/podman", survives: true},
		{name: "in another machine", kind: Podman, info: Info{Remote: true}, file: "run/containers/networks/aardvark-dns/kubernaut-e2e", survives: true},
		{name: "of Docker", kind: Docker, file: "run/containers/networks/aardvark-dns/kubernaut-e2e", survives: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			root := t.TempDir()
			file := filepath.Join(root, row.file)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("10.89.77.1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			e := &Engine{kind: row.kind, info: row.info, host: Host{Root: root, Getenv: func(string) string { return "/run/user/7" }}}
			for range 2 { // what is gone is no error
				if err := e.dropNames(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) == row.survives {
				t.Errorf("%s: %v, survives should be %v", row.file, err, row.survives)
			}
		})
	}
}
