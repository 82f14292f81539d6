package preflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/kind/pkg/cmd/kind/version"

	"kubernaut.ai/kubernaut/test/infrastructure/engine"
	"kubernaut.ai/kubernaut/test/infrastructure/engine/reading"
	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

// phase is the name under which findings are classified.
const phase = "preflight"

// Runtime is what the checks ask of the container engine; *engine.Engine is one.
type Runtime interface {
	Kind() engine.Kind
	Info() engine.Info
	RoundTrip(ctx context.Context) (engine.Trip, error)
	Read(ctx context.Context, q reading.Question) (engine.Place, error)
	AllContainers(ctx context.Context) ([]engine.Container, error)
	StorageContainers(ctx context.Context) ([]engine.Storage, error)
	RemoveStorage(ctx context.Context, name string) error
	Networks(ctx context.Context, name string) ([]engine.Network, error)
	Images(ctx context.Context, label string) ([]engine.Image, error)
}

// Options is what is about to be made, and where.
type Options struct {
	Engine   Runtime
	Getenv   func(string) string
	StateDir string
	// Cluster is the name of the cluster, whose lock the caller holds.
	Cluster    string
	Kubeconfig string
	// Nodes is how many nodes it will have, Ports which ports of the host are published.
	Nodes int
	Ports []int32
	// NodeImage is the node image; empty: E2E_NODE_IMAGE, and without it none is known.
	NodeImage string
	// Network is the name of the nodes' network; empty: engine.NetworkName.
	Network string
	// TempDir is where the harness makes temporary files; empty: os.TempDir.
	TempDir string
	// Listeners finds who listens on ports of the host; nil: by the kernel's tables or lsof.
	Listeners Listeners
	// Clock is the clock; nil: the system's.
	Clock func() time.Time
	// User is the id of the user; 0: that of this process.
	User int
	// Root is where the host's file system is looked at; empty: "/".
	Root string
}

func (o Options) withDefaults() Options {
	o.NodeImage = cmp.Or(o.NodeImage, o.Getenv("E2E_NODE_IMAGE"))
	o.Network = cmp.Or(o.Network, engine.NetworkName)
	o.TempDir = cmp.Or(o.TempDir, os.TempDir())
	o.User = cmp.Or(o.User, os.Getuid())
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Listeners == nil {
		o.Listeners = systemListeners{root: o.Root}
	}
	return o
}

// verdict is what a check found: what stops the run, and what is worth knowing.
type verdict struct {
	findings []failure.Finding
	notes    []string
}

func (v *verdict) stop(f failure.Finding) { v.findings = append(v.findings, f) }

func (v *verdict) note(format string, args ...any) {
	v.notes = append(v.notes, fmt.Sprintf(format, args...))
}

func (v *verdict) add(other verdict) {
	v.findings = append(v.findings, other.findings...)
	v.notes = append(v.notes, other.notes...)
}

// Check runs all checks. The error joins a failure.Typed for everything that stops the run; it is nil if nothing does. The
// notes are what was found otherwise, done, or measured.
//
// It removes containers that only Podman's storage knows, by the exact names of the nodes; a lock of the kubeconfig that is
// older than any writer takes; and temporary directories of ours that are a day old.
func Check(ctx context.Context, o Options) (notes []string, err error) {
	o = o.withDefaults()
	r := gather(ctx, o)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("preflight: %w", context.Cause(ctx))
	}
	v := decide(ctx, o, r)
	var all []error
	for _, f := range v.findings {
		f.Phase = phase
		all = append(all, failure.With(errors.New(text(f)), f))
	}
	return v.notes, errors.Join(all...)
}

// text is a finding in one line.
func text(f failure.Finding) string {
	s := f.Summary
	if len(f.Lines) > 0 {
		s += " (" + strings.Join(f.Lines, "; ") + ")"
	}
	if f.Fix != "" {
		s += "; " + f.Fix
	}
	return s
}

// readings are what the checks look at. Each that could not be taken has an error instead.
type readings struct {
	trip    engine.Trip
	tripErr error

	there    engine.Place
	thereErr error
	here     reading.Answer

	containers []engine.Container
	storage    []engine.Storage
	networks   []engine.Network
	images     []engine.Image
	listErr    error

	listeners map[int]Listener
	portErr   error

	kind string // the version of Kind's library
}

// gather takes all readings at the same time.
func gather(ctx context.Context, o Options) readings {
	r := readings{kind: version.Version()}
	info := o.Engine.Info()
	var wg sync.WaitGroup
	wg.Go(func() { r.trip, r.tripErr = o.Engine.RoundTrip(ctx) })
	wg.Go(func() {
		r.there, r.thereErr = o.Engine.Read(ctx, reading.Question{
			Files: kernelFiles(info, o.User), Disks: disksThere(info), Inotify: true,
		})
		r.here = reading.Read(o.Root, reading.Question{Disks: []string{o.StateDir, o.TempDir}})
	})
	wg.Go(func() {
		ports := make([]int, len(o.Ports))
		for i, p := range o.Ports {
			ports[i] = int(p)
		}
		r.listeners, r.portErr = o.Listeners.Listeners(ctx, ports)
	})
	var errs [4]error
	wg.Go(func() { r.containers, errs[0] = o.Engine.AllContainers(ctx) })
	wg.Go(func() { r.storage, errs[1] = o.Engine.StorageContainers(ctx) })
	wg.Go(func() { r.networks, errs[2] = o.Engine.Networks(ctx, o.Network) })
	wg.Go(func() { r.images, errs[3] = o.Engine.Images(ctx, engine.Label+"="+engine.ImageValue) })
	wg.Wait()
	r.listErr = errors.Join(errs[:]...)
	return r
}

// decide runs the checks over the readings.
func decide(ctx context.Context, o Options, r readings) verdict {
	var v verdict
	info := o.Engine.Info()
	v.add(checkTrip(ctx, o.Engine.Kind(), r.trip, r.tripErr))
	v.add(checkMatrix(known(), combination(o, r, info)))
	v.add(checkEngine(o.Engine.Kind(), info))
	switch {
	case r.thereErr == nil:
		v.add(tune(o, &r.there))
		v.add(checkHost(o, info, r))
	case r.tripErr == nil: // else it is the same trouble once more
		v.add(checkUnread("the values of the nodes' machine cannot be read", r.thereErr))
	}
	if r.listErr != nil && r.tripErr == nil {
		v.add(checkUnread(fmt.Sprintf("%s cannot list what it has", o.Engine.Kind()), r.listErr))
	}
	v.add(checkPorts(o.Engine.Kind(), o.Cluster, o.Ports, r.listeners, r.portErr, r.containers))
	v.add(checkResidue(ctx, o, r))
	return v
}

// checkUnread stops because a reading could not be taken.
func checkUnread(summary string, err error) (v verdict) {
	f := failure.Classify(context.Background(), phase, err, nil)
	if f.Class == failure.Unknown {
		f.Class, f.Summary = failure.Host, summary
	}
	v.stop(f)
	return v
}
