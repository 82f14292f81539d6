package image

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
	"kubernaut.ai/kubernaut/test/infrastructure/plan"
)

const (
	// compiling bounds a build of everything from nothing on a slow machine. A link says nothing while it runs, nor does
	// compiling; a go command that is alive takes no longer for one step than the stall timer.
	compiling      = 30 * time.Minute
	compilingStall = 15 * time.Minute
	packing        = 5 * time.Minute
)

// Builder builds images. It is safe for concurrent use.
type Builder struct {
	// Root is the root of the repository, StateDir where measurements are kept. Required.
	Root, StateDir string
	// Engine builds and holds the images; their architecture is its. Required.
	Engine *engine.Engine
	// Coverage compiles counters into the programs that are tested.
	Coverage bool
	// Keep is how many images of each name stay, the newest; zero: 3.
	Keep int
	// FreeMemory says how much memory is there; nil: FreeMemory of this package.
	FreeMemory func() int64
}

// Target is an image as it has to be.
type Target struct {
	Spec
	// Key is its content key and the tag of Ref.
	Key string
	Ref Ref
	// Instrumented says that counters are compiled in.
	Instrumented bool
}

// Built is an image that the engine holds.
type Built struct {
	Target
	// ID is the engine's, in hex. Of an image in Docker's format it is the digest of its configuration.
	ID string
	// Size is in bytes, without compression.
	Size int64
	// Held says that it was there and did not have to be built.
	Held bool
}

// Targets computes the keys of images from the work tree as it is now. It takes a fraction of a second.
func (b *Builder) Targets(ctx context.Context, run command.Runner, specs ...Spec) ([]Target, error) {
	arch := b.Engine.Info().Arch
	dirs := make([]string, len(specs))
	for i, s := range specs {
		dirs[i] = s.Package
	}
	src, err := listSources(ctx, run, b.Root, dirs, goEnv(arch))
	if err != nil {
		return nil, err
	}
	targets := make([]Target, len(specs))
	for i, s := range specs {
		dockerfile, err := os.ReadFile(filepath.Join(b.Root, s.Dockerfile))
		if err != nil {
			return nil, fmt.Errorf("key of image %s: %w", s.Name, err)
		}
		digest, err := src.of(s.Package)
		if err != nil {
			return nil, fmt.Errorf("key of image %s: %w", s.Name, err)
		}
		counters := s.instrumented(b.Coverage)
		key := s.key(dockerfile, digest, arch, goArgs(counters))
		targets[i] = Target{Spec: s, Key: key, Ref: Ref{Name: s.Repository(), Tag: key}, Instrumented: counters}
	}
	return targets, nil
}

// Held returns, in the order of targets, those that the engine holds under their names and keys, with Held set; of the
// others ID is empty.
func (b *Builder) Held(ctx context.Context, targets []Target) ([]Built, error) {
	images, err := b.images(ctx)
	if err != nil {
		return nil, err
	}
	return held(targets, images), nil
}

// images lists those of ours.
func (b *Builder) images(ctx context.Context) ([]engine.Image, error) {
	return b.Engine.Images(ctx, engine.Label+"="+engine.ImageValue)
}

func held(targets []Target, images []engine.Image) []Built {
	built := make([]Built, len(targets))
	for i, t := range targets {
		built[i].Target = t
		for _, image := range images {
			if image.Labels[engine.KeyLabel] == t.Key && slices.Contains(image.Tags, t.Ref.String()) {
				built[i].ID, built[i].Size, built[i].Held = image.ID, image.Size, true
				break
			}
		}
	}
	return built
}

// Need is how much memory building those of targets takes that the engine does not hold, from what was measured before.
func (b *Builder) Need(ctx context.Context, targets []Target) (int64, error) {
	built, err := b.Held(ctx, targets)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, n := range b.needs(missing(built)) {
		sum += n.bytes
	}
	return sum, nil
}

func missing(built []Built) []Target {
	var all []Target
	for _, b := range built {
		if !b.Held {
			all = append(all, b.Target)
		}
	}
	return all
}

func (b *Builder) needs(targets []Target) []need {
	h := readHistory(b.StateDir)
	needs := make([]need, len(targets))
	for i, t := range targets {
		needs[i] = need{t.Name, t.estimate(h.Peaks[h.key(t.Spec, b.Coverage)])}
	}
	return needs
}

// Build builds specs, but for those that the engine holds, in units of t: one that compiles what is missing, and one for
// each image. It notes what it decided and the sizes, and removes images beyond those to keep. It returns them in the order of
// specs.
func (b *Builder) Build(ctx context.Context, t *plan.Task, specs ...Spec) ([]Built, error) {
	logging := &Builder{b.Root, b.StateDir, b.Engine.With(t.Log), b.Coverage, b.Keep, b.FreeMemory}
	return logging.build(ctx, t, specs)
}

func (b *Builder) build(ctx context.Context, t *plan.Task, specs []Spec) ([]Built, error) {
	begin := time.Now()
	var targets []Target
	var images []engine.Image
	var asking errgroup.Group // with nothing to build these are all that the phase takes
	asking.Go(func() (err error) {
		targets, err = b.Targets(ctx, t.Command(), specs...)
		return err
	})
	asking.Go(func() (err error) {
		images, err = b.images(ctx)
		return err
	})
	if err := asking.Wait(); err != nil {
		return nil, err
	}
	built := held(targets, images)
	todo := missing(built)
	if len(todo) == 0 {
		t.Note("nothing to build: the engine holds all %d images (%s)", len(built), sizes(built))
		return built, nil
	}
	if err := b.make(ctx, t, todo); err != nil {
		return nil, err
	}
	before := built
	built, err := b.Held(ctx, targets)
	if err != nil {
		return nil, err
	}
	for i := range built {
		if !built[i].Held {
			return nil, failure.New(failure.Transient, "", fmt.Sprintf("image %s was built and the engine does not list it", built[i].Ref), "")
		}
		built[i].Held = before[i].Held
	}
	t.Note("%d of %d images built in %s: %s", len(todo), len(built), time.Since(begin).Round(100*time.Millisecond), sizes(built))
	removed, err := b.collect(ctx, built)
	if err != nil {
		t.Note("old images stay: %v", err)
	} else if len(removed) > 0 {
		t.Note("removed %d old images", len(removed))
	}
	return built, nil
}

// sizes lists images and their sizes.
func sizes(built []Built) string {
	var list []string
	var sum int64
	for _, b := range built {
		list = append(list, fmt.Sprintf("%s:%s %s", b.Name, b.Key, megabytes(b.Size)))
		sum += b.Size
	}
	return fmt.Sprintf("%s; together %s", strings.Join(list, ", "), megabytes(sum))
}

// collect removes old images of ours. Young ones may be another run's that has not used them yet.
func (b *Builder) collect(ctx context.Context, built []Built) ([]engine.Resource, error) {
	keep := engine.Keep{Images: b.Keep, Young: 15 * time.Minute}
	if keep.Images == 0 {
		keep.Images = 3
	}
	for _, i := range built {
		keep.Refs = append(keep.Refs, i.Ref.String())
	}
	return b.Engine.Collect(ctx, keep)
}

// make builds targets.
func (b *Builder) make(ctx context.Context, t *plan.Task, targets []Target) error {
	work, err := os.MkdirTemp("", "kubernaut-e2e-images-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	lacked := false
	cleanup := func(ctx context.Context, f failure.Finding) (changed bool, err error) {
		if f.Row == "F08" {
			removed, err := b.Engine.Collect(ctx, engine.Keep{Images: 1})
			return len(removed) > 0, err
		}
		changed = f.Class == failure.Resource && !lacked && len(targets) > 1
		lacked = lacked || changed
		return changed, nil
	}
	err = t.Unit(ctx, "compile", plan.Unit{
		Do:       func(ctx context.Context, _ int) error { return b.compile(ctx, t, work, targets, lacked) },
		Cleanup:  cleanup,
		Deadline: compiling, Stall: compilingStall,
	})
	if err != nil {
		return err
	}
	needs := make([]need, len(targets))
	units := make([]plan.NamedUnit, len(targets))
	for i, target := range targets {
		size, err := b.unpacked(work, target)
		if err != nil {
			return err
		}
		const copies = 3 // in the context, in the layer, and on the way
		needs[i] = need{target.Name, copies * size}
		units[i] = plan.NamedUnit{Name: "image " + target.Name, Unit: plan.Unit{
			Do:       func(ctx context.Context, _ int) error { return b.pack(ctx, work, target) },
			Cleanup:  cleanup,
			Deadline: packing,
		}}
	}
	admission := admit("images", b.freeMemory(), needs, lacked)
	t.Note("%s", admission.Reason)
	return t.All(ctx, admission.AtOnce, units...)
}

func (b *Builder) freeMemory() int64 {
	if b.FreeMemory != nil {
		return b.FreeMemory()
	}
	return FreeMemory()
}

func (b *Builder) unpacked(work string, t Target) (int64, error) {
	info, err := os.Stat(b.binary(work, t))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// binary is where the program of a target is compiled to: the one file of the context of its image.
func (b *Builder) binary(work string, t Target) string {
	return filepath.Join(work, t.Name, "bin", "linux", t.program())
}

// compile compiles the programs of targets, those with equal flags by one go command, and measures what that takes.
func (b *Builder) compile(ctx context.Context, t *plan.Task, work string, targets []Target, lacked bool) error {
	admission := admit("links", b.freeMemory(), b.needs(targets), lacked)
	t.Note("%s", admission.Reason)
	var failed []error
	for _, counters := range []bool{false, true} {
		var group []Target
		for _, target := range targets {
			if target.Instrumented == counters {
				group = append(group, target)
			}
		}
		if len(group) > 0 {
			failed = append(failed, b.compileGroup(ctx, t, work, group, counters, admission.AtOnce < len(targets), admission.AtOnce))
		}
	}
	return errors.Join(failed...)
}

func (b *Builder) compileGroup(ctx context.Context, t *plan.Task, work string, group []Target, counters, bounded bool, atOnce int) error {
	arch := b.Engine.Info().Arch
	out, err := os.MkdirTemp(work, "out-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(out)
	args := append([]string{"build", "-v"}, goArgs(counters)...)
	if bounded {
		args = append(args, fmt.Sprintf("-p=%d", atOnce))
	}
	args = append(args, "-o", out+string(filepath.Separator))
	for _, target := range group {
		args = append(args, "./"+target.Package)
	}
	mark := "KUBERNAUT_E2E_BUILD=" + rand.Text()
	largest, sum, err := measure(ctx, mark, func() error {
		_, err := t.Command().Run(ctx, command.Cmd{Name: "go", Args: args, Dir: b.Root, Env: append(goEnv(arch), mark)})
		return err
	})
	if err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	fmt.Fprintf(t.Log, "compiling took %s at most, one process %s\n", megabytes(sum), megabytes(largest))
	h := readHistory(b.StateDir)
	peaks := make(map[string]int64, len(group))
	for _, target := range group {
		peaks[h.key(target.Spec, b.Coverage)] = largest
	}
	if err := h.remember(peaks); err != nil {
		fmt.Fprintf(t.Log, "what the build took is not remembered: %v\n", err)
	}
	for _, target := range group {
		to := b.binary(work, target)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // it becomes a directory of the image
			return err
		}
		if err := os.Rename(filepath.Join(out, target.program()), to); err != nil {
			return err
		}
		if err := CheckBinary(to, arch); err != nil {
			return err
		}
	}
	return nil
}

// pack makes the image of a compiled program.
func (b *Builder) pack(ctx context.Context, work string, t Target) error {
	file := filepath.Join(b.Root, t.Dockerfile)
	build := engine.Build{
		File: file, Context: filepath.Join(work, t.Name), Tag: t.Ref.String(),
		Labels: map[string]string{engine.Label: engine.ImageValue, engine.KeyLabel: t.Key},
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if bytes.Contains(content, []byte("\nARG VERSION")) {
		build.Args = map[string]string{"VERSION": t.Key}
	}
	return b.Engine.Build(ctx, build)
}

// goEnv is what the go command is told beside its arguments.
func goEnv(arch string) []string {
	return []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch, "GOWORK=off"}
}
