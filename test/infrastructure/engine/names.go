package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// dropNames removes what Podman's name server remembers of a network of ours that is not there. Podman leaves it where it is
// killed while it removes a container; a later network of that name, on another subnet, would then be served under the
// address that the former one had, and no node would find another by its name.
func (e *Engine) dropNames() error {
	if e.kind != Podman || e.info.Remote {
		return nil
	}
	run := "/run"
	if e.info.Rootless {
		if run = e.host.Getenv("XDG_RUNTIME_DIR"); run == "" {
			return nil
		}
	}
	file := e.host.path(filepath.Join(run, "containers/networks/aardvark-dns", e.network()))
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove names of a former network %s: %w", e.network(), err)
	}
	return nil
}
