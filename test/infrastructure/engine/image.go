package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Image is an image that the engine holds.
type Image struct {
	ID      string // hex, without "sha256:"
	Tags    []string
	Labels  map[string]string
	Size    int64
	Created time.Time
}

// Images lists the images that carry a label, given as name or name=value; the newest first.
func (e *Engine) Images(ctx context.Context, label string) ([]Image, error) {
	images, err := listed[Image](ctx, e, "image", []string{"images", "--quiet", "--no-trunc", "--filter", "label=" + label}, parseImages)
	if err != nil {
		return nil, fmt.Errorf("list images with label %s: %w", label, err)
	}
	slices.SortFunc(images, func(a, b Image) int { return b.Created.Compare(a.Created) })
	return images, nil
}

// Image looks one up by name or id; false if the engine does not hold it.
func (e *Engine) Image(ctx context.Context, ref string) (Image, bool, error) {
	image, ok, err := inspect(ctx, e, "image", ref, parseImages)
	if err != nil {
		return Image{}, false, fmt.Errorf("look up image %s: %w", ref, err)
	}
	return image, ok, nil
}

func parseImages(out []byte) ([]Image, error) {
	var raw []struct {
		ID       string `json:"Id"`
		RepoTags []string
		Created  time.Time
		Size     int64
		Config   *struct{ Labels map[string]string }
	}
	if err := json.Unmarshal(out, &raw); err != nil {
		return nil, err
	}
	images := make([]Image, 0, len(raw))
	for _, r := range raw {
		i := Image{ID: strings.TrimPrefix(r.ID, "sha256:"), Tags: r.RepoTags, Created: r.Created, Size: r.Size}
		if r.Config != nil {
			i.Labels = r.Config.Labels
		}
		images = append(images, i)
	}
	return images, nil
}

// Build is a build of an image.
type Build struct {
	File    string // the Dockerfile
	Context string // the directory that is sent
	Tag     string
	Args    map[string]string // build arguments
	Labels  map[string]string
	Target  string // stage; empty: the last
	// Deadline and Stall are as of command.Cmd; zero: those of this package.
	Deadline, Stall time.Duration
}

// Build builds an image in Docker's format, so that Save keeps its id. What it is built from is not pulled again when it
// is there. Podman keeps no intermediate images, which would carry no label.
func (e *Engine) Build(ctx context.Context, b Build) error {
	args := []string{"build", "--file", b.File, "--tag", b.Tag}
	if e.kind == Podman {
		args = append(args, "--format", "docker", "--layers=false", "--pull=missing")
	}
	args = append(args, labelArgs(b.Labels)...)
	for _, k := range slices.Sorted(maps.Keys(b.Args)) {
		args = append(args, "--build-arg", k+"="+b.Args[k])
	}
	if b.Target != "" {
		args = append(args, "--target", b.Target)
	}
	c := e.Command(append(args, b.Context)...)
	c.Deadline, c.Stall = orElse(b.Deadline, slow), orElse(b.Stall, stall)
	if _, err := e.Run(ctx, c); err != nil {
		return fmt.Errorf("build image %s: %w", b.Tag, err)
	}
	return nil
}

// Import makes an image of a root file system, read as a tar archive. Changes are lines of a Dockerfile, as ENV and
// ENTRYPOINT.
func (e *Engine) Import(ctx context.Context, tar io.Reader, tag string, labels map[string]string, changes ...string) error {
	args := []string{"import"}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		changes = append(slices.Clone(changes), fmt.Sprintf("LABEL %s=%s", k, labels[k]))
	}
	for _, change := range changes {
		args = append(args, "--change", change)
	}
	c := e.Command(append(args, "-", tag)...)
	c.Stdin, c.Deadline, c.Stall = tar, slow, stall
	if _, err := e.Run(ctx, c); err != nil {
		return fmt.Errorf("import image %s: %w", tag, err)
	}
	return nil
}

// Save writes images as one docker-archive.
func (e *Engine) Save(ctx context.Context, w io.Writer, refs ...string) error {
	args := []string{"save"}
	if e.kind == Podman {
		args = append(args, "--quiet", "--format", "docker-archive")
		if len(refs) > 1 {
			args = append(args, "--multi-image-archive")
		}
	}
	c := e.Command(append(args, refs...)...)
	c.Stdout, c.Deadline, c.Stall, c.Quiet = w, slow, stall, true
	if _, err := e.Run(ctx, c); err != nil {
		return fmt.Errorf("save %s: %w", strings.Join(refs, ", "), err)
	}
	return nil
}

// Load reads an archive of images.
func (e *Engine) Load(ctx context.Context, r io.Reader) error {
	c := e.Command("load")
	c.Stdin, c.Deadline, c.Stall = r, slow, stall
	if _, err := e.Run(ctx, c); err != nil {
		return fmt.Errorf("load images: %w", err)
	}
	return nil
}

// Pull fetches an image from its registry.
func (e *Engine) Pull(ctx context.Context, ref string) error {
	c := e.Command("pull", ref)
	c.Deadline, c.Stall = slow, stall
	if _, err := e.Run(ctx, c); err != nil {
		return fmt.Errorf("pull %s: %w", ref, err)
	}
	return nil
}

// RemoveImage removes a name, and the image with its last name. One that is not there is removed; one that a container
// uses is an error.
func (e *Engine) RemoveImage(ctx context.Context, ref string) error {
	c := e.Command("rmi", ref)
	c.Deadline, c.Quiet = slow, true
	if _, err := e.Run(ctx, c); err != nil {
		if _, ok, look := e.Image(ctx, ref); look == nil && !ok {
			return nil
		}
		return fmt.Errorf("remove image %s: %w", ref, err)
	}
	return nil
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}
