package nodeimage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// procSys is where Linux shows its settings.
const procSys = "/proc/sys"

// kubeletSettings are those of the whole machine that a kubelet changes for itself when it starts, in a container, too.
func kubeletSettings() []string {
	return []string{
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	}
}

// SaveSysctls writes the settings of this machine that the kubelets of nodes will change into a file, unless it is there already: while
// a cluster lives, the settings in force are no longer those to go back to. It is called before the first node exists.
// Where there are no such settings, as on macOS, it writes an empty record.
func SaveSysctls(file string) error {
	if err := saveSysctls(procSys, file); err != nil {
		return fmt.Errorf("record the kernel settings that nodes change: %w", err)
	}
	return nil
}

// RestoreSysctls puts back what SaveSysctls recorded, and removes the record. It is called when the last node is gone. Without a
// record it does nothing.
func RestoreSysctls(file string) error {
	if err := restoreSysctls(procSys, file); err != nil {
		return fmt.Errorf("restore the kernel settings that nodes change: %w", err)
	}
	return nil
}

func saveSysctls(root, file string) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	record := make(map[string]string)
	for _, name := range kubeletSettings() {
		content, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		record[name] = strings.TrimSpace(string(content))
	}
	content, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".sysctls-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(append(content, '\n')); err != nil {
		_ = tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	// A link, unlike a rename, does not replace the record of a cluster that came first.
	if err := os.Link(tmp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func restoreSysctls(root, file string) error {
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var record map[string]string
	if err := json.Unmarshal(content, &record); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	var errs []error
	for _, name := range kubeletSettings() {
		want, ok := record[name]
		if !ok {
			continue
		}
		path := filepath.Join(root, name)
		have, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if strings.TrimSpace(string(have)) == want {
			continue
		}
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.Remove(file)
}
