package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// forwards is netavark's chain of the ports that containers publish. A rule in it names the network and the container, and
// leads to the rules of the network.
const forwards = "NETAVARK-HOSTPORT-DNAT"

// forward is a rule that takes a port of this machine to a container.
type forward struct {
	rule      []string // with its chain, as arguments after -A
	port      string
	container string // id
	chain     string // where the port leads to
}

// DropForwards removes the rules that take ports of this machine to containers of the nodes' network that are gone, and says
// how many ports there were. Podman leaves them where it is killed while it starts or removes a container, and a later
// container with the same port is then not reached. Where there are none, or they cannot be seen, it does nothing.
func (e *Engine) DropForwards(ctx context.Context) (int, error) {
	if e.kind != Podman || e.cannotFilter() != "" {
		return 0, nil
	}
	out, err := e.iptables(ctx, "-t", "nat", "-S")
	if err != nil {
		return 0, fmt.Errorf("list forwarded ports: %w", err)
	}
	all, rules := parseForwards(string(out), e.network())
	if len(all) == 0 {
		return 0, nil
	}
	there, err := e.AllContainers(ctx) // asked second: a container is known before its ports are forwarded
	if err != nil {
		return 0, fmt.Errorf("whose forwarded ports are: %w", err)
	}
	stale, drop := staleForwards(all, rules, there, e.network())
	for _, rule := range drop {
		if _, err := e.iptables(ctx, append([]string{"-t", "nat", "-D"}, rule...)...); err != nil {
			return 0, fmt.Errorf("remove rule %q of a forwarded port: %w", rule, err)
		}
	}
	return stale, nil
}

// parseForwards reads the rules of the nat table: those that forward ports to the network, and all of them.
func parseForwards(table, network string) (found []forward, rules [][]string) {
	for line := range strings.Lines(table) {
		rule := arguments(strings.TrimSpace(line))
		if len(rule) < 2 || rule[0] != "-A" {
			continue
		}
		rule = rule[1:]
		rules = append(rules, rule)
		id, ours := strings.CutPrefix(option(rule, "--comment"), "dnat name: "+network+" id: ")
		if rule[0] == forwards && ours {
			found = append(found, forward{rule: rule, port: option(rule, "--dport"), container: id, chain: option(rule, "-j")})
		}
	}
	return found, rules
}

// staleForwards counts the forwarded ports of containers that are not there, and returns the rules to remove for them: those
// that lead on come before those that lead there.
func staleForwards(all []forward, rules [][]string, there []Container, network string) (stale int, drop [][]string) {
	live := make(map[string]bool) // ports
	addresses := make(map[string]bool)
	var gone []forward
	for _, f := range all {
		i := slices.IndexFunc(there, func(c Container) bool { return c.ID == f.container })
		if i < 0 {
			gone = append(gone, f)
			continue
		}
		live[f.port] = true
		addresses[there[i].Addresses[network]] = true
	}
	for _, f := range gone {
		for _, rule := range rules {
			if rule[0] != f.chain || option(rule, "--dport") != f.port {
				continue
			}
			// Of a port that is used again only what leads to nobody is removed, and nothing while somebody's address is not known.
			address, _, _ := strings.Cut(option(rule, "--to-destination"), ":")
			if live[f.port] && (address == "" || addresses[address] || addresses[""]) {
				continue
			}
			if !slices.ContainsFunc(drop, func(r []string) bool { return slices.Equal(r, rule) }) {
				drop = append(drop, rule)
			}
		}
	}
	for _, f := range gone {
		drop = append(drop, f.rule)
	}
	return len(gone), drop
}

// option is the value of an option of a rule.
func option(rule []string, name string) string {
	if i := slices.Index(rule, name); i >= 0 && i+1 < len(rule) {
		return rule[i+1]
	}
	return ""
}

// arguments splits a rule as iptables prints it, in which double quotes are around what has spaces.
func arguments(line string) []string {
	var all []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			all = append(all, part)
		} else {
			all = append(all, strings.Fields(part)...)
		}
	}
	return all
}
