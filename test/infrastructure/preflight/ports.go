package preflight

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// Listener is a process that listens on a port of this host. What is not known is zero.
type Listener struct {
	PID     int
	Program string
	User    string
	Address string
}

// String is the listener for people.
func (l Listener) String() string {
	if l.PID == 0 {
		return "a process that this user may not see, on " + l.Address
	}
	s := fmt.Sprintf("%s (process %d", l.Program, l.PID)
	if l.User != "" {
		s += " of user " + l.User
	}
	return s + ") on " + l.Address
}

// Listeners finds who listens on ports.
type Listeners interface {
	// Listeners returns, of the ports given, those on which a process listens at an address that 127.0.0.1 collides with.
	Listeners(ctx context.Context, ports []int) (map[int]Listener, error)
}

// systemListeners reads the kernel's tables, or asks lsof where there are none.
type systemListeners struct{ root string }

// Listeners does as the interface says.
func (s systemListeners) Listeners(ctx context.Context, ports []int) (map[int]Listener, error) {
	if len(ports) == 0 {
		return nil, nil
	}
	proc := filepath.Join("/", s.root, "proc")
	if _, err := os.Stat(filepath.Join(proc, "net", "tcp")); err != nil {
		return lsof(ctx, ports)
	}
	sockets := make(map[string]int) // inode to port
	found := make(map[int]Listener)
	for _, table := range []string{"tcp", "tcp6"} {
		content, err := os.ReadFile(filepath.Join(proc, "net", table))
		if err != nil {
			continue // without IPv6 there is no tcp6
		}
		for inode, at := range listening(content, ports) {
			sockets[inode] = at.port
			found[at.port] = Listener{Address: at.address}
		}
	}
	if len(found) > 0 {
		name(proc, sockets, found)
	}
	return found, nil
}

type endpoint struct {
	port    int
	address string
}

// listening reads a table of the kernel: the sockets, by inode, that listen on one of the ports at an address that
// 127.0.0.1 collides with.
func listening(table []byte, ports []int) map[string]endpoint {
	const listen = "0A"
	found := make(map[string]endpoint)
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line) // sl local remote state tx:rx tr:when retransmit uid timeout inode
		if len(f) < 10 || f[3] != listen {
			continue
		}
		host, hexPort, _ := strings.Cut(f[1], ":")
		port, err := strconv.ParseInt(hexPort, 16, 32)
		if err != nil || !slices.Contains(ports, int(port)) {
			continue
		}
		address, collides := map[string]string{ // as the kernel writes them on a little-endian machine
			"0100007F":                         "127.0.0.1",
			"00000000":                         "0.0.0.0",
			"00000000000000000000000000000000": "[::]",
			"0000000000000000FFFF00000100007F": "127.0.0.1",
			"0000000000000000FFFF000000000000": "0.0.0.0",
		}[host]
		if collides {
			found[f[9]] = endpoint{int(port), fmt.Sprintf("%s:%d", address, port)}
		}
	}
	return found
}

// name finds the processes that hold sockets.
func name(proc string, sockets map[string]int, found map[int]Listener) {
	processes, _ := os.ReadDir(proc) // none: they stay unnamed
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join(proc, p.Name())
		fds, err := os.ReadDir(filepath.Join(dir, "fd"))
		if err != nil { // another user's
			continue
		}
		for _, fd := range fds {
			target, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
			if err != nil {
				continue
			}
			port, ok := sockets[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")]
			if !ok || found[port].PID != 0 {
				continue
			}
			l := found[port]
			comm, _ := os.ReadFile(filepath.Join(dir, "comm")) // it may have ended
			l.PID, l.Program = pid, strings.TrimSpace(string(comm))
			found[port] = l
		}
	}
}

// lsof asks the program of that name, which ends with 1 when there is nothing to tell.
func lsof(ctx context.Context, ports []int) (map[int]Listener, error) {
	args := []string{"-nP", "-sTCP:LISTEN", "-F", "pcLn"}
	for _, p := range ports {
		args = append(args, fmt.Sprintf("-iTCP:%d", p))
	}
	out, err := command.Runner{}.Run(ctx, command.Cmd{Name: "lsof", Args: args, Quiet: true, Deadline: lsofDeadline})
	if err != nil && len(bytes.TrimSpace(out)) == 0 {
		if exitCode(err) == 1 {
			return nil, nil
		}
		return nil, fmt.Errorf("who listens on the ports: %w", err)
	}
	return parseLsof(out, ports), nil
}

// parseLsof reads lsof's output for programs: a line for each field, p of the process, c of the command, L of the user,
// n of the name, which is the address.
func parseLsof(out []byte, ports []int) map[int]Listener {
	found := make(map[int]Listener)
	var l Listener
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			continue
		}
		switch value := line[1:]; line[0] {
		case 'p':
			pid, _ := strconv.Atoi(value) // it is a number by lsof's contract
			l = Listener{PID: pid}
		case 'c':
			l.Program = value
		case 'L':
			l.User = value
		case 'n':
			colon := strings.LastIndex(value, ":")
			port, err := strconv.Atoi(value[colon+1:])
			if err != nil || !slices.Contains(ports, port) {
				continue
			}
			if host := value[:colon]; host == "*" || host == "127.0.0.1" || host == "[::]" {
				l.Address = value
				found[port] = l
			}
		}
	}
	return found
}

// checkPorts is about who has the ports that the cluster publishes. A node of the cluster itself may.
func checkPorts(kind engine.Kind, cluster string, ports []int32, listeners map[int]Listener, readErr error, containers []engine.Container) (v verdict) {
	if readErr != nil {
		v.note("who has the ports is not known: %v", readErr)
	}
	for _, p := range slices.Sorted(slices.Values(ports)) {
		port := int(p)
		i := slices.IndexFunc(containers, func(c engine.Container) bool { return c.Running && slices.Contains(c.Ports, port) })
		listener, taken := listeners[port]
		f := failure.Finding{Row: "F17", Class: failure.Host, Summary: fmt.Sprintf("port %d of this host is taken", port)}
		switch {
		case i >= 0 && containers[i].Labels[engine.KindLabel] == cluster:
			continue
		case i >= 0:
			c := containers[i]
			f.Lines = []string{fmt.Sprintf("container %s publishes it (image %s)", c.Name, c.Image)}
			f.Fix = fmt.Sprintf("%s stop %s", kind, c.Name)
			if owner := c.Labels[engine.KindLabel]; owner != "" {
				f.Fix = "delete cluster " + owner + ", whose node it is: kind delete cluster --name " + owner
			}
		case !taken:
			continue
		case listener.Program == "gvproxy":
			f.Lines = []string{listener.String()}
			f.Fix = "podman machine stop && podman machine start, once nothing else runs in it: it still forwards for a container that is gone"
		case listener.PID == 0:
			f.Lines = []string{listener.String()}
			f.Fix = fmt.Sprintf("sudo lsof -nP -iTCP:%d -sTCP:LISTEN, and end what it names", port)
		default:
			f.Lines = []string{listener.String()}
			f.Fix = fmt.Sprintf("kill %d", listener.PID)
		}
		v.stop(f)
	}
	return v
}
