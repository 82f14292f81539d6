package probes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/lock"
	"kubernaut.ai/kubernaut/test/infrastructure/preflight"
)

// host is a probe that preflight answers too.
func host(name string) question {
	return func(p *Probes, ctx context.Context, e Engine) (string, []string) {
		o := p.o.Host
		o.Engine = e
		return preflight.Ask(ctx, o, name)
	}
}

// pings asks for a sign of life, three times at most.
func (p *Probes) pings(ctx context.Context, e Engine) error {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		err := e.Ping(ctx)
		if err == nil || attempt == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-time.After(p.o.Pause):
		}
	}
}

func (p *Probes) runtime(ctx context.Context, e Engine) (string, []string) {
	if err := p.pings(ctx, e); err != nil {
		return "down", []string{err.Error()}
	}
	if n := p.killed(ctx, e); n > 0 {
		return "oom", []string{fmt.Sprintf("the kernel has killed %d processes for want of memory during this run", n)}
	}
	return "alive", []string{fmt.Sprintf("%s answers", e.Kind())}
}

// residue tells whose the containers with the nodes' names are. Those of a cluster that another run works on are foreign,
// whatever they carry.
func (p *Probes) residue(ctx context.Context, e Engine) (string, []string) {
	containers, err := e.AllContainers(ctx)
	if err != nil {
		return unknown(err)
	}
	storage, err := e.StorageContainers(ctx)
	if err != nil {
		return unknown(err)
	}
	outcome, evidence := "none", []string(nil)
	for _, c := range containers {
		switch {
		case c.Labels[engine.KindLabel] == p.cluster():
			evidence = append(evidence, fmt.Sprintf("container %s, %s, made %s", c.Name, c.Status, c.Created.Format(time.RFC3339)))
			if outcome == "none" {
				outcome = "ours"
			}
		case preflight.IsNodeName(c.Name, p.cluster()):
			evidence = append(evidence, fmt.Sprintf("container %s, %s, is no node of this cluster (image %s)", c.Name, c.Status, c.Image))
			outcome = "foreign"
		}
	}
	for _, s := range storage {
		if preflight.IsNodeName(s.Name, p.cluster()) {
			evidence = append(evidence, "storage container "+s.Name)
			if outcome == "none" {
				outcome = "ours"
			}
		}
	}
	path := engine.LockPath(p.o.Host.StateDir, p.cluster())
	if holding, err := lock.Holding(path); err == nil && holding {
		if holder, err := lock.Read(path); err == nil && holder.PID != os.Getpid() {
			return "foreign", append(evidence, "the cluster's lock is held by "+holder.String())
		}
	}
	return outcome, evidence
}

// networks tells whether the networks of ours could go.
func (p *Probes) networks(ctx context.Context, e Engine) (string, []string) {
	name := p.o.Host.Network
	if name == "" {
		name = engine.NetworkName
	}
	networks, err := e.Networks(ctx, name)
	if err != nil {
		return unknown(err)
	}
	containers, err := e.AllContainers(ctx)
	if err != nil {
		return unknown(err)
	}
	evidence := []string{fmt.Sprintf("network %s exists %d times", name, len(networks))}
	users := 0
	for _, c := range containers {
		if _, on := c.Addresses[name]; on {
			users++
			evidence = append(evidence, "container "+c.Name+" is on it")
		}
	}
	if len(networks) == 0 || users > 0 && len(networks) == 1 {
		return "foreign", evidence
	}
	return "ours", evidence
}

// provider tells whether the nodes were made by the other engine.
func (p *Probes) provider(ctx context.Context, e Engine) (string, []string) {
	other := engine.Docker
	if e.Kind() == engine.Docker {
		other = engine.Podman
	}
	nodes, err := p.nodes(ctx, e)
	if err != nil {
		return unknown(err)
	}
	evidence := []string{fmt.Sprintf("%s has %d nodes of cluster %s", e.Kind(), len(nodes), p.cluster())}
	if len(nodes) > 0 {
		return "same", evidence
	}
	out, err := e.Run(ctx, command.Cmd{
		Name: string(other), Args: []string{"ps", "--all", "--filter", "label=" + engine.KindLabel + "=" + p.cluster(), "--format", "{{.Names}}"},
		Deadline: 20 * time.Second, Quiet: true,
	})
	if err != nil { // it is not there, or does not answer; then it has none either
		return "same", append(evidence, err.Error())
	}
	if names := strings.Fields(string(out)); len(names) > 0 {
		return "mismatch", append(evidence, fmt.Sprintf("%s has %s", other, strings.Join(names, ", ")))
	}
	return "same", append(evidence, fmt.Sprintf("%s has none", other))
}

// dns tells where names can be resolved.
func (p *Probes) dns(ctx context.Context, e Engine) (string, []string) {
	if len(p.o.Names) == 0 {
		return preflight.Unknown, nil
	}
	var evidence []string
	for _, name := range p.o.Names {
		if err := p.o.Lookup(ctx, name); err != nil {
			return "nowhere", append(evidence, fmt.Sprintf("%s, here: %v", name, err))
		}
		evidence = append(evidence, name+" resolves here")
	}
	if !e.Info().Remote {
		return "both", evidence
	}
	for _, name := range p.o.Names {
		if _, err := e.Run(ctx, command.Cmd{Name: string(e.Kind()), Args: []string{"machine", "ssh", "getent hosts " + name}, Deadline: 20 * time.Second, Quiet: true}); err != nil {
			if e.Kind() != engine.Podman || errors.Is(err, exec.ErrNotFound) {
				return preflight.Unknown, append(evidence, err.Error())
			}
			return "host-only", append(evidence, fmt.Sprintf("%s, in Podman's machine: %v", name, err))
		}
	}
	return "both", append(evidence, "and in Podman's machine")
}

// Docker Hub tells an anonymous user its limit on this repository, which it keeps for the purpose, without counting.
const (
	hubToken = "https://auth.docker.io/token?service=registry.docker.io&scope=repository:ratelimitpreview/test:pull" //nolint:gosec // no secret: a token for anybody
	hubLimit = "https://registry-1.docker.io/v2/ratelimitpreview/test/manifests/latest"
)

// soon is the longest that is worth waiting for a limit to end.
const soon = 15 * time.Minute

// registry tells when Docker Hub's limit for this address ends.
func (p *Probes) registry(ctx context.Context, _ Engine) (string, []string) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var token struct{ Token string }
	body, _, err := p.get(ctx, http.MethodGet, hubToken, "")
	if err != nil {
		return unknown(err)
	}
	if err := json.Unmarshal(body, &token); err != nil {
		return unknown(fmt.Errorf("token of the registry: %w", err))
	}
	_, header, err := p.get(ctx, http.MethodHead, hubLimit, token.Token)
	if err != nil {
		return unknown(err)
	}
	return limit(header)
}

// limit reads the headers "ratelimit-remaining: 0;w=21600", whose w is the window in seconds, and "retry-after: 60".
func limit(header http.Header) (string, []string) {
	remaining := header.Get("Ratelimit-Remaining")
	after := header.Get("Retry-After")
	evidence := []string{fmt.Sprintf("ratelimit-remaining: %s, retry-after: %s", remaining, after)}
	if seconds, err := strconv.Atoi(after); err == nil {
		if time.Duration(seconds)*time.Second <= soon {
			return "soon", evidence
		}
		return "exhausted", evidence
	}
	count, window, _ := strings.Cut(remaining, ";w=")
	n, err := strconv.Atoi(count)
	if err != nil {
		return preflight.Unknown, evidence
	}
	if seconds, err := strconv.Atoi(window); n > 0 || err == nil && time.Duration(seconds)*time.Second <= soon {
		return "soon", evidence
	}
	return "exhausted", evidence
}

func (p *Probes) get(ctx context.Context, method, url, token string) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, nil, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := p.o.HTTP.Do(request)
	if err != nil {
		return nil, nil, fmt.Errorf("ask the registry for its limit: %w", err)
	}
	defer response.Body.Close()
	const most = 1 << 20
	body, err := io.ReadAll(io.LimitReader(response.Body, most))
	return body, response.Header, err
}

var goroutineDied = regexp.MustCompile(`(?m)^(panic: |fatal error: |.*\[recovered\])`)

// specs tells how the process of the specs ended, from what it said and from what the kernel did.
func (p *Probes) specs(ctx context.Context, e Engine) (string, []string) {
	said := ""
	if p.o.Log != nil {
		said = p.o.Log("specs")
	}
	if lines := matching(goroutineDied, said); len(lines) > 0 {
		return "panic", lines
	}
	if n := p.killed(ctx, e); n > 0 && strings.Contains(said, "killed") {
		return "oom", []string{fmt.Sprintf("the kernel has killed %d processes for want of memory during this run", n)}
	}
	return preflight.Unknown, nil
}

// matching returns the lines of a text, at most five, in which an expression matches.
func matching(expression *regexp.Regexp, text string) []string {
	const most = 5
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); expression.MatchString(line) && len(lines) < most {
			lines = append(lines, line)
		}
	}
	return slices.Compact(lines)
}

// logs returns what a container has said.
func logs(ctx context.Context, e Engine, container string) string {
	var b bytes.Buffer
	if err := e.Logs(ctx, container, &b); err != nil {
		return ""
	}
	return b.String()
}
