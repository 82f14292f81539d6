package engine

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// healthy is a machine on which Podman's defaults work.
func healthy() kernelFacts {
	return kernelFacts{root: true, sysResource: true, maxFiles: podmanLimit, maxProcs: podmanLimit, pidMax: 4194304, systemd: true, netavark: true}
}

func TestSettings(t *testing.T) {
	fine := Info{Runtime: Runtime{Name: "runc"}, CgroupVersion: 2, CgroupManager: "systemd", EventLogger: "journald", LogDriver: "journald", NetworkBackend: "netavark"}
	for _, row := range []struct {
		name string
		info func(*Info)
		conf map[string]any
		k    func(*kernelFacts)
		want map[string]any // by table.key
		note string
	}{
		{name: "nothing is wrong"},
		{
			name: "root may not raise limits",
			k:    func(k *kernelFacts) { k.sysResource, k.maxFiles, k.maxProcs, k.pidMax = false, 20000, 96365, 32768 },
			want: map[string]any{"containers.default_ulimits": []string{"nofile=20000:20000", "nproc=32768:32768"}, "engine.stop_timeout": 1},
		},
		{
			name: "limits are set already",
			conf: map[string]any{"containers": map[string]any{"default_ulimits": []any{"nofile=1024:1024"}}},
			k:    func(k *kernelFacts) { k.sysResource, k.maxFiles = false, 20000 },
		},
		{name: "limits are high enough", k: func(k *kernelFacts) { k.sysResource = false }},
		{name: "without root Podman takes what there is", k: func(k *kernelFacts) { k.root, k.sysResource, k.maxFiles = false, false, 1024 }},
		{
			name: "crun and both cgroups",
			info: func(i *Info) { i.Runtime.Name, i.CgroupVersion = "crun", 1 },
			k:    func(k *kernelFacts) { k.hybrid, k.runc = true, "/usr/sbin/runc" },
			want: map[string]any{"engine.runtime": "runc", "engine.stop_timeout": 1},
		},
		{
			name: "crun and both cgroups, no runc",
			info: func(i *Info) { i.Runtime.Name, i.CgroupVersion = "crun", 1 },
			k:    func(k *kernelFacts) { k.hybrid = true },
			note: "runc is not installed",
		},
		{
			name: "crun and one cgroup",
			info: func(i *Info) { i.Runtime.Name, i.CgroupVersion = "crun", 1 },
			k:    func(k *kernelFacts) { k.runc = "/usr/sbin/runc" },
		},
		{
			name: "no systemd",
			k:    func(k *kernelFacts) { k.systemd = false },
			want: map[string]any{"engine.cgroup_manager": "cgroupfs", "engine.events_logger": "file", "containers.log_driver": "k8s-file", "engine.stop_timeout": 1},
		},
		{
			name: "a stop timeout is set already",
			info: func(i *Info) { i.NetworkBackend = "cni" },
			conf: map[string]any{"engine": map[string]any{"stop_timeout": int64(5)}},
			want: map[string]any{"network.network_backend": "netavark"},
		},
		{name: "CNI with its plugins", info: func(i *Info) { i.NetworkBackend = "cni" }, k: func(k *kernelFacts) { k.cni = true }},
	} {
		t.Run(row.name, func(t *testing.T) {
			info, k := fine, healthy()
			if row.info != nil {
				row.info(&info)
			}
			if row.k != nil {
				row.k(&k)
			}
			set, notes := settings(info, row.conf, k)
			got := make(map[string]any)
			for _, s := range set {
				got[s.table+"."+s.key] = s.value
				if s.why == "" {
					t.Errorf("%s.%s has no reason", s.table, s.key)
				}
			}
			if len(got) != len(row.want) || len(got) > 0 && !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %v, want %v", got, row.want)
			}
			if all := strings.Join(notes, "\n"); (row.note == "") != (all == "") || !strings.Contains(all, row.note) {
				t.Errorf("notes: got %q, want %q", all, row.note)
			}
		})
	}
}

// hostFiles writes files below a directory and returns it.
func hostFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestKernelFacts(t *testing.T) {
	read := func(files map[string]string, path string) kernelFacts {
		e := &Engine{host: Host{Root: hostFiles(t, files), Getenv: func(string) string { return path }}}
		return e.kernelFacts()
	}
	got := read(map[string]string{
		"proc/self/status":                         "Name:\tx\nUid:\t0\t0\t0\t0\nCapEff:\t000001fffeffffff\n",
		"proc/self/limits":                         "Limit                     Soft Limit           Hard Limit           Units     \nMax processes             96365                96365                processes \nMax open files            1024                 20000                files     \n",
		"proc/sys/kernel/pid_max":                  "32768\n",
		"sys/fs/cgroup/unified/cgroup.controllers": "hugetlb\n",
		"usr/lib/podman/netavark":                  "",
		"opt/cni/bin/bridge":                       "",
		"run/systemd/system/x":                     "",
	}, "")
	got.runc = "" // that of this machine
	want := kernelFacts{root: true, maxFiles: 20000, maxProcs: 96365, pidMax: 32768, systemd: true, hybrid: true, netavark: true, cni: true}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	got = read(map[string]string{
		"proc/self/status": "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000001000000\n",
		"proc/self/limits": "Max processes             unlimited            unlimited            processes \n",
	}, "")
	got.runc = ""
	if want = (kernelFacts{sysResource: true, maxFiles: podmanLimit, maxProcs: podmanLimit, pidMax: podmanLimit}); got != want {
		t.Errorf("what cannot be read: got %+v, want %+v", got, want)
	}
	bin := filepath.Join(hostFiles(t, map[string]string{"runc": "#!/bin/sh\n"}), "runc")
	if err := os.Chmod(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := read(nil, filepath.Dir(bin)).runc; got != bin {
		t.Errorf("runc on PATH: got %q, want %q", got, bin)
	}
}

func TestConfigInForce(t *testing.T) {
	root := hostFiles(t, map[string]string{
		"usr/share/containers/containers.conf":     "[containers]\npids_limit = 1\ndefault_ulimits = [\"nofile=1:1\"]\n[engine]\nruntime = \"crun\"\n[engine.runtimes]\nkata = [\"/k\"]\n",
		"etc/containers/containers.conf":           "[engine]\nruntime = \"kata\"\n",
		"etc/containers/containers.conf.d/10.conf": "[containers]\ndefault_ulimits = []\n",
		"etc/containers/containers.conf.d/note":    "no configuration",
		"home/.config/containers/containers.conf":  "[engine]\nruntime = \"users\"\n",
		"mine.conf": "[engine]\nruntime = \"mine\"\n",
		"bad.conf":  "[engine\n",
	})
	engine := func(rootless bool) *Engine {
		return &Engine{info: Info{Rootless: rootless}, host: Host{Root: root, Getenv: func(name string) string {
			return map[string]string{"HOME": filepath.Join(root, "home")}[name]
		}}}
	}
	for _, row := range []struct {
		name, user string
		rootless   bool
		want       map[string]any
	}{
		{"root", "", false, map[string]any{
			"containers": map[string]any{"pids_limit": int64(1), "default_ulimits": []any{}},
			"engine":     map[string]any{"runtime": "kata", "runtimes": map[string]any{"kata": []any{"/k"}}},
		}},
		{"user", "", true, map[string]any{
			"containers": map[string]any{"pids_limit": int64(1), "default_ulimits": []any{}},
			"engine":     map[string]any{"runtime": "users", "runtimes": map[string]any{"kata": []any{"/k"}}},
		}},
		{"CONTAINERS_CONF alone", filepath.Join(root, "mine.conf"), false, map[string]any{"engine": map[string]any{"runtime": "mine"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := engine(row.rootless).configInForce(row.user)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
	for _, user := range []string{filepath.Join(root, "bad.conf"), filepath.Join(root, "missing.conf")} {
		if _, err := engine(false).configInForce(user); err == nil || !strings.Contains(err.Error(), user) {
			t.Errorf("%s: got %v, want an error that names it", user, err)
		}
	}
}

func TestWriteConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "containers.conf")
	conf := map[string]any{"engine": map[string]any{"runtime": "crun", "infra_image": "x"}, "secrets": map[string]any{}}
	set := []setting{
		{"engine", "runtime", "runc", "the reason"},
		{"containers", "default_ulimits", []string{"nofile=1:1"}, "another"},
	}
	if err := writeConf(path, conf, set); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := toml.Unmarshal(content, &got); err != nil {
		t.Fatalf("%v\n%s", err, content)
	}
	want := map[string]any{
		"engine":     map[string]any{"runtime": "runc", "infra_image": "x"},
		"containers": map[string]any{"default_ulimits": []any{"nofile=1:1"}},
		"secrets":    map[string]any{},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, why := range []string{"[engine] runtime: the reason", "[containers] default_ulimits: another"} {
		if !strings.Contains(string(content), why) {
			t.Errorf("%q is not in\n%s", why, content)
		}
	}
}
