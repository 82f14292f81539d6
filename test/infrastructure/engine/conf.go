package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// setting is one line of a containers.conf, and why it is there.
type setting struct {
	table, key string
	value      any
	why        string
}

// kernelFacts are what this machine, on which Podman runs, allows.
type kernelFacts struct {
	root        bool // this process is root
	sysResource bool // it may raise limits
	maxFiles    uint64
	maxProcs    uint64
	pidMax      uint64
	systemd     bool // the machine was started by systemd
	hybrid      bool // controllers are left on the second hierarchy beside the first
	runc        string
	netavark    bool // Podman's own network program is installed
	cni         bool // the plugins that it used before are
}

// podmanLimit is the limit of open files and of processes that Podman, as root, sets in every container.
const podmanLimit = 1 << 20

// stopTimeout is how long a node may take to stop, in seconds. Its systemd does not end on the signal that is sent, so
// that every second is spent waiting for the kill.
const stopTimeout = 1

// settings decides what Podman's configuration lacks on this machine. conf is the configuration in force, info what
// comes of it. Without anything wrong there is nothing to set.
func settings(info Info, conf map[string]any, k kernelFacts) (set []setting, notes []string) {
	if k.root && !k.sysResource && min(k.maxFiles, k.maxProcs) < podmanLimit && lookup(conf, "containers", "default_ulimits") == nil {
		files, procs := min(k.maxFiles, podmanLimit), min(k.maxProcs, k.pidMax, podmanLimit)
		set = append(set, setting{
			"containers", "default_ulimits",
			[]string{fmt.Sprintf("nofile=%d:%d", files, files), fmt.Sprintf("nproc=%d:%d", procs, procs)},
			fmt.Sprintf("Podman asks for %d of both and this process, without CAP_SYS_RESOURCE, may not raise what it has", podmanLimit),
		})
	}
	if k.hybrid && info.CgroupVersion == 1 && (info.Runtime.Name == "crun" || info.Runtime.Name == "") {
		if k.runc != "" {
			set = append(set, setting{"engine", "runtime", "runc", "crun refuses cgroups of both versions at once, which this machine has"})
		} else {
			notes = append(notes, "crun refuses cgroups of both versions at once, which this machine has, and runc is not installed")
		}
	}
	if !k.systemd {
		if info.CgroupManager == "systemd" {
			set = append(set, setting{"engine", "cgroup_manager", "cgroupfs", "there is no systemd here to manage cgroups"})
		}
		if info.EventLogger == "journald" {
			set = append(set, setting{"engine", "events_logger", "file", "there is no journal here"})
		}
		if info.LogDriver == "journald" {
			set = append(set, setting{"containers", "log_driver", "k8s-file", "there is no journal here, and Kind reads a node's log to know that it is up"})
		}
	}
	if info.NetworkBackend == "cni" && !k.cni && k.netavark {
		set = append(set, setting{"network", "network_backend", "netavark", "Podman chose CNI, whose plugins are not installed"})
	}
	if len(set) > 0 && lookup(conf, "engine", "stop_timeout") == nil {
		set = append(set, setting{"engine", "stop_timeout", stopTimeout, "a node's systemd does not end on Podman's signal, so that deleting a cluster takes this long for each node"})
	}
	return set, notes
}

// configure writes a containers.conf into the state directory where Podman on this machine needs one, points
// CONTAINERS_CONF at it, and asks Podman again. A CONTAINERS_CONF of the user's stays, with a note on what it lacks.
func (e *Engine) configure(ctx context.Context) error {
	if e.info.Remote || e.host.os() != "linux" {
		return nil
	}
	own := filepath.Join(e.host.StateDir, "containers.conf")
	user := e.host.Getenv("CONTAINERS_CONF")
	if user == own { // a run inside a run
		user = ""
	}
	conf, err := e.configInForce(user)
	if err != nil {
		return err
	}
	set, notes := settings(e.info, conf, e.kernelFacts())
	e.notes = append(e.notes, notes...)
	if user != "" {
		for _, s := range set {
			e.notes = append(e.notes, fmt.Sprintf("CONTAINERS_CONF=%s is the user's and stays; it lacks [%s] %s = %s: %s", user, s.table, s.key, tomlValue(s.value), s.why))
		}
		return nil
	}
	if len(set) == 0 {
		return nil
	}
	if err := writeConf(own, conf, set); err != nil {
		return fmt.Errorf("write %s: %w", own, err)
	}
	e.env = append(e.env, "CONTAINERS_CONF="+own)
	for _, s := range set {
		e.notes = append(e.notes, fmt.Sprintf("%s sets [%s] %s = %s: %s", own, s.table, s.key, tomlValue(s.value), s.why))
	}
	a := probePodman(ctx, e.runner.With(nil, e.env...))
	if a.err != nil {
		return fmt.Errorf("podman with %s: %w", own, a.err)
	}
	e.info = a.info
	return nil
}

// configInForce merges the files that Podman reads, in its order: CONTAINERS_CONF alone, else those of the
// distribution, the administrator and, without root, the user.
func (e *Engine) configInForce(user string) (map[string]any, error) {
	var files []string
	add := func(dir string) {
		files = append(files, filepath.Join(dir, "containers.conf"))
		more, _ := filepath.Glob(filepath.Join(dir, "containers.conf.d", "*.conf")) // the pattern is well formed
		files = append(files, more...)
	}
	if user != "" {
		files = []string{user}
	} else {
		files = append(files, e.host.path("/usr/share/containers/containers.conf"))
		add(e.host.path("/etc/containers"))
		if e.info.Rootless {
			config := e.host.Getenv("XDG_CONFIG_HOME")
			if config == "" {
				config = filepath.Join(e.host.Getenv("HOME"), ".config")
			}
			add(filepath.Join(config, "containers"))
		}
	}
	conf := make(map[string]any)
	for _, f := range files {
		content, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) && user == "" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("configuration of podman: %w", err)
		}
		var part map[string]any
		if err := toml.Unmarshal(content, &part); err != nil {
			return nil, fmt.Errorf("configuration of podman, %s: %w", f, err)
		}
		merge(conf, part)
	}
	return conf, nil
}

// merge lays src over dst: tables are merged, other values replaced.
func merge(dst, src map[string]any) {
	for k, v := range src {
		table, ok := v.(map[string]any)
		below, both := dst[k].(map[string]any)
		if ok && both {
			merge(below, table)
			continue
		}
		dst[k] = v
	}
}

func lookup(conf map[string]any, table, key string) any {
	t, _ := conf[table].(map[string]any)
	return t[key]
}

// writeConf writes conf with the settings laid over it. CONTAINERS_CONF replaces the system's files, so that what they
// say must be repeated.
func writeConf(path string, conf map[string]any, set []setting) error {
	var b bytes.Buffer
	b.WriteString("# Written by the end-to-end harness: the system's configuration of containers, and with it, because of this host,\n")
	for _, s := range set {
		merge(conf, map[string]any{s.table: map[string]any{s.key: s.value}})
		fmt.Fprintf(&b, "#   [%s] %s: %s\n", s.table, s.key, s.why)
	}
	enc := toml.NewEncoder(&b)
	enc.Indent = ""
	if err := enc.Encode(conf); err != nil {
		return err
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, b.Bytes()) {
		return nil
	}
	return writeFile(path, b.Bytes())
}

// tomlValue writes a value as the file has it.
func tomlValue(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case []string:
		quoted := make([]string, len(v))
		for i, s := range v {
			quoted[i] = strconv.Quote(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// kernelFacts reads them. What cannot be read is taken for harmless.
func (e *Engine) kernelFacts() kernelFacts {
	read := func(path string) string {
		content, _ := os.ReadFile(e.host.path(path)) // see above
		return string(content)
	}
	k := kernelFacts{sysResource: true, maxFiles: podmanLimit, maxProcs: podmanLimit, pidMax: podmanLimit}
	for line := range strings.Lines(read("/proc/self/status")) {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 2 && fields[0] == "Uid:":
			k.root = fields[2] == "0"
		case len(fields) == 2 && fields[0] == "CapEff:":
			if caps, err := strconv.ParseUint(fields[1], 16, 64); err == nil {
				const capSysResource = 24
				k.sysResource = caps&(1<<capSysResource) != 0
			}
		}
	}
	for line := range strings.Lines(read("/proc/self/limits")) {
		for name, limit := range map[string]*uint64{"Max open files": &k.maxFiles, "Max processes": &k.maxProcs} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				if fields := strings.Fields(rest); len(fields) > 1 {
					if n, err := strconv.ParseUint(fields[1], 10, 64); err == nil { // "unlimited" stays harmless
						*limit = n
					}
				}
			}
		}
	}
	if n, err := strconv.ParseUint(strings.TrimSpace(read("/proc/sys/kernel/pid_max")), 10, 64); err == nil {
		k.pidMax = n
	}
	k.hybrid = strings.TrimSpace(read("/sys/fs/cgroup/unified/cgroup.controllers")) != ""
	for _, dir := range slices.Concat(filepath.SplitList(e.host.Getenv("PATH")), []string{"/usr/sbin", "/usr/bin"}) {
		if path, err := exec.LookPath(filepath.Join(dir, "runc")); err == nil {
			k.runc = path
			break
		}
	}
	installed := func(paths ...string) bool {
		return slices.ContainsFunc(paths, func(path string) bool {
			_, err := os.Stat(e.host.path(path))
			return err == nil
		})
	}
	k.systemd = installed("/run/systemd/system")
	k.netavark = installed("/usr/lib/podman/netavark", "/usr/libexec/podman/netavark", "/usr/local/lib/podman/netavark", "/usr/local/libexec/podman/netavark")
	k.cni = installed("/opt/cni/bin/bridge", "/usr/lib/cni/bridge", "/usr/libexec/cni/bridge", "/usr/local/lib/cni/bridge", "/usr/local/libexec/cni/bridge")
	return k
}
