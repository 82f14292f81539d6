package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/image"
)

// onNode is what a node has of images: their ids by canonical names. An image that is not there whole, or is not unpacked,
// is not there.
type onNode map[string]string

// checkScript prints what ctr has on names of images, and then the document that each of them leads to, in the same order.
const checkScript = `set -e
found=$(ctr --namespace=k8s.io images check "$@")
printf '%s\n---\n' "$found"
printf '%s\n' "$found" | while read -r name type digest rest; do
  case $digest in sha256:*) ctr --namespace=k8s.io content get "$digest" 2>/dev/null || echo '{}';; esac
done`

// onNode asks the containerd of a node, by the tool that every node image has.
func (c *Cluster) onNode(ctx context.Context, node string, refs []string) (onNode, error) {
	have := make(onNode)
	if len(refs) == 0 {
		return have, nil
	}
	fail := func(err error) (onNode, error) { return nil, fmt.Errorf("images of %s: %w", node, err) }
	args := []string{"sh", "-c", checkScript, "sh"}
	for _, ref := range refs {
		args = append(args, "name=="+ref)
	}
	out, err := c.ask(ctx, node, args...)
	if err != nil {
		return fail(err)
	}
	found, err := parseChecked(string(out))
	if err != nil {
		return fail(err)
	}
	for _, f := range found {
		if !f.whole {
			continue
		}
		id := f.document.Config.Digest
		if below := f.document.forArch(c.engine.Info().Arch); id == "" && below != "" { // an index, which leads to a manifest
			if id, err = c.configOf(ctx, node, below); err != nil {
				return fail(err)
			}
		}
		have[f.name] = strings.TrimPrefix(id, "sha256:")
	}
	return have, nil
}

// configOf reads the digest of the configuration out of a manifest.
func (c *Cluster) configOf(ctx context.Context, node, manifest string) (string, error) {
	out, err := c.ask(ctx, node, "ctr", "--namespace=k8s.io", "content", "get", manifest)
	if err != nil {
		return "", err
	}
	var d document
	if err := json.Unmarshal(out, &d); err != nil {
		return "", fmt.Errorf("manifest %s: %w", manifest, err)
	}
	return d.Config.Digest, nil
}

// ask runs a program in a node for a short answer.
func (c *Cluster) ask(ctx context.Context, node string, args ...string) ([]byte, error) {
	return c.engine.Exec(ctx, engine.Exec{Container: node, Args: args, Deadline: time.Minute, Quiet: true})
}

// checked is what containerd has under one name.
type checked struct {
	name string
	// whole says that all of it is there, and unpacked.
	whole    bool
	document document
}

// parseChecked reads the output of the script: lines with the columns REF TYPE DIGEST STATUS SIZE UNPACKED, a line of dashes, and
// a document for each line with a digest.
func parseChecked(out string) ([]checked, error) {
	lines, documents, ok := strings.Cut(out, "---\n")
	if !ok {
		return nil, fmt.Errorf("output of ctr is cut off: %.200q", out)
	}
	dec := json.NewDecoder(strings.NewReader(documents))
	var all []checked
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) < 3 || !strings.HasPrefix(f[2], "sha256:") {
			continue
		}
		c := checked{name: f[0], whole: len(f) > 4 && f[3] == "complete" && f[len(f)-1] == "true"}
		if err := dec.Decode(&c.document); err != nil {
			return nil, fmt.Errorf("document of %s: %w", f[0], err)
		}
		if ref, err := image.ParseRef(f[0]); err == nil {
			c.name = ref.String()
		}
		all = append(all, c)
	}
	return all, nil
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
