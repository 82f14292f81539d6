package replay

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// row is a line of ps, as templates see it.
type row struct {
	ID, Names string
	l         labels
}

// Label is a label's value.
func (r row) Label(name string) string { return r.l[name] }

// Labels are all.
func (r row) Labels() map[string]string { return r.l }

func (c *call) ps(args []string) (int, error) {
	o, _ := flags(args, "filter", "format")
	external := o["external"] != nil
	var rows []row
	var all []map[string]any
	err := c.world.change(func(s *state) error {
		for _, n := range s.Containers {
			imageID := ""
			if i := s.image(n.Image); i != nil {
				imageID = i.ID
			}
			if !fits(n.Labels, n.Name, n.Network, imageID, o["filter"]) {
				continue
			}
			rows = append(rows, row{n.ID, n.Name, n.Labels})
			all = append(all, map[string]any{"Id": n.ID, "Names": []string{n.Name}, "State": status(n), "Image": n.Image})
		}
		if external {
			for _, name := range s.Storage {
				all = append(all, map[string]any{"Id": digest("storage", name), "Names": []string{name}, "State": "Storage", "Image": ""})
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	switch format := append(o["format"], "")[0]; {
	case format == "json":
		return 0, json.NewEncoder(c.out).Encode(all)
	case format != "":
		for _, r := range rows {
			if err := c.print(format, r); err != nil {
				return 0, err
			}
		}
	default:
		for _, r := range rows {
			fmt.Fprintln(c.out, r.ID)
		}
	}
	return 0, nil
}

func status(n *container) string {
	if n.Running {
		return "running"
	}
	return "exited"
}

func (c *call) containerDocument(s *state, name string) map[string]any {
	n := s.container(name)
	if n == nil {
		return nil
	}
	imageID := ""
	if i := s.image(n.Image); i != nil {
		imageID = i.ID
	}
	ports, bindings := map[string]any{}, map[string]any{}
	for inside, outside := range n.Ports {
		if inside == apiPort {
			outside = strconv.Itoa(c.script.APIPort)
		}
		ports[inside] = []map[string]string{{"HostIp": "127.0.0.1", "HostPort": outside}}
		bindings[inside] = []map[string]string{{"HostIp": "127.0.0.1", "HostPort": outside}}
	}
	networks := map[string]any{}
	if n.Network != "none" {
		networks[n.Network] = map[string]string{"IPAddress": "10.89.77.9", "GlobalIPv6Address": ""}
	}
	mounts := []map[string]any{}
	for _, v := range n.Volumes {
		mounts = append(mounts, map[string]any{"Type": "volume", "Name": v})
	}
	return map[string]any{
		"Id": n.ID, "Name": n.Name, "Created": n.Created, "Image": imageID, "ImageName": n.Image,
		"State":  map[string]any{"Status": status(n), "Running": n.Running, "ExitCode": n.ExitCode, "OOMKilled": n.OOM, "Pid": 1},
		"Config": map[string]any{"Image": n.Image, "Labels": map[string]string(n.Labels)}, "Mounts": mounts,
		"HostConfig": map[string]any{"PidsLimit": 0, "PortBindings": bindings}, "NetworkSettings": map[string]any{"Networks": networks, "Ports": ports},
	}
}

// apiPort is that of the API server in the control plane's container.
const apiPort = "6443/tcp"

// runContainer plays run.
func (c *call) runContainer(args []string) (int, error) {
	o, rest := flags(args, "name", "label", "network", "net", "hostname", "volume", "v", "e", "env", "publish", "p", "tmpfs", "security-opt", "restart",
		"userns", "cgroupns", "device", "pid", "cap-add", "add-host", "ip", "entrypoint", "ulimit", "pids-limit")
	if len(rest) == 0 {
		return 0, errUnplayed
	}
	if len(rest) > 2 && rest[1] == "read" {
		return c.read(rest[2])
	}
	name := append(o["name"], "")[0]
	code := 0
	err := c.world.change(func(s *state) error {
		switch {
		case s.container(name) != nil, slices.Contains(s.Storage, name):
			code = c.refuse(125, "Error: creating container storage: the container name %q is already in use by %s. You have to remove that container to be able to reuse that name: that name is already in use", name, digest(name)[:12])
			return nil
		case s.image(rest[0]) == nil && s.image(strings.SplitN(rest[0], "@", 2)[0]) == nil:
			code = c.refuse(125, "Error: %s: image not known", rest[0])
			return nil
		}
		n := &container{
			ID: s.id("container"), Name: name, Image: rest[0], Labels: parseLabels(o["label"]), Running: true, Created: time.Now(),
			Network: append(append(o["network"], o["net"]...), "bridge")[0], Ports: map[string]string{},
		}
		for _, p := range append(o["publish"], o["p"]...) {
			parts := strings.Split(p, ":") // 127.0.0.1:8080:30080/TCP
			n.Ports[strings.ToLower(parts[len(parts)-1])] = parts[len(parts)-2]
		}
		for _, v := range append(o["volume"], o["v"]...) {
			source, _, _ := strings.Cut(v, ":")
			if _, ok := s.Volumes[source]; ok {
				n.Volumes = append(n.Volumes, source)
			}
		}
		s.Containers = append(s.Containers, n)
		s.Node[name] = nodeState{Images: map[string]string{}}
		fmt.Fprintln(c.out, n.ID)
		return nil
	})
	return code, err
}

// logs prints what a node says when it is up; with -f until it is ended.
func (c *call) logs(args []string) (int, error) {
	_, names := interleaved(args)
	if n, err := c.find(names[0]); err != nil || n == nil {
		return c.noSuch(names[0]), err
	}
	fmt.Fprintln(c.out, "Welcome to the machine\nReached target Multi-User System.")
	return 0, nil
}

// find returns a copy of a container.
func (c *call) find(name string) (found *container, err error) {
	err = c.world.change(func(s *state) error {
		if n := s.container(name); n != nil {
			copied := *n
			found = &copied
		}
		return nil
	})
	return found, err
}

func (c *call) noSuch(name string) int {
	if c.docker() {
		return c.refuse(1, "Error response from daemon: No such container: %s", name)
	}
	return c.refuse(125, "Error: no container with name or ID %q found: no such container", name)
}

func (c *call) rm(args []string) (int, error) {
	o, names := interleaved(args, "time")
	code := 0
	err := c.world.change(func(s *state) error {
		for _, name := range names {
			n := s.container(name)
			i := slices.Index(s.Storage, name)
			switch {
			case n != nil && o["storage"] == nil:
				s.remove(n)
			case i >= 0 && o["storage"] != nil:
				s.Storage = slices.Delete(s.Storage, i, i+1)
			default:
				code = c.noSuch(name)
			}
		}
		return nil
	})
	return code, err
}

// wait returns when a container has ended.
func (c *call) wait(args []string) (int, error) {
	_, names := interleaved(args, "condition", "interval")
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := c.find(names[0])
		switch {
		case err != nil:
			return 0, err
		case n == nil:
			return c.noSuch(names[0]), nil
		case !n.Running:
			fmt.Fprintln(c.out, n.ExitCode)
			return 0, nil
		}
		select {
		case <-tick.C:
		case <-signals:
			return 143, nil
		}
	}
}

func (c *call) restart(verb string, args []string) (int, error) {
	_, names := interleaved(args, "time", "t")
	code := 0
	err := c.world.change(func(s *state) error {
		for _, name := range names {
			if n := s.container(name); n != nil {
				n.Running, n.ExitCode, n.OOM = verb != "stop", 0, false
			} else {
				code = c.noSuch(name)
			}
		}
		return nil
	})
	return code, err
}
