package nodeimage

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// kind is Kind's module as this repository requires it: what is done to it must fit each version.
func kind(t *testing.T) kindSources {
	t.Helper()
	k, err := newTestBuilder(t, Options{}).kindDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKindFiles(t *testing.T) {
	l := make(layer)
	if err := kind(t).addFiles(l); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"etc/systemd/system/containerd.service": "\nExecStart=/usr/bin/containerd\n",
		"etc/containerd/config.toml":            "restrict_oom_score_adj = true\n",
		"usr/local/bin/entrypoint":              "#!/bin/bash",
	} {
		if !strings.Contains(string(l[name].data), want) {
			t.Errorf("%s does not have %q:\n%s", name, want, l[name].data)
		}
	}
	if got := l["usr/local/bin/entrypoint"].mode; got != 0o755 {
		t.Errorf("the entrypoint has the mode %s", got)
	}
	if got := l["kind/bin/mount-product-files.sh"].mode; got != 0o755 {
		t.Errorf("the hook has the mode %s", got)
	}
	if sandbox, err := l.sandboxImage(); err != nil || !strings.Contains(sandbox, "/pause:") {
		t.Errorf("sandbox image %q, %v", sandbox, err)
	}
	if err := l.enable("kubelet.service", "containerd.service", "undo-mount-hacks.service"); err != nil {
		t.Fatal(err)
	}
	e := l["etc/systemd/system/multi-user.target.wants/kubelet.service"]
	if e.link != "/etc/systemd/system/kubelet.service" {
		t.Errorf("kubelet.service is not enabled: %+v", e)
	}
	if err := l.enable("missing.service"); err == nil {
		t.Error("enabled a unit that is not there")
	}
}

func TestKindFilesOfAnotherVersion(t *testing.T) {
	if err := (kindSources{t.TempDir()}).addFiles(make(layer)); err == nil {
		t.Error("no error without files")
	}
	if _, err := (kindSources{t.TempDir()}).storage(); err == nil {
		t.Error("no error without constants")
	}
}

func TestManifests(t *testing.T) {
	s, err := kind(t).storage()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"image: " + s.provisioner + "\n", "image: " + s.helper + "\n", "storageclass.kubernetes.io/is-default-class"} {
		if !strings.Contains(s.manifest, want) {
			t.Errorf("the storage class's manifest does not have %q", want)
		}
	}
	l := make(layer)
	if err := l.addManifests(parts{storage: s, cnidImage: "localhost/cnid:1", version: "v1.2.3"}); err != nil {
		t.Fatal(err)
	}
	cni := string(l["kind/manifests/default-cni.yaml"].data)
	for _, want := range []string{"image: localhost/cnid:1\n", "would you kindly template this file", "would you kindly patch this file", "{{ .PodSubnet }}"} {
		if !strings.Contains(cni, want) {
			t.Errorf("the network's manifest does not have %q", want)
		}
	}
	var names []string
	for name, e := range l {
		if e.mode.IsRegular() {
			names = append(names, path.Base(name))
		}
	}
	if slices.Sort(names); !slices.Equal(names, []string{"default-cni.yaml", "default-storage.yaml", "version"}) {
		t.Errorf("got %v", names)
	}
	if got := string(l["kind/version"].data); got != "v1.2.3" {
		t.Errorf("version %q", got)
	}
}
