package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"

	"kubernaut.ai/kubernaut/test/infrastructure/command"
	"kubernaut.ai/kubernaut/test/infrastructure/lock"
)

const (
	// EnvNodeImage names the variable that names a node image to use as it is.
	EnvNodeImage = "E2E_NODE_IMAGE"

	productModule = "kubernaut.ai/kubernaut"

	nodeName     = "localhost/kubernaut-e2e-node"
	postgresName = "localhost/kubernaut-e2e-postgres"

	labelOwner = "ai.kubernaut.e2e"
	labelKey   = "ai.kubernaut.e2e.key"
)

// Options say where to look and what to use. Runtime and Env are needed, the zero values of all else work.
type Options struct {
	// Runtime is the container engine: "podman" or "docker".
	Runtime string
	// Command runs the engine and all other programs. Its log must stand writes by several goroutines at once.
	Command command.Runner
	// Env looks up the environment.
	Env func(string) string
	// Source is the root of a clone of this repository. Empty: looked for from the working directory upwards.
	Source string
	// CacheDir keeps what the steps make. Empty: the directory kubernaut/images in the user's cache.
	CacheDir string
	// Mirror is where Debian's packages come from. Empty: from where this machine's apt gets them.
	Mirror string
	// NoPull leaves registries alone.
	NoPull bool
	// Progress is told how the work advances, one call at a time. Nil: nobody is.
	Progress func(Progress)
	// Now is the clock. Nil: the system's.
	Now func() time.Time
}

// Origin says how an image came to be there.
type Origin string

// The origins of an image.
const (
	Given  Origin = "given"  // named by the environment
	Cached Origin = "cached" // in the engine already
	Pulled Origin = "pulled" // from a registry
	Built  Origin = "built"  // from packages and modules
)

// Image is an image that the engine has.
type Image struct {
	Ref    string `json:"ref"`
	Origin Origin `json:"origin"`
	Key    string `json:"key,omitempty"` // over its inputs, of one that is built here
	// Why says in a sentence why it is this one, for the report.
	Why string `json:"why"`
}

// Ensure returns the image of a Kind node, and makes sure that the engine has it: the one that E2E_NODE_IMAGE names, else the one
// that is built from the sources as they are if the engine has it, else Kind's own if the engine has it or a registry
// gives it, else it is built. Errors that are the host's fault are failure.Typed.
func Ensure(ctx context.Context, o Options) (Image, error) {
	b, err := newBuilder(o)
	if err != nil {
		return Image{}, fmt.Errorf("get an image of a Kind node: %w", err)
	}
	img, err := b.ensureNode(ctx)
	if err != nil {
		return Image{}, fmt.Errorf("get an image of a Kind node: %w", err)
	}
	return img, nil
}

// EnsurePostgres returns an image of PostgreSQL, and makes sure that the engine has it: the one that is built from the sources as they
// are if the engine has it, else official, the image that the manifests name, if the engine has it or a registry gives
// it, else it is built. With an empty official it is never pulled.
func EnsurePostgres(ctx context.Context, official string, o Options) (Image, error) {
	b, err := newBuilder(o)
	if err != nil {
		return Image{}, fmt.Errorf("get an image of PostgreSQL: %w", err)
	}
	if official != "" {
		official = exact(official)
	}
	key, err := b.postgresKey(ctx)
	if err != nil {
		return Image{}, fmt.Errorf("get an image of PostgreSQL: %w", err)
	}
	img, err := b.ensure(ctx, postgresName, key, official, b.buildPostgres)
	if err != nil {
		return Image{}, fmt.Errorf("get an image of PostgreSQL: %w", err)
	}
	return img, nil
}

func (b *builder) ensureNode(ctx context.Context) (Image, error) {
	if ref := b.env(EnvNodeImage); ref != "" {
		if b.exists(ctx, ref) {
			return Image{Ref: ref, Origin: Given, Why: EnvNodeImage + " names it"}, nil
		}
		if err := b.pull(ctx, ref); err != nil {
			return Image{}, fmt.Errorf("%s names %s, which %s does not have: %w", EnvNodeImage, ref, b.runtime, err)
		}
		return Image{Ref: ref, Origin: Given, Why: EnvNodeImage + " names it, and a registry gave it"}, nil
	}
	key, err := b.nodeKey(ctx)
	if err != nil {
		return Image{}, err
	}
	return b.ensure(ctx, nodeName, key, exact(defaults.Image), b.buildNode)
}

// ensure finds an image, pulls it, or builds it.
func (b *builder) ensure(ctx context.Context, name, key, official string, build func(ctx context.Context, ref, key string) error) (Image, error) {
	ref := name + ":" + key
	cached := Image{Ref: ref, Origin: Cached, Key: key, Why: "it was built before, from the same inputs"}
	if b.exists(ctx, ref) {
		return cached, nil
	}
	why := "pulling was left out"
	if official != "" && b.exists(ctx, official) {
		return Image{Ref: official, Origin: Cached, Why: b.runtime + " has it"}, nil
	}
	if official != "" && !b.noPull {
		err := b.pull(ctx, official)
		if err == nil {
			return Image{Ref: official, Origin: Pulled, Why: "a registry gave it"}, nil
		}
		if !errors.Is(err, errNoRegistry) {
			return Image{}, err
		}
		why = err.Error()
	}
	if err := b.ready(ctx); err != nil {
		return Image{}, fmt.Errorf("%s, and it cannot be built here: %w", why, err)
	}
	unlock, err := b.lock(ctx, "image")
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	if b.exists(ctx, ref) { // by whom we waited for
		return cached, nil
	}
	if err := build(ctx, ref, key); err != nil {
		return Image{}, fmt.Errorf("build %s: %w", ref, err)
	}
	return Image{Ref: ref, Origin: Built, Key: key, Why: "built from Debian packages and Go modules: " + why}, nil
}

// builder makes images for one call.
type builder struct {
	store    store
	runtime  string
	run      command.Runner
	env      func(string) string
	source   string
	mirror   string
	noPull   bool
	arch     string
	progress func(Progress)
	now      func() time.Time

	goOnce sync.Once
	goEnv  string
	goErr  error
}

func newBuilder(o Options) (*builder, error) {
	b := &builder{
		runtime: o.Runtime, run: o.Command, env: o.Env, source: o.Source, mirror: o.Mirror, noPull: o.NoPull, arch: runtime.GOARCH, now: o.Now,
	}
	if b.env == nil {
		return nil, errors.New("no environment was passed")
	}
	if b.runtime != "podman" && b.runtime != "docker" {
		return nil, fmt.Errorf("the runtime is podman or docker, not %q", b.runtime)
	}
	if b.now == nil {
		b.now = time.Now
	}
	var mu sync.Mutex
	b.progress = func(p Progress) {
		if o.Progress == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		o.Progress(p)
	}
	if b.source == "" {
		var err error
		if b.source, err = findSource("."); err != nil {
			return nil, err
		}
	}
	dir := o.CacheDir
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no place to keep what is built: %w", err)
		}
		dir = filepath.Join(cache, "kubernaut", "images")
	}
	b.store = store{dir: dir, now: b.now}
	return b, nil
}

// findSource returns the root of the clone that dir is in.
func findSource(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		mod, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && regexp.MustCompile(`(?m)^module `+regexp.QuoteMeta(productModule)+`$`).Match(mod) {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is not inside a clone of %s: work in one", dir, productModule)
		}
	}
}

// get is store.get that tells when it waits for another build.
func (b *builder) get(ctx context.Context, name, key string, build func(ctx context.Context, dir string) error) (string, error) {
	waiting, end := b.waiting(name)
	defer end()
	return b.store.get(ctx, name, key, waiting, func(ctx context.Context, dir string) error {
		end()
		return build(ctx, dir)
	})
}

// lock is store.lock that tells when it waits for another build.
func (b *builder) lock(ctx context.Context, name string) (unlock func(), err error) {
	waiting, end := b.waiting(name)
	defer end()
	return b.store.lock(ctx, name, waiting)
}

// waiting returns what tells that a lock is waited for, and until when.
func (b *builder) waiting(name string) (waiting func(lock.Holder), end func()) {
	var m *meter
	waiting = func(h lock.Holder) {
		end()
		m = b.meter(fmt.Sprintf("wait for process %d, which makes the same (%s)", h.PID, name), "")
	}
	end = func() {
		if m != nil {
			m.end()
			m = nil
		}
	}
	return waiting, end
}

// labels mark an image as ours.
func labels(key string) map[string]string {
	return map[string]string{labelOwner: "image", labelKey: key}
}
