package engine

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParseInfo(t *testing.T) {
	for _, row := range []struct {
		file  string
		parse func([]byte) (Info, error)
		want  Info
	}{
		{
			"podman-4.3-info.json", parsePodmanInfo,
			Info{
				Version: "4.3.1", Client: "4.3.1", Runtime: Runtime{"runc", "/usr/bin/runc", "1.1.5"}, CgroupVersion: 1, CgroupManager: "cgroupfs",
				CgroupControllers: []string{"cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "pids"}, LogDriver: "k8s-file",
				EventLogger: "file", NetworkBackend: "netavark", StorageDriver: "overlay", GraphRoot: "/var/lib/containers/storage", ImageTemp: "/var/tmp",
				OS: "debian 12", Arch: "amd64", Kernel: "6.18.44-fc-v509", CPUs: 2, Memory: 25276518400,
			},
		},
		{
			"podman-5.6-machine-info.json", parsePodmanInfo,
			Info{
				Version: "5.6.0", Client: "5.6.0", Remote: true, Rootless: true, Runtime: Runtime{"crun", "/usr/bin/crun", "1.23.1"}, CgroupVersion: 2,
				CgroupManager: "systemd", CgroupControllers: []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"}, LogDriver: "journald",
				EventLogger: "journald", NetworkBackend: "netavark", StorageDriver: "overlay", GraphRoot: "/var/home/core/.local/share/containers/storage",
				ImageTemp: "/var/tmp", OS: "fedora 42", Arch: "arm64", Kernel: "6.15.9-201.fc42.aarch64", CPUs: 6, Memory: 13058080768,
			},
		},
		{
			"docker-28-info.json", parseDockerInfo,
			Info{
				Version: "28.3.2", Client: "28.3.2", Runtime: Runtime{"runc", "runc", "1.2.5"}, CgroupVersion: 2, CgroupManager: "systemd", LogDriver: "json-file",
				StorageDriver: "overlay2", GraphRoot: "/var/lib/docker", OS: "Ubuntu 24.04.2 LTS", Arch: "amd64", Kernel: "6.8.0-71-generic", CPUs: 8, Memory: 16624926720,
			},
		},
	} {
		t.Run(row.file, func(t *testing.T) {
			content, err := os.ReadFile(filepath.Join("testdata", row.file))
			if err != nil {
				t.Fatal(err)
			}
			got, err := row.parse(content)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, row.want) {
				t.Errorf("got  %+v\nwant %+v", got, row.want)
			}
		})
	}
}

func TestParseInfoErrors(t *testing.T) {
	for _, row := range []struct {
		name  string
		parse func([]byte) (Info, error)
		out   string
		want  string
	}{
		{"podman says nothing", parsePodmanInfo, `{}`, "no version"},
		{"podman says no JSON", parsePodmanInfo, `host:`, "output of podman info"},
		{"the daemon does not answer", parseDockerInfo, `{"ServerErrors":["Cannot connect to the Docker daemon"],"ClientInfo":{"Version":"28"}}`, "Cannot connect"},
		{"docker says nothing", parseDockerInfo, `{}`, "no server's version"},
		{"docker says no JSON", parseDockerInfo, `WARNING`, "output of docker info"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := row.parse([]byte(row.out)); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want an error with %q", err, row.want)
			}
		})
	}
	// A runtime that cannot be run is null in Podman's answer.
	if i, err := parsePodmanInfo([]byte(`{"host":{"ociRuntime":null},"version":{"Version":"4.3.1"}}`)); err != nil || i.Runtime != (Runtime{}) {
		t.Errorf("got %+v, %v", i, err)
	}
}

func TestFirstVersion(t *testing.T) {
	for in, want := range map[string]string{
		"runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1": "1.1.5",
		"crun version 1.14.3\ncommit: x":                      "1.14.3",
		"v1.2.5-0-g59923ef":                                   "1.2.5",
		"crun version UNKNOWN":                                "",
		"":                                                    "",
	} {
		if got := firstVersion(in); got != want {
			t.Errorf("firstVersion(%q): got %q, want %q", in, got, want)
		}
	}
}
