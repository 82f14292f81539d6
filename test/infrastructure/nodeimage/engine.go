package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

const (
	askDeadline  = 30 * time.Second
	probeLimit   = 20 * time.Second // of asking a registry whether it has an image
	pullDeadline = 20 * time.Minute
	pullStall    = 3 * time.Minute
	loadDeadline = 10 * time.Minute
)

// errNoRegistry says that no registry that is in reach gives the image.
var errNoRegistry = errors.New("no registry gives it")

// exists reports whether the engine has an image. An engine that does not answer has none; what is done next fails then.
func (b *builder) exists(ctx context.Context, ref string) bool {
	_, err := b.run.Run(ctx, command.Cmd{
		Name: b.runtime, Args: []string{"image", "inspect", "--format", "{{.Id}}", ref}, Deadline: askDeadline, Quiet: true,
	})
	return err == nil
}

// pull asks a registry, which must answer soon, and pulls the image. The error wraps errNoRegistry where the registry does
// not answer, does not have the image or does not give it; a pull that breaks off is another error.
func (b *builder) pull(ctx context.Context, ref string) error {
	m := b.meter("ask the registry for "+short(ref), "")
	defer m.end()
	_, err := b.run.Run(ctx, command.Cmd{Name: b.runtime, Args: []string{"manifest", "inspect", ref}, Deadline: probeLimit, Quiet: true})
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		f := failure.Classify(ctx, "build", err, nil)
		return fmt.Errorf("%w (%s: %s)", errNoRegistry, f.Class, lastLine(err))
	}
	p := b.meter("pull "+short(ref), "")
	defer p.end()
	_, err = b.run.Run(ctx, command.Cmd{Name: b.runtime, Args: []string{"pull", ref}, Deadline: pullDeadline, Stall: pullStall})
	return err
}

// lastLine is what a command said last, which is the reason mostly.
func lastLine(err error) string {
	e := new(command.Error)
	if !errors.As(err, &e) || errors.Is(err, command.ErrDeadline) || strings.TrimSpace(e.Output) == "" {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(e.Output), "\n")
	return lines[len(lines)-1]
}

// short is a reference without its digest.
func short(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	return ref
}

// exact is a reference with its registry, which engines do not agree on where it is left out, and without a tag beside a
// digest, which Podman refuses.
func exact(ref string) string {
	ref, digest, pinned := strings.Cut(ref, "@")
	host, _, ok := strings.Cut(ref, "/")
	switch {
	case !ok:
		ref = "docker.io/library/" + ref
	case !strings.ContainsAny(host, ".:") && host != "localhost":
		ref = "docker.io/" + ref
	}
	if !pinned {
		return ref
	}
	if colon := strings.LastIndexByte(ref, ':'); colon > strings.LastIndexByte(ref, '/') {
		ref = ref[:colon]
	}
	return ref + "@" + digest
}

// load gives an image to the engine.
func (b *builder) load(ctx context.Context, img imageSpec) error {
	m := b.meter("give "+short(img.ref)+" to "+b.runtime, "MB")
	defer m.end()
	var total int64
	for _, l := range img.layers {
		for _, e := range l {
			if e.hard == "" {
				total += e.size
			}
		}
	}
	err := b.feed(ctx, &metered{m: m, total: total}, command.Cmd{
		Name: b.runtime, Args: []string{"load"}, Deadline: loadDeadline, Stall: stepDeadline,
	}, img)
	if err != nil {
		return err
	}
	if !b.exists(ctx, img.ref) {
		return fmt.Errorf("%s has loaded %s, and does not have it", b.runtime, img.ref)
	}
	return nil
}

// feed runs a command that reads an archive of images.
func (b *builder) feed(ctx context.Context, through *metered, c command.Cmd, images ...imageSpec) error {
	pr, pw := io.Pipe()
	through.w = pw
	written := make(chan error, 1)
	go func() {
		err := writeArchive(through, images...)
		_ = pw.CloseWithError(err)
		written <- err
	}()
	c.Stdin = pr
	_, err := b.run.Run(ctx, c)
	_ = pr.CloseWithError(errors.New("nobody reads any more"))
	if werr := <-written; err == nil {
		err = werr
	}
	return err
}

// ready checks that an image can be built on this machine, and that the engine would take it.
func (b *builder) ready(ctx context.Context) error {
	if runtime.GOOS != "linux" {
		return failure.New(failure.Host, "", "an image of a Kind node can be built on Linux only, and no registry gives one",
			"give this machine access to a registry, or set "+EnvNodeImage+" to an image that its engine has")
	}
	if os.Geteuid() != 0 {
		return failure.New(failure.Host, "", "building an image from Debian packages needs root, and no registry gives one",
			"run `sudo -E go run ./test/infrastructure/cmd/node-image` once, or give this machine access to a registry")
	}
	var missing, packages []string
	for _, need := range []struct{ program, pkg string }{
		{"debootstrap", "debootstrap"}, {"unshare", "util-linux"}, {"mount", "mount"}, {"chroot", "coreutils"}, {"go", "golang"},
	} {
		if _, err := exec.LookPath(need.program); err != nil {
			missing, packages = append(missing, need.program), append(packages, need.pkg)
		}
	}
	if len(missing) > 0 {
		return failure.New(failure.Host, "", "building an image from Debian packages needs "+strings.Join(missing, ", ")+", which this machine does not have",
			"apt-get install -y --no-install-recommends "+strings.Join(packages, " "))
	}
	_, err := b.run.Run(ctx, command.Cmd{Name: b.runtime, Args: []string{"version"}, Deadline: askDeadline, Quiet: true})
	return err
}
