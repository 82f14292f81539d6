package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/image"
)

// onNode is what a node has of images: their ids by canonical names. An image that is not there whole, or is not unpacked,
// is not there.
type onNode map[string]string

// onNode asks the containerd of a node, by the tool that every node image has.
func (c *Cluster) onNode(ctx context.Context, node string, refs []string) (onNode, error) {
	have := make(onNode)
	if len(refs) == 0 {
		return have, nil
	}
	fail := func(err error) (onNode, error) { return nil, fmt.Errorf("images of %s: %w", node, err) }
	args := []string{"ctr", "--namespace=k8s.io", "images", "check"}
	for _, ref := range refs {
		args = append(args, "name=="+ref)
	}
	out, err := c.ask(ctx, node, args...)
	if err != nil {
		return fail(err)
	}
	targets := parseCheck(string(out))
	// An index leads to manifests, and a manifest to the configuration, whose digest is the id.
	for depth := 0; len(targets) > 0 && depth < 2; depth++ {
		var digests []string
		for _, t := range targets {
			digests = append(digests, t.digest)
		}
		contents, err := c.contents(ctx, node, digests)
		if err != nil {
			return fail(err)
		}
		var deeper []target
		for i, t := range targets {
			switch m := contents[i]; {
			case m.Config.Digest != "":
				have[t.name] = strings.TrimPrefix(m.Config.Digest, "sha256:")
			case m.forArch(c.engine.Info().Arch) != "":
				deeper = append(deeper, target{t.name, m.forArch(c.engine.Info().Arch)})
			}
		}
		targets = deeper
	}
	return have, nil
}

// ask runs a program in a node for a short answer.
func (c *Cluster) ask(ctx context.Context, node string, args ...string) ([]byte, error) {
	return c.engine.Exec(ctx, engine.Exec{Container: node, Args: args, Deadline: time.Minute, Quiet: true})
}

// target is what the name of an image leads to.
type target struct{ name, digest string }

// parseCheck reads the output of ctr images check: a line for each image, with the columns REF TYPE DIGEST STATUS SIZE UNPACKED. It
// leaves out those that are not complete or not unpacked.
func parseCheck(out string) []target {
	var targets []target
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 5 || f[3] != "complete" || f[len(f)-1] != "true" || !strings.HasPrefix(f[2], "sha256:") {
			continue
		}
		ref, err := image.ParseRef(f[0])
		if err != nil { // a name that nobody asks for, as those of imports
			continue
		}
		targets = append(targets, target{ref.String(), f[2]})
	}
	return targets
}

// document is a manifest of an image, or an index of such.
type document struct {
	Config    struct{ Digest string }
	Manifests []descriptor
}

type descriptor struct {
	Digest   string
	Platform struct{ OS, Architecture string }
}

// forArch is the digest of an index's manifest for an architecture; that of one without a platform will do.
func (d document) forArch(arch string) string {
	for _, want := range []string{arch, ""} {
		i := slices.IndexFunc(d.Manifests, func(m descriptor) bool { return m.Platform.Architecture == want })
		if i >= 0 {
			return d.Manifests[i].Digest
		}
	}
	return ""
}

// contents reads documents out of a node's store.
func (c *Cluster) contents(ctx context.Context, node string, digests []string) ([]document, error) {
	const script = `set -e; for digest; do ctr --namespace=k8s.io content get "$digest"; echo; done`
	out, err := c.ask(ctx, node, append([]string{"sh", "-c", script, "sh"}, digests...)...)
	if err != nil {
		return nil, err
	}
	var all []document
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var d document
		if err := dec.Decode(&d); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("content of the node's store: %w", err)
		}
		all = append(all, d)
	}
	if len(all) != len(digests) {
		return nil, fmt.Errorf("content of the node's store: %d documents for %d digests", len(all), len(digests))
	}
	return all, nil
}
