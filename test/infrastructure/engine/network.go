package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/lock"
)

// Network is a network of the engine.
type Network struct {
	Name, ID string
	Subnets  []string // IPv4 first
	Bridge   string   // the interface on the machine that the nodes run on; empty if it is not known
	Labels   map[string]string
}

const (
	subnetFormat = "10.89.%d.0/24"
	firstSubnet  = 77
	lastSubnet   = 96
)

// Networks lists the networks of a name. There is one or none, but Docker lets two creators make two.
func (e *Engine) Networks(ctx context.Context, name string) ([]Network, error) {
	found, err := e.namedLike(ctx, name)
	return slices.DeleteFunc(found, func(n Network) bool { return n.Name != name }), err
}

// OtherNetworks lists the networks of the harness on other state directories.
func (e *Engine) OtherNetworks(ctx context.Context) ([]Network, error) {
	found, err := e.namedLike(ctx, NetworkName)
	return slices.DeleteFunc(found, func(n Network) bool { return n.Name == e.network() || n.Labels[Label] != n.Name }), err
}

// namedLike lists the networks with a text in their names.
func (e *Engine) namedLike(ctx context.Context, text string) ([]Network, error) {
	found, err := listed(ctx, e, "network", []string{"network", "ls", "--quiet", "--filter", "name=" + text}, parseNetworks)
	if err != nil {
		return nil, fmt.Errorf("list networks %s: %w", text, err)
	}
	return found, nil
}

func parseNetworks(out []byte) ([]Network, error) {
	var raw []struct {
		Name      string
		ID        string
		Labels    map[string]string
		Interface string                    `json:"network_interface"` // Podman
		Subnets   []struct{ Subnet string } // Podman
		IPAM      struct{ Config []struct{ Subnet string } }
		Options   map[string]string // Docker's
	}
	if err := json.Unmarshal(out, &raw); err != nil {
		return nil, err
	}
	found := make([]Network, 0, len(raw))
	for _, r := range raw {
		n := Network{Name: r.Name, ID: r.ID, Labels: r.Labels, Bridge: r.Interface}
		if n.Bridge == "" {
			n.Bridge = r.Options["com.docker.network.bridge.name"]
		}
		const short = 12
		if n.Bridge == "" && len(r.ID) > short && len(r.IPAM.Config) > 0 {
			n.Bridge = "br-" + r.ID[:short]
		}
		for _, s := range append(r.Subnets, r.IPAM.Config...) {
			n.Subnets = append(n.Subnets, s.Subnet)
		}
		slices.SortStableFunc(n.Subnets, func(a, b string) int { return strings.Count(a, ":") - strings.Count(b, ":") })
		found = append(found, n)
	}
	return found, nil
}

// network is the name of the nodes' network.
func (e *Engine) network() string {
	if e.host.Network == "" {
		return NetworkName
	}
	return e.host.Network
}

// EnsureNetwork makes the nodes' network, IPv4 on the first free of its subnets, unless it is there. One process of the
// host makes it at a time.
func (e *Engine) EnsureNetwork(ctx context.Context) (Network, error) {
	guard, err := e.guardNetwork(ctx)
	if err != nil {
		return Network{}, err
	}
	defer guard.Release() //nolint:errcheck // its file stays, which harms nobody
	all, err := e.Networks(ctx, e.network())
	if err != nil {
		return Network{}, err
	}
	if len(all) > 1 {
		return Network{}, fmt.Errorf("network %s exists %d times; remove those without containers: %s network rm %s", e.network(), len(all), e.kind, all[1].ID)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	if err := e.dropNames(); err != nil {
		return Network{}, err
	}
	if err := e.createNetwork(ctx); err != nil {
		return Network{}, err
	}
	if all, err = e.Networks(ctx, e.network()); err != nil {
		return Network{}, err
	}
	if len(all) != 1 {
		return Network{}, fmt.Errorf("network %s exists %d times after it was made", e.network(), len(all))
	}
	return all[0], nil
}

// bridgeName is the interface of a network that Docker makes: the network's name, where Linux takes that for an interface.
func bridgeName(network string) string {
	const most = 15
	if len(network) <= most {
		return network
	}
	return "e2e-" + short(network)
}

func (e *Engine) createNetwork(ctx context.Context) error {
	args := []string{"network", "create", "--driver", "bridge", "--label", Label + "=" + e.network()}
	if e.kind == Docker {
		args = append(args, "--opt", "com.docker.network.bridge.name="+bridgeName(e.network()))
		// A new network does not take over what was set for the default one.
		if out, err := e.ask(ctx, "network", "inspect", "bridge", "--format", `{{index .Options "com.docker.network.driver.mtu"}}`); err == nil && strings.TrimSpace(string(out)) != "" {
			args = append(args, "--opt", "com.docker.network.driver.mtu="+strings.TrimSpace(string(out)))
		}
	}
	for n := firstSubnet; ; n++ {
		subnet := fmt.Sprintf(subnetFormat, n)
		_, err := e.ask(ctx, append(slices.Clone(args), "--subnet", subnet, e.network())...)
		if err == nil {
			return nil
		}
		if !taken(err) || n == lastSubnet {
			return fmt.Errorf("make network %s on %s: %w", e.network(), subnet, err)
		}
	}
}

// taken reports whether an engine says that another network has the subnet.
func taken(err error) bool {
	var failed *command.Error
	if !errors.As(err, &failed) {
		return false
	}
	for _, text := range []string{"already used", "already being used", "being used by", "overlaps", "Pool overlap", "conflicts with"} {
		if strings.Contains(failed.Output, text) {
			return true
		}
	}
	return false
}

// RemoveNetwork removes the nodes' network and its egress rules, unless there is none, a container is on it, or another
// process holds the lock of a cluster: that one relies on the network, and on its rules, before it has any container.
func (e *Engine) RemoveNetwork(ctx context.Context) (removed bool, err error) {
	guard, err := e.guardNetwork(ctx)
	if err != nil {
		return false, err
	}
	defer guard.Release() //nolint:errcheck // its file stays, which harms nobody
	others, err := e.clusters("")
	if err != nil {
		return false, err
	}
	for _, c := range others {
		path := LockPath(e.host.StateDir, c)
		if holding, err := lock.Holding(path); err != nil || !holding {
			continue // a file without a holder is no lock
		}
		if holder, err := lock.Read(path); err != nil || holder.PID != os.Getpid() {
			return false, nil
		}
	}
	users, err := e.containers(ctx, "network="+e.network())
	if err != nil && !absent(err) {
		return false, err
	}
	if len(users) > 0 {
		return false, nil
	}
	all, err := e.Networks(ctx, e.network())
	if err != nil {
		return false, err
	}
	for _, n := range all {
		name := n.ID
		if e.kind == Podman { // its ids can be mistaken for names
			name = n.Name
		}
		if _, err := e.ask(ctx, "network", "rm", name); err != nil && !absent(err) {
			return false, fmt.Errorf("remove network %s: %w", n.Name, err)
		}
	}
	return len(all) > 0, e.OpenEgress(ctx)
}

func (e *Engine) guardNetwork(ctx context.Context) (*lock.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	host, _ := os.Hostname() // only said to people
	guard, err := lock.Wait(ctx, filepath.Join(e.host.StateDir, e.network()+".lock"), lock.Holder{PID: os.Getpid(), Host: host, RunID: "network", Since: time.Now()}, func(lock.Holder) {})
	if err != nil {
		return nil, fmt.Errorf("change network %s: %w", e.network(), err)
	}
	return guard, nil
}

// Volume is a volume of the engine.
type Volume struct {
	Name   string
	Labels map[string]string
}

// volumes lists those with any label.
func (e *Engine) volumes(ctx context.Context) ([]Volume, error) {
	all, err := listed(ctx, e, "volume", []string{"volume", "ls", "--quiet"}, func(out []byte) (v []Volume, err error) {
		return v, json.Unmarshal(out, &v)
	})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	return slices.DeleteFunc(all, func(v Volume) bool { return len(v.Labels) == 0 }), nil
}

// nodeOf returns the cluster that a volume belongs to, of those given: Kind marks the volume of a node with the node's
// name as a label's key.
func (v Volume) nodeOf(clusters []string) (string, bool) {
	for _, c := range clusters {
		for key := range maps.Keys(v.Labels) {
			role, ok := strings.CutPrefix(key, c+"-")
			if !ok {
				continue
			}
			role = strings.TrimRight(role, "0123456789")
			if role == "control-plane" || role == "worker" {
				return c, true
			}
		}
	}
	return "", false
}
