package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

// Container is a container of the engine, running or not.
type Container struct {
	ID, Name  string
	Image     string // its name
	ImageID   string // hex
	Labels    map[string]string
	Status    string // "running", "exited", "created" and so on
	Running   bool
	ExitCode  int
	OOMKilled bool
	PID       int // of its first process, where the engine runs
	Created   time.Time
	Addresses map[string]string // IPv4, by network
	Volumes   []string          // names of the volumes that it mounts
	Ports     []int             // of the host, that it publishes when it runs
	PidsLimit int64             // how many threads it may have; 0: no limit of its own
}

// Containers lists the containers, running or not, that carry a label, given as name or name=value; by name.
func (e *Engine) Containers(ctx context.Context, label string) ([]Container, error) {
	return e.containers(ctx, "label="+label)
}

// AllContainers lists every container of the engine, ours or not, running or not; by name.
func (e *Engine) AllContainers(ctx context.Context) ([]Container, error) { return e.containers(ctx) }

func (e *Engine) containers(ctx context.Context, filters ...string) ([]Container, error) {
	args := []string{"ps", "--all", "--quiet", "--no-trunc"}
	for _, f := range filters {
		args = append(args, "--filter", f)
	}
	found, err := listed(ctx, e, "container", args, parseContainers)
	if err != nil {
		return nil, fmt.Errorf("list containers with %s: %w", strings.Join(filters, " and "), err)
	}
	slices.SortFunc(found, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

// Container looks one up by name or id; false if there is none.
func (e *Engine) Container(ctx context.Context, name string) (Container, bool, error) {
	c, ok, err := inspect(ctx, e, "container", name, parseContainers)
	if err != nil {
		return Container{}, false, fmt.Errorf("look up container %s: %w", name, err)
	}
	return c, ok, nil
}

func parseContainers(out []byte) ([]Container, error) {
	var raw []struct {
		ID        string `json:"Id"`
		Name      string
		Created   time.Time
		Image     string
		ImageName string
		State     struct {
			Status    string
			Running   bool
			ExitCode  int
			OOMKilled bool
			Pid       int
		}
		Config struct {
			Image  string
			Labels map[string]string
		}
		Mounts     []struct{ Type, Name string }
		HostConfig struct {
			PidsLimit    *int64
			PortBindings map[string][]struct{ HostPort string }
		}
		NetworkSettings struct {
			Networks map[string]struct{ IPAddress string }
		}
	}
	if err := json.Unmarshal(out, &raw); err != nil {
		return nil, err
	}
	found := make([]Container, 0, len(raw))
	for _, r := range raw {
		c := Container{
			ID: r.ID, Name: strings.TrimPrefix(r.Name, "/"), Image: r.ImageName, ImageID: strings.TrimPrefix(r.Image, "sha256:"),
			Labels: r.Config.Labels, Status: r.State.Status, Running: r.State.Running, ExitCode: r.State.ExitCode,
			OOMKilled: r.State.OOMKilled, PID: r.State.Pid, Created: r.Created, Addresses: make(map[string]string),
		}
		if c.Image == "" {
			c.Image = r.Config.Image
		}
		for name, n := range r.NetworkSettings.Networks {
			c.Addresses[name] = n.IPAddress
		}
		for _, bindings := range r.HostConfig.PortBindings {
			for _, b := range bindings {
				if port, err := strconv.Atoi(b.HostPort); err == nil { // empty: any
					c.Ports = append(c.Ports, port)
				}
			}
		}
		slices.Sort(c.Ports)
		if limit := r.HostConfig.PidsLimit; limit != nil && *limit > 0 {
			c.PidsLimit = *limit
		}
		for _, m := range r.Mounts {
			if m.Type == "volume" {
				c.Volumes = append(c.Volumes, m.Name)
			}
		}
		found = append(found, c)
	}
	return found, nil
}

// Exec is a program in a running container.
type Exec struct {
	Container string
	Args      []string
	Env       []string  // name=value
	Stdin     io.Reader // nil: none
	Stdout    io.Writer // nil: returned
	// Deadline and Stall are as of command.Cmd; zero: no stall timer, and a deadline of ten minutes.
	Deadline, Stall time.Duration
	Quiet           bool
}

// Exec runs a program in a container and returns what it wrote to its standard output.
func (e *Engine) Exec(ctx context.Context, x Exec) ([]byte, error) {
	args := []string{"exec"}
	if x.Stdin != nil {
		args = append(args, "--interactive")
	}
	for _, v := range x.Env {
		args = append(args, "--env", v)
	}
	c := e.Command(append(append(args, x.Container), x.Args...)...)
	c.Stdin, c.Stdout, c.Quiet = x.Stdin, x.Stdout, x.Quiet
	c.Deadline, c.Stall = orElse(x.Deadline, slow), x.Stall
	out, err := e.Run(ctx, c)
	if err != nil {
		return out, fmt.Errorf("run %s in %s: %w", x.Args[0], x.Container, err)
	}
	return out, nil
}

// CopyFrom copies a file or, with a path that ends with "/.", what is in a directory, out of a container.
func (e *Engine) CopyFrom(ctx context.Context, container, path, to string) error {
	c := e.Command("cp", container+":"+path, to)
	c.Deadline, c.Quiet = slow, true
	if _, err := e.Run(ctx, c); err != nil {
		return fmt.Errorf("copy %s from %s: %w", path, container, err)
	}
	return nil
}

// Logs writes what a container has said, both streams by lines, to w, below the command line.
func (e *Engine) Logs(ctx context.Context, container string, w io.Writer) error {
	c := e.Command("logs", container)
	c.Stdout, c.Deadline = io.Discard, time.Minute
	if _, err := e.With(w).Run(ctx, c); err != nil {
		return fmt.Errorf("logs of %s: %w", container, err)
	}
	return nil
}

// RemoveContainer ends a container and removes it with its anonymous volumes. One that is not there is removed.
func (e *Engine) RemoveContainer(ctx context.Context, name string) error {
	args := []string{"rm", "--force", "--volumes"}
	if e.kind == Podman {
		args = append(args, "--time", fmt.Sprint(stopTimeout))
	}
	c := e.Command(append(args, name)...)
	c.Deadline, c.Quiet = 2*time.Minute, true
	if _, err := e.Run(ctx, c); err != nil {
		if _, ok, look := e.Container(ctx, name); look == nil && !ok {
			return nil
		}
		return fmt.Errorf("remove container %s: %w", name, err)
	}
	return nil
}

// Storage is a container that only Podman's storage knows: it takes a name, and ps does not show it.
type Storage struct{ ID, Name string }

// StorageContainers lists them. Docker has none.
func (e *Engine) StorageContainers(ctx context.Context) ([]Storage, error) {
	if e.kind != Podman {
		return nil, nil
	}
	out, err := e.ask(ctx, "ps", "--all", "--external", "--format", "json")
	if err != nil {
		return nil, fmt.Errorf("list storage containers: %w", err)
	}
	var all []struct {
		ID    string `json:"Id"`
		Names []string
		State string
		Image string
	}
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, fmt.Errorf("list storage containers: %w", err)
	}
	var found []Storage
	for _, c := range all {
		if strings.EqualFold(c.State, "storage") && len(c.Names) > 0 {
			found = append(found, Storage{c.ID, c.Names[0]})
		}
	}
	return found, nil
}

// RemoveStorage removes a container that only Podman's storage knows, by its exact name or id.
func (e *Engine) RemoveStorage(ctx context.Context, name string) error {
	if _, err := e.ask(ctx, "rm", "--storage", name); err != nil {
		return fmt.Errorf("remove storage container %s: %w", name, err)
	}
	return nil
}

// inspect looks up one object. That it is missing is told from other failures by its text, which is all the engines give.
func inspect[T any](ctx context.Context, e *Engine, object, name string, parse func([]byte) ([]T, error)) (found T, ok bool, err error) {
	out, err := e.ask(ctx, object, "inspect", name)
	if err != nil {
		if absent(err) {
			return found, false, nil
		}
		return found, false, err
	}
	all, err := parse(out)
	if err != nil || len(all) == 0 {
		return found, false, err
	}
	return all[0], true, nil
}

// listed lists ids and inspects them. One that vanishes in between makes it list again.
func listed[T any](ctx context.Context, e *Engine, object string, list []string, parse func([]byte) ([]T, error)) ([]T, error) {
	for attempt := 1; ; attempt++ {
		out, err := e.ask(ctx, list...)
		if err != nil {
			return nil, err
		}
		ids := strings.Fields(string(out))
		slices.Sort(ids)
		ids = slices.Compact(ids)
		if len(ids) == 0 {
			return nil, nil
		}
		out, err = e.ask(ctx, append([]string{object, "inspect"}, ids...)...)
		if err != nil {
			const attempts = 3
			if absent(err) && attempt < attempts {
				continue
			}
			return nil, err
		}
		return parse(out)
	}
}

// absent reports whether an engine says that what it was asked for is not there.
func absent(err error) bool {
	var failed *command.Error
	if !errors.As(err, &failed) || failed.ExitCode < 1 {
		return false
	}
	said := strings.ToLower(failed.Output)
	for _, text := range []string{"no such", "not found", "not known", "does not exist"} {
		if strings.Contains(said, text) {
			return true
		}
	}
	return false
}
