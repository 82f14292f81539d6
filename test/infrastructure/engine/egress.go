package engine

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
)

// Egress tells whether packets from the nodes' network can leave the machine.
type Egress struct {
	Closed bool
	Why    string // for people, in either case
}

// egressRule rejects what comes from the bridge and is forwarded to anywhere else: out of the machine, and into the
// networks of others. Ports that are published on this machine are not forwarded and keep working. It matches the
// interface, not the subnet, because a packet that lost its translation carries a pod's address. The comment is the
// network's name.
func egressRule(network, bridge string) []string {
	return []string{"FORWARD", "-i", bridge, "!", "-o", bridge, "-m", "comment", "--comment", network, "-j", "REJECT"}
}

// CloseEgress rejects what would leave the machine from the nodes' network, which must exist. Where that cannot be done
// here (nodes in another machine, not root, no iptables) or must not (E2E_EGRESS=allow), the result says so; where it can
// be done and fails, that is an error. The nodes' names are still resolved by the machine's resolver.
func (e *Engine) CloseEgress(ctx context.Context) (Egress, error) {
	state, bridge, err := e.egress(ctx)
	if err != nil || state.Closed || bridge == "" {
		return state, err
	}
	rule := egressRule(e.network(), bridge)
	args := append([]string{"-I", rule[0], "1"}, rule[1:]...)
	if _, err := e.iptables(ctx, args...); err != nil {
		return Egress{}, fmt.Errorf("close egress of network %s: %w", e.network(), err)
	}
	state, _, err = e.egress(ctx)
	if err == nil && !state.Closed {
		err = fmt.Errorf("close egress of network %s: the rule is not there after it was set", e.network())
	}
	return state, err
}

// Egress tells whether the nodes' network is closed.
func (e *Engine) Egress(ctx context.Context) (Egress, error) {
	state, _, err := e.egress(ctx)
	return state, err
}

// egress also returns the bridge whose egress could be closed and is not.
func (e *Engine) egress(ctx context.Context) (Egress, string, error) {
	if e.host.Getenv("E2E_EGRESS") == "allow" {
		return Egress{Why: "egress is open: E2E_EGRESS=allow"}, "", nil
	}
	if why := e.cannotFilter(); why != "" {
		return Egress{Why: "egress is open: " + why}, "", nil
	}
	all, err := e.Networks(ctx, e.network())
	if err != nil {
		return Egress{}, "", err
	}
	if len(all) == 0 {
		return Egress{Why: "egress is open: there is no network " + e.network()}, "", nil
	}
	bridge := all[0].Bridge
	if bridge == "" {
		return Egress{Why: "egress is open: the bridge of network " + e.network() + " is not known"}, "", nil
	}
	_, err = e.iptables(ctx, append([]string{"-C"}, egressRule(e.network(), bridge)...)...)
	var failed *command.Error
	switch {
	case err == nil:
		return Egress{Closed: true, Why: "egress is closed: iptables rejects what " + bridge + " would forward elsewhere"}, "", nil
	case errors.As(err, &failed) && failed.ExitCode == 1:
		return Egress{Why: "egress is open: the rule for " + bridge + " is missing"}, bridge, nil
	}
	return Egress{}, "", fmt.Errorf("check egress of network %s: %w", e.network(), err)
}

// cannotFilter says why packets of the nodes cannot be filtered from here; empty if they can.
func (e *Engine) cannotFilter() string {
	switch {
	case e.host.os() != "linux" || e.info.Remote:
		return "the nodes run in another machine"
	case !e.kernelFacts().root:
		return "only root can close it"
	}
	if _, err := exec.LookPath("iptables"); err != nil {
		return "iptables is not installed"
	}
	return ""
}

// OpenEgress removes our rules, whatever bridge they are for.
func (e *Engine) OpenEgress(ctx context.Context) error {
	rules, err := e.egressRules(ctx)
	if err != nil {
		return err
	}
	for _, rule := range rules {
		if _, err := e.iptables(ctx, append([]string{"-D"}, rule...)...); err != nil {
			return fmt.Errorf("remove egress rule %q: %w", rule, err)
		}
	}
	return nil
}

// egressRules lists our rules as arguments, after -A.
func (e *Engine) egressRules(ctx context.Context) ([][]string, error) {
	if e.cannotFilter() != "" {
		return nil, nil
	}
	out, err := e.iptables(ctx, "-S", "FORWARD")
	if err != nil {
		return nil, fmt.Errorf("list egress rules: %w", err)
	}
	var rules [][]string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		for i, f := range fields {
			if f == "--comment" && i+1 < len(fields) && strings.Trim(fields[i+1], `"`) == e.network() && fields[0] == "-A" {
				fields[i+1] = e.network()
				rules = append(rules, fields[1:])
				break
			}
		}
	}
	return rules, nil
}

func (e *Engine) iptables(ctx context.Context, args ...string) ([]byte, error) {
	return e.Run(ctx, command.Cmd{Name: "iptables", Args: append([]string{"-w", "10"}, args...), Deadline: quick, Quiet: true})
}
