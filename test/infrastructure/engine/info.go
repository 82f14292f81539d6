package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Info is what an engine says about itself. What it does not say is zero.
type Info struct {
	Version string `json:"version"` // of the engine that runs the containers
	Client  string `json:"client"`  // of the program that is called
	// Remote tells that containers run in another machine than this process, mostly a virtual one.
	Remote   bool    `json:"remote"`
	Rootless bool    `json:"rootless"`
	Runtime  Runtime `json:"runtime"`

	CgroupVersion     int      `json:"cgroupVersion"`
	CgroupManager     string   `json:"cgroupManager"`
	CgroupControllers []string `json:"cgroupControllers,omitempty"` // those that are delegated; Podman only

	LogDriver      string `json:"logDriver"`
	EventLogger    string `json:"eventLogger,omitempty"`
	NetworkBackend string `json:"networkBackend,omitempty"`
	StorageDriver  string `json:"storageDriver"`
	GraphRoot      string `json:"graphRoot"`           // where images and containers are kept
	ImageTemp      string `json:"imageTemp,omitempty"` // where images are put together

	OS     string `json:"os"`   // the system that the containers run on, in words
	Arch   string `json:"arch"` // as Go names it
	Kernel string `json:"kernel"`
	CPUs   int    `json:"cpus"`
	Memory int64  `json:"memory"` // bytes
}

// Runtime is the OCI runtime that the engine uses, which need not be the one on PATH.
type Runtime struct {
	Name    string `json:"name"`
	Path    string `json:"path"`
	Version string `json:"version"` // the number alone
}

type podmanInfo struct {
	Host struct {
		Arch              string
		CgroupControllers []string
		CgroupManager     string
		CgroupVersion     string
		CPUs              int
		Distribution      struct{ Distribution, Version string }
		EventLogger       string
		Kernel            string
		LogDriver         string
		MemTotal          int64
		NetworkBackend    string
		OCIRuntime        *struct{ Name, Path, Version string }
		Security          struct{ Rootless bool }
		ServiceIsRemote   bool
	}
	Store struct {
		GraphDriverName string
		GraphRoot       string
		ImageCopyTmpDir string
	}
	Version struct{ Version string }
}

// parsePodmanInfo reads the output of podman info --format json. A runtime that cannot tell its version is left out of
// it by Podman, and so from the result.
func parsePodmanInfo(out []byte) (Info, error) {
	var p podmanInfo
	if err := json.Unmarshal(out, &p); err != nil {
		return Info{}, fmt.Errorf("output of podman info: %w", err)
	}
	if p.Version.Version == "" {
		return Info{}, fmt.Errorf("output of podman info: it has no version: %.200s", out)
	}
	i := Info{
		Version:           p.Version.Version,
		Client:            p.Version.Version,
		Remote:            p.Host.ServiceIsRemote,
		Rootless:          p.Host.Security.Rootless,
		CgroupVersion:     cgroupVersion(p.Host.CgroupVersion),
		CgroupManager:     p.Host.CgroupManager,
		CgroupControllers: p.Host.CgroupControllers,
		LogDriver:         p.Host.LogDriver,
		EventLogger:       p.Host.EventLogger,
		NetworkBackend:    p.Host.NetworkBackend,
		StorageDriver:     p.Store.GraphDriverName,
		GraphRoot:         p.Store.GraphRoot,
		ImageTemp:         p.Store.ImageCopyTmpDir,
		OS:                strings.TrimSpace(p.Host.Distribution.Distribution + " " + p.Host.Distribution.Version),
		Arch:              goArch(p.Host.Arch),
		Kernel:            p.Host.Kernel,
		CPUs:              p.Host.CPUs,
		Memory:            p.Host.MemTotal,
	}
	if r := p.Host.OCIRuntime; r != nil {
		i.Runtime = Runtime{Name: r.Name, Path: r.Path, Version: firstVersion(r.Version)}
	}
	return i, nil
}

type dockerInfo struct {
	Architecture    string
	CgroupDriver    string
	CgroupVersion   string
	DefaultRuntime  string
	DockerRootDir   string
	Driver          string
	KernelVersion   string
	LoggingDriver   string
	MemTotal        int64
	NCPU            int
	OperatingSystem string
	RuncCommit      struct{ ID string }
	Runtimes        map[string]struct{ Path string }
	SecurityOptions []string
	ServerErrors    []string
	ServerVersion   string
	ClientInfo      struct{ Version string }
}

// parseDockerInfo reads the output of docker info --format '{{json .}}', which ends well when the daemon does not answer.
func parseDockerInfo(out []byte) (Info, error) {
	var d dockerInfo
	if err := json.Unmarshal(out, &d); err != nil {
		return Info{}, fmt.Errorf("output of docker info: %w", err)
	}
	if len(d.ServerErrors) > 0 {
		return Info{}, fmt.Errorf("docker info: %s", strings.Join(d.ServerErrors, "; "))
	}
	if d.ServerVersion == "" {
		return Info{}, fmt.Errorf("output of docker info: it has no server's version: %.200s", out)
	}
	return Info{
		Version:       d.ServerVersion,
		Client:        d.ClientInfo.Version,
		Remote:        strings.Contains(d.OperatingSystem, "Docker Desktop"),
		Rootless:      slices.ContainsFunc(d.SecurityOptions, func(o string) bool { return strings.HasPrefix(o, "name=rootless") }),
		Runtime:       Runtime{Name: d.DefaultRuntime, Path: d.Runtimes[d.DefaultRuntime].Path, Version: firstVersion(d.RuncCommit.ID)},
		CgroupVersion: cgroupVersion(d.CgroupVersion),
		CgroupManager: d.CgroupDriver,
		LogDriver:     d.LoggingDriver,
		StorageDriver: d.Driver,
		GraphRoot:     d.DockerRootDir,
		OS:            d.OperatingSystem,
		Arch:          goArch(d.Architecture),
		Kernel:        d.KernelVersion,
		CPUs:          d.NCPU,
		Memory:        d.MemTotal,
	}, nil
}

// cgroupVersion reads "v2", "2" and the like; 0 if it cannot.
func cgroupVersion(s string) int {
	switch strings.TrimPrefix(s, "v") {
	case "1":
		return 1
	case "2":
		return 2
	}
	return 0
}

// goArch turns the machine's name of an architecture into Go's.
func goArch(s string) string {
	switch s {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return s
}

// firstVersion finds the first word of a text that is a version, and returns its number: digits and dots, no v before
// and nothing after.
func firstVersion(s string) string {
	for word := range strings.FieldsSeq(s) {
		word = strings.TrimPrefix(word, "v")
		end := strings.IndexFunc(word, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if end >= 0 {
			word = word[:end]
		}
		word = strings.Trim(word, ".")
		if strings.Contains(word, ".") {
			return word
		}
	}
	return ""
}

// splitPair splits name=value.
func splitPair(s string) (name, value string) {
	name, value, _ = strings.Cut(s, "=")
	return name, value
}
