package replay

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"text/template"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/engine/reading"
)

// Versions that the fakes claim.
const (
	podmanVersion = "5.6.0"
	dockerVersion = "28.3.2"
)

func (c *call) docker() bool { return c.program == "docker" }

// engine plays podman and docker.
func (c *call) engine() (int, error) {
	verb, args := c.args[0], c.args[1:]
	if len(args) > 0 && slices.Contains([]string{"network", "volume", "image", "container", "machine", "manifest", "system"}, verb) {
		verb, args = verb+" "+args[0], args[1:]
	}
	switch verb {
	case "-v", "--version":
		fmt.Fprintln(c.out, map[bool]string{false: "podman version " + podmanVersion, true: "Docker version " + dockerVersion + ", build 1"}[c.docker()])
		return 0, nil
	case "version", "info":
		return c.about(verb, args)
	case "ps":
		return c.ps(args)
	case "run":
		return c.runContainer(args)
	case "exec":
		return c.exec(args)
	case "logs":
		return c.logs(args)
	case "rm":
		return c.rm(args)
	case "wait":
		return c.wait(args)
	case "restart", "start", "stop":
		return c.restart(verb, args)
	case "inspect":
		o, names := interleaved(args, "format", "f", "type")
		if slices.Equal(o["type"], []string{"image"}) {
			return c.inspect(c.imageDocument, "image", o, names)
		}
		return c.inspect(c.containerDocument, "container", o, names)
	case "container inspect":
		o, names := interleaved(args, "format", "f")
		return c.inspect(c.containerDocument, "container", o, names)
	case "image inspect":
		o, names := interleaved(args, "format", "f")
		return c.inspect(c.imageDocument, "image", o, names)
	case "network inspect":
		o, names := interleaved(args, "format", "f")
		return c.inspect(c.networkDocument, "network", o, names)
	case "volume inspect":
		o, names := interleaved(args, "format", "f")
		return c.inspect(c.volumeDocument, "volume", o, names)
	case "network ls", "network create", "network rm":
		return c.networks(strings.TrimPrefix(verb, "network "), args)
	case "volume ls", "volume create", "volume rm":
		return c.volumes(strings.TrimPrefix(verb, "volume "), args)
	case "machine list":
		return c.refuse(125, "Error: no machine provider"), nil
	case "machine ssh": // it resolves every name
		return 0, nil
	case "images", "build", "save", "rmi", "pull", "load", "manifest inspect", "import":
		return c.images(verb, args)
	case "cp":
		return 0, nil
	case "system df", "system prune", "system reset", "image prune":
		if verb != "system df" {
			return 0, fmt.Errorf("nobody may call %s %s", c.program, verb)
		}
		fmt.Fprintln(c.out, "TYPE TOTAL ACTIVE SIZE RECLAIMABLE")
		return 0, nil
	}
	return 0, errUnplayed
}

// about answers what an engine says of itself.
func (c *call) about(verb string, args []string) (int, error) {
	o, _ := flags(args, "format", "f")
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	var doc map[string]any
	switch {
	case !c.docker():
		doc = map[string]any{
			"host": map[string]any{
				"arch": runtime.GOARCH, "cgroupManager": "cgroupfs", "cgroupVersion": "v2", "cgroupControllers": []string{"cpu", "memory", "pids", "cpuset"}, "cpus": 4,
				"distribution": map[string]any{"distribution": "replay", "version": "1"}, "eventLogger": "file", "kernel": "6.8.0", "logDriver": "k8s-file",
				"memTotal": uint64(32) * gigabyte, "networkBackend": "netavark", "serviceIsRemote": true, "security": map[string]any{"rootless": false},
				"ociRuntime": map[string]any{"name": "crun", "path": "/usr/bin/crun", "version": "crun version 1.21\nspec: 1.2.0"},
			},
			"store":   map[string]any{"graphDriverName": "overlay", "graphRoot": "/var/lib/containers/storage", "imageCopyTmpDir": "/var/tmp"},
			"version": map[string]any{"Version": podmanVersion},
			"Client":  map[string]any{"Version": podmanVersion}, "Server": map[string]any{"Version": podmanVersion},
		}
	case verb == "version":
		doc = map[string]any{
			"Client": map[string]any{"Version": dockerVersion},
			"Server": map[string]any{"Version": dockerVersion, "Components": []any{map[string]any{"Name": "Engine"}}},
		}
	default:
		doc = map[string]any{
			"Driver": "overlay2", "MemTotal": uint64(32) * gigabyte, "NCPU": 4, "CgroupDriver": "systemd", "CgroupVersion": "2", "KernelVersion": "6.8.0",
			"OperatingSystem": "replay 1", "Architecture": machine, "DockerRootDir": "/var/lib/docker", "ServerVersion": dockerVersion, "DefaultRuntime": "runc",
			"Runtimes": map[string]any{"runc": map[string]any{"path": "runc"}}, "RuncCommit": map[string]any{"ID": "v1.2.5-0-g59923ef"},
			"SecurityOptions": []string{"name=cgroupns"}, "LoggingDriver": "json-file", "MemoryLimit": true, "PidsLimit": true, "CPUShares": true,
			"ClientInfo": map[string]any{"Version": dockerVersion}, "DriverStatus": [][]string{{"Backing Filesystem", "extfs"}},
		}
	}
	for path, v := range c.script.Info {
		at, keys := doc, strings.Split(path, ".")
		for _, k := range keys[:len(keys)-1] {
			inner, ok := at[k].(map[string]any)
			if !ok {
				return 0, fmt.Errorf("there is no %s", path)
			}
			at = inner
		}
		at[keys[len(keys)-1]] = v
	}
	format := append(append(o["format"], o["f"]...), "json")[0]
	if format == "json" {
		return 0, json.NewEncoder(c.out).Encode(doc)
	}
	return 0, c.print(format, doc)
}

// print executes the template of a --format.
func (c *call) print(format string, doc any) error {
	t, err := template.New("").Option("missingkey=zero").Funcs(template.FuncMap{"json": func(v any) (string, error) {
		text, err := json.Marshal(v)
		return string(text), err
	}}).Parse(format)
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := t.Execute(&b, doc); err != nil {
		return err
	}
	fmt.Fprintln(c.out, strings.ReplaceAll(b.String(), "<no value>", ""))
	return nil
}

// inspect prints documents of objects, or what a template makes of them.
func (c *call) inspect(document func(*state, string) map[string]any, object string, o map[string][]string, names []string) (int, error) {
	var docs []map[string]any
	missing := ""
	err := c.world.change(func(s *state) error {
		for _, name := range names {
			if doc := document(s, name); doc != nil {
				docs = append(docs, doc)
			} else if missing == "" {
				missing = name
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return 0, err
	case missing != "" && object == "network":
		return c.refuse(1, "Error: network %s not found", missing), nil
	case missing != "" && object == "image" && !c.docker():
		return c.refuse(125, "Error: %s: image not known", missing), nil
	case missing != "":
		return c.refuse(map[bool]int{true: 1, false: 125}[c.docker()], "Error: no such %s %s", object, missing), nil
	}
	format := slices.Concat(o["format"], o["f"])
	if len(format) == 0 {
		return 0, json.NewEncoder(c.out).Encode(docs)
	}
	for _, doc := range docs {
		if err := c.print(format[0], doc); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// read answers the harness's probe, which reads values where the nodes run.
func (c *call) read(question string) (int, error) {
	var q reading.Question
	if err := json.Unmarshal([]byte(question), &q); err != nil {
		return 0, err
	}
	a := reading.Answer{Files: map[string]string{}, Disks: map[string]reading.Disk{}, Inotify: map[int]int{}}
	err := c.world.change(func(s *state) error {
		a.Clock = time.Now().Add(s.Skew)
		for _, f := range q.Files {
			if content, ok := s.Files[f]; ok {
				a.Files[f] = content
			}
		}
		for _, d := range q.Disks {
			a.Disks[d] = reading.Disk{Device: 1, Total: 1000 * gigabyte, Free: s.Free, Inodes: 1 << 24, Counts: true}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return 0, json.NewEncoder(c.out).Encode(a)
}

func (c *call) networkDocument(s *state, name string) map[string]any {
	for _, n := range s.Networks {
		if n.Name != name && n.ID != name {
			continue
		}
		containers := map[string]any{}
		return map[string]any{
			"Name": n.Name, "name": n.Name, "Id": n.ID, "ID": n.ID, "Labels": n.Labels, "Created": time.Now(), "Containers": containers,
			"subnets": []any{map[string]any{"subnet": n.Subnet}}, "network_interface": "podman9",
			"IPAM": map[string]any{"Config": []any{map[string]any{"Subnet": n.Subnet}}}, "Options": map[string]string{"com.docker.network.bridge.name": n.Name},
		}
	}
	if c.docker() && name == "bridge" {
		return map[string]any{"Name": "bridge", "Options": map[string]string{}}
	}
	return nil
}

func (c *call) networks(verb string, args []string) (int, error) {
	o, names := interleaved(args, "filter", "format", "driver", "label", "opt", "o", "subnet", "d")
	code := 0
	err := c.world.change(func(s *state) error {
		switch verb {
		case "create":
			s.Networks = append(s.Networks, &network{Name: names[0], ID: s.id("network"), Subnet: o["subnet"][0], Labels: parseLabels(o["label"])})
			fmt.Fprintln(c.out, names[0])
		case "rm":
			before := len(s.Networks)
			s.Networks = slices.DeleteFunc(s.Networks, func(n *network) bool { return slices.Contains(names, n.Name) || slices.Contains(names, n.ID) })
			if len(s.Networks) == before {
				code = c.refuse(1, "Error: network not found")
			}
		default:
			for _, n := range s.Networks {
				if len(o["filter"]) == 0 || strings.Contains(n.Name, strings.Trim(strings.TrimPrefix(o["filter"][0], "name="), "^$")) {
					fmt.Fprintln(c.out, map[bool]string{true: n.ID, false: n.Name}[c.docker()])
				}
			}
		}
		return nil
	})
	return code, err
}

func (c *call) volumeDocument(s *state, name string) map[string]any {
	if l, ok := s.Volumes[name]; ok {
		return map[string]any{"Name": name, "Labels": l}
	}
	return nil
}

func (c *call) volumes(verb string, args []string) (int, error) {
	o, names := interleaved(args, "filter", "format", "label")
	return 0, c.world.change(func(s *state) error {
		switch verb {
		case "create":
			name := s.id("volume")
			s.Volumes[name] = parseLabels(o["label"])
			fmt.Fprintln(c.out, name)
		case "rm":
			for _, n := range names {
				delete(s.Volumes, n)
			}
		default:
			for name, l := range s.Volumes {
				if fits(l, name, "", "", o["filter"]) {
					fmt.Fprintln(c.out, name)
				}
			}
		}
		return nil
	})
}

func parseLabels(all []string) labels {
	l := labels{}
	for _, text := range all {
		name, value, _ := strings.Cut(text, "=")
		l[name] = value
	}
	return l
}

// fits reports whether an object passes all filters.
func fits(l labels, name, net, image string, filters []string) bool {
	for _, f := range filters {
		what, value, _ := strings.Cut(f, "=")
		switch what {
		case "label":
			key, want, exact := strings.Cut(value, "=")
			have, ok := l[key]
			if !ok || exact && have != want {
				return false
			}
		case "network":
			if net != value {
				return false
			}
		case "ancestor":
			if image != value {
				return false
			}
		case "name":
			if !strings.Contains(name, value) {
				return false
			}
		}
	}
	return true
}
